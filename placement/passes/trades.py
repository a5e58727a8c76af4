# SPDX-License-Identifier: Apache-2.0
# N node   R rank   P stage
"""The same strategy and stages with two hosts, or two whole stages, in each other's place: what that would have cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placement.ir import Cluster, Placement, Stages, StepCost, Strategy
from placement.ir._array import Bools, Ints
from placement.passes.problem import Problem, realise

STAGES = 8  # stages that are tried, the nearest first


@dataclass(frozen=True)
class Trade:
    """`other`: the node or stage that changes places. `tier`: lowest tier that holds both nodes. `idle`: it ran no rank."""

    other: int
    tier: int
    idle: bool
    cost: StepCost


def node_trades(task: Problem, strategy: Strategy, stages: Stages, placement: Placement, node: int) -> list[Trade]:
    """`node` against the first idle host, and the first of another stage, at each distance; fastest first.

    Empty if `node` runs no rank. O(tiers) placements are priced.
    """
    return _ordered(
        Trade(other, tier, idle, realise(task, strategy, stages, _node_swap(task.cluster, placement, node, other)).cost)
        for other, tier, idle in _partners(task.cluster, strategy, placement, node)
    )


def stage_trades(task: Problem, strategy: Strategy, stages: Stages, placement: Placement, stage: int) -> list[Trade]:
    """The hosts of `stage` against those of each other stage, the nearest `STAGES` of them; fastest first."""
    others = sorted((p for p in range(strategy.pp) if p != stage), key=lambda p: (abs(p - stage), p))[:STAGES]
    return _ordered(
        Trade(p, 0, False, realise(task, strategy, stages, _stage_swap(strategy, placement, stage, p)).cost) for p in others
    )


def _ordered(found: Iterator[Trade]) -> list[Trade]:
    return sorted(found, key=lambda t: (t.cost.step_s, t.other))


def _partners(cluster: Cluster, strategy: Strategy, placement: Placement, node: int) -> Iterator[tuple[int, int, bool]]:
    """(node, tier, idle) of hosts with the same GPUs that could take over, at most two a tier."""
    slots = cluster.gpus_per_node
    node_R = placement.gpu_R // slots
    mine_R = np.flatnonzero(node_R == node)
    if not len(mine_R):
        return
    stage_N = np.full(cluster.num_nodes, -1)
    stage_N[node_R[::-1]] = (np.arange(len(node_R)) // strategy.stage_ranks)[::-1]
    able_N = cluster.whole_N & (cluster.chip_N == cluster.chip_N[node])
    able_N[node] = False
    near_N = np.zeros(cluster.num_nodes, bool)
    for t, tier in enumerate(cluster.tiers):
        here_N: Bools = tier.group_N == tier.group_N[node]
        ring_N = here_N & ~near_N & able_N
        for idle, some_N in ((True, stage_N < 0), (False, (stage_N >= 0) & (stage_N != stage_N[node]))):
            found = np.flatnonzero(ring_N & some_N)
            if len(found):
                yield int(found[0]), t, idle
        near_N = here_N


def _node_swap(cluster: Cluster, placement: Placement, a: int, b: int) -> Placement:
    node_R, slot_R = np.divmod(placement.gpu_R, cluster.gpus_per_node)
    new_R = np.where(node_R == a, b, np.where(node_R == b, a, node_R))
    return Placement(np.asarray(new_R * cluster.gpus_per_node + slot_R, np.int64))


def _stage_swap(strategy: Strategy, placement: Placement, a: int, b: int) -> Placement:
    gpu_PR: Ints = placement.gpu_R.reshape(strategy.pp, -1).copy()
    gpu_PR[[a, b]] = gpu_PR[[b, a]]
    return Placement(gpu_PR.ravel())
