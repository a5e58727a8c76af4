# SPDX-License-Identifier: Apache-2.0
# N node   K tower   D NVLink domain
"""What a repair of a map moved: the record of moves.json and the screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.report.moves import counts, distances, frame, lost_line, where_lines
from placement.report.style import PLAIN, Style
from placement.report.text import change, counted, percent, seconds, si

if TYPE_CHECKING:
    from placement.comms import MapRepaired
    from placement.ir import Placement
    from placement.ir.comms import CommsPlan


def facts(
    repaired: MapRepaired, before: Placement, old: Mapping[str, Any], repairs: str, events: Mapping[str, str]
) -> dict[str, Any]:
    """The repair as one record. `repairs`: digest of the map that was repaired, `old` its map.json."""
    fix, plan = repaired.repair, repaired.plan
    moved, names = plan.tier_bytes(), [t.name for t in plan.cluster.tiers]
    return {
        "repairs": repairs,
        "events": dict(events),
        **counts(fix.moved_R, fix.lost_R, fix.least, fix.proven),
        "blocks_moved": fix.blocks_moved,
        "moved_within": distances(plan.cluster, before, plan.placement, fix.moved_R),
        "busiest_s": [old["busiest_s"], plan.busiest_s],
        "traffic_bytes": {name: [old["tiers"][name]["bytes"], moved[name]] for name in names},
        "gap": plan.gap,
        "spare_gpus": int(plan.cluster.usable_NG.sum()) - plan.comms.world_size,
        "spare_blocks": _room(plan),
    }


def _room(plan: CommsPlan) -> dict[str, int]:
    """Of each tower, how many cells made up to whole nodes would still find room in an NVLink domain."""
    slots, free_N = plan.cluster.gpus_per_node, plan.cluster.whole_N.copy()
    free_N[plan.placement.gpu_R // slots] = False
    free_D = np.bincount(plan.cluster.tiers[0].group_N[free_N])
    return {name: int((free_D // (math.lcm(cell, slots) // slots)).sum()) for name, cell in plan.cells.items()}


def screen(record: Mapping[str, Any], rows: Sequence[Sequence[Any]], notes: Sequence[str] = (), style: Style = PLAIN) -> str:
    """What a repair did, for people."""
    return frame(record, list(_lines(record)), rows, notes, style)


def _lines(record: Mapping[str, Any]) -> Iterator[list[str]]:
    if record["lost_ranks"]:
        yield lost_line(record)
    if record["blocks_moved"]:
        yield ["together", f"{counted(record['blocks_moved'], 'block')} of ranks left their NVLink domain"]
    yield from where_lines(record)
    before_s, after_s = record["busiest_s"]
    yield ["busiest", f"{seconds(before_s)} -> {seconds(after_s)}   {change(after_s, before_s)}"]
    for tier, (before, after) in record["traffic_bytes"].items():
        if before or after:
            yield [f"out of {tier}", f"{si(before, 'B')} -> {si(after, 'B')}   {change(after, before)}"]
    if record["gap"] is not None:
        yield ["traffic", f"{percent(max(record['gap'], 0.0))} above the lower bound of any placement"]
    rooms = ", ".join(f"{n:,} of {name}" for name, n in record["spare_blocks"].items())
    yield ["spares", f"{record['spare_gpus']:,} GPUs left; they would still hold blocks: {rooms}"]
