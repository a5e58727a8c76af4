# SPDX-License-Identifier: Apache-2.0
"""Jobs larger than the groups of a thin tier: what must cross is never overstated, whatever the placement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from placement.cost.cells import cell_size
from placement.cost.ideal import ideal_spans
from placement.cost.pipeline import least_timeline, simulate
from placement.cost.thin import least_edges, lying, thin_tiers
from placement.ir import AXES, Job, Placement, Spans, Strategy
from placement.passes.problem import Problem, Relaxed, problem, realise, relax
from placement.spec.catalog import efficiency
from placement.spec.model import lower_short
from tests.clusters import regular, strategy
from tests.property.test_search import DENSE, MOE

SCHEDULES = (("1f1b", 1), ("interleaved", 2), ("zb-h1", 1), ("zb-v", 2), ("dualpipe", 1))


def halls(model: dict[str, object], taper: float) -> Problem:
    """Two halls of three NVLink domains of two GPUs; the links of a hall are this share of its adapters."""
    cluster = regular(2, 1, (3, 2), taper=(taper,))
    assert thin_tiers(cluster) == (1,)
    return problem(cluster, lower_short(model | {"layers": 12}, "toy"), Job(seq_len=512, global_batch=24), efficiency())


def every_kind(routed: bool) -> list[Strategy]:
    """Strategies that use all twelve GPUs, in all shapes of grids of cells."""
    shapes = [(tp, dp, 12 // (tp * dp)) for tp in (1, 2) for dp in (1, 2, 3, 6) if 12 % (tp * dp) == 0]
    return [
        strategy(tp=tp, dp=dp, pp=pp, ep=2 if routed and tp * dp % 2 == 0 else 1, vpp=vpp, schedule=schedule,
                 num_microbatches=24 // dp, sharding="zero1")
        for tp, dp, pp in shapes for schedule, vpp in SCHEDULES
        if pp > 1 and not (schedule in ("dualpipe", "interleaved") and (pp % 2 or 24 // dp % pp or pp * vpp > 12))
    ]  # fmt: skip


@pytest.mark.parametrize("taper", [0.5, 0.02])
@pytest.mark.parametrize("model", [DENSE, MOE], ids=["dense", "moe"])
def test_no_placement_is_faster_than_the_bound(model: dict[str, object], taper: float) -> None:
    """Cells of every strategy laid out in order, by replicas, and at random: the relaxed step is under all of them."""
    task, rng, seen, raised = halls(model, taper), np.random.default_rng(1), 0, 0
    for s in every_kind(routed=model is MOE):
        found = relax(task, s)
        if isinstance(found, str):
            continue
        plain = relax(task, s, across=False)
        assert isinstance(plain, Relaxed) and plain.cost.step_s <= found.cost.step_s * (1 + 1e-12)
        raised += plain.cost.step_s < found.cost.step_s * (1 - 1e-6)
        cell = cell_size(task.cluster, s)
        block = np.arange(12).reshape(-1, max(cell, 2))  # whole nodes of two GPUs
        orders = [np.arange(len(block)), np.argsort(np.arange(len(block)) % 2, kind="stable")]
        orders += [rng.permutation(len(block)) for _ in range(12)]
        for order in orders:
            exact = realise(task, found.strategy, found.stages, Placement(block[order].ravel()))
            assert found.cost.step_s <= exact.cost.step_s * (1 + 1e-9), (s, order)
            seen += 1
    assert seen > 100 and raised > 5


def test_every_way_to_fill_half_of_a_grid_is_one_of_the_ways() -> None:
    """4 x 3 cells in two groups of six, exhaustively: mixed stages and columns are those of some way at least."""
    cluster = regular(2, 1, (3, 4), taper=(0.1,))  # halls of three domains of four GPUs
    s = strategy(tp=2, dp=3, pp=4)
    assert cell_size(cluster, s) == 2
    ideal = ideal_spans(cluster, {a: np.array([s.size(a)]) for a in AXES})
    spans = Spans(ideal.members[0], ideal.ring_spB[0], ideal.a2a_spB[0], some_spB=least_edges(cluster, s, 2))
    uplink = float(cluster.tiers[1].uplink_Bps_J.max())
    (tier,) = lying(cluster, s, spans, 2)
    known = [
        (float(x.axis("dp")[1][1]) * uplink / 2, float(x.some_spB[0]) * uplink / 2) for x in tier if x.some_spB is not None
    ]
    for half in itertools.combinations(range(12), 6):
        inside = np.isin(np.arange(12), half).reshape(4, 3)
        rows, columns = (int((inside.any(axis=a) & ~inside.all(axis=a)).sum()) for a in (1, 0))
        assert any(r <= rows + 1e-9 and c <= columns + 1e-9 for r, c in known), half


@settings(max_examples=60, deadline=None)
@cases(
    st.sampled_from([("1f1b", 4, 1, 8), ("1f1b", 4, 1, 3), ("interleaved", 4, 2, 8), ("zb-h1", 4, 1, 6), ("zb-v", 4, 2, 5)]),
    st.integers(0, 2**32 - 1),
)
def test_no_order_of_boundaries_is_shorter_than_the_tangents(shape: tuple[str, int, int, int], seed: int) -> None:
    """All orders of random prices of boundaries, simulated."""
    schedule, pp, vpp, m = shape
    rng, chunks = np.random.default_rng(seed), pp * vpp
    times = [rng.uniform(0.5, 1.5, chunks) for _ in range(3)]
    lag_P = rng.choice([0.0, 0.1, 2.0], pp if schedule == "interleaved" else pp - 1)
    stage_C = strategy(pp=pp, vpp=vpp, schedule=schedule).chunk_stage
    boundary_C = np.minimum(stage_C[:-1], stage_C[1:]) if schedule == "zb-v" else stage_C[:-1]
    least = least_timeline(schedule, pp, vpp, m, *times, lag_P, boundary_C).makespan_s
    for order in set(itertools.permutations(lag_P.tolist())):
        lag_C = np.array([*order, 0.0])[boundary_C]
        assert least <= simulate(schedule, pp, vpp, m, *times, lag_C).makespan_s * (1 + 1e-12)


def test_a_group_that_holds_the_job_has_nothing_to_cross() -> None:
    """Six of twelve GPUs fit one hall."""
    task = halls(DENSE, 0.02)
    s = strategy(tp=2, dp=3, pp=1, num_microbatches=8, sharding="zero1")
    found = relax(task, s)
    assert isinstance(found, Relaxed)
    plain = relax(task, s, across=False)
    assert isinstance(plain, Relaxed) and found.cost.step_s == plain.cost.step_s
