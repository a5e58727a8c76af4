# SPDX-License-Identifier: Apache-2.0
# R rank   N node
"""The rules of a placement alone, for many placements in a row: what a drill asks after every repair.

The same rules as `ranks` and `groups` check on a plan directory, without its tables and prices.
"""

from __future__ import annotations

import math

import numpy as np

from placement.ir import Cluster, Placement, State, Strategy


def broken_rules(cluster: Cluster, strategy: Strategy, placement: Placement, *, ragged: bool = False) -> list[str]:
    """What is wrong with ranks on these GPUs; empty if nothing is."""
    slots, gpu_R = cluster.gpus_per_node, placement.gpu_R
    if len(gpu_R) != strategy.world_size:
        return [f"{len(gpu_R):,} ranks are placed, the degrees multiply to {strategy.world_size:,}"]
    if int(gpu_R.min()) < 0 or int(gpu_R.max()) >= cluster.num_nodes * slots:
        return ["a rank sits on a GPU that the cluster does not have"]
    node_R = gpu_R // slots
    found = []
    taken = np.bincount(gpu_R, minlength=cluster.num_nodes * slots)
    if (taken > 1).any():
        found.append(f"{int((taken > 1).sum()):,} GPUs run two ranks")
    sick = (cluster.state_N[node_R] != State.OK) | ~cluster.gpu_ok_NG[node_R, gpu_R % slots]
    if sick.any():
        found.append(f"{int(sick.sum()):,} ranks sit on GPUs that are out of service")
    used_N = taken.reshape(-1, slots).sum(axis=1)
    if not ragged and strategy.world_size >= slots and ((used_N > 0) & (used_N != slots)).any():
        found.append("nodes give a part of their GPUs")
    return found + _split_groups(cluster, strategy, node_R)


def _split_groups(cluster: Cluster, strategy: Strategy, node_R: np.ndarray) -> list[str]:
    """Tensor and expert groups that fit an NVLink domain but lie in several."""
    tier = cluster.tiers[0]
    domain_R, stage = tier.group_N[node_R], strategy.tp * strategy.cp * strategy.dp
    largest = int(np.bincount(tier.group_N).max()) * cluster.gpus_per_node
    found = []
    for name, size, block in (
        ("tensor", strategy.tp, strategy.tp),
        ("expert", strategy.etp * strategy.ep, math.lcm(strategy.tp, strategy.etp * strategy.ep)),
    ):
        groups = domain_R.reshape(strategy.pp, stage // size, size)  # both kinds count consecutive ranks of a stage
        split = int((groups != groups[:, :, :1]).any(axis=2).sum())
        if split and block <= largest:
            found.append(f"{split:,} {name} groups cross NVLink domains")
    return found
