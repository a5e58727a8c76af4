# SPDX-License-Identifier: Apache-2.0
# N node   G GPU in order of domains   D NVLink domain   T tier   C cell   R rank
"""Where cells may go: the usable GPUs of a cluster by NVLink domain, what each domain holds, and cells turned into ranks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.cost.cells import cell_size, domain_cells, domain_gpus, granule, kept_cell, may_split, usable_nodes
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy
from placement.ir._array import Bools, Floats, Ints


@dataclass(frozen=True)
class Sites:
    """`gpu_G` usable GPUs sorted by domain, those of weak nodes, then of nodes that lack GPUs, last in each.

    `first_D` where a domain starts; rooms in cells. `parent_TD` group of each domain at every tier. `block` cells fill whole
    nodes of `node` GPUs. `least_Bps_G`: the slowest adapter among a GPU and those before it in its domain. `whole`: ranks of a
    cell if cells were not parted, else those of one.
    """

    cell: int
    block: int
    gpu_G: Ints
    first_D: Ints
    room_D: Ints
    parent_TD: Ints
    chip_D: Ints
    least_Bps_G: Floats
    node: int = 1
    whole: int = 0

    @cached_property
    def straight(self) -> bool:
        """Cells fill whole nodes of which all GPUs are there: members of any communicator sit on the same slots everywhere."""
        slot_G = self.gpu_G % self.node
        full = len(slot_G) % self.node == 0 and bool((slot_G.reshape(-1, self.node) == np.arange(self.node)).all())
        return self.cell % self.node == 0 and full

    @property
    def parted(self) -> bool:
        return self.whole > self.cell

    def slowest(self, domain_C: Ints) -> Floats:
        """Bytes/s of the slowest adapter of the GPUs that cells in these domains take; infinite where none sits. (D,)"""
        held_D = np.diff(self.first_D, append=len(self.gpu_G))
        used_D = np.minimum(np.bincount(domain_C, minlength=len(held_D)) * self.cell, held_D)
        found_D = np.full(len(held_D), np.inf)
        found_D[used_D > 0] = self.least_Bps_G[(self.first_D + used_D - 1)[used_D > 0]]
        return found_D

    def num_parted(self, domain_C: Ints) -> int:
        """Whole cells that leave their domain."""
        rows = domain_C.reshape(-1, max(self.whole // self.cell, 1))
        return int((rows != rows[:, :1]).any(axis=1).sum())


def sites_of(cluster: Cluster, strategy: Strategy, job: Job, avoid_N: Bools | None = None, cell: int = 0) -> Sites:
    """Sites for the cells of a strategy (or of `cell` ranks); nodes of `avoid_N` count as unusable.

    Raises Infeasible when the cells do not fit.
    """
    whole = cell or cell_size(cluster, strategy, job.ragged)
    cell = cell or kept_cell(cluster, strategy, job)
    loose = may_split(cluster, strategy.world_size, job.ragged)
    room_D = domain_cells(cluster, cell, loose, job.spares, avoid_N)
    _require_room(cluster, strategy, job, cell, room_D)
    domain_N, num = cluster.tiers[0].group_N, cluster.tiers[0].num_groups
    usable_N = usable_nodes(cluster, loose) if avoid_N is None else usable_nodes(cluster, loose) & ~avoid_N
    gpu_G = np.flatnonzero((cluster.usable_NG & usable_N[:, None]).ravel())
    node_G = gpu_G // cluster.gpus_per_node
    domain_G = domain_N[node_G]
    whole_N = cluster.usable_NG.sum(axis=1)
    gpu_G = gpu_G[np.lexsort((-whole_N[node_G], degraded(cluster)[node_G], domain_G))]
    chip_D = np.zeros(num, np.int64)
    np.maximum.at(chip_D, domain_N, cluster.chip_N)
    first_D = np.concatenate([[0], np.cumsum(np.bincount(domain_G, minlength=num))[:-1]])
    return Sites(
        cell,
        int(granule(cluster, cell, loose)) // cell,
        gpu_G,
        first_D,
        room_D,
        cluster.parent_TJ,
        chip_D,
        _least_so_far(cluster.nic_Bps_N[gpu_G // cluster.gpus_per_node], domain_N[gpu_G // cluster.gpus_per_node]),
        cluster.gpus_per_node,
        whole,
    )


def _least_so_far(rate_G: Floats, domain_G: Ints) -> Floats:
    """The least of each value and those before it in its domain; domains ascend. (G,)"""
    levels, level_G = np.unique(rate_G, return_inverse=True)
    behind_G = level_G.reshape(-1) - domain_G * len(levels)  # below all of the domains before
    return np.asarray(levels[np.minimum.accumulate(behind_G) + domain_G * len(levels)])


def degraded(cluster: Cluster) -> Bools:
    """Nodes that compute or send more slowly than others of their chip type, over NVLink too."""
    fastest_X = np.zeros(len(cluster.chips))
    np.maximum.at(fastest_X, cluster.chip_N, cluster.nic_Bps_N)
    weak_N = (cluster.speed_N < 1.0) | (cluster.nic_Bps_N < fastest_X[cluster.chip_N])
    return np.asarray(weak_N if cluster.nvlink_J is None else weak_N | (cluster.nvlink_J[cluster.tiers[0].group_N] < 1.0))


def expand(sites: Sites, domain_C: Ints) -> Placement:
    """Ranks in ascending order over the GPUs of each domain, so that the local rank on a node ascends with the GPU slot.

    Runs of ranks that fill a node come before what is left of others, which would push them across nodes.
    """
    order = np.lexsort((~_runs(domain_C, sites.node // sites.cell), domain_C))
    sorted_D = domain_C[order]
    slot_C = np.empty(len(domain_C), np.int64)
    slot_C[order] = (np.arange(len(order)) - np.searchsorted(sorted_D, sorted_D, side="left")) * sites.cell
    return Placement(sites.gpu_G[(sites.first_D[domain_C] + slot_C)[:, None] + np.arange(sites.cell)].ravel())


def _runs(domain_C: Ints, length: int) -> Bools:
    """Which cells are in an aligned run of `length` that has one domain. (C,)"""
    whole_C = np.ones(len(domain_C), bool)
    if length > 1:
        end = len(domain_C) // length * length
        rows = domain_C[:end].reshape(-1, length)
        whole_C[:end] = np.repeat((rows == rows[:, :1]).all(axis=1), length)
    return whole_C


def launcher_default(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """What a launcher does by itself: ranks in order over the usable whole nodes, in order of their host names."""
    loose = may_split(cluster, strategy.world_size, job.ragged)
    node_N = by_name(cluster)
    node_N = node_N[usable_nodes(cluster, loose)[node_N]]
    picked_G = np.flatnonzero(cluster.usable_NG[node_N].ravel())
    if len(picked_G) < strategy.world_size:
        raise no_room(f"{strategy.world_size} ranks, but {len(picked_G)} GPUs are usable")
    picked_G = picked_G[: strategy.world_size]
    return Placement(node_N[picked_G // cluster.gpus_per_node] * cluster.gpus_per_node + picked_G % cluster.gpus_per_node)


def by_name(cluster: Cluster) -> Ints:
    """Nodes in order of their host names, numbers compared as numbers."""
    host_N = cluster.host_N
    if len(np.unique(np.char.str_len(host_N))) == 1:
        return np.argsort(host_N, kind="stable")
    import re

    keys = [[int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)] for name in host_N.tolist()]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__))


def no_room(message: str) -> Infeasible:
    return Infeasible(message, {"capacity": 1}, "use fewer ranks, smaller tensor or expert groups, or fewer spares")


def _require_room(cluster: Cluster, strategy: Strategy, job: Job, cell: int, room_D: Ints) -> None:
    need, loose = strategy.world_size // cell, may_split(cluster, strategy.world_size, job.ragged)
    if not loose and strategy.world_size % cluster.gpus_per_node:
        raise no_room(f"{strategy.world_size} ranks do not fill whole nodes of {cluster.gpus_per_node} GPUs")
    held_back = job.spares.count if job.spares.policy == "gpus" else 0
    usable = int(domain_gpus(cluster, loose, job.spares).sum()) - held_back
    if int(room_D.sum()) < need or usable < strategy.world_size:
        raise no_room(f"{need} cells of {cell} ranks, but the NVLink domains hold {int(room_D.sum())} ({usable} GPUs)")
