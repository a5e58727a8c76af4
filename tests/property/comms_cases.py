# SPDX-License-Identifier: Apache-2.0
"""Random small jobs of several towers, with bridges, groups and pairs; and what they send, pair by pair."""

from __future__ import annotations

import numpy as np

from placement.ir import Traffic
from placement.ir.comms import Comms, Tower, Wires
from tests import oracles
from tests.property import mapping_cases


def random_comms(rng: np.random.Generator, most: int) -> Comms:
    """Two or three towers of `most` ranks at most together: products, and bare ranks that are joined by wires alone."""
    count = int(rng.integers(2, 4)) if most >= 3 else 2
    sizes = 1 + rng.multinomial(most - count, np.ones(count) / count)
    towers = [_tower(rng, f"t{k}", int(n)) for k, n in enumerate(sizes)]
    return Comms("random", tuple(towers), tuple(_wires(rng, towers)))


def _tower(rng: np.random.Generator, name: str, ranks: int) -> Tower:
    if rng.random() < 0.25:
        return Tower(name, ranks, None, Traffic(()))
    strategy = mapping_cases.random_strategy(rng, ranks)
    return Tower(name, ranks, strategy, mapping_cases.random_traffic(rng, strategy))


def _wires(rng: np.random.Generator, towers: list[Tower]) -> list[Wires]:
    world = sum(t.ranks for t in towers)
    out = []
    for kind in ("bridge", "pairs"):
        if rng.random() < 0.8:
            a = rng.integers(0, world, int(rng.integers(1, 2 * world)))
            b = rng.integers(0, world, len(a))
            if kind == "bridge":
                side = rng.integers(0, towers[0].ranks, len(a))
                a, b = side, rng.integers(towers[0].ranks, world, len(a))
            out.append(Wires(kind, kind, a, b, 10 ** rng.uniform(0, 2, len(a))))
    return out


def pair_bytes(comms: Comms) -> np.ndarray:
    """Symmetric matrix (R, R): bytes that leave groups when the two ranks do not share one."""
    weight = np.zeros((comms.world_size, comms.world_size))
    for tower, first in zip(comms.towers, comms.first, strict=True):
        if tower.strategy is not None:
            at = slice(first, first + tower.ranks)
            weight[at, at] += oracles.pair_bytes(tower.strategy, tower.traffic)
    for w in comms.wires:
        for a, b, sent in zip(w.src_E.tolist(), w.dst_E.tolist(), w.bytes_E.tolist(), strict=True):
            if a != b:
                weight[a, b] += sent
                weight[b, a] += sent
    return weight


def inside(weight: np.ndarray) -> np.ndarray:
    """Bytes of the pairs inside every set of ranks."""
    n = len(weight)
    bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
    return np.einsum("sr,rq,sq->s", bits, weight, bits, optimize=True) / 2


def whole_node_comms(rng: np.random.Generator, slots: int, nodes: int) -> Comms:
    """Two towers, or one and bare ranks, that fill whole nodes; at most so many."""
    used = int(rng.integers(2, nodes + 1))
    first = int(rng.integers(1, used))
    towers = [_tower(rng, f"t{k}", n * slots) for k, n in enumerate((first, used - first))]
    return Comms("random", tuple(towers), tuple(_wires(rng, towers)))
