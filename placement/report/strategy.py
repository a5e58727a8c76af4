# SPDX-License-Identifier: Apache-2.0
"""A strategy and its layers in the words of the people who choose them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from placement.report.text import counted, ranges

_ALWAYS = ("tp", "cp", "ep", "pp", "dp")
_IF_USED = ("etp", "gtp", "egtp")
SCHEDULES = {  # names as their papers write them
    "1f1b": "1F1B",
    "interleaved": "interleaved 1F1B",
    "zb-h1": "ZB-H1",
    "zb-v": "ZB-V",
    "dualpipe": "DualPipe",
    "dualpipev": "DualPipeV",
}
_NUMBERED = re.compile(r"(.*?)[. ]?(\d+)\Z")


def degrees(strategy: Mapping[str, Any]) -> str:
    """`tp 8 · cp 1 · ep 64 · pp 4 · dp 16`; rarer axes only where they are used."""
    used = [a for a in _IF_USED if strategy.get(a, 1) != 1]
    return " · ".join(f"{a} {strategy[a]:,}" for a in (*_ALWAYS, *used))


def choices(strategy: Mapping[str, Any]) -> str:
    """`mbs 1 · 64 microbatches · 1F1B · zero1 · recompute none`."""
    vpp = f" x{strategy['vpp']}" if strategy["vpp"] > 1 else ""
    return " · ".join(
        [
            f"mbs {strategy['micro_batch']}",
            counted(strategy["num_microbatches"], "microbatch", "microbatches"),
            SCHEDULES.get(strategy["schedule"], strategy["schedule"]) + vpp,
            strategy["sharding"],
            f"recompute {strategy['recompute']}",
        ]
    )


def layers_text(names: Iterable[str], limit: int = 40) -> str:
    """Names of layers with runs of numbers folded: `embedding, 0-22`; too long a list ends in `…`.

    >>> layers_text(["embedding", "layer.0", "layer.1", "layer.2", "head"])
    'embedding, 0-2, head'
    >>> layers_text(["vision.0", "vision.1", "layer.0"])
    'vision 0-1, 0'
    """
    runs: list[tuple[str, list[int]]] = []
    for name in names:
        match = _NUMBERED.match(name)
        prefix, number = (match[1], int(match[2])) if match else (name, -1)
        if runs and match and runs[-1][0] == prefix and runs[-1][1]:
            runs[-1][1].append(number)
        else:
            runs.append((prefix, [number] if match else []))
    texts = [f"{'' if prefix == 'layer' else prefix} {ranges(numbers)}".strip() for prefix, numbers in runs]
    return clip(", ".join(texts), limit)


def clip(text: str, limit: int) -> str:
    """`text` cut at a comma so that it fits `limit` columns, with `…` for what is left out."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    return head[: head.rfind(",") + 1 or limit - 1] + "…"
