# SPDX-License-Identifier: Apache-2.0
# S strategy   P stage boundary   T tier   J group of a tier
"""What has to leave a group that is smaller than the job, whatever crosses: stage boundaries, gradient rings, or some of both.

A group holds s of the N cells of a job, which form a grid of p stages and n columns (the cells of a stage). Say r stages and c
columns lie partly inside and partly outside. Then r = p, or c = n, or r c >= min(s, N - s): a stage all inside beside a stage
all outside mixes every column; otherwise all stages that are not mixed lie on one side, so every cell of the other side is in a
mixed stage and in a mixed column. (For grids of two sides these are the edge-isoperimetric cuts of Bollobas and Leader 1991.)

A mixed stage sends one edge of each of its data-parallel rings out of the group, provided that a cell holds a member of every
ring (whole tp x cp, whole etp x ep). A mixed column sends the messages of a cell over a stage boundary, out or in; interleaved
stages, whose boundaries close a ring, both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from placement.cost.cells import DEGREE_KEYS, may_split
from placement.cost.ideal import Room, rooms
from placement.ir import AXES, Cluster, Spans, Strategy
from placement.ir._array import Bools, Floats, Ints

SHARES = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0)  # of the stages: bounds hold for all numbers of mixed stages between two of them
THIN = 1.5  # bytes/s of the adapters of a group to one of its uplink, from which on its crossings are counted


@dataclass(frozen=True)
class Way:
    """One way to lie across a tier: seconds per byte, at least, of the rings of dp and edp and of a stage boundary; `never_S`
    where no placement takes it. (S,)
    """

    tier: int
    dp_S: Floats
    edp_S: Floats
    pp_S: Floats
    never_S: Bools

    def rings(self, spans: Spans) -> tuple[Spans, Spans]:
        """`spans` (S, A, T) of the same strategies whose rings lie this way: many members in a domain, or one in each.

        Where the network decides, a ring is not quicker for its hops inside domains: either may cost less.
        """
        ring_SAT, apart_SAT = spans.ring_spB.copy(), spans.members.copy()
        for axis, spB_S in (("dp", self.dp_S), ("edp", self.edp_S)):
            a = AXES.index(axis)
            at = ring_SAT[:, a, self.tier]
            np.maximum(at, spB_S, out=at)
            apart_SAT[:, a, 0] = np.where(spB_S > 0, 1.0, apart_SAT[:, a, 0])
        return replace(spans, ring_spB=ring_SAT), replace(spans, ring_spB=ring_SAT, members=apart_SAT)


def thin_tiers(cluster: Cluster) -> tuple[int, ...]:
    """Tiers whose uplinks are thinner than the adapters behind them, and all of whose groups are smaller than the cluster."""
    found, gpus_N = [], cluster.whole_N * cluster.gpus_per_node
    for t, tier in enumerate(cluster.tiers[1:-1], 1):
        adapters_J = np.bincount(tier.group_N, cluster.nic_Bps_N * gpus_N, tier.num_groups)
        if tier.num_groups > 1 and (adapters_J >= THIN * tier.uplink_Bps_J)[adapters_J > 0].all():
            found.append(t)
    return tuple(found)


def ways(
    cluster: Cluster, degrees: Mapping[str, Ints], wraps_S: Bools, cell_S: Ints, *, ragged: bool = False
) -> list[list[Way]]:  # fmt: skip
    """For each thin tier, the ways to lie across it, of which every placement that keeps cells of `cell_S` ranks takes one.

    `wraps_S`: stage boundaries close a ring (interleaved stages). Strategies that a group could hold, or whose cells hold no
    member of some ring, cost nothing anywhere.
    """
    tiers = thin_tiers(cluster)
    if not tiers:
        return []
    size = {k: np.asarray(degrees[k], np.int64) for k in DEGREE_KEYS}
    every = rooms(cluster, cell_S, ragged)
    return [_across(t, every[t], size, cell_S, wraps_S) for t in tiers]


def _across(tier: int, room: Room, size: Mapping[str, Ints], cell_S: Ints, wraps_S: Bools) -> list[Way]:
    stage_S, p = size["tp"] * size["cp"] * size["dp"], size["pp"]
    total, n = stage_S * p // cell_S, stage_S // cell_S
    dense, expert = size["tp"] * size["cp"], size["etp"] * size["ep"]
    least = np.minimum(np.ceil(total / np.maximum(room.groups_S, 1.0)), total - room.cells_S)  # min(s, N - s) of the fullest
    counts = (least > 0) & (cell_S % dense == 0) & (stage_S % cell_S == 0)
    rings = (counts * dense, counts * (cell_S % expert == 0) * expert)
    edge = counts * cell_S * np.where(wraps_S, 1.0, 0.5)
    torn = np.where(room.groups_S == 2, p - 2 * (room.cells_S // n), 0)  # stages that do not fit whole, of two groups in both
    found = []
    for low, high in ((0.0, 0.0), *pairwise(SHARES), (1.0, 1.0)):
        fewest, most = _mixed_stages(low, high, p)
        columns = np.where(fewest == p, 0, np.where(most == 0, n, np.minimum(n, np.ceil(least / np.maximum(most, 1)))))
        never = counts & ((fewest > most) | (most < torn) | ((fewest < p) & (p < 2)))
        never |= counts & (((fewest > 0) & (n < 2)) | ((most == 0) & (room.cells_S < n)))  # stages of one cell, or too large
        fewest = np.maximum(fewest, np.minimum(torn, p))
        dp, edp, pp = (x / room.uplink_Bps for x in (fewest * rings[0], fewest * rings[1], columns * edge))
        found.append(Way(tier, dp, edp, pp, never))
    return found


def _mixed_stages(low: float, high: float, p: Ints) -> tuple[Ints, Ints]:
    """Least and greatest number of mixed stages of a way: none, all, or a range of what lies between."""
    if low == high:
        return (0 * p, 0 * p) if high == 0.0 else (p, p)
    return np.floor(low * p).astype(np.int64) + 1, np.minimum(np.floor(high * p).astype(np.int64), p - 1)


def least_edges(cluster: Cluster, strategy: Strategy, cell: int, ragged: bool = False) -> Floats:
    """Seconds per byte that the stage boundaries of a strategy cost at least, most first, wherever each of them lies. (P,)

    A group with room for k cells holds at most k stages of a column, so that at least ceil(p / k) - 1 boundaries leave it, one
    more where they close a ring. Holds for placements that keep cells of so many ranks; with 1, `ragged`, for all.
    """
    ragged, cell_S = may_split(cluster, strategy.world_size, ragged), np.array([cell])
    wraps = strategy.schedule == "interleaved" and strategy.vpp > 1
    edge_P = np.zeros(strategy.pp - (not wraps))
    for room in rooms(cluster, cell_S, ragged):
        pieces = int(np.ceil(strategy.pp / max(float(room.cells_S[0]), 1.0)))
        if pieces > 1:
            some = slice(0, pieces - (not wraps))
            edge_P[some] = np.maximum(edge_P[some], cell / room.uplink_Bps)
    return edge_P


def lying(cluster: Cluster, strategy: Strategy, spans: Spans, cell: int, *, ragged: bool = False) -> list[list[Spans]]:
    """Ideal `spans` of one strategy (with `some_spB`) in every way across every thin tier; none where it crosses none."""
    if may_split(cluster, strategy.world_size, ragged) and not ragged:
        return []
    assert spans.some_spB is not None
    degrees, wraps = {a: np.array([strategy.size(a)]) for a in DEGREE_KEYS}, len(spans.some_spB) == strategy.pp > 1
    tiers = ways(cluster, degrees, np.array([wraps]), np.array([cell]), ragged=ragged)
    return [[lie for way in tier if not way.never_S[0] for lie in _lies(spans, way, wraps)] for tier in tiers]


def _lies(spans: Spans, way: Way, wraps: bool) -> list[Spans]:
    one = Spans(spans.members[None], spans.ring_spB[None], spans.a2a_spB[None])
    edge_P = np.array(spans.some_spB)
    edge_P[: 1 + wraps] = np.maximum(edge_P[: 1 + wraps], way.pp_S[0])
    found = [replace(spans, members=s.members[0], ring_spB=s.ring_spB[0], some_spB=edge_P) for s in way.rings(one)]
    return found[: 1 if np.array_equal(found[0].members, found[1].members) else 2]
