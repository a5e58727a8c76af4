# SPDX-License-Identifier: Apache-2.0
# P part   I, J item positions   G group   U unit count
"""Cutting a chain of items into consecutive parts. Knows costs and parts, nothing of what they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def min_max_chain(cost_PIJ: Floats) -> tuple[float, Ints] | None:
    """Cut items 0..n-1 into P non-empty consecutive parts so that the largest cost is least; exact.

    `cost_PIJ[p, i, j]` is the cost of items i..j-1 as part p, shape (P, n + 1, n + 1), infinite where part p cannot hold them
    (capacity), and where i >= j. Returns the largest cost and the P + 1 cuts, or None where no cut works; the earliest of ties.
    Dynamic programming over parts, one vector operation each: O(P n^2).

    >>> length = np.array([[float(j - i) if j > i else np.inf for j in range(5)] for i in range(5)])
    >>> min_max_chain(np.stack([length, 3 * length]))
    (3.0, array([0, 3, 4]))
    """
    parts, ends = cost_PIJ.shape[0], cost_PIJ.shape[1]
    best_J = np.where(np.arange(ends) == 0, -np.inf, np.inf)
    choice_PJ = np.zeros((parts, ends), dtype=np.int64)
    for p in range(parts):
        reach_IJ = np.maximum(best_J[:, None], cost_PIJ[p])
        choice_PJ[p] = reach_IJ.argmin(axis=0)
        best_J = reach_IJ.min(axis=0)
    return (float(best_J[-1]), _cuts(choice_PJ)) if best_J[-1] < np.inf else None


def min_sum_chain(cost_PIJ: Floats, limit: float, weight_PIJ: Floats) -> Ints:
    """Among the cuts whose largest cost is at most `limit`, one of least total weight. There must be such a cut."""
    parts, ends = cost_PIJ.shape[0], cost_PIJ.shape[1]
    best_J = np.where(np.arange(ends) == 0, 0.0, np.inf)
    choice_PJ = np.zeros((parts, ends), dtype=np.int64)
    for p in range(parts):
        step_IJ = np.where(cost_PIJ[p] <= limit, weight_PIJ[p], np.inf)
        reach_IJ = best_J[:, None] + step_IJ
        choice_PJ[p] = reach_IJ.argmin(axis=0)
        best_J = reach_IJ.min(axis=0)
    assert best_J[-1] < np.inf, "the limit was attained before"
    return _cuts(choice_PJ)


def _cuts(choice_PJ: Ints) -> Ints:
    parts, ends = choice_PJ.shape
    cuts = np.full(parts + 1, ends - 1)
    for p in range(parts, 0, -1):
        cuts[p - 1] = choice_PJ[p - 1, cuts[p]]
    return cuts


def share_units(load_GU: Floats, total: int, first_G: Ints) -> Ints | None:
    """Share `total` equal units over groups so that the largest load is least, then the second largest, and so on; exact.

    `load_GU[g, u]` is the load of group g with u units, ascending in u, infinite past its capacity. Among equal loads, groups
    with smaller `first_G` get their unit first. Returns units by group, or None where `total` do not fit. The units that give
    the smallest loads form a prefix in each group, since loads ascend.

    >>> share_units(np.array([[0.0, 2, 4, 6], [3.0, 4, 5, np.inf]]), 3, np.array([0, 1])).tolist()
    [2, 1]
    """
    if not np.isfinite(load_GU[:, 0]).all():
        return None
    after = np.maximum.accumulate(load_GU[:, 1:], axis=1)
    scale = np.max(after[np.isfinite(after)], initial=1e-300)
    step = np.round(after / scale, 9).ravel()  # equal but for rounding
    groups, units = after.shape
    group = np.repeat(np.arange(groups), units)
    order = np.lexsort((np.tile(np.arange(units), groups), first_G[group], step))[:total]
    if len(order) < total or not np.isfinite(step[order]).all():
        return None
    return np.asarray(np.bincount(group[order], minlength=groups))
