# SPDX-License-Identifier: Apache-2.0
# R rank   M member   P stage
"""`why rank N`: where a rank is, what it runs, and with whom it talks at which tier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from placement.ir import AXES, Cluster, Placement, Strategy
from placement.ir._array import Ints
from placement.report.groups import SPAN, SPAN_ALIGN, member_facts, span_cells
from placement.report.places import place
from placement.report.stages import layer_names
from placement.report.strategy import layers_text
from placement.report.text import si, table
from placement.report.traffic import forwarded_text, hop_rows
from placement.report.why_link import busy_T
from placement.report.why_trade import node_rows

Tree = Mapping[str, Any]


def rank_facts(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, rank: int) -> dict[str, Any]:
    """Everything about one rank: place, coordinates, stage, layers and its communicator along each axis."""
    node, slot = divmod(int(gpu_R[rank]), cluster.gpus_per_node)
    stage = tree["stages"][rank // strategy.stage_ranks]
    at = strategy.coordinates(np.array([rank]))
    hops = {row["axis"]: row["forwarded"] for row in hop_rows(cluster, strategy, Placement(gpu_R))}
    busy = busy_T(cluster, tree, strategy, Placement(gpu_R))
    groups = [
        {"axis": a, **member_facts(cluster, gpu_R, members(strategy, a, rank), busy),
         "bytes_per_step": sent_bytes(tree, a, rank // strategy.stage_ranks), "forwarded": hops.get(a, 0.0)}
        for a in AXES if strategy.size(a) > 1
    ]  # fmt: skip
    return {
        "rank": rank,
        **spot(cluster, node, slot),
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


def members(strategy: Strategy, axis: str, rank: int) -> Ints:
    """Ranks of the communicator of a rank along an axis, in order."""
    size, stride = strategy.size(axis), strategy.stride(axis)
    return rank - rank // stride % size * stride + stride * np.arange(size)


def spot(cluster: Cluster, node: int, slot: int) -> dict[str, Any]:
    """Where a GPU is: host, slot, rack, rail, group of each tier."""
    return {
        "host": str(cluster.host_N[node]),
        "gpu": slot,
        "rack": str(cluster.domain_name_J[cluster.tiers[0].group_N[node]]),
        "rail": int(cluster.rail_G[slot]),
        "tiers": {t.name: int(t.group_N[node]) for t in cluster.tiers},
    }


def spot_lines(f: Mapping[str, Any]) -> list[str]:
    tiers = ", ".join(f"{name} {group}" for name, group in f["tiers"].items())
    return [f"rank {f['rank']:,} = {f['host']} gpu {f['gpu']}, rack {f['rack']}, rail {f['rail']}", f"  in         {tiers}"]


def sent_bytes(tree: Tree, axis: str, stage: int) -> float:
    """Bytes one rank of a stage sends along an axis in a step."""
    return float(sum(t["bytes_P"][stage] for t in tree["traffic"] if t["axis"] == axis))


def rank_text(f: Mapping[str, Any]) -> str:
    """The screen of `why rank`."""
    rows = [[g["axis"], *span_cells(g), si(g["bytes_per_step"], "B") if g["bytes_per_step"] else "-"] for g in f["groups"]]
    lines = [
        *spot_lines(f),
        f"  at         {' · '.join(f'{a} {v:,}' for a, v in f['coordinates'].items())}",
        f"  runs       stage {f['stage']}: {layers_text(f['layers'], 72)}, recompute {f['recompute']}",
        "",
        *table([["group", *SPAN, "sends a step"], *rows], f"<{SPAN_ALIGN}>"),
    ]
    hops = [
        f"  {g['axis']} hops to another rail over NVLink: {forwarded_text(g['forwarded'])}"
        for g in f["groups"]
        if g["forwarded"]
    ]
    lines += hops
    lines += ["", *node_rows(f)] if f["elsewhere"] else []
    return "\n".join([*lines, *([f"  --> {f['where']}"] if f["where"] else [])])
