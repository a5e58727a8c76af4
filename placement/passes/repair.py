# SPDX-License-Identifier: Apache-2.0
# R rank   S site   D NVLink domain   C cell   K block: cells that share sites   E block that leaves its domain
"""Minimal-move repair: ranks that lost their GPU go elsewhere, and no more than must go with them.

Rules that hold before and after: a cell (ranks that must share an NVLink domain) stays in one domain, and nodes give all
their GPUs or none unless the job is ragged. The least number of moves follows domain by domain:

- every rank on a site that may not be used any more moves;
- a domain with room for q sites holds at most floor(q w / G) blocks of G = lcm(cell, w) ranks, w to a site. Of what it held,
  the rest has to leave, and every rank of a cell that leaves moves, dead or not.

So a domain that lost too much sends away the cells that lost most, and the dead sites of the others are replaced from its own
spares. That is a lower bound for any repair, and it is reached whenever the blocks that leave find room elsewhere; all
domains together have room for all blocks if and only if they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from placement.diag import NoRepair
from placement.ir import Cluster, Job, Placement, Strategy, Traffic
from placement.ir._array import Bools, Ints
from placement.passes.evict import Hurt, leaving
from placement.passes.rails import rail_conflicts
from placement.passes.rehome import rehome
from placement.passes.yard import Yard, cell_of, matched, yard_of


@dataclass(frozen=True)
class Repair:
    """A repaired placement. `least`: no repair under the rules moves fewer ranks. `lost_R`: ranks whose GPU may not be used.

    `cells_moved`: cells that left their NVLink domain. `cell`: ranks of a cell.
    """

    placement: Placement
    moved_R: Ints
    lost_R: Ints
    least: int
    cells_moved: int
    cell: int

    @property
    def proven(self) -> bool:
        """The number of moves is the least possible."""
        return len(self.moved_R) == self.least


def repair(
    cluster: Cluster, strategy: Strategy, placement: Placement, job: Job, traffic: Traffic, *, nearest: bool = False,
) -> Repair:  # fmt: skip
    """Repair a placement for a cluster as it is now. Raises NoRepair where no placement under the rules exists.

    Among the repairs with the fewest moves: domains that keep traffic with neighbours low, then those near the old one; the
    other way round with `nearest`.
    """
    yard = yard_of(cluster, strategy, job)
    cell = cell_of(cluster, strategy, placement)
    site_R = placement.gpu_R // (cluster.gpus_per_node if yard.width > 1 else 1)
    lost_R = ~yard.usable_S[site_R]
    if not lost_R.any():
        return Repair(placement, np.zeros(0, np.int64), np.zeros(0, np.int64), 0, 0, cell)
    hurt = _hurt(yard, site_R, lost_R, cell)
    gone = leaving(yard, hurt)
    free_S = yard.usable_S.copy()
    free_S[site_R] = False
    free_S[hurt.site_X[gone.leaves_C[hurt.cell_X]]] = True
    free_S &= yard.usable_S
    gpu_R = placement.gpu_R.copy()
    _stay(cluster, yard, hurt, gone.leaves_C, gpu_R, free_S)
    blocks_EG = _blocks(hurt, gone.leaves_C)
    if len(blocks_EG):
        _require(yard, free_S, blocks_EG, cell)
        gpu_R[blocks_EG] = rehome(cluster, strategy, traffic, yard, free_S, blocks_EG, gpu_R, placement, nearest=nearest)
    moved_R = np.flatnonzero(gpu_R != placement.gpu_R)
    found = Repair(Placement(gpu_R), moved_R, np.flatnonzero(lost_R), gone.least, int(gone.leaves_C.sum()), cell)
    _require_rails(cluster, strategy, placement, found.placement)
    return found


def _hurt(yard: Yard, site_R: Ints, lost_R: Bools, cell: int) -> Hurt:
    """The ranks of the domains that lost sites."""
    hurt_D = np.zeros(yard.num_domains, bool)
    hurt_D[yard.domain_S[site_R[lost_R]]] = True
    cell_C = np.flatnonzero(hurt_D[yard.domain_S[site_R[::cell]]])
    rank_X = (cell_C[:, None] * cell + np.arange(cell)).ravel()
    cell_X = np.repeat(np.arange(len(cell_C)), cell)
    domain_C = yard.domain_S[site_R[rank_X[::cell]]]
    return Hurt(cell, math.lcm(cell, yard.width), rank_X, cell_X, site_R[rank_X], lost_R[rank_X], domain_C)


def _stay(cluster: Cluster, yard: Yard, hurt: Hurt, leaves_C: Bools, gpu_R: Ints, free_S: Bools) -> None:
    """Put the ranks that stay in their domain on its usable sites: where they are, or on spares. Changes gpu_R and free_S."""
    stays_X = ~leaves_C[hurt.cell_X]
    rank_X, site_X, dead_X = hurt.rank_X[stays_X], hurt.site_X[stays_X], hurt.dead_X[stays_X]
    if yard.width > 1:
        count_S = np.bincount(site_X, minlength=len(yard.domain_S))
        if bool((count_S[site_X] < yard.width).any()):
            rank_X, site_X = _gather(yard, rank_X, site_X, dead_X, count_S, gpu_R, free_S, cluster.gpus_per_node)
            dead_X = ~yard.usable_S[site_X]
    free_S[site_X[~dead_X]] = False
    old = np.asarray(np.unique(site_X[dead_X]), np.int64)
    new = _partners(yard, old, free_S, cluster)
    free_S[new] = False
    to_S = np.zeros(len(yard.domain_S), np.int64)
    to_S[old] = new
    moving_R, from_R = rank_X[dead_X], site_X[dead_X]
    slots = cluster.gpus_per_node
    gpu_R[moving_R] = to_S[from_R] * slots + gpu_R[moving_R] % slots if yard.width > 1 else to_S[from_R]


def _partners(yard: Yard, old: Ints, free_S: Bools, cluster: Cluster) -> Ints:
    """A free site of the same domain for each site: the healthiest first; single GPUs on the same slot where possible."""
    in_D = np.zeros(yard.num_domains, bool)
    in_D[yard.domain_S[old]] = True
    free = np.flatnonzero(free_S & in_D[yard.domain_S])
    free = free[np.lexsort((free, yard.weak_S[free], yard.domain_S[free]))]
    new = np.full(len(old), -1)
    if yard.width == 1:
        slots = cluster.gpus_per_node
        new = matched(yard.domain_S[old] * slots + old % slots, yard.domain_S[free] * slots + free % slots, free)
        free = np.setdiff1d(free, new, assume_unique=False)
        free = free[np.lexsort((free, yard.weak_S[free], yard.domain_S[free]))]
    open_ = new < 0
    new[open_] = matched(yard.domain_S[old[open_]], yard.domain_S[free], free)
    assert bool((new >= 0).all()), "domains keep no more blocks than they have room for"
    return new


def _gather(
    yard: Yard, rank_X: Ints, site_X: Ints, dead_X: Bools, count_S: Ints, gpu_R: Ints, free_S: Bools, slots: int
) -> tuple[Ints, Ints]:  # fmt: skip
    """Close gaps on sites that cells left in part: fuller sites fill up, emptier ones are given up. Domain by domain.

    Only where cells do not fill whole nodes. Changes gpu_R; returns the ranks again with their sites.
    """
    domain_X = yard.domain_S[site_X]
    for d in np.unique(domain_X[count_S[site_X] < yard.width]).tolist():
        mine = np.flatnonzero(domain_X == d)
        sites = np.unique(np.r_[site_X[mine], np.flatnonzero(free_S & (yard.domain_S == d))])
        stay_S = np.where(yard.usable_S[sites], count_S[sites], 0)
        order = np.lexsort((sites, yard.weak_S[sites], -stay_S, ~yard.usable_S[sites]))
        kept = sites[order[: len(mine) // yard.width]]
        loose = mine[~np.isin(site_X[mine], kept) | dead_X[mine]]
        holes = np.setdiff1d((kept[:, None] * slots + np.arange(slots)).ravel(), gpu_R[rank_X[np.setdiff1d(mine, loose)]])
        gpu_R[rank_X[loose]] = holes
        site_X[loose] = holes // slots
        free_S[sites] = yard.usable_S[sites] & ~np.isin(sites, kept)
    return rank_X, site_X


def _blocks(hurt: Hurt, leaves_C: Bools) -> Ints:
    """Ranks of the blocks that leave, (E, ranks of a block): cells of one domain together, in order."""
    cells = np.flatnonzero(leaves_C)
    size = hurt.block // hurt.cell
    cells = cells[np.argsort(hurt.domain_C[cells], kind="stable")]
    return hurt.rank_X.reshape(-1, hurt.cell)[cells].reshape(-1, size * hurt.cell)


def _require(yard: Yard, free_S: Bools, blocks_EG: Ints, cell: int) -> None:
    sites = blocks_EG.shape[1] // yard.width
    room = int((np.bincount(yard.domain_S[free_S], minlength=yard.num_domains) // sites).sum())
    if room < len(blocks_EG):
        short = (len(blocks_EG) - room) * (blocks_EG.shape[1] // cell)
        message = f"{short:,} cells of {cell} ranks have no NVLink domain that could hold them"
        raise NoRepair(message, short, cell, "run on fewer replicas with `--shrink`, or return parts to service")


def _require_rails(cluster: Cluster, strategy: Strategy, before: Placement, after: Placement) -> None:
    if cluster.rails_connected:
        return
    had, has = (sum(rail_conflicts(cluster, strategy, p).values()) for p in (before, after))
    if has > had:
        raise NoRepair(f"{has - had:,} communicators would need a path between rails, and there is none", 0, 1)
