# SPDX-License-Identifier: Apache-2.0
# S strategy   J domain   K cell size
"""Cells: consecutive ranks that must share an NVLink domain, and how many of them the domains hold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from placement.cost.spares import poisson_quantile
from placement.ir import Cluster, Job, Spares, State, Strategy
from placement.ir._array import Bools, Ints

# What cells keep together: every group, those of tensors and experts, or those of tensors alone. Where whole cells do not all
# fit, smaller ones may.
WHOLE, EXPERTS, TENSORS = range(3)
DEGREE_KEYS = ("tp", "cp", "gtp", "dp", "pp", "etp", "ep", "egtp", "edp")


def may_split(cluster: Cluster, world_size: int, ragged: bool = False) -> bool:
    """Nodes may give a part of their GPUs: the job allows it, or it is smaller than a node."""
    return ragged or world_size < cluster.gpus_per_node


def usable_nodes(cluster: Cluster, ragged: bool = False) -> Bools:
    """Nodes that may run ranks: whole ones, or with `ragged` every node that has a usable GPU. (N,)"""
    return np.asarray(cluster.usable_NG.any(axis=1)) if ragged else cluster.whole_N


def domain_gpus(cluster: Cluster, ragged: bool = False, spares: Spares | None = None, avoid_N: Bools | None = None) -> Ints:
    """GPUs of each NVLink domain that may run ranks, without those of `avoid_N` nodes. (J,)

    `spares` of policy per_rack hold back `count` trays of each rack; trays that have already failed count towards them.
    Policy racks holds back the last `count` of the fullest domains, per_group as many of each group, survive one for every
    failure to be ready for.
    """
    group_N, size = cluster.tiers[0].group_N, cluster.tiers[0].num_groups
    if avoid_N is None and not ragged:
        gpus_J: Ints = cluster.whole_J
    else:
        gpus_N = cluster.usable_NG.sum(axis=1) if ragged else cluster.whole_N * cluster.gpus_per_node
        gpus_N = gpus_N if avoid_N is None else gpus_N * ~avoid_N
        gpus_J = np.asarray(np.bincount(group_N, weights=gpus_N, minlength=size), np.int64)
    if spares is None or (spares.count == 0 and spares.policy != "survive"):
        return gpus_J
    if spares.policy == "per_rack":
        slots_J = np.bincount(group_N, weights=cluster.state_N != State.ABSENT, minlength=size).astype(np.int64)
        gpus_J = np.minimum(gpus_J, np.maximum(slots_J - spares.count, 0) * cluster.gpus_per_node)
    if spares.policy in ("racks", "survive"):
        kept = np.lexsort((-np.arange(size), -gpus_J))[: spare_racks(cluster, spares)]
        gpus_J = np.where(np.isin(np.arange(size), kept), 0, gpus_J)
    if spares.policy == "per_group":
        group_J = cluster.parent_TJ[max(len(cluster.tiers) - 2, 0)]
        order = np.lexsort((-np.arange(size), -gpus_J, group_J))
        place = np.arange(size) - np.searchsorted(group_J[order], group_J[order])
        gpus_J = np.where(np.isin(np.arange(size), order[place < spares.count]), 0, gpus_J)
    return gpus_J


def spare_racks(cluster: Cluster, spares: Spares) -> int:
    """Racks that a policy keeps: `count`, or one for every failure that comes with the asked probability."""
    if spares.policy != "survive":
        return spares.count
    return poisson_quantile(spares.rate * cluster.num_gpus * spares.hours / 24.0, spares.probability)


def granule(cluster: Cluster, cell: Ints | int, ragged: bool = False) -> Ints:
    """Ranks by which a domain is filled: whole cells on whole nodes, lcm(cell, GPUs of a node)."""
    cell_K: Ints = np.asarray(cell, np.int64)
    unit_K: Ints = cell_K if ragged else np.lcm(cell_K, cluster.gpus_per_node)
    return unit_K


def domain_cells(
    cluster: Cluster, cell: int, ragged: bool = False, spares: Spares | None = None, avoid_N: Bools | None = None
) -> Ints:  # fmt: skip
    """Cells each NVLink domain holds. (J,)"""
    unit = int(granule(cluster, cell, ragged))
    return np.asarray(domain_gpus(cluster, ragged, spares, avoid_N) // unit * (unit // cell), np.int64)


def capacity(cluster: Cluster, cell: int | Ints, ragged: bool = False, spares: Spares | None = None) -> Ints:
    """How many cells of that many consecutive ranks fit, each inside one NVLink domain; shape of `cell`.

    Nodes give all their GPUs or none unless `ragged`. Spares of policy gpus hold back `count` usable GPUs anywhere.
    """
    cell_K = np.asarray(cell, np.int64)
    gpus_U, count_U = np.unique(domain_gpus(cluster, ragged, spares), return_counts=True)
    unit_K = granule(cluster, cell_K, ragged)
    per_domain_KU = np.asarray(gpus_U, np.int64) // unit_K[..., None]
    cells_K = np.asarray((per_domain_KU * count_U).sum(axis=-1) * (unit_K // cell_K), np.int64)
    if spares is not None and spares.policy == "gpus" and spares.count:
        limit = max(int(cluster.usable_NG.sum()) - spares.count, 0)
        cells_K = np.minimum(cells_K, limit // cell_K)
    return np.asarray(cells_K, np.int64)


def cell_size(cluster: Cluster, strategy: Strategy, ragged: bool = False, keep: int = WHOLE) -> int:
    """Ranks of one cell of a strategy; see `cell_sizes`."""
    ragged = may_split(cluster, strategy.world_size, ragged)
    degrees = {a: np.array([strategy.size(a)]) for a in DEGREE_KEYS}
    return int(kept_sizes(cluster, degrees, keep, ragged)[0])


def kept_cell(cluster: Cluster, strategy: Strategy, job: Job) -> int:
    """Ranks of the largest cell of a strategy that fits the cluster often enough; whole groups where nothing does, or where
    only the spares that the job keeps are in the way.
    """
    loose = may_split(cluster, strategy.world_size, job.ragged)
    sizes = [cell_size(cluster, strategy, job.ragged, keep) for keep in (WHOLE, EXPERTS, TENSORS)]
    for keep, cell in enumerate(sizes):
        need = strategy.world_size // cell
        if int(capacity(cluster, cell, loose, job.spares)) >= need:
            return cell
        if keep == WHOLE and int(capacity(cluster, cell, loose)) >= need:
            break
    return sizes[WHOLE]


def kept_sizes(cluster: Cluster, degrees: Mapping[str, Ints], keep: int, ragged: bool = False) -> Ints:
    """`cell_sizes` on a cluster. Cells of tensor groups alone are made up to whole nodes where expert groups are. (S,)"""
    domain = largest_domain(cluster, ragged)
    cell_S = cell_sizes(degrees, domain, keep)
    if keep < TENSORS or ragged:
        return cell_S
    node_S: Ints = np.lcm(cell_S, cluster.gpus_per_node)
    return np.asarray(np.where(cell_sizes(degrees, domain, EXPERTS) % node_S == 0, node_S, cell_S), np.int64)


def largest_domain(cluster: Cluster, ragged: bool = False) -> int:
    return int(domain_gpus(cluster, ragged).max(initial=1))


def cell_sizes(degrees: Mapping[str, Ints], domain: int, keep: int = WHOLE) -> Ints:
    """Ranks of a cell for many strategies: the largest aligned block that fits `domain` GPUs. (S,)

    In order of weight: tp, then expert groups (etp, ep), then cp, then the weight gathers (gtp, egtp). A group that does not
    fit on top of what is already there adds its largest divisor that does, and spans domains. `keep`: which of them count.
    """
    tp, cp, gtp, etp, ep, egtp = (np.asarray(degrees[k], np.int64) for k in ("tp", "cp", "gtp", "etp", "ep", "egtp"))
    cell_S: Ints = np.ones(np.broadcast_shapes(tp.shape, ep.shape), np.int64)
    groups = ((1, tp), (1, etp), (etp, ep), (tp, cp), (tp * cp, gtp), (etp * ep, egtp))
    for inner, size in groups[: (len(groups), 3, 2)[keep]]:
        cell_S = _grow(cell_S, np.broadcast_to(inner, cell_S.shape), np.broadcast_to(size, cell_S.shape), domain)
    return cell_S


def _grow(cell_S: Ints, inner_S: Ints, size_S: Ints, domain: int) -> Ints:
    whole_S: Ints = np.lcm(cell_S, inner_S * size_S)
    rest = np.flatnonzero(whole_S > domain)
    if not rest.size:
        return whole_S
    cell, inner, size = cell_S[rest], inner_S[rest], size_S[rest]
    code = (cell * (int(inner.max()) + 1) + inner) * (int(size.max()) + 1) + size
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    whole_S[rest] = _largest_part(cell[first], inner[first], size[first], domain)[which]
    return whole_S


def _largest_part(cell_S: Ints, inner_S: Ints, size_S: Ints, domain: int) -> Ints:
    """The cell with the largest divisor of a group that still fits."""
    part = np.arange(2, max(domain, 2) + 1)
    tile = np.lcm(cell_S[:, None], inner_S[:, None] * part)
    fits = (size_S[:, None] % part == 0) & (tile <= domain)
    last = len(part) - 1 - fits[:, ::-1].argmax(axis=1)
    return np.asarray(np.where(fits.any(axis=1), tile[np.arange(len(cell_S)), last], cell_S))
