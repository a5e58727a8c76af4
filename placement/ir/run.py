# SPDX-License-Identifier: Apache-2.0
"""A published training run, expressed in the types of a plan so that the cost model can be held against it."""

from __future__ import annotations

from dataclasses import dataclass

from placement.ir.cluster import Cluster
from placement.ir.job import Job
from placement.ir.model import ModelGraph
from placement.ir.strategy import Strategy


@dataclass(frozen=True)
class Prior:
    """A constant of the cost model before any run is seen. `width`: standard deviation of its logarithm; 0: never fitted.

    `family`: constants that are wrong together, by a factor in common of deviation `shared`, beside `width` of their own: what
    one precision of a generation teaches holds in part for the others.
    """

    value: float
    width: float
    meaning: str = ""
    source: str = ""
    family: str = ""
    shared: float = 0.0


@dataclass(frozen=True)
class Run:
    """One published run. `reason` says why it cannot be predicted; then cluster, model, job and strategy are None.

    `recompute_share`: part of the layers that a run recomputes. `assumed`: fields that the row leaves open.
    `peak_bytes`: measured peak memory of the fullest GPU, where the row has it.
    """

    id: str
    model_key: str
    kind: str  # dense or moe
    hardware: str
    core: bool
    measured_step_s: float | None
    reason: str | None
    cluster: Cluster | None = None
    model: ModelGraph | None = None
    job: Job | None = None
    strategy: Strategy | None = None
    recompute_share: float = 1.0
    num_gpus: int = 0
    assumed: tuple[str, ...] = ()
    peak_bytes: float | None = None

    @property
    def pair(self) -> tuple[str, str]:
        return self.model_key, self.hardware

    @property
    def tokens_per_s_per_gpu(self) -> float:
        assert self.job is not None and self.measured_step_s
        return self.job.global_batch * self.job.seq_len / self.measured_step_s / self.num_gpus


@dataclass(frozen=True)
class CollectivePoint:
    """One line of a nccl-tests log: `kind` all_reduce, all_gather, reduce_scatter, alltoall or sendrecv.

    `payload_bytes` as nccl-tests prints it: the whole tensor; what each rank sends for alltoall and sendrecv.
    """

    kind: str
    payload_bytes: float
    seconds: float
    num_ranks: int
    num_hosts: int


@dataclass(frozen=True)
class MatmulPoint:
    """One matmul (m, k) x (k, n) and its seconds."""

    m: float
    n: float
    k: float
    precision: str
    seconds: float
