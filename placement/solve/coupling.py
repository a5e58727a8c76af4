# SPDX-License-Identifier: Apache-2.0
# L level, innermost first   J group of a level   S size   X segment of a concave function
"""The most that nested groups hold inside on all levels at once, when the same sizes have to serve every level.

F_0(s) = M_0(s) for a group of level 0, F_l(s) = M_l(s) + max over splits of s among its children of sum F_{l-1}. Splits are
taken over concave hulls (an upper bound that needs only sorted slopes), the outermost sum by a price per member, as in
`best_sum`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placement.solve._array import Floats, Ints
from placement.solve.layercake import minimise

Hull = tuple[Floats, Ints]  # slopes, descending, and widths


def coupled_sum(profile_LS: Sequence[Floats], room_J: Ints, parent_LJ: Sequence[Ints], total: int) -> float:
    """Upper bound on sum over levels and groups of M_l(s). `room_J`: members each group of level 0 has room for.

    `parent_LJ[l]`: group of level l+1 of each group of level l; one fewer than levels.
    """
    values, class_J = _innermost(profile_LS[0], room_J)
    for profile_S, parent_J in zip(profile_LS[1:], parent_LJ, strict=True):
        values, class_J = _outer(values, class_J, profile_S, parent_J)
    return _price(values, np.bincount(class_J, minlength=len(values)), total)


def _innermost(profile_S: Floats, room_J: Ints) -> tuple[list[Floats], Ints]:
    room_U, class_J = np.unique(room_J, return_inverse=True)
    return [profile_S[: room + 1] for room in room_U.tolist()], class_J


def _outer(values: list[Floats], class_J: Ints, profile_S: Floats, parent_J: Ints) -> tuple[list[Floats], Ints]:
    """Functions of the groups one level out, groups with the same children in one class."""
    hulls = [_hull(v) for v in values]
    count_KC = np.zeros((int(parent_J.max()) + 1, len(values)), np.int64)
    np.add.at(count_KC, (parent_J, class_J), 1)
    kinds, class_K = np.unique(count_KC, axis=0, return_inverse=True)
    return [_inside(hulls, row, profile_S) for row in kinds], class_K.reshape(-1)


def _inside(hulls: list[Hull], count_C: Ints, profile_S: Floats) -> Floats:
    slope_X = np.concatenate([hulls[c][0] for c in np.flatnonzero(count_C)])
    width_X = np.concatenate([hulls[c][1] * count_C[c] for c in np.flatnonzero(count_C)])
    order = np.argsort(-slope_X, kind="stable")
    at_X = np.concatenate([[0], np.cumsum(width_X[order])])
    value_X = np.concatenate([[0.0], np.cumsum(slope_X[order] * width_X[order])])
    size_S = np.arange(min(int(at_X[-1]), len(profile_S) - 1) + 1)
    return np.asarray(np.interp(size_S, at_X, value_X) + profile_S[: len(size_S)])


def _hull(value_S: Floats) -> Hull:
    """Upper concave hull of a function on 0..n."""
    at = _corners(value_S)
    width_X = np.diff(at)
    return np.diff(value_S[at]) / np.maximum(width_X, 1), width_X


def _corners(value_S: Floats) -> Ints:
    """Sizes at which the hull bends: what is on or below the chord of its neighbours is none, until nothing is."""
    at = np.arange(len(value_S))
    while True:
        slope_X = np.diff(value_S[at]) / np.diff(at)
        bent = slope_X[:-1] <= slope_X[1:]
        if not bent.any():
            return at
        at = at[np.concatenate([[True], ~bent, [True]])]


def _price(values: list[Floats], count_C: Ints, total: int) -> float:
    corners = [_corners(v) for v in values]  # where the best size is, whatever the price
    at_X: Floats = np.concatenate(corners).astype(float)
    value_X: Floats = np.concatenate([v[at] for v, at in zip(values, corners, strict=True)])
    first_C = np.cumsum([0, *map(len, corners[:-1])])

    def dual(price: float) -> float:
        return price * total + float(np.maximum.reduceat(value_X - price * at_X, first_C) @ count_C)

    steepest = max((float((v[1:] / np.arange(1, len(v))).max(initial=0.0)) for v in values), default=0.0)
    return minimise(dual, min(0.0, *(float(v.min()) for v in values)), 2.0 * steepest + 1e-9)
