# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.cost.memory import stage_memory
from placement.cost.memory_bound import Stores, held_of, memory_bounds
from placement.ir import RECOMPUTE, SCHEDULES, SHARDING, Job, Stages
from tests.clusters import strategy
from tests.layers import chain, layer_costs, with_head

CHUNKS = {"1f1b": (1,), "interleaved": (1, 2, 3), "zb-h1": (1,), "zb-v": (2,), "dualpipe": (1,), "dualpipev": (2,)}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_partition_and_no_recompute_needs_less_than_the_bound(data: st.DataObject) -> None:
    """`memory_bounds` never exceeds the fullest stage of any cut with any modes, for every schedule and sharding."""
    draw = data.draw
    schedule, sharding = draw(st.sampled_from(SCHEDULES)), draw(st.sampled_from(SHARDING))
    vpp = draw(st.sampled_from(CHUNKS[schedule]))
    pp = draw(st.integers(1, 5).filter(lambda p: schedule != "dualpipe" or p == 1 or p % 2 == 0))
    m = draw(st.integers(1, 12).filter(lambda m: schedule != "interleaved" or vpp == 1 or m >= pp))
    s = strategy(
        schedule=schedule, sharding=sharding, pp=pp, vpp=vpp, num_microbatches=m, dp=draw(st.sampled_from([2, 4])),
        cp=draw(st.integers(1, 2)), ep=2, gtp=draw(st.integers(1, 2)),
    )  # fmt: skip
    inner = draw(st.lists(st.integers(0, 1), min_size=pp * vpp, max_size=pp * vpp + 4))
    tied = draw(st.booleans())
    model = with_head(chain([2 if tied else 0, *inner, 2], types=3, tied=tied), vocab=2)
    job = Job(seq_len=4, global_batch=64, precision=draw(st.sampled_from(["bf16", "mxfp8"])))
    size = st.floats(0.0, 100.0)
    logits = np.array([0.0, 0.0, 6.0 * 4 * 2 / s.cp])
    none = np.array([draw(size) for _ in range(3)]) + logits
    modes = np.stack([none, none, [0.1 * none[0], 0.3 * none[1], 1.0]], axis=1)
    layer = layer_costs(
        np.ones((3, 3)).tolist(), act_YC=modes.tolist(), dense_Y=[draw(size) + 0.01 for _ in range(3)],
        expert_Y=[draw(size), 0.0, 0.0], edge=draw(st.floats(0.0, 5.0)),
    )  # fmt: skip
    cuts = sorted(draw(st.permutations(range(1, model.num_blocks)))[: pp * vpp - 1])
    chunk_B = np.searchsorted(cuts, np.arange(model.num_blocks), side="right")
    recompute = tuple(draw(st.sampled_from(RECOMPUTE)) for _ in range(pp))
    peak = stage_memory(model, job, s, Stages(chunk_B, recompute), layer).sum(axis=1).max()

    def one(value: int) -> np.ndarray:
        return np.array([value])

    bounds = held_of(model, job, layer, one(1) / s.cp / s.tp, job.recompute)
    stores = Stores(
        one(0), one(SCHEDULES.index(schedule)), one(SHARDING.index(sharding)), one(pp), one(m), one(s.dp * s.cp // s.gtp),
        one(s.edp // s.egtp),
    )  # fmt: skip
    bound, _ = memory_bounds(model, job, bounds, stores)
    assert bound.shape == (1,)
    assert bound[0] <= peak * (1 + 1e-9)
