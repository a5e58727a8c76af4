# SPDX-License-Identifier: Apache-2.0
"""The whole compiler, composed. The only file that knows the order of the passes (DESIGN §2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from placement.ir import Cluster, Efficiency, Job, ModelGraph, Plan, StepCost

Observe = Callable[[str, int, int, str], None]


def silent(stage: str, done: int, total: int, detail: str) -> None:
    """An observer that hears and says nothing."""


def compile_plan(cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency, observe: Observe = silent) -> Plan:
    """Choose a parallel strategy, cut the model into stages, place every rank on a GPU, and bound what could be better.

    `observe(stage, done, total, detail)` hears of progress. Raises `diag.Infeasible` with the histogram of rejections.
    """
    from placement.cost.confidence import of_candidate
    from placement.passes.bound import certify
    from placement.passes.longhaul import across
    from placement.passes.place import launcher_default
    from placement.passes.problem import placement_floor_s, polish, problem, realise
    from placement.passes.rules import broken_rule
    from placement.passes.tight import parted, search_all

    task = problem(cluster, model, job, efficiency)
    best, seen = search_all(task, observe)
    chosen = polish(task, best)
    observe("baseline", 0, 1, "launcher's default order")
    default = realise(task, chosen.strategy, chosen.stages, launcher_default(cluster, chosen.strategy, job))
    observe("certificate", 0, 1, "lower bounds for any placement")
    broken = broken_rule(cluster, chosen.strategy, job, default.placement)
    if default.cost.step_s < chosen.cost.step_s and not broken:  # as near as layouts tell each other apart, it may be
        chosen = default
    certificate = certify(cluster, chosen.strategy, chosen.placement, chosen.traffic, job.ragged)
    seen = replace(seen, bound_s=min(seen.bound_s, chosen.cost.step_s))
    floor_s = placement_floor_s(task, chosen.strategy, chosen.stages, certificate.cell)
    certificate = replace(certificate, step_s=chosen.cost.step_s, step_bound_s=min(floor_s, chosen.cost.step_s))
    about = (*parted(certificate, chosen.strategy), *across(cluster, chosen.cost.bytes_tier))
    told = (*warnings(job, default.cost, chosen.cost, broken), *about)
    sure = of_candidate(cluster, model, job, efficiency, chosen)
    return Plan(cluster, model, job, efficiency, chosen, default.cost, certificate, seen, told, sure)


def warnings(job: Job, default: StepCost, chosen: StepCost, broken: str = "") -> tuple[str, ...]:
    """What a reader should know before believing the plan. `broken`: the rule that the launcher's default order breaks."""
    found = []
    if broken and default.step_s < chosen.step_s:
        less = f"{100 * (1 - default.step_s / chosen.step_s):.2g}%"
        found.append(f"the launcher's default order is predicted to take {less} less, but it {broken}")
    elif default.step_s <= chosen.step_s:
        found.append("the launcher's default order is as good as any other that was found")
    if chosen.step_s and max(chosen.parts_s.values()) == chosen.parts_s["bubble"]:
        found.append("the pipeline bubble is the largest part of the step: a larger global batch would use the cluster better")
    if job.precision != "bf16":
        found.append(f"{job.precision} speed is assumed for every matmul of the layers; the head runs in bf16")
    return tuple(found)
