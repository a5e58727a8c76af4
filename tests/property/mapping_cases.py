# SPDX-License-Identifier: Apache-2.0
"""Random small clusters, strategies and traffic for the tests of the mapping."""

from __future__ import annotations

import numpy as np

from placement.ir import AXES, Cluster, Placement, Strategy, Term, Traffic
from tests import clusters

SCHEDULES = (("1f1b", 1), ("interleaved", 2), ("zb-v", 2))


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def random_strategy(rng: np.random.Generator, world: int) -> Strategy:
    """A strategy of exactly `world` ranks, all axes drawn."""
    pick = lambda n: int(rng.choice(divisors(n)))  # noqa: E731
    pp = pick(world)
    stage = world // pp
    tp = pick(stage)
    cp = pick(stage // tp)
    dp = stage // tp // cp
    etp = pick(stage)
    ep = pick(stage // etp)
    schedule, vpp = SCHEDULES[int(rng.integers(3))] if pp > 1 else SCHEDULES[0]
    return clusters.strategy(
        tp=tp, cp=cp, dp=dp, pp=pp, etp=etp, ep=ep, gtp=pick(dp), egtp=pick(stage // etp // ep), schedule=schedule, vpp=vpp
    )


def random_traffic(rng: np.random.Generator, strategy: Strategy, *, mixed: bool = False) -> Traffic:
    """Bytes log-uniform over two decades for a random part of the axes; stages alike or not.

    `mixed`: axes other than pp run rings, all-to-alls or collectives at random.
    """
    uneven = rng.random() < 0.5
    terms = []
    for axis in AXES:
        if strategy.size(axis) > 1 and rng.random() < 0.7:
            bytes_P = np.full(strategy.pp, 10 ** rng.uniform(0, 2))
            if uneven:
                bytes_P = bytes_P * rng.uniform(0.5, 1.5, strategy.pp)
            kind = {"ep": "clique", "pp": "path"}.get(axis, "ring")
            if mixed and axis != "pp":
                kind = ("ring", "clique", "hier")[int(rng.integers(3))]
            terms.append(Term(axis, kind, bytes_P))
    return Traffic(tuple(terms))


def random_cluster(rng: np.random.Generator, *, most: int = 16, deep: bool = False) -> Cluster:
    """Up to `most` GPUs in two or three tiers (`deep`: up to four), with dead GPUs and dead nodes."""
    while True:
        per_node, nodes = int(rng.integers(1, 4)), int(rng.integers(1, 4))
        groups = [int(rng.integers(1, 4)) for _ in range(int(rng.integers(1, 4 if deep else 3)))]
        domains = int(np.prod(groups))
        if 2 <= per_node * nodes * domains <= most and domains > 1:
            break
    total = nodes * domains
    dead = [int(n) for n in rng.choice(total, int(rng.integers(0, 2)), replace=False)]
    gpus = [(int(rng.integers(total)), int(rng.integers(per_node)))] if rng.random() < 0.4 else []
    return clusters.regular(per_node, nodes, groups, failed_nodes=dead, failed_gpus=gpus, taper=[float(rng.uniform(0.2, 1))])


def tight_case(rng: np.random.Generator) -> tuple[Cluster, Strategy, Traffic]:
    """Expert groups (and tensor groups in some) as large as a domain, rings over them, on nearly all GPUs of domains that lack
    some: groups have to be parted. At most ten ranks.
    """
    unit = int(rng.integers(3, 6))
    groups = int(rng.integers(2, 10 // unit + 1))
    shape = [(groups + 1,), (2, 2), (groups,)][int(rng.integers(3))]
    room = unit + int(rng.random() < 0.3)
    domains = int(np.prod(shape))
    spare = domains * room - unit * groups
    if spare < 0:
        return tight_case(rng)
    dead = rng.choice(domains * room, spare - int(rng.integers(0, min(spare, 1) + 1)), replace=False)
    cluster = clusters.regular(room, 1, list(shape) + [1] * (len(shape) == 1), failed_gpus=[divmod(int(d), room) for d in dead])
    pp = 2 if groups % 2 == 0 and rng.random() < 0.5 else 1
    tp = 2 if unit == 4 and rng.random() < 0.5 else 1
    stage = unit * groups // pp
    strategy = clusters.strategy(tp=tp, dp=stage // tp, pp=pp, ep=unit)
    weight = 10 ** rng.uniform(-1, 1, 4)
    kinds = {"ep": "clique", "tp": "clique", "edp": "ring", "pp": "path"}
    uneven = rng.uniform(0.5, 1.5, pp) if rng.random() < 0.3 else np.ones(pp)
    terms = [Term(a, k, w * uneven) for (a, k), w in zip(kinds.items(), weight, strict=True) if strategy.size(a) > 1]
    return cluster, strategy, Traffic(tuple(terms))


def random_placement(rng: np.random.Generator, cluster: Cluster, strategy: Strategy) -> Placement:
    usable = np.flatnonzero(cluster.usable_NG.ravel())
    return Placement(rng.permutation(usable)[: strategy.world_size])
