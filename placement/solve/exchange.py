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

import numpy as np

from placement.solve._array import Floats, Ints

TRIED = 4  # units that are looked at before one is exchanged
PATIENCE = 400  # steps without a better state after which a walk ends
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
    key = np.concatenate([a[keep] * size + b[keep], b[keep] * size + a[keep]]).astype(np.int64)
    pair, which = np.unique(key, return_inverse=True)
    weight = np.bincount(which, weights=np.concatenate([w[keep], w[keep]]), minlength=len(pair))
    return Links(np.searchsorted(pair // size, np.arange(size + 1)), pair % size, np.asarray(weight, float))


def crossing(graph: Links, group_U: Ints) -> float:
    """Weight between units of different groups, every pair once."""
    here_V = np.repeat(group_U, np.diff(graph.first_U))
    return float(graph.weight_V[here_V != group_U[graph.unit_V]].sum() / 2)


def exchange(graph: Links, group_U: Ints, kind_U: Ints, region_U: Ints, *, steps: int) -> Ints:
    """The place (a unit's old one) of each unit after the best walk of `steps` exchanges.

    `kind_U`: units of one kind may change places. `region_U`: only within one region. Places keep their group.
    """
    walk = _Walk(graph, group_U, kind_U, region_U)
    best, best_U, gained, since = 0.0, walk.place_U.copy(), 0.0, 0
    for step in range(1, steps + 1):
        found = walk.best_pair(step)
        if found is None or step - since > PATIENCE:
            break
        gain, a, b = found
        walk.swap(a, b, step)
        gained += gain
        if gained > best * (1 + 1e-12) + 1e-9 * walk.scale:
            best, best_U, since = gained, walk.place_U.copy(), step
    return best_U


class _Walk:
    """State of the walk: `own_UG` weight each unit has in common with each group, where it sits, until when it rests."""

    def __init__(self, graph: Links, group_U: Ints, kind_U: Ints, region_U: Ints) -> None:
        size = len(group_U)
        self.graph = graph
        # Units of one kind and region, in order: who may change places with whom never changes.
        same = np.unique(np.stack([kind_U, region_U]), axis=1, return_inverse=True)[1].reshape(-1)
        self.class_U: Ints = same
        self.peers_C = np.split(np.argsort(same, kind="stable"), np.cumsum(np.bincount(same))[:-1])
        self.common_U = np.zeros(size)
        self.at_U, self.place_U, self.rest_U = np.array(group_U, np.int64), np.arange(size), np.zeros(size, np.int64)
        groups = int(self.at_U.max()) + 1
        flat = graph.row_X * groups + self.at_U[graph.unit_V]
        own_X = np.bincount(flat, weights=graph.weight_V, minlength=size * groups)
        self.own_UG = own_X.astype(float, copy=False).reshape(size, groups)  # whole numbers where there are no links
        self.scale = float(graph.weight_V.max(initial=0.0))
        home = np.arange(size), self.at_U
        here_U = self.own_UG[home]
        self.own_UG[home] = -np.inf
        self.wish_U = self.own_UG.max(axis=1) - here_U
        self.own_UG[home] = here_U

    def _wish(self, unit: int) -> float:
        """The most that a unit could gain by moving, were its place there free."""
        own_G, home = self.own_UG[unit], self.at_U[unit]
        here = own_G[home]
        own_G[home] = -np.inf
        best = float(own_G.max())
        own_G[home] = here
        return best - float(here)

    def best_pair(self, step: int) -> tuple[float, int, int] | None:
        """The best exchange of the units that wish most to move, (gain, unit, unit)."""
        awake_U = self.rest_U < step
        wish_U = np.where(awake_U, self.wish_U, -np.inf)
        first = np.argpartition(-wish_U, min(TRIED, len(wish_U) - 1))[:TRIED]
        found = [self._partner(int(a), awake_U) for a in first[np.isfinite(wish_U[first])]]
        return max((f for f in found if f), key=lambda f: (f[0], -f[1], -f[2]), default=None)

    def _partner(self, a: int, awake_U: np.ndarray) -> tuple[float, int, int] | None:
        home, peers = self.at_U[a], self.peers_C[self.class_U[a]]
        others = peers[awake_U[peers] & (self.at_U[peers] != home)]
        if not len(others):
            return None
        there = self.at_U[others]
        gain = self.own_UG[a, there] - self.own_UG[a, home] + self.own_UG[others, home] - self.own_UG[others, there]
        near, weight = self.graph.of(a)
        self.common_U[near] = weight
        gain = gain - 2 * self.common_U[others]
        self.common_U[near] = 0.0
        best = int(np.argmax(gain))
        return float(gain[best]), a, int(others[best])

    def swap(self, a: int, b: int, step: int) -> None:
        home, there = int(self.at_U[a]), int(self.at_U[b])
        touched = {a, b}
        for unit, old, new in ((a, home, there), (b, there, home)):
            near, weight = self.graph.of(unit)
            self.own_UG[near, old] -= weight
            self.own_UG[near, new] += weight
            touched.update(near.tolist())
            self.rest_U[unit] = step + REST + (step % (REST // 2))
        self.at_U[a], self.at_U[b] = there, home
        self.place_U[[a, b]] = self.place_U[[b, a]]
        for unit in sorted(touched):
            self.wish_U[unit] = self._wish(unit)
