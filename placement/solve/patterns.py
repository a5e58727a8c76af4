# SPDX-License-Identifier: Apache-2.0
# K class of groups   P pattern
"""Patterns of classes of groups: how many groups of each class follow each of the patterns open to it, at least cost.

A multiple-choice knapsack with equal groups counted together, by CP-SAT (Perron and Furnon, OR-Tools). What one group cannot
keep another one of its region takes, or at a price one of another region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# One worker and deterministic seconds: counted work, the same on every machine. The relaxation is nearly whole, so linearizing
# takes a tenth of the time of the default.
PARAMETERS = (
    "num_workers:1 random_seed:0 linearization_level:2 mip_presolve_level:0 relative_gap_limit:1e-3 max_deterministic_time:1.0"
)
SCALE = 1_000_000  # the dearest pattern in whole numbers


@dataclass(frozen=True)
class Pattern:
    """What a group does: units it seats, room it has left (negative: what it could not keep), cost."""

    units: int
    spare: int
    cost: float


@dataclass(frozen=True)
class Kind:
    """`count` equal groups of one region, and the patterns open to each."""

    region: int
    count: int
    patterns: tuple[Pattern, ...]


def choose(kinds: Sequence[Kind], need: int, away: float) -> list[list[int]] | None:
    """How many groups of each kind follow each pattern, so that `need` units are seated; None where they do not fit.

    `away`: cost of a place that is taken outside the region. Single worker and counted effort: same input, same answer. The
    best answer known is taken where the effort ends before the proof.
    """
    from ortools.linear_solver import pywraplp  # CP-SAT's own interface would load pandas: a quarter of a second

    make: Any = pywraplp.Solver
    solver = make.CreateSolver("SAT")
    taken = [[solver.IntVar(0, k.count, "") for _ in k.patterns] for k in kinds]
    for kind, row in zip(kinds, taken, strict=True):
        solver.Add(sum(row) == kind.count)
    flat = [(k, p, x) for k, row in zip(kinds, taken, strict=True) for p, x in zip(k.patterns, row, strict=True)]
    solver.Add(sum(p.units * x for _, p, x in flat) >= need)
    solver.Add(sum(p.spare * x for _, p, x in flat) >= 0)
    unit = max([away, *(abs(p.cost) for _, p, _ in flat)]) / SCALE or 1.0
    lacks = []
    for region in sorted({k.region for k in kinds}):
        most = sum(k.count * max(-p.spare for p in k.patterns) for k in kinds if k.region == region)
        lack = solver.IntVar(0, max(most, 0), "")
        solver.Add(lack + sum(p.spare * x for k, p, x in flat if k.region == region) >= 0)
        lacks.append(lack)
    solver.Minimize(sum(round(p.cost / unit) * x for _, p, x in flat) + round(away / unit) * sum(lacks))
    solver.SetSolverSpecificParametersAsString(PARAMETERS)
    if solver.Solve() not in (make.OPTIMAL, make.FEASIBLE):
        return None
    return [[round(x.solution_value()) for x in row] for row in taken]
