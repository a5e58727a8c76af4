# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from placement.cost.memory import stage_memory
from placement.cost.pipeline import simulate
from placement.ir import Job, Stages
from placement.passes.partition import every_cut, moved, partition
from tests.clusters import strategy
from tests.layers import chain, hardware, layer_costs

JOB = Job(seq_len=64, global_batch=64)
LAYER = [1.0, 1.0, 1.0]
BIG = 1e12


def sizes(stages: Stages | str) -> list[int]:
    assert isinstance(stages, Stages)
    return np.bincount(stages.chunk_B).tolist()


def test_equal_layers_are_shared_equally() -> None:
    """64 equal layers on 16 stages: four each."""
    s = strategy(pp=16, num_microbatches=32)
    assert sizes(partition(chain([0] * 64), JOB, hardware(BIG), s, layer_costs([LAYER]))) == [4] * 16


def test_a_heavy_head_takes_layers_off_the_last_stage() -> None:
    """A head worth three layers leaves three fewer on its stage; the embedding costs nothing."""
    model = chain([0, *[1] * 29, 2])
    layer = layer_costs([[0, 0, 0], LAYER, [3.0, 3.0, 3.0]])
    stages = partition(model, JOB, hardware(BIG), strategy(pp=4, num_microbatches=32), layer)
    assert sizes(stages) == [9, 8, 8, 6]


def test_a_slow_stage_gets_fewer_layers() -> None:
    """A stage at half speed gets half the layers of the others."""
    slow = np.array([1.0, 2.0, 1.0, 1.0])
    stages = partition(
        chain([0] * 42), JOB, hardware(BIG), strategy(pp=4, num_microbatches=64), layer_costs([LAYER]), slow_P=slow
    )
    assert sizes(stages) == [12, 6, 12, 12]


def test_odd_layers_go_to_early_stages() -> None:
    """Of partitions with the same fullest stage the simulated best is taken, never slower than odd layers last."""
    s = strategy(pp=8, num_microbatches=9)
    got = sizes(partition(chain([0] * 20), JOB, hardware(BIG), s, layer_costs([LAYER])))

    def step(size: list[int]) -> float:
        return simulate("1f1b", 8, 1, 9, *np.outer(LAYER, size), np.zeros(8)).makespan_s

    assert max(got) == 3
    assert step(got) <= min(step(sorted(got)), step(sorted(got)[::-1]))


def test_recompute_is_chosen_stage_by_stage() -> None:
    """With little memory the first stages of 1F1B, which hold most microbatches, recompute; the last does not."""
    layer = layer_costs([LAYER], act_YC=[[10.0, 10.0, 1.0]], recompute_YC=[[0.0, 0.0, 0.9]])
    s = strategy(pp=4, num_microbatches=16, recompute="auto")
    stages = partition(chain([0] * 16), JOB, hardware(100.0), s, layer)
    assert isinstance(stages, Stages)
    assert stages.recompute_P[0] == "full"
    assert stages.recompute_P[-1] == "none"
    assert (stage_memory(chain([0] * 16), JOB, s, stages, layer).sum(axis=1) <= 94.0).all()


def test_a_fixed_recompute_mode_is_kept() -> None:
    """A strategy that names its mode gets that mode on every stage."""
    s = strategy(pp=4, num_microbatches=16, recompute="full")
    stages = partition(chain([0] * 16), JOB, hardware(BIG), s, layer_costs([LAYER]))
    assert isinstance(stages, Stages)
    assert stages.recompute_P == ("full",) * 4


@pytest.mark.parametrize(
    ("degrees", "reason"),
    [({"pp": 4, "schedule": "1f1b", "num_microbatches": 8}, "memory"), ({"pp": 32}, "layers"),
     ({"pp": 2, "vpp": 2, "schedule": "1f1b"}, "schedule"), ({"pp": 3, "schedule": "dualpipe"}, "schedule"),
     ({"pp": 4, "vpp": 2, "schedule": "interleaved", "num_microbatches": 3}, "schedule"),
     ({"pp": 4, "vpp": 2, "schedule": "interleaved", "num_microbatches": 8}, "memory")],
)  # fmt: skip
def test_the_reason_of_an_impossible_partition(degrees: dict[str, int | str], reason: str) -> None:
    """Too few layers, a schedule that does not run, or no memory: each has its word."""
    layer = layer_costs([LAYER], dense_Y=[1.0])
    assert partition(chain([0] * 16), JOB, hardware(10.0), strategy(**degrees), layer) == reason


@pytest.mark.parametrize(
    ("schedule", "vpp"), [("interleaved", 2), ("interleaved", 4), ("zb-v", 2), ("dualpipev", 2), ("dualpipe", 1)]
)
def test_stages_of_several_chunks_are_balanced(schedule: str, vpp: int) -> None:
    """Embedding, 3 cheap layers, 60 layers and a head on 8 stages: none is a layer above the mean."""
    model = chain([0, 3, 3, 3, *[1] * 60, 2])
    seconds = np.array([0.1, 1.0, 1.7, 0.6])
    s = strategy(pp=8, vpp=vpp, schedule=schedule, num_microbatches=32)
    stages = partition(model, JOB, hardware(BIG), s, layer_costs(np.outer(seconds, LAYER).tolist()))
    assert isinstance(stages, Stages)
    load_C = np.bincount(stages.chunk_B, weights=seconds[model.type_B])
    load_P = (load_C + load_C[::-1]) / 2 if schedule == "dualpipe" else np.bincount(s.chunk_stage, weights=load_C)
    assert load_P.max() < load_P.mean() + 1.0


def test_skip_edges_and_towers_are_cut_too() -> None:
    """A vision tower of 12 small blocks before 24 layers, read again by a later layer, is cut exactly."""
    model = chain([0] * 12 + [1] * 24, skips=[(3, 30)])
    layer = layer_costs([[0.5, 0.5, 0.5], LAYER])
    stages = partition(model, JOB, hardware(BIG), strategy(pp=5, num_microbatches=20), layer)
    assert isinstance(stages, Stages)
    load = np.bincount(stages.chunk_B, weights=np.array([1.5, 3.0])[model.type_B])
    assert load.max() == 18.0  # 90 over five stages, and 18 is reached: 12 small blocks, then six layers each


def test_refinement_never_makes_a_partition_slower() -> None:
    """A larger budget gives a partition that simulates at least as fast."""
    model = chain([0, *[1, 1, 3] * 12, 2])
    seconds = np.outer([0.1, 1.0, 2.7, 0.8], LAYER)
    s = strategy(pp=8, vpp=3, schedule="interleaved", num_microbatches=16)
    steps = []
    for budget in (0, 60_000, 2_000_000):
        stages = partition(model, JOB, hardware(BIG), s, layer_costs(seconds.tolist()), refine=budget)
        assert isinstance(stages, Stages)
        times = [np.bincount(stages.chunk_B, weights=seconds[model.type_B, d]) for d in range(3)]
        steps.append(simulate("interleaved", 8, 3, 16, *times, np.zeros(24)).makespan_s)
    assert steps == sorted(steps, reverse=True)
    assert steps[2] < steps[0]


def test_all_cuts_are_listed_once() -> None:
    """Six blocks into three chunks: C(5, 2) = 10 cuts, ascending, none empty."""
    cuts = every_cut(6, 3)
    assert len({tuple(c) for c in cuts.tolist()}) == len(cuts) == 10
    assert (np.diff(cuts, axis=1) > 0).all()


def test_moves_keep_every_chunk_filled() -> None:
    """Moving one or two blocks never empties a chunk and never loses a block."""
    cuts = moved(np.array([0, 3, 4, 6]))
    assert (np.diff(cuts, axis=1) > 0).all()
    assert (cuts[:, -1] == 6).all()
    assert len({tuple(c) for c in cuts.tolist()}) == len(cuts) == 6
