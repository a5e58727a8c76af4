# SPDX-License-Identifier: Apache-2.0
# P pipeline stage   J group of a tier   S size of a set of ranks
"""Most bytes that sets of ranks can hold inside: profiles M(|S|) of a traffic by the layer-cake recursion.

Ranks are written in digits along which the axes run. Every byte of a pair of ranks leaves a group unless both sit inside, so
leaving = W - sum_j inside(S_j) >= W - sum_j M(|S_j|) for any placement.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from placement.cost.crossings import boundaries
from placement.ir import Term, Traffic, Witness
from placement.ir._array import Floats, Ints
from placement.passes.contract import Ranks
from placement.passes.digits import KINDS, Digits, ways
from placement.solve.layercake import Crossing, best_sum, clique, merge, path, ring
from placement.solve.parts import dearest, part_prices
from placement.solve.stages import most_inside, stage_prices
from placement.solve.tolls import arcs, chain_prices, even_prices

ROUNDING = 1e-13  # share of all bytes that sums of floating-point numbers may be off by
LARGEST = 8_000  # ranks of a group up to which profiles are built
LOOKS = 8  # sizes at which stages of different weight are priced alike, until the best is taken
SHARES = (0.75, 0.5, 0.25)  # first rates at which parts of units are priced, and
FINER = 4  # times that half a step up or down from the best is tried
STAGED, LOOKED = 20_000_000, 160_000_000  # additions of one look stage by stage, and of all: about a second
FEW = 32  # groups for each stage
TOLLED = 20_000  # ranks of a group times prices of stages that are looked at
PRICED = 20_000  # ranks of a group times classes of stages, of all looks together: about 0.3 s


@dataclass(frozen=True)
class Parts:
    """Parts of blocks of `unit` ranks are priced so that tails hold, a rank, `share` of what one of the largest part does."""

    unit: int
    share: float


@dataclass(frozen=True)
class Profile:
    """inside(S) <= inside_S[|S|] + prices; the prices of all ranks together are `paid`. `total`: bytes of all edges, `bound`:
    what this says about one tier alone. `digits`, `pivot`, `parts` and `toll_P`: how it was made.

    `toll_P`: prices of a rank of each stage where boundaries carry unequal bytes, as shares of the bytes of all of them;
    `price_P`: prices of a rank of each stage where sets are bounded stage by stage, as shares of `total`.
    """

    inside_S: Floats
    paid: float
    total: float
    bound: float
    digits: Digits
    pivot: int
    parts: Parts | None = None
    toll_P: Floats | None = None
    price_P: Floats | None = None

    @property
    def witness(self) -> Witness:
        parts, tolls = self.parts or Parts(0, 0.0), () if self.toll_P is None else tuple(self.toll_P.tolist())
        prices = () if self.price_P is None else tuple(self.price_P.tolist())
        return Witness(self.digits.marks, self.pivot, parts.unit, parts.share, tolls, prices)

    @property
    def kind(self) -> str:
        if self.price_P is not None:
            return "stage by stage"
        return "priced parts" if self.parts else "layer-cake"

    def times(self, weight: float) -> Profile:
        inside_S, bound = self.inside_S * weight, self.bound * weight
        return replace(self, inside_S=inside_S, paid=self.paid * weight, total=self.total * weight, bound=bound)


def best_profile(strategy: Ranks, traffic: Traffic, room_J: Ints, *, priced: bool = True) -> Profile | None:
    """The best profile over a few ways to write ranks in digits, and to price stages; None where it would say nothing.

    `room_J`: usable GPUs of each group of a tier. `priced`: also with prices on the parts of units (`solve/parts.py`); then
    nothing is known of sets of other sizes than groups have.
    """
    largest = int(room_J.max())
    if largest >= strategy.world_size or largest > LARGEST or not any(t.kind in KINDS for t in traffic.terms):
        return None
    makers = [_Maker(strategy, traffic, digits, room_J) for digits in ways(strategy, traffic)]
    first = [make(make.pivot) for make in makers]
    best = max(range(len(makers)), key=lambda i: first[i].bound)
    make, found = _best_tolls(makers[best], first[best])
    found = _best_staged(make, _best_pivot(make, found))
    return _best_parts(make, found) if priced else found


def profile(strategy: Ranks, traffic: Traffic, room_J: Ints, like: Profile) -> Profile:
    """The profile of other bytes for the same terms, made as another one was."""
    now = {(t.axis, t.kind): t for t in traffic.terms}
    terms, loose = (tuple(now[t.axis, t.kind] for t in part) for part in (like.digits.terms, like.digits.loose))
    make = _Maker(strategy, traffic, Digits(like.digits.marks, terms, loose), room_J, like.parts, like.toll_P)
    return make(like.pivot) if like.price_P is None else make.staged(like.price_P * make.total)


class _Maker:
    """Profiles of one way to write ranks, for any pivot: the size at which stages of different weight are priced alike.

    With any prices mu_p, inside(S) <= sum_p mu_p s_p + merge over stages of max_p (M_p(s) - mu_p s); the first sum is the same
    for all placements, since every rank sits in exactly one group.
    """

    def __init__(
        self, strategy: Ranks, traffic: Traffic, digits: Digits, room_J: Ints, parts: Parts | None = None,
        toll_P: Floats | None = None,
    ) -> None:  # fmt: skip
        self.strategy, self.traffic, self.digits, self.room_J, self.parts = strategy, traffic, digits, room_J, parts
        self.top = min(int(room_J.max()), strategy.world_size)
        rows_PX, which_P = np.unique(_weights(strategy, digits), axis=0, return_inverse=True)
        self.which_P = which_P.reshape(-1)
        self.count_X = np.bincount(self.which_P, minlength=len(rows_PX))
        self.profile_XS, self.owed_X = _stage_profiles(strategy, digits, rows_PX, self.top, parts)
        self.weight_P = boundary_weights(strategy, traffic)
        self.toll_P = _even_tolls(self.weight_P) if toll_P is None else toll_P
        self.across = _stage_crossing(strategy, self.weight_P, self.toll_P)
        self.total = _total_bytes(strategy, traffic, digits)
        largest = self.profile_XS.shape[1] - 1
        self.block = max(m for m in digits.marks if m <= largest)
        self.pivot = self.block * 2 ** ((largest // self.block).bit_length() - 1) if len(rows_PX) > 1 else 1

    def __call__(self, pivot: int) -> Profile:
        strategy, size_S = self.strategy, np.arange(self.profile_XS.shape[1])
        price_X = (self.profile_XS[:, pivot] - self.profile_XS[0, pivot]) / pivot
        flat_S = (self.profile_XS - price_X[:, None] * size_S).max(axis=0)
        inside_S = merge(flat_S, strategy.pp, self.across, self.top)
        tolls = 0.0 if self.toll_P is None else float(self.toll_P.sum() * self.weight_P.sum())
        paid = strategy.stage_ranks * (float(price_X @ self.count_X) + tolls) + float(self.owed_X @ self.count_X)
        bound = self.total - paid - best_sum(inside_S, self.room_J, strategy.world_size) - ROUNDING * self.total
        return Profile(inside_S, paid, self.total, max(bound, 0.0), self.digits, pivot, self.parts, self.toll_P)

    def priced(self, parts: Parts) -> _Maker:
        return _Maker(self.strategy, self.traffic, self.digits, self.room_J, parts, self.toll_P)

    def tolled(self, toll_P: Floats) -> _Maker:
        """The same at other prices of stages."""
        made = copy(self)
        made.toll_P, made.across = toll_P, _stage_crossing(self.strategy, self.weight_P, toll_P)
        return made

    @property
    def work(self) -> int:
        """Additions that `staged` takes."""
        return int(self.strategy.pp * self.profile_XS.shape[1] ** 2 * self.top)

    def stages(self) -> tuple[Floats, Floats]:
        """What sets hold in every stage, (P, S), and a line of each boundary. What closes a ring counts as if it were inside,
        half of it at either end.
        """
        held_PS = self.profile_XS[self.which_P]
        held_PS[[0, -1]] += self.weight_P[-1] / 2.0 * np.arange(held_PS.shape[1])
        return held_PS, self.weight_P[:-1]

    def staged(self, price_P: Floats) -> Profile:
        """Sets stage by stage (`solve/stages.py`) at prices of a rank of each stage."""
        held_PS, weight_P = self.stages()
        inside_S = most_inside(held_PS - price_P[:, None] * np.arange(held_PS.shape[1]), weight_P, self.top)
        paid, world = self.strategy.stage_ranks * float(price_P.sum()), self.strategy.world_size
        bound = self.total - paid - best_sum(inside_S, self.room_J, world) - ROUNDING * self.total
        share_P = price_P / (self.total or 1.0)
        return Profile(inside_S, paid, self.total, max(bound, 0.0), self.digits, self.pivot, None, self.toll_P, share_P)

    def units(self) -> list[int]:
        """Blocks in which all exchange with all, that do not divide every group, and of which groups hold more than half."""
        blocks = {self.strategy.size(t.axis) * self.strategy.stride(t.axis) for t in self.digits.terms if t.kind == "clique"}
        return sorted((u for u in blocks if u < 2 * self.top and (self.room_J % u).any()), reverse=True)


def _best_tolls(make: _Maker, first: Profile) -> tuple[_Maker, Profile]:
    """With the best of a few prices of stages, each the best for groups that hold so many whole ones, if boundaries differ."""
    best = make, first
    for size in tolled_sizes(make.strategy.pp, make.top) if make.toll_P is not None else ():
        other = make.tolled(chain_prices(make.weight_P, size) / float(make.weight_P.sum()))
        best = max(best, (other, other(make.pivot)), key=lambda b: b[1].bound)
    return best


def tolled_sizes(pp: int, top: int) -> list[int]:
    """Numbers of stages that a group might hold, for whose packing stages are priced: 1, 2, 3, 4, 6, 8, 12, ..., fewer where
    groups are large.
    """
    sizes = sorted({k for i in range(10) for k in (1 << i, 3 << i) if k < pp})
    return sizes[:: max(-(-len(sizes) * top // TOLLED), 1)]


def _best_staged(make: _Maker, found: Profile) -> Profile:
    """Stage by stage where stages differ or groups are few, and these are not too large for that, if it says more.

    Many groups for each of equal stages: those that hold parts of two are few, and layer-cakes are as sharp.
    """
    uneven = len(make.profile_XS) > 1 or make.toll_P is not None
    if not uneven and int((make.room_J > 0).sum()) > FEW * make.strategy.pp:
        return found
    if make.strategy.pp == 1 or make.work > STAGED:
        return found
    held_PS, weight_P = make.stages()
    looks = int(np.clip(LOOKED // make.work, 8, 100))
    start_P = held_PS[:, found.pivot] / found.pivot
    price_P = stage_prices(held_PS, weight_P, make.strategy.stage_ranks, make.room_J, start_P, looks)
    return max(found, make.staged(price_P), key=lambda p: p.bound)


def _even_tolls(weight_P: Floats) -> Floats | None:
    """Prices at which all boundaries count as the lightest, None where they are alike."""
    toll_P = even_prices(weight_P)
    return toll_P / float(weight_P.sum()) if toll_P.any() else None


def _best_pivot(make: _Maker, first: Profile) -> Profile:
    """From a first pivot towards better ones by steps that halve, a counted number of looks."""
    if len(make.profile_XS) == 1:
        return first
    seen, step = {first.pivot: first}, make.pivot
    while len(seen) < LOOKS and step >= make.block:
        at = max(seen, key=lambda p: (seen[p].bound, -p))
        for pivot in (at - step // 2, at + step // 2):
            if 0 < pivot < make.profile_XS.shape[1] and pivot not in seen:
                seen[pivot] = make(pivot)
        step //= 2
    return max(seen.values(), key=lambda p: (p.bound, -p.pivot))


def _best_parts(make: _Maker, plain: Profile) -> Profile:
    """With prices on parts of the best unit, at the best rate of a counted number of looks; as it was if none is better."""
    left, best = PRICED // (make.top * len(make.profile_XS)), plain

    def look(looks: Sequence[Parts]) -> None:
        nonlocal left, best
        for parts in looks[:left]:
            best = max(best, make.priced(parts)(plain.pivot), key=lambda p: p.bound)
        left = max(left - len(looks), 0)

    look([Parts(unit, share) for unit in make.units() for share in SHARES])
    for step in (2.0 ** -(i + 3) for i in range(FINER)):
        if best.parts is not None:
            look([replace(best.parts, share=best.parts.share + sign * step) for sign in (-1, 1)])
    return best


def _weights(strategy: Ranks, digits: Digits) -> Floats:
    """Bytes per rank of the terms that stay in a stage, a row for each stage. (P, terms)"""
    rows = [t.bytes_P for t, _ in digits.inside]
    return np.array(rows).T if rows else np.zeros((strategy.pp, 0))


def _stage_profiles(
    strategy: Ranks, digits: Digits, weights: Floats, top: int, parts: Parts | None
) -> tuple[Floats, Floats]:  # fmt: skip
    """M(s) of ranks of one stage, bytes, 0 <= s <= min(top, ranks of a stage), less prices of parts, (X, S); and the most that
    units pay, (X,). `weights`: bytes of its terms, a row for each kind of stage (X, terms).

    Whole cliques of consecutive ranks, and the communicators of loose terms, are added to the block that holds them.
    """
    inside = [(t, along, w) for (t, along), w in zip(digits.inside, weights.T, strict=True)]
    profile_XS, owed_X = np.zeros((len(weights), 2)), np.zeros(len(weights))
    for low, high in zip(digits.marks, digits.marks[1:], strict=False):
        found = [_crossing(strategy, t, w, low, high) for t, along, w in inside if along]
        profile_XS = merge(profile_XS, high // low, [x for x in found if x], top)
        for term, along, weight in inside:
            if digits.home(strategy, term) == high and (not along or _solid(strategy, term)):
                profile_XS = profile_XS + _apart(strategy, term, weight, profile_XS.shape[1] - 1)
        if parts is not None and parts.unit == high:
            rate_X = parts.share * profile_XS[:, -1] / (profile_XS.shape[1] - 1)
            price_XS = np.array([part_prices(p, high, rate) for p, rate in zip(profile_XS, rate_X.tolist(), strict=True)])
            owed_X = strategy.stage_ranks // high * np.array([dearest(price_S, high) for price_S in price_XS])
            profile_XS = profile_XS - price_XS
    return profile_XS, owed_X


def _solid(strategy: Ranks, term: Term) -> bool:
    """A clique of consecutive ranks: what it holds inside depends on the size of the set alone."""
    return term.kind == "clique" and strategy.stride(term.axis) == 1


def _apart(strategy: Ranks, term: Term, weight: Floats, top: int) -> Floats:
    """Most weight of one term alone in sets of up to `top` ranks: whole communicators, then part of one (they are convex).

    (X, S) for weights (X,).
    """
    n = strategy.size(term.axis)
    one_K = clique(n, 2 * weight / (n - 1)) if term.kind == "clique" else ring(n, weight)
    size_S = np.arange(top + 1)
    return np.asarray(size_S // n * one_K[..., n, None] + one_K[..., size_S % n])


def _crossing(strategy: Ranks, term: Term, weight: Floats, low: int, high: int) -> Crossing | None:
    """Edges of a term between the values of the digit [low, high).

    A ring runs along its first digit on every line; on later digits it has one link for each line, from the last member of one
    value to the first of the next. It closes on its last digit.
    """
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if not weight.any() or high <= stride or low >= n * stride:
        return None
    if term.kind == "clique":
        return None if _solid(strategy, term) else Crossing(clique(n, 2 * weight / (n - 1)), low)
    profile_K = ring(high // low, weight) if high == n * stride else path(high // low, weight)
    return Crossing(profile_K, stride)


def _stage_crossing(strategy: Ranks, weight_P: Floats, toll_P: Floats | None) -> list[Crossing]:
    """Edges between stages less the prices of these."""
    price_P = None if toll_P is None else toll_P * float(weight_P.sum())
    return [Crossing(arcs(weight_P, price_P), strategy.stage_ranks)] if weight_P.any() else []


def boundary_weights(strategy: Ranks, traffic: Traffic) -> Floats:
    """Bytes, both directions, between each stage and the next one (cyclic). (P,)"""
    weight_P = np.zeros(strategy.pp)
    for term in traffic.terms:
        if term.kind == "path":
            for a, _ in boundaries(strategy):
                weight_P[a] += 2 * float(term.bytes_P[a])
    return weight_P


def _total_bytes(strategy: Ranks, traffic: Traffic, digits: Digits) -> float:
    """Bytes of all edges that the profiles know: those of rings whose start is no mark are counted from the next mark on."""
    total = float(boundary_weights(strategy, traffic).sum()) * strategy.stage_ranks
    for term, along in digits.inside:
        share = 1.0
        if term.kind == "ring" and along:
            share = strategy.stride(term.axis) / min(m for m in digits.marks if m % strategy.stride(term.axis) == 0)
        total += float(term.bytes_P.sum()) * strategy.stage_ranks * share
    return total
