# SPDX-License-Identifier: Apache-2.0
# V vertex   K class of unit sizes, largest first   W vertex of the coarser graph
"""Cuts a weighted graph in two sides of given room with little weight between them: multilevel bisection.

Coarsening by heavy edges, growth on the coarsest graph, and moves of single vertices on the way back (Hendrickson and Leland
1995; Karypis and Kumar 1998; moves after Fiduccia and Mattheyses 1982). Room is exact: sides have one for every class of unit
sizes, so that the units still fit the bins of a side afterwards. Work is counted, ties go to the lower number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from placement.solve._array import Bools, Floats, Ints
from placement.solve.exchange import Links, links

ALL_CUTS = 9  # vertices of which all cuts are looked at
COARSEST = 64  # vertices at which coarsening ends
SEEDS = 4  # growths from different vertices
REPAIRS = 60  # rounds that bring a side back into its room
KINDS, ROUNDS = 16, 12  # of exchanges of many vertices at once
ENOUGH = 1e-4  # share of all weight that a round has to gain for another one
SINGLE = 512  # vertices up to which single ones move as well
PASSES, MOVES, PATIENCE = 2, 96, 24  # of single vertices on one level
SHARE = 8  # a coarse vertex is at most so small a part of a side


@dataclass(frozen=True)
class Task:
    """`need_VK`: of each vertex, the weight of its units of class k and larger. `left_K`, `right_K`: room of the sides."""

    graph: Links
    need_VK: Ints
    left_K: Ints
    right_K: Ints

    @cached_property
    def kinds(self) -> tuple[Ints, Ints]:
        """Needs that differ, and which of them each vertex has."""
        found, which = np.unique(self.need_VK, axis=0, return_inverse=True)
        return np.asarray(found, np.int64), np.asarray(which, np.int64).reshape(-1)


def bisect(task: Task) -> Ints | None:
    """1 for vertices on the right, 0 on the left, with little weight between; None where no start fits the rooms. (V,)"""
    if len(task.need_VK) <= ALL_CUTS:
        return _best_of_all(task)
    levels, maps = [task], []
    most = max(int(min(task.left_K[-1], task.right_K[-1])) // SHARE, 1)
    while len(levels[-1].need_VK) > COARSEST:
        which_V = _matched(levels[-1].graph, levels[-1].need_VK[:, -1], most)
        if int(which_V.max()) + 1 > 0.95 * len(which_V):
            break
        maps.append(which_V)
        levels.append(_coarser(levels[-1], which_V))
    found = _refined(levels, maps)
    return _grown(task) if found is None and maps else found


def _refined(levels: list[Task], maps: list[Ints]) -> Ints | None:
    """A start on the coarsest level, improved on every finer one; None where rooms are not met on the way."""
    side_V = _grown(_loose(levels[-1]) if maps else levels[0])
    for level, which_V in zip(levels[-2::-1], maps[::-1], strict=True):
        if side_V is None:
            break
        rooms = level if level is levels[0] else _loose(level)
        side_V = _repaired(rooms, side_V[which_V])
        side_V = None if side_V is None else _moved(rooms, side_V)
    return side_V


def _loose(task: Task) -> Task:
    """Rooms of a coarse level, wider by its largest vertex: large pieces never fit exactly, finer levels mend that."""
    largest_K = task.need_VK.max(axis=0)
    return Task(task.graph, task.need_VK, task.left_K + largest_K, task.right_K + largest_K)


def _repaired(task: Task, side_V: Ints) -> Ints | None:
    """Vertices that cost least leave a side that is too full; None where rooms are not met in a counted number."""
    for _ in range(REPAIRS):
        used = [task.need_VK[side_V == s].sum(axis=0) for s in (0, 1)]
        left = [task.left_K - used[0], task.right_K - used[1]]
        over = next(((s, k) for s in (0, 1) for k in range(len(left[s])) if left[s][k] < 0), None)
        if over is None:
            return side_V
        s, k = over
        gain_V = _gains(task.graph, side_V)[0]
        movable = np.flatnonzero((side_V == s) & (task.need_VK[:, k] > 0) & (task.need_VK <= left[1 - s]).all(axis=1))
        movable = movable[np.argsort(-gain_V[movable] / task.need_VK[movable, -1], kind="stable")]
        moved_VK = np.cumsum(task.need_VK[movable], axis=0)
        enough = int(np.searchsorted(moved_VK[:, k], -left[s][k])) + 1
        fits = int((moved_VK <= left[1 - s]).all(axis=1).sum())
        count = min(max(enough // 4, 1), max(fits, 1), len(movable))  # a quarter, so that gains are looked at again
        if not count:
            return None
        side_V = side_V.copy()
        side_V[movable[:count]] = 1 - s
    return None


def cut(graph: Links, side_V: Ints) -> float:
    """Weight between the sides."""
    return float(graph.weight_V[side_V[graph.row_X] != side_V[graph.unit_V]].sum() / 2)


def _gains(graph: Links, side_V: Ints) -> tuple[Floats, float]:
    """Weight that leaves the cut if a vertex changes sides, and that of all edges."""
    signed_X = np.where(side_V[graph.row_X] != side_V[graph.unit_V], graph.weight_V, -graph.weight_V)
    return np.bincount(graph.row_X, weights=signed_X, minlength=len(side_V)).astype(float), float(np.abs(signed_X).sum())


@cache
def _all_sides(size: int) -> Ints:
    return np.arange(1 << size)[:, None] >> np.arange(size) & 1


def _best_of_all(task: Task) -> Ints | None:
    """The least cut of all that fit."""
    side_SV = _all_sides(len(task.need_VK))
    right_SK = side_SV @ task.need_VK
    fits_S = (right_SK <= task.right_K).all(axis=1) & (task.need_VK.sum(axis=0) - right_SK <= task.left_K).all(axis=1)
    if not fits_S.any():
        return None
    row_X = task.graph.row_X
    cut_S = (side_SV[:, row_X] != side_SV[:, task.graph.unit_V]) @ task.graph.weight_V
    return np.asarray(side_SV[int(np.where(fits_S, cut_S, np.inf).argmin())])


def line(graph: Links, size_V: Ints) -> Ints:
    """Place of each vertex in an order in which those that have much in common stand together: leaves of a tree of pairs."""
    task = Task(graph, size_V[:, None], np.zeros(1, np.int64), np.zeros(1, np.int64))
    which_V: Ints = np.arange(len(size_V))
    keys: list[Ints] = [which_V]
    while len(task.need_VK) > 1:
        pair_V = _matched(task.graph, task.need_VK[:, -1], int(size_V.sum()))
        if int(pair_V.max()) + 1 == len(pair_V):
            break
        which_V = pair_V[which_V]
        keys.append(which_V)
        task = _coarser(task, pair_V)
    place_V = np.empty(len(size_V), np.int64)
    place_V[np.lexsort(keys)] = np.arange(len(size_V))
    return place_V


def _matched(graph: Links, heavy_V: Ints, most: int) -> Ints:
    """Pairs of vertices joined by heavy edges, none larger than `most`: number of the pair, or of the vertex left alone. (V,)

    An edge is worth the square of its weight over the sizes of its ends (Holtgrewe, Sanders and Schulz 2010, "expansion*2").
    """
    size = len(heavy_V)
    row_X, col_X = graph.row_X, graph.unit_V
    ok_X = heavy_V[row_X] + heavy_V[col_X] <= most
    mate_V = np.arange(size)
    for _ in range(4):
        free_V = mate_V == np.arange(size)
        live_X = ok_X & free_V[row_X] & free_V[col_X]
        if not live_X.any():
            break
        a, b, w = (
            row_X[live_X],
            col_X[live_X],
            graph.weight_V[live_X] ** 2 / np.maximum(heavy_V[row_X] * heavy_V[col_X], 1)[live_X],
        )
        order = np.lexsort((_mixed(a, b), -w, a))
        first = np.r_[True, a[order][1:] != a[order][:-1]]
        want_V = np.full(size, -1)
        want_V[a[order][first]] = b[order][first]
        mutual_V = (want_V >= 0) & (want_V[want_V] == np.arange(size))
        mate_V[mutual_V] = want_V[mutual_V]
    _, which_V = np.unique(np.minimum(np.arange(size), mate_V), return_inverse=True)
    return which_V


def _mixed(a: Ints, b: Ints) -> Ints:
    """The same number for both ends of an edge, in no order: among equal edges, one that both ends would take."""
    low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
    return np.asarray((low * np.uint64(0x9E3779B97F4A7C15) ^ high * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(20), np.int64)


def _coarser(task: Task, which_V: Ints) -> Task:
    size, graph = int(which_V.max()) + 1, task.graph
    need_WK = np.zeros((size, task.need_VK.shape[1]), np.int64)
    np.add.at(need_WK, which_V, task.need_VK)
    edges = (which_V[graph.row_X], which_V[graph.unit_V], graph.weight_V / 2)
    return Task(links(size, [edges]), need_WK, task.left_K, task.right_K)


def _grown(task: Task) -> Ints | None:
    """The best of a few growths of the right side, each improved by moves; None if no growth fits."""
    size = len(task.need_VK)
    order = [np.arange(size), np.arange(size)[::-1]]
    count = min(SEEDS, 1 + size // 16) if size <= SINGLE else 1
    seeds = dict.fromkeys((np.arange(count) * size // count).tolist())
    starts = [_filled(task, o) for o in order] + [_growth(task, s) for s in seeds]
    swept = {s.tobytes(): s for s in (_swept(task, s) for s in starts if s is not None)}  # many starts meet
    found = [_passed(task, s) for s in swept.values()]
    return min(found, key=lambda s: cut(task.graph, s), default=None)


def _filled(task: Task, order: Ints) -> Ints | None:
    """Left as full as it gets, vertices in order, large units first."""
    order = order[np.lexsort((np.arange(len(order)), -task.need_VK[order, 0]))] if task.need_VK.shape[1] > 1 else order
    side_V, left_K = np.ones(len(order), np.int64), task.left_K.copy()
    for v in order.tolist():
        if bool((task.need_VK[v] <= left_K).all()):
            left_K = left_K - task.need_VK[v]
            side_V[v] = 0
    return side_V if bool((task.need_VK[side_V == 1].sum(axis=0) <= task.right_K).all()) else None


def _growth(task: Task, seed: int) -> Ints | None:
    """The left side grown from a vertex by what it is joined to most, until the rest fits on the right."""
    size = len(task.need_VK)
    side_V, near_V = np.ones(size, np.int64), np.zeros(size)
    left_K, rest_K = task.left_K.copy(), task.need_VK.sum(axis=0)
    near_V[seed] = 1e-30
    while bool((rest_K > task.right_K).any()):
        v = _top(task, near_V.copy(), task.kinds[0] <= left_K)
        if v is None:
            return None
        side_V[v], near_V[v] = 0, -np.inf
        left_K, rest_K = left_K - task.need_VK[v], rest_K - task.need_VK[v]
        unit, weight = task.graph.of(v)
        near_V[unit] += weight
    return side_V


def _top(task: Task, gain_V: Floats, fits_KX: Bools) -> int | None:
    """The vertex with the largest gain among the kinds whose whole row fits; changes `gain_V`. None if all are -inf."""
    fits_K = np.logical_and.reduce(fits_KX, axis=1)
    if not np.logical_and.reduce(fits_K):
        gain_V += np.where(fits_K, 0.0, -np.inf)[task.kinds[1]]
    v = int(gain_V.argmax())
    return v if gain_V[v] > -np.inf else None


def _swept(task: Task, side_V: Ints) -> Ints:
    """Rounds of exchanges of many vertices at once: none of them neighbours, so that their gains add up.

    Vertices of one need change sides in pairs, largest gains first, while a pair gains; what fits the rooms moves alone.
    """
    kinds, kind_V = task.kinds
    if len(kinds) > KINDS:
        return side_V
    for _ in range(ROUNDS):
        gain_V, total = _gains(task.graph, side_V)
        apart_V = _apart(gain_V, task.graph.row_X, task.graph.unit_V)
        chosen = _pairs(task, kinds, kind_V, side_V, gain_V, apart_V)
        if not len(chosen) or float(gain_V[chosen].sum()) < ENOUGH * total:
            break
        side_V = side_V.copy()
        side_V[chosen] = 1 - side_V[chosen]
    return side_V


def _apart(gain_V: Floats, row_X: Ints, col_X: Ints) -> Bools:
    """Vertices that gain more than each of their neighbours, ties by a mixed number: no two are neighbours."""
    order_V = np.empty(len(gain_V), np.int64)
    order_V[np.lexsort((_mixed(np.arange(len(gain_V)), np.arange(len(gain_V)) + 1), gain_V))] = np.arange(len(gain_V))
    best_V = np.full(len(gain_V), -1)
    np.maximum.at(best_V, row_X, order_V[col_X])
    return order_V > best_V


def _pairs(task: Task, kinds: Ints, kind_V: Ints, side_V: Ints, gain_V: Floats, apart_V: Bools) -> Ints:
    """Vertices to change sides: pairs of one kind that gain together, then single ones that gain and fit."""
    chosen: list[Ints] = []
    room = [r - task.need_VK[side_V == s].sum(axis=0) for s, r in enumerate((task.left_K, task.right_K))]
    floor = 1e-9 * float(task.graph.weight_V.max(initial=0.0))
    for kind, need_K in enumerate(kinds):
        sides = [np.flatnonzero(apart_V & (kind_V == kind) & (side_V == s)) for s in (0, 1)]
        sides = [v[np.argsort(-gain_V[v], kind="stable")] for v in sides]
        count = min(len(v) for v in sides)
        good = int((gain_V[sides[0][:count]] + gain_V[sides[1][:count]] > floor).sum())
        chosen += [v[:good] for v in sides]
        for s, rest in ((0, sides[0][good:]), (1, sides[1][good:])):
            fits = int((room[1 - s][need_K > 0] // need_K[need_K > 0]).min(initial=len(rest)))
            single = rest[: max(min(fits, int((gain_V[rest] > floor).sum())), 0)]
            room[1 - s] = room[1 - s] - len(single) * need_K
            chosen.append(single)
    return np.asarray(np.concatenate(chosen), np.int64)


def _moved(task: Task, side_V: Ints) -> Ints:
    """Rounds of many exchanges, then passes of single moves that keep their best state (Fiduccia and Mattheyses 1982)."""
    return _passed(task, _swept(task, side_V))


def _passed(task: Task, side_V: Ints) -> Ints:
    for _ in range(PASSES if len(side_V) <= SINGLE else 0):
        better_V = _Pass(task, side_V).run()
        if better_V is None:
            break
        side_V = better_V
    return side_V


class _Pass:
    """One pass: every vertex moves at most once. `gain_V`: weight that leaves the cut if the vertex changes sides.

    `shut_SV`: -inf for vertices that are not on side s, or moved before. What fits is known by kind of need: on graphs of some
    dozen vertices the number of vector operations decides, not their length.
    """

    def __init__(self, task: Task, side_V: Ints) -> None:
        self.task, self.side_V = task, side_V.copy()
        self.gain_V: Floats = _gains(task.graph, side_V)[0]
        self.kinds, self.kind_V = task.kinds
        self.shut_SV = [np.where(self.side_V == s, 0.0, -np.inf) for s in (0, 1)]
        used = [task.need_VK[side_V == s].sum(axis=0) for s in (0, 1)]
        self.room = [np.asarray(task.left_K - used[0]), np.asarray(task.right_K - used[1])]
        self.scale = float(task.graph.weight_V.max(initial=0.0))

    def run(self) -> Ints | None:
        """A better state than at the start, or None."""
        gained, best, best_V, since = 0.0, 0.0, None, 0
        for step in range(min(MOVES, len(self.side_V))):
            move = self._best()
            if move is None or step - since > PATIENCE:
                break
            gained += move[0]
            for v in move[1]:
                self._flip(v)
            if gained > best + 1e-9 * self.scale:
                best, best_V, since = gained, self.side_V.copy(), step
        return best_V

    def _best(self) -> tuple[float, tuple[int, ...]] | None:
        """The best single move that fits, or exchange where that gains more."""
        found: list[tuple[float, tuple[int, ...]]] = []
        for side in (0, 1):
            v = _top(self.task, self.gain_V + self.shut_SV[side], self.kinds <= self.room[1 - side])
            if v is not None:
                found.append((float(self.gain_V[v]), (v,)))
        pair = self._pair()
        if pair:
            found.append(pair)
        return max(found, key=lambda f: (f[0], -f[1][0]), default=None)

    def _pair(self) -> tuple[float, tuple[int, int]] | None:
        """The vertex of the left with the largest gain, and its best partner on the right."""
        left_V = self.gain_V + self.shut_SV[0]
        a = int(left_V.argmax())
        if left_V[a] == -np.inf:
            return None
        gain_V = self.gain_V + self.gain_V[a]
        unit, weight = self.task.graph.of(a)
        gain_V[unit] -= 2 * weight
        gain_V += self.shut_SV[1]
        swing_KX = self.kinds[self.kind_V[a]] - self.kinds  # what the right side gains
        b = _top(self.task, gain_V, (swing_KX <= self.room[1]) & (-swing_KX <= self.room[0]))
        return None if b is None else (float(gain_V[b]), (a, b))

    def _flip(self, v: int) -> None:
        side, need_K = int(self.side_V[v]), self.task.need_VK[v]
        unit, weight = self.task.graph.of(v)
        self.gain_V[unit] += np.where(self.side_V[unit] == side, 2 * weight, -2 * weight)
        self.gain_V[v] = -self.gain_V[v]
        self.side_V[v], self.shut_SV[side][v] = 1 - side, -np.inf
        self.room[side] = self.room[side] + need_K
        self.room[1 - side] = self.room[1 - side] - need_K
