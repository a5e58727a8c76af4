# SPDX-License-Identifier: Apache-2.0
"""Intervals from left-out errors, and in which respects a prediction extrapolates."""

import dataclasses
import math

import numpy as np
import pytest

from placement.cost.confidence import confidence, half_width
from placement.ir import Scope
from placement.passes.scope import envelope, quantile, reasons_of, scope_of
from placement.spec.catalog import efficiency
from placement.spec.runs import read_run

MODEL = {"key": "m", "kind": "dense", "seq_len": 4096, "heads": 32, "vocab": 32000, "layers": 16, "hidden": 2048, "ffn": 8192}


def run(i: int, hardware: str = "H100", **changes):
    row = {"id": str(i), "model": MODEL | {"key": f"m{i}"}, "hardware": hardware, "n_gpus": 64, "gbs": 512, "precision": "bf16"}
    return dataclasses.replace(read_run(row | changes, i), measured_step_s=1.0)


def test_reasons_are_those_of_the_scope():
    """Scale, GPU, precision, a single microbatch; nothing for a run like those that were fitted."""
    scope = envelope([run(0), run(1)])
    assert scope.gpus == ("H100",)
    assert scope.precisions == ("hopper bf16",)
    assert reasons_of(run(2), scope) == ()
    assert reasons_of(run(3, n_gpus=128), scope) == ("128 GPUs, the largest run had 64",)
    assert reasons_of(run(4, precision="fp8"), scope) == ("no run at hopper fp8",)
    assert reasons_of(run(5, gbs=64), scope) == ("a single microbatch in a step",)
    assert "no run on GB300" in reasons_of(run(6, "GB300"), scope)


def test_intervals_are_as_wide_as_errors_were():
    """Eighty of a hundred errors of up to 10 %: half-width 8 %; a reason widens it."""
    runs = [run(i) for i in range(100)]
    steps = np.exp(np.arange(100) / 1000)
    scope, covered = scope_of(runs, steps, 2.0 * steps)
    assert scope.spread["dense"] == pytest.approx(0.079, abs=0.002)
    assert 0.75 <= covered <= 0.85
    assert half_width(scope, False, 1) > half_width(scope, False, 0)
    sure = confidence(scope, 10.0, False, ())
    assert sure.low_s * sure.high_s == pytest.approx(100.0)
    assert math.log(sure.high_s / 10.0) == pytest.approx(scope.spread["dense"])


def test_no_scope_no_interval():
    """Constants from elsewhere, without cross-validation: no promise."""
    assert confidence(None, 1.0, False, ()) is None
    assert confidence(Scope((), (), 0), 1.0, True, ()) is None


def test_the_quantile_counts_weights():
    """A value that holds 90 % of the weight is the 80 % quantile, however few it is."""
    assert quantile(np.array([1.0, 2.0, 3.0]), np.array([0.05, 0.9, 0.05])) == 2.0


def test_the_constants_that_come_with_the_tool_have_intervals():
    """A scope with all three spreads."""
    scope = efficiency().scope
    assert scope is not None
    assert {"dense", "moe", "far"} <= set(scope.spread)
    assert scope.spread["far"] >= 1.0
