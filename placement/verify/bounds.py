# SPDX-License-Identifier: Apache-2.0
# P stage   S size of a set of ranks   K number of slices   J group   T tier
"""Lower bounds derived a second time, from what plan.json says of how they were made. What it says is a hint, not a fact:

any marks that divide one another, any size at which stages are priced alike, any price of parts of blocks, any bytes moved from
a tier to the next one out give a bound that holds, or none at all. The recursion is that of docs/bound.md, in one slow form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.verify.case import Array, Case
from placement.verify.links import shape, stage_pairs

FEW = 2_000  # places of a tier up to which every sharing is tried
SLOW = 400_000  # vector operations of one recursion; beyond that nothing is derived
Link = tuple[Array, int]  # what each further slice gains, a line of it; lines that run in parallel


@dataclass(frozen=True)
class Hint:
    """What plan.json says of how a profile was made; `unit` 0: no prices on parts. `tolls` of stages, none: nothing;
    `prices` of a rank of each stage, none: stages stand for one another.
    """

    marks: tuple[int, ...]
    price_at: int
    unit: int
    share: float
    tolls: tuple[float, ...] = ()
    prices: tuple[float, ...] = ()


@dataclass(frozen=True)
class Held:
    """Sets of s ranks hold at most `inside_S[s]` plus prices, which all ranks together pay; `total` bytes of all edges."""

    inside_S: Array
    paid: float
    total: float

    @property
    def base(self) -> float:
        return self.total * (1.0 - 1e-12) - self.paid


def rooms(case: Case) -> list[Array]:
    """Usable GPUs of the groups of every tier."""
    usable_N = case.cluster.usable_NG.sum(axis=1)
    return [np.bincount(t.group_N, usable_N, t.num_groups).astype(np.int64) for t in case.cluster.tiers]


def hint_of(told: Mapping[str, Any]) -> Hint:
    marks, tolls, prices = (tuple(told.get(key, ())) for key in ("marks", "tolls", "prices"))
    parts = int(told.get("unit", 0)), float(told.get("share", 0.0))
    return Hint(tuple(map(int, marks)), int(told["price_at"]), *parts, tuple(map(float, tolls)), tuple(map(float, prices)))


def held(case: Case, sent: Mapping[str, Sequence[float]], top: int, hint: Hint) -> Held | None:
    """What sets of up to `top` ranks can hold of these bytes; None if the hints are of no use."""
    d, marks, price_at = case.degrees, hint.marks, hint.price_at
    if marks[0] != 1 or marks[-1] != d.stage_ranks or any(b % a or b <= a for a, b in itertools.pairwise(marks)):
        return None
    if any(told and (len(told) != d.pp or not all(map(math.isfinite, told))) for told in (hint.tolls, hint.prices)):
        return None
    if hint.unit and (hint.unit not in marks[1:] or hint.unit // 2 > top or not hint.share < math.inf):
        return None
    total, owed, of_stage = 0.0, 0.0, []
    for p in range(d.pp):
        inside_S, known, more = _stage(case, {a: b[p] for a, b in sent.items() if a != "pp"}, min(top, d.stage_ranks), hint)
        if inside_S is None:
            return None
        of_stage.append(inside_S)
        total += known * d.stage_ranks
        owed += more
    if not 0 < price_at < len(of_stage[0]):
        return None
    edge_P = _edges(case, sent.get("pp", [0.0] * d.pp))
    if hint.prices:
        return _staged(case, of_stage, edge_P, total + math.fsum(edge_P) * d.stage_ranks, top, hint)
    size_S = np.arange(len(of_stage[0]))
    price_P = [float(m[price_at] - of_stage[0][price_at]) / price_at for m in of_stage]
    flat_S = np.max([m - mu * size_S for m, mu in zip(of_stage, price_P, strict=True)], axis=0)
    tolls = [toll * math.fsum(edge_P) for toll in hint.tolls or [0.0] * d.pp]
    inside_S = _slices(flat_S, d.pp, [(np.diff(_around(edge_P, tolls)), d.stage_ranks)], min(top, d.world))
    if inside_S is None:
        return None
    return Held(
        inside_S, d.stage_ranks * (math.fsum(price_P) + math.fsum(tolls)) + owed, total + math.fsum(edge_P) * d.stage_ranks
    )


def _staged(
    case: Case, of_stage: list[Array], edge_P: Sequence[float], total: float, top: int, hint: Hint
) -> Held | None:  # fmt: skip
    """Sets stage by stage: the best of every way to spread s ranks over the stages, whose prices all ranks pay.

    Lines that close the ring count as if they were inside, half to either end.
    """
    d, most = case.degrees, min(len(of_stage[0]) - 1, top)
    if hint.unit or d.pp * (most + 1) ** 2 > SLOW:
        return None
    price_P = [share * total for share in hint.prices]
    best: dict[int, Array] = {}
    for p, inside_S in enumerate(of_stage):
        closing = edge_P[-1] / 2.0 * ((p == 0) + (p == d.pp - 1))
        grown: dict[int, Array] = {}
        for here in range(most + 1):
            own = float(inside_S[here]) + (closing - price_P[p]) * here
            reached = np.full(top + 1, -np.inf)
            if p == 0:
                reached[here] = own
            for before, had in best.items():
                value = had[: top + 1 - here] + (own + edge_P[p - 1] * min(before, here))
                np.maximum(reached[here:], value, out=reached[here:])
            grown[here] = reached
        best = grown
    return Held(np.max(list(best.values()), axis=0), d.stage_ranks * math.fsum(price_P), total)


def alone(part: Held, room_J: Array, world: int) -> float:
    """Bytes that leave the groups of one tier, at least: every sharing of the ranks where there are few, else prices."""
    if len(room_J) * int(room_J.max()) > FEW:
        return least([part], [room_J], [], world)
    best = np.full(world + 1, -np.inf)
    best[0] = 0.0
    for room in room_J.tolist():
        last = best.copy()
        for size in range(1, min(room, world) + 1):
            best[size:] = np.maximum(best[size:], last[: world + 1 - size] + part.inside_S[size])
    return max(0.0, part.base - float(best[world]))


def least(parts: Sequence[Held], rooms_T: Sequence[Array], parents: Sequence[Array], world: int) -> float:
    """Bytes that leave groups of these nested tiers together, at least; groups of all tiers have the same sizes."""
    values = [parts[0].inside_S[: room + 1] for room in sorted(set(rooms_T[0].tolist()))]
    kind_J = np.searchsorted(sorted(set(rooms_T[0].tolist())), rooms_T[0])
    for part, parent_J in zip(parts[1:], parents, strict=True):
        recipes: dict[tuple[tuple[int, int], ...], int] = {}
        members: dict[int, dict[int, int]] = {}
        for kind, parent in zip(kind_J.tolist(), parent_J.tolist(), strict=True):
            inner = members.setdefault(parent, {})
            inner[kind] = inner.get(kind, 0) + 1
        keys = [tuple(sorted(members[j].items())) for j in sorted(members)]
        kind_J = np.array([recipes.setdefault(k, len(recipes)) for k in keys])
        values = [_together([(values[kind], count) for kind, count in key], part.inside_S) for key in recipes]
    count_K = np.bincount(kind_J, minlength=len(values))
    slope = max(float((v[1:] / np.arange(1, len(v))).max(initial=0.0)) for v in values)
    most = _lowest(
        lambda mu: (
            mu * world + sum(int(n) * float((v - mu * np.arange(len(v))).max()) for v, n in zip(values, count_K, strict=True))
        ),
        slope,
    )
    return max(0.0, math.fsum(p.base for p in parts) - most)


def _together(children: Sequence[tuple[Array, int]], own_S: Array) -> Array:
    """What a group holds with its children at their best, by slopes of concave covers: never too little."""
    slopes = np.concatenate([np.repeat(_slopes(v), n) for v, n in children])
    sums = np.concatenate([[0.0], np.cumsum(np.sort(slopes)[::-1])])[: len(own_S)]
    return np.asarray(sums + own_S[: len(sums)])


def _slopes(value_S: Array) -> Array:
    """Slope of the least concave function above the values, from each size to the next."""
    out: list[tuple[float, int]] = []
    for step in np.diff(value_S).tolist():
        run, width = step, 1
        while out and out[-1][0] <= run:
            last, wide = out.pop()
            run, width = (run * width + last * wide) / (width + wide), width + wide
        out.append((run, width))
    return np.repeat([s for s, _ in out], [w for _, w in out])


def _lowest(dual: Any, slope: float) -> float:
    """Least value of a convex function that is looked at: every look is a valid bound."""
    low, high = -abs(slope) * 2.0 - 1e-9, abs(slope) * 2.0 + 1e-9
    best = float(dual(0.0))
    for _ in range(70):
        a, b = low + (high - low) / 3.0, high - (high - low) / 3.0
        va, vb = float(dual(a)), float(dual(b))
        best = min(best, va, vb)
        low, high = (low, b) if va < vb else (a, high)
    return best


def _stage(case: Case, sent: Mapping[str, float], top: int, hint: Hint) -> tuple[Array | None, float, float]:
    """(inside_S, bytes a rank that are known, what parts of blocks pay at most) of one stage: digit by digit, inside out."""
    inside_S: Array | None = np.zeros(2)
    marks, owed = hint.marks, 0.0
    known = math.fsum(b * _share(case, axis, marks) for axis, b in sent.items())
    for low, high in itertools.pairwise(marks):
        found = [_link(case, axis, b, low, high) for axis, b in sent.items() if _runs(case, axis, marks)]
        inside_S = _slices(inside_S, high // low, [x for x in found if x], top)
        if inside_S is None:
            return None, 0.0, 0.0
        for axis, b in sent.items():
            n, step = shape(case.degrees, axis)
            home = min(m for m in marks if m % (n * step) == 0)
            if home == high and (not _runs(case, axis, marks) or (axis == "ep" and step == 1)):
                inside_S = inside_S + _by_itself(axis, n, b, len(inside_S))
        if high == hint.unit:
            price_S = _tails_free(inside_S, high, hint.share * float(inside_S[-1]) / (len(inside_S) - 1))
            inside_S, owed = inside_S - price_S, case.degrees.stage_ranks // high * _dearest(price_S, high)
    return inside_S, known, owed


def _tails_free(held_S: Array, unit: int, rate: float) -> Array:
    """Prices of parts of a block: those of at most half of it are paid up to `rate` a rank, by the part that lacks them."""
    lack = [max(rate * t - float(held_S[t]), 0.0) for t in range(unit // 2 + 1)]
    return np.array([-lack[x] if x < len(lack) else lack[unit - x] for x in range(len(held_S))])


def _dearest(price_S: Array, unit: int) -> float:
    """The most that the parts of one block pay together, however it is cut."""
    best = np.append(0.0, np.full(unit, -np.inf))
    for size in range(1, unit + 1):
        part = np.arange(1, min(size, len(price_S) - 1) + 1)
        best[size] = (best[size - part] + price_S[part]).max()
    return float(best[unit])


def _runs(case: Case, axis: str, marks: Sequence[int]) -> bool:
    """Does the axis run along digits?"""
    n, step = shape(case.degrees, axis)
    if axis == "ep":
        return step in marks and n * step in marks and (step == 1 or not any(step < m < n * step for m in marks))
    return n * step in marks and any(m % step == 0 for m in marks if m < n * step)


def _share(case: Case, axis: str, marks: Sequence[int]) -> float:
    """Of a ring that starts between marks only the links from the next mark on are counted."""
    _, step = shape(case.degrees, axis)
    if axis == "ep" or not _runs(case, axis, marks):
        return 1.0
    return step / min(m for m in marks if m % step == 0)


def _link(case: Case, axis: str, sent: float, low: int, high: int) -> Link | None:
    n, step = shape(case.degrees, axis)
    if sent == 0.0 or high <= step or low >= n * step or (axis == "ep" and step == 1):
        return None
    if axis == "ep":
        return 2.0 * sent / (n - 1) * np.arange(n), low
    gain = np.full(high // low, sent)
    gain[0] = 0.0
    if high == n * step:
        gain[-1] += sent
    return gain, step


def _by_itself(axis: str, n: int, sent: float, sizes: int) -> Array:
    """Whole communicators, then part of one."""
    k = np.arange(n + 1.0)
    one = sent / (n - 1) * k * (k - 1) if axis == "ep" else sent * np.where(k == n, n, np.maximum(k - 1, 0))
    s = np.arange(sizes)
    return np.asarray(s // n * one[n] + one[s % n])


def _edges(case: Case, sent_P: Sequence[float]) -> list[float]:
    """Bytes between each stage and the next, both ways; those from the last to the first at the end."""
    out = [0.0] * case.degrees.pp
    for a, _ in dict.fromkeys(stage_pairs(case)):
        out[a] += 2.0 * sent_P[a]
    return out


def _around(edge_P: Sequence[float], toll_P: Sequence[float]) -> Array:
    """Most that k stages of a closed chain hold, less their tolls: stage by stage, the last one in or out, the first too."""
    best = [-math.inf] * (len(edge_P) + 1)
    for first in (0, 1):
        value = {(first, first): -toll_P[0] if first else 0.0}  # (stages so far, is the last one among them)
        for p in range(1, len(edge_P)):
            grown: dict[tuple[int, int], float] = {}
            for (k, last), had in value.items():
                for now in (0, 1):
                    more = had + now * (last * edge_P[p - 1] - toll_P[p])
                    grown[k + now, now] = max(grown.get((k + now, now), -math.inf), more)
            value = grown
        for (k, last), had in value.items():
            best[k] = max(best[k], had + (edge_P[-1] if first and last and len(edge_P) > 1 else 0.0))
    return np.array(best)


def _slices(inner_S: Array | None, count: int, links: Sequence[Link], top: int) -> Array | None:
    """Sets cut into up to `count` slices, larger ones first: each holds what it can, and gains its links to those before it."""
    assert inner_S is not None
    largest, top = len(inner_S) - 1, min(top, (len(inner_S) - 1) * count)
    if sum(min(count, top // part) for part in range(1, min(largest, top) + 1)) > SLOW:
        return None
    deep = min(count, top)
    best = np.full((deep + 1, top + 1), -np.inf)
    best[0, 0] = 0.0
    for part in range(min(largest, top), 0, -1):
        own = float(inner_S[part])
        for k in range(min(deep, top // part)):
            value = own + sum(float(gain[k]) * min(part, lines) for gain, lines in links)
            np.maximum(best[k + 1, part:], best[k, : top + 1 - part] + value, out=best[k + 1, part:])
    return np.asarray(best.max(axis=0))
