# SPDX-License-Identifier: Apache-2.0
"""Plans whose messages hop to another rail: the referee prices the hop too, and the screens name it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from placement.ir import Cluster, Job, Placement, Plan
from placement.passes.problem import problem, realise
from placement.report.traffic import hop_rows, hops_text
from placement.report.why_rank import rank_facts, rank_text
from placement.runtime import load_plan, write_plan
from placement.spec import catalog, load_cluster
from placement.spec.model import load_model
from placement.verify import verify
from tests.compiled import compiled

RACK = 72
LINE = np.r_[0:4, RACK : RACK + 4]  # four stages of two ranks: two on a host of one rack, two on a host of another
RING = np.r_[0:2, RACK + 1 : RACK + 3]  # one ring of four: rails 0 1 and 1 2


def placed(cluster: Cluster, gpu_R: np.ndarray, **degrees: int) -> Plan:
    """A plan of a model with a vision tower, moved to these GPUs."""
    model, job = load_model("multimodal-graph")[0], Job(4096, 64, ragged=True)
    plan = compiled(cluster, model, job, catalog.efficiency(), **degrees)
    task = problem(cluster, model, plan.job, plan.efficiency)
    chosen = realise(task, plan.chosen.strategy, plan.chosen.stages, Placement(gpu_R))
    return dataclasses.replace(plan, chosen=chosen)


@pytest.mark.parametrize(
    ("gpu_R", "degrees", "part"), [(LINE, {"tp": 2, "pp": 4}, "pp"), (RING, {"dp": 4}, "dp")], ids=["line", "ring"]
)
def test_the_referee_prices_hops_alike(gpu_R: np.ndarray, degrees: dict[str, int], part: str, tmp_path: Path) -> None:
    """Both arithmetics agree on the step and its parts, and the same placement is cheaper where rails are joined."""
    cluster = load_cluster("gb200-su")
    apart = dataclasses.replace(cluster, rails_connected=False)
    plan, joined = placed(apart, gpu_R, **degrees), placed(cluster, gpu_R, **degrees)
    assert plan.chosen.cost.parts_s[part] > joined.chosen.cost.parts_s[part]
    write_plan(plan, tmp_path / "plan", {})
    loaded = load_plan(tmp_path / "plan")
    verdict = verify(loaded, apart, plan.model, plan.job, plan.efficiency)
    assert {"step-time", "traffic", "rails"} & {c.name for c in verdict.checks if not c.ok} == set()
    (hop,) = [row for row in hop_rows(apart, loaded.strategy, loaded.placement) if row["axis"] == part]
    assert hop["forwarded"] == 1.0
    assert f"{part} messages hop to another rail over NVLink (PXN)" in hops_text(apart, [hop])
    facts = rank_facts(apart, loaded.json, loaded.strategy, loaded.placement.gpu_R, 0)
    assert f"{part} hops to another rail over NVLink: the busiest GPU forwards 1 x what a rank sends" in rank_text(facts)
    assert hops_text(cluster, []) == "" and "no message hops" in hops_text(apart, [])


def test_a_stage_that_nobody_can_forward_to_is_broken(tmp_path: Path) -> None:
    """The third and fourth stage on rails 1 and 2 of the other host: no member of the pipelines of rank 2 and 3 sits there."""
    apart = dataclasses.replace(load_cluster("gb200-su"), rails_connected=False)
    lost = np.r_[0:2, 4:6, RACK + 2 : RACK + 4, RACK + 4 : RACK + 6]
    plan = placed(apart, lost, tp=2, pp=4)
    write_plan(plan, tmp_path / "plan", {})
    verdict = verify(load_plan(tmp_path / "plan"), apart, plan.model, plan.job, plan.efficiency)
    said = [d.message for d in verdict.diagnostics if d.name == "verify/rails"]
    assert said == ["no member on the right rail forwards messages between stages: rank 2, rank 3, rank 4, rank 5"]
