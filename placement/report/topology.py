# SPDX-License-Identifier: Apache-2.0
# N node   T tier   J group of a tier
"""`topology show`: what a cluster consists of, as numbers and as a screen."""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.ir import Cluster, State, Tier
from placement.report.hierarchy import matrix_lines, tree_lines
from placement.report.text import percent, seconds, si, table


def summary(cluster: Cluster) -> dict[str, Any]:
    """Counts of a cluster: nodes, GPUs, tiers, switches, cables, health."""
    counts = np.bincount(np.asarray(cluster.state_N), minlength=len(State))
    present_N = cluster.state_N != State.ABSENT
    return {
        "name": cluster.name,
        "nodes": int(present_N.sum()),
        "gpus": cluster.num_gpus,
        "usable_gpus": int(cluster.usable_NG.sum()),
        "gpus_per_node": cluster.gpus_per_node,
        "gpu_types": {
            c.name: int(((cluster.chip_N == i) & present_N).sum()) * cluster.gpus_per_node for i, c in enumerate(cluster.chips)
        },
        "rails": len(set(cluster.rail_G.tolist())),
        "rails_connected": cluster.rails_connected,
        "planes": cluster.num_planes,
        "nodes_by_state": {s.name.lower(): int(counts[s]) for s in State},
        "nodes_degraded": int(((cluster.speed_N < 1) & present_N).sum()),
        "tiers": [_tier(cluster, t) for t in cluster.tiers],
        "switches": dict(cluster.design.switches),
        "cables": dict(cluster.design.cables),
        "facts": dict(cluster.design.facts),
    }


def _tier(cluster: Cluster, tier: Tier) -> dict[str, Any]:
    present_N = cluster.state_N != State.ABSENT
    nodes_J = np.bincount(tier.group_N[present_N], minlength=tier.num_groups)
    low, high = (int(nodes_J.min()), int(nodes_J.max())) if len(nodes_J) else (0, 0)
    finite = tier.uplink_Bps_J[np.isfinite(tier.uplink_Bps_J)]
    return {
        "name": tier.name,
        "groups": tier.num_groups,
        "nodes_per_group": [low, high],
        "gpus_per_group": [low * cluster.gpus_per_node, high * cluster.gpus_per_node],
        "latency_s": tier.latency_s,
        "uplink_Bps": [float(finite.min()), float(finite.max())] if len(finite) else None,
        "uplink_share": _share(cluster, tier),
    }


def _share(cluster: Cluster, tier: Tier) -> float | None:
    """Uplink bandwidth of the weakest group over the NIC bandwidth below it: 1 is full bisection, 0.5 a 2:1 taper."""
    present_N = cluster.state_N != State.ABSENT
    nic_N = np.where(present_N, cluster.nic_Bps_N * cluster.gpus_per_node, 0.0)
    below_J = np.bincount(tier.group_N, weights=nic_N, minlength=tier.num_groups)
    ok = np.isfinite(tier.uplink_Bps_J) & (below_J > 0)
    return float((tier.uplink_Bps_J[ok] / below_J[ok]).min()) if ok.any() else None


def screen(cluster: Cluster) -> str:
    """The text of `topology show`."""
    s = summary(cluster)
    chips = ", ".join(f"{n:,} {name}" for name, n in s["gpu_types"].items())
    lines = [
        f"{s['name']}   {s['nodes']:,} nodes, {chips}",
        "",
        *table(
            [
                ["tier", "groups", "nodes each", "GPUs each", "latency", "uplink of a group", "of NICs below"],
                *map(_tier_row, s["tiers"]),
            ],
            "<>>>>>>",
        ),
        "",
        *_counts("switches", s["switches"]),
        *_counts("cables", s["cables"]),
        *table(_facts(cluster, s), "<<"),
        "",
        *tree_lines(cluster),
    ]  # fmt: skip
    matrix = matrix_lines(cluster)
    return "\n".join([*lines, "", *matrix] if matrix else lines)


def _tier_row(t: dict[str, Any]) -> list[str]:
    share = "" if t["uplink_share"] is None else percent(t["uplink_share"])
    sizes = [_range(t["nodes_per_group"]), _range(t["gpus_per_group"])]
    return [t["name"], f"{t['groups']:,}", *sizes, seconds(t["latency_s"]), _speed(t["uplink_Bps"]), share]


def _range(pair: list[int]) -> str:
    return f"{pair[0]:,}" if pair[0] == pair[1] else f"{pair[0]:,}-{pair[1]:,}"


def _speed(pair: list[float] | None) -> str:
    if pair is None:
        return "-"
    low, high = (si(x, "B/s") for x in pair)
    return low if low == high else f"{low} - {high}"


def _counts(what: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    rows = [[what, f"{sum(counts.values()):,}", ", ".join(f"{k} {n:,}" for k, n in counts.items())]]
    return table(rows, "<><")


def _facts(cluster: Cluster, s: dict[str, Any]) -> list[list[str]]:
    out = [f"{name} {n:,}" for name, n in s["nodes_by_state"].items() if n and name != "ok"]
    if s["nodes_degraded"]:
        out.append(f"degraded {s['nodes_degraded']:,}")
    joined = "joined" if s["rails_connected"] else "not joined"
    planes = f"{s['planes']} plane" + ("s" if s["planes"] != 1 else "")
    return [
        ["rails", f"{s['rails']} {joined}, {planes}, {si(float(np.median(cluster.nic_Bps_N)), 'B/s')} per GPU"],
        *([k, v] for k, v in s["facts"].items()),
        ["usable", f"{s['usable_gpus']:,} of {s['gpus']:,} GPUs" + (f" (nodes: {', '.join(out)})" if out else "")],
    ]  # fmt: skip
