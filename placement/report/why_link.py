# SPDX-License-Identifier: Apache-2.0
# T tier   J group of a tier   R rank   X pair of ranks
"""`why link NAME`, and the slowest exposed transfer of a stage: who sends what over which uplink, and how long it is busy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from placement.cost.spans import seconds_J
from placement.cost.traffic import link_loads
from placement.hostlist import fold
from placement.ir import Cluster, Placement, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.report.groups import link_name, meeting_tier
from placement.report.hierarchy import group_name
from placement.report.places import place
from placement.report.strategy import clip
from placement.report.text import counted, percent, ranges, seconds, si, table
from placement.report.why_axis import PART

Tree = Mapping[str, Any]


def find_link(cluster: Cluster, name: str) -> tuple[int, int] | None:
    """(tier, group) of a name as `topology show` and captures write it (`rack0077`, `leaf246`), or of a tier and the number
    that the screens of a plan give its groups (`leaf 245`, `leaf:245`); None if there is no such group.
    """
    for t, tier in enumerate(cluster.tiers):
        named = next((j for j in range(tier.num_groups) if group_name(cluster, t, j) == name), None)
        if named is not None:
            return t, named
    kind, _, number = name.replace(":", " ").partition(" ")
    for t, tier in enumerate(cluster.tiers):
        if kind == tier.name and number.isascii() and number.isdigit() and int(number) < tier.num_groups:
            return t, int(number)
    return None


def link_facts(cluster: Cluster, tree: Tree, strategy: Strategy, placement: Placement, tier: int, group: int) -> dict[str, Any]:
    """One uplink: bytes by axis, seconds busy, its place among those of its tier, and the ranks below it."""
    name, by_axis = cluster.tiers[tier].name, dict[str, Floats]()
    for term in traffic(tree).terms:
        load_J = link_loads(cluster, strategy, placement, Traffic((term,)))[name]
        by_axis[term.axis] = by_axis.get(term.axis, np.zeros(1)) + load_J
    ranks = ranks_below(cluster, placement.gpu_R, tier, group)
    facts = uplink_facts(cluster, by_axis, tree["predicted"]["step_time_s"], tier, group)
    return facts | {"ranks": len(ranks), "stages": np.unique(ranks // strategy.stage_ranks).tolist()}


def uplink_facts(cluster: Cluster, by_part: Mapping[str, Floats], whole_s: float, tier: int, group: int) -> dict[str, Any]:
    """One uplink under the loads of the parts of a job (J,); `share` is of `whole_s`."""
    facts = cluster.tiers[tier]
    busy_J = seconds_J(np.sum([*by_part.values(), np.zeros(facts.num_groups)], axis=0), facts.uplink_Bps_J)
    return {
        "link": link_name(cluster, tier, group),
        "tier": facts.name,
        "uplink_Bps": float(facts.uplink_Bps_J[group]),
        "bytes_axis": {part: float(load_J[group]) for part, load_J in by_part.items() if load_J[group]},
        "busy_s": float(busy_J[group]),
        "share": float(busy_J[group]) / whole_s if whole_s else 0.0,
        "busier": int((busy_J > busy_J[group] * (1 + 1e-9)).sum()),
        "links": facts.num_groups,
        "mean_s": float(busy_J[busy_J > 0].mean()) if (busy_J > 0).any() else 0.0,
        "hosts": fold(np.unique(cluster.host_N[facts.group_N == group])),
        "where": _where(cluster, tier),
    }


def ranks_below(cluster: Cluster, gpu_R: Ints, tier: int, group: int) -> Ints:
    return np.flatnonzero(cluster.tiers[tier].group_N[gpu_R // cluster.gpus_per_node] == group)


def traffic(tree: Tree) -> Traffic:
    """What each rank sends, as plan.json says."""
    return Traffic(tuple(Term(t["axis"], t["kind"], np.array(t["bytes_P"], float)) for t in tree["traffic"]))


def busy_T(cluster: Cluster, tree: Tree, strategy: Strategy, placement: Placement) -> list[Any]:
    """Seconds a step that each uplink of each tier is busy: a list of (J,), the lowest tier first."""
    loads = link_loads(cluster, strategy, placement, traffic(tree))
    return [seconds_J(np.asarray(loads[t.name], float), t.uplink_Bps_J) for t in cluster.tiers]


def _where(cluster: Cluster, tier: int) -> str | None:
    """The line that says how fast the uplinks of a tier are: that of the tier above, where they end."""
    above = [f"tiers.{t.name}" for t in cluster.tiers[tier + 1 : tier + 2]]
    return place(cluster.source, *above, "fabric", "racks")


def link_text(f: Mapping[str, Any]) -> str:
    """The screen of `why link`."""
    stages = f"{counted(f['ranks'], 'rank')} of stage {ranges(f['stages'])}"
    return uplink_text(f, stages, "the step", "axis")


def uplink_text(f: Mapping[str, Any], ranks: str, whole: str, part: str) -> str:
    """An uplink, the `ranks` below it, and its bytes by `part`; its share is of `whole`."""
    total = sum(f["bytes_axis"].values())
    order = (
        f"{f['busier']:,} of {f['links']:,} uplinks of {f['tier']} groups are busier"
        if f["busier"]
        else f"as busy as any of {f['links']:,} uplinks of {f['tier']} groups"
    )
    rows = [
        ["carries", si(f["uplink_Bps"], "B/s")],
        ["sends", f"{si(total, 'B')} a step" if total else "nothing"],
        ["busy", f"{seconds(f['busy_s'])}, {percent(f['share'])} of {whole}"],
        ["", f"{order}; the mean of those in use is {seconds(f['mean_s'])}"],
        ["below", ranks if f["ranks"] else "no rank"],
        ["", clip(f["hosts"], 72)],
    ]
    axes = [[axis, si(n, "B"), percent(n / total)] for axis, n in sorted(f["bytes_axis"].items(), key=lambda i: -i[1])]
    sent = ["", *table([[part, "sends a step", "of all"], *axes], "<>>")] if axes else []
    where = [f"  --> {f['where']}"] if f["where"] else []
    return "\n".join([f"uplink of {f['link']}", *table(rows), *sent, *where])


def transfer_facts(cluster: Cluster, tree: Tree, strategy: Strategy, placement: Placement, stage: int) -> dict[str, Any] | None:
    """The exposed communication that costs a stage most: its axis, two ranks that are farthest apart in it, and the uplink
    between them that is busy longest. None if nothing of the stage's communication is exposed.
    """
    axis = _dearest(tree, strategy, stage)
    if axis is None:
        return None
    pair_X2 = _pairs(strategy, axis, stage)
    tier_X = meeting_tier(cluster, placement.gpu_R[pair_X2] // cluster.gpus_per_node)
    at = int(np.argmax(tier_X))
    top = min(int(tier_X[at]), len(cluster.tiers) - 1)
    (node, _), slot_2 = (
        placement.gpu_R[pair_X2[at]] // cluster.gpus_per_node,
        placement.gpu_R[pair_X2[at]] % cluster.gpus_per_node,
    )
    hosts = [str(cluster.host_N[n]) for n in placement.gpu_R[pair_X2[at]] // cluster.gpus_per_node]
    busy = busy_T(cluster, tree, strategy, placement)
    links = [(float(busy[t][j]), t, j) for t in range(top) for j in (int(cluster.tiers[t].group_N[node]),)]
    busiest = max(links, default=None)
    part = PART.get(axis, axis)
    return {
        "axis": axis,
        "part": part,
        "exposed_s": float(tree["predicted"]["breakdown_s"][part]),
        "ranks": pair_X2[at].tolist(),
        "hosts": hosts,
        "gpus": slot_2.tolist(),
        "meets": cluster.tiers[top].name,
        "link": None if busiest is None else link_name(cluster, busiest[1], busiest[2]),
        "uplink_Bps": None if busiest is None else float(cluster.tiers[busiest[1]].uplink_Bps_J[busiest[2]]),
        "busy_s": None if busiest is None else busiest[0],
        "where": place(cluster.source, "nvlink", "node") if busiest is None else _where(cluster, busiest[1]),
    }


def _dearest(tree: Tree, strategy: Strategy, stage: int) -> str | None:
    """The axis of the most exposed part of the step in which this stage sends; of one part, the one that sends most."""
    parts = tree["predicted"]["breakdown_s"]
    sent = [
        (float(parts.get(PART.get(t["axis"], t["axis"]), 0.0)), float(t["bytes_P"][stage]), t["axis"]) for t in tree["traffic"]
    ]
    found = [x for x in sent if x[0] > 0 and x[1] > 0 and strategy.size(x[2]) > 1]
    return max(found)[2] if found else None


def _pairs(strategy: Strategy, axis: str, stage: int) -> Ints:
    """Ranks that follow each other along an axis, of one stage: (X, 2). Along pp the stage and the next one."""
    ranks_R = stage * strategy.stage_ranks + np.arange(strategy.stage_ranks)
    if axis == "pp":
        step = strategy.stage_ranks if stage + 1 < strategy.pp else -strategy.stage_ranks
        return np.column_stack([ranks_R, ranks_R + step])
    n, stride = strategy.size(axis), strategy.stride(axis)
    at = ranks_R // stride % n
    return np.column_stack([ranks_R, ranks_R + ((at + 1) % n - at) * stride])


def transfer_text(f: Mapping[str, Any]) -> list[str]:
    """The lines below `why stage`."""
    ends = [f"rank {r:,} ({h} gpu {g})" for r, h, g in zip(f["ranks"], f["hosts"], f["gpus"], strict=True)]
    part = "" if f["part"] == f["axis"] else f" (part `{f['part']}`)"
    lines = ["", f"slowest exposed transfer: {f['axis']}{part}, {seconds(f['exposed_s'])} a step"]
    lines.append(f"  {ends[0]} -> {ends[1]}, meet at {f['meets']}")
    if f["link"]:
        lines.append(
            f"  busiest on the way: uplink of {f['link']}, {si(f['uplink_Bps'], 'B/s')}, busy {seconds(f['busy_s'])} a step"
        )
    return lines
