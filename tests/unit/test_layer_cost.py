# SPDX-License-Identifier: Apache-2.0
"""Counting and pricing of a layer, on shapes small enough to check by hand."""

import numpy as np
import pytest

from placement.cost.count import ATTENTION, GROUPED, HEAD, MATMUL, count
from placement.cost.flops import block_flops
from placement.cost.hardware import Hardware
from placement.cost.layers import layer_cost
from placement.cost.price import groups_hit, overlapped
from placement.cost.shards import Shards
from placement.ir import AXES, Job, no_spans
from placement.spec.catalog import chip, efficiency
from placement.spec.model import lower_short

DENSE = {"layers": 2, "hidden": 256, "heads": 4, "kv_heads": 2, "ffn": 512, "vocab": 1024}
ROUTED = DENSE | {"experts": 8, "topk": 2, "moe_ffn": 128}
JOB = Job(seq_len=64, global_batch=8)


def hw(name: str = "H100", nic: float = 50e9, domain: int = 8) -> Hardware:
    return Hardware(chip(name), nic, domain, min(domain, 8), np.array([1e-6, 5e-6]))


def shards(*rows: tuple[int, ...]) -> Shards:
    """Rows of (tp, cp, ep, etp, gtp, egtp, micro_batch)."""
    return Shards(*(np.array(c, dtype=np.int64) for c in zip(*rows, strict=True)))


ONE = shards((1, 1, 1, 1, 1, 1, 1))


def total_flops(model, cut, kinds):
    tables = count(model, JOB, hw(), cut)
    share = {MATMUL: 3.0, GROUPED: 3.0, HEAD: 3.0, ATTENTION: 3.5}
    work = tables.work
    out = np.zeros(cut.num * len(model.types))
    for kind in kinds:
        at = work.kind_R == kind
        out += np.bincount(work.cell_R[at], work.flop_R[at] * share[kind], len(out))
    return out.reshape(cut.num, -1)


@pytest.mark.parametrize("mapping", [DENSE, ROUTED])
def test_counted_matmul_flops_are_the_published_model_flops(mapping):
    """Matmuls and head of every block type cost 6 FLOPs a weight and token: `flops.py` without its attention term."""
    model = lower_short(mapping)
    counted = total_flops(model, ONE, (MATMUL, GROUPED, HEAD))[0]
    for y, block in enumerate(model.types):
        attention = 3.0 * sum(
            JOB.seq_len * o.heads * (o.qk_dim + o.v_dim) for o in block.ops if type(o).__name__ == "Attention"
        )
        router = sum(6.0 * o.hidden * o.num for o in block.ops if type(o).__name__ == "Experts")
        assert counted[y] == pytest.approx((block_flops(block, JOB.seq_len) - attention - router) * JOB.seq_len, rel=1e-3)


def test_attention_flops_by_hand():
    """Causal: half of 4 s^2 h d forward, 2.5 times that backward (FlashAttention-2)."""
    counted = total_flops(lower_short(DENSE), ONE, (ATTENTION,))[0]
    assert counted[1] == pytest.approx(3.5 * 0.5 * 4 * 64 * 64 * 256)


def test_tensor_context_and_expert_parallelism_divide_the_work():
    """tp 2, cp 2, and ep 4 x etp 2 each leave one rank its share of the FLOPs of the tokens it computes on."""
    model = lower_short(ROUTED)
    alone = total_flops(model, ONE, (MATMUL, GROUPED, ATTENTION, HEAD))[0]
    cut = shards((2, 1, 1, 1, 1, 1, 1), (1, 2, 1, 1, 1, 1, 1), (2, 1, 4, 2, 1, 1, 1))
    parts = total_flops(model, cut, (MATMUL, GROUPED, ATTENTION, HEAD))
    assert parts == pytest.approx(np.tile(alone / 2, (3, 1)))


def test_parameters_held_are_those_of_the_model_over_its_shards():
    """Experts over ep, dense over tp (norms and router replicated), both over gtp and egtp."""
    model = lower_short(ROUTED)
    cost = layer_cost(model, JOB, hw(), efficiency(), shards((1, 1, 1, 1, 1, 1, 1), (1, 1, 4, 1, 2, 2, 1)), no_spans(2))
    y = next(i for i, t in enumerate(model.types) if t.experts)
    assert cost.dense_KY[0, y] == model.types[y].dense_params
    assert cost.expert_KY[0, y] == model.types[y].expert_params
    assert cost.dense_KY[1, y] == model.types[y].dense_params / 2
    assert cost.expert_KY[1, y] == model.types[y].expert_params / 8


def test_sent_bytes_by_hand():
    """tp 2 with sequence parallelism: attention and MLP gather and scatter 2 x (2 + 3) times s h 2 B / 2 a layer."""
    cost = layer_cost(lower_short(DENSE), JOB, hw(), efficiency(), shards((2, 1, 1, 1, 1, 1, 1)), no_spans(2))
    assert cost.sent_KYA[0, 1, AXES.index("tp")] == pytest.approx(10 * 64 * 256 * 2 / 2)
    assert cost.edge_K[0] == 64 * 256 * 2 / 2


def test_a_token_visits_as_many_groups_as_there_are_when_experts_are_alone():
    """k of E experts in E groups of one: exactly k; one group: 1; two groups of four, k = 2: 2 (1 - 4*3 / (8*7))."""
    hit = groups_hit(np.array([8.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0]), np.array([8.0, 8.0, 8.0]))
    assert hit == pytest.approx([2.0, 1.0, 2 * (1 - 12 / 56)])


def test_activations_of_a_gpt_layer_follow_korthikanti():
    """34 s b h less the two dropout masks (2 s b h): fused attention, no dropout (arXiv 2205.05198, table 2)."""
    gpt = lower_short({"layers": 1, "hidden": 256, "heads": 4, "ffn": 1024, "vocab": 1024, "gated_mlp": "false"})
    cost = layer_cost(gpt, JOB, hw(), efficiency(), ONE, no_spans(2))
    assert cost.act_KYC[0, 1, 0] == pytest.approx(32 * 64 * 256)
    assert cost.act_KYC[0, 1, 2] == pytest.approx(2 * 64 * 256)


def test_nothing_shows_of_communication_that_fits_its_window_but_the_floor():
    """Far below the window a floor, far above it the excess; never more than the communication itself."""
    shown = overlapped(np.array([0.0, 1.0, 20.0]), np.array([10.0, 10.0, 10.0]), 0.1)
    assert shown[0] == 0
    assert shown[1] == pytest.approx(0.1, abs=0.01)
    assert shown[2] == pytest.approx(0.1 * 20 + 0.9 * 10, rel=0.01)
    assert np.all(overlapped(np.geomspace(1e-6, 1e6, 50), np.full(50, 1.0), 0.1) <= np.geomspace(1e-6, 1e6, 50))
