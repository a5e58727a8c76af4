# SPDX-License-Identifier: Apache-2.0
"""Activation memory of a GPT layer against the formulas of Korthikanti et al. 2022 (arXiv 2205.05198, table 2), exactly."""

import numpy as np
import pytest

from placement.cost.count import count
from placement.cost.hardware import hardware
from placement.cost.shards import Shards
from placement.ir import Attention, Job, Software
from placement.spec.catalog import chip
from placement.spec.model import lower_short
from placement.spec.synthetic import synthetic_cluster

S, B, H, HEADS = 2048, 2, 4096, 32
SBH = S * B * H
SCORES = 5 * HEADS * S / H  # 5 a s / h


def kept(tp: int, year: float) -> np.ndarray:
    """Bytes over s b h that one layer keeps without recompute, with selective and with full recompute."""
    facts = {"layers": 4, "hidden": H, "heads": HEADS, "ffn": 4 * H, "seq_len": S, "vocab": 51200, "gated_mlp": "false"}
    model = lower_short({k: str(v) for k, v in facts.items()}, "gpt")
    hw = hardware(synthetic_cluster(chip("A100-80GB"), 64, 8, 25e9))
    one = np.ones(1, dtype=np.int64)
    shards = Shards(one * tp, one, one, one, one, one, one * B)
    tables = count(model, Job(S, 64, "bf16", software=Software("megatron", year)), hw, shards)
    layer = next(i for i, t in enumerate(model.types) if any(isinstance(op, Attention) for op in t.ops))
    return tables.cells.act_NC[layer] / SBH


@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_a_layer_of_2021_keeps_what_the_paper_says(tp):
    """Tensor parallelism: sbh (10 + 24/t + 5as/(ht)); full recompute 2 sbh, the input of the layer."""
    none, _, full = kept(tp, 2021.5)
    assert none == pytest.approx(10 + 24 / tp + SCORES / tp, rel=1e-12)
    assert full == pytest.approx(2, rel=1e-12)


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_selective_recompute_drops_the_attention_core(tp):
    """Without the scores: sbh (10 + 24/t)."""
    _, selective, _ = kept(tp, 2021.5)
    assert selective == pytest.approx(10 + 24 / tp, rel=1e-12)


@pytest.mark.parametrize("tp", [1, 2, 8])
def test_flash_attention_and_sequence_parallelism_split_all_of_it(tp):
    """34 sbh / t without the scores; two of the 34 are masks of dropout, which later models do without. Full: 2 sbh / t."""
    none, _, full = kept(tp, 2024.5)
    assert none == pytest.approx((34 - 2) / tp, rel=1e-12)
    assert full == pytest.approx(2 / tp, rel=1e-12)
