# SPDX-License-Identifier: Apache-2.0
# U unit   D NVLink domain   J group of domains (leaf)   K kind of groups
"""Units dealt again to the groups of a region, row after row: a row is a run of units of one stage, neighbours on their rings.

What leaves groups on rings depends on how many ends of runs there are. So a row gets groups whose seats add up to its length,
where that can be, and groups that cannot hold all of their units stand beside groups that have places left for their tails.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from placement.ir._array import Ints

COMBINATIONS = 20_000  # choices of groups for a row that are tried
Kind = tuple[int, bool]  # units that a group seats, and whether it holds them all


@dataclass(frozen=True)
class Group:
    """`seats` of units, and places that are `free` when all are taken; negative where they do not all fit."""

    index: int
    seats: int
    free: int

    @property
    def kind(self) -> Kind:
        return self.seats, self.free >= 0


def in_rows(domain_U: Ints, leaf_D: Ints, pod_D: Ints, free_J: Ints, stage_units: int) -> Ints:
    """Domains of units, each group with as many as before. `stage_units`: units of a stage. (U,)"""
    moved_U, leaf_U, pod_U = domain_U.copy(), leaf_D[domain_U], pod_D[domain_U]
    seats_J = np.bincount(leaf_U)
    for pod in np.unique(pod_U).tolist():
        mine = np.flatnonzero(pod_U == pod)
        ends = np.flatnonzero((np.diff(mine) > 1) | (np.diff(mine // stage_units) > 0)) + 1
        groups = [Group(j, int(seats_J[j]), int(free_J[j])) for j in np.unique(leaf_U[mine]).tolist()]
        rows = sorted(np.split(mine, ends), key=lambda row: (-len(row), int(row[0])))
        dealt = _dealt([len(row) for row in rows], groups)
        units = np.concatenate(rows)
        moved_U[units] = np.concatenate([np.sort(domain_U[mine[leaf_U[mine] == g.index]]) for g in dealt])
    return moved_U


def _dealt(lengths: Sequence[int], groups: Sequence[Group]) -> list[Group]:
    """Groups in order, for rows one after the other. Rows that no groups fill exactly come last, and share them."""
    left: dict[Kind, list[Group]] = defaultdict(list)
    for group in sorted(groups, key=lambda g: (-abs(g.free), g.index)):
        left[group.kind].append(group)
    kinds = sorted(left)
    out: list[Group] = []
    for length in lengths:
        chosen = _exact(length, [(kind[0], len(left[kind])) for kind in kinds])
        if chosen is None:
            break
        row = [left[kind].pop(0) for kind, count in zip(kinds, chosen, strict=True) for _ in range(count)]
        out += _mixed(row)
    return out + _mixed([g for kind in kinds for g in left[kind]])


def _exact(length: int, kinds: Sequence[tuple[int, int]]) -> tuple[int, ...] | None:
    """How many groups of each kind (seats, how many there are) fill a row exactly, as much of each as there is of others."""
    ranges = [range(min(count, length // seats) + 1) for seats, count in kinds]
    if math.prod(map(len, ranges)) > COMBINATIONS:
        return None
    share = length / max(sum(seats * count for seats, count in kinds), 1)
    fits = (c for c in product(*ranges) if sum(n * seats for n, (seats, _) in zip(c, kinds, strict=True)) == length)
    return min(
        fits, key=lambda c: (sum((n - share * count) ** 2 for n, (_, count) in zip(c, kinds, strict=True)), c), default=None
    )


def _mixed(groups: Sequence[Group]) -> list[Group]:
    """Groups that hold all of their units evenly among those that do not."""
    found = []
    for holds in (False, True):
        mine = [g for g in groups if (g.free >= 0) is holds]
        found += [((i + 0.5) / len(mine), holds, g) for i, g in enumerate(mine)]
    return [g for _, _, g in sorted(found, key=lambda f: f[:2])]
