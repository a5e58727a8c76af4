# SPDX-License-Identifier: Apache-2.0
"""The whole repair, composed: the fewest moves, the best of the repairs that need no more, its price and its certificate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placement.diag import NoRepair
from placement.ir import Candidate, Certificate, Cluster, Efficiency, Job, ModelGraph, Plan, Search

if TYPE_CHECKING:
    from placement.passes.fetch import Sources
    from placement.passes.problem import Problem
    from placement.passes.relocate import Offer
    from placement.passes.repair import Repair
    from placement.passes.shrink import Shrunk


@dataclass(frozen=True)
class Standing:
    """A plan that stands, as it was written: what a repair keeps. `narrower`: no GPU came back since, so its bounds hold on."""

    chosen: Candidate
    certificate: Certificate
    search: Search
    warnings: tuple[str, ...] = ()
    narrower: bool = True


@dataclass(frozen=True)
class Repaired:
    """A repaired plan. `sources` for `repair.moved_R`; `shrunk` where replicas had to go: then the ranks are counted anew."""

    plan: Plan
    repair: Repair
    sources: Sources
    shrunk: Shrunk | None = None
    offer: Offer | None = None
    taken: bool = False


@dataclass(frozen=True)
class Terms:
    """When moves beyond the fewest are made. `limit`: of ranks, None: as many as pay.

    They pay if the time lost by one interruption of the job, `restart_s`, is won back within `horizon_s`.
    """

    limit: int | None = 0
    restart_s: float = 300.0
    horizon_s: float = 24 * 3600.0


def repair_plan(
    cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency, standing: Standing, *, shrink: bool = False,
    terms: Terms | None = None,
) -> Repaired:  # fmt: skip
    """Repair a plan for its cluster as it is now: same strategy, stages and ranks.

    `terms`: when ranks leave slow nodes although they could stay. `shrink`: run on fewer replicas where there is no repair.
    Raises NoRepair.
    """
    from placement.passes.fetch import sources
    from placement.passes.problem import problem
    from placement.passes.relocate import offer
    from placement.passes.shrink import shrunk

    task = problem(cluster, model, job, efficiency)
    less = None
    try:
        chosen, found = _best(task, standing.chosen)
    except NoRepair as error:
        if not shrink:
            raise _with_advice(error, cluster, standing.chosen, job) from None
        less = shrunk(cluster, standing.chosen, job)
        task = replace(task, job=less.job)
        standing = replace(standing, chosen=less.chosen, narrower=False)
        chosen, found = _best(task, less.chosen)
        _require_memory(task, chosen)
    terms = terms or Terms()
    other = None if terms.limit == 0 else offer(task, standing.chosen, chosen, found, terms.restart_s, terms.limit)
    taken = other is not None and other.break_even_steps * other.step_s[1] <= terms.horizon_s
    if other is not None and taken:
        chosen, found = other.chosen, other.repair
    plan = settled(task, standing, chosen)
    before = standing.chosen.placement
    return Repaired(plan, found, sources(cluster, chosen.strategy, before, found.moved_R), less, other, taken)


def _with_advice(error: NoRepair, cluster: Cluster, chosen: Candidate, job: Job) -> NoRepair:
    """What would have to shrink."""
    from placement.passes.shrink import shrunk

    try:
        less = shrunk(cluster, chosen, job)
    except NoRepair as other:
        return NoRepair(str(error), error.short, error.cell, f"{other}; return parts to service, or plan again")
    (old, new), (full, batch) = less.replicas, less.batch
    text = f"`--shrink` runs {new:,} of {old:,} replicas with the same layout, {batch:,} instead of {full:,} sequences a step"
    return NoRepair(str(error), error.short, error.cell, text)


def _best(task: Problem, old: Candidate) -> tuple[Candidate, Repair]:
    """The repair with the shorter step among those with the fewest moves."""
    from placement.passes.problem import realise
    from placement.passes.repair import repair

    fixes = [repair(task.cluster, old.strategy, old.placement, task.job, old.traffic, nearest=True)]
    if fixes[0].cells_moved:
        other = repair(task.cluster, old.strategy, old.placement, task.job, old.traffic)
        fixes += [] if (other.placement.gpu_R == fixes[0].placement.gpu_R).all() else [other]
    found = [(realise(task, old.strategy, old.stages, fix.placement), fix) for fix in fixes]
    return min(found, key=lambda pair: pair[0].cost.step_s)


def _require_memory(task: Problem, chosen: Candidate) -> None:
    """Fewer replicas hold larger shards of the optimizer states. Raises NoRepair."""
    limit = task.hw.chip.hbm_bytes * (1.0 - task.job.memory_margin)
    need_P = chosen.cost.memory_PM.sum(axis=1)
    if float(need_P.max()) > limit * (1 + 1e-9):
        p = int(need_P.argmax())
        message = f"fewer replicas do not fit the memory: stage {p} would need {need_P[p] / 1e9:.1f} GB of {limit / 1e9:.1f} GB"
        raise NoRepair(message, help="plan again with `placement plan`, or return parts to service")


def settled(task: Problem, standing: Standing, chosen: Candidate) -> Plan:
    """The whole plan around a repaired candidate: baseline and certificate on the cluster as it is now."""
    from placement.compile import warnings
    from placement.cost.confidence import of_candidate
    from placement.passes.bound import certify, parted_cells
    from placement.passes.place import launcher_default
    from placement.passes.problem import placement_floor_s, realise

    default = realise(task, chosen.strategy, chosen.stages, launcher_default(task.cluster, chosen.strategy, task.job))
    if standing.narrower:
        moved = chosen.cost.bytes_tier.values()
        plan_bytes = {t.name: sum(axis[t.name] for axis in moved) for t in task.cluster.tiers}
        whole, parted = parted_cells(task.cluster, chosen.strategy, chosen.placement, task.job.ragged)
        certificate = replace(
            standing.certificate, plan_bytes=plan_bytes, step_s=chosen.cost.step_s, whole=whole, parted=parted
        )
    else:
        found = certify(task.cluster, chosen.strategy, chosen.placement, chosen.traffic, task.job.ragged, quick=True)
        floor_s = placement_floor_s(task, chosen.strategy, chosen.stages, found.cell)
        certificate = replace(found, step_s=chosen.cost.step_s, step_bound_s=min(floor_s, chosen.cost.step_s))
    told = dict.fromkeys((*standing.warnings, *warnings(task.job, default.cost, chosen.cost, "moves more ranks")))
    sure = of_candidate(task.cluster, task.model, task.job, task.efficiency, chosen)
    return Plan(
        task.cluster, task.model, task.job, task.efficiency, chosen, default.cost, certificate, _search(standing, chosen),
        tuple(told), sure,
    )  # fmt: skip


def _search(standing: Standing, chosen: Candidate) -> Search:
    """What the search saw holds on while no GPU came back; proven best only if the step is no longer than it was."""
    seen, step_s = standing.search, chosen.cost.step_s
    kept = seen.proven and standing.narrower and step_s <= standing.chosen.cost.step_s * (1 + 1e-9)
    bound_s = min(seen.bound_s, step_s) if standing.narrower else 0.0
    return replace(seen, bound_s=bound_s, proven=kept, stopped_by="" if kept else "repair")
