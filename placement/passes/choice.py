# SPDX-License-Identifier: Apache-2.0
# C cell   P pipeline stage
"""Which of many layouts is taken: legal ones first, by uplinks and hops; and the best few of them by the step itself.

Uplinks say what a step sends, but neither what hides behind compute nor which stages wait for a slow node. So they order, and
where the step can be priced (some 20 ms for 220,032 ranks), it decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice, zip_longest

import numpy as np

from placement.ir import Cluster, Placement, Strategy, Traffic
from placement.ir._array import Floats, Ints
from placement.passes.score import Aim, CellScore, Loads, cell_loads, hopped, slowdown
from placement.passes.sites import Sites, expand

PRICED = 4_000_000  # ranks of all placements of a strategy that are priced: 18 of 220,032
MOST, FEW = 64, 6  # of them at most, and where a search only compares strategies
TIE = 1e-5  # of a step: what is this near counts as equal, as in the search, and the score decides
BROKEN = 1 << 22  # ranks of layouts without a path between rails that are looked at, before others are given up

Key = tuple[bool, bool, int, CellScore, int]


@dataclass(frozen=True)
class Price:
    """Seconds that a step takes on a placement; what takes `enough` or less need not be bettered."""

    step_s: Callable[[Placement], float]
    enough: float = 0.0


@dataclass(frozen=True)
class Laid:
    """Cells in domains, the `serial`-th layout that was made. `parted`: groups that leave their domain."""

    sites: Sites
    domain_C: Ints
    loads: Loads
    parted: int
    serial: int

    @cached_property
    def placement(self) -> Placement:
        return expand(self.sites, self.domain_C)


@dataclass
class Judge:
    """Orders layouts of one strategy on one choice of sites. `limit` seconds of busiest uplinks, which only others exceed where
    nothing keeps to it.
    """

    cluster: Cluster
    strategy: Strategy
    traffic: Traffic
    aim: Aim
    limit: float = np.inf
    opened: dict[int, Laid] = field(default_factory=dict)

    def laid(self, sites: Sites, domain_C: Ints, serial: int) -> Laid:
        loads = cell_loads(self.cluster, self.strategy, self.traffic, sites, domain_C)
        return Laid(sites, domain_C, loads, sites.num_parted(domain_C) if sites.parted else 0, serial)

    def key(self, laid: Laid) -> Key:
        """(no path between rails, over the limit, parted groups, score, serial): smaller is better. Rails only add to it."""
        found = laid.loads.score(self.aim)
        return laid.loads.broken > 0, found[2] > self.limit, laid.parted, found, laid.serial

    def full(self, laid: Laid) -> Laid:
        """With the hops between rails that are apart. Cells that fill whole nodes need none."""
        if self.cluster.rails_connected or laid.sites.straight:
            return laid
        if laid.serial not in self.opened:
            loads = hopped(self.cluster, self.strategy, self.traffic, laid.placement, laid.loads)
            self.opened[laid.serial] = replace(laid, loads=loads)
        return self.opened[laid.serial]

    def ordered(self, found: Sequence[Laid], key: Callable[[Laid], tuple[object, ...]]) -> Iterator[Laid]:
        """Best first, hops included, which are looked at as late as can be: what still leads with them is the next one."""
        heap = [(False, key(x), i, x, False) for i, x in enumerate(found)]
        heapq.heapify(heap)
        broken = 0
        while heap:
            _, _, i, x, known = heapq.heappop(heap)
            if known:
                yield x
            elif broken * self.strategy.world_size <= BROKEN:
                x = self.full(x)
                broken += x.loads.broken > 0
                heapq.heappush(heap, (x.loads.broken > 0, key(x), i, x, True))

    def best(self, found: Sequence[Laid]) -> Laid:
        return next(self.ordered(found, self.key))

    def pool(self, found: Sequence[Laid], also: Sequence[Laid], most: int) -> list[Laid]:
        """The best by the key, by uplinks however many groups are parted, and by what slow nodes cost the stages, in turn, and
        `also`. Of those that score the same, and slow the same stages, the first ones come before all others.
        """
        keys = [self.key, *([self._uplinks] if len({x.parted for x in found}) > 1 else []), *self._slowest()]
        turns = zip_longest(*(islice(self.ordered(found, key), 2 * most) for key in keys))
        order = list({x.serial: x for x in chain.from_iterable(turns) if x}.values())
        first = {self._alike(x): x for x in reversed(order)}
        order.sort(key=lambda x: first[self._alike(x)] is not x)
        kept = order[: most - len(also)]
        return kept + [x for x in map(self.full, also) if all(x.domain_C is not k.domain_C for k in kept)]

    def _alike(self, laid: Laid) -> object:
        """What layouts of one price have in common."""
        return self.key(laid)[:-1], self._speed(laid).tobytes() if self._slowest() else b""

    def _uplinks(self, laid: Laid) -> tuple[object, ...]:
        return laid.loads.score(self.aim), laid.serial

    def _slowest(self) -> list[Callable[[Laid], tuple[object, ...]]]:
        """Order by the compute of all stages, each at the speed of its slowest node; none where all nodes are alike."""
        slow = float(self.cluster.speed_N.min()) < float(self.cluster.speed_N.max())
        return [lambda laid: (float((1.0 / self._speed(laid)).sum()), *self._uplinks(laid))] if slow else []

    def _speed(self, laid: Laid) -> Floats:
        """Speed of the slowest node of each stage, (P,)."""
        speed_R = self.cluster.speed_N[laid.placement.gpu_R // self.cluster.gpus_per_node]
        return np.asarray(np.maximum(speed_R.reshape(self.strategy.pp, -1).min(axis=1), 1e-9))


def pick(judge: Judge, found: Sequence[Laid], price: Price | None) -> Laid:
    """The best of what judges of all choices of sites let through: by rank, or by the step where it can be priced."""

    def rank(x: Laid) -> tuple[object, ...]:
        return x.loads.broken > 0, slowdown(judge.cluster, x.placement), *judge.key(x)[2:]

    legal = [x for x in found if not x.loads.broken]
    if price is None or len(legal) < 2:
        return min(found, key=rank)
    priced: list[tuple[float, Laid]] = []
    for x in legal:
        priced.append((price.step_s(x.placement), x))
        if priced[-1][0] <= price.enough:
            break
    least = min(seconds for seconds, _ in priced)
    return min((x for seconds, x in priced if seconds <= least * (1.0 + TIE)), key=rank)


def looks(strategy: Strategy, aim: Aim) -> int:
    """How many placements of a strategy may be priced."""
    return int(np.clip(PRICED // strategy.world_size, 2, MOST if aim.refine else FEW))
