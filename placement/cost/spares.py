# SPDX-License-Identifier: Apache-2.0
# D NVLink domain   N node   K trial   H hour   E failure
"""Arithmetic of spares: how many failures to expect, how many of them to be ready for, and how long a cluster holds out."""

from __future__ import annotations

import math

import numpy as np

from placement.ir._array import Floats, Ints


def poisson_quantile(mean: float, probability: float) -> int:
    """Least k with P(X <= k) >= probability for a Poisson number X.

    >>> poisson_quantile(0.0, 0.99), poisson_quantile(1.0, 0.9), poisson_quantile(104.2, 0.99)
    (0, 2, 129)
    """
    if not 0 <= probability < 1 or mean < 0:
        raise ValueError("a probability lies between 0 and 1, and a mean is not negative")
    top = int(mean + 40 * math.sqrt(mean + 1) + 40)
    k = np.arange(top + 1)
    log_K = k * math.log(mean) - mean - np.cumsum(np.log(np.maximum(k, 1))) if mean > 0 else np.where(k == 0, 0.0, -np.inf)
    return int(np.searchsorted(np.cumsum(np.exp(log_K)), probability))


def rooms(
    domain_N: Ints, usable_D: Ints, block_sites: int, *, node_daily: float, domain_daily: float, hours: int, trials: int,
    seed: int,
) -> Ints:  # fmt: skip
    """Blocks of `block_sites` nodes that the domains hold after each hour of each trial, (K, H + 1); nothing is repaired.

    `domain_N` domain of each node that can fail, `usable_D` usable nodes of each domain. Failures come as a Poisson process,
    each hits a node (or a domain) at random; what is dead already stays dead.
    """
    rng = np.random.default_rng(seed)
    out_KH = np.empty((trials, hours + 1), np.int64)
    for k in range(trials):
        room_D, dead = usable_D.copy(), np.zeros(len(domain_N), bool)
        out_KH[k, 0] = blocks = int((room_D // block_sites).sum())
        nodes_H, domains_H = rng.poisson(node_daily / 24, hours), rng.poisson(domain_daily / 24, hours)
        for h in range(hours):
            hit = rng.integers(len(domain_N), size=nodes_H[h])
            hit = np.unique(hit[~dead[hit]])
            dead[hit] = True
            lost = rng.integers(len(room_D), size=domains_H[h])
            at, count = np.unique(domain_N[hit], return_counts=True)
            touched = np.union1d(at, lost)
            before = int((room_D[touched] // block_sites).sum())
            room_D[at] = np.maximum(room_D[at] - count, 0)
            room_D[lost] = 0
            blocks += int((room_D[touched] // block_sites).sum()) - before
            out_KH[k, h + 1] = blocks
    return out_KH


def survival(rooms_KH: Ints, need: int) -> Floats:
    """Share of the trials in which there is room for `need` blocks, by hour. (H + 1,)"""
    return np.asarray((rooms_KH >= need).mean(axis=0))
