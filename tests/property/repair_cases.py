# SPDX-License-Identifier: Apache-2.0
"""Random small plans that lose parts, and an oracle for the fewest moves that looks at every repair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, State, Strategy, Traffic
from placement.passes.place import cell_size
from placement.passes.sites import expand, sites_of
from tests import clusters
from tests.property.mapping_cases import random_strategy, random_traffic


@dataclass(frozen=True)
class Case:
    """A plan on `cluster`, and the cluster `after` it lost parts."""

    cluster: Cluster
    after: Cluster
    strategy: Strategy
    placement: Placement
    traffic: Traffic
    job: Job


def lose(cluster: Cluster, nodes: list[int], gpus: list[tuple[int, int]]) -> Cluster:
    state_N, ok_NG = cluster.state_N.copy(), cluster.gpu_ok_NG.copy()
    state_N[nodes] = State.FAILED
    ok_NG[nodes] = False
    for node, slot in gpus:
        ok_NG[node, slot] = False
    return replace(cluster, state_N=state_N, gpu_ok_NG=ok_NG)


def random_case(rng: np.random.Generator, *, most: int = 24) -> Case | None:
    """A random plan of up to `most` GPUs with spares, cells anywhere they fit, and a random set of failures."""
    per_node, nodes = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    groups = [int(rng.integers(1, 4)) for _ in range(int(rng.integers(1, 3)))]
    domains = math.prod(groups)
    total = per_node * nodes * domains
    if not 2 <= total <= most:
        return None
    cluster = clusters.regular(per_node, nodes, groups, taper=[float(rng.uniform(0.2, 1))])
    job = Job(seq_len=4096, global_batch=1024, ragged=bool(rng.random() < 0.3))
    world = int(rng.integers(1, total + 1))
    strategy = random_strategy(rng, world)
    try:
        sites = sites_of(cluster, strategy, job)
    except Infeasible:
        return None
    blocks = world // sites.cell // sites.block
    seats_D = np.repeat(np.arange(len(sites.room_D)), sites.room_D // sites.block)
    if blocks * sites.block * sites.cell != world or sites.parted:  # the rules are those of whole cells
        return None
    domain_K = rng.permutation(seats_D)[:blocks]
    placement = expand(sites, np.repeat(domain_K, sites.block).astype(np.int32))
    num_nodes = nodes * domains
    dead = [int(n) for n in rng.choice(num_nodes, int(rng.integers(0, min(3, num_nodes))), replace=False)]
    gpus = [(int(rng.integers(num_nodes)), int(rng.integers(per_node))) for _ in range(int(rng.integers(0, 4)))]
    return Case(cluster, lose(cluster, dead, gpus), strategy, placement, random_traffic(rng, strategy), job)


def cell_of_case(case: Case) -> int:
    return cell_size(case.cluster, case.strategy, case.job.ragged)


def broken_rules(case: Case, placement: Placement) -> list[str]:
    """What a repaired placement must never do; empty if it does none of it."""
    cluster, gpu_R = case.after, placement.gpu_R
    node_R, slots = gpu_R // cluster.gpus_per_node, cluster.gpus_per_node
    found = []
    if len(np.unique(gpu_R)) != len(gpu_R):
        found.append("two ranks on a GPU")
    if not cluster.usable_NG.ravel()[gpu_R].all():
        found.append("a dead GPU runs a rank")
    domain_CR = cluster.tiers[0].group_N[node_R].reshape(-1, cell_of_case(case))
    if (domain_CR != domain_CR[:, :1]).any():
        found.append("a cell is split over domains")
    strategy = case.strategy
    expert, domain = strategy.etp * strategy.ep, int(np.bincount(cluster.tiers[0].group_N).max()) * slots
    for axis, block in (
        ("tp", strategy.tp),
        ("etp", math.lcm(strategy.tp, strategy.etp)),
        ("ep", math.lcm(strategy.tp, expert)),
    ):
        domains = cluster.tiers[0].group_N[node_R][strategy.groups(axis)]
        if block <= domain and (domains != domains[:, :1]).any():
            found.append(f"a group of {axis} is split over domains")
    used = np.bincount(node_R, minlength=cluster.num_nodes)
    if not _loose(case) and ((used > 0) & (used != slots)).any():
        found.append("a node gives a part of its GPUs")
    return found


def _loose(case: Case) -> bool:
    return case.job.ragged or case.strategy.world_size < case.cluster.gpus_per_node


def fewest_moves(case: Case) -> int | None:
    """The least number of moved ranks over every repair that keeps the rules, by looking at all of them; None if there is none.

    Looks at every choice of a domain for every cell, and in each domain at every choice of nodes: ranks that can stay do.
    """
    cluster, cell = case.after, cell_of_case(case)
    slots = cluster.gpus_per_node
    domain_N = cluster.tiers[0].group_N
    free = cluster.usable_NG.ravel() if _loose(case) else np.repeat(cluster.whole_N, slots)
    gpus_D = [np.flatnonzero(free & (np.repeat(domain_N, slots) == d)).tolist() for d in range(cluster.tiers[0].num_groups)]
    cells = case.placement.gpu_R.reshape(-1, cell)
    stay: dict[tuple[int, tuple[int, ...]], int | None] = {}

    def stays(domain: int, members: tuple[int, ...]) -> int | None:
        """Most ranks of these cells that keep their GPU when exactly they live in a domain; None if they do not fit."""
        key = (domain, members)
        if key not in stay:
            old = {int(g) for c in members for g in cells[c]}
            need, here = len(old), [g for g in gpus_D[domain] if g in old]
            if _loose(case):
                stay[key] = len(here) if need <= len(gpus_D[domain]) else None
            else:
                nodes = sorted({g // slots for g in gpus_D[domain]})
                if need % slots or need // slots > len(nodes):
                    stay[key] = None
                else:
                    kept = [sum(g // slots in pick for g in here) for pick in combinations(nodes, need // slots)]
                    stay[key] = max(kept)
        return stay[key]

    best = -1
    for owner in _homes(len(cells), len(gpus_D)):
        parts = [stays(d, tuple(c for c, o in enumerate(owner) if o == d)) for d in range(len(gpus_D))]
        if all(p is not None for p in parts):
            best = max(best, sum(p for p in parts if p is not None))
    return None if best < 0 else case.strategy.world_size - best


def _homes(cells: int, domains: int) -> Iterator[tuple[int, ...]]:
    import itertools

    return itertools.product(range(domains), repeat=cells)
