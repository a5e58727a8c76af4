# SPDX-License-Identifier: Apache-2.0
# D NVLink domain   J group of the next tier (leaf)   C cell   U unit
"""Tight clusters: groups larger than a cell that would fit healthy domains, but not all of those that there are.

A damaged domain seats as much of one group (a unit) as it can, its main; the tail goes to places that others leave. Which
domains are given up for tails, and which groups of domains seat one unit more in what their domains have left, is a choice of
patterns by class (`solve/patterns.py`). Then units are placed like cells, a seat for each main.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from placement.ir import Cluster, Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.inside import Inside, inside_of
from placement.passes.refine import Edges, cell_edges
from placement.passes.rows import in_rows
from placement.passes.sites import Sites
from placement.passes.tails import Piece, lay
from placement.solve.patterns import Kind, Pattern, choose

GIVEN_UP = 3  # domains of one group that may be given up, or all of them
Prices = tuple[float, float, float]  # of a byte that leaves a domain, its group, the region of that


@dataclass(frozen=True)
class Seats:
    """`sites`: units in place of cells, their seats in place of rooms. `cells_D`: what the sites had room for, in cells.

    `main_D`: cells of the main that a domain seats beside its whole units, 0 for none. Seats beyond are of units that are
    spread over what the group of the domain has left.
    """

    sites: Sites
    inside: Inside
    cells_D: Ints
    main_D: Ints


@dataclass(frozen=True)
class _Plan:
    """What a group of domains does: how many mains its roomiest domains seat, and how many units more are spread."""

    mains: int
    extra: int


def seats(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites) -> Seats | None:
    """Seats for the units of a tight cluster; None where there are no units, whole ones fit, or nothing else does."""
    inside = inside_of(strategy, traffic, sites.cell, int(sites.room_D.max(initial=0)))
    if inside is None or sites.block > 1:
        return None
    need = strategy.world_size // sites.cell // inside.cells
    if need <= int((sites.room_D // inside.cells).sum()):
        return None
    classes = _classes(sites, inside.cells)
    prices = _prices(cluster)
    options = [_options(rooms, inside, prices) for _, rooms in classes]
    kinds = [
        Kind(pod, len(kids), tuple(pattern for _, pattern in o))
        for (pod, _), kids, o in zip(classes, classes.values(), options, strict=True)
    ]
    chosen = choose(kinds, need, prices[2] * inside.left((1, inside.cells - 1)))
    if chosen is None:
        return None
    picked = [
        (kids, plan)
        for members, option, row in zip(classes.values(), options, chosen, strict=True)
        for kids, plan in zip(
            members, [plan for (plan, _), times in zip(option, row, strict=True) for _ in range(times)], strict=True
        )
    ]
    return _seats(sites, inside, picked)


def _classes(sites: Sites, unit: int) -> dict[tuple[int, tuple[int, ...]], list[Ints]]:
    """Groups by region and rooms of their domains, largest remainder first: the domains of each, in that order."""
    leaf_D, pod_D = (np.asarray(sites.parent_TD[min(t, len(sites.parent_TD) - 1)], np.int64) for t in (1, 2))
    found: dict[tuple[int, tuple[int, ...]], list[Ints]] = defaultdict(list)
    order = np.lexsort((np.arange(len(leaf_D)), -(sites.room_D % unit), leaf_D))
    for kids in np.split(order, np.flatnonzero(np.diff(leaf_D[order])) + 1):
        found[int(pod_D[kids[0]]), tuple(sites.room_D[kids].tolist())].append(kids)
    return found


def _seats(sites: Sites, inside: Inside, picked: Sequence[tuple[Ints, _Plan]]) -> Seats:
    main_D, extra_D = np.zeros_like(sites.room_D), np.zeros_like(sites.room_D)
    for kids, plan in picked:
        main_D[kids[: plan.mains]] = sites.room_D[kids[: plan.mains]] % inside.cells
        extra_D[kids[min(plan.mains, len(kids) - 1)]] += plan.extra
    seat_D = sites.room_D // inside.cells + (main_D > 0) + extra_D
    return Seats(replace(sites, cell=sites.cell * inside.cells, room_D=seat_D, whole=0), inside, sites.room_D, main_D)


def _prices(cluster: Cluster) -> Prices:
    """Seconds of a byte that leaves a group of each tier, if loads were spread evenly."""
    sums = [float(t.uplink_Bps_J.sum()) for t in cluster.tiers]
    each = [1 / s if 0 < s < np.inf else 0.0 for s in sums] + [0.0] * 3
    return each[0], each[1], each[2]


def _options(
    rooms: Sequence[int], inside: Inside, prices: Prices
) -> list[tuple[_Plan, Pattern]]:  # fmt: skip
    """The patterns open to a group whose domains have these rooms, the largest remainder first."""
    unit = inside.cells
    rests = [room % unit for room in rooms]
    able = sum(2 * rest >= unit for rest in rests)
    found = []
    for mains in sorted({able, *range(max(able - GIVEN_UP, 0), able), 0}, reverse=True):
        for extra in (0, 1):
            pattern = _pattern(rooms, rests, _Plan(mains, extra), inside, prices)
            if pattern is not None:
                found.append((_Plan(mains, extra), pattern))
    return [f for i, f in enumerate(found) if not any(_beats(g[1], f[1], j < i) for j, g in enumerate(found) if j != i)]


def _beats(a: Pattern, b: Pattern, first: bool) -> bool:
    """Is a at least as good as b in everything, and better in something or `first`?"""
    better = a.units >= b.units and a.spare >= b.spare and a.cost <= b.cost
    return better and (first or a != b)


def _pattern(
    rooms: Sequence[int], rests: Sequence[int], plan: _Plan, inside: Inside, prices: Prices
) -> Pattern | None:  # fmt: skip
    """Units, places left and bytes of a plan; None for a unit more that would have to leave by more than half."""
    unit, kept, free = inside.cells, rests[: plan.mains], sorted(rests[plan.mains :], reverse=True)
    cut = [inside.left((rest, unit - rest)) for rest in kept]
    pool, tails = sum(free), sum(unit - rest for rest in kept)
    cost, spare = prices[0] * sum(cut), pool - tails
    if spare < 0:
        cost += prices[1] * sum(cut) * -spare / tails
    if plan.extra:
        main = min(unit, spare)
        if 2 * main < unit:
            return None
        cost += prices[0] * inside.left(_pieces(free, main, unit)) + prices[1] * inside.left((main, unit - main))
        spare -= unit
    units = sum(room // unit for room in rooms) + plan.mains + plan.extra
    return Pattern(units, spare, cost + (prices[1] * inside.ring_bytes if units else 0.0))


def _pieces(free: Sequence[int], main: int, unit: int) -> tuple[int, ...]:
    """A unit cut into what rooms hold of its main, the largest first, and its tail."""
    found, left = [], main
    for room in free:
        found.append(min(room, left))
        left -= found[-1]
    return (*(f for f in found if f), unit - main)


def seated(found: Seats, strategy: Strategy, traffic: Traffic, domain_U: Ints) -> list[Ints]:
    """Domain of every cell, from the domain whose seat each unit has: as they are, and dealt again in rows. (C,) each"""
    (leaf_D, pod_D), stage_units = _levels(found), strategy.stage_ranks // found.sites.cell
    rows_U = in_rows(domain_U, leaf_D, pod_D, _free(found, leaf_D[domain_U]), stage_units)
    seats_U = [domain_U] if bool((rows_U == domain_U).all()) else [domain_U, rows_U]
    return [_seated(found, strategy, traffic, seat_U) for seat_U in seats_U]


def _seated(found: Seats, strategy: Strategy, traffic: Traffic, domain_U: Ints) -> Ints:
    """Domain of every cell, units in these seats. (C,)"""
    unit, parent_TD = found.inside.cells, found.sites.parent_TD
    domain_U, held_U, beside_U = _ends_last(found, strategy, traffic, domain_U)
    free_D = found.cells_D - np.bincount(domain_U, weights=held_U, minlength=len(found.cells_D)).astype(np.int64)
    short = np.flatnonzero(held_U < unit)
    pieces = [
        Piece(u, held, unit - held, home, beside)
        for u, held, home, beside in zip(
            *(x[short].tolist() for x in (np.arange(len(domain_U)), held_U, domain_U, beside_U)), strict=True
        )
    ]
    domain_C = np.repeat(domain_U, unit).astype(np.int32)
    for piece, domain in lay(pieces, free_D, parent_TD, found.inside.ladder):
        first = piece.unit * unit + piece.start
        domain_C[first : first + piece.length] = domain
    return domain_C


def _held(found: Seats, domain_U: Ints) -> Ints:
    """Cells that each unit keeps in its domain: whole units first, then the main, nothing of units that are spread. (U,)"""
    unit, seat_U = found.inside.cells, _places(domain_U)
    whole_U = found.cells_D[domain_U] // unit
    return np.where(seat_U < whole_U, unit, np.where(seat_U == whole_U, found.main_D[domain_U], 0))


def _places(group_U: Ints) -> Ints:
    """How many earlier units of its group each unit has before it. (U,)"""
    order = np.argsort(group_U, kind="stable")
    place_U = np.empty(len(order), np.int64)
    place_U[order] = np.arange(len(order)) - np.searchsorted(group_U[order], group_U[order])
    return place_U


def _ends_last(found: Seats, strategy: Strategy, traffic: Traffic, domain_U: Ints) -> tuple[Ints, Ints, Ints]:
    """Units of a group change seats, so that those with least in common with the group are the ones that are spread.

    Domain of each unit, the cells that it keeps there, and the group where its tail should go. Tails of units that are spread
    leave the group, and what they have in common with units that stay is lost with them.
    """
    leaf_U = _levels(found)[0][domain_U]
    edges = cell_edges(strategy, traffic, found.sites.cell) or []
    common_U = np.zeros(len(domain_U))
    for a, b, weight in edges:
        near = (leaf_U[a] == leaf_U[b]) & (a != b)
        common_U += np.bincount(a[near], weights=weight[near], minlength=len(common_U))
        common_U += np.bincount(b[near], weights=weight[near], minlength=len(common_U))
    beside_U = _hosts(found, leaf_U, common_U, edges)
    held_U = _held(found, domain_U)
    seats_order = np.lexsort((np.arange(len(held_U)), -held_U, leaf_U))
    # Every other group gives its first unit instead of its last: tails of neighbours lie side by side, in one group.
    first_J = np.full(int(leaf_U.max()) + 1, len(leaf_U))
    np.minimum.at(first_J, leaf_U, np.arange(len(leaf_U)))
    odd_U = (np.argsort(np.argsort(first_J, kind="stable"), kind="stable") % 2 == 1)[leaf_U]
    last_U = np.where(odd_U, -1, 1) * np.arange(len(held_U))
    units_order = np.lexsort((last_U, -np.round(common_U, 6), beside_U >= 0, leaf_U))
    moved_U, kept_U = np.empty_like(domain_U), np.empty_like(held_U)
    moved_U[units_order], kept_U[units_order] = domain_U[seats_order], held_U[seats_order]
    return moved_U, kept_U, beside_U


def _levels(found: Seats) -> tuple[Ints, Ints]:
    """Group of each domain on the next tier, and on the one after that. (D,), (D,)"""
    parent_TD = found.sites.parent_TD
    return parent_TD[min(1, len(parent_TD) - 1)], parent_TD[min(2, len(parent_TD) - 1)]


def _free(found: Seats, leaf_U: Ints) -> Ints:
    """Places that groups have left when they hold all cells of their units; negative where they cannot. (J,)"""
    leaf_D, _ = _levels(found)
    num = int(leaf_D.max()) + 1
    room_J = np.bincount(leaf_D, weights=found.cells_D, minlength=num).astype(np.int64)
    return np.asarray(room_J - found.inside.cells * np.bincount(leaf_U, minlength=num))


def _hosts(found: Seats, leaf_U: Ints, common_U: Floats, edges: Sequence[Edges]) -> Ints:
    """One unit of each group that cannot hold all of its own, and another group of the region that can hold the rest and has
    what the unit exchanges with: heaviest first, then along the units, so that of a row of groups most find a neighbour. (U,)

    Half of what the heaviest have is too little: tails of neighbours may lie side by side instead.
    """
    free_J = _free(found, leaf_U)
    unit_Y, host_Y, gain_Y = _neighbours(found, leaf_U, free_J, edges)
    least_J = np.full(len(free_J), np.inf)
    np.minimum.at(least_J, leaf_U, common_U)
    gain_Y = np.round(gain_Y - (common_U - least_J[leaf_U])[unit_Y], 6)
    order = np.lexsort((host_Y, unit_Y, -gain_Y))
    beside_U, done_J = np.full(len(leaf_U), -1), np.zeros(len(free_J), bool)
    for y in order[gain_Y[order] > gain_Y.max(initial=0.0) / 2].tolist():
        home, host = leaf_U[unit_Y[y]], host_Y[y]
        if not done_J[home] and free_J[host] >= -free_J[home]:
            free_J[host] += free_J[home]
            beside_U[unit_Y[y]], done_J[home] = host, True
    return beside_U


def _neighbours(found: Seats, leaf_U: Ints, free_J: Ints, edges: Sequence[Edges]) -> tuple[Ints, Ints, Floats]:
    """Units of groups without room for all of theirs, groups of the same region with places left, bytes between them."""
    leaf_D, pod_D = _levels(found)
    num = len(free_J)
    pod_J = np.zeros(num, np.int64)
    pod_J[leaf_D] = pod_D
    pair_Y, gain_Y = np.zeros(0, np.int64), np.zeros(0)
    for a, b, weight in edges:
        unit_X, host_X = np.concatenate([a, b]), leaf_U[np.concatenate([b, a])]
        home_X = leaf_U[unit_X]
        fits = (free_J[home_X] < 0) & (free_J[host_X] > 0) & (pod_J[home_X] == pod_J[host_X])
        pair_Y = np.concatenate([pair_Y, unit_X[fits] * num + host_X[fits]])
        gain_Y = np.concatenate([gain_Y, np.tile(weight, 2)[fits]])
    pair_Y, which = np.unique(pair_Y, return_inverse=True)
    return pair_Y // num, pair_Y % num, np.asarray(np.bincount(which, weights=gain_Y, minlength=len(pair_Y)), float)
