# SPDX-License-Identifier: Apache-2.0
# V vertex   E pair of vertices   J group   S size of a set
"""Weight that must leave groups of given room, for any graph, and for sets that share the room of a group.

Degrees: a vertex keeps at most the weight of its heaviest s - 1 neighbours in a set of s, so sets of at most s hold no more
than half the sum of that over all vertices. Eigenvalues: the cut of a partition into sets of sizes m_1 >= m_2 >= ... is at
least half the sum of m_i times the i-th smallest eigenvalue of the Laplacian (Donath and Hoffman 1973, IBM J. Res. Dev. 17,
420); where sizes are free up to the rooms, filling the largest rooms first is the weakest case, as eigenvalues ascend.
Shared room: if disjoint parts of a set hold at most M_1(s_1), M_2(s_2), ... and s_1 + s_2 + ... = s, all of it holds at most
their max-plus convolution (Baccelli et al. 1992, Synchronization and Linearity), edges between two parts adding at most the
smaller of what the heaviest s_1 vertices of one side and the heaviest s_2 of the other have across.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from placement.solve._array import Floats, Ints
from placement.solve.exchange import Links
from placement.solve.layercake import best_sum, minimise

SPECTRAL = 768  # vertices up to which eigenvalues are worth their cubic time (0.2 s)
ROUNDING = 1e-9  # share of all weight that eigenvalues may be off by
LOOKS = 24  # prices that are looked at for each part


def by_degree(graph: Links, room: int) -> float:
    """Weight between sets of at most `room` vertices, at least."""
    size = len(graph.first_U) - 1
    row_X = np.repeat(np.arange(size), np.diff(graph.first_U))
    order = np.lexsort((-graph.weight_V, row_X))
    place_X = np.arange(len(order)) - graph.first_U[row_X[order]]
    lost_X = graph.weight_V[order][place_X >= max(room - 1, 0)]
    return float(lost_X.sum()) / 2 * (1 - 1e-12)


def eigenvalues(graph: Links) -> Floats:
    """Of the Laplacian, ascending; none where the graph is too large."""
    size = len(graph.first_U) - 1
    if not 1 < size <= SPECTRAL:
        return np.zeros(0)
    row_X = np.repeat(np.arange(size), np.diff(graph.first_U))
    laplacian = np.zeros((size, size))
    laplacian[row_X, graph.unit_V] = -graph.weight_V
    laplacian[np.arange(size), np.arange(size)] = np.bincount(row_X, weights=graph.weight_V, minlength=size)
    return np.asarray(np.maximum(np.linalg.eigvalsh(laplacian), 0.0))


def by_eigenvalues(value_V: Floats, room_J: Ints) -> float:
    """Weight between groups of these rooms, at least, every pair once. The trace of a Laplacian is twice all weight."""
    size = len(value_V)
    if not size or int(room_J.max(initial=0)) >= size:
        return 0.0
    room = np.sort(room_J[room_J > 0])[::-1][:size]
    filled = np.minimum(room, np.maximum(size - np.concatenate([[0], np.cumsum(room)[:-1]]), 0))
    return max(0.0, float(filled @ value_V[: len(filled)]) / 2 - ROUNDING * float(value_V.sum()) / 2)


def heaviest(weight_V: Floats, top: int) -> Floats:
    """Sum of the s heaviest, s = 0..top."""
    best = np.sort(weight_V)[::-1][:top]
    out = np.concatenate([[0.0], np.cumsum(best)])
    return np.concatenate([out, np.full(top + 1 - len(out), out[-1])])


def convolved(first_S: Floats, second_S: Floats, across: tuple[Floats, Floats], top: int) -> Floats:
    """The most over s_1 + s_2 = s of first(s_1) + second(s_2) + min(across_1(s_1), across_2(s_2)), for s = 0..top."""
    out_S = np.full(min(top, len(first_S) + len(second_S) - 2) + 1, -np.inf)
    for s in range(min(len(first_S), len(out_S))):
        end = min(len(second_S), len(out_S) - s)
        value = first_S[s] + second_S[:end] + np.minimum(across[0][s], across[1][:end])
        np.maximum(out_S[s : s + end], value, out=out_S[s : s + end])
    return out_S


def most_shared(
    profile_KS: Sequence[Floats], across_K: Sequence[tuple[Floats, Floats]], count_K: Sequence[int], room_J: Ints
) -> tuple[float, tuple[float, ...]]:
    """(the most that groups of these rooms hold of all parts together, prices that show it).

    `across_K[k]`: what part k + 1 has in common with all parts before it, as `heaviest` of those and of its own vertices.
    `count_K`: vertices of each part; all have a place. With any prices p_k >= 0 of the vertices of a part, the groups hold at
    most best_sum of the convolution of M_k(s) + p_k s, less all prices: the parts then use no more than they have.
    """
    total, top = sum(count_K), min(int(room_J.max()), sum(count_K))

    def most(price_K: Sequence[float]) -> float:
        paid = sum(p * n for p, n in zip(price_K, count_K, strict=True))
        return best_sum(shared(profile_KS, across_K, price_K, top), room_J, total) - paid

    best_K = tuple([0.0] * len(profile_KS))
    best = most(best_K)
    steepest = max(float(np.diff(p).max(initial=0.0)) for p in profile_KS)
    for k in range(1, len(profile_KS)):
        start_K = best_K
        price, value = _least(lambda x, k=k, start_K=start_K: most(_shifted(start_K, k, x)), steepest)  # type: ignore[misc]
        if value < best:
            best, best_K = value, _shifted(start_K, k, price)
    return best, best_K


def _shifted(price_K: Sequence[float], k: int, step: float) -> tuple[float, ...]:
    """Prices after that of part k moved against all others, none below 0."""
    moved = [p + step * (i == k) for i, p in enumerate(price_K)]
    return tuple(p - min(moved) for p in moved)


def shared(
    profile_KS: Sequence[Floats], across_K: Sequence[tuple[Floats, Floats]], price_K: Sequence[float], top: int
) -> Floats:
    """Most that a set of s = 0..top vertices holds of all parts, prices added."""
    priced = [p[: top + 1] + mu * np.arange(min(len(p), top + 1)) for p, mu in zip(profile_KS, price_K, strict=True)]
    out_S = priced[0]
    for part_S, across in zip(priced[1:], across_K, strict=True):
        out_S = convolved(out_S, part_S, across, top)
    return out_S


def _least(function: Callable[[float], float], steepest: float) -> tuple[float, float]:
    """(argument, value) of the least value met between -steepest and steepest."""
    seen: list[tuple[float, float]] = []

    def look(x: float) -> float:
        seen.append((function(x), x))
        return seen[-1][0]

    minimise(look, -steepest, steepest, steps=LOOKS)
    value, x = min(seen)
    return x, value
