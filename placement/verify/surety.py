# SPDX-License-Identifier: Apache-2.0
"""The interval around the predicted step, and in which respects it extrapolates."""

from __future__ import annotations

import math

from placement.ir import Scope
from placement.verify.case import Case
from placement.verify.findings import Findings
from placement.verify.kernels import precision_run
from placement.verify.links import machine

CLOSE = 1e-6


def uncertainty(case: Case, found: Findings) -> None:
    """The interval follows from the spread of the constants; a reason for each respect that nobody measured."""
    stated, scope = case.tree["uncertainty"], case.efficiency.scope
    if scope is None or not scope.spread:
        if stated is not None:
            found.broken("the plan has an interval, the constants have none")
        return
    if stated is None:
        found.broken("the plan has no interval, the constants have one")
        return
    reasons = _reasons(case, scope)
    if list(stated["extrapolates"]) != reasons:
        found.broken(f"`uncertainty.extrapolates` is {stated['extrapolates']}, derived {reasons}")
    narrow = scope.spread["moe" if case.model.is_moe else "dense"]
    width = narrow * math.sqrt(1.0 + len(reasons) * (scope.spread["far"] ** 2 - 1.0))
    step_s = case.tree["predicted"]["step_time_s"]
    found.close("`uncertainty.low_s`", stated["low_s"], step_s * math.exp(-width), CLOSE)
    found.close("`uncertainty.high_s`", stated["high_s"], step_s * math.exp(width), CLOSE)
    found.detail = f"{width:.1%} either way, {len(reasons)} extrapolations"


def _reasons(case: Case, scope: Scope) -> list[str]:
    facts, d = machine(case), case.degrees
    family = "blackwell" if facts.blackwell else facts.chip.generation
    precision = f"{family} {precision_run(case.job, facts.chip)}"
    domain = case.cluster.tiers[0].name
    out = []
    if d.world > scope.max_gpus:
        out.append(f"{d.world:,} GPUs, the largest run had {scope.max_gpus:,}")
    if facts.chip.name not in scope.gpus:
        out.append(f"no run on {facts.chip.name}")
    if precision not in scope.precisions:
        out.append(f"no run at {precision}")
    if d.num_microbatches == 1:
        out.append("a single microbatch in a step")
    if case.tree["predicted"]["bytes_tier"].get("ep", {}).get(domain, 0.0) > 0:
        out.append("experts over more than one NVLink domain")
    return out
