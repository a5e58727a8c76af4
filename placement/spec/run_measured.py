# SPDX-License-Identifier: Apache-2.0
"""The measured step time of a row, in whichever unit its source prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.cost.flops import flops_per_token
from placement.ir import Chip, ModelGraph
from placement.spec.run_fields import mapping, positive

SECOND_FORWARD = 4.0 / 3.0  # hardware FLOPs of full recomputation over model FLOPs (Narayanan et al. 2021, appendix)
THROUGHPUT = ("tokens_per_s_per_gpu", "tokens_per_sec_per_gpu", "tokens_per_gpu_per_s")
TOTAL = ("tokens_per_s", "tokens_per_sec", "tokens_per_second")
SAMPLES = ("samples_per_s", "sequences_per_s", "samples_per_sec", "seq_per_s")
TFLOPS = ("tflops_per_gpu", "tflops_per_s_per_gpu")


def step_seconds(row: Mapping[str, Any]) -> float | None:
    """The step time that a row gives as such, derived or measured."""
    return _first(row, ("step_time_s", "iteration_time_s"))


def step_seconds_from_rates(
    row: Mapping[str, Any], model: ModelGraph, chip: Chip, seq_len: int, batch: int, gpus: int
) -> float | None:
    """The step time behind a throughput: of tokens, of sequences, of FLOPs, or a share of the peak."""
    tokens = batch * seq_len
    if each := _first(row, THROUGHPUT):
        return tokens / each / gpus
    if total := _first(row, TOTAL):
        return tokens / total
    if samples := _first(row, SAMPLES):
        return batch / samples
    rate = 1e12 * (_first(row, TFLOPS) or 0.0) or _from_mfu(row, chip)
    return tokens * _flops(row, model, seq_len) / rate / gpus if rate else None


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    sources = (mapping(row.get("derived")), mapping(row.get("measured")))
    return next((float(s[n]) for s in sources for n in names if positive(s.get(n))), None)


def _from_mfu(row: Mapping[str, Any], chip: Chip) -> float:
    """FLOP/s of a GPU: its share of the peak that the row divides by, in bf16 where the row does not say."""
    mfu, peak = _first(row, ("mfu",)), row.get("mfu_peak_tflops")
    if not mfu:
        return 0.0
    share = mfu / 100.0 if mfu > 1.0 else mfu
    return share * (1e12 * float(peak) if positive(peak) else chip.peak("bf16"))


def _flops(row: Mapping[str, Any], model: ModelGraph, seq_len: int) -> float:
    """FLOPs for a token on the convention of the row: model FLOPs with all of attention, unless it says otherwise."""
    said = str(row.get("flops_convention") or "").lower()
    causal = "causal" in said and "non-causal" not in said
    hardware = SECOND_FORWARD if "hardware" in said else 1.0
    return hardware * flops_per_token(model, seq_len, causal)
