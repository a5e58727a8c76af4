# SPDX-License-Identifier: Apache-2.0
# P pipeline stage   J group of a tier   S size of a set of ranks
"""Lower bounds, tier by tier, on the bytes that leave the groups, for every placement whatsoever.

Every byte of a pair of ranks leaves a group unless both sit inside: leaving = W - sum_j inside(S_j), and inside(S) <= M(|S|)
with M from the layer-cake recursion. Groups nest, so what leaves a tier also leaves every tier inside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from placement.cost.crossings import boundaries
from placement.cost.traffic import tier_bytes
from placement.ir import Certificate, Cluster, Placement, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.solve.coupling import coupled_sum
from placement.solve.layercake import Crossing, arcs, best_sum, clique, merge, path, ring

LARGEST = 20_000  # ranks of a group up to which profiles are built
ROUNDING = 1e-13  # share of all bytes that sums of floating-point numbers may be off by


@dataclass(frozen=True)
class _Digits:
    """Marks 1 = m_0 | m_1 | ... | ranks of a stage: digit i of a rank of a stage is rank // m_i % (m_{i+1} / m_i).

    `terms` run along digits; `loose` ones do not, and are bounded by themselves.
    """

    marks: tuple[int, ...]
    terms: tuple[Term, ...]
    loose: tuple[Term, ...]

    @property
    def inside(self) -> list[tuple[Term, bool]]:
        """Terms within a stage, and whether each runs along digits."""
        return [(t, True) for t in self.terms if t.kind != "path"] + [(t, False) for t in self.loose]

    def home(self, strategy: Strategy, term: Term) -> int:
        """Smallest mark that holds whole communicators of a term."""
        return min(m for m in self.marks if m % (strategy.size(term.axis) * strategy.stride(term.axis)) == 0)


@dataclass(frozen=True)
class _Profile:
    """inside(S) <= inside_S[|S|] + prices; the prices of all ranks together are `paid`. `total`: bytes of all edges, `bound`:
    what this says about one tier alone.
    """

    inside_S: Floats
    paid: float
    total: float
    bound: float


def certify(cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic) -> Certificate:
    """Lower bounds for this strategy and traffic on this cluster's usable GPUs, beside the bytes of the placement."""
    by_axis = tier_bytes(cluster, strategy, placement, traffic)
    plan = {t.name: sum(axis[t.name] for axis in by_axis.values()) for t in cluster.tiers}
    lower, method, joint = lower_bytes(cluster, strategy, traffic)
    return Certificate(lower, plan, method, joint)


def lower_bytes(cluster: Cluster, strategy: Strategy, traffic: Traffic) -> tuple[dict[str, float], dict[str, str], float]:
    """Bound and method by tier (`layer-cake`, `outer tier`: that of the tier above, `none`), and of all tiers together."""
    found = [tier_profile(strategy, traffic, room_J) for room_J in _rooms(cluster)]
    lower: dict[str, float] = {}
    method: dict[str, str] = {}
    outer = 0.0
    for tier, profile in reversed(list(zip(cluster.tiers, found, strict=True))):
        bound = profile.bound if profile else 0.0
        lower[tier.name] = max(bound, outer)
        method[tier.name] = "layer-cake" if bound > outer else "outer tier" if outer > 0 else "none"
        outer = lower[tier.name]
    names = [t.name for t in cluster.tiers]
    return {n: lower[n] for n in names}, {n: method[n] for n in names}, _joint_bytes(cluster, strategy, found)


def tier_bound(strategy: Strategy, traffic: Traffic, room_J: Ints) -> float:
    """Bytes that leave groups of `room_J` usable GPUs, at least."""
    profile = tier_profile(strategy, traffic, room_J)
    return profile.bound if profile else 0.0


def tier_profile(strategy: Strategy, traffic: Traffic, room_J: Ints) -> _Profile | None:
    """The best profile over a few ways to write ranks in digits; None where it would say nothing or cost too much."""
    largest = int(room_J.max())
    if largest >= strategy.world_size or largest > LARGEST or not traffic.terms:
        return None
    found = [p for digits in _choices(strategy, traffic) for p in _profiles(strategy, traffic, digits, room_J)]
    return max(found, key=lambda p: p.bound)


def _rooms(cluster: Cluster) -> list[Ints]:
    """Usable GPUs of each group of each tier."""
    gpus_N = cluster.usable_NG.sum(axis=1)
    return [np.bincount(t.group_N, weights=gpus_N, minlength=t.num_groups).astype(np.int64) for t in cluster.tiers]


def _joint_bytes(cluster: Cluster, strategy: Strategy, found: Sequence[_Profile | None]) -> float:
    """Bytes that leave groups, all tiers together, at least: the sizes of groups have to suit all tiers at once."""
    known = [(t, p) for t, p in zip(cluster.tiers, found, strict=True) if p]
    if not known:
        return 0.0
    parents = []
    for (low, _), (high, _) in pairwise(known):
        parent_J = np.zeros(low.num_groups, np.int64)
        parent_J[low.group_N] = high.group_N
        parents.append(parent_J)
    gpus_N = cluster.usable_NG.sum(axis=1)
    first = known[0][0]
    room_J = np.bincount(first.group_N, weights=gpus_N, minlength=first.num_groups).astype(np.int64)
    inside = coupled_sum([p.inside_S for _, p in known], room_J, parents, strategy.world_size)
    total = sum(p.total for _, p in known)
    return max(0.0, total - sum(p.paid for _, p in known) - inside - ROUNDING * total)


def _profiles(strategy: Strategy, traffic: Traffic, digits: _Digits, room_J: Ints) -> list[_Profile]:
    """W - max sum_j M(|S_j|), stages of different weight brought to one profile by prices, for a few choices of prices.

    With any prices mu_p, inside(S) <= sum_p mu_p s_p + merge over stages of max_p (M_p(s) - mu_p s); the first sum is the same
    for all placements, since every rank sits in exactly one group.
    """
    top = min(int(room_J.max()), strategy.world_size)
    rows_PX, which_P = np.unique(_weights(strategy, digits), axis=0, return_inverse=True)
    profile_XS = [_stage_profile(strategy, digits, weights, top) for weights in rows_PX]
    across = _stage_crossing(strategy, traffic)
    total = _total_bytes(strategy, traffic, digits)
    found = []
    for pivot in _pivots(digits, top, len(profile_XS)):
        price_X = np.array([(p[pivot] - profile_XS[0][pivot]) / pivot for p in profile_XS])
        size_S = np.arange(len(profile_XS[0]))
        flat_S = np.max([p - mu * size_S for p, mu in zip(profile_XS, price_X, strict=True)], axis=0)
        inside_S = merge(flat_S, strategy.pp, across, top)
        paid = strategy.stage_ranks * float(price_X[which_P.reshape(-1)].sum())
        bound = total - paid - best_sum(inside_S, room_J, strategy.world_size) - ROUNDING * total
        found.append(_Profile(inside_S, paid, total, max(bound, 0.0)))
    return found


def _weights(strategy: Strategy, digits: _Digits) -> Floats:
    """Bytes per rank of the terms that stay in a stage, a row for each stage. (P, terms)"""
    rows = [t.bytes_P for t, _ in digits.inside]
    return np.array(rows).T if rows else np.zeros((strategy.pp, 0))


def _pivots(digits: _Digits, top: int, classes: int) -> list[int]:
    """Set sizes at which stages of different weight are priced alike: large multiples of the largest block price best."""
    if classes == 1:
        return [1]
    largest = min(top, digits.marks[-1])
    block = max(m for m in digits.marks if m <= largest)
    far = block * 2 ** ((largest // block).bit_length() - 1)
    return sorted({far, max(far // 2, block)})


def _stage_profile(strategy: Strategy, digits: _Digits, weights: Floats, top: int) -> Floats:
    """M(s) of ranks of one stage, bytes; 0 <= s <= min(top, ranks of a stage).

    Whole cliques of consecutive ranks, and the communicators of loose terms, are added to the block that holds them.
    """
    inside = [(t, along, float(w)) for (t, along), w in zip(digits.inside, weights, strict=True)]
    profile_S = np.zeros(2)
    for low, high in zip(digits.marks, digits.marks[1:], strict=False):
        found = [_crossing(strategy, t, w, low, high) for t, along, w in inside if along]
        profile_S = merge(profile_S, high // low, [x for x in found if x], top)
        for term, along, weight in inside:
            if digits.home(strategy, term) == high and (not along or _solid(strategy, term)):
                profile_S = profile_S + _apart(strategy, term, weight, len(profile_S) - 1)
    return profile_S


def _solid(strategy: Strategy, term: Term) -> bool:
    """A clique of consecutive ranks: what it holds inside depends on the size of the set alone."""
    return term.kind == "clique" and strategy.stride(term.axis) == 1


def _apart(strategy: Strategy, term: Term, weight: float, top: int) -> Floats:
    """Most weight of one term alone in sets of up to `top` ranks: whole communicators, then part of one (they are convex)."""
    n = strategy.size(term.axis)
    one_K = clique(n, 2 * weight / (n - 1)) if term.kind == "clique" else ring(n, weight)
    size_S = np.arange(top + 1)
    return np.asarray(size_S // n * one_K[n] + one_K[size_S % n])


def _crossing(strategy: Strategy, term: Term, weight: float, low: int, high: int) -> Crossing | None:
    """Edges of a term between the values of the digit [low, high).

    A ring runs along its first digit on every line; on later digits it has one link for each line, from the last member of one
    value to the first of the next. It closes on its last digit.
    """
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if weight == 0.0 or high <= stride or low >= n * stride:
        return None
    if term.kind == "clique":
        return None if _solid(strategy, term) else Crossing(clique(n, 2 * weight / (n - 1)), low)
    profile_K = ring(high // low, weight) if high == n * stride else path(high // low, weight)
    return Crossing(profile_K, stride)


def _stage_crossing(strategy: Strategy, traffic: Traffic) -> list[Crossing]:
    weight_P = _boundary_weights(strategy, traffic)
    return [Crossing(arcs(weight_P), strategy.stage_ranks)] if weight_P.any() else []


def _boundary_weights(strategy: Strategy, traffic: Traffic) -> Floats:
    """Bytes, both directions, between each stage and the next one (cyclic), evened out downwards. (P,)

    Sets would all count on the heaviest boundary, so the lightest stands for all; the way from last to first is kept apart.
    """
    weight_P = np.zeros(strategy.pp)
    for term in traffic.terms:
        if term.kind == "path":
            for a, _ in boundaries(strategy):
                weight_P[a] += 2 * float(term.bytes_P[a])
    weight_P[:-1] = weight_P[:-1].min(initial=np.inf)
    weight_P[-1] = weight_P.min()
    return weight_P


def _total_bytes(strategy: Strategy, traffic: Traffic, digits: _Digits) -> float:
    """Bytes of all edges that the profiles know: those of rings whose start is no mark are counted from the next mark on."""
    total = float(_boundary_weights(strategy, traffic).sum()) * strategy.stage_ranks
    for term, along in digits.inside:
        share = 1.0
        if term.kind == "ring" and along:
            share = strategy.stride(term.axis) / min(m for m in digits.marks if m % strategy.stride(term.axis) == 0)
        total += float(term.bytes_P.sum()) * strategy.stage_ranks * share
    return total


def _choices(strategy: Strategy, traffic: Traffic) -> list[_Digits]:
    """Ways to write ranks in digits that suit as many terms as possible; the others are bounded apart."""
    by_weight = sorted(traffic.terms, key=lambda t: -float(t.bytes_P.sum()))
    outward = sorted(traffic.terms, key=lambda t: -strategy.stride(t.axis) * strategy.size(t.axis))
    return list({d.marks: d for d in (_digits(strategy, order) for order in (by_weight, outward))}.values())


def _digits(strategy: Strategy, order: Sequence[Term]) -> _Digits:
    marks = {1, strategy.stage_ranks}
    solid: list[tuple[int, int]] = []
    for term in order:
        n, stride = strategy.size(term.axis), strategy.stride(term.axis)
        want = {stride, n * stride} if term.kind != "path" else set()
        if term.kind == "clique" and stride > 1 and any(stride < m < n * stride for m in marks):
            continue
        grown = marks | {w for w in want if all(w % m == 0 or m % w == 0 for m in marks)}
        if any(low < m < high for low, high in solid for m in grown):
            continue
        marks = grown
        if term.kind == "clique" and stride > 1 and want <= marks:
            solid.append((stride, n * stride))
    for term in order:
        marks |= _joint(strategy, term, marks)
    chain = tuple(sorted(marks))
    fits = [_fits(strategy, t, chain) for t in order]
    return _Digits(chain, *(tuple(t for t, ok in zip(order, fits, strict=True) if ok is want) for want in (True, False)))


def _joint(strategy: Strategy, term: Term, marks: set[int]) -> set[int]:
    """For a ring that starts between two marks: the smallest number of ranks at which its links nest with them."""
    stride = strategy.stride(term.axis)
    if term.kind != "ring" or stride in marks:
        return set()
    joint = [int(np.lcm(m, stride)) for m in marks]
    return set(sorted(j for j in joint if j in marks or all(j % m == 0 or m % j == 0 for m in marks))[:1])


def _fits(strategy: Strategy, term: Term, marks: tuple[int, ...]) -> bool:
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if term.kind == "path":
        return True
    if term.kind == "clique":
        return stride in marks and n * stride in marks and (stride == 1 or not any(stride < m < n * stride for m in marks))
    return n * stride in marks and any(m % stride == 0 for m in marks if m < n * stride)
