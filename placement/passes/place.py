# SPDX-License-Identifier: Apache-2.0
# C cell
"""Rank -> GPU: cells into NVLink domains, and the grid of cells over the tiers of the fabric.

Structure first (DESIGN §8): the cheapest box chains give orders of the cells, a capacity-aware fill lays each order over what
the cluster really has, and the exact loads of every candidate decide, or the step itself where it can be priced. The launcher's
order is one of the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import chain

import numpy as np

from placement.cost.cells import capacity, cell_size, kept_cell
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy, Traffic
from placement.ir._array import Ints
from placement.passes.arcs import arced
from placement.passes.candidates import Workshop, launcher_cells, named_cells
from placement.passes.choice import Judge, Laid, Price, looks, pick
from placement.passes.rails import RAILS, rail_conflicts
from placement.passes.refine import refined
from placement.passes.score import BYTES, QUICK, STEP_TIME, Aim, score, score_cells, slowdown
from placement.passes.sites import Sites, degraded, expand, launcher_default, sites_of
from placement.passes.sweep import swept
from placement.passes.truncate import seated, seats

__all__ = [
    "BYTES",
    "QUICK",
    "STEP_TIME",
    "Aim",
    "Price",
    "capacity",
    "cell_size",
    "cells",
    "in_order",
    "launcher_default",
    "layouts",
    "place",
    "score",
    "score_cells",
]

REFINED = 2  # plain layouts whose variants are tried


def cells(cluster: Cluster, strategy: Strategy, job: Job) -> tuple[int, int]:
    """(ranks of a cell, number of cells) of a strategy."""
    cell = kept_cell(cluster, strategy, job)
    return cell, strategy.world_size // cell


def place(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, job: Job, *, aim: Aim = STEP_TIME, cell: int = 0,
    price: Price | None = None,
) -> Placement:  # fmt: skip
    """The best structured placement: every cell in one NVLink domain, nodes whole, spares kept.

    By `score`, as few whole cells parted as can be where they do not all fit (`kept_cell`), and never worse than the launcher's
    order where that keeps the same rules; or by `price`, of the best few. `cell`: ranks that must share a domain, if others.
    Raises Infeasible when the cells do not fit, or when the rails are apart and every layout needs a path between them.
    """
    most, pool = looks(strategy, aim), []
    for judge, found, launcher in layouts(cluster, strategy, traffic, job, aim, cell):
        pool += judge.pool(found, launcher, most) if price else [judge.best(found)]
    placement = pick(Judge(cluster, strategy, traffic, aim), pool, price).placement
    _require_rails(cluster, strategy, placement)
    return placement


def layouts(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, job: Job, aim: Aim = STEP_TIME, cell: int = 0
) -> Iterator[tuple[Judge, list[Laid], list[Laid]]]:  # fmt: skip
    """For each choice of sites: who judges, every layout that is made, and the launcher's order where it keeps their rules."""
    for sites in _choices(cluster, strategy, job, cell):
        judge = Judge(cluster, strategy, traffic, aim)
        yield (judge, *_layouts(judge, sites, job))


def in_order(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """Whole cells in the launcher's order of domains: the plainest placement that keeps the rules of `place`."""
    placement = min(
        (expand(sites, named_cells(cluster, strategy, sites)) for sites in _choices(cluster, strategy, job)),
        key=lambda found: (bool(_broken(cluster, strategy, found)), slowdown(cluster, found)),
    )
    _require_rails(cluster, strategy, placement)
    return placement


def _layouts(judge: Judge, sites: Sites, job: Job) -> tuple[list[Laid], list[Laid]]:
    """Layouts of all kinds, and the launcher's order where it keeps their rules; its busiest uplinks are the judge's limit.

    Plain layouts of all box chains are compared first, then the variants of the best of them, bands swept over the regions,
    or units cut to fit where whole ones do not, and rings cut into the fewest arcs; then what exchanges of whole groups make of
    the winner.
    """
    cluster, strategy, traffic = judge.cluster, judge.strategy, judge.traffic
    launcher_C = launcher_cells(cluster, strategy, sites, job)
    launcher = [] if launcher_C is None else [judge.laid(sites, launcher_C, -1)]
    fixed = [named_cells(cluster, strategy, sites), *([] if launcher_C is None else [launcher_C])]
    if launcher and judge.aim.busiest and not sites.parted:
        judge.limit = _limit(judge, launcher[0])
    tight = seats(cluster, strategy, traffic, sites)
    others = swept(strategy, sites if tight is None else tight.sites)
    if tight is not None:
        units = Judge(cluster, strategy, traffic, judge.aim)
        unit_C = units.best(_searched(units, tight.sites, others, [])).domain_C
        others = seated(tight, strategy, traffic, unit_C)
        if sites.parted:  # no other layout parts so few groups
            return [judge.laid(sites, c, i) for i, c in enumerate([*others, *fixed])], launcher
    return _searched(judge, sites, fixed, others, cut=tight is not None), launcher


def _limit(judge: Judge, launcher: Laid) -> float:
    """Seconds of the launcher's busiest uplinks; infinite where its order leaves no path between rails."""
    loads = judge.full(launcher).loads
    return math.inf if loads.broken else loads.score(judge.aim)[2]


def _searched(judge: Judge, sites: Sites, fixed: Sequence[Ints], others: Sequence[Ints], cut: bool = False) -> list[Laid]:
    """`fixed`, all layouts, `others`, rings cut into arcs, and what exchanges make of the best: each once, in this order.

    The best before `others`, and before arcs, is refined too: it may end better. `cut`: others are of units cut to fit; where
    they beat every plain layout, those are refined no further. Where only bytes count, boxes at their least end the search.
    """
    shop = Workshop(judge.cluster, judge.strategy, judge.traffic, sites)
    found: list[Laid] = []
    known: dict[bytes, Laid] = {}  # by what was laid: on regular groups many layouts come to the same

    def add(made: Sequence[Ints]) -> list[Laid]:
        new = []
        for domain_C in made:
            key = blake2b(np.ascontiguousarray(domain_C, np.int32).tobytes()).digest()
            if key not in known:
                known[key] = judge.laid(sites, domain_C, len(found))
                found.append(known[key])
            new.append(known[key])
        return new

    enough = -math.inf if judge.aim.busiest or sites.parted else judge.aim.even * shop.least_s() * (1 + 1e-9)
    plain, first = shop.plain(), list[Laid]()
    for made in chain([fixed], ([shop.cells(layout)] for layout in plain)):  # laid one by one
        first += (new := add(made))
        if new and _least(judge, new) <= (0, enough, math.inf):
            return found
    first = first[len(fixed) :]
    ranking = sorted(range(len(plain)), key=lambda i: (first[i].loads.score(judge.aim), i))
    ahead = cut and _least(judge, [judge.laid(sites, c, -1) for c in others]) < _least(judge, found)
    more = dict.fromkeys(layout for i in ranking[: 0 if ahead else REFINED] for layout in shop.variants(plain[i]))
    add([shop.cells(layout) for layout in more if layout not in plain])
    starts = [] if ahead else [judge.best(found)]
    add(others)
    starts.append(judge.best(found))
    if judge.aim.refine and not cut:
        add(arced(judge.cluster, judge.strategy, judge.traffic, sites, starts[-1].domain_C))
        starts.append(judge.best(found))
    for start in {s.serial: s for s in starts}.values() if judge.aim.refine else ():
        add(refined(judge.cluster, judge.strategy, judge.traffic, sites, start.domain_C))
    return found


def _least(judge: Judge, found: Sequence[Laid]) -> tuple[int, float, float]:
    return min(x.loads.score(judge.aim) for x in found)


def _choices(cluster: Cluster, strategy: Strategy, job: Job, cell: int = 0) -> Iterator[Sites]:
    """All usable nodes; where some are slow or have weak links, or rails are apart and nodes lack some, the others alone too if
    the job fits them.
    """
    yield sites_of(cluster, strategy, job, cell=cell)
    uneven_N = ~cluster.whole_N & cluster.usable_NG.any(axis=1)
    for avoid_N in (degraded(cluster) & cluster.whole_N, uneven_N & (job.ragged and not cluster.rails_connected)):
        if avoid_N.any():
            with suppress(Infeasible):
                yield sites_of(cluster, strategy, job, avoid_N, cell=cell)


def _broken(cluster: Cluster, strategy: Strategy, placement: Placement) -> dict[str, int]:
    """Of each axis, what has no path between rails that are apart; empty where there is nothing."""
    if cluster.rails_connected:
        return {}
    return {axis: n for axis, n in rail_conflicts(cluster, strategy, placement).items() if n}


def _require_rails(cluster: Cluster, strategy: Strategy, placement: Placement) -> None:
    broken = _broken(cluster, strategy, placement)
    if broken:
        text = ", ".join(f"{n} of {axis}" for axis, n in broken.items())
        reason = "rails are not connected, and no member on the right rail could forward (PXN)"
        raise Infeasible(f"{reason}: {text}", {RAILS: 1})
