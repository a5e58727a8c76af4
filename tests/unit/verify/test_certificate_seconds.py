# SPDX-License-Identifier: Apache-2.0
"""The seconds of the certificate: derived by the referee, and refused where they promise too much."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from placement.ir import Job, Plan
from placement.passes.problem import placement_floor_s, problem
from placement.runtime import load_plan, write_plan
from placement.spec import catalog, load_cluster
from placement.verify import verify
from tests.compiled import compiled
from tests.plans import INPUTS, tiny_model


def failed(plan: Plan, out: Path) -> list[str]:
    write_plan(plan, out, INPUTS)
    verdict = verify(load_plan(out), plan.cluster, plan.model, plan.job, plan.efficiency)
    return [c.name for c in verdict.checks if not c.ok]


def test_seconds_are_derived_again(tmp_path: Path) -> None:
    """The bound passes; a hundredth above what the best placement could reach does not."""
    cluster, model, job, efficiency = load_cluster("tiny"), tiny_model(tied=True), Job(64, 16), catalog.efficiency()
    plan = compiled(cluster, model, job, efficiency, tp=2, ep=2, dp=2, pp=2)
    task = problem(cluster, model, plan.job, efficiency)
    floor_s = placement_floor_s(task, plan.chosen.strategy, plan.chosen.stages, plan.certificate.cell)
    step_s = plan.chosen.cost.step_s
    assert 0 < floor_s <= step_s * (1 + 1e-12)
    told = dataclasses.replace(plan.certificate, step_s=step_s, step_bound_s=min(floor_s, step_s))
    assert told.step_gap == step_s / told.step_bound_s - 1.0
    assert failed(dataclasses.replace(plan, certificate=told), tmp_path / "honest") == []
    boast = dataclasses.replace(told, step_bound_s=min(floor_s, step_s) * 1.01)
    assert failed(dataclasses.replace(plan, certificate=boast), tmp_path / "boast") == ["certificate"]
