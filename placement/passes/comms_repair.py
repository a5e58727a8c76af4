# SPDX-License-Identifier: Apache-2.0
# R rank   N node   B block   C cell   D NVLink domain   E block that leaves its domain   Y domain with room
"""Minimal-move repair of a map of several towers: ranks that lost their GPU go elsewhere, and no more than must go with them.

The rules are those of the placement: a cell stays in one NVLink domain, nodes give all their GPUs or none. A block is what has
to move as one, whole nodes joined by cells. Domain by domain:

- every rank on a node that may not be used any more moves;
- a domain keeps no more ranks than its usable nodes have GPUs. Cells with at least the difference have to leave it, and all
  their ranks move, dead or not: least is the cheapest such choice (`solve.cover`), counted by cells.

Blocks are chosen in the same way, so that both are equal wherever cells fill nodes. What stays takes spares of its own domain.
What leaves finds free nodes of one other domain, large blocks first; where there are none, smaller blocks make room, and then
nobody says that the moves are the fewest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placement.cost.comms import Loads, loads
from placement.diag import NoRepair
from placement.ir import Cluster, Placement
from placement.ir._array import Bools, Floats, Ints
from placement.ir.comms import Comms
from placement.passes.comms_units import blocks_of, cells_of, graph_of
from placement.passes.rails import rail_conflicts
from placement.passes.rehome import EPSILON, scaled
from placement.passes.sites import degraded
from placement.solve.assign import settle
from placement.solve.cover import cheapest_cover
from placement.solve.exchange import Links, links


@dataclass(frozen=True)
class MapRepair:
    """A repaired placement. `least`: no repair under the rules moves fewer ranks. `lost_R`: ranks whose GPU may not be used.

    `blocks_moved`: blocks that left their NVLink domain. `how`: what decided between repairs with as many moves.
    """

    placement: Placement
    loads: Loads
    moved_R: Ints
    lost_R: Ints
    least: int
    blocks_moved: int
    how: str

    @property
    def proven(self) -> bool:
        """The number of moves is the least possible."""
        return len(self.moved_R) == self.least


def repair_map(cluster: Cluster, comms: Comms, cell_K: tuple[int, ...], before: Placement) -> MapRepair:
    """The better of the repairs with the fewest moves: near the old places, or with little traffic. Raises NoRepair."""
    ground = _Ground(cluster, comms, cell_K, before)
    found = [ground.repaired(nearest=True)]
    if found[0].blocks_moved:
        found.append(ground.repaired(nearest=False))
    best = min(found, key=lambda f: (len(f.moved_R), f.loads.score))
    _require_rails(cluster, comms, before, best.placement)
    return best


class _Ground:
    """The blocks of a placement that stands, on the nodes of the cluster as it is now."""

    def __init__(self, cluster: Cluster, comms: Comms, cell_K: tuple[int, ...], before: Placement) -> None:
        self.cluster, self.comms, self.before, self.slots = cluster, comms, before, cluster.gpus_per_node
        self.node_R = before.gpu_R // self.slots
        self.domain_N: Ints = cluster.tiers[0].group_N.astype(np.int64)
        self.num = cluster.tiers[0].num_groups
        self.units = blocks_of(self.node_R, cells_of(comms, cell_K), cell_K)
        self.dead_R = ~cluster.whole_N[self.node_R]
        self.size_B = self.units.size_U // self.slots
        self.dead_B = np.bincount(self.units.unit_R, weights=self.dead_R).astype(np.int64) // self.slots
        self.domain_B = np.zeros(len(self.size_B), np.int64)
        self.domain_B[self.units.unit_R] = self.domain_N[self.node_R]
        self.weak_N = degraded(cluster)
        self._graph: Links | None = None

    def repaired(self, *, nearest: bool) -> MapRepair:
        leaves_B = self._leaving()
        node_R = self.node_R.copy()
        free_N = self._stayed(leaves_B, node_R)
        self._rehome(leaves_B, free_N, node_R, nearest=nearest)
        gpu_R = node_R * self.slots + self.before.gpu_R % self.slots
        moved_R = np.flatnonzero(gpu_R != self.before.gpu_R)
        cost = loads(self.cluster, self.comms, gpu_R)
        how = "near the old places" if nearest else "little traffic"
        lost_R = np.flatnonzero(self.dead_R)
        return MapRepair(Placement(gpu_R), cost, moved_R, lost_R, self._least(), int(leaves_B.sum()), how)

    def _hurt(self) -> Iterator[tuple[int, int, Ints]]:
        """(domain, nodes that it has too few, blocks in it) of every domain that lost nodes with ranks."""
        room_D = np.bincount(self.domain_N[self.cluster.whole_N], minlength=self.num)
        held_D = np.bincount(self.domain_B, weights=self.size_B, minlength=self.num).astype(np.int64)
        for d in np.unique(self.domain_B[self.dead_B > 0]).tolist():
            yield d, int(held_D[d] - room_D[d]), np.flatnonzero(self.domain_B == d)

    def _leaving(self) -> Bools:
        """Blocks that leave their domain: those that lost most for their size, no more than have to."""
        leaves_B = np.zeros(len(self.size_B), bool)
        for _, short, blocks in self._hurt():
            out = cheapest_cover(self.size_B[blocks], (self.size_B - self.dead_B)[blocks], short)
            assert out is not None, "all blocks of a domain have as many nodes as it has too few, or more"
            leaves_B[blocks[out]] = True
        return leaves_B

    def _least(self) -> int:
        """Ranks that any repair under the rules moves: the dead ones, and the living ones of cells that have to leave."""
        least, cell_R = int(self.dead_R.sum()), self.units.cell_R
        for d, short, _ in self._hurt():
            mine = np.flatnonzero(self.domain_N[self.node_R] == d)
            cells, of_X = np.unique(cell_R[mine], return_inverse=True)
            alive_C = np.bincount(of_X, weights=~self.dead_R[mine], minlength=len(cells)).astype(np.int64)
            out = cheapest_cover(np.bincount(of_X, minlength=len(cells)), alive_C, short * self.slots)
            least += 0 if out is None else int(alive_C[out].sum())
        return least

    def _stayed(self, leaves_B: Bools, node_R: Ints) -> Bools:
        """Give dead nodes of blocks that stay a spare of their domain. Changes node_R; returns the nodes that are free."""
        stays_R = ~leaves_B[self.units.unit_R]
        free_N = self.cluster.whole_N.copy()
        free_N[self.node_R[stays_R]] = False
        dead = np.unique(self.node_R[stays_R & self.dead_R])
        to_N = np.arange(len(free_N))
        for d in np.unique(self.domain_N[dead]).tolist():
            old = dead[self.domain_N[dead] == d]
            new = self._best_free(free_N, d)[: len(old)]
            to_N[old] = new
            free_N[new] = False
        node_R[stays_R] = to_N[node_R[stays_R]]
        return free_N

    def _best_free(self, free_N: Bools, d: int) -> Ints:
        """Free nodes of a domain, weak ones last."""
        nodes = np.flatnonzero(free_N & (self.domain_N == d))
        return nodes[np.argsort(self.weak_N[nodes], kind="stable")]

    def _rehome(self, leaves_B: Bools, free_N: Bools, node_R: Ints, *, nearest: bool) -> None:
        """Other domains for the blocks that leave, large ones first. Changes all three arrays. Raises NoRepair."""
        waiting = leaves_B.copy()
        while waiting.any():
            size = int(self.size_B[waiting].max())
            blocks = np.flatnonzero(waiting & (self.size_B == size))
            room_D = np.bincount(self.domain_N[free_N], minlength=self.num) // size
            fits = min(len(blocks), int(room_D.sum()))
            if fits < len(blocks):
                self._make_room(len(blocks) - fits, size, leaves_B, waiting, free_N, node_R)
                continue
            room_Y = np.flatnonzero(room_D)
            choice_E = settle(self._cost(blocks, room_Y, nearest=nearest), room_D[room_Y])
            for block, d in zip(blocks.tolist(), room_Y[choice_E].tolist(), strict=True):
                self._seat(block, self._best_free(free_N, d)[:size], free_N, node_R)
            waiting[blocks] = False

    def _seat(self, block: int, nodes: Ints, free_N: Bools, node_R: Ints) -> None:
        mine = np.flatnonzero(self.units.unit_R == block)
        node_R[mine] = np.sort(nodes)[np.unique(self.node_R[mine], return_inverse=True)[1]]
        free_N[nodes] = False

    def _make_room(self, count: int, size: int, leaves_B: Bools, waiting: Bools, free_N: Bools, node_R: Ints) -> None:
        """Smaller blocks leave the domain where fewest have to, for one of `count` blocks without room. Raises NoRepair."""
        free_D = np.bincount(self.domain_N[free_N], minlength=self.num)
        small = np.flatnonzero(~leaves_B & (self.size_B < size))
        held_D = np.bincount(self.domain_B[small], weights=self.size_B[small], minlength=self.num)
        ways: list[tuple[int, int, Ints]] = []
        for d in np.flatnonzero((free_D < size) & (free_D + held_D >= size)).tolist():
            mine = small[self.domain_B[small] == d]
            alive = (self.size_B - self.dead_B)[mine]
            out = cheapest_cover(self.size_B[mine], alive, size - int(free_D[d]))
            assert out is not None
            ways.append((int(alive[out].sum()), d, mine[out]))
        if not ways:
            raise _no_room(count, size * self.slots)
        out = min(ways, key=lambda way: way[:2])[2]
        leaves_B[out] = waiting[out] = True
        free_N[node_R[np.isin(self.units.unit_R, out)]] = True

    def _cost(self, blocks: Ints, room_Y: Ints, *, nearest: bool) -> Floats:
        """Tiers between the old and the new domain, and seconds of all uplinks for what others and a block exchange. (E, Y)"""
        parent_TD = self.cluster.parent_TJ
        old_E = self.domain_B[blocks]
        near = np.asarray((parent_TD[:, old_E][:, :, None] != parent_TD[:, room_Y][:, None, :]).sum(axis=0), float)
        moved = self._traffic_s(blocks, room_Y)
        first, second = (near, moved) if nearest else (moved, near)
        return scaled(first) + EPSILON * scaled(second)

    def _traffic_s(self, blocks: Ints, room_Y: Ints) -> Floats:
        graph = self._links()
        cost_EY = np.zeros((len(blocks), len(room_Y)))
        for tier, parent_D in zip(self.cluster.tiers, self.cluster.parent_TJ, strict=True):
            total_Bps = float(tier.uplink_Bps_J[np.isfinite(tier.uplink_Bps_J)].sum())
            if total_Bps <= 0:
                continue
            group_B = parent_D[self.domain_B]
            for e, block in enumerate(blocks.tolist()):
                near, weight = graph.of(block)
                own_J = np.bincount(group_B[near], weights=weight, minlength=int(parent_D.max()) + 1)
                cost_EY[e] += (float(weight.sum()) - own_J[parent_D[room_Y]]) / total_Bps
        return cost_EY

    def _links(self) -> Links:
        """What blocks have in common; nothing where that would be too much to list."""
        if self._graph is None:
            self._graph = graph_of(self.comms, self.units) or links(len(self.size_B), [])
        return self._graph


def _no_room(blocks: int, ranks: int) -> NoRepair:
    message = f"{blocks:,} blocks of {ranks} ranks have no NVLink domain that could hold them"
    return NoRepair(message, blocks, ranks, "return parts to service, or place the towers again with `placement map`")


def _require_rails(cluster: Cluster, comms: Comms, before: Placement, after: Placement) -> None:
    if cluster.rails_connected:
        return
    more = 0
    for tower, first in zip(comms.towers, comms.first, strict=True):
        if tower.strategy is not None:
            had, has = (
                sum(rail_conflicts(cluster, tower.strategy, Placement(p.gpu_R[first : first + tower.ranks])).values())
                for p in (before, after)
            )
            more += max(has - had, 0)
    if more:
        raise NoRepair(f"{more:,} communicators would need a path between rails, and there is none", 0, 1)
