# SPDX-License-Identifier: Apache-2.0
# C cell   D NVLink domain   J group of a level
"""Candidate placements of cells: orders from box chains, laid over the capacities that the cluster really has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice, permutations

import numpy as np

from placement.diag import Infeasible
from placement.ir import Cluster, Job, Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.fill import Tree, fill, tree_of
from placement.passes.grid import Grid, grid_of, leaving_bytes, order_cells, unpad
from placement.passes.sites import Sites, by_name, launcher_default
from placement.solve.boxchain import box_chains

CHAINS = 6  # box chains taken over from each search; some 40 candidates come of them, 12 ms each at 220,000 GPUs
Boxes = tuple[tuple[int, ...], ...]
UNITS = 3  # ways to round the groups' rooms to whole units, for each chain


def candidates(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites) -> Iterator[Ints]:
    """Domain of every cell (C,), for each candidate; none twice."""
    seen: set[bytes] = set()
    for domain_C in _all(cluster, strategy, traffic, sites):
        key = domain_C.tobytes()
        if key not in seen:
            seen.add(key)
            yield domain_C


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


def _all(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites) -> Iterator[Ints]:
    yield _by_name(cluster, strategy, sites)
    grid = grid_of(strategy, traffic, sites.cell)
    tree = _tree(sites)
    room = int(tree.room_LJ[-1].sum()) * sites.block
    for chain in _chains(cluster, grid, tree, sites.block):
        for sizes in _paddings(grid.sizes, chain, room, sites.block):
            for order_C, ladder in _orders(sizes, chain, sites.block):
                for units in _unit_choices(tree, ladder):
                    domain_C = np.empty(len(order_C), np.int32)
                    domain_C[order_C] = np.repeat(fill(tree, len(order_C) // sites.block, ladder, units), sites.block)
                    yield unpad(domain_C, sizes, grid.sizes)


def _by_name(cluster: Cluster, strategy: Strategy, sites: Sites) -> Ints:
    """The launcher's order of domains, each with as many cells as it holds."""
    named_N = cluster.tiers[0].group_N[by_name(cluster)]
    _, first = np.unique(named_N, return_index=True)
    order_D = named_N[np.sort(first)]
    return np.repeat(order_D, sites.room_D[order_D])[: strategy.world_size // sites.cell].astype(np.int32)


def _paddings(sizes: tuple[int, ...], chain: Boxes, room: int, block: int) -> list[tuple[int, ...]]:
    """The grid as it is, and with its digits rounded up so that the largest boxes possible divide them, if spares allow."""
    found = [sizes]
    for box in reversed(chain):
        padded = tuple(-(-size // extent) * extent for size, extent in zip(sizes, box, strict=True))
        if padded != sizes and math.prod(padded) <= room and math.prod(padded) % block == 0:
            return [*found, padded]
    return found


def _tree(sites: Sites) -> Tree:
    """Tiers, and above them segments of one chip type where the cluster mixes types; room in blocks of whole nodes."""
    parents: list[Ints] = [sites.chip_D * (int(group_D.max()) + 1) + group_D for group_D in sites.parent_TD[1:]]
    if sites.chip_D.max() > 0:
        parents.append(sites.chip_D)
    return tree_of(sites.room_D // sites.block, [*parents, np.zeros_like(sites.chip_D)])


def _orders(sizes: tuple[int, ...], chain: Boxes, block: int) -> list[tuple[Ints, tuple[int, ...]]]:
    """Orders of the cells with their ladders (in blocks): inside boxes one digit runs fast, or the other."""
    orders: dict[bytes, tuple[Ints, tuple[int, ...]]] = {}
    for fast in islice(permutations(range(len(sizes))), 2 if chain else 6):
        order_C, ladder = order_cells(sizes, chain, fast)
        ladder = tuple(sorted({1, *(v // block for v in ladder if v % block == 0)}))
        orders.setdefault(order_C.tobytes(), (order_C, ladder))
    return list(orders.values())


def _chains(cluster: Cluster, grid: Grid, tree: Tree, block: int) -> list[Boxes]:
    """Box chains for full and for typical groups, cheapest first, and the plain order."""
    finite = [t.uplink_Bps_J[np.isfinite(t.uplink_Bps_J)] for t in cluster.tiers]
    weights = [1 / float(up_J.sum()) for up_J in finite if up_J.any()]

    def cost(level: int, boxes_BD: Ints) -> Floats:
        return weights[level] * leaving_bytes(grid, boxes_BD)

    chains: dict[Boxes, None] = {(): None}
    for pick in (np.max, np.median):
        rooms = [int(pick(room_J[room_J > 0])) * block for room_J in tree.room_LJ[: len(weights)]]
        chains |= dict.fromkeys(chain for _, chain in box_chains(grid.sizes, rooms, cost, keep=CHAINS))
    return list(chains)


def _unit_choices(tree: Tree, ladder: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Units by level: the largest of the ladder that its groups hold, then outer levels relaxed one by one."""
    top = tree.top
    largest = [max(u for u in ladder if u <= max(int(room_J.max()), 1)) for room_J in tree.room_LJ]
    largest[top] = 1
    choices = [tuple(largest[: keep + 1] + [1] * (top - keep)) for keep in range(top, -1, -1)]
    return list(dict.fromkeys(choices))[:UNITS]
