# SPDX-License-Identifier: Apache-2.0
"""Tight jobs: strategies whose cells do not all fit whole, weighed against those whose cells do.

A group that leaves its NVLink domain pays for it in every step, so whole cells come first, and what they reach is the bar for
the rest. Smaller cells are looked at where nothing else runs; and, with little effort, where the job asks for its groups by a
pin and whole ones leave GPUs idle. With free degrees there are nearly always groups that fit, and bounds of closed form are too
weak to say so quickly: on 220,032 GPUs with 2 % of the trays out the second search took ten times as long as the first, and
found nothing better.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from placement.cost.cells import EXPERTS, TENSORS
from placement.diag import Infeasible
from placement.ir import Candidate, Certificate, Search, Strategy
from placement.passes.leaves import BOUND
from placement.passes.outer import usable_gpus
from placement.passes.problem import Problem
from placement.passes.search import Observe, search
from placement.passes.strategies import space
from placement.passes.tree import CELLS

IDLE = 0.02  # of the GPUs in use: what is not worth a second search
GROUPS = ("tp", "cp", "ep", "etp")  # a pin of one of these asks for groups that may not fit


def search_all(task: Problem, observe: Observe) -> tuple[Candidate, Search]:
    """The best plan, its cells whole or not, and what was seen on the way. Raises Infeasible if nothing fits."""
    try:
        found = search(task, observe)
    except Infeasible as none:
        return _parted(task, observe, none)
    for keep in _keeps(task) if _may_win(task, *found) else ():
        quick = replace(task, keep=keep, job=replace(task.job, effort=0))
        with suppress(Infeasible):
            best, seen = search(quick, observe, [found[0]])
            found = best, _both(found[1], seen)
    return found


def _parted(task: Problem, observe: Observe, none: Infeasible) -> tuple[Candidate, Search]:
    """The best plan that keeps as much as it can, where nothing runs whole. Raises `none` if nothing runs."""
    for keep in _keeps(task) if CELLS in none.rejected else ():
        with suppress(Infeasible):
            return search(replace(task, keep=keep), observe)
    raise none


def _keeps(task: Problem) -> tuple[int, ...]:
    """Smaller cells, those that keep more first; tensor groups alone where there are expert groups to part."""
    degrees = space(task.cluster, task.model, task.job).ep
    return (EXPERTS, TENSORS) if max(degrees, default=1) > 1 else (EXPERTS,)


def parted(certificate: Certificate, strategy: Strategy) -> tuple[str, ...]:
    """What a reader should know of groups that leave their NVLink domain."""
    if not certificate.parted or certificate.cell in (0, certificate.whole):
        return ()
    c, blocks = certificate, strategy.world_size // certificate.whole
    found = (
        f"{c.parted:,} of {blocks:,} blocks of {c.whole} ranks (expert and tensor groups) found no room in one NVLink domain"
    )
    return (f"{found}: cells of {c.cell} ranks are kept together, the rest of their traffic leaves over single adapters",)


def _may_win(task: Problem, best: Candidate, seen: Search) -> bool:
    """Whether to look at smaller cells beside whole ones: what they can win are GPUs. The bounds decide the rest."""
    idle = usable_gpus(task) > best.strategy.world_size * (1.0 + IDLE)
    return idle and CELLS in seen.rejected and any(axis in task.job.pins for axis in GROUPS)


def _both(whole: Search, parted: Search) -> Search:
    """What two searches saw: those that the second cut into stages are among those that the first rejected for their cells."""
    admitted = min(parted.scored, whole.rejected[CELLS])
    moved = {CELLS: -admitted, BOUND: admitted}
    rejected = {reason: n + moved.get(reason, 0) for reason, n in ({BOUND: 0} | dict(whole.rejected)).items()}
    return replace(
        parted,
        enumerated=whole.enumerated,
        feasible=whole.feasible + admitted,
        scored=whole.scored + parted.scored,
        rejected={reason: n for reason, n in sorted(rejected.items(), key=lambda item: (-item[1], item[0])) if n},
        bound_s=min(whole.bound_s, parted.bound_s),
        proven=whole.proven and parted.proven,
        runners_up=tuple(sorted({*whole.runners_up, *parted.runners_up}, key=lambda r: r[1])),
        stopped_by=whole.stopped_by or parted.stopped_by,
        any_stages_s=min(whole.any_stages_s, parted.any_stages_s),
    )
