# SPDX-License-Identifier: Apache-2.0
"""The screen of `sweep`: plans over cluster sizes, and what stops scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placement.ir import PARTS
from placement.report.text import percent, seconds, si, table

Row = Mapping[str, Any]


def screen(rows: Sequence[Row]) -> str:
    """Step, MFU and efficiency of each size; then where the GPU time goes that a larger cluster loses."""
    head = ["GPUs", "step", "8 in 10 runs", "MFU", "tokens/s", "efficiency", "serial share", "strategy"]
    lines = table([head, *(_row(r) for r in rows)], ">>>>>>><")
    lost = [r for r in rows if r["serial_share"] is not None]
    if lost:
        shown = [name for name in PARTS if any(abs(r["lost"][name]) >= 5e-4 for r in lost)]
        body = [[f"{r['world_size']:,}", *(f"{r['lost'][n] * 100:+.1f} %" for n in shown), _all(r)] for r in lost]
        lines = [
            *lines, "", "GPU time a token beyond the smallest size, by part",
            *table([["GPUs", *shown, "total"], *body], ">" * (len(shown) + 2)),
        ]  # fmt: skip
    return "\n".join(lines)


def _all(row: Row) -> str:
    return f"{sum(row['lost'].values()) * 100:+.1f} %"


def _row(r: Row) -> list[str]:
    if r["step_time_s"] is None:
        return [f"{r['gpus']:,}", "-", "", "", "", "", "", r["reason"]]
    between = f"{seconds(r['interval_s'][0])} to {seconds(r['interval_s'][1])}" if r["interval_s"] else "-"
    serial = "-" if r["serial_share"] is None else f"{r['serial_share'] * 100:.3f} %"
    return [
        f"{r['world_size']:,}", seconds(r["step_time_s"]), between, percent(r["mfu"]), si(r["tokens_per_s"], ""),
        percent(r["efficiency"]), serial, r["strategy"],
    ]  # fmt: skip
