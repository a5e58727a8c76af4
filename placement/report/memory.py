# SPDX-License-Identifier: Apache-2.0
"""Memory of the fullest GPU of each stage, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.ir import MEMORY
from placement.report.text import table

Tree = Mapping[str, Any]


def memory_rows(tree: Tree) -> list[dict[str, Any]]:
    """One record a stage: bytes of each kind and their total."""
    kinds = [(s["stage"], {k: s["memory_bytes"][k] for k in MEMORY}) for s in tree["stages"]]
    return [{"stage": stage, **of, "total": sum(of.values())} for stage, of in kinds]


def memory_text(tree: Tree) -> str:
    """The screen of `show memory`, in GiB, with what is left of the GPU."""
    hbm = tree["cluster"]["hbm_bytes"]
    header = ["stage", *MEMORY, "total", "free"]
    body = [
        [str(r["stage"]), *(_gib(r[k]) for k in MEMORY), _gib(r["total"]), _gib(hbm - r["total"])] for r in memory_rows(tree)
    ]
    return "\n".join(["GiB on the fullest GPU of each stage (predicted)", *table([header, *body], ">" * len(header))])


def _gib(n: float) -> str:
    return f"{n / 2**30:.1f}"
