# SPDX-License-Identifier: Apache-2.0
# C cell   D NVLink domain   J group of a level
"""Candidate placements of cells: orders from box chains, laid over the capacities that the cluster really has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, permutations

import numpy as np

from placement.diag import Infeasible
from placement.ir import Cluster, Job, Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.fill import Tree, fill, tree_of
from placement.passes.grid import Grid, grid_of, least_leaving, leaving_bytes, order_cells, unpad
from placement.passes.sites import Sites, by_name, launcher_default
from placement.solve.boxchain import box_chains

CHAINS = 6  # box chains taken over from each search
Boxes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Layout:
    """One way to lay the cells: the grid padded to `sizes`, boxes, order of the digits inside boxes, units of the groups."""

    sizes: tuple[int, ...]
    chain: Boxes
    fast: tuple[int, ...]
    skip: int = 0  # inner boxes that are not kept whole
    free: int = 0  # outer levels whose groups are not filled by whole units
    middle: bool = False  # units that are split come from the middle
    trim: bool = False  # groups too small for a unit hold the most of one that they can


class Workshop:
    """Makes layouts into domains of cells (C,). Plain layouts first; `variants` of a good one change one thing at a time."""

    def __init__(self, cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites) -> None:
        self.sites, self.grid, self.tree = sites, grid_of(strategy, traffic, sites.cell), _tree(sites)
        self.room = int(self.tree.room_LJ[-1].sum()) * sites.block
        finite = [t.uplink_Bps_J[np.isfinite(t.uplink_Bps_J)] for t in cluster.tiers]
        self.weights = [1 / float(up_J.sum()) for up_J in finite if up_J.any()]
        self.boxes = _chains(self.weights, self.grid, self.tree, sites.block)
        self.orders: dict[tuple[object, ...], Ints] = {}
        self.fills: dict[tuple[object, ...], Ints] = {}  # orders of one ladder are laid over the same domains

    def least_s(self) -> float:
        """Seconds of all uplinks, if loads were even, of the best boxes of every tier."""
        rooms = [room_J * self.sites.block for room_J in self.tree.room_LJ]
        return sum(w * least_leaving(self.grid, room_J) for w, room_J in zip(self.weights, rooms, strict=False))

    def plain(self) -> list[Layout]:
        """Every box chain, also without its inner boxes: where rooms are uneven, whole runs beat boxes that do not fit."""
        digits = tuple(range(len(self.grid.sizes)))
        chains = dict.fromkeys(chain[level:] for level in range(len(self.tree.room_LJ)) for chain in self.boxes)
        trims = [Layout(self.grid.sizes, chain, digits, trim=True) for chain in chains if chain and self._tight(chain[0])]
        return [Layout(self.grid.sizes, chain, digits) for chain in chains] + trims

    def _tight(self, box: tuple[int, ...]) -> bool:
        """Do domains hold too few whole boxes?"""
        unit = max(math.prod(box) // self.sites.block, 1)
        return int((self.tree.room_LJ[0] // unit).sum()) * unit * self.sites.block < self.grid.num_cells

    def variants(self, layout: Layout) -> list[Layout]:
        sizes = _paddings(self.grid.sizes, layout.chain, self.room, self.sites.block)
        fasts = list(islice(permutations(layout.fast), 2 if layout.chain else 6))
        plain = [
            (0, 0, False, False),
            (0, 1, False, False),
            *((skip, 0, False, False) for skip in range(1, len(layout.chain) + 1)),
        ]
        split = [(0, 0, True, False), (0, 0, False, True), (0, 1, False, True)]
        rules = dict.fromkeys([*plain, *split] if layout.chain else plain)
        return [Layout(s, layout.chain, f, *rule) for s in sizes for f in fasts for rule in rules]

    def cells(self, layout: Layout) -> Ints:
        key = (layout.sizes, layout.chain, layout.fast)
        if key not in self.orders:
            self.orders[key] = order_cells(*key)
        order_C, block = self.orders[key], self.sites.block
        volumes = [math.prod(box) for box in layout.chain[layout.skip :]]
        ladder = tuple(sorted({1, *(v // block for v in volumes if v % block == 0)}))
        how = (len(order_C) // block, ladder, self._units(ladder, layout.free), layout.middle, layout.trim)
        if how not in self.fills:
            self.fills[how] = fill(self.tree, *how)
        domain_C = np.empty(len(order_C), np.int32)
        domain_C[order_C] = np.repeat(self.fills[how], block)
        return unpad(domain_C, layout.sizes, self.grid.sizes)

    def _units(self, ladder: tuple[int, ...], free: int) -> tuple[int, ...]:
        """Units by level: the largest of the ladder that its groups hold, and single blocks on the `free` outermost levels."""
        largest = [max(u for u in ladder if u <= max(int(room_J.max()), 1)) for room_J in self.tree.room_LJ[: self.tree.top]]
        return (*largest[: len(largest) - free], *[1] * free, 1)


def launcher_cells(cluster: Cluster, strategy: Strategy, sites: Sites, job: Job) -> Ints | None:
    """Domain of every cell in the launcher's order, if that keeps cells in domains and spares free."""
    try:
        gpu_R = launcher_default(cluster, strategy, job).gpu_R
    except Infeasible:
        return None
    domain_CR = cluster.tiers[0].group_N[gpu_R // cluster.gpus_per_node].reshape(-1, sites.cell)
    used_D = np.bincount(domain_CR[:, 0], minlength=len(sites.room_D))
    if bool((domain_CR != domain_CR[:, :1]).any() or (used_D > sites.room_D).any()):
        return None
    return domain_CR[:, 0].astype(np.int32)


def named_cells(cluster: Cluster, strategy: Strategy, sites: Sites) -> Ints:
    """The launcher's order of domains, each with as many cells as it holds."""
    named_N = cluster.tiers[0].group_N[by_name(cluster)]
    _, first = np.unique(named_N, return_index=True)
    order_D = named_N[np.sort(first)]
    return np.repeat(order_D, sites.room_D[order_D])[: strategy.world_size // sites.cell].astype(np.int32)


def _paddings(sizes: tuple[int, ...], chain: Boxes, room: int, block: int) -> list[tuple[int, ...]]:
    """The grid as it is, and with its digits rounded up so that the largest boxes possible divide them, if spares allow."""
    found = [sizes]
    if block > 1:  # cells share nodes, and a node whose other cell is padding would not be whole
        return found
    for box in reversed(chain):
        padded = tuple(-(-size // extent) * extent for size, extent in zip(sizes, box, strict=True))
        if padded != sizes and math.prod(padded) <= room:
            return [*found, padded]
    return found


def _tree(sites: Sites) -> Tree:
    """Tiers, and above them segments of one chip type where the cluster mixes types; room in blocks of whole nodes."""
    parents: list[Ints] = [sites.chip_D * (int(group_D.max()) + 1) + group_D for group_D in sites.parent_TD[1:]]
    if sites.chip_D.max() > 0:
        parents.append(sites.chip_D)
    return tree_of(sites.room_D // sites.block, [*parents, np.zeros_like(sites.chip_D)])


def _chains(weights: Sequence[float], grid: Grid, tree: Tree, block: int) -> list[Boxes]:
    """Box chains for full and for typical groups, cheapest first, and the plain order."""

    def cost(level: int, boxes_BD: Ints) -> Floats:
        return weights[level] * leaving_bytes(grid, boxes_BD)

    chains: dict[Boxes, None] = {(): None}
    known = [room_J[room_J > 0] for room_J in tree.room_LJ[: len(weights)]]
    for rooms in dict.fromkeys(tuple(int(pick(r)) * block for r in known) for pick in (np.max, np.median)):
        chains |= dict.fromkeys(chain for _, chain in box_chains(grid.sizes, rooms, cost, keep=CHAINS))
    return list(chains)
