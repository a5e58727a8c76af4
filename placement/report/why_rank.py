# SPDX-License-Identifier: Apache-2.0
# R rank   M member   P stage
"""`why rank N`: where a rank is, what it runs, and with whom it talks at which tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from placement.ir import AXES, Cluster, Placement, Strategy
from placement.ir._array import Ints
from placement.report.groups import meeting_tier
from placement.report.places import place
from placement.report.stages import layer_names
from placement.report.strategy import layers_text
from placement.report.text import ranges, si, table
from placement.report.traffic import forwarded_text, hop_rows
from placement.report.why_trade import node_rows

Tree = Mapping[str, Any]


def rank_facts(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, rank: int) -> dict[str, Any]:
    """Everything about one rank: place, coordinates, stage, layers and its communicator along each axis."""
    node, slot = divmod(int(gpu_R[rank]), cluster.gpus_per_node)
    stage = tree["stages"][rank // strategy.stage_ranks]
    at = strategy.coordinates(np.array([rank]))
    hops = {row["axis"]: row["forwarded"] for row in hop_rows(cluster, strategy, Placement(gpu_R))}
    groups = [
        _group(cluster, tree, strategy, gpu_R, rank, a) | {"forwarded": hops.get(a, 0.0)} for a in AXES if strategy.size(a) > 1
    ]
    return {
        "rank": rank,
        "host": str(cluster.host_N[node]),
        "gpu": slot,
        "rack": str(cluster.domain_name_J[cluster.tiers[0].group_N[node]]),
        "rail": int(cluster.rail_G[slot]),
        "tiers": {t.name: int(t.group_N[node]) for t in cluster.tiers},
        "coordinates": {a: int(v[0]) for a, v in at.items()},
        "stage": stage["stage"],
        "layers": layer_names(stage),
        "recompute": stage["recompute"],
        "groups": groups,
        "step_time_s": tree["predicted"]["step_time_s"],
        "default_s": tree["baseline"]["step_time_s"],
        "elsewhere": [],
        "where": place(cluster.source, f"tiers.{_slowest(groups, cluster)}", "racks"),
    }


def _slowest(groups: list[dict[str, Any]], cluster: Cluster) -> str:
    """The outermost tier at which the rank meets anyone: its line in the topology is the one worth reading."""
    names = [t.name for t in cluster.tiers]
    return max((g["tier"] for g in groups if g["tier"] in names), key=names.index, default=names[0])


def _group(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, rank: int, axis: str) -> dict[str, Any]:
    size, stride = strategy.size(axis), strategy.stride(axis)
    first = rank - rank // stride % size * stride
    member_M = first + stride * np.arange(size)
    node_M = gpu_R[member_M] // cluster.gpus_per_node
    tier = int(meeting_tier(cluster, node_M[None, :])[0])
    return {
        "axis": axis,
        "members": member_M.tolist(),
        "hosts": len(np.unique(node_M)),
        "domains": len(np.unique(cluster.tiers[0].group_N[node_M])),
        "tier": cluster.tiers[tier].name if tier < len(cluster.tiers) else "nowhere",
        "bytes_per_step": sent_bytes(tree, axis, rank // strategy.stage_ranks),
    }


def sent_bytes(tree: Tree, axis: str, stage: int) -> float:
    """Bytes one rank of a stage sends along an axis in a step."""
    return float(sum(t["bytes_P"][stage] for t in tree["traffic"] if t["axis"] == axis))


def rank_text(f: Mapping[str, Any]) -> str:
    """The screen of `why rank`."""
    tiers = ", ".join(f"{name} {group}" for name, group in f["tiers"].items())
    rows = [
        [
            g["axis"], f"{len(g['members']):,}", ranges(g["members"][:4096]), f"{g['hosts']:,}", f"{g['domains']:,}", g["tier"],
            si(g["bytes_per_step"], "B") if g["bytes_per_step"] else "-",
        ]
        for g in f["groups"]
    ]  # fmt: skip
    lines = [
        f"rank {f['rank']:,} = {f['host']} gpu {f['gpu']}, rack {f['rack']}, rail {f['rail']}",
        f"  in         {tiers}",
        f"  at         {' · '.join(f'{a} {v:,}' for a, v in f['coordinates'].items())}",
        f"  runs       stage {f['stage']}: {layers_text(f['layers'], 72)}, recompute {f['recompute']}",
        "",
        *table([["group", "members", "ranks", "hosts", "domains", "meets at", "sends a step"], *rows], "<><>><>"),
    ]
    hops = [
        f"  {g['axis']} hops to another rail over NVLink: {forwarded_text(g['forwarded'])}"
        for g in f["groups"]
        if g["forwarded"]
    ]
    lines += hops
    lines += ["", *node_rows(f)] if f["elsewhere"] else []
    return "\n".join([*lines, *([f"  --> {f['where']}"] if f["where"] else [])])
