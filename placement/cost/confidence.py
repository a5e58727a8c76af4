# SPDX-License-Identifier: Apache-2.0
"""How sure a prediction is: an 80 % interval from errors on runs that were left out of the fit, wider where it extrapolates."""

from __future__ import annotations

import math

from placement.cost.context import generation_of, precision_of
from placement.cost.hardware import Hardware, hardware
from placement.ir import Candidate, Cluster, Confidence, Efficiency, Job, ModelGraph, Scope, Strategy


def extrapolates(scope: Scope, job: Job, hw: Hardware, strategy: Strategy, ep_leaves: bool) -> tuple[str, ...]:
    """In which respects a prediction stands outside the runs that were fitted, in words.

    `ep_leaves`: whether expert-parallel traffic leaves an NVLink domain.
    """
    precision = f"{generation_of(hw)} {precision_of(job, hw)}"
    found = {
        f"{strategy.world_size:,} GPUs, the largest run had {scope.max_gpus:,}": strategy.world_size > scope.max_gpus,
        f"no run on {hw.chip.name}": hw.chip.name not in scope.gpus,
        f"no run at {precision}": precision not in scope.precisions,
        "a single microbatch in a step": strategy.num_microbatches == 1,
        "experts over more than one NVLink domain": ep_leaves,
    }
    return tuple(text for text, holds in found.items() if holds)


def half_width(scope: Scope, routed: bool, num_reasons: int) -> float:
    """Logarithm of the factor at either end of the interval: the errors of independent reasons add in squares."""
    wider = math.sqrt(1.0 + num_reasons * (scope.spread["far"] ** 2 - 1.0))
    return scope.spread["moe" if routed else "dense"] * wider


def confidence(scope: Scope | None, step_s: float, routed: bool, reasons: tuple[str, ...]) -> Confidence | None:
    """The interval of a predicted step; None where the constants came without one."""
    if scope is None or not scope.spread:
        return None
    factor = math.exp(half_width(scope, routed, len(reasons)))
    return Confidence(step_s / factor, step_s * factor, reasons)


def of_candidate(cluster: Cluster, model: ModelGraph, job: Job, eff: Efficiency, chosen: Candidate) -> Confidence | None:
    """How sure the predicted step of a placed strategy is; None where the constants came without intervals."""
    if eff.scope is None:
        return None
    ep_leaves = chosen.cost.bytes_tier.get("ep", {}).get(cluster.tiers[0].name, 0.0) > 0
    reasons = extrapolates(eff.scope, job, hardware(cluster), chosen.strategy, ep_leaves)
    return confidence(eff.scope, chosen.cost.step_s, model.is_moe, reasons)
