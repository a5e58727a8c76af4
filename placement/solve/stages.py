# SPDX-License-Identifier: Apache-2.0
# P stage, in order along a path   S members of a set   a, b members in one stage   t members so far   U kind of group
"""What sets hold that lie across unequal stages, stage by stage: no stage stands for another, and neighbours stay neighbours.

A set with s_p members in stage p holds at most sum_p held_p(s_p) + sum_p w_p min(s_p, s_{p+1}), as a line of a boundary is
inside where both of its ends are. Groups together have every member once, so that prices mu_p of a member are paid back
exactly, and sum_j inside(S_j) <= sum_p mu_p N_p + sum_j max over (s_p) of what is left: the dual of packing configurations into
groups (Gilmore and Gomory 1961). Any prices hold; good ones are found by cutting planes (Kelley 1960).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solve._array import Floats, Ints

NEAR = 1e-6  # of the value: cutting planes end


def most_inside(held_PS: Floats, weight_P: Floats, top: int) -> Floats:
    """M(s) for s = 0..top: the best over all ways to spread s members over the stages. `weight_P[p]` a line of p to p + 1."""
    return np.asarray(_tables(held_PS, weight_P, top)[-1].max(axis=0), float)


def stage_prices(
    held_PS: Floats, weight_P: Floats, members: int, room_J: Ints, start_P: Floats, looks: int
) -> Floats:  # fmt: skip
    """Prices of the stages' members, `members` in each, at which what groups of these rooms hold is bounded best. (P,)

    From `start_P` on; at most `looks` times everything is priced anew.
    """
    from ortools.linear_solver import pywraplp

    make: Any = pywraplp.Solver
    solver = make("stages", make.GLOP_LINEAR_PROGRAMMING)
    rooms_U, count_U = np.unique(np.minimum(room_J[room_J > 0], members * len(held_PS)), return_counts=True)
    scale = float(np.abs(held_PS).max()) / max(held_PS.shape[1] - 1, 1) + float(weight_P.max(initial=0.0)) or 1.0
    price = [solver.NumVar(-2.0, 2.0, "") for _ in held_PS]
    most = [solver.NumVar(0.0, solver.infinity(), "") for _ in rooms_U]
    counts = [int(n) for n in count_U]
    solver.Minimize(members * sum(price) + sum(n * m for n, m in zip(counts, most, strict=True)))
    found, best, best_P = start_P / scale, np.inf, start_P / scale
    held_PS, weight_P, known = held_PS / scale, weight_P / scale, -np.inf
    for _ in range(looks):
        size_S = np.arange(held_PS.shape[1])
        sets = _sets(held_PS - found[:, None] * size_S, weight_P, rooms_U)
        value = members * float(found.sum()) + sum(n * v for n, (v, _) in zip(counts, sets, strict=True))
        if value < best:
            best, best_P = value, found
        if best <= known + NEAR * abs(known):
            break
        for m, (held, members_P) in zip(most, sets, strict=True):
            whole = held + float(found @ members_P)
            solver.Add(m + sum(int(k) * x for k, x in zip(members_P, price, strict=True) if k) >= whole)
        if solver.Solve() != solver.OPTIMAL:
            break
        known = float(solver.Objective().Value())
        found = (np.array([x.solution_value() for x in price]) + best_P) / 2.0  # half way from the best: less to and fro
    return np.asarray(best_P * scale, float)


def _sets(held_PS: Floats, weight_P: Floats, rooms_U: Ints) -> list[tuple[float, Ints]]:
    """The best set for each room: what it holds, and its members in each stage."""
    tables = _tables(held_PS, weight_P, int(rooms_U.max()))
    best_S = tables[-1].max(axis=0)
    found = []
    for room in rooms_U.tolist():
        t = int(best_S[: room + 1].argmax())
        value, members = float(best_S[t]), [int(tables[-1][:, t].argmax())]
        for table, weight in zip(tables[-2::-1], weight_P[len(held_PS) - 2 :: -1], strict=False):
            b, t = members[-1], t - members[-1]
            members.append(int((table[:, t] + weight * np.minimum(np.arange(len(table)), b)).argmax()))
        found.append((value, np.array(members[::-1])))
    return found


def _tables(held_PS: Floats, weight_P: Floats, top: int) -> list[Floats]:
    """For every stage the most that t members hold up to there, a of them in it: (a, t) each."""
    most = min(held_PS.shape[1] - 1, top)
    table = np.full((most + 1, top + 1), -np.inf)
    table[np.arange(most + 1), np.arange(most + 1)] = held_PS[0, : most + 1]
    tables, near_aa = [table], np.minimum(*np.ogrid[: most + 1, : most + 1])
    for p in range(1, len(held_PS)):
        grown = np.full(table.shape, -np.inf)
        for b in range(most + 1):
            joined = (table[:, : top + 1 - b] + weight_P[p - 1] * near_aa[:, b][:, None]).max(axis=0)
            grown[b, b:] = joined + held_PS[p, b]
        table = grown
        tables.append(table)
    return tables
