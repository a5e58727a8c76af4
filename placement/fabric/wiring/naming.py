# SPDX-License-Identifier: Apache-2.0
# N name   J group (row)   I place in the group (column)   F number field
"""Names of things that stand in rows and columns: what a name should be, from its neighbours in the row and in the column.

Every number of a name is the sum of one that belongs to the row and one that belongs to the column (`rack0005-tray03`: 5 from
the rack's group, and 0 from its first rack; 3 from the tray). Rows and columns vote; a name that most of both contradict is
out of place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.ends import distinct, find, vote
from placement.fabric.wiring.names import grid, letters, pads_of, renumbered
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
    pads_S: Mapping[str, list[int]]  # digits of each number, by shape

    def expected(self, row: int, column: int) -> str:
        """The name that belongs to a place; "" where the rule does not say."""
        if not self.ok:
            return ""
        j, i = find(self.row_key_J, np.array([row]))[0], find(self.column_key_I, np.array([column]))[0]
        if j < 0 or i < 0:
            return ""
        fields = (self.base_JF[j] + self.step_IF[i])[: self.width_J[j]]
        model = self.model_J[j]
        return "" if (fields < 0).any() else renumbered(model, fields.tolist(), self.pads_S[letters(model)])


def naming(names: list[str], row_N: Ints, column_N: Ints, *, even: bool = False) -> Naming:
    """Learn the rule from names with their rows and columns (non-negative). `even`: columns are evenly spaced, so that one row
    has a rule too.
    """
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
            step_IF, tied_IF = _voted(of_column[usual_N], (field_NF - base_JF[of_row])[usual_N], len(columns))
            step_IF = _straight(step_IF, tied_IF, columns)
            base_JF, tied_JF = _voted(of_row[usual_N], (field_NF - step_IF[of_column])[usual_N], len(rows))
            mean_JF = _means(of_row[usual_N], (field_NF - step_IF[of_column])[usual_N], len(rows))
            base_JF = np.where(tied_JF & (mean_JF >= 0), mean_JF, base_JF)
    if even and len(rows) == 1:
        step_IF = _lined(step_IF, columns)
    fits_N = usual_N & (base_JF[of_row] + step_IF[of_column] == field_NF).all(axis=1)
    first = (
        np.array([np.flatnonzero((of_row == j) & usual_N)[0] for j in range(len(rows))])
        if len(rows) <= 64
        else _firsts(of_row, usual_N)
    )
    model = tuple(names[n] for n in first.tolist())
    width = (field_NF[first] >= 0).sum(axis=1) if len(rows) else np.zeros(0, np.int64)
    ok = len(names) >= 4 and float(fits_N.mean()) >= FOLLOWED
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name, s in zip(names, g.shape_N.tolist(), strict=True):
        alike[g.shapes[s]].append(name)
    pads = {s: pads_of(same) for s, same in alike.items()}
    return Naming(ok, fits_N, rows, base_JF, model, columns, step_IF, width, pads)


def _firsts(of_row: Ints, usual_N: Bools) -> Ints:
    """First usual name of each row."""
    index = np.flatnonzero(usual_N)
    _, first = np.unique(of_row[index], return_index=True)
    return index[first]


def _voted(of_N: Ints, value_NF: Ints, size: int) -> tuple[Ints, Bools]:
    """(most frequent value of each key and field, whether no value has most of the votes)."""
    out = np.zeros((size, value_NF.shape[1]), np.int64)
    tied = np.zeros((size, value_NF.shape[1]), bool)
    for f in range(value_NF.shape[1]):
        low = int(value_NF[:, f].min(initial=0))
        votes = vote(of_N, value_NF[:, f] - low)
        out[votes.key_K, f] = votes.value_K + low
        tied[votes.key_K, f] = 2 * votes.count_K <= votes.total_K
    return out, tied


def _means(of_N: Ints, value_NF: Ints, size: int) -> Ints:
    """Mean value of each key and field where it is whole and not negative, else -1: exchanged neighbours leave it as it is."""
    many_J = np.maximum(np.bincount(of_N, minlength=size), 1)
    total_JF = np.zeros((size, value_NF.shape[1]), np.int64)
    np.add.at(total_JF, of_N, value_NF)
    return np.where(total_JF % many_J[:, None] == 0, total_JF // many_J[:, None], -1)


def _lined(step_IF: Ints, key_I: Ints) -> Ints:
    """Steps of a single row, which no other row confirms: the line that most of them lie on, if there is one."""
    out = step_IF.copy()
    if len(key_I) < 5:
        return out
    for f in range(step_IF.shape[1]):
        slope = float(np.median(np.diff(step_IF[:, f]) / np.diff(key_I)))
        offset = np.median(step_IF[:, f] - slope * key_I)
        line = np.round(offset + slope * key_I).astype(np.int64)
        if (line == step_IF[:, f]).mean() >= FOLLOWED:
            out[:, f] = line
    return out


def _straight(step_IF: Ints, tied_IF: Bools, key_I: Ints) -> Ints:
    """Steps of columns without a majority, from the line through those that have one."""
    out = step_IF.copy()
    for f in range(step_IF.shape[1]):
        sure = np.flatnonzero(~tied_IF[:, f])
        if len(sure) < 2 or len(sure) == len(step_IF):
            continue
        slope = float(np.median(np.diff(step_IF[sure, f]) / np.diff(key_I[sure])))
        line = step_IF[sure[0], f] + slope * (key_I - key_I[sure[0]])
        whole = tied_IF[:, f] & (np.abs(line - np.round(line)) < 1e-9)
        out[whole, f] = np.round(line[whole]).astype(np.int64)
    return out
