# SPDX-License-Identifier: Apache-2.0
# X cable between two tiers   Q expected cable   D device   J group
"""What a fabric carries, as designed and as found: cables and bytes/s between tiers, and the exact cut between two halves of
its hosts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from placement.fabric.wiring.sockets import missing_leafs
from placement.fabric.wiring.uplinks import Boundary
from placement.ir import Wired

if TYPE_CHECKING:
    from placement.fabric.wiring.analyse import Analysis

MAX_PAIRS = 30_000  # pairs of switches for an exact cut: seconds in networkx; larger fabrics are told by their tiers
Pairs = Counter[tuple[int, int]]  # (lower, upper) -> cables; switches that are missing have negative numbers


@dataclass(frozen=True)
class TierCapacity:
    """Cables between two tiers: `designed` by the pattern, `found` in the capture; bytes/s in one direction."""

    name: str
    designed: int
    found: int
    designed_Bps: float
    found_Bps: float


@dataclass(frozen=True)
class Bandwidth:
    """`bisection`: (designed, found) bytes/s between the first and the second half of the leaf groups, None where too large."""

    tiers: tuple[TierCapacity, ...]
    bisection: tuple[float, float] | None


def bandwidth(known: Analysis) -> Bandwidth:
    """Capacities of every tier and of the bisection."""
    wired, s = known.wired, known.sockets
    designed, found, speeds = [], [], []
    lost = missing_leafs(s)
    for b in known.boundaries:
        speed = _speed(wired, b)
        speeds.append(speed)
        found.append(_found(wired, b, speed))
        designed.append(_designed(b, lost if b.tier == 1 else [], known))
    tiers = [_hosts(known)] if len(known.adapters.device_R) else []
    for b, want, have, speed in zip(known.boundaries, designed, found, speeds, strict=True):
        cables, total = sum(want.values()), sum(have.values())
        tiers.append(TierCapacity(f"tier {b.tier} to {b.tier + 1}", cables, len(b.low_X), cables * speed, total))
    pairs = sum(len(d) for d in designed)
    cut = None
    if known.boundaries and pairs <= MAX_PAIRS and s.num_groups > 1:
        halves = _halves(known, lost)
        planned = [{p: n * speed for p, n in d.items()} for d, speed in zip(designed, speeds, strict=True)]
        cut = _cut(planned, *halves), _cut(found, *halves)
    return Bandwidth(tuple(tiers), cut)


def _speed(wired: Wired, b: Boundary) -> float:
    """Usual bytes/s of a cable of this boundary, 400 Gb/s where the capture does not say."""
    Bps = wired.cable.Bps_C[b.cable_X]
    values, count = np.unique(Bps[Bps > 0], return_counts=True)
    return float(values[count.argmax()]) if len(values) else 400e9 / 8


def _found(wired: Wired, b: Boundary, speed: float) -> dict[tuple[int, int], float]:
    out: dict[tuple[int, int], float] = {}
    Bps = wired.cable.Bps_C[b.cable_X]
    for low, high, rate in zip(b.low_X.tolist(), b.high_X.tolist(), np.where(Bps > 0, Bps, speed).tolist(), strict=True):
        out[low, high] = out.get((low, high), 0.0) + rate
    return out


def _designed(b: Boundary, lost: list[tuple[int, int]], known: Analysis) -> Pairs:
    """Cables of each pair by the pattern; where there is none, those that are there. A missing leaf is wired like its
    siblings.
    """
    have: Pairs = Counter(zip(b.low_X.tolist(), b.high_X.tolist(), strict=True))
    want: Pairs = Counter(zip(b.low_Q.tolist(), b.high_Q.tolist(), strict=True))
    told = {low for low, _ in want}
    want.update({pair: n for pair, n in have.items() if pair[0] not in told})
    for group, kind in lost:
        sibling = next(
            (int(d) for d, g in zip(known.sockets.leaf_W.tolist(), known.sockets.group_W.tolist(), strict=True) if g == group),
            None,
        )
        if sibling is not None:
            stand_in = _leaf_number(known, group, kind)
            want.update({(stand_in, high): n for (low, high), n in list(want.items()) if low == sibling})
    return want


def _leaf_number(known: Analysis, group: int, kind: int) -> int:
    return -1 - (group * max(len(known.sockets.kinds), 1) + kind)


def _hosts(known: Analysis) -> TierCapacity:
    """Adapters: as many as the places that exist have lanes."""
    x, a = known.seats, known.adapters
    Bps = known.wired.cable.Bps_C[a.cable_R]
    values, count = np.unique(Bps[Bps > 0], return_counts=True)
    speed = float(values[count.argmax()]) if len(values) else 400e9 / 8
    used = x.slot_R >= 0
    lanes = int(a.lanes_L.max(initial=1))
    places = np.unique(np.r_[x.slot_Q[x.usual_Q] // x.lanes, x.slot_R[used] // x.lanes]) if len(x.slot_Q) else np.zeros(0)
    designed = len(places) * lanes if len(places) else len(a.device_R)
    found = np.where(Bps > 0, Bps, speed)[used] if len(places) else np.where(Bps > 0, Bps, speed)
    return TierCapacity("hosts to tier 1", designed, len(found), designed * speed, float(found.sum()))


def _halves(known: Analysis, lost: list[tuple[int, int]]) -> tuple[set[int], set[int]]:
    """Leafs of the first and of the second half of the groups."""
    s = known.sockets
    first: set[int] = set()
    second: set[int] = set()
    for device, group in zip(s.leaf_W.tolist(), s.group_W.tolist(), strict=True):
        if group >= 0:
            (first if group < s.num_groups // 2 else second).add(device)
    for group, kind in lost:
        (first if group < s.num_groups // 2 else second).add(_leaf_number(known, group, kind))
    return first, second


def _cut(levels: list[dict[tuple[int, int], float]], first: set[int], second: set[int]) -> float:
    """Exact minimum cut in bytes/s between two sets of leafs, over switches; links carry both directions."""
    import networkx as nx

    graph: nx.DiGraph[int | str] = nx.DiGraph()
    for level in levels:
        for (low, high), Bps in level.items():
            for a, b in ((low, high), (high, low)):
                graph.add_edge(a, b, capacity=Bps + (graph[a][b]["capacity"] if graph.has_edge(a, b) else 0.0))
    for leafs, source in ((first, True), (second, False)):
        for leaf in leafs:
            if leaf in graph:
                graph.add_edge("s" if source else leaf, leaf if source else "t")
    if "s" not in graph or "t" not in graph:
        return 0.0
    return float(nx.maximum_flow_value(graph, "s", "t", flow_func=nx.algorithms.flow.dinitz))
