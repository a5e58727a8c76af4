# SPDX-License-Identifier: Apache-2.0
"""`why axis NAME`: what a degree costs, how far it spans, and what other degrees would have cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from placement.ir import Cluster, Strategy
from placement.ir._array import Ints
from placement.report.groups import group_facts, meets_text
from placement.report.places import place
from placement.report.strategy import choices, degrees
from placement.report.text import change, counted, percent, seconds, si, table

if TYPE_CHECKING:
    from placement.passes.degrees import Degree

Tree = Mapping[str, Any]
PART = {"gtp": "tp", "etp": "ep", "egtp": "ep", "edp": "dp"}  # part of the step in which an axis is counted, if not its own


def axis_facts(cluster: Cluster, tree: Tree, strategy: Strategy, gpu_R: Ints, axis: str) -> dict[str, Any]:
    """One axis: degree, exposed seconds, bytes by tier, meeting tiers, and the best runner-up for each other degree."""
    group = next((f for f in group_facts(cluster, strategy, gpu_R) if f["axis"] == axis), None)
    cost, part = tree["predicted"], PART.get(axis, axis)
    return {
        "axis": axis,
        "degree": strategy.size(axis),
        "part": part,
        "exposed_s": cost["breakdown_s"].get(part, 0.0),
        "share": cost["breakdown_s"].get(part, 0.0) / cost["step_time_s"],
        "bytes_tier": {t.name: n for t in cluster.tiers if (n := cost["bytes_tier"].get(axis, {}).get(t.name))},
        "groups": group["groups"] if group else strategy.world_size,
        "meets": group["meets"] if group else {},
        "pinned": tree["job"]["pins"].get(axis),
        "proven": tree["bound"]["proven"],
        "step_time_s": cost["step_time_s"],
        "alternatives": alternatives(tree, axis),
        "searched": [],
        "bubble_s": cost["breakdown_s"].get("bubble", 0.0),
        "where": place(cluster.source, *(f"tiers.{t}" for t in reversed(group["meets"] if group else {})), "fabric"),
    }


def alternatives(tree: Tree, axis: str) -> list[dict[str, Any]]:
    """The best runner-up for each degree of `axis` that differs from the plan's, fastest first."""
    mine = size(tree["strategy"], axis)
    best: dict[int, dict[str, Any]] = {}
    for r in sorted(tree["search"]["runners_up"], key=lambda r: r["step_time_s"]):
        degree = size(r["strategy"], axis)
        if degree != mine:
            best.setdefault(degree, {"degree": degree, "step_time_s": r["step_time_s"], "strategy": r["strategy"]})
    return list(best.values())


def size(strategy: Tree, axis: str) -> int:
    """Degree of an axis in a strategy of plan.json, `edp` included."""
    if axis != "edp":
        return int(strategy[axis])
    return int(strategy["tp"] * strategy["cp"] * strategy["dp"] // (strategy["etp"] * strategy["ep"]))


def searched(found: Sequence[Degree]) -> list[dict[str, Any]]:
    """The best plan with each other degree, as records; `reason` where nothing runs with it."""
    return [
        {"degree": d.degree, "proven": d.proven, "reason": d.reason}
        | ({"step_time_s": d.best.cost.step_s, "strategy": asdict(d.best.strategy)} if d.best else {"step_time_s": None})
        for d in found
    ]


def axis_text(f: Mapping[str, Any]) -> str:
    """The screen of `why axis`."""
    rows = [["costs", f"{seconds(f['exposed_s'])} exposed, {percent(f['share'])} of the step (part `{f['part']}`)"]]
    if f["axis"] == "pp":
        rows.append(["", f"and {seconds(f['bubble_s'])} of bubble"])
    if f["meets"]:
        rows.append(["meets at", f"{meets_text(f['meets'])} ({counted(f['groups'], 'group')} of {f['degree']:,})"])
    if f["bytes_tier"]:
        rows.append(
            ["moves", ", ".join(f"{si(n, 'B')} out of {tier} groups" for tier, n in f["bytes_tier"].items()) + " a step"]
        )
    if f["pinned"] is not None:
        rows.append(["pinned", f"to {f['pinned']} by the job, so no other degree was tried"])
    where = [f"  --> {f['where']}"] if f["where"] else []
    return "\n".join([f"{f['axis']} {f['degree']:,}", *table(rows), "", *_alternatives(f), *where])


def _alternatives(f: Mapping[str, Any]) -> list[str]:
    if f["searched"]:
        return _searched(f)
    if not f["alternatives"]:
        ended = "their bounds were already slower" if f["proven"] else "the search ended before"
        return [f"  no runner-up that was scored in full has another {f['axis']}: {ended}"]
    chosen = [f"{f['axis']} {f['degree']:,}", seconds(f["step_time_s"]), "chosen", "", ""]
    rows = [
        [f"{f['axis']} {a['degree']:,}", seconds(a["step_time_s"]), change(a["step_time_s"], f["step_time_s"]),
         degrees(a["strategy"]), choices(a["strategy"])] for a in f["alternatives"]
    ]  # fmt: skip
    return table([["best with", "step time", "", "", ""], chosen, *rows], "<>><<")


def _searched(f: Mapping[str, Any]) -> list[str]:
    """One line a degree, in order, the plan's own among them."""
    rows = {f["degree"]: [seconds(f["step_time_s"]), "chosen", "", ""]}
    for a in f["searched"]:
        if a["step_time_s"] is None:
            rows[a["degree"]] = ["-", "", f"nothing runs: {a['reason']}", ""]
        else:
            title = change(a["step_time_s"], f["step_time_s"]) + ("" if a["proven"] else " at most")
            rows[a["degree"]] = [seconds(a["step_time_s"]), title, degrees(a["strategy"]), choices(a["strategy"])]
    lines = [[f"{f['axis']} {degree:,}", *rows[degree]] for degree in sorted(rows)]
    return table([["best with", "step time", "", "", ""], *lines], "<>><<")
