# SPDX-License-Identifier: Apache-2.0
# N name   J group (row)   I place in the group (column)   F number field
"""Names of things that stand in rows and columns: what a name should be, from its neighbours in the row and in the column.

Every number of a name is the sum of one that belongs to the row and one that belongs to the column (`rack0005-tray03`: 5 from
the rack's group, and 0 from its first rack; 3 from the tray). Rows and columns vote; a name that most of both contradict is
out of place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.ends import distinct, find, vote
from placement.fabric.wiring.names import grid, renumbered
from placement.ir._array import Bools, Ints

FOLLOWED = 0.8  # of the names follow the rule, or there is none
ROUNDS = 3


@dataclass(frozen=True)
class Naming:
    """The rule of names. `ok` whether there is one; `fits_N` names that follow it; `model_J` a name of each row to write
    others like.
    """

    ok: bool
    fits_N: Bools
    row_key_J: Ints
    base_JF: Ints
    model_J: tuple[str, ...]
    column_key_I: Ints
    step_IF: Ints
    width_J: Ints

    def expected(self, row: int, column: int) -> str:
        """The name that belongs to a place; "" where the rule does not say."""
        if not self.ok:
            return ""
        j, i = find(self.row_key_J, np.array([row]))[0], find(self.column_key_I, np.array([column]))[0]
        if j < 0 or i < 0:
            return ""
        fields = (self.base_JF[j] + self.step_IF[i])[: self.width_J[j]]
        return "" if (fields < 0).any() else renumbered(self.model_J[j], fields.tolist())


def naming(names: list[str], row_N: Ints, column_N: Ints) -> Naming:
    """Learn the rule from names with their rows and columns (non-negative)."""
    g = grid(names)
    field_NF = g.field_NF
    rows, columns = distinct(row_N), distinct(column_N)
    of_row, of_column = find(rows, row_N), find(columns, column_N)
    shape = vote(of_row, g.shape_N) if len(names) else None
    usual_N = g.shape_N == shape.winner_X if shape is not None else np.zeros(0, bool)
    base_JF: Ints = np.zeros((len(rows), field_NF.shape[1]), np.int64)
    step_IF: Ints = np.zeros((len(columns), field_NF.shape[1]), np.int64)
    if len(names):
        lowest_JF = np.full(base_JF.shape, np.iinfo(np.int64).max)
        np.minimum.at(lowest_JF, of_row[usual_N], field_NF[usual_N])
        base_JF = np.where(lowest_JF == np.iinfo(np.int64).max, 0, lowest_JF)
        for _ in range(ROUNDS):
            step_IF = _voted(of_column[usual_N], (field_NF - base_JF[of_row])[usual_N], len(columns))
            base_JF = _voted(of_row[usual_N], (field_NF - step_IF[of_column])[usual_N], len(rows))
    fits_N = usual_N & (base_JF[of_row] + step_IF[of_column] == field_NF).all(axis=1)
    first = (
        np.array([np.flatnonzero((of_row == j) & usual_N)[0] for j in range(len(rows))])
        if len(rows) <= 64
        else _firsts(of_row, usual_N)
    )
    model = tuple(names[n] for n in first.tolist())
    width = (field_NF[first] >= 0).sum(axis=1) if len(rows) else np.zeros(0, np.int64)
    ok = len(names) >= 4 and float(fits_N.mean()) >= FOLLOWED
    return Naming(ok, fits_N, rows, base_JF, model, columns, step_IF, width)


def _firsts(of_row: Ints, usual_N: Bools) -> Ints:
    """First usual name of each row."""
    index = np.flatnonzero(usual_N)
    _, first = np.unique(of_row[index], return_index=True)
    return index[first]


def _voted(of_N: Ints, value_NF: Ints, size: int) -> Ints:
    out = np.zeros((size, value_NF.shape[1]), np.int64)
    for f in range(value_NF.shape[1]):
        low = int(value_NF[:, f].min(initial=0))
        votes = vote(of_N, value_NF[:, f] - low)
        out[votes.key_K, f] = votes.value_K + low
    return out
