# SPDX-License-Identifier: Apache-2.0
# R rank of towers that both maps have
"""What differs between two maps: inputs, towers, where ranks live, and what leaves each tier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.report.diff import changed, frame, mapping, row, shared_facts, summary, traffic_costs
from placement.report.text import percent, seconds

if TYPE_CHECKING:
    from placement.ir._array import Ints
    from placement.runtime import LoadedPlan

Tree = Mapping[str, Any]
RESHAPING = ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "pp", "vpp")


def diff_facts(a: LoadedPlan, b: LoadedPlan) -> dict[str, Any]:
    """Every difference as one record. Ranks are compared tower by tower, whatever number they have in the job."""
    of_a, of_b = _same_ranks(a.json, b.json)
    return {
        **shared_facts(a, b),
        "towers": changed(*({t["name"]: _shape(t) for t in p.json["towers"]} for p in (a, b))),
        "mapping": mapping(a, b, of_a, of_b, lambda rank: {"tower": _tower(b.json, rank)}),
        "busiest_s": [p.json["busiest_s"] for p in (a, b)],
        "gap": [p.json["gap"] for p in (a, b)],
        "traffic_bytes": {
            t: [p.json["tiers"].get(t, {"bytes": 0.0})["bytes"] for p in (a, b)] for t in a.json["cluster"]["tiers"][:-1]
        },
    }


def _shape(tower: Tree) -> dict[str, Any]:
    """Ranks and degrees of a tower."""
    s = tower["strategy"]
    return {"ranks": tower["ranks"]} | ({} if s is None else {k: s[k] for k in RESHAPING if s[k] > 1})


def _same_ranks(a: Tree, b: Tree) -> tuple[Ints, Ints]:
    """Ranks of towers of one name, as either map numbers them; in order of the second."""
    first = {t["name"]: (t["first_rank"], t["ranks"]) for t in a["towers"]}
    both = [(*first[t["name"]], t["first_rank"], t["ranks"]) for t in b["towers"] if t["name"] in first]
    pairs = [(x + np.arange(min(n, m)), y + np.arange(min(n, m))) for x, n, y, m in both]
    none = np.zeros(0, np.int64)
    return tuple(np.concatenate([none, *(p[i] for p in pairs)]) for i in (0, 1))  # type: ignore[return-value]


def _tower(tree: Tree, rank: int) -> str:
    return str(next(t["name"] for t in reversed(tree["towers"]) if t["first_rank"] <= rank))


def diff_text(f: Mapping[str, Any]) -> str:
    """The screen of `diff`."""
    if not f["different"]:
        return f"same map   {f['digests'][0][:8]}"
    reshaped = "groups reshaped: checkpoints must be resharded"
    loads = reshaped if f["towers"] else "no group reshaped (checkpoints load as they are)"
    return frame(f, list(_towers(f)), list(_costs(f)), summary(f["mapping"], loads))


def _towers(f: Mapping[str, Any]) -> Iterator[list[str]]:
    if not f["towers"]:
        yield ["towers", "same"]
    for name, (before, after) in f["towers"].items():
        yield [name, " -> ".join(" · ".join(f"{k} {n:,}" for k, n in x.items()) if x else "none" for x in (before, after))]


def _costs(f: Mapping[str, Any]) -> Iterator[list[str]]:
    yield row("busiest uplinks", f["busiest_s"], seconds)
    yield from traffic_costs(f)
    if None not in f["gap"]:
        yield row("above the bound", f["gap"], percent)[:3]
