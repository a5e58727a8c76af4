# SPDX-License-Identifier: Apache-2.0
# C cell   D NVLink domain   J group of a tier   U unit: what sits in one group of the tier inside
"""Refinement of a placement of cells: what whole groups hold changes places, tier by tier, outermost first.

Inside a group nothing moves, so the tiers inside keep their bytes. Small problems are handed whole to a tabu search.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from placement.cost.crossings import boundaries
from placement.ir import Cluster, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.sites import Sites
from placement.solve.exchange import exchange, links
from placement.solve.tabu import robust_tabu

STEPS = 3_000  # exchanges of one tier
LARGEST = 10_000_000  # units x groups
EDGES = 4_000_000  # pairs of ranks or pieces of one term
SMALL, TABU_STEPS = 64, 2_000  # places up to which the whole problem goes to the tabu search
Edges = tuple[Ints, Ints, Floats]


def refined(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints) -> list[Ints]:
    """Other placements of the cells, likely better by bytes; the caller compares. Rooms are kept."""
    edges = cell_edges(strategy, traffic, sites.cell)
    if edges is None:
        return []
    whole_C = _tiers(cluster, sites, edges, domain_C)
    found = [whole_C, _cells(sites, edges, whole_C), _small(cluster, sites, edges, whole_C)]
    return [f for f in found if f is not None]


def cell_edges(strategy: Strategy, traffic: Traffic, cell: int, largest: int = EDGES) -> list[Edges] | None:
    """Bytes between cells (cell, cell, bytes); None where they are too many to list."""
    found = [
        _edges(strategy, t, cell, largest) for t in traffic.terms if cell % (strategy.size(t.axis) * strategy.stride(t.axis))
    ]
    return None if any(f is None for f in found) else [f for f in found if f]


def _edges(strategy: Strategy, term: Term, cell: int, largest: int) -> Edges | None:
    n, stride, ranks = strategy.size(term.axis), strategy.stride(term.axis), strategy.world_size
    weight_R = np.repeat(term.bytes_P, strategy.stage_ranks)
    if term.kind == "path":
        stage = strategy.stage_ranks
        pairs = boundaries(strategy)
        a = np.concatenate([p * stage + np.arange(stage) for p, _ in pairs])
        b = np.concatenate([q * stage + np.arange(stage) for _, q in pairs])
        return _joined(a // cell, b // cell, 2 * weight_R[a], ranks // cell)
    if term.kind == "ring":
        a = np.arange(ranks)
        at = a // stride % n
        return _joined(a // cell, (a - at * stride + (at + 1) % n * stride) // cell, weight_R, ranks // cell)
    if ranks * max(n // max(cell // stride, 1), 1) > largest:
        return None
    step = max(cell // stride, 1)
    a = np.arange(ranks)
    first = a - a // stride % n * stride
    ends = [first + k * stride for k in range(0, n, step)]
    parts = [_joined(a // cell, end // cell, weight_R * (step / (n - 1)), ranks // cell) for end in ends]
    a, b, w = (np.concatenate(part) for part in zip(*parts, strict=True))
    return a, b, w


def _joined(a: Ints, b: Ints, w: Floats, cells: int) -> Edges:
    pair, which = np.unique(a * cells + b, return_inverse=True)
    return pair // cells, pair % cells, np.asarray(np.bincount(which, weights=w), float)


def _tiers(cluster: Cluster, sites: Sites, edges: list[Edges], domain_C: Ints) -> Ints:
    """Contents of the groups of tier t-1 change places between groups of tier t, for every t with uplinks."""
    home_D: Ints = np.arange(len(sites.room_D))  # where what was in a domain goes
    for t in range(len(cluster.tiers) - 2, 0, -1):
        inner_D, outer_D = sites.parent_TD[t - 1], sites.parent_TD[t]
        num = int(inner_D.max()) + 1
        if num * (int(outer_D.max()) + 1) > LARGEST or not np.isfinite(cluster.tiers[t].uplink_Bps_J).any():
            continue
        group_U, region_U = _of_units(inner_D, outer_D, num), _of_units(inner_D, sites.parent_TD[t + 1], num)
        unit_C = inner_D[home_D[domain_C]]
        graph = links(num, [(unit_C[a], unit_C[b], w) for a, b, w in edges])
        place_U = exchange(graph, group_U, _kinds(sites, inner_D, num), region_U, steps=STEPS)
        home_D = _moved(inner_D, place_U, num)[home_D]
    return np.asarray(home_D[domain_C], np.int32)


def _cells(sites: Sites, edges: list[Edges], domain_C: Ints) -> Ints | None:
    """Single cells, and free places, change domains inside a group of the next tier; none where a domain holds one cell."""
    free_D = sites.room_D - np.bincount(domain_C, minlength=len(sites.room_D))
    home_U = np.concatenate([domain_C, np.repeat(np.arange(len(free_D)), free_D)])
    if sites.block > 1 or int(sites.room_D.max(initial=0)) < 2 or len(home_U) * len(free_D) > LARGEST:
        return None
    outer_D = sites.parent_TD[1] if len(sites.parent_TD) > 1 else np.zeros(len(free_D), np.int64)
    graph = links(len(home_U), edges)
    place_U = exchange(graph, home_U, sites.chip_D[home_U], outer_D[home_U], steps=STEPS)
    return np.asarray(home_U[place_U][: len(domain_C)], np.int32)


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


def _small(cluster: Cluster, sites: Sites, edges: list[Edges], domain_C: Ints) -> Ints | None:
    """All cells at once, a place for each that a domain has room for; none if there are many, or cells share nodes."""
    slot_D = np.repeat(np.arange(len(sites.room_D)), sites.room_D)
    cells = len(domain_C)
    if sites.block > 1 or not cells or len(slot_D) > SMALL:
        return None
    flow = np.zeros((len(slot_D), len(slot_D)))
    for a, b, w in edges:
        np.add.at(flow, (a, b), w / 2)
        np.add.at(flow, (b, a), w / 2)
    far = np.zeros(flow.shape)
    for tier, group_D in zip(cluster.tiers, sites.parent_TD, strict=True):
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
    _, best = robust_tabu(flow / flow.max(), far / far.max(), place, steps=TABU_STEPS)
    return np.asarray(slot_D[best[:cells]], np.int32)
