# SPDX-License-Identifier: Apache-2.0
# D digit   A set of digits (bit mask)   L level, innermost first   T term   K members of a group
"""Weight that groups cannot hold inside, from entropies: for groups of any size, digits that overlap, and all levels at once.

X is a member drawn uniformly, dom_l the group of level l that holds it. If k members of a communicator are together, each
holds at most D(k) of it, so the mean is at most the concave envelope of D over log k at H(X_A | X_rest, dom_l) (Jensen). The
unknowns h(A, l) = H(X_A, dom_l) obey Shannon's inequalities, those of nested groups, and the sizes of the groups; a linear
program finds the most that all terms can hold. The idea: Diskin and Samotij 2024 (arXiv 2407.02058), edges of product graphs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.solve._array import Floats, Ints

MOST_DIGITS = 7
TANGENTS = 48
SLACK = 1e-9  # of logarithms that would be equal but for rounding
MARGIN = 1e-6  # of all weight: what the solver's tolerance may hide


@dataclass(frozen=True)
class Group:
    """A term: communicators run over the digits of `mask`. `inside_K[k]`: most weight that k members of one hold, k = 0..n.

    `touch` > 0 instead: a collective (hyperedge) that costs that much in every group it touches and is not whole in.
    """

    mask: int
    inside_K: Floats
    touch: float = 0.0


@dataclass(frozen=True)
class Level:
    """Members that each group of a level has room for, and the weight of what leaves its groups."""

    room_J: Ints
    weight: float


def least_leaving(sizes: Sequence[int], groups: Sequence[Group], levels: Sequence[Level]) -> float:
    """Lower bound on the weighted sum over levels of the weight that leaves groups (pairs once; collectives by group touched).

    `sizes`: values of each digit; their product is the number of members. Rooms of every level hold them all.
    """
    scale = max(float(np.abs(g.inside_K).max()) + g.touch for g in groups)
    if scale <= 0:
        return 0.0
    return scale * _least(sizes, [Group(g.mask, g.inside_K / scale, g.touch / scale) for g in groups], levels)


def _least(sizes: Sequence[int], groups: Sequence[Group], levels: Sequence[Level]) -> float:
    """The same for weights of about 1, which suit the solver."""
    program = _Program(sizes, groups, levels)
    total = sum(float(g.inside_K[-1]) * _copies(sizes, g) for g in groups if not g.touch)
    spread = total + sum(g.touch * math.prod(sizes) for g in groups)
    whole = sum(level.weight for level in levels)
    return max(0.0, whole * total - program.most_inside() - MARGIN * whole * spread)


def _copies(sizes: Sequence[int], group: Group) -> float:
    return math.prod(sizes) / (len(group.inside_K) - 1)


class _Program:
    """The linear program; variables h(A, l) and z(term, l), the mean weight that a member holds inside."""

    def __init__(self, sizes: Sequence[int], groups: Sequence[Group], levels: Sequence[Level]) -> None:
        from ortools.linear_solver import pywraplp

        make: Any = pywraplp.Solver
        self.solver = make("entropy", make.GLOP_LINEAR_PROGRAMMING)
        self.sizes, self.groups, self.levels = list(sizes), groups, levels
        self.full = (1 << len(sizes)) - 1
        self.members, self.whole = math.prod(sizes), sum(level.weight for level in levels)
        infinity = self.solver.infinity()
        self.h = [[self._entropy(mask, level) for level in levels] for mask in range(self.full + 1)]
        self.z = [[self.solver.NumVar(-infinity, infinity, "") for _ in levels] for _ in groups]
        for l in range(len(levels)):  # noqa: E741
            self._shannon(l)
            if l:
                self._nested(l)
            for t, group in enumerate(groups):
                self._envelope(t, group, l)

    def most_inside(self) -> float:
        """The weighted sum over levels of what groups hold inside, at most; collectives count negative."""
        objective = self.solver.Objective()
        for t, _group in enumerate(self.groups):
            for l, level in enumerate(self.levels):  # noqa: E741
                objective.SetCoefficient(self.z[t][l], level.weight / self.whole)
        objective.SetMaximization()
        status = self.solver.Solve()
        if status != self.solver.OPTIMAL:  # numerical trouble: no bound
            return math.inf
        return float(objective.Value()) * self.members * self.whole

    def _entropy(self, mask: int, level: Level) -> Any:
        """h(A, l) between H(X_A) and log n; of no digits, the entropy of the group alone."""
        log_n = math.log(self.members)
        if mask == self.full:
            return self.solver.NumVar(log_n, log_n, "")
        low = sum(math.log(n) for d, n in enumerate(self.sizes) if mask >> d & 1)
        high = self.solver.infinity()
        if mask == 0:
            room_J = level.room_J[level.room_J > 0]
            high = min(math.log(len(room_J)), log_n)
            low = max(0.0, min(log_n - _most_log_size(room_J, self.members), high) - SLACK)
        return self.solver.NumVar(low, high, "")

    def _shannon(self, l: int) -> None:  # noqa: E741
        digits = range(len(self.sizes))
        for mask in range(self.full + 1):
            free = [i for i in digits if not mask >> i & 1]
            for i in free:
                more = self.h[mask | 1 << i][l] - self.h[mask][l]
                self.solver.Add(more >= 0)
                self.solver.Add(more <= math.log(self.sizes[i]))
                for j in free:
                    if j > i:
                        self.solver.Add(more >= self.h[mask | 1 << i | 1 << j][l] - self.h[mask | 1 << j][l])

    def _nested(self, l: int) -> None:  # noqa: E741
        """A group of a level lies in one of the next: it has no more entropy, and tells less about a digit."""
        for mask in range(self.full + 1):
            self.solver.Add(self.h[mask][l] <= self.h[mask][l - 1])
            for i in range(len(self.sizes)):
                if not mask >> i & 1:
                    inner = self.h[mask | 1 << i][l - 1] - self.h[mask][l - 1]
                    self.solver.Add(inner <= self.h[mask | 1 << i][l] - self.h[mask][l])

    def _envelope(self, t: int, group: Group, l: int) -> None:  # noqa: E741
        spread = self.h[self.full][l] - self.h[self.full ^ group.mask][l]
        for slope, offset in tangents(group, int(self.levels[l].room_J.max())):
            self.solver.Add(self.z[t][l] <= slope * spread + offset)


def tangents(group: Group, room: int) -> list[tuple[float, float]]:
    """Lines (slope, offset) over log k above the mean weight a member holds when k of its communicator are together."""
    size = len(group.inside_K) - 1
    k = np.arange(1, min(size, room) + 1)
    held_K = np.where(k == size, 0.0, -group.touch / k) if group.touch else group.inside_K[k] / k
    corner = _corners(np.log(k), held_K)
    x, y = np.log(k)[corner], held_K[corner]
    slope = np.diff(y) / np.maximum(np.diff(x), 1e-300)
    lines = list(zip(slope.tolist(), (y[:-1] - x[:-1] * slope).tolist(), strict=True))
    if len(lines) > TANGENTS:
        last = len(lines) - 1
        pick = np.unique(
            np.concatenate([np.arange(TANGENTS // 2), np.geomspace(TANGENTS // 2, last, TANGENTS // 2).astype(int), [last]])
        )
        lines = [lines[i] for i in pick.tolist()]
    return [*lines, (0.0, float(held_K.max()))]


def _corners(x: Floats, y: Floats) -> list[int]:
    """Upper concave hull (monotone chain)."""
    corner: list[int] = []
    for i in range(len(x)):
        while len(corner) >= 2:
            a, b = corner[-2], corner[-1]
            if (y[b] - y[a]) * (x[i] - x[b]) > (y[i] - y[b]) * (x[b] - x[a]):
                break
            corner.pop()
        corner.append(i)
    return corner


def _most_log_size(room_J: Ints, members: int) -> float:
    """Largest mean of log |own group|: convex in the sizes, so the largest groups are full."""
    room = np.sort(room_J)[::-1].astype(float)
    size = np.minimum(room, np.maximum(members - np.concatenate([[0.0], np.cumsum(room)[:-1]]), 0.0))
    size = size[size > 0]
    return float((size * np.log(size)).sum() / members)
