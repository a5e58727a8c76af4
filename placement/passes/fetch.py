# SPDX-License-Identifier: Apache-2.0
# W moved rank   R rank   G gpu
"""Where a moved rank finds the state it needs: its own old GPU, a peer that holds the same shard, or the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir import Cluster, Placement, State, Strategy
from placement.ir._array import Bools, Ints

ITSELF, CHECKPOINT = -1, -2  # beside ranks


@dataclass(frozen=True)
class Sources:
    """For each moved rank: the rank to fetch dense weights, expert weights and optimizer states from, or ITSELF, CHECKPOINT."""

    dense_W: Ints
    expert_W: Ints
    optimizer_W: Ints


def sources(cluster: Cluster, strategy: Strategy, before: Placement, moved_W: Ints) -> Sources:
    """Sources of the ranks `moved_W` of a placement on the cluster as it is now.

    A drained GPU can still be read, a failed one cannot. Dense weights are the same on all ranks of a data-parallel group,
    expert weights on those of an expert-data-parallel group, as far as gtp, egtp or fsdp do not shard them; sharded optimizer
    states are on one rank only.
    """
    alive_R = readable(cluster)[before.gpu_R]
    own_W = alive_R[moved_W]
    whole = strategy.sharding != "fsdp"
    dense_W = _peers(strategy, "dp", strategy.gtp, alive_R, moved_W) if whole else np.full(len(moved_W), CHECKPOINT)
    expert_W = _peers(strategy, "edp", strategy.egtp, alive_R, moved_W) if whole else dense_W.copy()
    optimizer_W = dense_W if strategy.sharding == "none" else np.full(len(moved_W), CHECKPOINT)
    return Sources(*(np.where(own_W, ITSELF, found_W) for found_W in (dense_W, expert_W, optimizer_W)))


def readable(cluster: Cluster) -> Bools:
    """GPUs whose memory can still be read, (G,): all but failed and absent ones."""
    drained_N = cluster.state_N == State.DRAINED
    return np.asarray((cluster.gpu_ok_NG | drained_N[:, None]).ravel())


def _peers(strategy: Strategy, axis: str, step: int, alive_R: Bools, moved_W: Ints) -> Ints:
    """The nearest living member of each rank's group at a distance that is a multiple of `step`."""
    n, stride = strategy.size(axis), strategy.stride(axis)
    found_W = np.full(len(moved_W), CHECKPOINT)
    open_W = np.arange(len(moved_W))
    for far in range(step, n, step):
        for sign in (1, -1):
            at = moved_W[open_W] // stride % n
            peer = moved_W[open_W] + ((at + sign * far) % n - at) * stride
            living = alive_R[peer]
            found_W[open_W[living]] = peer[living]
            open_W = open_W[~living]
        if not len(open_W) or far > n // 2 + step:
            break
    return found_W
