# SPDX-License-Identifier: Apache-2.0
"""A fleet: who has which racks, and what each job makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.strategy import clip
from placement.report.style import PLAIN, Style
from placement.report.text import percent, seconds, table


def screen(tree: Mapping[str, Any], style: Style = PLAIN) -> str:
    """One row a job, then what is free and what is shared."""
    rows = [["job", "racks", "GPUs", "at work", "step", "mfu", "was", "which"]]
    for name, job in tree["jobs"].items():
        counts = [f"{job[key]:,}" for key in ("racks", "gpus", "world_size")]
        priced = [seconds(job["step_time_s"]), percent(job["mfu"])]
        rows.append([name, *counts, *priced, job["change"], clip(job["hosts"], 44)])
    shared = ", ".join(f"{n:,} {tier}" for tier, n in tree["shared_groups"].items()) or "none"
    kept = tree["racks_kept"]
    lines = [
        style(f"{tree['name']} on {tree['cluster']}", "bold"), *table(rows, "<>>>>><<"),
        f"  free: {tree['free_racks']:,} racks   shared groups: {shared}",
    ]  # fmt: skip
    if kept["had"]:
        lines.append(f"  {kept['kept']:,} of {kept['had']:,} racks stay with their job")
    return "\n".join(lines)
