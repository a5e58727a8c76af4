# SPDX-License-Identifier: Apache-2.0
# J NVLink domain (rack)   I job   T tier
"""Racks of one cluster for several jobs: no NVLink domain in two hands, and as few switch groups as possible shared.

Jobs take whole groups of the outer tiers first, then what is left of them in groups of their own while there are free ones,
and only then squeeze in beside each other, in the tightest place. The same inside every group that is shared, tier by tier.
Jobs that run keep their racks: they only give back what they do not need any more, or add to what they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.diag import Infeasible
from placement.ir import Cluster
from placement.ir._array import Bools, Ints

FREE = -1


@dataclass(frozen=True)
class Partition:
    """`owner_J`: job of each NVLink domain, FREE if none. `shared`: groups of each inner tier that host several jobs.

    `kept`: racks of running jobs that stay with them, of `had`.
    """

    owner_J: Ints
    shared: dict[str, int]
    kept: int
    had: int


def partition(cluster: Cluster, need_I: Sequence[int], before_J: Ints | None = None) -> Partition:
    """Racks for jobs that need `need_I` of them. `before_J`: who has them now. Raises Infeasible where there are too few."""
    usable_J = cluster.whole_J > 0
    had_J = np.full(len(usable_J), FREE) if before_J is None else before_J
    owner_J = np.where(usable_J, had_J, FREE)
    if sum(need_I) > int(usable_J.sum()):
        message = f"the jobs need {sum(need_I):,} racks, the cluster has {int(usable_J.sum()):,} in service"
        raise Infeasible(message, {}, "give jobs fewer racks, or a `min_racks` that they may shrink to")
    for i, need in enumerate(need_I):
        _give_back(cluster, owner_J, i, int((owner_J == i).sum()) - need)
    missing = {i: need - int((owner_J == i).sum()) for i, need in enumerate(need_I)}
    free_J = usable_J & (owner_J == FREE)
    for i in sorted(missing, key=lambda i: (-missing[i], i)):  # whole groups and growth first, so that no one else breaks them
        missing[i] -= _take_whole(cluster, owner_J, free_J, i, missing[i])
    for i in sorted(missing, key=lambda i: (-missing[i], i)):
        _take_rest(cluster, owner_J, free_J, i, missing[i])
    kept = int(((had_J == owner_J) & (had_J != FREE)).sum())
    return Partition(owner_J, shared_groups(cluster, owner_J), kept, int((had_J != FREE).sum()))


def shared_groups(cluster: Cluster, owner_J: Ints) -> dict[str, int]:
    """How many groups of each tier host more than one job; the outermost tier, which all jobs share, is left out."""
    found = {}
    for tier, group_J in zip(cluster.tiers[1:-1], cluster.parent_TJ[1:-1], strict=True):
        used = owner_J != FREE
        pairs = np.unique(np.stack([group_J[used], owner_J[used]]), axis=1)
        found[tier.name] = int((np.bincount(pairs[0], minlength=tier.num_groups) > 1).sum())
    return found


def _inner(cluster: Cluster) -> list[Ints]:
    """Groups of the domains at the tiers between NVLink and the outermost one, outer ones first."""
    return [np.asarray(group_J, np.int64) for group_J in cluster.parent_TJ[1:-1][::-1]]


def _give_back(cluster: Cluster, owner_J: Ints, job: int, count: int) -> None:
    """Racks from the groups of which the job has least go first."""
    if count <= 0:
        return
    mine = np.flatnonzero(owner_J == job)
    keys = [np.bincount(group_J[mine], minlength=int(group_J.max()) + 1)[group_J[mine]] for group_J in _inner(cluster)]
    order = np.lexsort([-mine, *keys[::-1]])
    owner_J[mine[order[:count]]] = FREE


def _take_whole(cluster: Cluster, owner_J: Ints, free_J: Bools, job: int, count: int) -> int:
    """Free racks of the outermost groups: where the job is already, then whole free groups in order. Returns how many."""
    groups = _inner(cluster)
    if count <= 0 or not groups:
        return 0
    outer_J, taken = groups[0], 0
    own = np.unique(outer_J[owner_J == job])
    for g in own.tolist():
        taken += _pick(groups[1:], owner_J, free_J, (outer_J == g) & free_J, job, count - taken)
    size, free = np.bincount(outer_J), np.bincount(outer_J[free_J], minlength=int(outer_J.max()) + 1)
    used = np.bincount(outer_J[owner_J != FREE], minlength=len(size))
    empty = np.flatnonzero((used == 0) & (free > 0))
    for g in empty[np.argsort(-free[empty], kind="stable")].tolist():
        if free[g] <= count - taken:
            taken += _pick([], owner_J, free_J, (outer_J == g) & free_J, job, int(free[g]))
    return taken


def _take_rest(cluster: Cluster, owner_J: Ints, free_J: Bools, job: int, count: int) -> None:
    """What is left of a job: in a group of its own if one is free, else in the tightest that holds it, else spread."""
    groups = _inner(cluster)
    if count <= 0:
        return
    if not groups:
        _pick([], owner_J, free_J, free_J, job, count)
        return
    outer_J = groups[0]
    while count > 0:
        free = np.bincount(outer_J[free_J], minlength=int(outer_J.max()) + 1)
        used = np.bincount(outer_J[owner_J != FREE], minlength=len(free)) > 0
        fits = free >= count
        order = np.lexsort((np.arange(len(free)), np.where(fits, free, -free), used, ~fits))
        best = int(next(g for g in order if free[g] > 0))
        count -= _pick(groups[1:], owner_J, free_J, (outer_J == best) & free_J, job, count)


def _pick(inner: list[Ints], owner_J: Ints, free_J: Bools, from_J: Bools, job: int, count: int) -> int:
    """Give up to `count` racks of `from_J` to a job, whole inner groups first. Changes owner_J and free_J."""
    racks = np.flatnonzero(from_J)
    count = min(count, len(racks))
    if count <= 0:
        return 0
    keys: list[Ints] = [racks]
    for group_J in inner[::-1]:
        top = int(group_J.max()) + 1
        others = np.bincount(group_J[(owner_J != FREE) & (owner_J != job)], minlength=top)
        own, free = np.bincount(group_J[owner_J == job], minlength=top), np.bincount(group_J[from_J], minlength=top)
        at = group_J[racks]
        keys += [at, -free[at], -own[at], others[at]]
    chosen = racks[np.lexsort(keys)[:count]]
    owner_J[chosen], free_J[chosen] = job, False
    return count
