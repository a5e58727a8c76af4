# SPDX-License-Identifier: Apache-2.0
# R rank   K tower   J group of a tier   S size of a set of ranks
"""Bounds of several towers derived a second time. Hints of map.json say how they were made; any hint gives a bound that holds.

Towers apart: profiles of each by `bounds`, and for wires the heaviest partners that a group has room for. Shared room: sets
are cut by towers, so that they hold at most the best split of their size. Small jobs: eigenvalues (Donath and Hoffman 1973).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placement.ir import Cluster
from placement.ir.comms import Comms, Tower
from placement.verify import bounds
from placement.verify.case import Array, Case

FEW = 768  # ranks up to which eigenvalues are computed
SHARED = 400  # ranks of a group up to which splits are tried

Towers = Sequence[tuple[Tower, int, Case | None]]


def derived(cluster: Cluster, comms: Comms, towers: Towers, hints: Mapping[str, Any], t: int) -> float:
    """Bytes that leave groups of tier t, at least; 0 where nothing can be derived."""
    usable_N, tier = cluster.usable_NG.sum(axis=1), cluster.tiers[t]
    room_J = np.bincount(tier.group_N, usable_N, tier.num_groups).astype(np.int64)
    room = min(int(room_J.max()), comms.world_size)
    apart = math.fsum(_alone(k, hints.get("apart", {}).get(k[0].name, {}).get(tier.name), room_J) for k in towers)
    ends = [(w.src_E, w.dst_E, w.bytes_E) for w in comms.wires]
    return max(
        apart + kept_by_degree(comms.world_size, ends, room),
        _shared(comms, towers, hints.get("shared", {}).get(tier.name), room_J),
        _spectral(comms, towers, room_J),
    )


def _alone(tower: tuple[Tower, int, Case | None], hint: Any, room_J: Array) -> float:
    held = _held(tower, hint, int(room_J.max()))
    return 0.0 if held is None else bounds.alone(held, np.minimum(room_J, tower[0].ranks), tower[0].ranks)


def _held(tower: tuple[Tower, int, Case | None], hint: Any, top: int) -> bounds.Held | None:
    """The profile of a tower by its hint; None without one, or for groups that hold all of it."""
    of, _, case = tower
    if case is None or hint is None or top >= of.ranks:
        return None
    sent = {term.axis: term.bytes_P.tolist() for term in of.traffic.terms}
    return bounds.held(case, sent, top, bounds.hint_of(hint))


def kept_by_degree(world: int, ends: Sequence[tuple[Array, Array, Array]], room: int) -> float:
    """What ranks have with all but their heaviest room - 1 partners, halved."""
    weight: dict[tuple[int, int], float] = {}
    for src, dst, sent in ends:
        for a, b, w in zip(src.tolist(), dst.tolist(), sent.tolist(), strict=True):
            if a != b:
                weight[min(a, b), max(a, b)] = weight.get((min(a, b), max(a, b)), 0.0) + w
    near: dict[int, list[float]] = {}
    for (a, b), w in weight.items():
        near.setdefault(a, []).append(w)
        near.setdefault(b, []).append(w)
    assert len(near) <= world
    return math.fsum(math.fsum(sorted(ws)[: max(len(ws) - (room - 1), 0)]) for ws in near.values()) / 2.0


def _shared(comms: Comms, towers: Towers, hint: Any, room_J: Array) -> float:
    """Towers in groups that they share: the best split of every size, under the prices of the hint."""
    top = min(int(room_J.max()), comms.world_size)
    if hint is None or top > SHARED:
        return 0.0
    levels = [float(p) for p in hint["level_K"]]
    if len(levels) != len(towers):
        return 0.0
    most_S, total, paid = np.zeros(1), 0.0, 0.0
    for k, (tower, level, witness) in enumerate(zip(towers, levels, hint["witness_K"], strict=True)):
        size = min(top, tower[0].ranks)
        held = _held(tower, witness, min(top, max(tower[0].ranks - 1, 1)))
        own_S = np.zeros(size + 1)
        if held is not None:
            own_S[: len(held.inside_S)] = held.inside_S[: size + 1]
            own_S[len(held.inside_S) :] = held.total - held.paid
            total, paid = total + held.total, paid + held.paid
        price = level - float(own_S[-1]) / size
        own_S = own_S + price * np.arange(size + 1)
        paid -= price * tower[0].ranks
        before, mine, across = _sides(comms, k, top)
        total += across
        most_S = _splits(most_S, own_S, before, mine, top)
    inner = [(w.src_E[i], w.dst_E[i], w.bytes_E[i]) for w in comms.wires if len(i := _within(comms, w.src_E, w.dst_E))]
    held_all = bounds.Held(most_S, paid, total)
    return bounds.alone(held_all, np.minimum(room_J, top), comms.world_size) + kept_by_degree(comms.world_size, inner, top)


def _splits(first_S: Array, second_S: Array, before: Array, mine: Array, top: int) -> Array:
    """The best of all splits of a size between what came before and the next tower, with what goes across at most."""
    out = np.full(min(top, len(first_S) + len(second_S) - 2) + 1, -np.inf)
    for total in range(len(out)):
        low, high = max(0, total - len(first_S) + 1), min(total, len(second_S) - 1)
        s = np.arange(low, high + 1)
        out[total] = (first_S[total - s] + second_S[s] + np.minimum(before[total - s], mine[s])).max()
    return out


def _sides(comms: Comms, k: int, top: int) -> tuple[Array, Array, float]:
    """Wires between tower k and those before it: what the heaviest s ranks of either side have, and bytes in all."""
    low, high = comms.first[k], comms.first[k] + comms.towers[k].ranks
    weight = [0.0] * comms.world_size
    total = 0.0
    for w in comms.wires:
        for a, b, sent in zip(w.src_E.tolist(), w.dst_E.tolist(), w.bytes_E.tolist(), strict=True):
            near, far = max(a, b), min(a, b)
            if far < low <= near < high:
                weight[a] += sent
                weight[b] += sent
                total += sent
    return _heaviest(weight[:low], top), _heaviest(weight[low:high], top), total


def _heaviest(weights: Sequence[float], top: int) -> Array:
    sums = np.cumsum([0.0, *sorted(weights, reverse=True)])
    return np.array([sums[min(s, len(sums) - 1)] for s in range(top + 1)])


def _within(comms: Comms, src_E: Array, dst_E: Array) -> Array:
    home = np.repeat(np.arange(len(comms.towers)), [t.ranks for t in comms.towers])
    return np.flatnonzero(home[src_E] == home[dst_E])


def _spectral(comms: Comms, towers: Towers, room_J: Array) -> float:
    """Half the sum of group sizes, largest first, times eigenvalues of the Laplacian, smallest first."""
    n = comms.world_size
    if n > FEW or int(room_J.max()) >= n:
        return 0.0
    weight = np.zeros((n, n))
    for w in comms.wires:
        np.add.at(weight, (w.src_E, w.dst_E), w.bytes_E)
    for tower, first, case in towers:
        for term in tower.traffic.terms:
            assert case is not None
            _add(weight, case, term.axis, term.bytes_P, first)
    weight = weight + weight.T
    np.fill_diagonal(weight, 0.0)
    values = np.linalg.eigvalsh(np.diag(weight.sum(axis=1)) - weight)
    left, out = n, 0.0
    for size, value in zip(sorted(room_J[room_J > 0].tolist(), reverse=True), values.tolist(), strict=False):
        out += min(size, left) * max(value, 0.0)
        left -= min(size, left)
    return out / 2.0


def _add(weight: Array, case: Case, axis: str, bytes_P: Array, first: int) -> None:
    """Every pair of one axis of a tower."""
    from placement.verify.links import following, place_in_group, shape, stage_pairs

    d = case.degrees
    rank_R = np.arange(d.world)
    sent_R = np.asarray(bytes_P)[rank_R // d.stage_ranks]
    if axis == "pp":
        for a, b in dict.fromkeys(stage_pairs(case)):
            i = np.arange(d.stage_ranks)
            np.add.at(weight, (first + a * d.stage_ranks + i, first + b * d.stage_ranks + i), 2.0 * float(bytes_P[a]))
    elif axis == "ep":
        position_R, head_R = place_in_group(d, axis)
        size, step = shape(d, axis)
        for k in range(1, size):
            np.add.at(weight, (first + rank_R, first + head_R + (position_R + k) % size * step), sent_R / (size - 1))
    else:
        np.add.at(weight, (first + rank_R, first + following(d, axis)), sent_R)
