# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from placement.cost.memory import limit_bytes, stage_memory
from placement.ir import RECOMPUTE, SCHEDULES, Job, Stages
from placement.passes.cuts import Problem, problem, score, step_seconds
from placement.passes.irregular import irregular_candidates
from placement.passes.partition import partition
from placement.passes.runs import is_run, run_candidates
from tests.clusters import strategy
from tests.layers import chain, hardware, layer_costs

CHUNKS = {"1f1b": (1,), "interleaved": (2, 3), "zb-h1": (1,), "zb-v": (2,), "dualpipe": (1,), "dualpipev": (2,)}
JOB = Job(seq_len=64, global_batch=64)
Case = tuple[Problem, dict[str, object]]


def every_cut(task: Problem) -> np.ndarray:
    """All ways to cut the blocks into non-empty chunks."""
    blocks, chunks = task.model.num_blocks, task.strategy.num_chunks
    return np.array([(0, *inner, blocks) for inner in combinations(range(1, blocks), chunks - 1)])


@st.composite
def cases(draw: st.DrawFn, runs: bool = True, schedules: tuple[str, ...] = SCHEDULES) -> Case:
    """A small model of one run between end blocks (or of any blocks), a strategy, scarce memory, perhaps a slow stage."""
    schedule = draw(st.sampled_from(schedules))
    vpp = draw(st.sampled_from(CHUNKS[schedule]))
    pp = draw(st.sampled_from([2, 4] if schedule == "dualpipe" else [2, 3, 4] if vpp == 1 else [2]))
    m = draw(st.integers(pp, 14))
    if runs:
        inner = [1] * draw(st.integers(max(pp * vpp - 2, 2), 8))
        types = [*[0] * draw(st.integers(0, 1)), *[3] * draw(st.integers(0, 2)), *inner, *[2] * draw(st.integers(0, 1))]
    else:
        types = draw(st.lists(st.integers(0, 3), min_size=pp * vpp, max_size=10))
    assume(len(types) >= pp * vpp)
    model = chain(types, types=4, tied=len(types) > 2 and types[0] == 0 and types[-1] == 2)
    time = st.sampled_from([0.0, 0.3, 1.0, 2.5])
    seconds = np.outer([draw(time), 1.0, draw(time), draw(st.sampled_from([0.6, 1.0]))], [1.0, 1.1, 0.9])
    kept = np.array([2.0, 5.0, 1.0, 4.0])
    layer = layer_costs(
        seconds.tolist(), act_YC=np.stack([kept, 0.6 * kept, 0.1 * kept], axis=1).tolist(), edge=0.1,
        recompute_YC=(seconds.sum(axis=1)[:, None] * [0.0, 0.05, 0.33]).tolist(),
        dense_Y=[0.3, 0.5, 0.3, 0.4],
    )  # fmt: skip
    slow = np.ones(pp)
    slow[draw(st.integers(0, pp - 1))] = draw(st.sampled_from([1.0, 1.0, 1.3]))
    s = strategy(schedule=schedule, pp=pp, vpp=vpp, num_microbatches=m, recompute=draw(st.sampled_from(["auto", "none"])))
    facts = {
        "model": model,
        "layer": layer,
        "strategy": s,
        "hw": hardware(draw(st.sampled_from([30.0, 60.0, 100.0, 1e9]))),
        "slow": slow,
    }
    return problem(model, JOB, facts["hw"], s, layer, 0, slow), facts  # type: ignore[arg-type]


def run(facts: dict[str, object]) -> Stages | str:
    return partition(facts["model"], JOB, facts["hw"], facts["strategy"], facts["layer"], slow_P=facts["slow"])  # type: ignore[arg-type]


def least_load(task: Problem, cuts: np.ndarray) -> float:
    """Load of the fullest stage of the best cut, infinite where none fits."""
    return float(score(task, cuts).load_NP.max(axis=1).min(initial=np.inf))


@settings(max_examples=150, deadline=None)
@given(cases())
def test_sharing_a_run_finds_the_least_load(case: Case) -> None:
    """The best candidate's fullest stage equals that of the best of all cuts; none is offered where none fits."""
    task, _ = case
    assume(is_run(task))
    found, best = least_load(task, run_candidates(task)), least_load(task, every_cut(task))
    if task.chunk_PV.shape[1] == 1:
        assert found == pytest.approx(best)
    else:
        assert best * (1 - 1e-9) <= found


@settings(max_examples=100, deadline=None)
@given(cases(runs=False, schedules=("1f1b", "zb-h1")))
def test_dynamic_programming_finds_the_least_load_of_any_chain(case: Case) -> None:
    """With one chunk a stage the irregular path is exact too, for any order of blocks."""
    task, _ = case
    assert least_load(task, irregular_candidates(task)) == pytest.approx(least_load(task, every_cut(task)))


def slower_than_best(task: Problem, facts: dict[str, object], stages: Stages | str) -> float:
    """Step of a partition over that of the fastest of all cuts; 0 where neither exists, infinite where only the best does."""
    cuts = every_cut(task)
    scores = score(task, cuts)
    fits = np.isfinite(scores.load_NP).all(axis=1)
    if isinstance(stages, str):
        assert stages == "memory"
        return float("inf") if fits.any() else 0.0
    cut = np.searchsorted(stages.chunk_B, np.arange(task.strategy.num_chunks + 1))[None]
    mine = score(task, cut)
    assert [RECOMPUTE[i] for i in mine.mode_NP[0]] == list(stages.recompute_P)
    memory = stage_memory(facts["model"], JOB, task.strategy, stages, facts["layer"])  # type: ignore[arg-type]
    assert memory.sum(axis=1).max() <= limit_bytes(JOB, facts["hw"]) * (1 + 1e-9)  # type: ignore[arg-type]
    best = step_seconds(task, cuts[fits], scores.mode_NP[fits], scores.load_NP[fits]).min()
    return float(step_seconds(task, cut, mine.mode_NP, mine.load_NP)[0] / best)


@settings(max_examples=100, deadline=None)
@given(st.booleans().flatmap(lambda runs: cases(runs=runs)))
def test_a_small_partition_is_the_fastest_of_all(case: Case) -> None:
    """It fits by the memory model, no cut is faster, and "memory" is said only where no cut fits."""
    assert slower_than_best(*case, run(case[1])) <= 1 + 1e-9


@settings(max_examples=150, deadline=None)
@given(st.booleans().flatmap(lambda runs: cases(runs=runs)))
def test_a_partition_by_search_is_near_the_fastest_of_all(case: Case) -> None:
    """Without trying all cuts: one chunk a stage within 2 % and never wrong on memory; several chunks within 20 %."""
    task, facts = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("placement.passes.partition.FEW", 0)
        stages = run(facts)
    slower = slower_than_best(task, facts, stages)
    if task.chunk_PV.shape[1] == 1:
        assert slower <= 1.02
    else:
        assert slower <= 1.2 or isinstance(stages, str)
