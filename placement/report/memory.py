# SPDX-License-Identifier: Apache-2.0
"""Memory of the fullest GPU of each stage, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.text import table

Tree = Mapping[str, Any]


def memory_rows(tree: Tree) -> list[dict[str, Any]]:
    """One record a stage: bytes of each kind and their total."""
    return [{"stage": s["stage"], **s["memory_bytes"], "total": sum(s["memory_bytes"].values())} for s in tree["stages"]]


def memory_text(tree: Tree) -> str:
    """The screen of `show memory`, in GiB, with what is left of the GPU."""
    rows = memory_rows(tree)
    kinds = [k for k in rows[0] if k not in ("stage", "total")]
    hbm = tree["cluster"].get("hbm_bytes")
    header = ["stage", *kinds, "total", *(["free"] if hbm else [])]
    body = [
        [str(r["stage"]), *(_gib(r[k]) for k in kinds), _gib(r["total"]), *([_gib(hbm - r["total"])] if hbm else [])]
        for r in rows
    ]
    return "\n".join(["GiB on the fullest GPU of each stage (predicted)", *table([header, *body], ">" * len(header))])


def _gib(n: float) -> str:
    return f"{n / 2**30:.1f}"
