# SPDX-License-Identifier: Apache-2.0
"""Plans that differ in one block: what `why stage` compares with."""

from dataclasses import replace

import numpy as np
import pytest

from placement.ir import Placement, Stages, Strategy
from placement.passes.neighbours import neighbours
from placement.passes.problem import problem, realise
from placement.spec import load_cluster, load_job
from placement.spec.catalog import efficiency
from placement.spec.model import lower_short

MODEL = {"layers": 6, "hidden": 1024, "heads": 8, "kv_heads": 4, "ffn": 4096, "vocab": 32000}
JOB = {"sequence_length": "1024", "global_batch": "32"}


def task():
    return problem(load_cluster("tiny"), lower_short(MODEL), load_job(None, JOB, {}), efficiency())


def strategy(pp, vpp, schedule):
    return Strategy(
        tp=2, cp=1, ep=1, etp=1, dp=4 // pp, pp=pp, vpp=vpp, micro_batch=1, num_microbatches=8 * pp, schedule=schedule,
        recompute="none", sharding="zero1",
    )  # fmt: skip


CASES = [
    (strategy(2, 1, "1f1b"), [0, 0, 0, 0, 1, 1, 1, 1], 0, {(3, 0, 1), (4, 1, 0)}),
    (strategy(2, 2, "interleaved"), [0, 0, 1, 1, 2, 2, 3, 3], 1,
     {(1, 0, 1), (2, 1, 0), (3, 1, 0), (4, 0, 1), (5, 0, 1), (6, 1, 0)}),
    (strategy(2, 2, "zb-v"), [0, 0, 0, 1, 1, 2, 3, 3], 0, {(2, 0, 1), (3, 1, 0), (6, 0, 1)}),
    (strategy(1, 1, "1f1b"), [0] * 8, 0, set()),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "chunk_B", "stage", "moves"), CASES)
def test_every_move_over_the_boundaries_of_a_stage(strategy, chunk_B, stage, moves):
    """All cuts that move one block into or out of the stage, none that empties a chunk or moves within a stage."""
    given = task()
    stages = Stages(np.array(chunk_B), ("none",) * strategy.pp)
    found = neighbours(given, strategy, stages, Placement(np.arange(strategy.world_size)), stage)
    assert {(n.block, n.giver, n.taker) for n in found} == moves
    assert [n.step_s for n in found] == sorted(n.step_s for n in found)


def test_the_price_is_that_of_the_whole_plan():
    """A neighbour costs what pricing its cut from scratch gives; what does not fit the memory has no price."""
    given, plan = task(), strategy(2, 1, "1f1b")
    stages, placement = Stages(np.array([0, 0, 0, 0, 1, 1, 1, 1]), ("none", "none")), Placement(np.arange(8))
    for n in neighbours(given, plan, stages, placement, 0):
        cut = stages.chunk_B.copy()
        cut[n.block] = n.taker
        assert n.step_s == realise(given, plan, replace(stages, chunk_B=cut), placement).cost.step_s
    small = replace(given, hw=replace(given.hw, chip=replace(given.hw.chip, hbm_bytes=1e6)))
    assert {n.step_s for n in neighbours(small, plan, stages, placement, 0)} == {None}
