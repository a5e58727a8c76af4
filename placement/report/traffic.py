# SPDX-License-Identifier: Apache-2.0
"""Bytes of a step by axis and tier: this plan, the launcher's default, and the lower bound of any placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.cost.forward import forwarding
from placement.cost.traffic import hottest_links, link_loads
from placement.ir import AXES, Cluster, Placement, Strategy
from placement.ir._array import Floats
from placement.report.groups import link_name
from placement.report.text import change, percent, seconds, si, table
from placement.report.why_link import traffic

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
        ["lower bound", *(_bound(tree, t, "lower_bytes") for t in tiers)],
        ["above the bound", *(_above(tree, t, "lower_bytes") for t in tiers)],
    ]
    if cell := tree["certificate"]["cell"]:
        ends += [
            [f"with cells of {cell}", *(_bound(tree, t, "kept_bytes") for t in tiers)],
            ["above that", *(_above(tree, t, "kept_bytes") for t in tiers)],
        ]
    align = "<" + ">" * len(tiers)
    return "\n".join(["Bytes per step, summed over the cluster (predicted)", *table([header, *body, *ends], align)])


def link_rows(cluster: Cluster, tree: Tree, strategy: Strategy, placement: Placement) -> list[dict[str, Any]]:
    """The ten uplinks that are busy longest, all tiers together."""
    return hot_rows(cluster, link_loads(cluster, strategy, placement, traffic(tree)), tree["predicted"]["step_time_s"])


def hot_rows(cluster: Cluster, loads: Mapping[str, Floats], whole_s: float) -> list[dict[str, Any]]:
    """The ten uplinks that are busy longest under loads of tiers (J,), and their share of `whole_s`."""
    at = {tier.name: t for t, tier in enumerate(cluster.tiers)}
    return [
        {"link": link_name(cluster, at[name], j), "tier": name, "bytes": n, "busy_s": s, "share": s / whole_s}
        for name, j, n, s in hottest_links(cluster, loads)
    ]


def hop_rows(cluster: Cluster, strategy: Strategy, placement: Placement) -> list[dict[str, Any]]:
    """Axes that hop to another rail over NVLink, and what the busiest GPU passes on for each byte that a rank sends."""
    hop_A = forwarding(cluster, strategy, placement).hop_A
    return [{"axis": axis, "forwarded": float(h)} for axis, h in zip(AXES, hop_A.tolist(), strict=True) if h > 0]


def hops_text(cluster: Cluster, rows: list[dict[str, Any]]) -> str:
    """A line for each axis that hops, where rails are apart."""
    if cluster.rails_connected:
        return ""
    said = [f"{r['axis']} messages hop to another rail over NVLink (PXN): {forwarded_text(r['forwarded'])}" for r in rows]
    return "\n".join(["", "", *(said or ["rails are not joined; no message hops to another rail"])])


def forwarded_text(forwarded: float) -> str:
    return f"the busiest GPU forwards {forwarded:.3g} x what a rank sends"


def links_text(rows: list[dict[str, Any]], whole: str = "the step") -> str:
    """The hottest uplinks, below the bytes. `whole`: what their shares are of."""
    if not rows:
        return ""
    body = [[r["link"], r["tier"], si(r["bytes"], "B"), seconds(r["busy_s"]), percent(r["share"])] for r in rows]
    return "\n".join(["", *table([["busiest uplinks", "tier", "sends a step", "busy", f"of {whole}"], *body], "<<>>>")])


def _bytes(n: float) -> str:
    return si(n, "B") if n else "-"


def _bound(tree: Tree, tier: str, key: str) -> str:
    found = tree["certificate"]["tiers"].get(tier)
    return _bytes(found.get(key, 0.0)) if found else ""


def _above(tree: Tree, tier: str, key: str) -> str:
    found = tree["certificate"]["tiers"].get(tier)
    if not found or not found.get(key):
        return ""
    return percent(max(0.0, found["plan_bytes"] / found[key] - 1))
