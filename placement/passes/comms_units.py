# SPDX-License-Identifier: Apache-2.0
# R rank   U unit   C cell   D NVLink domain   G GPU in order of domains
"""Contraction: ranks that must share an NVLink domain become cells, and cells units that fill whole nodes.

Cells of a tower are those of its strategy (tensor and expert groups, `cost.cells`); groups that the file wants together join
them. Bare ranks fill nodes in the order of a tree of heavy pairs. What is left is a graph of units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import cell_size, largest_domain
from placement.diag import Infeasible
from placement.ir import Cluster
from placement.ir._array import Floats, Ints
from placement.ir.comms import Comms
from placement.passes.refine import cell_edges
from placement.passes.sites import no_room
from placement.solve.bisect import line
from placement.solve.exchange import Links, links

MOST_PAIRS = 8_000_000  # between units; beyond that nothing is partitioned


@dataclass(frozen=True)
class Units:
    """`unit_R` unit of each rank, numbered by first rank; `size_U` ranks of each; `cell_R` cell of each rank."""

    unit_R: Ints
    size_U: Ints
    cell_R: Ints
    cell_K: tuple[int, ...]  # ranks of a cell of each tower


def units_of(cluster: Cluster, comms: Comms) -> Units:
    """Raises Infeasible where a cell is larger than any domain, or towers do not fill whole nodes."""
    cell_K = tuple(1 if t.strategy is None else cell_size(cluster, t.strategy) for t in comms.towers)
    cell_R = cells_of(comms, cell_K)
    size_C = np.bincount(cell_R)
    if int(size_C.max()) > largest_domain(cluster):
        message = (
            f"{int(size_C.max())} ranks have to share an NVLink domain, and the largest one gives {largest_domain(cluster)}"
        )
        raise Infeasible(message, {"capacity": 1}, "take smaller groups `together`, or smaller tensor and expert groups")
    unit_R: Ints = np.empty(comms.world_size, np.int64)
    taken = 0
    for k, (tower, first) in enumerate(zip(comms.towers, comms.first, strict=True)):
        if tower.ranks % cluster.gpus_per_node:
            message = f"tower `{tower.name}` has {tower.ranks} ranks, which do not fill whole nodes of {cluster.gpus_per_node}"
            raise no_room(message)
        part_R = _tower_units(cluster, comms, k, cell_R[first : first + tower.ranks], cell_K[k])
        unit_R[first : first + tower.ranks] = taken + part_R
        taken += int(part_R.max()) + 1
    unit_R = _numbered(_merged(cell_R, unit_R))
    return Units(unit_R, np.bincount(unit_R), cell_R, cell_K)


def cells_of(comms: Comms, cell_K: Sequence[int]) -> Ints:
    """Cell of each rank, numbered by first rank: those of every tower, joined where the file wants groups together."""
    own = [first + np.arange(t.ranks) // c * c for t, c, first in zip(comms.towers, cell_K, comms.first, strict=True)]
    return _joined(np.concatenate(own), comms)


def blocks_of(node_R: Ints, cell_R: Ints, cell_K: tuple[int, ...]) -> Units:
    """What has to move as one in a placement that stands: whole nodes, joined where cells lie on several."""
    block_R = _numbered(_merged(cell_R, _numbered(node_R)))
    return Units(block_R, np.bincount(block_R), cell_R, cell_K)


def _joined(label_R: Ints, comms: Comms) -> Ints:
    """Cells after all groups that are to stay together are joined (connected components)."""
    for _ in range(64):
        before = label_R
        for group in comms.together:
            low = int(label_R[group].min())
            if bool((label_R[group] != low).any()):
                label_R = np.where(np.isin(label_R, label_R[group]), low, label_R)
        if label_R is before:
            break
    return _numbered(label_R)


def _merged(cell_R: Ints, unit_R: Ints) -> Ints:
    """Units that share a cell (a group over towers) become one."""
    low_U = np.arange(int(unit_R.max()) + 1)
    while True:
        low_C = np.full(int(cell_R.max()) + 1, len(low_U))
        np.minimum.at(low_C, cell_R, low_U[unit_R])
        next_U = low_U.copy()
        np.minimum.at(next_U, unit_R, low_C[cell_R])
        if bool((next_U == low_U).all()):
            return low_U[unit_R]
        low_U = next_U


def _numbered(label_R: Ints) -> Ints:
    """Labels 0, 1, … in order of the first rank."""
    _, first, which = np.unique(label_R, return_index=True, return_inverse=True)
    place = np.empty(len(first), np.int64)
    place[np.argsort(first, kind="stable")] = np.arange(len(first))
    return place[which]


def _tower_units(cluster: Cluster, comms: Comms, k: int, cell_R: Ints, cell: int) -> Ints:
    """Units of one tower, numbered from 0: runs of whole cells on whole nodes, or packs of bare cells."""
    tower, node = comms.towers[k], cluster.gpus_per_node
    unit = int(np.lcm(cell, node))
    if tower.strategy is not None:
        if tower.ranks % unit and cell % node:
            message = f"tower `{tower.name}`: {tower.ranks} ranks in cells of {cell} do not fill whole nodes of {node}"
            raise no_room(message)
        return np.arange(tower.ranks) // unit
    return _packed(comms, k, cell_R, node)


def _packed(comms: Comms, k: int, cell_R: Ints, node: int) -> Ints:
    """Cells of bare ranks in nodes: large ones first, those that talk most side by side."""
    first, ranks = comms.first[k], comms.towers[k].ranks
    unit_R = _numbered(cell_R)
    size_U = np.bincount(unit_R)
    kept = [(w, _within(w.src_E, w.dst_E, first, ranks)) for w in comms.wires]
    edges = [(unit_R[w.src_E[ok] - first], unit_R[w.dst_E[ok] - first], w.bytes_E[ok]) for w, ok in kept]
    place_U = line(links(len(size_U), edges), size_U)
    return _numbered(_first_fit(size_U, np.lexsort((place_U, -size_U)), node)[unit_R])


def _within(a: Ints, b: Ints, first: int, ranks: int) -> Ints:
    return np.flatnonzero((a >= first) & (a < first + ranks) & (b >= first) & (b < first + ranks))


def _first_fit(size_U: Ints, order_U: Ints, node: int) -> Ints:
    """Units that fill no node share one, in order. Raises Infeasible where nodes stay partly filled."""
    label_U = np.arange(len(size_U))
    bins: list[list[int]] = []  # those with room: unit that opened it, room
    for u in order_U.tolist():
        rest = int(size_U[u]) % node
        home = next((b for b in bins if b[1] >= rest), None) if rest else None
        if home is None:
            home = [u, node]
            bins += [home] if rest else []
        label_U[u], home[1] = home[0], home[1] - rest
        if rest and not home[1]:
            bins.remove(home)
    if bins:
        raise no_room(f"the groups that have to stay together do not fill whole nodes of {node} GPUs")
    return label_U


def graph_of(comms: Comms, units: Units) -> Links | None:
    """Bytes between units, both directions; None where they are too many to list."""
    parts: list[tuple[Ints, Ints, Floats]] = []
    for tower, cell, first in zip(comms.towers, units.cell_K, comms.first, strict=True):
        if tower.strategy is None or not tower.traffic.terms:
            continue
        edges = cell_edges(tower.strategy, tower.traffic, cell)
        if edges is None or sum(len(e[0]) for e in edges) > MOST_PAIRS:
            return None
        home_C = units.unit_R[first : first + tower.ranks : cell]
        parts += [(home_C[a], home_C[b], w) for a, b, w in edges]
    parts += [(units.unit_R[w.src_E], units.unit_R[w.dst_E], w.bytes_E) for w in comms.wires]
    return links(len(units.size_U), parts)
