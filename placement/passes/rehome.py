# SPDX-License-Identifier: Apache-2.0
# E block that needs a domain   G rank of a block   Y domain with room   T tier   J group of a tier
"""A new domain for every block that had to leave its own: near its neighbours in the traffic, then near its old place."""

from __future__ import annotations

import numpy as np

from placement.ir import Cluster, Placement, Strategy, Traffic
from placement.ir._array import Bools, Floats, Ints
from placement.passes.yard import Yard, matched
from placement.solve.assign import settle

EPSILON = 1e-6  # weight of the second aim


def rehome(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, yard: Yard, free_S: Bools, blocks_EG: Ints, gpu_R: Ints,
    before: Placement, *, nearest: bool,
) -> Ints:  # fmt: skip
    """GPUs of the ranks of each block, (E, G). All of a block's sites lie in one domain; GPU slots stay as they were.

    `gpu_R` has the ranks of other blocks where they are by now. There is room for all blocks.
    """
    sites = blocks_EG.shape[1] // yard.width
    room_D = np.bincount(yard.domain_S[free_S], minlength=yard.num_domains) // sites
    room_Y = np.flatnonzero(room_D)
    near = _apart(cluster, before, blocks_EG, room_Y)
    cost = _traffic_s(cluster, strategy, traffic, blocks_EG, gpu_R, room_Y)
    first, second = (near, cost) if nearest else (cost, near)
    choice_E = settle(scaled(first) + EPSILON * scaled(second), room_D[room_Y])
    return _seats(cluster, yard, free_S, blocks_EG, before, room_Y[choice_E])


def scaled(cost: Floats) -> Floats:
    top = float(np.abs(cost).max())
    return cost / top if top > 0 else cost


def _apart(cluster: Cluster, before: Placement, blocks_EG: Ints, room_Y: Ints) -> Floats:
    """Tiers between the old domain of a block and a new one: 0 the same, 1 the same leaf group, and so on. (E, Y)"""
    old_E = cluster.tiers[0].group_N[before.gpu_R[blocks_EG[:, 0]] // cluster.gpus_per_node]
    parent_TD = cluster.parent_TJ
    return np.asarray((parent_TD[:, old_E][:, :, None] != parent_TD[:, room_Y][:, None, :]).sum(axis=0), float)


def _traffic_s(
    cluster: Cluster, strategy: Strategy, traffic: Traffic, blocks_EG: Ints, gpu_R: Ints, room_Y: Ints
) -> Floats:  # fmt: skip
    """Seconds of all uplinks that the traffic of a block with its ring and pipeline neighbours takes in a domain. (E, Y)"""
    cost_EY = np.zeros((len(blocks_EG), len(room_Y)))
    pairs = _neighbours(strategy, traffic, blocks_EG)
    if pairs is None:
        return cost_EY
    block_X, rank_X, bytes_X = pairs
    node_X = gpu_R[rank_X] // cluster.gpus_per_node
    for t, tier in enumerate(cluster.tiers[:-1]):
        total_Bps = float(tier.uplink_Bps_J[np.isfinite(tier.uplink_Bps_J)].sum())
        if total_Bps <= 0:
            continue
        there_Y, at_Y = np.unique(cluster.parent_TJ[t][room_Y], return_inverse=True)
        group_X = tier.group_N[node_X]
        spot_X = np.minimum(np.searchsorted(there_Y, group_X), len(there_Y) - 1)
        hit_X = there_Y[spot_X] == group_X
        key_X = block_X[hit_X] * len(there_Y) + spot_X[hit_X]
        inside = np.bincount(key_X, weights=bytes_X[hit_X], minlength=len(blocks_EG) * len(there_Y))
        total_E = np.bincount(block_X, weights=bytes_X, minlength=len(blocks_EG))
        cost_EY += (total_E[:, None] - inside.reshape(len(blocks_EG), -1)[:, at_Y.reshape(-1)]) / total_Bps
    return cost_EY


def _neighbours(strategy: Strategy, traffic: Traffic, blocks_EG: Ints) -> tuple[Ints, Ints, Floats] | None:
    """(block, neighbour rank, bytes) of everything that a rank of a block exchanges with the next and the last of its ring.

    Neighbours inside the same block are left out: they move along.
    """
    rank_X = blocks_EG.ravel()
    block_X = np.repeat(np.arange(len(blocks_EG)), blocks_EG.shape[1])
    owner_R = np.full(strategy.world_size, -1)
    owner_R[rank_X] = block_X
    found: list[tuple[Ints, Ints, Floats]] = []
    for term in traffic.terms:
        n, stride = strategy.size(term.axis), strategy.stride(term.axis)
        at_X = rank_X // stride % n
        for step in (1, -1) if n > 2 else (1,):
            other_X = rank_X + ((at_X + step) % n - at_X) * stride
            ends = (at_X + step < 0) | (at_X + step >= n) if term.kind == "path" and strategy.vpp == 1 else False
            away_X = (owner_R[other_X] != block_X) & ~np.asarray(ends)
            weight_X = term.bytes_P[
                np.minimum(rank_X, other_X) // strategy.stage_ranks if term.kind == "path" else rank_X // strategy.stage_ranks
            ]
            found.append((block_X[away_X], other_X[away_X], weight_X[away_X]))
    if not found:
        return None
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))  # type: ignore[return-value]


def _seats(
    cluster: Cluster, yard: Yard, free_S: Bools, blocks_EG: Ints, before: Placement, domain_E: Ints
) -> Ints:  # fmt: skip
    """GPUs of each block on free sites of its domain, healthy ones first, in order of sites; slots as before."""
    size, slots = blocks_EG.shape[1] // yard.width, cluster.gpus_per_node
    in_D = np.zeros(yard.num_domains, bool)
    in_D[domain_E] = True
    free = np.flatnonzero(free_S & in_D[yard.domain_S])
    free = free[np.lexsort((free, yard.weak_S[free], yard.domain_S[free]))]
    start_E = np.searchsorted(yard.domain_S[free], domain_E)
    order = np.argsort(domain_E, kind="stable")
    place_E = np.empty(len(domain_E), np.int64)
    place_E[order] = np.arange(len(order)) - np.searchsorted(domain_E[order], domain_E[order])
    site_EX = np.sort(free[(start_E + place_E * size)[:, None] + np.arange(size)], axis=1)
    if yard.width == 1:
        return _same_slots(site_EX, before.gpu_R[blocks_EG], slots)
    gpu_EG = before.gpu_R[blocks_EG]
    rank_in_site = np.argsort(gpu_EG, axis=1, kind="stable")  # ranks by old site and slot
    whole = bool((np.sort(gpu_EG % slots, axis=1).reshape(len(gpu_EG), slots, -1)[:, :, 0] == np.arange(slots)).all())
    new_EG = np.empty_like(gpu_EG)
    seat_EG = (site_EX[:, :, None] * slots + np.arange(slots)).reshape(len(gpu_EG), -1)
    if whole and bool((np.take_along_axis(gpu_EG, rank_in_site, 1) % slots == np.arange(gpu_EG.shape[1]) % slots).all()):
        np.put_along_axis(new_EG, rank_in_site, seat_EG, axis=1)
        return new_EG
    return np.asarray(seat_EG)  # cells that share nodes: ranks in order


def _same_slots(site_EX: Ints, gpu_EG: Ints, slots: int) -> Ints:
    """Single GPUs: each rank on a free one of its old slot as far as there are."""
    block_EG = np.broadcast_to(np.arange(len(gpu_EG))[:, None], gpu_EG.shape)
    want, key = (block_EG * slots + gpu_EG % slots).ravel(), (block_EG * slots + site_EX % slots).ravel()
    seat = site_EX.ravel()
    found = matched(want, key, seat)
    rest = np.flatnonzero(~np.isin(seat, found))
    open_ = found < 0
    found[open_] = matched(block_EG.ravel()[open_], block_EG.ravel()[rest], seat[rest])
    return found.reshape(gpu_EG.shape)
