# SPDX-License-Identifier: Apache-2.0
# D domain   L level of the tree, domains first   J group of a level   C cell
"""Lay cells, in a given order, over groups of unequal capacity: whole units first, then what is left of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.ir._array import Ints

Run = tuple[int, int]  # start, length: consecutive positions of the order


@dataclass(frozen=True)
class Tree:
    """Groups nested in groups. `room_LJ[l][j]`: what group j of level l holds; `children_LJ[l][j]`: its groups of level l-1."""

    room_LJ: tuple[Ints, ...]
    children_LJ: tuple[tuple[Ints, ...], ...]

    @property
    def top(self) -> int:
        return len(self.room_LJ) - 1


def tree_of(room_D: Ints, parents_LD: Sequence[Ints]) -> Tree:
    """Tree over domains; `parents_LD[l]` is the group of each domain at level l+1, the last level a single group 0."""
    rooms, children = [room_D], [tuple(np.arange(len(room_D))[:, None])]
    below_D = np.arange(len(room_D))
    for parent_D in parents_LD:
        _, first, parent_J = np.unique(parent_D, return_index=True, return_inverse=True)
        count = len(first)
        owner = np.zeros(len(rooms[-1]), np.int64)
        owner[below_D] = parent_J
        order = np.argsort(owner, kind="stable")
        cuts = np.flatnonzero(np.diff(owner[order])) + 1
        children.append(tuple(np.split(order, cuts)))
        rooms.append(np.bincount(owner, weights=rooms[-1], minlength=count).astype(np.int64))
        below_D = parent_J
    return Tree(tuple(rooms), tuple(children))


def fill(tree: Tree, need: int, ladder: Sequence[int], units: Sequence[int], middle: bool = False, trim: bool = False) -> Ints:
    """Domain of each of `need` positions. `ladder`: sizes of whole units, ascending, from 1.

    `units[l]`: groups of level l are filled by multiples of it as long as that leaves enough room. `middle`: units that no
    child holds whole come from the middle of the order, with neighbours on both sides, and not from its end. `trim`: children
    that are a little too small for a unit hold as much of one as they can, and the tails go where there is room.
    """
    work = _Work(tree, _whole(tree, units), tuple(ladder), np.empty(need, np.int32), {}, middle, trim)
    _descend(work, tree.top, 0, [(0, need)])
    return work.domain_P


@dataclass(frozen=True)
class _Work:
    """One fill. `known`: how a group whose children are domains was dealt, relative to where its positions start."""

    tree: Tree
    whole_LJ: list[Ints]
    ladder: tuple[int, ...]
    domain_P: Ints
    known: dict[tuple[tuple[int, ...], tuple[Run, ...]], list[list[Run]]]
    middle: bool
    trim: bool


def _whole(tree: Tree, units: Sequence[int]) -> list[Ints]:
    """Room of each group in whole units, level by level: what is lost inside is lost outside. Non-increasing under nesting."""
    whole = [tree.room_LJ[0] // units[0] * units[0]]
    for level in range(1, tree.top + 1):
        inside = np.array([whole[-1][kids].sum() for kids in tree.children_LJ[level]])
        whole.append(inside // units[level] * units[level])
    return whole


def _descend(work: _Work, level: int, group: int, runs: list[Run]) -> None:
    kids = work.tree.children_LJ[level][group]
    need = sum(length for _, length in runs)
    target = _targets(work.tree.room_LJ[level - 1][kids], work.whole_LJ[level - 1][kids], need)
    if level == 1:
        _settle(work, kids.tolist(), target, runs)
        return
    for kid, part in zip(kids.tolist(), deal(runs, target, work.ladder, work.middle, work.trim), strict=True):
        if part:
            _descend(work, level - 1, kid, part)


def _settle(work: _Work, kids: list[int], target: list[int], runs: list[Run]) -> None:
    """Deal runs over domains; the same pattern elsewhere, whole units further, is dealt the same way."""
    base = runs[0][0] // work.ladder[-1] * work.ladder[-1]
    relative = tuple((start - base, length) for start, length in runs)
    key = (tuple(target), relative)
    if key not in work.known:
        work.known[key] = deal(list(relative), target, work.ladder, work.middle, work.trim)
    for kid, part in zip(kids, work.known[key], strict=True):
        for start, length in part:
            work.domain_P[base + start : base + start + length] = kid


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
        for k, room in enumerate(left):
            if not whole:
                break
            amount = room // unit * unit
            if amount:
                taken, whole = _take(whole, amount)
                parts[k] += taken
                left[k] -= sum(length for _, length in taken)
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
    head, rest = _take(whole, amount // 2 // unit * unit)
    inner, tail = _take(rest, over)
    return head + tail, inner


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


def _take(runs: list[Run], amount: int) -> tuple[list[Run], list[Run]]:
    taken: list[Run] = []
    if amount == 0:
        return taken, runs
    for i, (start, length) in enumerate(runs):
        part = min(length, amount)
        taken.append((start, part))
        amount -= part
        if amount == 0:
            return taken, ([(start + part, length - part)] if part < length else []) + runs[i + 1 :]
    return taken, []
