# SPDX-License-Identifier: Apache-2.0
"""Plans of given strategies, cut, placed and priced by the compiler, without its search."""

from __future__ import annotations

import dataclasses

from placement.cost.confidence import of_candidate
from placement.ir import Cluster, Efficiency, Job, ModelGraph, Plan, Search, Strategy
from placement.passes.bound import certify
from placement.passes.place import launcher_default, place
from placement.passes.problem import problem, realise, relax

DEGREES = {"tp": 1, "cp": 1, "ep": 1, "etp": 1, "gtp": 1, "egtp": 1, "dp": 1, "pp": 1, "vpp": 1, "micro_batch": 1}
CHOICES = {"schedule": "1f1b", "recompute": "auto", "sharding": "zero1"}


def strategy_for(job: Job, **given: int | str) -> Strategy:
    """A strategy whose number of microbatches follows from the job's batch."""
    s = DEGREES | CHOICES | given
    return Strategy(**s, num_microbatches=job.global_batch // (int(s["dp"]) * int(s["micro_batch"])))


def compiled(cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency, **given: int | str) -> Plan:
    """A whole plan of one strategy, which must fit."""
    schedule, sharding = str(given.get("schedule", "1f1b")), str(given.get("sharding", "zero1"))
    job = dataclasses.replace(job, schedules=(*job.schedules, schedule), sharding=(*job.sharding, sharding))
    task = problem(cluster, model, job, efficiency)
    relaxed = relax(task, strategy_for(job, **given))
    assert not isinstance(relaxed, str), relaxed
    placement = place(cluster, relaxed.strategy, relaxed.traffic, job)
    chosen = realise(task, relaxed.strategy, relaxed.stages, placement)
    default = realise(task, relaxed.strategy, relaxed.stages, launcher_default(cluster, relaxed.strategy, job))
    certificate = certify(cluster, relaxed.strategy, placement, chosen.traffic)
    seen = Search(3, 2, 1, {"memory": 1}, relaxed.cost.step_s, False, (), "budget")
    sure = of_candidate(cluster, model, job, efficiency, chosen)
    return Plan(cluster, model, job, efficiency, chosen, default.cost, certificate, seen, confidence=sure)
