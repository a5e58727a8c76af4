# SPDX-License-Identifier: Apache-2.0
# R rank   M member   T tier   E pair of ranks
"""`why rank`, `why node` and `why link` of a map: whom a rank talks to, how far away, and what other places would cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.cost.crossings import boundaries
from placement.hostlist import fold
from placement.ir import AXES, Strategy, Term
from placement.ir._array import Ints
from placement.ir.comms import Wires
from placement.report.groups import SPAN, SPAN_ALIGN, member_facts, span_cells
from placement.report.maps.traffic import WHOLE
from placement.report.maps.view import MapView
from placement.report.places import place
from placement.report.strategy import clip
from placement.report.text import change, counted, ranges, seconds, si, table
from placement.report.why_link import ranks_below, uplink_facts, uplink_text
from placement.report.why_node import host_facts, host_text, idle_why
from placement.report.why_rank import members, spot, spot_lines

if TYPE_CHECKING:
    from placement.passes.comms_trades import Trade, Trades


def rank_facts(view: MapView, rank: int, found: Trades) -> dict[str, Any]:
    """Everything about one rank: place, tower, coordinates, every group, bridge and pair it is in, and other places."""
    node, slot = divmod(int(view.gpu_R[rank]), view.cluster.gpus_per_node)
    k = int(view.tower_R[rank])
    tower, inner = view.comms.towers[k], rank - view.comms.first[k]
    at = {} if tower.strategy is None else tower.strategy.coordinates(np.array([inner]))
    groups = [*_axes(view, k, inner), *_wired(view, rank)]
    return {
        "rank": rank,
        **spot(view.cluster, node, slot),
        "tower": tower.name,
        "tower_rank": inner,
        "coordinates": {a: int(v[0]) for a, v in at.items()},
        "groups": groups,
        **_elsewhere(view, found),
        "where": place(view.cluster.source, f"tiers.{_outermost(view, groups)}", "racks"),
    }


def _axes(view: MapView, k: int, inner: int) -> Iterator[dict[str, Any]]:
    """The groups of a rank along the axes of its tower."""
    tower, first = view.comms.towers[k], view.comms.first[k]
    s = tower.strategy
    for axis in AXES if s else ():
        assert s is not None
        if s.size(axis) > 1:
            sent = sum(_sent(s, t, inner // s.stage_ranks) for t in tower.traffic.terms if t.axis == axis)
            spanned = member_facts(view.cluster, view.gpu_R, first + members(s, axis, inner), view.busy_T)
            yield {"part": f"{tower.name}.{axis}", **spanned, "sends_bytes": sent, "receives_bytes": sent}


def _sent(strategy: Strategy, term: Term, stage: int) -> float:
    """Bytes that a rank of a stage sends, and receives: of stage boundaries activations one way, gradients the other."""
    if term.kind != "path":
        return float(term.bytes_P[stage])
    return sum(float(term.bytes_P[a]) for a, b in boundaries(strategy) if stage in (a, b))


def _wired(view: MapView, rank: int) -> Iterator[dict[str, Any]]:
    """Groups of the file, bridges and pairs that a rank is in: with it, its partners; of groups, all members."""
    for wires in view.comms.wires:
        out, come = np.flatnonzero(wires.src_E == rank), np.flatnonzero(wires.dst_E == rank)
        if len(out) + len(come):
            others = np.concatenate([wires.dst_E[out], wires.src_E[come], [rank]])
            yield {
                "part": wires.label,
                **member_facts(view.cluster, view.gpu_R, _row(wires, rank, np.unique(others)), view.busy_T),
                "sends_bytes": float(wires.bytes_E[out].sum()),
                "receives_bytes": float(wires.bytes_E[come].sum()),
            }


def _row(wires: Wires, rank: int, others: Ints) -> Ints:
    """The group of a rank, if the wires are groups, else those that it exchanges anything with."""
    row = np.flatnonzero((wires.rows_QM == rank).any(axis=1)) if wires.rows_QM.size else np.zeros(0, np.int64)
    return np.sort(wires.rows_QM[row[0]]) if len(row) else others


def _outermost(view: MapView, groups: list[dict[str, Any]]) -> str:
    names = [t.name for t in view.cluster.tiers]
    return max((g["tier"] for g in groups if g["tier"] in names), key=names.index, default=names[0])


def _elsewhere(view: MapView, found: Trades | None) -> dict[str, Any]:
    """Keys of what moves together, what the map costs, and what every other place would cost."""
    tree = view.tree
    return {
        "moves_with": [] if found is None else found.ranks.tolist(),
        "block_hosts": "" if found is None else fold(view.cluster.host_N[found.nodes]),
        "places": 0 if found is None else found.places,
        "busiest_s": tree["busiest_s"],
        "launcher_s": tree["launcher"]["busiest_s"],
        "bytes_tier": {name: tree["tiers"][name]["bytes"] for name in tree["cluster"]["tiers"]},
        "elsewhere": [] if found is None else [_record(view, t) for t in found.found],
    }


def _record(view: MapView, trade: Trade) -> dict[str, Any]:
    """Another place, and the exact change of bytes that leave the groups of each tier."""
    names = [t.name for t in view.cluster.tiers]
    more = {n: b - view.tree["tiers"][n]["bytes"] for n, b in zip(names, trade.loads.bytes_T.tolist(), strict=True)}
    return {
        "hosts": fold(view.cluster.host_N[trade.nodes]),
        "idle": trade.idle,
        "same": names[trade.tier],
        "busiest_s": trade.loads.busiest_s,
        "adds_bytes": {n: b if abs(b) > 1e-9 * view.tree["tiers"][n]["bytes"] else 0.0 for n, b in more.items()},
    }


def rank_text(f: Mapping[str, Any]) -> str:
    """The screen of `why rank`."""
    at = " · ".join(f"{a} {v:,}" for a, v in f["coordinates"].items()) or "no structure"
    rows = [[g["part"], *span_cells(g), *(si(g[k], "B") if g[k] else "-" for k in ("sends_bytes", "receives_bytes"))]
            for g in f["groups"]]  # fmt: skip
    lines = [*spot_lines(f), f"  at         rank {f['tower_rank']:,} of {f['tower']}: {at}", f"  moves with {_block(f)}", ""]
    lines += table([["group", *SPAN, "sends a step", "receives"], *rows], f"<{SPAN_ALIGN}>>") if rows else ["  talks to nobody"]
    return "\n".join([*lines, "", *elsewhere_lines(f), *([f"  --> {f['where']}"] if f["where"] else [])])


def _block(f: Mapping[str, Any]) -> str:
    return f"{counted(len(f['moves_with']), 'rank')} {clip(ranges(f['moves_with']), 40)} on {clip(f['block_hosts'], 40)}"


def elsewhere_lines(f: Mapping[str, Any]) -> list[str]:
    """The map, and the same with the ranks of one block elsewhere: seconds of the busiest uplinks, bytes out of each tier."""
    tiers = list(f["bytes_tier"])
    head = ["", "busiest uplinks", "", *(f"leaves {t}" for t in tiers)]
    chosen = ["chosen", seconds(f["busiest_s"]), "", *(si(b, "B") if b else "0" for b in f["bytes_tier"].values())]
    rows = [
        [f"{clip(a['hosts'], 36)} instead ({'idle' if a['idle'] else 'trade'}, same {a['same']})", seconds(a["busiest_s"]),
         change(a["busiest_s"], f["busiest_s"]), *(_more(a["adds_bytes"][t]) for t in tiers)] for a in f["elsewhere"]
    ]  # fmt: skip
    launcher = ["launcher's order", seconds(f["launcher_s"]), change(f["launcher_s"], f["busiest_s"])]
    told = f"  the best of each distance, of {counted(f['places'], 'other place')} that could hold these ranks"
    return [*table([head, chosen, *rows, launcher], "<>>" + ">" * len(tiers)), told]


def _more(n: float) -> str:
    return f"{'+' if n > 0 else '-'}{si(abs(n), 'B')}" if n else "same"


def node_facts(view: MapView, node: int, found: Trades | None) -> dict[str, Any]:
    """One host: as in a plan, with the tower of each rank."""
    facts = host_facts(view.cluster, view.gpu_R, node)
    facts["ranks"] = [r | {"tower": view.names[view.tower_R[r["rank"]]]} for r in facts["ranks"]]
    spare = "a spare: the towers need no more GPUs"
    return {**facts, "why_idle": "" if facts["ranks"] else idle_why(view.cluster, node) or spare, **_elsewhere(view, found)}


def node_text(f: Mapping[str, Any]) -> str:
    """The screen of `why node`."""
    towers = ", ".join(dict.fromkeys(r["tower"] for r in f["ranks"]))
    lines = [f"  moves with {_block(f)}", "", *elsewhere_lines(f)] if f["ranks"] else []
    return host_text(f, towers, "tower", lines)


def link_facts(view: MapView, tier: int, group: int) -> dict[str, Any]:
    """One uplink: bytes by part, seconds busy, and the ranks below it."""
    ranks = ranks_below(view.cluster, view.gpu_R, tier, group)
    facts = uplink_facts(view.cluster, view.parts_T[tier], view.tree["busiest_s"], tier, group)
    return facts | {"ranks": len(ranks), "towers": [view.names[k] for k in np.unique(view.tower_R[ranks])]}


def link_text(f: Mapping[str, Any]) -> str:
    """The screen of `why link`."""
    return uplink_text(f, f"{counted(f['ranks'], 'rank')} of {', '.join(f['towers'])}", WHOLE, "part")
