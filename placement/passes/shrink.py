# SPDX-License-Identifier: Apache-2.0
# R rank   C column: replicas that must stay together   D NVLink domain
"""Elastic data parallelism: fewer replicas with the same layout, where the cells of a plan do not fit any more.

Replicas go in whole columns: those whose ranks fold to the same expert groups and weight shards, in all pipeline stages. What
one rank holds of the model does not change, so checkpoints load as they are (optimizer shards over more or fewer replicas are
dealt anew, which the distributed optimizer does on loading).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from placement.diag import NoRepair
from placement.ir import Candidate, Cluster, Job, Placement, Strategy
from placement.ir._array import Bools, Ints
from placement.passes.yard import Yard, cell_of, yard_of


@dataclass(frozen=True)
class Shrunk:
    """The plan on fewer replicas. `old_R`: the former rank of each rank; `batch`: (old, new) sequences of a step."""

    chosen: Candidate
    job: Job
    old_R: Ints
    replicas: tuple[int, int]
    batch: tuple[int, int]


def shrunk(cluster: Cluster, chosen: Candidate, job: Job) -> Shrunk:
    """The plan without as few columns as possible, those that lost most. Every replica keeps its microbatches, so the global
    batch gets smaller with them. Raises NoRepair where nothing would be left, or where a pin forbids it.
    """
    strategy = chosen.strategy
    if pinned := sorted({"dp", "world_size", "edp"} & set(job.pins)):
        raise NoRepair(
            f"the job pins {', '.join(pinned)}, so it cannot run on fewer replicas", help="remove the pin and plan again"
        )
    yard, cell = yard_of(cluster, strategy, job), cell_of(cluster, strategy, chosen.placement)
    width = column_ranks(strategy, cell, yard.width)
    columns = strategy.stage_ranks // width
    drop = _too_many(yard, strategy, cell, width)
    if drop >= columns:
        raise NoRepair("not one replica of this plan fits what is left of the cluster", help="plan again with `placement plan`")
    gpu_PCW = chosen.placement.gpu_R.reshape(strategy.pp, columns, width)
    keep = np.sort(_most_whole(cluster, yard, gpu_PCW)[: columns - drop])
    fewer = _fewer(strategy, width * (columns - drop))
    rank_PCW = np.arange(strategy.world_size).reshape(gpu_PCW.shape)
    batch = fewer.dp * fewer.micro_batch * fewer.num_microbatches
    return Shrunk(
        replace(chosen, strategy=fewer, placement=Placement(gpu_PCW[:, keep].reshape(-1))),
        replace(job, global_batch=batch), rank_PCW[:, keep].reshape(-1), (strategy.dp, fewer.dp), (job.global_batch, batch),
    )  # fmt: skip


def column_ranks(strategy: Strategy, cell: int, width: int) -> int:
    """Ranks of a stage that only go together: whole cells on whole nodes, expert groups, shards of weights."""
    s = strategy
    return math.lcm(cell, width, s.tp * s.cp * s.gtp, s.etp * s.ep * s.egtp)


def _fewer(strategy: Strategy, stage_ranks: int) -> Strategy:
    return replace(strategy, dp=stage_ranks // (strategy.tp * strategy.cp))


def _too_many(yard: Yard, strategy: Strategy, cell: int, width: int) -> int:
    """Columns that do not fit: blocks needed over blocks that the domains hold, by the blocks of a column."""
    block = math.lcm(cell, yard.width)
    room = int((yard.room_D * yard.width // block).sum())
    short = max(strategy.world_size // block - room, 1)
    return -(-short // (width // block * strategy.pp))


def _most_whole(cluster: Cluster, yard: Yard, gpu_PCW: Ints) -> Ints:
    """Columns, those with the fewest lost sites first; then those whose domains lost least."""
    site = gpu_PCW // (cluster.gpus_per_node if yard.width > 1 else 1)
    lost: Bools = ~yard.usable_S[site]
    domain_lost = np.bincount(yard.domain_S[~yard.usable_S], minlength=yard.num_domains)
    near_C = domain_lost[yard.domain_S[site]].sum(axis=(0, 2))
    lost_C = lost.sum(axis=(0, 2))
    return np.lexsort((np.arange(len(lost_C)), near_C, lost_C))
