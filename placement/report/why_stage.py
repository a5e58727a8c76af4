# SPDX-License-Identifier: Apache-2.0
"""`why stage N`: what a pipeline stage runs, how busy and how full it is beside the others, and where it lives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.ir import MEMORY, Cluster, Strategy
from placement.ir._array import Ints
from placement.report.groups import meeting_tier
from placement.report.places import place
from placement.report.stages import layer_names, memory_bytes
from placement.report.strategy import clip, layers_text
from placement.report.text import change, counted, gib, seconds, si, table
from placement.report.why_link import transfer_text
from placement.report.why_rank import sent_bytes
from placement.report.why_trade import frame, stage_rows

if TYPE_CHECKING:
    from placement.passes.neighbours import Neighbour

Tree = Mapping[str, Any]
OTHERS, ELSEWHERE = 6, 3  # other cuts, and other stages' hosts, on the screen


def stage_facts(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, stage: int) -> dict[str, Any]:
    """One stage: layers, seconds and memory beside the slowest and fullest stage, ranks, hosts, neighbours."""
    s = tree["stages"][stage]
    busy = [x["busy_s"] for x in tree["stages"]]
    ranks_R = stage * strategy.stage_ranks + np.arange(strategy.stage_ranks)
    nodes = np.unique(gpu_R[ranks_R] // cluster.gpus_per_node)
    return {
        "stage": stage,
        "layers": layer_names(s),
        "chunks": [c["layers"] for c in s["chunks"]],
        "recompute": s["recompute"],
        "busy_s": s["busy_s"],
        "slowest_stage": int(np.argmax(busy)),
        "slowest_s": max(busy),
        "mean_s": float(np.mean(busy)),
        "memory_bytes": {kind: s["memory_bytes"][kind] for kind in MEMORY},
        "fullest_bytes": max(memory_bytes(x) for x in tree["stages"]),
        "ranks": [int(ranks_R[0]), int(ranks_R[-1])],
        "hosts": s["hosts"],
        "groups": {t.name: len(np.unique(t.group_N[nodes])) for t in cluster.tiers},
        "step_time_s": tree["predicted"]["step_time_s"],
        "default_s": tree["baseline"]["step_time_s"],
        "alternatives": [],
        "elsewhere": [],
        "transfer": None,
        "next": _boundary(cluster, tree, strategy, gpu_R, ranks_R) if stage + 1 < strategy.pp else None,
        "where": place(cluster.source, "racks", "node"),
    }


def _boundary(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, ranks_R: Ints) -> dict[str, Any]:
    """The transfer to the next stage: at which tier each rank meets its partner, and bytes a rank sends."""
    pair_RM = gpu_R[ranks_R[:, None] + [0, strategy.stage_ranks]] // cluster.gpus_per_node
    counts = np.bincount(meeting_tier(cluster, pair_RM), minlength=len(cluster.tiers))
    return {
        "meets": {t.name: int(n) for t, n in zip(cluster.tiers, counts, strict=False) if n},
        "bytes_per_rank": sent_bytes(tree, "pp", int(ranks_R[0]) // strategy.stage_ranks),
    }


def alternative_facts(tree: Tree, names: Sequence[str], found: Sequence[Neighbour], stage: int) -> list[dict[str, Any]]:
    """Other cuts as records: which block goes where, the step, and which stage is then the slowest."""
    chosen_s = tree["predicted"]["step_time_s"]
    return [
        {
            "block": names[n.block],
            "move": "to" if n.giver == stage else "from",
            "stage": n.taker if n.giver == stage else n.giver,
            "step_time_s": n.step_s,
            "slower_s": None if n.step_s is None else n.step_s - chosen_s,
            "slowest_stage": n.slowest,
        }
        for n in found
    ]


def stage_text(f: Mapping[str, Any]) -> str:
    """The screen of `why stage`."""
    total = sum(f["memory_bytes"].values())
    rows = [
        ["layers", f"{len(f['layers'])}", layers_text(f["layers"], 72)],
        ["ranks", f"{f['ranks'][1] - f['ranks'][0] + 1:,}", f"{f['ranks'][0]:,} to {f['ranks'][1]:,}"],
        ["hosts", "", clip(f["hosts"], 72)],
        ["lies in", "", ", ".join(counted(n, f"{name} group") for name, n in f["groups"].items())],
        ["busy", seconds(f["busy_s"]), _beside(f)],
        ["memory", gib(total), f"{_full(total, f['fullest_bytes'])}; recompute {f['recompute']}"],
        *([f"  {kind}", gib(n), ""] for kind, n in f["memory_bytes"].items() if n),
    ]
    if f["next"]:
        sent = f"{si(f['next']['bytes_per_rank'], 'B')} a rank and step"
        meets = ", ".join(f"{name} {n:,}" for name, n in f["next"]["meets"].items())
        rows.append(["next stage", "", f"partners meet at: {meets}, {sent}"])
    moved = transfer_text(f["transfer"]) if f["transfer"] else []
    line = (f["transfer"] or {}).get("where") or f["where"]
    where = [f"  --> {line}"] if line else []
    return "\n".join([f"stage {f['stage']} = {layers_text(f['layers'], 72)}", *table(rows, "<><"), *_others(f), *moved, *where])


def _others(f: Mapping[str, Any]) -> list[str]:
    """The chosen cut beside those that differ in one block, and the launcher's default order."""
    chosen = f["step_time_s"]
    rows = []
    for a in f["alternatives"][:OTHERS]:
        title = f"{a['block']} {a['move']} stage {a['stage']} instead"
        if a["step_time_s"] is None:
            rows.append([title, "-", "does not fit the memory"])
        else:
            rows.append(
                [title, seconds(a["step_time_s"]), change(a["step_time_s"], chosen), f"stage {a['slowest_stage']} is slowest"]
            )
    rows += stage_rows(f["elsewhere"][:ELSEWHERE], chosen)
    return ["", *frame(rows, chosen, f["default_s"])]


def _full(mine: float, fullest: float) -> str:
    return "as full as any stage" if mine >= fullest * (1 - 1e-9) else f"{change(mine, fullest)} beside the fullest stage"


def _beside(f: Mapping[str, Any]) -> str:
    if f["busy_s"] >= f["slowest_s"] * (1 - 1e-6):
        return f"as slow as any stage; the mean is {seconds(f['mean_s'])}"
    return (
        f"{change(f['busy_s'], f['slowest_s'])} beside the slowest, stage {f['slowest_stage']} with {seconds(f['slowest_s'])}"
    )
