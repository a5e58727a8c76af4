# SPDX-License-Identifier: Apache-2.0
"""The best plan with another degree of one axis: the same search again, with that degree pinned."""

from __future__ import annotations

from dataclasses import dataclass, replace

from placement.diag import Infeasible
from placement.ir import Candidate, Strategy
from placement.passes.problem import Problem
from placement.passes.search import Observe
from placement.passes.strategies import space
from placement.passes.tight import search_all

NEAR = 2  # degrees that are tried on either side
PINNABLE = ("tp", "cp", "ep", "etp", "dp", "pp")


@dataclass(frozen=True)
class Degree:
    """What was found with one degree: the best plan and whether nothing can be faster, or why nothing runs."""

    degree: int
    best: Candidate | None
    proven: bool
    reason: str


def other_degrees(task: Problem, strategy: Strategy, axis: str, observe: Observe) -> list[Degree]:
    """The nearest degrees below and above the plan's, each searched with least effort; ascending. Empty for axes that follow
    from others. Pins of the job stay, but for that of `axis`.
    """
    if axis not in PINNABLE:
        return []
    free = replace(task, job=replace(task.job, pins={k: v for k, v in task.job.pins.items() if k != axis}, effort=0))
    values = getattr(space(free.cluster, free.model, free.job), axis)
    mine = strategy.size(axis)
    wanted = [v for v in values if v < mine][-NEAR:] + [v for v in values if v > mine][:NEAR]
    return [_degree(free, axis, degree, observe) for degree in wanted]


def _degree(task: Problem, axis: str, degree: int, observe: Observe) -> Degree:
    pinned = replace(task, job=replace(task.job, pins={**task.job.pins, axis: degree}))
    try:
        best, seen = search_all(pinned, observe)
    except Infeasible as error:
        return Degree(degree, None, True, next(iter(error.rejected), str(error)))
    return Degree(degree, best, seen.proven, "")
