# SPDX-License-Identifier: Apache-2.0
"""Spans of ranks laid on GPUs in order: the closed form that prices published runs is what the exact count says."""

import numpy as np
import pytest

from placement.cost.hardware import contiguous_spans, hardware
from placement.cost.spans import spans_of
from placement.ir import Placement, Strategy
from placement.spec.catalog import chip
from placement.spec.runs import synthetic_cluster

CASES = [
    (8, Strategy(8, 2, 1, 1, 4, 8, 1, 1, 8, "1f1b", "none", "zero1")),
    (8, Strategy(2, 1, 1, 1, 32, 1, 1, 1, 8, "1f1b", "none", "zero1")),
    (8, Strategy(1, 1, 32, 1, 64, 4, 1, 1, 8, "1f1b", "none", "zero1")),
    (64, Strategy(4, 2, 1, 1, 4, 8, 1, 1, 8, "1f1b", "none", "zero1")),
    (64, Strategy(4, 1, 1, 1, 4, 16, 1, 1, 16, "1f1b", "none", "zero1")),
    (64, Strategy(1, 1, 128, 1, 256, 2, 1, 1, 8, "1f1b", "none", "zero1")),
    (72, Strategy(1, 2, 1, 1, 36, 1, 1, 1, 8, "1f1b", "none", "zero1")),
]


@pytest.mark.parametrize(("domain", "strategy"), CASES)
def test_closed_form_equals_the_exact_count(domain, strategy):
    """Members, ring and all-to-all seconds per byte of every axis at the NVLink domain, for ranks in launcher order."""
    cluster = synthetic_cluster(chip("GB300"), strategy.world_size, domain, 100e9)
    closed = contiguous_spans(hardware(cluster), strategy)
    exact = spans_of(cluster, strategy, Placement(np.arange(strategy.world_size)))
    for name in ("members", "ring_spB", "a2a_spB"):
        assert np.allclose(getattr(closed, name)[:, 0], getattr(exact, name)[:, 0], atol=1e-18), name
