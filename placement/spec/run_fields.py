# SPDX-License-Identifier: Apache-2.0
"""What single fields of a row of measured runs say, and what is usual where they say nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from placement.cost.schedules import misfit
from placement.ir import SHARDING, Chip, ModelGraph, Optimizer

STACKS = {
    "mlperf": ("mlperf",), "torchtitan": ("titan",), "automodel": ("automodel",), "composer": ("composer", "foundry", "mosaic"),
    "deepspeed": ("deepspeed", "sagemaker"),
}  # fmt: skip
SCHEDULE_NAMES = ("dualpipev", "dualpipe", "zb-v", "zb-h1", "interleaved", "1f1b")
FP8_GATHER_SINCE = 2024.0  # `fp8_params` of NeMo 1.23 and Transformer Engine's quantised weights
OVERLAPPED_EXPERTS_SINCE = 2026.0  # Megatron-Bridge performance recipes: moe_a2a_overlap where experts span hosts
INTERLEAVED = 2  # chunks of a stage where a run is called interleaved and does not say: torchtitan's default
NOTHING = {"none", "false", "no", "off", "0", "n/a"}
_WIDE = re.compile(r"fp32|tf32|fp64|float32")
_KNOWN = re.compile(r"bf16|fp16|bfloat16|float16|fp8|mx|fp4|int8|half")
_SHARDING = {  # words without signs: of DeepSpeed, PyTorch and Megatron
    "zero3": "fsdp", "fsdp1": "fsdp", "fsdp2": "fsdp", "hsdp": "fsdp", "fullshard": "fsdp", "megatronfsdp": "fsdp",
    "shardgradop": "zero2", "ddp": "none", "noshard": "none", "distributedoptimizer": "zero1", "distopt": "zero1",
}  # fmt: skip


class CannotExpressError(Exception):
    """Why a row has no prediction; only inside this package."""


def precision_name(text: str) -> str:
    """`bf16`, `fp8`, `mxfp8` or `nvfp4` for the many names of recipes (fp8_cs, fp8_delayed, nvfp4 ...)."""
    lower = text.lower()
    if _WIDE.search(lower) and not _KNOWN.search(lower):
        raise CannotExpressError(f"matmuls in {text} are not modelled")
    return "nvfp4" if "fp4" in lower else "mxfp8" if "mx" in lower else "fp8" if "fp8" in lower or "int8" in lower else "bf16"


def known_precision(text: str) -> bool:
    """Whether the name of a precision says what its matmuls run in."""
    return bool(_KNOWN.search(text.lower()))


def refuse_other_tasks(row: Mapping[str, Any]) -> None:
    """Raise CannotExpressError for what is no training of all weights: the cost model has a whole backward pass."""
    words = f"{row.get('task') or ''} {row.get('peft') or ''}".lower()
    if "lora" in words or "peft" in words or "adapter" in words:
        raise CannotExpressError("training of adapters alone (LoRA) is not modelled")
    if re.search(r"infer|decode|prefill|serving|generat", words):
        raise CannotExpressError(f"`{row.get('task')}` is no training")


def stack_of(software: str) -> str:
    """Which stack the name of a release belongs to; `megatron` for NeMo, Megatron and everything unknown."""
    lower = software.lower()
    return next((stack for stack, marks in STACKS.items() if any(m in lower for m in marks)), "megatron")


def release_year(row: Mapping[str, Any], chip: Chip) -> float:
    """Decimal year of the software: of its month, else the middle of its year, else a typical one of the hardware."""
    found = re.match(r"(\d{4})(?:-(\d{1,2}))?", str(row.get("software_date") or ""))
    if found:
        return int(found[1]) + ((int(found[2]) - 0.5) / 12 if found[2] else 0.5)
    return {"ampere": 2023.0, "hopper": 2025.0}.get(chip.generation, 2026.0)


def micro_batches(row: Mapping[str, Any], batch: int, dp: int) -> tuple[int, int]:
    """(sequences of a microbatch, microbatches of a step and replica)."""
    each = max(1, round(batch / dp))
    wanted = int(row["mbs"]) if positive(row.get("mbs")) else 1
    micro = next(b for b in range(min(wanted, each), 0, -1) if each % b == 0)
    return micro, each // micro


def named_schedule(row: Mapping[str, Any]) -> str:
    """What a row says of its schedule: in a field of its own, else in the name of the row or of the software."""
    return str(row.get("schedule") or f"{label_of(row)} {row.get('software') or ''}")


def schedule_of(name: str, pp: int, vpp: int, m: int) -> tuple[str, int]:
    """The schedule of a row, or the nearest one that runs at its degrees.

    A published run with chunks ran them interleaved, also with fewer microbatches than stages, whatever `misfit` asks of plans.
    """
    if pp == 1:
        return "1f1b", 1
    lower = name.lower().replace("_", "-").replace("zbv", "zb-v").replace("zbh1", "zb-h1")
    wanted = next((s for s in SCHEDULE_NAMES if s in lower), "interleaved" if vpp > 1 else "1f1b")
    if vpp > 1 and wanted in ("interleaved", "1f1b"):
        return "interleaved", vpp
    if wanted in ("zb-v", "dualpipev"):
        vpp = 2
    for schedule, chunks in ((wanted, vpp), ("interleaved", vpp), ("1f1b", 1)):
        if not (schedule == "interleaved" and chunks == 1) and not misfit(schedule, pp, chunks, m):
            return schedule, chunks
    raise CannotExpressError(f"no schedule runs {m} microbatches on {pp} stages")


def recompute_of(row: Mapping[str, Any], model: ModelGraph) -> tuple[str, float]:
    """Mode, and the share of layers that `full:block:n` recomputes."""
    text = str(row.get("recompute") or "none").lower()
    if text.startswith("full") or text == "true":
        found = re.search(r"block:(\d+)", text)  # layers of each chunk of a stage, as Megatron's --recompute-num-layers
        layers = sum(name.startswith("layer") for name in model.block_names) / (degree(row, "pp") * degree(row, "vpp"))
        return "full", min(1.0, int(found[1]) / max(1.0, layers)) if found else 1.0
    return ("none", 1.0) if text in NOTHING else ("selective", 1.0)  # all other words name modules


def label_of(row: Mapping[str, Any]) -> str:
    """What the source calls the row."""
    return str(mapping(row.get("source")).get("row") or "")


def runs_eager(row: Mapping[str, Any], stack: str) -> bool:
    """PyTorch without a compiler, where the row says so (torchtitan's tables)."""
    return stack in ("torchtitan", "automodel") and "eager" in label_of(row).lower()


def runs_graphs(row: Mapping[str, Any]) -> bool:
    """CUDA graphs, where the row says so or shapes are static: experts of fixed capacity, whose excess tokens are dropped."""
    return row.get("cuda_graph") is True or "token-drop" in str(row.get("moe_routing")).lower()


def sharding_of(row: Mapping[str, Any], stack: str) -> str:
    given = re.sub(
        r"[^a-z0-9]", "", str(row.get("sharding") or (f"zero{row['zero']}" if positive(row.get("zero")) else "")).lower()
    )
    if (known := _SHARDING.get(given, given)) in SHARDING:
        return known
    fsdp = row.get("fsdp")
    if (
        stack in ("composer", "torchtitan")
        or "sagemaker" in str(row.get("software")).lower()
        or (positive(fsdp) and int(fsdp) > 1)
        or fsdp is True
    ):
        return "fsdp"
    return "zero1"


def optimizer_of(stack: str, year: float, precision: str) -> Optimizer:
    """What the recipes of a stack move: fp8 weights are gathered as such, and gradients reduced in bf16.

    NeMo, Megatron-Bridge and MLPerf set `grad_reduce_in_fp32 = False` in their performance recipes, and keep fp8 weights
    (`fp8_param_gather`) since 2024. PyTorch's FSDP in torchtitan reduces in fp32 by default.
    """
    quantised = stack in ("megatron", "mlperf") and year > FP8_GATHER_SINCE and precision in ("fp8", "mxfp8")
    return Optimizer(
        grad_reduce_bytes=4.0 if stack in ("torchtitan", "automodel") else 2.0, param_gather_bytes=1.0 if quantised else 2.0
    )


def overlaps_experts(row: Mapping[str, Any], year: float, domain: int) -> bool:
    """What the row says; else DualPipe always, and recipes of 2026 where experts span hosts and the schedule allows it."""
    text = f"{row.get('moe_dispatcher')} {row.get('id')} {label_of(row)}".lower()
    if "ep overlap o" in text or "1f1b ep overlap" in text or "canonical recipe" in text:
        return "ep overlap off" not in text
    if "dualpipe" in named_schedule(row).lower():
        return True
    crosses = domain <= 8 and degree(row, "ep") * degree(row, "etp") > domain
    return crosses and year > OVERLAPPED_EXPERTS_SINCE and (degree(row, "pp") == 1 or degree(row, "vpp") > 1)


def degree(row: Mapping[str, Any], name: str, default: int = 1) -> int:
    value = row.get(name)
    return int(value) if positive(value) else default


def whole(value: Any, name: str) -> int:
    if not positive(value):
        raise CannotExpressError(f"the row gives no {name}")
    return int(value)


def positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
