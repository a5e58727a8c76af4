# SPDX-License-Identifier: Apache-2.0
"""Jobs that need more GPUs than whole expert groups find room for: as few groups as can be are parted, and priced as such."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from placement.compile import compile_plan
from placement.cost.cells import TENSORS, capacity, cell_size, kept_cell
from placement.cost.ideal import kept_spans
from placement.cost.spans import spans_of
from placement.diag import Infeasible
from placement.ir import AXES, Cluster, Job, Plan, Spares
from placement.passes.bound import tier_rooms
from placement.passes.place import place
from placement.passes.profile import best_profile
from placement.passes.repair import repair
from placement.runtime import load_plan, write_plan
from placement.spec.catalog import efficiency
from placement.spec.model import lower_short
from placement.verify import verify
from tests.clusters import regular, strategy
from tests.property.test_search import MOE
from tests.unit.test_place import ring
from tests.unit.verify.test_referee import with_json

NODES = 4  # of two GPUs in a domain
TIGHT = {"tp": 1, "ep": 8, "dp": 24, "pp": 1}  # three groups of 8


def damaged(*more: int) -> Cluster:
    """Domains of 8, 6, 8 and 6 GPUs, less the nodes of `more`."""
    return regular(2, NODES, (2, 2), failed_nodes=[4, 12, *more])


def compiled(**pins: int | str) -> Plan:
    job = Job(seq_len=512, global_batch=24, pins=pins, effort=1)
    return compile_plan(damaged(), lower_short(MOE | {"experts": 8}, "toy"), job, efficiency())


def shrunk() -> Plan:
    """Four domains of six GPUs, three groups of 8 on all of them, and so many tokens that groups weigh more than rings."""
    job = Job(seq_len=512, global_batch=192, pins=TIGHT, effort=1)
    cluster = regular(2, NODES, (2, 2), failed_nodes=[0, 5, 9, 14])
    return compile_plan(cluster, lower_short(MOE | {"experts": 8}, "toy"), job, efficiency())


def parted(plan: Plan) -> int:
    domain_R = plan.cluster.tiers[0].group_N[plan.chosen.placement.gpu_R // 2]
    groups = domain_R.reshape(-1, plan.chosen.strategy.ep)
    return int((groups != groups[:, :1]).any(axis=1).sum())


def test_a_tight_job_parts_as_few_groups_as_it_can(tmp_path: Path) -> None:
    """Two domains hold a group each, so one of three is parted; the plan says so, and the referee counts the same."""
    plan = compiled(**TIGHT)
    assert parted(plan) == plan.certificate.parted == 1
    assert (plan.certificate.cell, plan.certificate.whole) == (2, 8)
    assert any("1 of 3 blocks of 8 ranks" in w for w in plan.warnings)
    write_plan(plan, tmp_path / "plan", {})
    loaded = load_plan(tmp_path / "plan")
    told = verify(loaded, plan.cluster, plan.model, plan.job, plan.efficiency)
    broken = list(told.diagnostics)
    assert not broken


@pytest.mark.parametrize(
    ("groups", "failed", "units", "pp", "batch"),
    [
        ((2, 2), [5, 11, 12, 15], 3, 1, 384), ((2, 3), [15, 16, 20], 5, 1, 640), ((3, 2), [1, 14, 15], 5, 1, 640),
        ((3, 2), [0, 6, 13, 15, 22, 23], 4, 2, 64), ((2, 3), [1, 8, 13, 19, 23], 4, 1, 512),
    ],
)  # fmt: skip
def test_never_slower_than_the_launcher_who_keeps_as_much(
    groups: tuple[int, int], failed: list[int], units: int, pp: int, batch: int, tmp_path: Path
) -> None:
    """A step waits for the slowest group, so that the launcher's order may be as fast although it parts more of them: where it
    keeps tensor groups together and is faster, by however little, it is taken.
    """
    pins = {"tp": 1, "ep": 8, "dp": units * 8 // pp, "pp": pp}
    cluster, job = regular(2, NODES, groups, failed_nodes=failed), Job(seq_len=512, global_batch=batch, pins=pins, effort=0)
    plan = compile_plan(cluster, lower_short(MOE | {"experts": 8}, "toy"), job, efficiency())
    assert plan.certificate.parted and plan.chosen.cost.step_s <= plan.baseline.step_s
    write_plan(plan, tmp_path / "plan", {})
    told = verify(load_plan(tmp_path / "plan"), plan.cluster, plan.model, plan.job, plan.efficiency)
    assert not list(told.diagnostics)


def test_the_bound_counts_tails_and_the_referee_derives_it(tmp_path: Path) -> None:
    """Six ranks of each group stay together, so that one domain holds the tails of three: more leaves than domains by
    themselves say. A higher bound, or prices that do not give it, are found out.
    """
    plan = shrunk()
    found, room_J = plan.certificate, tier_rooms(plan.cluster)[0]
    plain = best_profile(plan.chosen.strategy, plan.chosen.traffic, room_J, priced=False)
    assert found.method["nvlink"] == "priced parts"
    assert plain and found.lower_bytes["nvlink"] > 1.2 * plain.bound
    write_plan(plan, tmp_path / "plan", {})
    loaded, at = load_plan(tmp_path / "plan"), ("certificate", "tiers", "nvlink")
    for path, value in (
        ((), None),
        (("lower_bytes",), found.lower_bytes["nvlink"] * 1.001),
        (("witness", "share"), 0.0),
        (("witness", "unit"), 7),
        (("witness", "share"), float("nan")),
    ):
        claimed = with_json(loaded, *at, *path, value) if path else loaded
        told = verify(claimed, plan.cluster, plan.model, plan.job, plan.efficiency)
        said = [d.message for d in told.diagnostics if d.name == "verify/certificate"]
        assert any("derived" in message for message in said) == bool(path)


def test_a_repair_of_a_parted_job_moves_what_was_lost_and_no_more() -> None:
    """A node that holds two ranks dies: both go to the free nodes, and every rank stands on a healthy GPU of its own."""
    old = compiled(**TIGHT)
    used_N = np.unique(old.chosen.placement.gpu_R // 2)
    for dead in used_N.tolist():
        after = damaged(dead)
        found = repair(after, old.chosen.strategy, old.chosen.placement, old.job, old.chosen.traffic)
        new_R = found.placement.gpu_R
        assert (new_R != old.chosen.placement.gpu_R).sum() == 2
        assert len(np.unique(new_R)) == len(new_R) and after.whole_N[new_R // 2].all()


def test_its_price_is_that_of_the_adapters_that_it_uses() -> None:
    """6 of 8 members are together: the other two send 6 / 7 of their bytes over one adapter each."""
    cluster, s = damaged(), strategy(ep=8, dp=24)
    spans = spans_of(cluster, s, place(cluster, s, ring(s, ep=1.0), Job(seq_len=1, global_batch=1)))
    at = AXES.index("ep")
    assert spans.members[at, 0] == 2
    assert spans.a2a_spB[at, 0] == pytest.approx(6 / 7 / float(cluster.nic_Bps_N[0]))
    best = kept_spans(cluster, {a: np.array([s.size(a)]) for a in AXES}, TENSORS)
    assert best.members[0, at, 0] >= spans.members[at, 0] and 0 < best.a2a_spB[0, at, 0] <= spans.a2a_spB[at, 0]


def test_groups_that_fit_are_weighed_against_parted_ones() -> None:
    """With the degree pinned alone, 16 whole ranks stand against 24 parted ones, and the faster of the two is taken."""
    whole, tight, free = compiled(**TIGHT | {"dp": 8, "pp": 2}), compiled(**TIGHT), compiled(ep=8)
    assert whole.certificate.parted == 0
    assert free.chosen.cost.step_s <= min(whole.chosen.cost.step_s, tight.chosen.cost.step_s) * (1 + 1e-9)
    assert compiled().certificate.parted == 0


def test_groups_are_not_parted_for_spares_or_without_need() -> None:
    """What fits is kept whole; where spares alone are in the way, or tensor groups do not fit, the job is refused."""
    cluster, job = damaged(), Job(seq_len=1, global_batch=1)
    fits, tight = strategy(ep=8, dp=16), strategy(ep=8, dp=24)
    assert kept_cell(cluster, fits, job) == cell_size(cluster, fits) == 8
    assert kept_cell(cluster, tight, job) == 2 and int(capacity(cluster, 8)) == 2
    with pytest.raises(Infeasible, match="2 cells of 8 ranks"):
        place(cluster, fits, ring(fits, ep=1.0), Job(seq_len=1, global_batch=1, spares=Spares("racks", 1)))
    wide = strategy(tp=8, dp=3)
    with pytest.raises(Infeasible, match="3 cells of 8 ranks"):
        place(cluster, wide, ring(wide, dp=1.0), job)
