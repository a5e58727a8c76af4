# SPDX-License-Identifier: Apache-2.0
# B band of stages   P pipeline stage   J group of a tier   D NVLink domain   C cell   X block of cells
"""Uneven groups filled by arcs: the ring of every stage cut into as few arcs as can be, first over regions, then over groups.

Boxes of equal size leave a remainder in every group that they do not fit, and each remainder cuts a ring twice more. Here a few
stages together, a band, go round as few regions as hold them; then each stage of a band goes round groups in those regions, and
may leave a region a few places before or after its neighbours, if that saves an arc. Both choices count groups by kind
(`solve/arcs.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from placement.ir import Cluster, Strategy, Traffic
from placement.ir._array import Ints
from placement.passes.bound import CLOSE
from placement.passes.sites import Sites
from placement.solve.arcs import Cut, Kind, Prices, Ring, cut

TRIED = 4  # numbers of bands that are laid over the regions: those that could do with the least
OVER = 0.02  # deterministic seconds for each of them
KEPT = 2  # numbers of bands whose stages are laid over groups, the second where the best does not work out


@dataclass(frozen=True)
class _Rings:
    """Rings of `length` blocks, one a stage; room, group and region of the domains.

    Seconds, if loads were spread evenly, of a ring that leaves a group (`arc_s`), or a region (`visit_s`), and of one block of
    a stage in another region than that of the next stage (`step_s`).
    """

    count: int
    length: int
    room_D: Ints
    group_D: Ints
    region_D: Ints
    arc_s: float
    visit_s: float
    step_s: float


def arced(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, known_C: Ints) -> list[Ints]:
    """Domain of every cell (C,), laid by arcs; none where that cannot beat `known_C`, or where boxes fit or nothing else does.

    That is: groups are alike, no ring goes round the stages, chips are mixed, or no place is to spare, so that every group
    must be full.
    """
    rings = _rings(cluster, strategy, traffic, sites)
    if rings is None or _regular(rings) or rings.count * rings.length == int(rings.room_D.sum()):
        return []
    if _seconds(rings, known_C[:: sites.block]) <= _floor(rings) * (1 + CLOSE):
        return []
    for row in _banded(rings)[:KEPT]:
        domain_X = _laid(rings, row)
        if domain_X is not None:
            return [np.asarray(np.repeat(domain_X, sites.block), np.int32)]
    return []


def _rings(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites) -> _Rings | None:
    cells, step = strategy.world_size // sites.cell, strategy.pp * sites.block
    ring_bytes, path_bytes = _bytes(strategy, traffic, sites.cell * sites.block)
    if strategy.world_size % (strategy.pp * sites.cell) or cells % step or not ring_bytes or sites.chip_D.max(initial=0) > 0:
        return None
    room_D = sites.room_D // sites.block
    tiers = [t for t, group_D in enumerate(sites.parent_TD) if _parts(group_D, room_D) and _price(cluster, t)]
    tiers = [t for t in tiers if t] or tiers  # domains only where there is nothing larger
    if not tiers:
        return None
    region_D = sites.parent_TD[tiers[-1]] if len(tiers) > 1 else np.zeros_like(room_D)
    price = _price(cluster, tiers[-1]) if len(tiers) > 1 else 0.0
    return _Rings(
        strategy.pp, cells // step, room_D, np.asarray(sites.parent_TD[tiers[0]], np.int64), np.asarray(region_D, np.int64),
        ring_bytes * _price(cluster, tiers[0]), ring_bytes * price, path_bytes * price,
    )  # fmt: skip


def _regular(rings: _Rings) -> bool:
    """Are groups alike, and regions but for one at the end, and do groups tile the rings? Then boxes leave no remainders."""
    group_J, region_J = (sorted(_rooms(of_D, rings.room_D).tolist()) for of_D in (rings.group_D, rings.region_D))
    return group_J[0] == group_J[-1] and len(set(region_J[1:])) < 2 and rings.length % group_J[0] == 0


def _bytes(strategy: Strategy, traffic: Traffic, block: int) -> tuple[float, float]:
    """Bytes over one border between neighbouring blocks of a stage, by rings that go round it; and between stages, a block."""
    ring = path = 0.0
    for term in traffic.terms:
        n, stride, each = strategy.size(term.axis), strategy.stride(term.axis), float(term.bytes_P.mean())
        if term.kind == "path":
            path += 2 * each * block
        elif n * stride == strategy.stage_ranks and stride <= block:
            ring += each * stride if term.kind != "clique" else 0.0
    return ring, path


def _price(cluster: Cluster, tier: int) -> float:
    """Seconds of a byte that leaves a group of the tier, if loads were spread evenly."""
    total = float(cluster.tiers[tier].uplink_Bps_J.sum())
    return 1 / total if 0 < total < np.inf else 0.0


def _rooms(group_D: Ints, room_D: Ints) -> Ints:
    """What each group that holds anything holds."""
    room_J = np.bincount(group_D, weights=room_D).astype(np.int64)
    return np.asarray(room_J[room_J > 0])


def _parts(group_D: Ints, room_D: Ints) -> bool:
    """Are there several groups, and is one more than a place?"""
    room_J = _rooms(group_D, room_D)
    return len(room_J) > 1 and int(room_J.max()) > 1


def _seconds(rings: _Rings, domain_X: Ints) -> float:
    """What a layout costs by the prices of arcs, of regions that rings enter, and of steps of the pipeline between regions."""
    group_PX, region_PX = (of_D[domain_X].reshape(rings.count, -1) for of_D in (rings.group_D, rings.region_D))
    arcs, visits = ((of_PX != np.roll(of_PX, 1, axis=1)).sum() for of_PX in (group_PX, region_PX))
    return float(rings.arc_s * arcs + rings.visit_s * visits + rings.step_s * (region_PX[1:] != region_PX[:-1]).sum())


def _floor(rings: _Rings) -> float:
    """Least cost of bands by the roomiest group and region: what arcs could reach if all were as roomy."""
    most = int(np.bincount(rings.group_D, weights=rings.room_D).max())
    arcs = -(-rings.length // most)
    return rings.arc_s * rings.count * (arcs if arcs > 1 else 0) + min(_least_s(rings, h) for h in _heights(rings))


def _heights(rings: _Rings) -> list[list[int]]:
    """Stages of each band, as even as can be, for every number of bands."""
    n = rings.count
    return [[n * (b + 1) // bands - n * b // bands for b in range(bands)] for bands in range(1, n + 1)]


def _banded(rings: _Rings) -> list[list[Ring]]:
    """The rings of all stages with the regions of their band, for the best numbers of bands that were tried, the best first."""
    room_J = np.bincount(rings.region_D, weights=rings.room_D).astype(np.int64)
    if np.count_nonzero(room_J) < 2:
        return [[Ring(rings.length, (int(np.argmax(room_J)),))] * rings.count]
    found: list[tuple[float, list[Ring]]] = []
    for heights in sorted(_heights(rings), key=lambda h: _least_s(rings, h))[:TRIED]:
        found.sort(key=lambda f: f[0])
        if len(found) >= KEPT and found[KEPT - 1][0] <= _least_s(rings, heights):
            break
        for bands in _over(heights, rings.length, room_J):
            row = [Ring(rings.length, regions) for n, regions in zip(heights, bands, strict=True) for _ in range(n)]
            found.append((_leaving_s(rings, heights, [len(regions) for regions in bands]), row))
    return [row for _, row in sorted(found, key=lambda f: f[0])]


def _least_s(rings: _Rings, heights: Sequence[int]) -> float:
    """Seconds of what leaves the regions, if every band needed as few as its length allows."""
    most = int(np.bincount(rings.region_D, weights=rings.room_D).max())
    return _leaving_s(rings, heights, [-(-n * rings.length // most) for n in heights])


def _leaving_s(rings: _Rings, heights: Sequence[int], arcs: Sequence[int]) -> float:
    """Seconds of what leaves the regions, where every band is cut into so many arcs."""
    cuts = sum(height * n for height, n in zip(heights, arcs, strict=True) if n > 1)
    return rings.visit_s * cuts + rings.step_s * rings.length * (len(heights) - 1)


def _over(heights: Sequence[int], length: int, room_J: Ints) -> Iterator[list[tuple[int, ...]]]:
    """Regions of each band, in the order in which it goes round them, if a way is found."""
    kinds, members = _kinds(np.zeros_like(room_J), room_J)
    found = cut([Ring(h * length, (0,), h) for h in heights], kinds, Prices(), OVER)
    if found is not None:
        yield [tuple(int(members[a.kind][a.group]) for a in arcs) for arcs in found.arcs]


def _kinds(region_J: Ints, room_J: Ints) -> tuple[list[Kind], list[Ints]]:
    """Groups that hold anything, by region and room, roomy kinds first; and which groups are of each."""
    kinds: list[Kind] = []
    members: list[Ints] = []
    for region, room in sorted({(int(j), -int(n)) for j, n in zip(region_J, room_J, strict=True) if n}):
        mine = np.flatnonzero((region_J == region) & (room_J == -room))
        kinds.append(Kind(region, -room, len(mine)))
        members.append(mine)
    return kinds, members


def _laid(rings: _Rings, row: Sequence[Ring]) -> Ints | None:
    """Domain of every block, ring after ring: each over the groups of its regions in as few arcs as can be."""
    room_J = np.bincount(rings.group_D, weights=rings.room_D).astype(np.int64)
    region_J = np.zeros_like(room_J)
    region_J[rings.group_D] = rings.region_D
    kinds, members = _kinds(region_J, room_J)
    found = cut(row, kinds, Prices(rings.arc_s, rings.step_s, int(room_J.max())))
    return None if found is None else np.concatenate(list(_seated(rings, found, members)))


def _seated(rings: _Rings, found: Cut, members: Sequence[Ints]) -> Iterator[Ints]:
    """Domains of every arc: those of its group, the roomiest first, once for every block that they hold."""
    order = np.lexsort((np.arange(len(rings.room_D)), -rings.room_D, rings.group_D))
    seat_S = np.repeat(order, rings.room_D[order])
    next_J = np.searchsorted(rings.group_D[seat_S], np.arange(int(rings.group_D.max()) + 1))
    for arc in (arc for arcs in found.arcs for arc in arcs):
        group = int(members[arc.kind][arc.group])
        yield seat_S[next_J[group] : next_J[group] + arc.members].astype(np.int32)
        next_J[group] += arc.members
