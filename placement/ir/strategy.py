# SPDX-License-Identifier: Apache-2.0
# R rank   S strategy
"""Parallel degrees, canonical rank order, and the communicators that follow from them.

Rank order is Megatron's (DESIGN §3): rank = tp + TP*(cp + CP*(dp + DP*pp)). Expert layers fold the same ranks of one
pipeline stage as etp (fastest), ep, edp: "MoE parallel folding", Liu et al. 2025, arXiv 2504.14960. GTP shards weights over
`gtp` consecutive data-parallel ranks and gathers them per use (Megatron-LM GTP document); EGTP does so over edp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from placement.ir._array import Ints, freeze

AXES = ("tp", "cp", "gtp", "dp", "pp", "etp", "ep", "egtp", "edp")
DEGREES = ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "pp", "vpp", "micro_batch")


@dataclass(frozen=True)
class Strategy:
    """How a job is cut. Invariant: etp*ep*edp = tp*cp*dp (the ranks of a stage), gtp divides dp, egtp divides edp.

    `dp` counts data-parallel replicas (gtp included); `num_microbatches` = global_batch / (dp * micro_batch).
    """

    tp: int
    cp: int
    ep: int
    etp: int
    dp: int
    pp: int
    vpp: int
    micro_batch: int
    num_microbatches: int
    schedule: str
    recompute: str
    sharding: str
    gtp: int = 1
    egtp: int = 1

    def __post_init__(self) -> None:
        assert self.stage_ranks % (self.etp * self.ep) == 0, "expert groups must tile a stage"
        assert self.dp % self.gtp == 0 and self.edp % self.egtp == 0

    @property
    def stage_ranks(self) -> int:
        return self.tp * self.cp * self.dp

    @property
    def edp(self) -> int:
        return self.tp * self.cp * self.dp // (self.etp * self.ep)

    @property
    def world_size(self) -> int:
        return self.stage_ranks * self.pp

    @property
    def num_chunks(self) -> int:
        """Virtual pipeline stages: pp * vpp; V-shaped schedules have vpp = 2."""
        return self.pp * self.vpp

    def size(self, axis: str) -> int:
        return {"edp": self.edp}.get(axis) or int(getattr(self, axis))

    def stride(self, axis: str) -> int:
        """Distance in rank between neighbours of `axis`; a communicator is `size` ranks at that stride."""
        dense = {"tp": 1, "cp": self.tp, "gtp": self.tp * self.cp, "dp": self.tp * self.cp, "pp": self.stage_ranks}
        expert = {"etp": 1, "ep": self.etp, "egtp": self.etp * self.ep, "edp": self.etp * self.ep}
        return (dense | expert)[axis]

    def coordinates(self, rank_R: Ints) -> Mapping[str, Ints]:
        """Coordinates of ranks along tp, cp, dp, pp, etp, ep, edp (arrays like `rank_R`)."""
        return {a: rank_R // self.stride(a) % self.size(a) for a in ("tp", "cp", "dp", "pp", "etp", "ep", "edp")}

    def groups(self, axis: str) -> Ints:
        """Communicators along `axis`: shape (world_size / size, size), members in ascending rank, rows by first member.

        Invariant: every rank stands in exactly one row.

        >>> s = Strategy(tp=2, cp=1, ep=1, etp=1, dp=1, pp=2, vpp=1, micro_batch=1, num_microbatches=1,
        ...              schedule="1f1b", recompute="none", sharding="zero1")
        >>> s.groups("tp").tolist(), s.groups("pp").tolist()
        ([[0, 1], [2, 3]], [[0, 2], [1, 3]])
        """
        n, stride = self.size(axis), self.stride(axis)
        ranks = np.arange(self.world_size).reshape(-1, n, stride)
        return np.moveaxis(ranks, 1, -1).reshape(-1, n)

    @property
    def chunk_stage(self) -> Ints:
        """Pipeline stage of each chunk, shape (num_chunks,): round robin, or a V for zb-v and dualpipev."""
        chunk = np.arange(self.num_chunks)
        if self.schedule in ("zb-v", "dualpipev"):
            return np.where(chunk < self.pp, chunk, 2 * self.pp - 1 - chunk)
        return chunk % self.pp


@dataclass(frozen=True)
class Stages:
    """Which blocks run in which chunk: `chunk_B` ascends along the topological order; recompute mode of each pipeline stage.

    Chunk -> stage is `Strategy.chunk_stage`.
    """

    chunk_B: Ints
    recompute_P: tuple[str, ...]

    def __post_init__(self) -> None:
        freeze(self)
        assert bool(np.all(np.diff(self.chunk_B) >= 0)), "chunks follow the topological order"


@dataclass(frozen=True)
class Placement:
    """rank -> GPU, injective: `gpu_R[rank]` = node * gpus_per_node + slot. Every other usable GPU is a spare."""

    gpu_R: Ints

    def __post_init__(self) -> None:
        freeze(self)
