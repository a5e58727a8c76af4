# SPDX-License-Identifier: Apache-2.0
# X, Y facility or place; A flow between facilities, B distance between places
"""Quadratic assignment of small size: robust tabu search (Taillard 1991, "Robust taboo search for the QAP").

Facility x goes to place p[x], cost = sum of A[x, y] * B[p[x], p[y]]. The value of every exchange is kept up to date, so an
iteration costs a few vector operations on n x n numbers. Steps are counted, never timed.
"""

from __future__ import annotations

import numpy as np

from placement.solve._array import Floats, Ints


def assignment_cost(flow_XY: Floats, far_XY: Floats, place_X: Ints) -> float:
    """Sum over ordered pairs of flow times distance."""
    return float((flow_XY * far_XY[np.ix_(place_X, place_X)]).sum())


def robust_tabu(flow_XY: Floats, far_XY: Floats, start_X: Ints, *, steps: int, seed: int = 0) -> tuple[float, Ints]:
    """The best assignment (cost, place of each facility) met in `steps` exchanges from `start_X`; never worse than the start.

    Any square matrices, symmetric or not. Facilities that are dummies (no flow) make rectangular problems square.

    >>> robust_tabu(np.array([[0.0, 5, 0], [5, 0, 1], [0, 1, 0]]), np.array([[0.0, 2, 9], [2, 0, 1], [9, 1, 0]]), np.arange(3),
    ...             steps=20)[0]
    14.0
    """
    n = len(start_X)
    place_X = np.array(start_X, np.int64)
    cost = best = assignment_cost(flow_XY, far_XY, place_X)
    best_X = place_X.copy()
    if n < 2:
        return best, best_X
    walk = _Walk(np.asarray(flow_XY, float), np.asarray(far_XY, float)[np.ix_(place_X, place_X)])
    free_XP = np.zeros((n, n))  # first step at which facility x may go back to place p
    rng, patience = np.random.default_rng(seed), 5 * n * n
    upper = np.triu(np.ones((n, n), bool), 1)
    for step in range(1, steps + 1):
        back_XY = free_XP[:, place_X]  # when x may take the place of y
        free_XY = (back_XY < step) | (step > back_XY.T)
        old_XY = (back_XY < step - patience) & (step - patience > back_XY.T)
        allowed = upper & (free_XY | old_XY | (cost + walk.gain_XY < best - 1e-9))
        wanted = allowed & old_XY if step > patience and (allowed & old_XY).any() else allowed
        if not wanted.any():
            continue
        x, y = divmod(int(np.argmin(np.where(wanted, walk.gain_XY, np.inf))), n)
        cost += float(walk.gain_XY[x, y])
        tenure = rng.integers(int(0.9 * n), int(1.1 * n) + 5, 2)
        free_XP[x, place_X[x]], free_XP[y, place_X[y]] = step + tenure
        place_X[[x, y]] = place_X[[y, x]]
        walk.exchange(x, y)
        if cost < best - 1e-9:
            best, best_X = cost, place_X.copy()
    return assignment_cost(flow_XY, far_XY, best_X), best_X


class _Walk:
    """Flow, distances in order of facilities, and what each exchange would add to the cost."""

    def __init__(self, flow_XY: Floats, far_XY: Floats) -> None:
        self.a, self.b = flow_XY, far_XY
        self.gain_XY = self._all()

    def _all(self) -> Floats:
        a, b = self.a, self.b
        column, row = a.T @ b, a @ b.T
        both = column + row
        own = np.diag(both)
        return both + both.T - own[:, None] - own[None, :] - self._twice()

    def _twice(self) -> Floats:
        """What the sums over all third facilities count of x and y themselves, less what these really exchange."""
        a, b, at, bt = self.a, self.b, self.a.T, self.b.T
        da, db = np.diag(a), np.diag(b)
        ax, ay, bx, by = da[:, None], da[None, :], db[:, None], db[None, :]
        third = (ax - a) * (b - bx) + (at - ay) * (by - bt) + (ax - at) * (bt - bx) + (a - ay) * (by - b)
        return np.asarray(third - (ax - ay) * (by - bx) - (a - at) * (bt - b))

    def exchange(self, x: int, y: int) -> None:
        """Facilities x and y change places; gains of other pairs change by a product of differences (Frieze et al. 1989)."""
        a, b = self.a, self.b
        out, out_b = a[x] - a[y], b[x] - b[y]
        into, into_b = a[:, x] - a[:, y], b[:, x] - b[:, y]
        self.gain_XY += (out[:, None] - out) * (out_b[:, None] - out_b) + (into[:, None] - into) * (into_b[:, None] - into_b)
        b[[x, y]] = b[[y, x]]
        b[:, [x, y]] = b[:, [y, x]]
        for z in (x, y):
            self.gain_XY[z] = self.gain_XY[:, z] = self._row(z)

    def _row(self, x: int) -> Floats:
        a, b = self.a, self.b
        both = a[:, x] @ b + a.T @ b[:, x] + a[x] @ b.T + a @ b[x]
        own = np.einsum("ky,ky->y", a, b) + np.einsum("yk,yk->y", a, b)
        da, db = np.diag(a), np.diag(b)
        third = (da[x] - a[x]) * (b[x] - db[x]) + (a[:, x] - da) * (db - b[:, x])
        third += (da[x] - a[:, x]) * (b[:, x] - db[x]) + (a[x] - da) * (db - b[x])
        return np.asarray(both - own - own[x] - third + (da[x] - da) * (db - db[x]) + (a[x] - a[:, x]) * (b[:, x] - b[x]))
