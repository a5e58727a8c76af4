# SPDX-License-Identifier: Apache-2.0
# R rank   U entry: a cell or a rank   T tier   P pipeline stage
"""Rank -> GPU: cells into NVLink domains, and the grid of cells over the tiers of the fabric.

Structure first (DESIGN §8): the cheapest box chains give orders of the cells, a capacity-aware fill lays each order over what
the cluster really has, and the exact loads of every candidate decide. The launcher's order is one of the candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from placement.cost.cells import capacity, cell_size, kept_cell
from placement.cost.crossings import TierView
from placement.cost.spans import seconds_J
from placement.cost.traffic import axis_load
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy, Traffic
from placement.ir._array import Ints
from placement.passes.candidates import Workshop, launcher_cells, named_cells
from placement.passes.rails import RAILS, rail_conflicts
from placement.passes.refine import refined
from placement.passes.sites import Sites, degraded, expand, launcher_default, sites_of
from placement.passes.sweep import swept
from placement.passes.truncate import seated, seats

__all__ = [
    "BYTES",
    "QUICK",
    "STEP_TIME",
    "Aim",
    "capacity",
    "cell_size",
    "cells",
    "in_order",
    "launcher_default",
    "place",
    "score",
]

CellScore = tuple[int, float, float]
Score = tuple[float, int, float, float]
REFINED = 2  # plain layouts whose variants are tried


@dataclass(frozen=True)
class Aim:
    """Weights of what is minimised: seconds of the busiest uplinks, and seconds of all uplinks if loads were spread evenly.

    `refine`: whether exchanges refine the best layouts; a search that only compares strategies does without.
    """

    busiest: float = 1.0
    even: float = 0.1
    refine: bool = True


STEP_TIME, BYTES, QUICK = Aim(), Aim(busiest=0.0, even=1.0), Aim(refine=False)


def cells(cluster: Cluster, strategy: Strategy, job: Job) -> tuple[int, int]:
    """(ranks of a cell, number of cells) of a strategy."""
    cell = kept_cell(cluster, strategy, job)
    return cell, strategy.world_size // cell


def place(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, job: Job, *, aim: Aim = STEP_TIME, cell: int = 0
) -> Placement:  # fmt: skip
    """The best structured placement by `score`: every cell in one NVLink domain, nodes whole, spares kept.

    Where whole cells do not all fit, as few as can be are parted (`kept_cell`). Never worse than the launcher's order where
    that keeps the same rules. `cell`: ranks that must share a domain, if others. Raises Infeasible when the cells do not fit,
    or when the rails are apart and a communicator would need a path between them.
    """
    best: tuple[tuple[float, ...], Placement] | None = None
    for sites in _choices(cluster, strategy, job, cell):
        domain_C = _best_cells(cluster, strategy, traffic, sites, job, aim)
        placement = expand(sites, domain_C)
        found = (
            _slowdown(cluster, placement),
            sites.num_parted(domain_C),
            *score_cells(cluster, strategy, traffic, sites, domain_C, aim),
        )
        if best is None or found < best[0]:
            best = (found, placement)
    assert best is not None
    _require_rails(cluster, strategy, best[1])
    return best[1]


def in_order(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """Whole cells in the launcher's order of domains: the plainest placement that keeps the rules of `place`."""
    placement = min(
        (expand(sites, named_cells(cluster, strategy, sites)) for sites in _choices(cluster, strategy, job)),
        key=lambda found: _slowdown(cluster, found),
    )
    _require_rails(cluster, strategy, placement)
    return placement


def _best_cells(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, job: Job, aim: Aim) -> Ints:
    """The layout of smallest score; one whose busiest uplinks are worse than the launcher's is none.

    Plain layouts of all box chains are compared first, then the variants of the best of them, bands swept over the regions,
    or units cut to fit where whole ones do not; then what exchanges of whole groups make of the winner.
    """
    launcher_C = launcher_cells(cluster, strategy, sites, job)
    fixed = [named_cells(cluster, strategy, sites), *([] if launcher_C is None else [launcher_C])]
    limit = math.inf
    if launcher_C is not None and aim.busiest and not sites.parted:
        limit = score_cells(cluster, strategy, traffic, sites, launcher_C, aim)[2]
    tight = seats(cluster, strategy, traffic, sites)
    others = swept(strategy, sites if tight is None else tight.sites)
    if tight is not None:
        unit_C = _searched(cluster, strategy, traffic, tight.sites, aim, others, [], math.inf)
        others = seated(tight, strategy, traffic, unit_C)
        if sites.parted:  # no other layout parts so few groups
            return min(others, key=lambda c: (sites.num_parted(c), score_cells(cluster, strategy, traffic, sites, c, aim)))
        return _searched(cluster, strategy, traffic, sites, aim, fixed, others, limit, cut=True)
    return _searched(cluster, strategy, traffic, sites, aim, fixed, others, limit)


def _searched(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, aim: Aim, fixed: Sequence[Ints],
    others: Sequence[Ints], limit: float, cut: bool = False,
) -> Ints:  # fmt: skip
    """The best, by score, of `fixed` and all layouts and of `others`, and of what exchanges make of the best of both.

    Busiest uplinks are at most `limit` where anything keeps to that. Both are refined: the better start may end worse. `cut`:
    others are of units cut to fit; where they beat every plain layout, variants of those and their refinement are spared.
    """
    shop = Workshop(cluster, strategy, traffic, sites)
    found: list[tuple[CellScore, int, Ints]] = []
    known: dict[bytes, CellScore] = {}  # by what was laid: on regular groups many layouts come to the same

    def score_of(domain_C: Ints) -> CellScore:
        key = blake2b(np.ascontiguousarray(domain_C, np.int32).tobytes()).digest()
        if key not in known:
            known[key] = score_cells(cluster, strategy, traffic, sites, domain_C, aim)
        return known[key]

    def scored(made: Sequence[Ints]) -> list[tuple[CellScore, int, Ints]]:
        return [(score_of(c), len(found) + i, c) for i, c in enumerate(made)]

    def best() -> tuple[CellScore, int, Ints]:
        kept = (f for f in found if f[0][2] <= limit)
        return min(kept, key=lambda f: (sites.parted and sites.num_parted(f[2]), *f[:2]))

    found += scored(fixed)
    plain = shop.plain()
    first = scored([shop.cells(layout) for layout in plain])
    ranking = sorted(range(len(plain)), key=lambda i: first[i][:2])
    found += first
    ahead = cut and min(score_of(c) for c in others) < min(f[0] for f in found)
    more = dict.fromkeys(layout for i in ranking[: 0 if ahead else REFINED] for layout in shop.variants(plain[i]))
    found += scored([shop.cells(layout) for layout in more if layout not in plain])
    starts = [best()]
    found += scored(others)
    starts = [*([] if ahead else starts), *([best()] if best()[1] != starts[0][1] else [])]
    for start in starts if aim.refine else ():
        found += scored(refined(cluster, strategy, traffic, sites, start[2]))
    return best()[2]


def score(cluster: Cluster, strategy: Strategy, traffic: Traffic, placement: Placement) -> Score:
    """(slowdown by the slowest node used, then `score_cells`) of any placement, smaller is better."""
    node_R = placement.gpu_R // cluster.gpus_per_node
    groups_TR = np.array([tier.group_N[node_R] for tier in cluster.tiers])
    rest = _score(cluster, strategy, traffic, groups_TR, cluster.chip_N[node_R], 1)
    return (_slowdown(cluster, placement), *rest)


def score_cells(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints, aim: Aim = STEP_TIME
) -> CellScore:  # fmt: skip
    """(stages that mix chip types, seconds of the busiest uplink summed over axes, seconds of all uplinks if loads were even).

    Axes are added because they run at different times of a step, tiers are not because a collective streams through all of
    them.
    """
    return _score(cluster, strategy, traffic, sites.parent_TD[:, domain_C], sites.chip_D[domain_C], sites.cell, aim)


def _choices(cluster: Cluster, strategy: Strategy, job: Job, cell: int = 0) -> Iterator[Sites]:
    """All usable nodes; and, where some are slow or have weak links, the others alone if the job fits them."""
    yield sites_of(cluster, strategy, job, cell=cell)
    avoid_N = degraded(cluster)
    if (avoid_N & cluster.whole_N).any():
        try:
            yield sites_of(cluster, strategy, job, avoid_N, cell=cell)
        except Infeasible:
            return


def _slowdown(cluster: Cluster, placement: Placement) -> float:
    """A step waits for the slowest GPU and the weakest NVLink domain: 1 / what it reaches."""
    node_R = placement.gpu_R // cluster.gpus_per_node
    reach = float(cluster.speed_N[node_R].min())
    if cluster.nvlink_J is not None:
        reach = min(reach, float(cluster.nvlink_J[cluster.tiers[0].group_N[node_R]].min()))
    return 1.0 / max(reach, 1e-9)


def _score(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, groups_TU: Ints, chip_U: Ints, unit: int, aim: Aim = STEP_TIME
) -> CellScore:  # fmt: skip
    worst = dict.fromkeys((term.axis for term in traffic.terms), 0.0)
    total = 0.0
    for tier, group_U in zip(cluster.tiers, groups_TU, strict=True):
        ranks = TierView(group_U, unit, unit, tier.num_groups)
        sum_Bps = float(tier.uplink_Bps_J.sum())
        for term in traffic.terms:
            load_J = axis_load(ranks, strategy, term)
            if load_J is not None:
                worst[term.axis] = max(worst[term.axis], float(seconds_J(load_J, tier.uplink_Bps_J).max()))
                total += float(load_J.sum()) / sum_Bps if sum_Bps > 0 else math.inf
    chip_PU = chip_U.reshape(strategy.pp, -1)
    busiest = _round(sum(worst.values()))
    return int((chip_PU != chip_PU[:, :1]).any(axis=1).sum()), _round(aim.busiest * busiest + aim.even * total), busiest


def _round(x: float) -> float:
    """Twelve digits: sums of the same numbers in another order compare equal."""
    return float(f"{x:.12g}") if math.isfinite(x) else x


def _require_rails(cluster: Cluster, strategy: Strategy, placement: Placement) -> None:
    if cluster.rails_connected:
        return
    broken = {axis: n for axis, n in rail_conflicts(cluster, strategy, placement).items() if n}
    if broken:
        text = ", ".join(f"{n} of {axis}" for axis, n in broken.items())
        reason = "rails are not connected, and no member on the right rail could forward (PXN)"
        raise Infeasible(f"{reason}: {text}", {RAILS: 1})
