# SPDX-License-Identifier: Apache-2.0
# U unit   V neighbour of a unit   G group
"""Units in groups of fixed sizes: exchanges of two units that lower the weight between groups (Kernighan and Lin 1970).

A walk and not a descent: the best exchange is made even where it costs something, units that just moved rest, and the best
state met is returned (tabu search, Glover 1989). Steps are counted. What a unit has in common with each group is kept, so an
exchange costs a few vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from placement.solve._array import Floats, Ints

TRIED = 4  # units that are looked at before one is exchanged
FIRST, PATIENCE = 128, 400  # steps without a better state after which a walk ends: the first, and another one
REST = 12  # steps for which a unit that moved stays, at least; half as many again by turns


@dataclass(frozen=True)
class Links:
    """Symmetric weights between units: unit u has `weight_V[first_U[u]:first_U[u+1]]` in common with `unit_V[...]`."""

    first_U: Ints
    unit_V: Ints
    weight_V: Floats

    @cached_property
    def row_X(self) -> Ints:
        """The unit of each entry of `unit_V`."""
        return np.repeat(np.arange(len(self.first_U) - 1), np.diff(self.first_U))

    def of(self, unit: int) -> tuple[Ints, Floats]:
        at = slice(int(self.first_U[unit]), int(self.first_U[unit + 1]))
        return self.unit_V[at], self.weight_V[at]


def links(size: int, parts: Sequence[tuple[Ints, Ints, Floats]]) -> Links:
    """Weights from lists of edges (unit, unit, weight): both directions, parallel ones added, loops left out."""
    a, b, w = (np.concatenate([np.zeros(0), *(p[i] for p in parts)]) for i in range(3))
    keep = a != b
    a, b, w = a[keep].astype(np.int64), b[keep].astype(np.int64), w[keep]
    row_E, unit_E, weight_E = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([w, w])
    order = _by_number(unit_E, size)
    order = order[_by_number(row_E[order], size)]
    row_E, unit_E = row_E[order], unit_E[order]
    new = np.concatenate([np.ones(1, bool), (row_E[1:] != row_E[:-1]) | (unit_E[1:] != unit_E[:-1])])[: len(row_E)]
    weight_V = np.bincount(np.cumsum(new) - 1, weights=weight_E[order], minlength=int(new.sum()))
    return Links(np.searchsorted(row_E[new], np.arange(size + 1)), unit_E[new], np.asarray(weight_V, float))


def _by_number(unit_E: Ints, size: int) -> Ints:
    """Stable order; numbers of 16 bits are sorted by digits, in linear time."""
    return np.argsort(unit_E.astype(np.uint16) if size <= 1 << 16 else unit_E, kind="stable")


def crossing(graph: Links, group_U: Ints) -> float:
    """Weight between units of different groups, every pair once."""
    here_V = np.repeat(group_U, np.diff(graph.first_U))
    return float(graph.weight_V[here_V != group_U[graph.unit_V]].sum() / 2)


def exchange(graph: Links, group_U: Ints, kind_U: Ints, region_U: Ints, *, steps: int) -> Ints:
    """The place (a unit's old one) of each unit after the best walk of `steps` exchanges.

    `kind_U`: units of one kind may change places. `region_U`: only within one region, so links between regions play no part,
    and of regions that are alike one is walked. Places keep their group.
    """
    region_U, group_U, kind_U = (np.asarray(x, np.int64) for x in (region_U, group_U, kind_U))
    order = np.lexsort((kind_U, region_U))
    cuts = np.flatnonzero(np.diff(region_U[order])) + 1
    first_X = np.concatenate([[0], cuts, [len(order)]])
    facts = np.asarray(np.stack([region_U, kind_U, _numbered(region_U, group_U)], 1)[order], np.int64)
    inner = _part(_inside(graph, region_U), order)
    alike = _alike(inner, first_X, facts[:, 1:])
    rows = np.concatenate([np.arange(first_X[x], first_X[x + 1]) for x, *_ in alike])
    place_I = _walked(_part(inner, rows), facts[rows], steps)
    place_U, done = np.empty(len(order), np.int64), 0
    for members in alike:
        size = int(first_X[members[0] + 1] - first_X[members[0]])
        moved = place_I[done : done + size] - done
        done += size
        for x in members:
            mine = order[first_X[x] : first_X[x + 1]]
            place_U[mine] = mine[moved]
    return place_U


def _numbered(region_U: Ints, group_U: Ints) -> Ints:
    """Groups of each region numbered from 0."""
    pair, which_U = np.unique(np.stack([region_U, group_U]), axis=1, return_inverse=True)
    first = np.flatnonzero(np.diff(pair[0], prepend=pair[0, :1] - 1))
    start_K = np.repeat(first, np.diff(first, append=pair.shape[1]))
    return np.asarray((np.arange(pair.shape[1]) - start_K)[which_U.reshape(-1)])


def _inside(graph: Links, region_U: Ints) -> Links:
    """Links whose ends are in one region."""
    keep = region_U[graph.row_X] == region_U[graph.unit_V]
    return Links(np.concatenate([[0], np.cumsum(keep)])[graph.first_U], graph.unit_V[keep], graph.weight_V[keep])


def _alike(graph: Links, first_X: Ints, facts: Ints) -> list[list[int]]:
    """Regions whose units have the same facts and links, in order: lists of equal ones."""
    weight_V = np.round(graph.weight_V / (float(graph.weight_V.max(initial=0.0)) or 1.0), 9)
    known: dict[tuple[bytes, ...], list[int]] = {}
    for x, (a, b) in enumerate(pairwise(first_X.tolist())):
        ends = slice(int(graph.first_U[a]), int(graph.first_U[b]))
        degree = np.diff(graph.first_U[a : b + 1])
        key = (facts[a:b].tobytes(), degree.tobytes(), (graph.unit_V[ends] - a).tobytes(), weight_V[ends].tobytes())
        known.setdefault(key, []).append(x)
    return list(known.values())


def _part(graph: Links, rows: Ints) -> Links:
    """Some whole regions alone, or all in another order: renumbered."""
    degree = np.diff(graph.first_U)[rows]
    first = np.concatenate([[0], np.cumsum(degree)])
    at = np.repeat(graph.first_U[rows] - first[:-1], degree) + np.arange(first[-1])
    rank_U = np.zeros(len(graph.first_U) - 1, np.int64)
    rank_U[rows] = np.arange(len(rows))
    return Links(first, rank_U[graph.unit_V[at]], graph.weight_V[at])


def _walked(graph: Links, facts: Ints, steps: int) -> Ints:
    """Places after walks that each set out from the best state of the one before, until one finds nothing more.

    `facts`: region, kind and group of each unit, those of one region and kind in a row. Of units that wish alike, walks try the
    first and the last ones by turns.
    """
    class_U = np.cumsum((np.diff(facts[:, :2], axis=0, prepend=facts[:1, :2]) != 0).any(axis=1))
    place_U, last = np.arange(len(facts)), False
    while steps > 0:
        found_U, used = _best_of(_Walk(graph, facts[place_U, 2], class_U, last), steps)
        if found_U is None:
            break
        place_U, last, steps = place_U[found_U], not last, steps - used
    return place_U


def _best_of(walk: _Walk, steps: int) -> tuple[Ints | None, int]:
    """Places in the best state of a walk, none if that is the first, and the steps made."""
    best, best_U, gained, since = 0.0, None, 0.0, 0
    for step in range(1, steps + 1):
        found = walk.best_pair(step)
        if found is None or step - since > (PATIENCE if best else FIRST):
            return best_U, step
        gain, a, b = found
        walk.swap(a, b, step)
        gained += gain
        if gained > best * (1 + 1e-12) + 1e-9 * walk.scale:
            best, best_U, since = gained, walk.place_U.copy(), step
    return best_U, steps


class _Walk:
    """State of the walk: weight that each unit has in common with each group, where it sits, until when it rests."""

    def __init__(self, graph: Links, group_U: Ints, class_U: Ints, last: bool) -> None:
        size, self.graph, self.turn = len(group_U), graph, -1 if last else 1
        self.low_U, self.high_U = (np.searchsorted(class_U, class_U, side=s).tolist() for s in ("left", "right"))
        self.at_U, self.place_U, self.rest_U = np.array(group_U), np.arange(size), np.zeros(size, np.int64)
        first = np.unique(class_U, return_index=True)[1]
        alone = np.maximum.reduceat(group_U, first) == np.minimum.reduceat(group_U, first)
        self.rest_U[np.repeat(alone, np.diff(first, append=size))] = np.iinfo(np.int64).max
        groups = int(self.at_U.max()) + 1
        flat = np.asarray(self.at_U[graph.unit_V], np.int64) * size + graph.row_X
        own_X = np.bincount(flat, weights=graph.weight_V, minlength=size * groups)
        self.own_GU = own_X.astype(float, copy=False).reshape(groups, size)  # whole numbers where there are no links
        self.scale = float(graph.weight_V.max(initial=0.0))
        self.here_U, self.wish_U = np.empty(size), np.empty(size)
        self._note(np.arange(size))

    def _note(self, unit_X: Ints) -> None:
        """What units have in common with their groups, and the most that each could gain by moving, were places free."""
        own_GX, home_X = self.own_GU[:, unit_X], (self.at_U[unit_X], np.arange(len(unit_X)))
        here_X = own_GX[home_X]
        own_GX[home_X] = -np.inf
        self.here_U[unit_X], self.wish_U[unit_X] = here_X, own_GX.max(axis=0) - here_X

    def best_pair(self, step: int) -> tuple[float, int, int] | None:
        """The best exchange of the units that wish most to move, (gain, unit, unit)."""
        awake_U = np.where(self.rest_U < step, 0.0, -np.inf)
        wish_U = self.wish_U + awake_U
        best: tuple[float, int, int] | None = None
        for _ in range(TRIED):
            a = int(wish_U[:: self.turn].argmax())
            a = len(wish_U) - 1 - a if self.turn < 0 else a
            if wish_U[a] == -np.inf:
                break
            wish_U[a] = -np.inf
            found = self._partner(a, awake_U)
            if found and (best is None or found[0] > best[0]):
                best = found
        return best

    def _partner(self, a: int, awake_U: Floats) -> tuple[float, int, int] | None:
        low, high, home = self.low_U[a], self.high_U[a], self.at_U[a]
        own_G = self.own_GU[:, a].copy()
        own_G[home] = -np.inf  # nobody of the same group
        gain = own_G[self.at_U[low:high]]
        gain += self.own_GU[home, low:high]
        gain -= self.here_U[low:high]
        gain += awake_U[low:high]
        near, weight = self.graph.of(a)
        peers = (near >= low) & (near < high)
        gain[near[peers] - low] -= 2 * weight[peers]
        best = int(gain.argmax())
        value = float(gain[best]) - float(self.here_U[a])
        return (value, a, low + best) if value > -np.inf else None

    def swap(self, a: int, b: int, step: int) -> None:
        home, there = int(self.at_U[a]), int(self.at_U[b])
        touched = [np.array([a, b])]
        for unit, old, new in ((a, home, there), (b, there, home)):
            near, weight = self.graph.of(unit)
            self.own_GU[old, near] -= weight
            self.own_GU[new, near] += weight
            touched.append(near)
            self.rest_U[unit] = step + REST + (step % (REST // 2))
        self.at_U[a], self.at_U[b] = there, home
        self.place_U[[a, b]] = self.place_U[[b, a]]
        self._note(np.concatenate(touched))
