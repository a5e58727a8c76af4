# SPDX-License-Identifier: Apache-2.0
"""Bytes of a step by axis and tier: this plan, the launcher's default, and the lower bound of any placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.text import change, percent, si, table

Tree = Mapping[str, Any]


def traffic_rows(tree: Tree) -> list[dict[str, Any]]:
    """One record for each axis and tier with traffic: bytes per step that leave groups of that tier."""
    this, other = tree["predicted"]["bytes_tier"], tree["baseline"]["bytes_tier"]
    return [
        {"axis": axis, "tier": tier, "bytes": float(n), "default_bytes": float(other.get(axis, {}).get(tier, 0.0))}
        for axis, tiers in sorted(this.items())
        for tier, n in ((t, tiers[t]) for t in tree["cluster"]["tiers"] if t in tiers)
    ]


def traffic_text(tree: Tree) -> str:
    """The screen of `show traffic`: axes down, tiers across; then totals beside the default and the bound."""
    rows = traffic_rows(tree)
    tiers = [t for t in tree["cluster"]["tiers"] if any(r["tier"] == t for r in rows)]
    axes = list(dict.fromkeys(r["axis"] for r in rows))
    cell = {(r["axis"], r["tier"]): r["bytes"] for r in rows}
    header = ["leaves groups of", *tiers]
    body = [[axis, *(_bytes(cell.get((axis, t), 0.0)) for t in tiers)] for axis in axes]
    total = {t: sum(r["bytes"] for r in rows if r["tier"] == t) for t in tiers}
    default = {t: sum(b.get(t, 0.0) for b in tree["baseline"]["bytes_tier"].values()) for t in tiers}
    ends = [
        ["total", *(_bytes(total[t]) for t in tiers)],
        ["launcher default", *(_bytes(default[t]) for t in tiers)],
        ["change", *(change(total[t], default[t]) for t in tiers)],
        ["lower bound", *(_bound(tree, t) for t in tiers)],
        ["above the bound", *(_above(tree, t) for t in tiers)],
    ]
    align = "<" + ">" * len(tiers)
    return "\n".join(["Bytes per step, summed over the cluster (predicted)", *table([header, *body, *ends], align)])


def _bytes(n: float) -> str:
    return si(n, "B") if n else "-"


def _bound(tree: Tree, tier: str) -> str:
    found = tree["certificate"]["tiers"].get(tier)
    return _bytes(found["lower_bytes"]) if found else ""


def _above(tree: Tree, tier: str) -> str:
    found = tree["certificate"]["tiers"].get(tier)
    if not found or not found["lower_bytes"]:
        return ""
    return percent(max(0.0, found["plan_bytes"] / found["lower_bytes"] - 1))
