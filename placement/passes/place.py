# SPDX-License-Identifier: Apache-2.0
# R rank   C cell   D NVLink domain   G GPU of a domain   P pipeline stage
"""Rank -> GPU: cells into NVLink domains, and the grid of cells over the tiers of the fabric.

Structure first (DESIGN §8): the cheapest box chains give orders of the cells, a capacity-aware fill lays each order over what the
cluster really has, and the exact loads of every candidate decide. The launcher's order is one of the candidates.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import capacity, cell_size, domain_cells, domain_gpus, granule, may_split, usable_nodes
from placement.cost.crossings import TierView
from placement.cost.spans import seconds_J
from placement.cost.traffic import axis_load
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy, Traffic
from placement.ir._array import Ints
from placement.passes.fill import Tree, fill, tree_of
from placement.passes.grid import Grid, grid_of, leaving_bytes, order_cells
from placement.passes.rails import rail_conflicts
from placement.solve.boxchain import box_chains

__all__ = ["capacity", "cell_size", "cells", "launcher_default", "place", "score"]

Score = tuple[int, float, float]
CHAINS = 6  # box chains taken over from each search; with orders and units some 50 candidates, 30 ms each at 220,000 GPUs


@dataclass(frozen=True)
class Sites:
    """What the placement of cells needs of a cluster: `gpu_G` usable GPUs sorted by domain, from `first_D`; room in cells."""

    gpu_G: Ints
    first_D: Ints
    room_D: Ints
    parent_TD: Ints  # group of each domain at every tier
    chip_D: Ints


def cells(cluster: Cluster, strategy: Strategy, job: Job) -> tuple[int, int]:
    """(ranks of a cell, number of cells) of a strategy."""
    cell = cell_size(cluster, strategy, job.ragged)
    return cell, strategy.world_size // cell


def place(cluster: Cluster, strategy: Strategy, traffic: Traffic, job: Job) -> Placement:
    """The best structured placement: every cell in one NVLink domain, nodes whole, spares kept.

    Smallest (stages that mix chip types, seconds of the busiest uplinks, total seconds of uplinks), see `score`; never worse than
    the launcher's order where that keeps the same rules. Raises Infeasible when the cells do not fit, or when the rails are apart
    and a communicator would need a path between them.
    """
    cell, count = cells(cluster, strategy, job)
    sites = _sites(cluster, strategy, job, cell)
    _require_room(cluster, strategy, job, cell, sites)
    block = int(granule(cluster, cell, _loose(cluster, strategy, job))) // cell
    best: tuple[Score, Ints] | None = None
    for domain_C in _candidates(cluster, strategy, traffic, sites, cell, block):
        found = score_cells(cluster, strategy, traffic, sites, domain_C, cell)
        if best is None or found < best[0]:
            best = (found, domain_C)
    assert best is not None and len(best[1]) == count
    placement = _expand(sites, best[1], cell)
    _require_rails(cluster, strategy, placement)
    return placement


def launcher_default(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """What a launcher does by itself: ranks in order over the usable whole nodes, in order of their host names."""
    loose = _loose(cluster, strategy, job)
    node_N = _by_name(cluster)
    node_N = node_N[usable_nodes(cluster, loose)[node_N]]
    gpu_G = np.flatnonzero(cluster.usable_NG[node_N].ravel())
    gpu_G = node_N[gpu_G // cluster.gpus_per_node] * cluster.gpus_per_node + gpu_G % cluster.gpus_per_node
    if len(gpu_G) < strategy.world_size:
        raise _no_room(f"{strategy.world_size} ranks, but {len(gpu_G)} GPUs are usable")
    return Placement(gpu_G[: strategy.world_size])


def score(cluster: Cluster, strategy: Strategy, traffic: Traffic, placement: Placement) -> Score:
    """`score_cells` of any placement, rank by rank."""
    node_R = placement.gpu_R // cluster.gpus_per_node
    groups = np.array([tier.group_N[node_R] for tier in cluster.tiers])
    return _score(cluster, strategy, traffic, groups, cluster.chip_N[node_R], 1)


def score_cells(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, domain_C: Ints, cell: int) -> Score:
    """(stages that mix chip types, seconds of the busiest uplink summed over axes, seconds of all uplinks if loads were even).

    Axes are added because they run at different times of a step, tiers are not because a collective streams through all of them.
    """
    return _score(cluster, strategy, traffic, sites.parent_TD[:, domain_C], sites.chip_D[domain_C], cell)


def _score(cluster: Cluster, strategy: Strategy, traffic: Traffic, groups_TU: Ints, chip_U: Ints, unit: int) -> Score:
    worst = dict.fromkeys((term.axis for term in traffic.terms), 0.0)
    total = 0.0
    for tier, group_U in zip(cluster.tiers, groups_TU, strict=True):
        ranks = TierView(group_U, unit, unit, tier.num_groups)
        sum_Bps = float(tier.uplink_Bps_J.sum())
        for term in traffic.terms:
            load_J = axis_load(ranks, strategy, term)
            if load_J is not None:
                worst[term.axis] = max(worst[term.axis], float(seconds_J(load_J, tier.uplink_Bps_J).max()))
                total += float(load_J.sum()) / sum_Bps if sum_Bps > 0 else math.inf
    chip_PU = chip_U.reshape(strategy.pp, -1)
    return int((chip_PU != chip_PU[:, :1]).any(axis=1).sum()), _round(sum(worst.values())), _round(total)


def _round(x: float) -> float:
    """Twelve digits: sums of the same numbers in another order compare equal."""
    return float(f"{x:.12g}") if math.isfinite(x) else x


def _loose(cluster: Cluster, strategy: Strategy, job: Job) -> bool:
    return may_split(cluster, strategy.world_size, job.ragged)


def _sites(cluster: Cluster, strategy: Strategy, job: Job, cell: int) -> Sites:
    loose = _loose(cluster, strategy, job)
    domain_N = cluster.tiers[0].group_N
    usable_NG = cluster.usable_NG & usable_nodes(cluster, loose)[:, None]
    gpu_G = np.flatnonzero(usable_NG.ravel())
    domain_G = domain_N[gpu_G // cluster.gpus_per_node]
    gpu_G = gpu_G[np.argsort(domain_G, kind="stable")]
    num = cluster.tiers[0].num_groups
    parent_TD = np.zeros((len(cluster.tiers), num), np.int32)
    for t, tier in enumerate(cluster.tiers):
        parent_TD[t, domain_N] = tier.group_N
    chip_D = np.zeros(num, np.int64)
    np.maximum.at(chip_D, domain_N, cluster.chip_N)
    first_D = np.concatenate([[0], np.cumsum(np.bincount(domain_G, minlength=num))[:-1]])
    return Sites(gpu_G, first_D, domain_cells(cluster, cell, loose, job.spares), parent_TD, chip_D)


def _candidates(cluster: Cluster, strategy: Strategy, traffic: Traffic, sites: Sites, cell: int, block: int) -> list[Ints]:
    """Domain of every cell, for each candidate; duplicates left out."""
    grid = grid_of(strategy, traffic, cell)
    count = grid.num_cells
    tree = _tree(sites, block)
    found: dict[bytes, Ints] = {}
    launcher_C = _launcher_cells(cluster, strategy, sites, cell)
    if launcher_C is not None:
        found[launcher_C.tobytes()] = launcher_C
    for order_C, ladder in _orders(cluster, grid, tree, block):
        for units in _unit_choices(tree, ladder, count // block):
            domain_C = np.empty(count, np.int32)
            domain_C[order_C] = np.repeat(fill(tree, count // block, ladder, units), block)
            found.setdefault(domain_C.tobytes(), domain_C)
    return list(found.values())


def _tree(sites: Sites, block: int) -> Tree:
    """Tiers, and above them segments of one chip type where the cluster mixes types; room in blocks of `block` cells."""
    parents = [sites.chip_D * (int(group_D.max()) + 1) + group_D for group_D in sites.parent_TD[1:]]
    if sites.chip_D.max() > 0:
        parents.append(sites.chip_D)
    return tree_of(sites.room_D // block, [*parents, np.zeros_like(sites.chip_D)])


def _orders(cluster: Cluster, grid: Grid, tree: Tree, block: int) -> list[tuple[Ints, tuple[int, ...]]]:
    """Orders of the cells with their ladders (in blocks): box chains for full and for typical groups, and the two plain orders."""
    digits = range(len(grid.sizes))
    tiers = [t for t in cluster.tiers if np.isfinite(t.uplink_Bps_J).any()]
    weights = [1 / float(t.uplink_Bps_J[np.isfinite(t.uplink_Bps_J)].sum()) for t in tiers]
    chains: dict[tuple[tuple[int, ...], ...], None] = {(): None}
    for pick in (np.max, np.median):
        rooms = [int(pick(room_J[room_J > 0])) * block for room_J in tree.room_LJ[: len(tiers)]]
        cost = lambda level, boxes_BD: weights[level] * leaving_bytes(grid, boxes_BD)  # noqa: E731
        chains |= dict.fromkeys(chain for _, chain in box_chains(grid.sizes, rooms, cost, keep=CHAINS))
    orders: dict[tuple[bytes, tuple[int, ...]], Ints] = {}
    for chain in chains:
        for fast in itertools.islice(itertools.permutations(digits), 6 if not chain else 2):
            order_C, ladder = order_cells(grid, chain, fast)
            ladder = tuple(sorted({1, *(v // block for v in ladder if v % block == 0)}))
            orders.setdefault((order_C.tobytes(), ladder), order_C)
    return [(order_C, ladder) for (_, ladder), order_C in orders.items()]


def _unit_choices(tree: Tree, ladder: tuple[int, ...], need: int) -> list[tuple[int, ...]]:
    """Units by level: the largest of the ladder that its groups hold, then coarser levels relaxed one by one."""
    top = tree.top
    largest = [max(u for u in ladder if u <= max(int(room_J.max()), 1)) for room_J in tree.room_LJ]
    largest[top] = 1
    choices = [tuple(largest[: keep + 1] + [1] * (top - keep)) for keep in range(top, -1, -1)]
    return list(dict.fromkeys(choices))[:3]


def _launcher_cells(cluster: Cluster, strategy: Strategy, sites: Sites, cell: int) -> Ints | None:
    """Domains of the cells in the launcher's order, domain after domain by name of the first host, as many cells as each holds."""
    host_N = _by_name(cluster)
    domain_N = cluster.tiers[0].group_N[host_N]
    _, first = np.unique(domain_N, return_index=True)
    order_D = domain_N[np.sort(first)]
    return np.repeat(order_D, sites.room_D[order_D])[: strategy.world_size // cell].astype(np.int32)


def _expand(sites: Sites, domain_C: Ints, cell: int) -> Placement:
    """Ranks in ascending order over the usable GPUs of each domain: the local rank on a node ascends with the GPU slot."""
    order = np.argsort(domain_C, kind="stable")
    sorted_D = domain_C[order]
    start = np.searchsorted(sorted_D, sorted_D, side="left")
    slot_C = np.empty(len(domain_C), np.int64)
    slot_C[order] = (np.arange(len(order)) - start) * cell
    gpu_CR = sites.gpu_G[(sites.first_D[domain_C] + slot_C)[:, None] + np.arange(cell)]
    return Placement(gpu_CR.ravel())


def _by_name(cluster: Cluster) -> Ints:
    """Nodes in order of their host names, numbers compared as numbers."""
    host_N = cluster.host_N
    if len(np.unique(np.char.str_len(host_N))) == 1:
        return np.argsort(host_N, kind="stable")
    import re

    keys = [[int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)] for name in host_N.tolist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__))


def _require_room(cluster: Cluster, strategy: Strategy, job: Job, cell: int, sites: Sites) -> None:
    need = strategy.world_size // cell
    if not _loose(cluster, strategy, job) and strategy.world_size % cluster.gpus_per_node:
        raise _no_room(f"{strategy.world_size} ranks do not fill whole nodes of {cluster.gpus_per_node} GPUs")
    held_back = job.spares.count if job.spares.policy == "gpus" else 0
    usable = int(domain_gpus(cluster, _loose(cluster, strategy, job), job.spares).sum()) - held_back
    if int(sites.room_D.sum()) < need or usable < strategy.world_size:
        raise _no_room(f"{need} cells of {cell} ranks, but the NVLink domains hold {int(sites.room_D.sum())} ({usable} GPUs)")


def _require_rails(cluster: Cluster, strategy: Strategy, placement: Placement) -> None:
    if cluster.rails_connected:
        return
    broken = {axis: n for axis, n in rail_conflicts(cluster, strategy, placement).items() if n}
    if broken:
        text = ", ".join(f"{n} of {axis}" for axis, n in broken.items())
        raise Infeasible(f"rails are not connected and communicators would need a path between them: {text}", {"rails": 1})


def _no_room(message: str) -> Infeasible:
    return Infeasible(message, {"capacity": 1}, "use fewer ranks, smaller tensor or expert groups, or fewer spares")
