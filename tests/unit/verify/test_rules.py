# SPDX-License-Identifier: Apache-2.0
"""What a job asks of any order of ranks: the referee counts spares; only a default order that keeps none may be faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from placement.compile import compile_plan, warnings
from placement.ir import Job, ModelGraph, Plan, Spares
from placement.runtime import load_plan, write_plan
from placement.spec.catalog import efficiency
from placement.spec.model import lower_short
from placement.verify import verify
from placement.verify.case import Case
from placement.verify.rules import broken_by
from tests.clusters import regular
from tests.property.test_search import MOE

# Two pods of two leafs of two domains, each of four nodes of one GPU.
CLUSTER = regular(1, 4, (2, 2, 2))
KEPT = {
    "per_rack": Spares("per_rack", 1), "racks": Spares("racks", 1), "per_group": Spares("per_group", 1),
    "gpus": Spares("gpus", 16), "survive": Spares("survive", hours=24.0, probability=0.9, rate=0.03),
}  # fmt: skip


def toy() -> ModelGraph:
    return lower_short(MOE | {"experts": 8}, "toy")


def planned(spares: Spares, dp: int) -> Plan:
    pins = {"tp": 1, "pp": 1, "ep": 1, "dp": dp}
    return compile_plan(CLUSTER, toy(), Job(seq_len=512, global_batch=96, pins=pins, effort=0, spares=spares), efficiency())


def told(plan: Plan, at: Path, spares: Spares) -> list[str]:
    """What the referee says of the spares of a plan, if the job asked for these."""
    write_plan(plan, at / "plan", {})
    job = replace(plan.job, spares=spares)
    found = verify(load_plan(at / "plan"), plan.cluster, plan.model, job, plan.efficiency)
    return [d.message for d in found.diagnostics if d.name == "verify/spares"]


@pytest.mark.parametrize("policy", KEPT)
def test_spares_that_are_kept_are_found(policy: str, tmp_path: Path) -> None:
    plan = planned(KEPT[policy], 16)
    assert not told(plan, tmp_path, KEPT[policy])


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("per_rack", "8 racks keep fewer than 1 tray"), ("racks", "0 racks are kept, not 1"),
        ("per_group", "2 groups keep fewer than 1 rack"), ("gpus", "0 GPUs are kept, not 16"),
        ("survive", "0 racks are kept, not 2"),
    ],
)  # fmt: skip
def test_spares_that_are_missing_are_found(policy: str, says: str, tmp_path: Path) -> None:
    """A plan on all 32 GPUs keeps none. 0.96 failures a day are two or fewer with 0.9: 0.38 + 0.37 + 0.18 of the time."""
    (message,) = told(planned(Spares("none"), 32), tmp_path, KEPT[policy])
    assert says in message


def test_a_default_order_that_keeps_no_spares_may_be_faster(tmp_path: Path) -> None:
    """It packs twelve ranks into three domains of four, beside thin uplinks; with a tray a rack to spare four are needed."""
    cluster = regular(1, 3, (2, 2, 2), failed_nodes=[20, 0, 12, 21], taper=(4.0, 2.0))
    job = Job(seq_len=512, global_batch=96, effort=0, spares=Spares("per_rack", 2))
    plan = compile_plan(cluster, toy(), job, efficiency())
    assert plan.baseline.step_s < plan.chosen.cost.step_s
    assert any("less, but it does not keep the spares" in w for w in plan.warnings)
    write_plan(plan, tmp_path / "plan", {})
    found = verify(load_plan(tmp_path / "plan"), plan.cluster, plan.model, plan.job, plan.efficiency)
    assert not list(found.diagnostics)


def test_cells_that_the_plan_keeps_are_known_without_a_bound(tmp_path: Path) -> None:
    """Where no bound speaks of cells (`cell` 0), its whole cells count: tensor groups of four, domains of two and of four."""
    cluster = regular(2, 2, (2, 2), failed_nodes=[0])
    job = Job(seq_len=512, global_batch=96, pins={"tp": 4, "pp": 1, "dp": 3, "ep": 1}, effort=0)
    plan = compile_plan(cluster, toy(), job, efficiency())
    write_plan(plan, tmp_path / "plan", {})
    case = Case(load_plan(tmp_path / "plan"), plan.cluster, plan.model, plan.job, plan.efficiency)
    assert (case.tree["certificate"]["whole_cell"], case.tree["certificate"]["parted_cells"]) == (4, 0)
    for cell in (4, 0):
        case.tree["certificate"]["cell"] = cell
        assert not broken_by(case, case.node_R)
        assert "cells of 4 ranks leave" in broken_by(case, case.default_node_R)


def test_after_a_repair_the_default_order_is_not_as_good_but_faster() -> None:
    plan = planned(Spares("none"), 32)
    cost = plan.chosen.cost
    slower = replace(cost, step_s=cost.step_s + 1.0, parts_s={**cost.parts_s, "dp": cost.parts_s["dp"] + 1.0})
    told = warnings(plan.job, cost, slower, "moves more ranks")
    assert "less, but it moves more ranks" in told[0] and not any("as good as" in w for w in told)
