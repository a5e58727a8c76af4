# SPDX-License-Identifier: Apache-2.0
"""Steps downhill from the best plan, where placements cost much more than the bounds that order the search promise.

Bounds price each axis as compactly as any placement could lay it, one axis at a time. Where the world does not fit the halls of
a cluster, some axis has to cross their thin links, and which one decides everything: the search cannot see that before it
places, so its counted budget may go to strategies that all cross in the wrong way. Neighbours of the best plan differ in one
degree, and are placed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

from placement.cost.cells import WHOLE
from placement.cost.schedules import misfit
from placement.diag import Infeasible
from placement.ir import Candidate, Job, Strategy
from placement.passes.optimistic import allowed_recompute
from placement.passes.place import QUICK, in_order, place
from placement.passes.problem import Problem, price_of, realise, relax
from placement.passes.strategies import Space

FACTORS = (2, 3)  # a degree gives one of these to another
AXES = ("tp", "cp", "dp", "pp")


def descend(task: Problem, space: Space, best: Candidate, budget: int) -> list[Candidate]:
    """Plans better than `best`, each a neighbour of the one before; at most `budget` strategies are placed.

    The first neighbour that is better is taken (Hoos and Stützle 2004, first improvement), in a fixed order.
    """
    found: list[Candidate] = []
    seen = {_degrees(best.strategy)}
    while budget > 0:
        for strategy in _neighbours(space, task.job, best.strategy):
            if _degrees(strategy) in seen or budget <= 0:
                continue
            seen.add(_degrees(strategy))
            better = _priced(task, strategy, best.cost.step_s)
            budget -= better is not None
            if better is not None and better.cost.step_s < best.cost.step_s:
                found.append(better)
                best = better
                break
        else:
            break
    return found


def _priced(task: Problem, strategy: Strategy, upper_s: float) -> Candidate | None:
    """The strategy cut and placed; None where it cannot be, or where even ideal spans are no faster than `upper_s`."""
    try:
        relaxed = relax(task, strategy)
        if isinstance(relaxed, str) or relaxed.cost.step_s >= upper_s:
            return None
        strategy, stages = relaxed.strategy, relaxed.stages
        found = place(task.cluster, strategy, relaxed.traffic, task.job, aim=QUICK, price=price_of(task, strategy, stages))
        placements = [found, *([in_order(task.cluster, strategy, task.job)] if task.keep == WHOLE else [])]
    except Infeasible:
        return None
    return min((realise(task, strategy, stages, p) for p in placements), key=lambda c: c.cost.step_s)


def _neighbours(space: Space, job: Job, s: Strategy) -> Iterator[Strategy]:
    """Strategies of the space on as many GPUs that differ in schedule and chunks, in the micro-batch, or by one factor between
    two degrees. Chunks go first: interleaving crosses every boundary once a chunk.
    """
    for schedule, vpp in space.leaves:
        if vpp in {1, 2, s.vpp, s.vpp // 2, s.vpp * 2}:
            yield from _changed(space, job, s, schedule=schedule, vpp=vpp)
    for f in FACTORS:
        for micro_batch in (s.micro_batch * f, s.micro_batch // f):
            yield from _changed(space, job, s, micro_batch=micro_batch)
        for giver, taker in permutations(AXES, 2):
            if getattr(s, giver) % f == 0:
                yield from _changed(space, job, s, **{giver: getattr(s, giver) // f, taker: getattr(s, taker) * f})


def _changed(space: Space, job: Job, s: Strategy, **changes: Any) -> Iterator[Strategy]:
    """The strategy with other degrees, if the space holds that."""
    tp, cp, dp, pp, batch = (changes.get(n, getattr(s, n)) for n in (*AXES, "micro_batch"))
    new = dict(zip((*AXES, "micro_batch"), (tp, cp, dp, pp, batch), strict=True))
    if any(value not in getattr(space, name) for name, value in new.items()):
        return
    splits = job.seq_len % ((2 * cp if cp > 1 else 1) * tp) == 0 and job.global_batch % (dp * batch) == 0
    folds = tp * cp * dp % (s.etp * s.ep * s.egtp) == 0 and dp % s.gtp == 0
    schedule, vpp, m = changes.get("schedule", s.schedule), changes.get("vpp", s.vpp), job.global_batch // (dp * batch)
    if splits and folds and not misfit(schedule, pp, vpp, m):
        modes = allowed_recompute(job)
        yield replace(
            s, **new, schedule=schedule, vpp=vpp, num_microbatches=m, recompute=modes[0] if len(modes) == 1 else "auto"
        )


def _degrees(s: Strategy) -> tuple[object, ...]:
    return (s.tp, s.cp, s.gtp, s.dp, s.pp, s.vpp, s.ep, s.etp, s.egtp, s.micro_batch, s.schedule, s.sharding)
