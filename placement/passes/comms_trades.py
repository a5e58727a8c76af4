# SPDX-License-Identifier: Apache-2.0
# R rank   B block   N node   D NVLink domain   T tier   J group of a tier
"""A map of several towers with what runs on a host elsewhere: on free hosts, or in the place of other ranks.

A block is what moves as one: whole nodes, joined where a cell lies on several. The change of what leaves each tier is known
for every other block of the same size, and for every domain with room, from what blocks have in common with groups; the best
of each distance is then priced exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.comms import Loads, loads
from placement.ir import Cluster
from placement.ir._array import Floats, Ints
from placement.ir.comms import Comms
from placement.passes.comms_units import Units, blocks_of, cells_of, graph_of
from placement.solve.exchange import Links, links


@dataclass(frozen=True)
class Trade:
    """`nodes` that the block would run on. `tier`: lowest tier that holds both places. `idle`: they run no rank."""

    nodes: Ints
    tier: int
    idle: bool
    loads: Loads


@dataclass(frozen=True)
class Trades:
    """`ranks` and `nodes` of the block; `found` best first, out of `places` other places that were compared."""

    ranks: Ints
    nodes: Ints
    places: int
    found: tuple[Trade, ...]


def trades(cluster: Cluster, comms: Comms, cell_K: tuple[int, ...], gpu_R: Ints, node: int) -> Trades | None:
    """What else the ranks of `node` could run on, the best of each distance; None where the node runs no rank."""
    slots = cluster.gpus_per_node
    node_R = gpu_R // slots
    here = np.flatnonzero(node_R == node)
    if not len(here):
        return None
    units = blocks_of(node_R, cells_of(comms, cell_K), cell_K)
    block = int(units.unit_R[here[0]])
    mine = np.unique(node_R[units.unit_R == block])
    yard = _Yard(cluster, units, graph_of(comms, units) or links(len(units.size_U), []), node_R, block, mine)
    found = [
        Trade(nodes, t, idle, loads(cluster, comms, _moved(gpu_R, slots, mine, nodes)))
        for t, idle, nodes in (*yard.swaps(), *yard.moves())
    ]
    best = sorted(found, key=lambda t: (t.loads.score, t.tier, t.nodes.tolist()))
    return Trades(np.flatnonzero(units.unit_R == block), mine, yard.places, tuple(best))


def _moved(gpu_R: Ints, slots: int, mine: Ints, other: Ints) -> Ints:
    """The placement with two sets of nodes in each other's place, in order; slots as they were."""
    to_N = np.arange(int(max(gpu_R.max() // slots, mine.max(), other.max())) + 1)
    to_N[mine], to_N[other] = other, mine
    return np.asarray(to_N[gpu_R // slots] * slots + gpu_R % slots)


class _Yard:
    """Other places of one block, and what each would add to the seconds of all uplinks, evenly loaded."""

    def __init__(self, cluster: Cluster, units: Units, graph: Links, node_R: Ints, block: int, mine: Ints) -> None:
        self.cluster, self.graph, self.block, self.mine, self.node_R, self.units = cluster, graph, block, mine, node_R, units
        domain_N = cluster.tiers[0].group_N
        first_B = np.unique(units.unit_R, return_index=True)[1]
        self.domain_B: Ints = domain_N[node_R[first_B]].astype(np.int64)
        self.home = int(self.domain_B[block])
        able_N = cluster.whole_N & (cluster.chip_N == cluster.chip_N[mine[0]])
        free_N = able_N.copy()
        free_N[node_R] = False
        self.free = np.flatnonzero(free_N)
        self.room_D = np.bincount(domain_N[self.free], minlength=cluster.tiers[0].num_groups)
        same_B = (units.size_U == units.size_U[block]) & able_N[node_R[first_B]]
        same_B[block] = False
        self.rivals = np.flatnonzero(same_B)
        self.open_D = np.flatnonzero(self.room_D >= len(mine))
        self.places = len(self.rivals) + len(self.open_D)

    def swaps(self) -> Iterator[tuple[int, bool, Ints]]:
        """(tier, False, nodes) of the best block at each distance; one of the same domain would change nothing."""
        for t, at in _best_by_tier(self._apart(self.domain_B[self.rivals]), self._swap_s()):
            if t:
                yield t, False, np.unique(self.node_R[self.units.unit_R == self.rivals[at]])

    def moves(self) -> Iterator[tuple[int, bool, Ints]]:
        """(tier, True, nodes) of the best domain with free nodes at each distance."""
        for t, at in _best_by_tier(self._apart(self.open_D), self._move_s()):
            here = self.cluster.tiers[0].group_N[self.free] == self.open_D[at]
            yield t, True, self.free[here][: len(self.mine)]

    def _apart(self, domain_X: Ints) -> Ints:
        """Lowest tier that holds each domain and that of the block."""
        parent_TD = self.cluster.parent_TJ
        return np.asarray((parent_TD[:, domain_X] != parent_TD[:, [self.home]]).sum(axis=0))

    def _tiers(self) -> Iterator[tuple[float, Ints]]:
        """(bytes/s of all uplinks, group of each domain) of the tiers that have uplinks."""
        for tier, parent_D in zip(self.cluster.tiers, self.cluster.parent_TJ, strict=True):
            total = float(tier.uplink_Bps_J[np.isfinite(tier.uplink_Bps_J)].sum())
            if total > 0:
                yield total, parent_D

    def _own(self, group_B: Ints, num: int) -> Floats:
        """What the block has in common with each group of a tier. (J,)"""
        near, weight = self.graph.of(self.block)
        return np.asarray(np.bincount(group_B[near], weights=weight, minlength=num), float)

    def _move_s(self) -> Floats:
        out = np.zeros(len(self.open_D))
        for total, parent_D in self._tiers():
            own_J = self._own(parent_D[self.domain_B], int(parent_D.max()) + 1)
            out += (own_J[parent_D[self.home]] - own_J[parent_D[self.open_D]]) / total
        return out

    def _swap_s(self) -> Floats:
        graph, size = self.graph, len(self.domain_B)
        row_X = np.repeat(np.arange(size), np.diff(graph.first_U))
        common_B = np.zeros(size)
        near, weight = graph.of(self.block)
        common_B[near] = weight
        out = np.zeros(len(self.rivals))
        for total, parent_D in self._tiers():
            group_B = parent_D[self.domain_B]
            mine, here_X = int(group_B[self.block]), group_B[graph.unit_V]
            own_J = self._own(group_B, int(parent_D.max()) + 1)
            stay_B = np.bincount(row_X, graph.weight_V * (here_X == group_B[row_X]), size)
            come_B = np.bincount(row_X, graph.weight_V * (here_X == mine), size)
            gain_B = own_J[group_B] + come_B - own_J[mine] - stay_B - 2 * common_B
            out -= np.where(group_B == mine, 0.0, gain_B)[self.rivals] / total
        return out


def _best_by_tier(tier_X: Ints, cost_X: Floats) -> Sequence[tuple[int, int]]:
    """(tier, index of the least cost) for every tier that occurs; ties by order."""
    order = np.lexsort((np.arange(len(tier_X)), cost_X, tier_X))
    first = np.flatnonzero(np.diff(tier_X[order], prepend=-1))
    return [(int(tier_X[order[i]]), int(order[i])) for i in first]
