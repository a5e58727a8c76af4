# SPDX-License-Identifier: Apache-2.0
# R ring   K kind of groups   J region
"""Rings cut into arcs, and arcs laid into groups that are counted by kind: as few arcs as can be, by CP-SAT.

Rings stand in a row. A group holds an arc of one ring, or an arc each of two neighbours, and two neighbours share at most one
group of a region. So a solution by kind is one by group: equal groups are told apart only when it is read out. A program in
whole numbers for CP-SAT (Perron and Furnon, OR-Tools) through its linear interface, which starts in a fifth of the time of the
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from placement.solve.turns import Arc, Kind, Ring, regions, turns

__all__ = ["Arc", "Cut", "Kind", "Prices", "Ring", "cut"]

EFFORT = 0.1  # deterministic seconds of CP-SAT for all rings: counted work, the same on every machine
SCALE = 1_000_000  # the dearest price in whole numbers
SETTINGS = "num_workers: 1 random_seed: 0 relative_gap_limit: 0 repair_hint: true"


@dataclass(frozen=True)
class Prices:
    """Of an arc; of a member by which neighbours with the same regions leave one apart.

    `apart`: how many members that may be at most, at each region.
    """

    arc: float = 1.0
    skew: float = 0.0
    apart: int | None = None


@dataclass(frozen=True)
class Cut:
    """Arcs of every ring in the order in which it goes round them. `cost` in units of the prices; `proven`: none is less."""

    arcs: tuple[tuple[Arc, ...], ...]
    cost: float
    proven: bool


def cut(rings: Sequence[Ring], kinds: Sequence[Kind], prices: Prices, effort: float = EFFORT) -> Cut | None:
    """The cheapest way found to lay all rings; None where they do not fit, or none was found within the effort.

    Rings that share no region with those after them are a problem of their own. Single worker and counted effort: same input,
    same answer.
    """
    room = {j: sum(k.room * k.count for k in kinds if k.region == j) for j in regions(rings)}
    if any(sum(room[j] for j in ring.regions) < ring.length for ring in rings):
        return None
    arcs: list[tuple[Arc, ...]] = []
    cost, proven = 0.0, True
    for part in _apart(rings):
        used = regions(part)
        mine = [k for k, kind in enumerate(kinds) if kind.region in used]
        found = _solved(part, [kinds[k] for k in mine], prices, effort * len(part) / len(rings))
        if found is None:
            return None
        arcs += (tuple(Arc(mine[a.kind], a.group, a.members) for a in ring) for ring in found.arcs)
        cost, proven = cost + found.cost, proven and found.proven
    return Cut(tuple(arcs), cost, proven)


def _apart(rings: Sequence[Ring]) -> Iterator[Sequence[Ring]]:
    first = 0
    for r in range(1, len(rings) + 1):
        if not regions(rings[first:r]) & regions(rings[r:]):
            yield rings[first:r]
            first = r


def _solved(rings: Sequence[Ring], kinds: Sequence[Kind], prices: Prices, effort: float) -> Cut | None:
    from ortools.linear_solver import pywraplp

    make: Any = pywraplp.Solver
    solver = make.CreateSolver("SAT")
    program = _Program(solver, rings, kinds, prices)
    known = solver.SetSolverSpecificParametersAsString(f"{SETTINGS} max_deterministic_time: {effort}")
    assert known, "settings of CP-SAT"
    program.begin(turns(rings, kinds) or [])
    status = solver.Solve()
    if status not in (solver.OPTIMAL, solver.FEASIBLE):
        return None
    return Cut(tuple(_read(program)), program.unit * solver.Objective().Value(), status == solver.OPTIMAL)


class _Program:
    """Variables by ring or pair of neighbours: groups held alone, groups shared, members on both sides, members by region."""

    def __init__(self, solver: Any, rings: Sequence[Ring], kinds: Sequence[Kind], prices: Prices) -> None:
        self.solver, self.rings, self.kinds, self.apart = solver, rings, kinds, prices.apart
        self.unit = max(prices.arc, prices.skew) / SCALE
        self.arc, self.skew = (round(p / self.unit) for p in (prices.arc, prices.skew))
        self.of = {j: [k for k, kind in enumerate(kinds) if kind.region == j] for ring in rings for j in ring.regions}
        self.goal = solver.Objective()
        self.goal.SetMinimization()
        self.alone = {(r, k): self._alone(ring, k) for r, ring in enumerate(rings) for j in ring.regions for k in self.of[j]}
        self.shared: dict[tuple[int, int], Any] = {}
        self.left: dict[tuple[int, int], Any] = {}  # members of ring r in the group that it shares with r + 1 in region j
        self.right: dict[tuple[int, int], Any] = {}  # those of r + 1
        for r in range(len(rings) - 1):
            for j in rings[r].regions:
                if j in rings[r + 1].regions and self.of[j]:
                    self._share(r, j)
        self.part = {(r, j): self._whole(ring.length) for r, ring in enumerate(rings) for j in ring.regions}
        for r, ring in enumerate(rings):
            self._ring(r, ring)
        for k, kind in enumerate(kinds):
            used = [x for held in (self.alone, self.shared) for (_, at), x in held.items() if at == k]
            solver.Add(sum(used) <= kind.count)

    def _whole(self, most: int, price: int = 0) -> Any:
        x = self.solver.IntVar(0, most, "")
        self.goal.SetCoefficient(x, price)
        return x

    def _alone(self, ring: Ring, k: int) -> Any:
        kind = self.kinds[k]
        return self._whole(min(kind.count, -(-ring.length // kind.room)), self.arc * ring.weight)

    def _share(self, r: int, j: int) -> None:
        kinds, price = self.of[j], self.arc * (self.rings[r].weight + self.rings[r + 1].weight)
        for k in kinds:
            self.shared[r, k] = self._whole(1, price)
        most = self._roomiest(j)
        self.left[r, j], self.right[r, j] = self._whole(most), self._whole(most)
        self.solver.Add(sum(self.shared[r, k] for k in kinds) <= 1)
        room = sum(self.kinds[k].room * self.shared[r, k] for k in kinds)
        self.solver.Add(self.left[r, j] + self.right[r, j] <= room)

    def _roomiest(self, *regions: int) -> int:
        return max((self.kinds[k].room for j in regions for k in self.of[j]), default=0)

    def _ring(self, r: int, ring: Ring) -> None:
        """All members lie somewhere; and what follows for whole numbers, the least arcs in a region and of the ring."""
        arcs_J = []
        for j in ring.regions:
            held = sum(self.kinds[k].room * self.alone[r, k] for k in self.of[j])
            self.solver.Add(self.part[r, j] <= held + self.left.get((r, j), 0) + self.right.get((r - 1, j), 0))
            both = [self.shared[at, k] for at in (r - 1, r) for k in self.of[j] if (at, k) in self.shared]
            arcs_J.append(sum((self.alone[r, k] for k in self.of[j]), sum(both)))
            self.solver.Add(self.part[r, j] <= self._roomiest(j) * arcs_J[-1])
        self.solver.Add(sum(self.part[r, j] for j in ring.regions) == ring.length)
        self.solver.Add(sum(arcs_J) >= -(-ring.length // max(self._roomiest(*ring.regions), 1)))
        if r and ring.regions == self.rings[r - 1].regions and (self.skew or self.apart is not None):
            self._line_up(r)

    def _line_up(self, r: int) -> None:
        """Ring r and the one before leave each region but the last at places that are so many members apart."""
        most = max(self.rings[r].length, self.rings[r - 1].length) if self.apart is None else self.apart
        ahead: Any = 0
        for j in self.rings[r].regions[:-1]:
            ahead = ahead + self.part[r, j] - self.part[r - 1, j]
            apart = self._whole(most, self.skew)
            self.solver.Add(apart >= ahead)
            self.solver.Add(apart >= -ahead)

    def begin(self, arcs: Sequence[Sequence[Arc]]) -> None:
        """Tell the search of a layout."""
        hint = [*self.alone.values(), *self.shared.values(), *self.left.values(), *self.right.values(), *self.part.values()]
        value = dict.fromkeys((x.index() for x in hint), 0)
        last: dict[tuple[int, int], tuple[int, int]] = {}  # ring and members that were last in a group
        for r, mine in enumerate(arcs):
            for arc in mine:
                j = self.kinds[arc.kind].region
                value[self.part[r, j].index()] += arc.members
                value[self.alone[r, arc.kind].index()] += 1
                q, held = last.get((arc.kind, arc.group), (r, 0))
                if q < r:
                    value[self.alone[q, arc.kind].index()] -= 1
                    value[self.alone[r, arc.kind].index()] -= 1
                    value[self.shared[q, arc.kind].index()] = 1
                    value[self.left[q, j].index()], value[self.right[q, j].index()] = held, arc.members
                last[arc.kind, arc.group] = (r, arc.members)
        if arcs:
            self.solver.SetHint(hint, [value[x.index()] for x in hint])


def _read(program: _Program) -> Iterator[tuple[Arc, ...]]:
    """Groups of each kind are given out in order of the rings. A group that two share is at the same end of both."""
    next_K = [0] * len(program.kinds)
    before: dict[int, tuple[int, int]] = {}  # region: the group that the ring before shares with this one
    for r, ring in enumerate(program.rings):
        arcs: list[Arc] = []
        after: dict[int, tuple[int, int]] = {}
        for j in ring.regions:
            found = _region(program, r, j, next_K, before, after)
            arcs += reversed(found) if r % 2 else found
        before = after
        yield tuple(arcs)


def _region(
    program: _Program, r: int, j: int, next_K: list[int], before: dict[int, tuple[int, int]], after: dict[int, tuple[int, int]]
) -> list[Arc]:  # fmt: skip
    """Arcs of a ring in a region: shared with the ring before, its own, shared with the next. Its own fill up first."""
    own: list[Arc] = []
    left = _value(program.part[r, j])
    for k, kind in enumerate(program.kinds):
        for _ in range(_value(program.alone.get((r, k))) if kind.region == j else 0):
            own.append(Arc(k, next_K[k], min(kind.room, left)))
            left -= own[-1].members
            next_K[k] += 1
        if kind.region == j and _value(program.shared.get((r, k))):
            after[j] = (k, next_K[k])
            next_K[k] += 1
    ends: list[list[Arc]] = []
    for group, most in ((before.get(j), program.right.get((r - 1, j))), (after.get(j), program.left.get((r, j)))):
        part = min(left, _value(most)) if group else 0
        ends.append([Arc(*group, part)] if group else [])
        left -= part
    return [arc for arc in (*ends[0], *own, *ends[1]) if arc.members]


def _value(x: Any) -> int:
    return 0 if x is None else round(x.solution_value())
