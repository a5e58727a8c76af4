# SPDX-License-Identifier: Apache-2.0
"""Pieces that several results share, and what their keys mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from placement.ir import AXES, DEGREES, MEMORY, PARTS, State

Shape = Any  # str | list[Shape] | Mapping[str, Shape] | Maybe


@dataclass(frozen=True)
class Maybe:
    """A shape, or null."""

    shape: Shape


def _each(names: Any, shape: Shape) -> Mapping[str, Shape]:
    return dict.fromkeys(names, shape)


STRATEGY = {**_each(DEGREES, "int"), "num_microbatches": "int", "recompute": "str", "schedule": "str", "sharding": "str"}
SECONDS = _each(PARTS, "float")
BYTES = _each(MEMORY, "float")
STATES = _each((s.name.lower() for s in State), "int")
PAIR = ["any"]  # before, after
TIERS = {"*": "float"}
SPANNED = {"link": "str?: the uplink between them that is busy longest", "busy_s": "float?: seconds a step"}
COORDINATES = _each((a for a in AXES if a not in ("gtp", "egtp")), "int")
WHERE = {"file": "str", "line": "int", "column": "int"}
DIAGNOSTIC = {
    "severity": "str: error, warning or info", "name": "str: see `placement explain NAME`", "message": "str",
    "objects": ["str"], "where": Maybe(WHERE), "help": "str: what to write or do instead", "notes": ["str"],
    "related": [{**WHERE, "text": "str"}],
}  # fmt: skip
COUNTS = {"errors": "int", "warnings": "int", "infos": "int"}
ELSEWHERE = [
    {
        "name": "str: the host or stage whose place it would take", "idle": "bool: it runs no rank in the plan",
        "same": "str?: the lowest tier that holds both", "step_time_s": "float", "slower_s": "float: than the plan",
        "adds_s": {"*": "float"},
    }
]  # fmt: skip

ABOUT = {
    "step_time_s": "predicted seconds of a step",
    "default_s": "predicted seconds of a step in the launcher's default order",
    "mfu": "model FLOPs utilisation, 0 to 1",
    "breakdown_s": "seconds of a step by part; they add up to it",
    "bytes_tier": "bytes a step that leave groups of each tier",
    "memory_bytes": "bytes of the fullest GPU",
    "where": "file:line:column that decides it",
    "hosts": "a host list",
    "strategy": "degrees and choices",
    "diagnostics": "findings, in the order of the files",
    "elsewhere": "the plan with this and another in each other's place",
    "adds_s": "parts of the step that change, in seconds",
    "digest": "SHA-256 over plan.json and plan.bin",
    "plan": "digest of the plan",
    "tiers": "group of each tier",
    "layers": "blocks of the model",
    "world_size": "ranks",
    "gpus": "GPUs, ranks or not",
    "meets": "lowest tier that holds all members, and how many groups meet there",
}
