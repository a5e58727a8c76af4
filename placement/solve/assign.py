# SPDX-License-Identifier: Apache-2.0
# X row   Y column
"""Rows to columns, one each, at least total cost: shortest augmenting paths with potentials (Jonker and Volgenant 1987)."""

from __future__ import annotations

import numpy as np

from placement.solve._array import Floats, Ints

EXACT = 64  # rows of an exact assignment: milliseconds


def assign(cost_XY: Floats) -> Ints:
    """The column of each row in an assignment of least total cost; ties by order. Needs at least as many columns as rows.

    >>> import numpy as np
    >>> assign(np.array([[1.0, 2.0, 9.0], [1.0, 4.0, 9.0]])).tolist()
    [1, 0]
    """
    rows, columns = cost_XY.shape
    assert rows <= columns, "every row needs a column"
    row_Y = np.full(columns, -1)
    price_X, price_Y = np.zeros(rows), np.zeros(columns)
    for x in range(rows):
        _augment(cost_XY, x, row_Y, price_X, price_Y)
    column_X = np.empty(rows, np.int64)
    taken = np.flatnonzero(row_Y >= 0)
    column_X[row_Y[taken]] = taken
    return column_X


def _augment(cost_XY: Floats, first: int, row_Y: Ints, price_X: Floats, price_Y: Floats) -> None:
    """Give row `first` a column by the cheapest path of reassignments; prices stay dual feasible."""
    columns = len(row_Y)
    far_Y, before_Y = np.full(columns, np.inf), np.full(columns, -1)
    open_Y = np.ones(columns, bool)
    row, at, reach = first, -1, 0.0
    while True:
        new_Y = reach + cost_XY[row] - price_X[row] - price_Y
        better_Y = open_Y & (new_Y < far_Y)
        far_Y[better_Y], before_Y[better_Y] = new_Y[better_Y], at
        at = int(np.argmin(np.where(open_Y, far_Y, np.inf)))
        reach = float(far_Y[at])
        open_Y[at] = False
        row = int(row_Y[at])
        if row < 0:
            break
    done = np.flatnonzero(~open_Y)
    price_X[first] += reach
    inner = done[row_Y[done] >= 0]
    price_X[row_Y[inner]] += reach - far_Y[inner]
    price_Y[done] -= reach - far_Y[done]
    while at >= 0:
        back = int(before_Y[at])
        row_Y[at] = first if back < 0 else row_Y[back]
        at = back


def settle(cost_XY: Floats, room_Y: Ints) -> Ints:
    """Rows to columns that hold `room_Y` rows each: exact for up to 64 rows, else dearest choice first, then exchanges.

    Raises ValueError where there is too little room.
    """
    rows = len(cost_XY)
    if int(room_Y.sum()) < rows:
        raise ValueError("more rows than room")
    if rows <= EXACT:
        slot_S = np.repeat(np.arange(len(room_Y)), np.minimum(room_Y, rows))
        return np.asarray(slot_S[assign(cost_XY[:, slot_S])])
    return _exchange(cost_XY, _by_regret(cost_XY, room_Y.copy()))


def _by_regret(cost_XY: Floats, left_Y: Ints) -> Ints:
    """Rows in order of what it costs them not to get their best column."""
    two = np.partition(cost_XY, min(1, cost_XY.shape[1] - 1), axis=1)
    regret_X = two[:, min(1, cost_XY.shape[1] - 1)] - two[:, 0]
    column_X = np.empty(len(cost_XY), np.int64)
    full_Y = np.where(left_Y > 0, 0.0, np.inf)
    for x in np.argsort(-regret_X, kind="stable").tolist():
        y = int(np.argmin(cost_XY[x] + full_Y))
        column_X[x] = y
        left_Y[y] -= 1
        if left_Y[y] == 0:
            full_Y[y] = np.inf
    return column_X


def _exchange(cost_XY: Floats, column_X: Ints, passes: int = 2) -> Ints:
    """Swap the columns of two rows while that lowers the total; each row looks for its best partner, `passes` times."""
    rows = np.arange(len(column_X))
    for _ in range(passes):
        for x in rows.tolist():
            own_X = cost_XY[rows, column_X]
            gain_X = own_X[x] + own_X - cost_XY[x, column_X] - cost_XY[rows, column_X[x]]
            y = int(np.argmax(gain_X))
            if gain_X[y] > 1e-12 * abs(float(own_X[x])):
                column_X[x], column_X[y] = column_X[y], column_X[x]
    return column_X
