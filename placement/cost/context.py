# SPDX-License-Identifier: Apache-2.0
# S scenario: one (job, hardware); 1 for a plan, many when runs are fitted together
"""Facts of a job on a hardware as arrays, so that one arithmetic serves a plan and a fit over hundreds of runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.hardware import Hardware
from placement.ir import Chip, Job
from placement.ir._array import Bools, Floats, Ints

GENERATIONS = ("ampere", "hopper", "blackwell")
MATMULS = (
    "matmul_ampere_bf16", "matmul_hopper_bf16", "matmul_hopper_fp8",
    "matmul_blackwell_bf16", "matmul_blackwell_fp8", "matmul_blackwell_mxfp8", "matmul_blackwell_nvfp4",
)  # fmt: skip
# board power and bf16 peak of the part that the matmul constants of a generation stand for
REFERENCE = {"ampere": (400.0, 312e12), "hopper": (700.0, 989e12), "blackwell": (1200.0, 2450e12)}
SPEED_LIMIT = 1.25  # of the reference part, which reaches 0.74 to 0.83 of its peak in large matmuls: nothing passes the peak
WEIGHT_BYTES = {"bf16": 2.0, "fp8": 1.0, "mxfp8": 1.03125, "nvfp4": 0.5625}  # with block scales; Megatron GTP document
UNFUSED_BEFORE = 2022.9  # FlashAttention and sequence parallelism came into the stacks during 2022
OVERLAP_SINCE = (
    2023.1  # NeMo overlaps gradient reduction from 1.14 (end of 2022), tensor-parallel gathers from 1.17 (spring of 2023)
)
FUSED_LOSS_SINCE = 2025.6  # cross entropy of Transformer Engine in the recipes of Megatron-Bridge
FUSED_MOE_SINCE = 2026.35  # CUDA graphs over MoE layers, fused permutation and grouped quantisation: Megatron 26.04 and later


@dataclass(frozen=True)
class Context:
    """Every field has shape (S,). Rates in SI per GPU and direction."""

    peak_low: Floats  # dense FLOP/s at the matmul precision of the job
    peak_bf16: Floats
    hbm_Bps: Floats
    nvlink_Bps: Floats
    nic_Bps: Floats
    domain: Floats  # GPUs of an NVLink domain
    nvls: Bools
    generation: Ints  # index into GENERATIONS
    matmul: Ints  # index into MATMULS: precision of the layers
    matmul_bf16: Ints  # index into MATMULS: the head
    low: Bools  # layers run below bf16
    ultra: Bools  # Blackwell Ultra
    air: Bools  # Blackwell in an HGX box (1,000 W) rather than a rack
    watts: Floats  # power for each FLOP/s of peak, relative to the reference part of the generation
    mlperf: Bools
    torch: Bools  # torchtitan, AutoModel: compiled PyTorch instead of Transformer Engine
    composer: Bools
    unfused: Bools  # attention writes its score matrix
    naive: Floats  # share of stacks of that year that overlap no communication, 1 before 2023
    year: Floats
    seq_len: Floats
    ep_overlap: Bools  # all-to-all hidden behind the other microbatch's compute
    eager: Bools  # element-wise operations are not fused
    graphs: Bools  # layers are launched whole


def torch_stack(job: Job) -> bool:
    """Whether plain PyTorch runs the job: torchtitan, AutoModel."""
    return job.software.stack in ("torchtitan", "automodel")


def logit_bytes(job: Job) -> float:
    """Bytes kept for a logit: bf16 and its fp32 softmax; in PyTorch's loss also the fp32 copy and its gradient."""
    return 14.0 if torch_stack(job) else 6.0


def precision_of(job: Job, hw: Hardware) -> str:
    """The matmul precision that really runs: Ampere has bf16 only, Hopper one kind of fp8."""
    order = {"ampere": {}, "hopper": {"fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp8"}}
    family = order.get(hw.chip.generation)
    if family is None:
        return job.precision
    return family.get(job.precision, "bf16")


def generation_of(hw: Hardware) -> str:
    """The nearest generation with fitted constants."""
    name = hw.chip.generation
    return "blackwell" if name.startswith("blackwell") else name if name in GENERATIONS else "blackwell"


def relative_power(chip: Chip, generation: str) -> float:
    """Watts a FLOP/s of bf16 peak, relative to the generation's reference part; 1 where the power is not known."""
    power_w, peak = REFERENCE[generation]
    return chip.power_w / power_w * peak / chip.peak("bf16") if chip.power_w else 1.0


def context(job: Job, hw: Hardware) -> Context:
    """The single scenario of a job on a hardware."""
    chip, stack, year = hw.chip, job.software.stack, job.software.year
    generation, precision = generation_of(hw), precision_of(job, hw)
    ampere = generation == "ampere"

    def one(value: float | bool) -> np.ndarray:
        return np.array([value])

    return Context(
        peak_low=one(chip.peak(precision)), peak_bf16=one(chip.peak("bf16")), hbm_Bps=one(chip.hbm_Bps),
        nvlink_Bps=one(chip.nvlink_Bps), nic_Bps=one(hw.nic_Bps), domain=one(float(hw.domain_gpus)), nvls=one(chip.nvls),
        generation=one(GENERATIONS.index(generation)),
        matmul=one(MATMULS.index(f"matmul_{generation}_{precision}")),
        matmul_bf16=one(MATMULS.index(f"matmul_{generation}_bf16")),
        low=one(precision != "bf16"), ultra=one(chip.generation == "blackwell_ultra"),
        air=one(generation == "blackwell" and not chip.form.startswith("nvl")), watts=one(relative_power(chip, generation)),
        mlperf=one(stack == "mlperf"), torch=one(torch_stack(job)), composer=one(stack == "composer"),
        unfused=one(ampere and year < UNFUSED_BEFORE), naive=one(1.0 / (1.0 + math.exp(8.0 * (year - OVERLAP_SINCE)))),
        year=one(year),
        seq_len=one(float(job.seq_len)), ep_overlap=one(job.software.ep_overlap), eager=one(job.software.eager),
        graphs=one(stack == "mlperf" or job.software.graphs),
    )  # fmt: skip


def fused_moe(c: Context) -> Floats:
    """Share of stacks of that year that run routed layers in fused kernels and graphs: Blackwell, from the spring of 2026."""
    late = 1.0 / (1.0 + np.exp(-20.0 * (c.year - FUSED_MOE_SINCE)))
    return np.asarray(late * (c.generation == GENERATIONS.index("blackwell")))


def stack_contexts(contexts: Sequence[Context]) -> Context:
    """Scenarios side by side."""
    names = [f.name for f in dataclasses.fields(Context)]
    return Context(**{n: np.concatenate([getattr(c, n) for c in contexts]) for n in names})


def take(c: Context, index: Ints) -> Context:
    """Scenarios by index; a single one serves every index."""
    if len(c.year) == 1:
        return c
    return Context(**{f.name: getattr(c, f.name)[index] for f in dataclasses.fields(Context)})
