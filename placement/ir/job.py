# SPDX-License-Identifier: Apache-2.0
"""What the user asks for: batch, precision, optimizer, spares, pins, effort. And the constants of the cost model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from placement.ir._array import digest
from placement.ir.scope import Scope

PRECISIONS = ("bf16", "fp8", "mxfp8", "nvfp4")
SCHEDULES = ("1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev")
RECOMPUTE = ("none", "selective", "full")
SHARDING = ("none", "zero1", "zero2", "fsdp")


@dataclass(frozen=True)
class Optimizer:
    """Bytes per parameter. Adam in mixed precision keeps an FP32 master copy and two moments (Rajbhandari et al. 2020)."""

    name: str = "adam"
    master_bytes: float = 4.0
    moment_bytes: float = 8.0
    grad_bytes: float = 4.0  # main gradient that is kept and accumulated
    grad_reduce_bytes: float = 2.0  # what the data-parallel reduction moves
    param_gather_bytes: float = 2.0

    @property
    def state_bytes(self) -> float:
        return self.master_bytes + self.moment_bytes


@dataclass(frozen=True)
class Software:
    """Which stack runs the job: decides overlap, kernels and drift. `year`: release as a decimal year.

    `ep_overlap`: the all-to-all of one microbatch runs behind the compute of another (Megatron's 1F1B expert overlap).
    `eager`: element-wise operations run one by one (PyTorch without `torch.compile`).
    `graphs`: CUDA graphs launch whole layers, also where the stack does not by itself.
    """

    stack: str = "megatron"  # megatron, mlperf, torchtitan, composer, automodel, deepspeed
    year: float = 2026.6
    ep_overlap: bool = False
    eager: bool = False
    graphs: bool = False


@dataclass(frozen=True)
class Spares:
    """How many healthy GPUs stay out of the job. `policy`: none, per_rack (trays), racks, per_group (racks of each group of
    the tier below the outermost), gpus, any (left to the search), or survive: as many racks as failures come in `hours` with
    `probability`, at `rate` failures a GPU day.
    """

    policy: str = "any"
    count: int = 0
    hours: float = 0.0
    probability: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class Job:
    """One training job. `global_batch` is in sequences and is never changed."""

    seq_len: int
    global_batch: int
    precision: str = "bf16"
    optimizer: Optimizer = field(default_factory=Optimizer)
    software: Software = field(default_factory=Software)
    max_gpus: int | None = None  # None: all usable ones
    spares: Spares = field(default_factory=Spares)
    pins: Mapping[str, int | str] = field(default_factory=dict)  # axis or choice -> value: {"tp": 8, "schedule": "1f1b"}
    schedules: tuple[str, ...] = ("1f1b", "interleaved")  # what Megatron runs; torchtitan and others run more of SCHEDULES
    recompute: tuple[str, ...] = RECOMPUTE
    sharding: tuple[str, ...] = ("zero1", "fsdp")
    memory_margin: float = 0.06  # share of HBM kept free for fragmentation, NCCL and CUDA contexts
    ragged: bool = False  # allow using part of a node
    expert_imbalance: float = 1.0  # most loaded expert group / mean
    effort: int = 2
    seed: int = 0
    calibration: str | None = None

    def digest(self) -> str:
        return digest(self)


@dataclass(frozen=True)
class Efficiency:
    """Fitted constants of the cost model, by name, with where they came from. Read from `catalog/efficiency.yaml`."""

    values: Mapping[str, float]
    provenance: str
    scope: Scope | None = None

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    def digest(self) -> str:
        return digest(dict(self.values), *([self.scope] if self.scope else []))
