# SPDX-License-Identifier: Apache-2.0
# D domain   L level of the tree, domains first   J group of a level   C cell
"""Lay cells, in a given order, over groups of unequal capacity: whole units first, then what is left of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.ir._array import Ints

Run = tuple[int, int]  # start, length: consecutive positions of the order
Dealt = tuple[Ints, Ints]  # positions, and the domain of each, counted within its group
Pattern = tuple[Ints, Ints, Ints]  # the same, positions as run and place in it
Alike = tuple[Any, ...]  # level, rooms, and the runs, their starts modulo a period


@dataclass(frozen=True)
class Tree:
    """Groups nested in groups. `room_LJ[l][j]`: what group j of level l holds; `children_LJ[l][j]`: its groups of level l-1;
    `parent_LJ[l][j]`: the group of level l+1 that it is in.

    `like_LJ`: groups of a level with the same number have the same rooms inside, in order. `order_D`: the domains group after
    group, on every level; those of group j start at `first_LJ[l][j]`.
    """

    room_LJ: tuple[Ints, ...]
    children_LJ: tuple[tuple[Ints, ...], ...]
    parent_LJ: tuple[Ints, ...]
    like_LJ: tuple[list[int], ...]
    order_D: Ints
    first_LJ: tuple[Ints, ...]

    @property
    def top(self) -> int:
        return len(self.room_LJ) - 1


def tree_of(room_D: Ints, parents_LD: Sequence[Ints]) -> Tree:
    """Tree over domains; `parents_LD[l]` is the group of each domain at level l+1, the last level a single group 0."""
    rooms, children = [room_D], [tuple(np.arange(len(room_D))[:, None])]
    owners, likes, groups = [], [room_D.tolist()], [np.arange(len(room_D))]
    for parent_D in parents_LD:
        _, first, parent_J = np.unique(parent_D, return_index=True, return_inverse=True)
        owner = np.zeros(len(rooms[-1]), np.int64)
        owner[groups[-1]] = parent_J
        order = np.argsort(owner, kind="stable")
        cuts = np.flatnonzero(np.diff(owner[order])) + 1
        kids = tuple(np.split(order, cuts))
        known: dict[bytes, int] = {}
        like = np.array(likes[-1])
        owners.append(owner)
        children.append(kids)
        likes.append([known.setdefault(like[k].tobytes(), len(known)) for k in kids])
        rooms.append(np.bincount(owner, weights=rooms[-1], minlength=len(first)).astype(np.int64))
        groups.append(parent_J)
    order_D = np.lexsort(groups)
    firsts = [np.unique(group_D[order_D], return_index=True)[1] for group_D in groups]
    return Tree(tuple(rooms), tuple(children), tuple(owners), tuple(likes), order_D, tuple(firsts))


def fill(tree: Tree, need: int, ladder: Sequence[int], units: Sequence[int], middle: bool = False, trim: bool = False) -> Ints:
    """Domain of each of `need` positions. `ladder`: sizes of whole units, ascending, from 1.

    `units[l]`: groups of level l are filled by multiples of it as long as that leaves enough room. `middle`: units that no
    child holds whole come from the middle of the order, with neighbours on both sides, and not from its end. `trim`: children
    that are a little too small for a unit hold as much of one as they can, and the tails go where there is room.
    """
    most = [int(room_J.max(initial=0)) * (2 if trim else 1) for room_J in tree.room_LJ]
    steps = [1, *(_period(ladder, room) for room in most[:-1])]
    work = _Work(tree, _whole(tree, units), tuple(ladder), steps, {}, middle, trim)
    at_P, seat_P = _dealt(work, tree.top, 0, [(0, need)])
    domain_P = np.empty(need, np.int32)
    domain_P[at_P] = tree.order_D[seat_P]
    return domain_P


def _period(ladder: Sequence[int], room: int) -> int:
    """Positions after which runs are dealt alike where children hold `room`: all units that they could hold, if the largest of
    the ladder is whole ones of those, else that one.
    """
    step = math.lcm(1, *(unit for unit in ladder if unit <= room))
    return ladder[-1] if ladder[-1] % step else step


@dataclass(frozen=True)
class _Work:
    """One fill. `known`: how groups that are alike were dealt runs that are alike. `step_L`: `_period` of each level."""

    tree: Tree
    whole_LJ: list[Ints]
    ladder: tuple[int, ...]
    step_L: list[int]
    known: dict[Alike, Pattern]
    middle: bool
    trim: bool


def _whole(tree: Tree, units: Sequence[int]) -> list[Ints]:
    """Room of each group in whole units, level by level: what is lost inside is lost outside. Non-increasing under nesting."""
    whole = [tree.room_LJ[0] // units[0] * units[0]]
    for level in range(1, tree.top + 1):
        inside = np.bincount(tree.parent_LJ[level - 1], weights=whole[-1], minlength=len(tree.room_LJ[level]))
        whole.append(inside.astype(np.int64) // units[level] * units[level])
    return whole


def _dealt(work: _Work, level: int, group: int, runs: Sequence[Run]) -> Dealt:
    """Deal runs over a group, down to its domains. Groups that are alike deal runs that are alike in the same way."""
    tree, kids = work.tree, work.tree.children_LJ[level][group]
    need = sum(length for _, length in runs)
    target = _targets(tree.room_LJ[level - 1][kids], work.whole_LJ[level - 1][kids], need)
    parts = deal(list(runs), target, work.ladder, work.middle, work.trim)
    if level == 1:
        return _spread([(start, length, k) for k, part in enumerate(parts) for start, length in part])
    first, step = (tree.first_LJ[level - 1][kids] - tree.first_LJ[level][group]).tolist(), work.step_L[level - 1]
    uses: dict[Alike, list[list[int]]] = {}
    for kid, seat, part in zip(kids.tolist(), first, parts, strict=True):
        if part:
            key = (level - 1, tree.like_LJ[level - 1][kid], *[(start % step, length) for start, length in part])
            uses.setdefault(key, []).append([seat, *[start for start, _ in part]])
            if key not in work.known:
                work.known[key] = _pattern(work, level - 1, kid, key[2:], step)
    found = [_repeated(work.known[key], np.array(where)) for key, where in uses.items()]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _pattern(work: _Work, level: int, group: int, runs: Sequence[Run], step: int) -> Pattern:
    """How a group deals runs that start anywhere, given modulo `step`: laid out one after the other for that."""
    starts, end = [], 0
    for start, length in runs:
        starts.append(-(-end // step) * step + start)
        end = starts[-1] + length
    at_P, seat_P = _dealt(work, level, group, [(s, length) for s, (_, length) in zip(starts, runs, strict=True)])
    run_P = np.searchsorted(starts, at_P, side="right") - 1
    return run_P, at_P - np.array(starts)[run_P], seat_P


def _repeated(pattern: Pattern, where_WX: Ints) -> Dealt:
    """A pattern at all its places: each with the first domain, and where every run starts."""
    run_P, at_P, seat_P = pattern
    return (where_WX[:, 1:][:, run_P] + at_P).ravel(), (where_WX[:, :1] + seat_P).ravel()


def _spread(pieces: Sequence[tuple[int, int, int]]) -> Dealt:
    """Runs (start, length, domain) written out."""
    start_X, length_X, seat_X = np.array(pieces).T
    skip_X = start_X - np.cumsum(length_X) + length_X
    return np.repeat(skip_X, length_X) + np.arange(int(length_X.sum())), np.repeat(seat_X, length_X)


def _targets(room_K: Ints, whole_K: Ints, need: int) -> list[int]:
    """How much each child takes: whole units, the poorest children left out; if those are too few, also remainders."""
    excess = int(whole_K.sum()) - need
    if excess >= 0:
        return _reduce(whole_K, room_K, excess)
    target: list[int] = whole_K.tolist()
    for k in np.argsort(whole_K - room_K, kind="stable").tolist():
        extra = min(int(room_K[k]) - target[k], -excess)
        target[k] += extra
        excess += extra
    assert excess == 0, "the caller checks that the cells fit"
    return target


def _reduce(whole_K: Ints, room_K: Ints, excess: int) -> list[int]:
    target: list[int] = whole_K.tolist()
    if excess == 0:
        return target
    later_first = np.lexsort((-np.arange(len(room_K)), room_K, whole_K))
    for k in later_first.tolist():
        less = min(target[k], excess)
        target[k] -= less
        excess -= less
        if excess == 0:
            break
    return target


def deal(
    runs: list[Run], target: list[int], ladder: tuple[int, ...], middle: bool = False, trim: bool = False
) -> list[list[Run]]:
    """Split runs over children of given sizes: they take whole units, largest first; the rest goes round in smaller ones."""
    parts: list[list[Run]] = [[] for _ in target]
    left = list(target)
    rest = runs
    for unit in reversed(ladder):
        if not rest:
            break
        if unit > max(left, default=0) * (2 if trim else 1):
            continue
        whole, rest = _aligned(rest, unit)
        if middle and unit > 1:
            whole, over = _hollow(whole, sum(room // unit * unit for room in left), unit)
            rest = sorted(rest + over)
        whole.reverse()
        for k, room in enumerate(left):
            if not whole:
                break
            if room >= unit:
                taken = _take(whole, room // unit * unit)
                parts[k] += taken
                left[k] -= sum([length for _, length in taken])
        whole.reverse()
        if trim and unit > 1:
            whole = _trimmed(whole, unit, left, parts)
        rest = sorted(rest + whole)
    assert not rest and not any(left)
    return [sorted(p) for p in parts]


def _trimmed(whole: list[Run], unit: int, left: list[int], parts: list[list[Run]]) -> list[Run]:
    """Children with room for half a unit or more take the head of one, the roomiest first; what is left of the units."""
    heads = [start + i for start, length in whole for i in range(0, length, unit)]
    kids = sorted((k for k, room in enumerate(left) if unit <= 2 * room < 2 * unit), key=lambda k: (-left[k], k))
    kids = sorted(kids[: len(heads)])
    over = []
    for k, start in zip(kids, heads, strict=False):
        parts[k].append((start, left[k]))
        over.append((start + left[k], unit - left[k]))
        left[k] = 0
    return over + [(start, unit) for start in heads[len(kids) :]]


def _hollow(whole: list[Run], amount: int, unit: int) -> tuple[list[Run], list[Run]]:
    """Whole units from both ends, up to `amount`; and those in the middle."""
    over = sum(length for _, length in whole) - amount
    if over <= 0:
        return whole, []
    rest = whole[::-1]
    head = _take(rest, amount // 2 // unit * unit)
    inner = _take(rest, over)
    return head + rest[::-1], inner


def _aligned(runs: list[Run], unit: int) -> tuple[list[Run], list[Run]]:
    """Runs cut at multiples of `unit`: the whole units, and the ends."""
    whole, ends = [], []
    for start, length in runs:
        first, last = -(-start // unit) * unit, (start + length) // unit * unit
        if last <= first:
            ends.append((start, length))
            continue
        whole.append((first, last - first))
        ends += [(s, n) for s, n in ((start, first - start), (last, start + length - last)) if n]
    return whole, ends


def _take(runs: list[Run], amount: int) -> list[Run]:
    """The next `amount` positions, or all, off the end of runs that are in reverse order."""
    taken: list[Run] = []
    while amount and runs:
        start, length = runs.pop()
        part = min(length, amount)
        taken.append((start, part))
        amount -= part
        if part < length:
            runs.append((start + part, length - part))
    return taken
