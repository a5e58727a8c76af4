# SPDX-License-Identifier: Apache-2.0
"""Pipeline stages of a plan.json: layers, seconds, memory, hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placement.hostlist import expand
from placement.report.strategy import clip, layers_text
from placement.report.text import gib, seconds

Tree = Mapping[str, Any]
HOSTS_WIDTH = 40


def stage_rows(tree: Tree) -> list[dict[str, Any]]:
    """One flat record a stage, for CSV and JSON."""
    return [
        {
            "stage": s["stage"],
            "layers": len(layer_names(s)),
            "first_layer": next(iter(layer_names(s)), ""),
            "last_layer": layer_names(s)[-1] if layer_names(s) else "",
            "chunks": len(s["chunks"]),
            "recompute": s["recompute"],
            "busy_s": s["busy_s"],
            "memory_bytes": memory_bytes(s),
            "hosts": s["hosts"],
        }
        for s in tree["stages"]
    ]


def layer_names(stage: Tree) -> list[str]:
    """Names of the layers of one stage, in the order of its chunks."""
    return [name for chunk in stage["chunks"] for name in chunk["layers"]]


def memory_bytes(stage: Tree) -> float:
    """Bytes on the fullest GPU of one stage, all kinds together."""
    return float(sum(stage["memory_bytes"].values()))


def stage_table(tree: Tree) -> list[list[str]]:
    """Header and one row a stage; the slowest ones are marked, and recompute modes that differ from the plan's."""
    busy = [s["busy_s"] for s in tree["stages"]]
    slowest = max(busy) if max(busy) > min(busy) * (1 + 1e-6) else float("inf")
    usual = tree["strategy"]["recompute"]
    header = ["stage", "layers", "busy", "memory", "hosts"]
    return [header, *([str(s["stage"]), *_cells(s), _marks(s, slowest, usual)] for s in tree["stages"])]


def _cells(stage: Tree) -> Sequence[str]:
    return [
        layers_text(layer_names(stage)),
        seconds(stage["busy_s"]),
        gib(memory_bytes(stage)),
        hosts_text(stage["hosts"]),
    ]


def hosts_text(hosts: str) -> str:
    """A host list that fits its column; if it is cut, with the number of hosts."""
    if len(hosts) <= HOSTS_WIDTH:
        return hosts
    return f"{clip(hosts, HOSTS_WIDTH - 8)} ({len(expand(hosts)):,})"


def _marks(stage: Tree, slowest: float, usual: str) -> str:
    marks = ["slowest"] if stage["busy_s"] >= slowest * (1 - 1e-6) else []
    if stage["recompute"] != usual:
        marks.append(f"recompute {stage['recompute']}")
    return ", ".join(marks)
