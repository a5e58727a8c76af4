# SPDX-License-Identifier: Apache-2.0
"""Spare policies side by side: table, JSON, plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from placement.passes.sparing import Policy
from placement.report.style import PLAIN, Style
from placement.report.svg import Line, plot
from placement.report.text import change, percent, seconds, table

LINES = 8


def as_json(policies: Sequence[Policy], daily: float, hours: int) -> dict[str, Any]:
    return {
        "failures_per_day": daily,
        "hours": hours,
        "policies": [
            {
                "name": p.label, "policy": p.spares.policy, "count": p.spares.count, "spare_gpus": p.spare_gpus,
                "replicas": p.replicas, "throughput": p.throughput,
                "step_time_s": p.step_s if math.isfinite(p.step_s) else None, "replaced_in_rack": p.local,
                "survival": [round(float(v), 6) for v in p.survives_H],
            }
            for p in policies
        ],
    }  # fmt: skip


def screen(policies: Sequence[Policy], daily: float, hours: int, style: Style = PLAIN) -> str:
    """One row a policy: what it keeps, what that costs, and what it survives."""
    base = policies[0].step_s
    head = ["policy", "spare GPUs", "replicas", "throughput", "step", "", "in rack", f"survives {hours} h", "holds 99 % for"]
    rows = [head] + [
        [
            p.label, f"{p.spare_gpus:,}", f"{p.replicas:,}", change(p.throughput, 1.0), *_step(p, base), percent(p.local),
            percent(float(p.survives_H[-1])), _lasts(p),
        ]
        for p in policies
    ]  # fmt: skip
    lines = table(rows, "<>>>><>>>")
    text = f"{daily:.1f} failures of nodes and racks a day; nothing that failed returns within the {hours} hours"
    notes = (
        "replicas: of this plan's layout, as many as the policy leaves room for; throughput: each with its microbatches",
        "step: the plan's own batch, on the most of them that it deals over evenly",
    )
    return "\n".join([style(text, "bold"), *lines, *(f"  {note}" for note in notes)])


def _step(policy: Policy, base_s: float) -> list[str]:
    if not math.isfinite(policy.step_s):
        return ["-", "no even batch"]
    return [seconds(policy.step_s), change(policy.step_s, base_s)]


def _lasts(policy: Policy) -> str:
    """Hours until the probability of going on falls below 99 %."""
    below = [h for h, v in enumerate(policy.survives_H) if v < 0.99]
    if not below:
        return f"> {len(policy.survives_H) - 1} h"
    return f"{below[0] - 1} h" if below[0] > 0 else "0 h"


def picture(policies: Sequence[Policy]) -> str:
    """Probability of going on at full size, by hour, one line a policy."""
    chosen = policies[:LINES]
    lines = [Line(p.label, list(range(len(p.survives_H))), p.survives_H.tolist()) for p in chosen]
    return plot(
        "How long the spares last", lines, "hours without repairs", "probability that the job still fits", y_range=(0, 1)
    )
