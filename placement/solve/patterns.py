# SPDX-License-Identifier: Apache-2.0
# K class of groups   P pattern
"""Patterns of classes of groups: how many groups of each class follow each of the patterns open to it, at least cost.

A multiple-choice knapsack with equal groups counted together, by CP-SAT (Perron and Furnon, OR-Tools). What one group cannot
keep another one of its region takes, or at a price one of another region.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EFFORT = 1.0  # deterministic seconds of CP-SAT: counted work, the same on every machine
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
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    taken = [[model.new_int_var(0, k.count, "") for _ in k.patterns] for k in kinds]
    for kind, row in zip(kinds, taken, strict=True):
        model.add(sum(row) == kind.count)
    flat = [(k, p, x) for k, row in zip(kinds, taken, strict=True) for p, x in zip(k.patterns, row, strict=True)]
    model.add(sum(p.units * x for _, p, x in flat) >= need)
    model.add(sum(p.spare * x for _, p, x in flat) >= 0)
    unit = max([away, *(abs(p.cost) for _, p, _ in flat)]) / SCALE or 1.0
    lacks = []
    for region in sorted({k.region for k in kinds}):
        most = sum(k.count * max(-p.spare for p in k.patterns) for k in kinds if k.region == region)
        lack = model.new_int_var(0, max(most, 0), "")
        model.add(lack + sum(p.spare * x for k, p, x in flat if k.region == region) >= 0)
        lacks.append(lack)
    model.minimize(sum(round(p.cost / unit) * x for _, p, x in flat) + round(away / unit) * sum(lacks))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.linearization_level = 2  # the relaxation is nearly whole: a tenth of the time of the default
    solver.parameters.relative_gap_limit = 1e-3
    solver.parameters.max_deterministic_time = EFFORT
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return [[int(solver.value(x)) for x in row] for row in taken]
