# SPDX-License-Identifier: Apache-2.0
# C cell   D NVLink domain   J group of a tier   U unit: what sits in one group of the tier inside
"""Refinement of a placement of cells: what whole groups hold changes places, tier by tier, outermost first.

Inside a group nothing moves, so the tiers inside keep their bytes. A tier that is cut no more than the best box cuts it is left
alone. Small problems are handed whole to a tabu search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from placement.cost.crossings import TierView, boundaries
from placement.cost.traffic import axis_load
from placement.ir import Cluster, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.grid import Grid, grid_of, least_leaving
from placement.passes.sites import Sites
from placement.solve.exchange import Links, exchange, links
from placement.solve.tabu import robust_tabu

STEPS = 3_000  # exchanges of one tier
LARGEST = 10_000_000  # units x groups
EDGES = 4_000_000  # pairs of ranks or pieces of one term
SMALL = 64  # places up to which the whole problem goes to the tabu search
TABU_STEPS, PER_PAIR = 2_000, 8  # its steps, at most, and for each pair of places, counted twice
Edges = tuple[Ints, Ints, Floats]


@dataclass(frozen=True)
class _Work:
    """What is refined. `edges`: bytes between cells, listed when first asked for; None where they are too many."""

    cluster: Cluster
    strategy: Strategy
    traffic: Traffic
    sites: Sites

    @cached_property
    def edges(self) -> list[Edges] | None:
        return cell_edges(self.strategy, self.traffic, self.sites.cell)

    @cached_property
    def grid(self) -> Grid:
        return grid_of(self.strategy, self.traffic, self.sites.cell)

    def boxed(self, group_D: Ints, domain_C: Ints) -> bool:
        """Do no more bytes leave the groups than if they were full of the best boxes?"""
        room_J = np.bincount(group_D, weights=self.sites.room_D).astype(np.int64)
        view = TierView(group_D[domain_C], self.sites.cell, self.sites.cell, len(room_J))
        loads = (axis_load(view, self.strategy, term) for term in self.traffic.terms)
        cut = sum(float(load_J.sum()) for load_J in loads if load_J is not None)
        return cut <= least_leaving(self.grid, room_J) * (1 + 1e-9)


def refined(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints) -> list[Ints]:
    """Other placements of the cells, likely better by bytes; the caller compares. Rooms are kept."""
    work = _Work(cluster, strategy, traffic, sites)
    whole_C = _tiers(work, domain_C)
    found = [whole_C, _cells(work, whole_C), _small(work, whole_C)]
    return [f for f in found if f is not None]


def cell_edges(strategy: Strategy, traffic: Traffic, cell: int, largest: int = EDGES) -> list[Edges] | None:
    """Bytes between cells (cell, cell, bytes); None where they are too many to list."""
    found = [
        _edges(strategy, t, cell, largest) for t in traffic.terms if cell % (strategy.size(t.axis) * strategy.stride(t.axis))
    ]
    return None if any(f is None for f in found) else [f for f in found if f]


def _edges(strategy: Strategy, term: Term, cell: int, largest: int) -> Edges | None:
    """Edges of one term. Blocks of `width` ranks that behave alike stand for all of them."""
    n, stride, ranks = strategy.size(term.axis), strategy.stride(term.axis), strategy.world_size
    width = cell if term.kind == "clique" and cell % stride == 0 and n * stride % cell == 0 else math.gcd(cell, stride)
    weight_B = np.repeat(term.bytes_P * width, strategy.stage_ranks // width)
    if term.kind == "path":
        stage = strategy.stage_ranks
        pairs = boundaries(strategy)
        a = np.concatenate([np.arange(p * stage, (p + 1) * stage, width) for p, _ in pairs])
        b = np.concatenate([np.arange(q * stage, (q + 1) * stage, width) for _, q in pairs])
        return _joined(a // cell, b // cell, 2 * weight_B[a // width], ranks // cell, width == cell)
    a = np.arange(0, ranks, width)
    at = a // stride % n
    if term.kind == "ring":
        return _joined(a // cell, (a - at * stride + (at + 1) % n * stride) // cell, weight_B, ranks // cell, width == cell)
    step = max(cell // stride, 1)
    if ranks * max(n // step, 1) > largest:
        return None
    parts = []
    for k in range(0, n, step):  # pairs once, from the lower cell to the higher
        b = (a - at * stride + k * stride) // cell
        up = b > a // cell
        parts.append(_joined(a[up] // cell, b[up], weight_B[up] * (2 * step / (n - 1)), ranks // cell, width == cell))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))  # type: ignore[return-value]


def _joined(a: Ints, b: Ints, w: Floats, cells: int, alone: bool) -> Edges:
    """Edges with parallel ones added, unless each is `alone`."""
    if alone:
        return a, b, w
    pair, which = np.unique(a * cells + b, return_inverse=True)
    return pair // cells, pair % cells, np.asarray(np.bincount(which, weights=w), float)


def _tiers(work: _Work, domain_C: Ints) -> Ints:
    """Contents of the groups of tier t-1 change places between groups of tier t, for every t with uplinks."""
    sites, tiers = work.sites, work.cluster.tiers
    home_D: Ints = np.arange(len(sites.room_D))  # where what was in a domain goes
    for t in range(len(tiers) - 2, 0, -1):
        inner_D, outer_D = sites.parent_TD[t - 1], sites.parent_TD[t]
        num = int(inner_D.max()) + 1
        if num * (int(outer_D.max()) + 1) > LARGEST or not np.isfinite(tiers[t].uplink_Bps_J).any():
            continue
        now_C = home_D[domain_C]
        if work.boxed(outer_D, now_C) or work.edges is None:
            continue
        group_U, region_U = _of_units(inner_D, outer_D, num), _of_units(inner_D, sites.parent_TD[t + 1], num)
        graph = _graph(work.edges, inner_D[now_C], region_U)
        place_U = exchange(graph, group_U, _kinds(sites, inner_D, num), region_U, steps=STEPS)
        home_D = _moved(inner_D, place_U, num)[home_D]
    return np.asarray(home_D[domain_C], np.int32)


def _cells(work: _Work, domain_C: Ints) -> Ints | None:
    """Single cells, and free places, change domains inside a group of the next tier; none where a domain holds one cell."""
    sites = work.sites
    free_D = sites.room_D - np.bincount(domain_C, minlength=len(sites.room_D))
    home_U = np.concatenate([domain_C, np.repeat(np.arange(len(free_D)), free_D)])
    if sites.block > 1 or int(sites.room_D.max(initial=0)) < 2 or len(home_U) * len(free_D) > LARGEST:
        return None
    if work.boxed(np.arange(len(free_D)), domain_C) or work.edges is None:
        return None
    outer_D = sites.parent_TD[1] if len(sites.parent_TD) > 1 else np.zeros(len(free_D), np.int64)
    graph = _graph(work.edges, np.arange(len(home_U)), outer_D[home_U])
    place_U = exchange(graph, home_U, sites.chip_D[home_U], outer_D[home_U], steps=STEPS)
    return np.asarray(home_U[place_U][: len(domain_C)], np.int32)


def _graph(edges: list[Edges], unit_C: Ints, region_U: Ints) -> Links:
    """What units have in common, those of one region."""
    parts = []
    for a, b, w in edges:
        unit_a, unit_b = unit_C[a], unit_C[b]
        keep = (unit_a != unit_b) & (region_U[unit_a] == region_U[unit_b])
        parts.append((unit_a[keep], unit_b[keep], w[keep]))
    return links(len(region_U), parts)


def _of_units(inner_D: Ints, outer_D: Ints, num: int) -> Ints:
    value_U = np.zeros(num, np.int64)
    value_U[inner_D] = outer_D
    return value_U


def _kinds(sites: Sites, inner_D: Ints, num: int) -> Ints:
    """Units whose domains have the same rooms and chips, in order, are of one kind."""
    order = np.argsort(inner_D, kind="stable")
    first_U = np.searchsorted(inner_D[order], np.arange(num + 1))
    facts = np.stack([sites.room_D, sites.chip_D], 1)[order]
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(facts[a:b].tobytes(), len(known)) for a, b in pairwise(first_U.tolist())])


def _moved(inner_D: Ints, place_U: Ints, num: int) -> Ints:
    """Domain to which what a domain holds moves, when its unit takes the place of another of the same kind."""
    order = np.argsort(inner_D, kind="stable")
    first_U = np.searchsorted(inner_D[order], np.arange(num + 1))
    offset_D = np.empty(len(inner_D), np.int64)
    offset_D[order] = np.arange(len(order)) - first_U[inner_D[order]]
    return np.asarray(order[first_U[place_U[inner_D]] + offset_D])


def _small(work: _Work, domain_C: Ints) -> Ints | None:
    """All cells at once, a place for each that a domain has room for; none if there are many, or cells share nodes."""
    sites, cells = work.sites, len(domain_C)
    slot_D = np.repeat(np.arange(len(sites.room_D)), sites.room_D)
    if sites.block > 1 or not cells or len(slot_D) > SMALL or work.edges is None:
        return None
    flow = np.zeros((len(slot_D), len(slot_D)))
    for a, b, w in work.edges:
        np.add.at(flow, (a, b), w / 2)
        np.add.at(flow, (b, a), w / 2)
    far = np.zeros(flow.shape)
    for tier, group_D in zip(work.cluster.tiers, sites.parent_TD, strict=True):
        up_Bps = float(tier.uplink_Bps_J.sum())
        if 0 < up_Bps < np.inf:
            far += (group_D[slot_D][:, None] != group_D[slot_D]) / up_Bps
    mixed = sites.chip_D[slot_D]
    if bool((mixed != mixed[0]).any()):
        return None
    order = np.argsort(domain_C, kind="stable")
    place = np.empty(len(slot_D), np.int64)
    sorted_C = domain_C[order]
    offset = np.arange(cells) - np.searchsorted(sorted_C, sorted_C)
    place[order] = np.searchsorted(slot_D, sorted_C) + offset
    place[cells:] = np.setdiff1d(np.arange(len(slot_D)), place[:cells])
    scale = float(flow.max()) * float(far.max())
    if scale <= 0:
        return None
    _, best = robust_tabu(flow / flow.max(), far / far.max(), place, steps=min(TABU_STEPS, PER_PAIR * len(slot_D) ** 2))
    return np.asarray(slot_D[best[:cells]], np.int32)
