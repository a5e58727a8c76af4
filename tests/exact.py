# SPDX-License-Identifier: Apache-2.0
"""Exact optima of small mappings by dynamic programming over subsets of ranks; shares no code with placement/."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from placement.ir import Cluster, Strategy, Traffic
from tests import oracles


@cache
def splits(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair (part, rest) of disjoint subsets of n, ordered by their union, and where each union starts."""
    digits = np.array(np.meshgrid(*[[0, 1, 2]] * n, indexing="ij")).reshape(n, -1)
    bit = 1 << np.arange(n)
    part, rest = (bit @ (digits == d) for d in (1, 2))
    order = np.argsort(part | rest, kind="stable")
    part, rest = part[order], rest[order]
    return part, rest, np.searchsorted(part | rest, np.arange(1 << n))


def least(cluster: Cluster, strategy: Strategy, traffic: Traffic, weight_T: np.ndarray) -> float:
    """Least weighted bytes that leave the groups of all tiers, over every injection of ranks into usable GPUs."""
    stays_S = np.array(inside(strategy, traffic))
    return least_of(cluster, stays_S, pair_total(strategy, traffic), weight_T)


def least_of(cluster: Cluster, stays_S: np.ndarray, total: float, weight_T: np.ndarray) -> float:
    """The same for any communication: `stays_S` what every set of ranks holds inside, of `total` bytes."""
    n = len(stays_S).bit_length() - 1
    size_S = np.array([s.bit_count() for s in range(1 << n)])
    room_N = cluster.usable_NG.sum(axis=1)

    def held(nodes: np.ndarray, t: int) -> np.ndarray:
        """Most weighted value that the groups of tiers t and inside, among these nodes, can have for each set of ranks."""
        if t < 0:
            return np.where(size_S <= int(room_N[nodes].sum()), 0.0, -np.inf)
        out = np.where(size_S == 0, 0.0, -np.inf)
        for group in np.unique(cluster.tiers[t].group_N[nodes]):
            below = (
                held(nodes[cluster.tiers[t].group_N[nodes] == group], t - 1)
                if t
                else held(nodes[cluster.tiers[0].group_N[nodes] == group], -1)
            )
            out = _join(out, below + weight_T[t] * stays_S, n)
        return out

    best = held(np.arange(cluster.num_nodes), len(cluster.tiers) - 1)[-1]
    return float(weight_T.sum() * total - best)


def _join(a_S: np.ndarray, b_S: np.ndarray, n: int) -> np.ndarray:
    part, rest, first = splits(n)
    return np.maximum.reduceat(a_S[part] + b_S[rest], first)


def pair_total(strategy: Strategy, traffic: Traffic) -> float:
    return float(oracles.pair_bytes(strategy, _only(traffic, lambda kind: kind != "hier")).sum() / 2)


def inside(strategy: Strategy, traffic: Traffic) -> list[float]:
    """Of every set of ranks: bytes of the pairs inside, less what collectives that touch it and are not inside cost."""
    n = strategy.world_size
    weight = oracles.pair_bytes(strategy, _only(traffic, lambda kind: kind != "hier"))
    bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
    value_S = np.einsum("sr,rq,sq->s", bits, weight, bits, optimize=True) / 2
    for term in traffic.terms:
        if term.kind == "hier":
            for row in strategy.groups(term.axis).tolist():
                count = bits[:, row].sum(axis=1)
                value_S = value_S - term.bytes_P[row[0] // strategy.stage_ranks] * ((count > 0) & (count < len(row)))
    return [float(v) for v in value_S]


def _only(traffic: Traffic, keep: Callable[[str], bool]) -> Traffic:
    return Traffic(tuple(t for t in traffic.terms if keep(t.kind)))
