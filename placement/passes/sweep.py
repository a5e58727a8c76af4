# SPDX-License-Identifier: Apache-2.0
# D NVLink domain   J region: group of the outermost tier with uplinks   C cell
"""Regions of uneven room filled by arcs: a few stages at a time go round all replicas, region after region.

Boxes of equal size fit uneven regions badly: every box that a region cannot hold straddles. Here a band of `stages` stages
takes as many columns (one replica, those stages) of a region as it has room for, so a region cuts each ring of the band once
and the pipeline only where bands meet. A band does not begin in a region that is nearly full while there is room to spare.
"""

from __future__ import annotations

import numpy as np

from placement.ir import Strategy
from placement.ir._array import Ints
from placement.passes.sites import Sites

Take = tuple[int, int, int]  # band, region, cells


def swept(strategy: Strategy, sites: Sites) -> list[Ints]:
    """Domain of every cell (C,), for every height of the bands that divides the stages; none where there is one region."""
    cells = strategy.world_size // sites.cell
    if len(sites.parent_TD) < 3 or sites.block > 1 or strategy.world_size % (strategy.pp * sites.cell):
        return []
    region_D = np.asarray(sites.parent_TD[-2], np.int64)
    room_J = np.bincount(region_D, weights=sites.room_D).astype(np.int64)
    if np.count_nonzero(room_J) < 2:
        return []
    heights = [b for b in range(1, strategy.pp + 1) if strategy.pp % b == 0]
    seats = _seats(sites, region_D)
    return [
        _laid(takes(room_J.tolist(), strategy.pp // b, cells // strategy.pp * b), seats, cells, strategy.pp, b) for b in heights
    ]


def takes(rooms: list[int], bands: int, size: int) -> list[Take]:
    """What each band takes of each region, in order. What is left of a region is skipped between bands if it can be spared."""
    spare, region, left = sum(rooms) - bands * size, 0, rooms[0]
    found: list[Take] = []
    for band in range(bands):
        need = size
        while need:
            if not left:
                region += 1
                left = rooms[region]
                continue
            part = min(left, need)
            found.append((band, region, part))
            need, left = need - part, left - part
        if left < rooms[region] and left <= spare and region + 1 < len(rooms):
            spare, left = spare - left, 0
    return found


def _seats(sites: Sites, region_D: Ints) -> list[Ints]:
    """Domains of each region, once for every cell that they hold: those of the fullest groups of the tier inside first."""
    leaf_D = np.asarray(sites.parent_TD[1], np.int64)
    full_D = np.bincount(leaf_D, weights=sites.room_D).astype(np.int64)[leaf_D]
    order = np.lexsort((np.arange(len(leaf_D)), leaf_D, -full_D, region_D))
    seat = np.repeat(order, sites.room_D[order])
    return list(np.split(seat, np.searchsorted(region_D[seat], np.arange(1, int(region_D.max()) + 1))))


def _laid(plan: list[Take], seats: list[Ints], cells: int, pp: int, height: int) -> Ints:
    """Columns of a band are taken replica after replica; inside a region each stage keeps its cells together, in order."""
    domain_C = np.empty(cells, np.int32)
    begun, used = [0] * (pp // height), [0] * len(seats)
    for band, region, count in plan:
        at = np.arange(begun[band], begun[band] + count)
        replica, stage = at // height, at % height + band * height
        order = np.lexsort((replica, stage))
        domain_C[(stage * (cells // pp) + replica)[order]] = seats[region][used[region] : used[region] + count]
        used[region] += count
        begun[band] += count
    return domain_C
