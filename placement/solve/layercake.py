# SPDX-License-Identifier: Apache-2.0
# X graph of the same shape and other weights   S size of a set of vertices   K number of slices
"""Most weight that a set of s vertices of a product-like graph can hold inside: profiles M(s), merged digit by digit.

Cut a set S along one digit of the vertices' numbers into slices of sizes s_0 >= s_1 >= ... . If the edges of one kind between
two slices weigh at most w_kl * phi(min(s_k, s_l)), with phi concave and phi(0) = 0 (phi(s) = s for a Cartesian product, min(L,
s) when only L lines cross), then

    sum_kl w_kl phi(min(s_k, s_l)) = integral of phi'(t) * int{k : s_k >= t} dt <= sum_k (m(k+1) - m(k)) * phi(s_k),

m being the profile of the digit's own graph, because the level sets {k : s_k >= t} are sets of digit values. So
M(s) <= max over partitions of s of sum_k [ M_inner(s_k) + sum over kinds of (m(k+1) - m(k)) * phi(s_k) ]: the layer-cake
recursion (the idea of Lindsey 1964 for products of cliques; exact whenever optimal slices nest).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from placement.solve._array import Floats, Ints

COUNTED_STEPS = 40_000  # vector operations up to which the number of slices is tracked exactly (about 0.1 s)


@dataclass(frozen=True)
class Crossing:
    """Edges of one kind along a digit. `profile_K[k]`: most weight inside k values of it, (K,) or (X, K) of several graphs;
    `lines`: how many run in parallel.
    """

    profile_K: Floats
    lines: int

    @property
    def gain_K(self) -> Floats:
        return np.asarray(self.profile_K[..., 1:] - self.profile_K[..., :-1], np.float64)

    def phi(self, size_S: Ints) -> Ints:
        return np.asarray(np.minimum(size_S, self.lines), np.int64)


def ring(size: int, weight: float | Floats) -> Floats:
    """Profile of a closed ring: k-1 edges, all of them when it is whole. Two members are joined by two edges.

    As `path` and `clique`: (K,), or (X, K) for weights (X,).
    """
    profile_K = path(size, weight)
    profile_K[..., size] = weight * np.float64(size) if size > 1 else 0.0
    return profile_K


def path(size: int, weight: float | Floats) -> Floats:
    return np.asarray(np.asarray(weight)[..., None] * np.maximum(np.arange(size + 1.0) - 1, 0))


def clique(size: int, weight: float | Floats) -> Floats:
    k = np.arange(size + 1.0)
    return np.asarray(np.asarray(weight)[..., None] * k * (k - 1) / 2)


def merge(inner_S: Floats, size: int, crossings: Sequence[Crossing], top: int) -> Floats:
    """Profile after one more digit of `size` values, for sets of up to `top`; `inner_S` is the profile of one slice.

    (S,), or (X, S) of several graphs at once, each by itself.
    """
    largest = inner_S.shape[-1] - 1
    top = min(top, largest * size)
    parts = np.arange(1, min(largest, top) + 1)
    if int(np.minimum(size, top // parts).sum()) <= COUNTED_STEPS:
        return _counted(inner_S, size, crossings, top)
    if inner_S.ndim > 1:
        each = [[Crossing(x.profile_K[i], x.lines) for x in crossings] for i in range(len(inner_S))]
        return np.array([merge(one_S, size, some, top) for one_S, some in zip(inner_S, each, strict=True)])
    return (_uncounted if all(_chain(x) for x in crossings) else _counted)(inner_S, size, crossings, top)


def best_sum(profile_S: Floats, room_J: Ints, total: int) -> float:
    """Upper bound on sum_j M(s_j), s_j <= room_j adding up to `total`: exact when small or full, else by Lagrange."""
    room_U, count_U = np.unique(np.minimum(room_J[room_J > 0], total), return_counts=True)
    if int(room_U @ count_U) == total:
        return float(profile_S[room_U] @ count_U)
    if len(room_J) * int(room_U.max()) <= 2_000:
        return _exact_sum(profile_S, np.repeat(room_U, count_U), total)
    return _dual_sum(profile_S, room_U, count_U, total)


def _chain(crossing: Crossing) -> bool:
    """Rings and paths: every slice after the first gains the same, only the last one may gain more."""
    gain_K = crossing.gain_K
    return len(gain_K) < 3 or bool(np.all(gain_K[1:-1] == gain_K[1]) and gain_K[0] == 0)


def _counted(inner_S: Floats, size: int, crossings: Sequence[Crossing], top: int) -> Floats:
    """Exact maximum over partitions into at most `size` parts, parts dealt from large to small."""
    slices = min(size, top)
    part_S = np.arange(inner_S.shape[-1])
    across = [x.gain_K[..., :slices, None] * x.phi(part_S) for x in crossings]
    gain_KS = np.broadcast_to(inner_S[..., None, :] + sum(across), (*inner_S.shape[:-1], slices, len(part_S)))
    best_KS = np.full((*inner_S.shape[:-1], slices + 1, top + 1), -np.inf)
    best_KS[..., 0, 0] = 0.0
    for part in range(min(len(part_S) - 1, top), 0, -1):
        for k in range(min(slices, top // part)):
            more = best_KS[..., k + 1, part:]
            np.maximum(more, best_KS[..., k, : top + 1 - part] + gain_KS[..., k, part, None], out=more)
    return np.asarray(best_KS.max(axis=-2))


def _uncounted(inner_S: Floats, size: int, crossings: Sequence[Crossing], top: int) -> Floats:
    """The same without counting parts (an upper bound), for rings and paths: the largest part gains nothing across.

    Sets that hold a whole ring have `size` parts of at least m vertices: bounded apart, by a base of m and the steepest growth.
    """
    part_S = np.arange(len(inner_S))
    each_S = inner_S + sum((float(x.gain_K[1]) * x.phi(part_S) for x in crossings), np.zeros(len(inner_S)))
    rest_S = np.full(top + 1, -np.inf)
    rest_S[0] = 0.0
    best_S = rest_S.copy()
    for part in range(1, min(len(inner_S) - 1, top) + 1):
        for start in range(part, top + 1, part):
            block = rest_S[start : start + part]
            np.maximum(block, rest_S[start - part : start - part + len(block)] + each_S[part], out=block)
        np.maximum(best_S[part:], rest_S[: top + 1 - part] + inner_S[part], out=best_S[part:])
    return np.asarray(np.maximum(best_S, _closed(each_S, size, crossings, top)))


def _closed(each_S: Floats, size: int, crossings: Sequence[Crossing], top: int) -> Floats:
    """Bound for sets with all `size` slices, the smallest of m vertices: m lines of each ring close."""
    best_S = np.full(top + 1, -np.inf)
    part_S = np.arange(len(each_S))
    across = [float(x.gain_K[1]) for x in crossings]
    closing = [float(x.gain_K[-1] - x.gain_K[1]) for x in crossings]
    for m in range(1, top // size + 1):
        if m >= len(each_S):
            break
        total_S = np.arange(m * size, top + 1)
        steepest = float(((each_S[m + 1 :] - each_S[m]) / (part_S[m + 1 :] - m)).max(initial=0.0))
        value_S = size * each_S[m] + (total_S - m * size) * steepest
        for x, w, bonus in zip(crossings, across, closing, strict=True):
            value_S = value_S - w * x.phi(-(-total_S // size)) + bonus * float(x.phi(np.array(m)))
        np.maximum(best_S[m * size :], value_S, out=best_S[m * size :])
    return best_S


def _exact_sum(profile_S: Floats, room_J: Ints, total: int) -> float:
    best_S = np.full(total + 1, -np.inf)
    best_S[0] = 0.0
    for room in room_J.tolist():
        grown_S = best_S.copy()
        for part in range(1, min(room, total) + 1):
            np.maximum(grown_S[part:], best_S[: total + 1 - part] + profile_S[part], out=grown_S[part:])
        best_S = grown_S
    return float(best_S[total])


def _dual_sum(profile_S: Floats, room_U: Ints, count_U: Ints, total: int) -> float:
    """Smallest over prices mu of mu * total + sum_j max_s (M(s) - mu s): convex, and every price gives a valid bound."""
    size_S = np.arange(int(room_U.max()) + 1)
    value_S = profile_S[: len(size_S)]

    def dual(price: float) -> float:
        return price * total + float(np.maximum.accumulate(value_S - price * size_S)[room_U] @ count_U)

    return minimise(dual, 0.0, 2.0 * float((value_S[1:] / size_S[1:]).max(initial=0.0)) + 1e-9)


def minimise(function: Callable[[float], float], low: float, high: float, steps: int = 60) -> float:
    """Smallest value met on the way to the minimum of a convex function, by golden section."""
    ratio = (5**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    value_a, value_b = function(a), function(b)
    best = min(function(low), value_a, value_b)
    for _ in range(steps):
        if value_a < value_b:
            high, b, value_b = b, a, value_a
            a = high - ratio * (high - low)
            value_a = function(a)
        else:
            low, a, value_a = a, b, value_b
            b = low + ratio * (high - low)
            value_b = function(b)
        best = min(best, value_a, value_b)
    return best
