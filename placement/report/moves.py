# SPDX-License-Identifier: Apache-2.0
# W moved rank   R rank
"""What a repair moved: for machines (moves.json, moves.csv) and for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.hostlist import fold
from placement.passes.fetch import CHECKPOINT, ITSELF, readable
from placement.passes.yard import yard_of
from placement.report.style import PLAIN, Style
from placement.report.text import change, counted, percent, seconds, table

if TYPE_CHECKING:
    from placement.ir import Cluster, Placement, Plan
    from placement.ir._array import Ints
    from placement.passes.fetch import Sources
    from placement.repair import Repaired

FORMAT_VERSION = "1.0"
COLUMNS = (
    "rank", "from_host", "from_gpu", "to_host", "to_gpu", "why", "weights_from", "experts_from", "optimizer_from",
)  # fmt: skip
LINES = 8
_WORDS = {ITSELF: "itself", CHECKPOINT: "checkpoint"}


def moves(repaired: Repaired, before: Placement) -> list[list[Any]]:
    """A row of COLUMNS for each moved rank. `before`: where the ranks of the new plan were.

    `why`: lost (its GPU failed), drained, or along (its cell left the NVLink domain). Sources are ranks, or `itself` (its old
    GPU can still be read), or `checkpoint`.
    """
    fix = repaired.repair
    return rows_of(repaired.plan.cluster, fix.moved_R, fix.lost_R, before, repaired.plan.chosen.placement, repaired.sources)


def rows_of(
    cluster: Cluster, moved_W: Ints, lost_R: Ints, before: Placement, after: Placement, sources: Sources
) -> list[list[Any]]:
    """A row of COLUMNS for each moved rank of a plan or a map."""
    old_W, new_W = before.gpu_R[moved_W], after.gpu_R[moved_W]
    why_W = np.where(np.isin(moved_W, lost_R), np.where(readable(cluster)[old_W], "drained", "lost"), "along")
    return [list(row) for row in zip(
        moved_W.tolist(), *_places(cluster, old_W), *_places(cluster, new_W), why_W.tolist(),
        *(_worded(column) for column in (sources.dense_W, sources.expert_W, sources.optimizer_W)),
        strict=True,
    )]  # fmt: skip


def _places(cluster: Cluster, gpu_W: Ints) -> tuple[list[str], list[int]]:
    node_W, slot_W = np.divmod(gpu_W, cluster.gpus_per_node)
    return cluster.host_N[node_W].tolist(), slot_W.tolist()


def _worded(source_W: Ints) -> list[int | str]:
    return [_WORDS.get(s, s) for s in source_W.tolist()]


def distances(cluster: Cluster, before: Placement, after: Placement, moved_W: Ints) -> dict[str, int]:
    """Moved ranks by the innermost tier that holds their old and their new place."""
    node_W = [p.gpu_R[moved_W] // cluster.gpus_per_node for p in (before, after)]
    found, left = {}, np.ones(len(moved_W), bool)
    for tier in cluster.tiers:
        same = left & (tier.group_N[node_W[0]] == tier.group_N[node_W[1]])
        found[tier.name] = int(same.sum())
        left &= ~same
    return found | ({"apart": int(left.sum())} if left.any() else {})


def counts(moved_R: Ints, lost_R: Ints, least: int, proven: bool) -> dict[str, Any]:
    """Ranks that a repair moves, the fewest that any could, and ranks whose GPU is gone."""
    return {"moved": len(moved_R), "least_moves": least, "proven_least": proven, "lost_ranks": len(lost_R)}


def facts(repaired: Repaired, before: Placement, *, repairs: str, step_s: float, events: Mapping[str, str]) -> dict[str, Any]:
    """The repair as one record. `repairs`: digest of the plan that was repaired, `step_s` its predicted step."""
    fix, plan = repaired.repair, repaired.plan
    lower = plan.certificate
    record: dict[str, Any] = {
        "repairs": repairs,
        "events": dict(events),
        **counts(fix.moved_R, fix.lost_R, fix.least, fix.proven),
        "cell_ranks": fix.cell,
        "cells_moved": fix.cells_moved,
        "moved_within": distances(plan.cluster, before, plan.chosen.placement, fix.moved_R),
        "step_time_s": [step_s, plan.chosen.cost.step_s],
        "traffic_gap": max(lower.gap, 0.0),
        "spare_gpus": plan.spare_gpus,
        "spare_cells": _room(plan, fix.cell),
    }
    if repaired.offer:
        record["slow_nodes"] = {
            "left": repaired.taken, "extra_moves": repaired.offer.extra_moves, "step_time_s": list(repaired.offer.step_s),
            "break_even_steps": repaired.offer.break_even_steps,
        }  # fmt: skip
    if repaired.shrunk:
        record["replicas"], record["global_batch"] = list(repaired.shrunk.replicas), list(repaired.shrunk.batch)
    return record


def _room(plan: Plan, cell: int) -> int:
    """Cells that would still find room in an NVLink domain if they had to leave theirs."""
    yard = yard_of(plan.cluster, plan.chosen.strategy, plan.job)
    free_S = yard.usable_S.copy()
    free_S[plan.chosen.placement.gpu_R // (plan.cluster.gpus_per_node if yard.width > 1 else 1)] = False
    block = math.lcm(cell, yard.width)
    blocks_D = np.bincount(yard.domain_S[free_S], minlength=yard.num_domains) * yard.width // block
    return int(blocks_D.sum()) * (block // cell)


def files(record: Mapping[str, Any], rows: Sequence[Sequence[Any]], digest: str) -> dict[str, bytes]:
    """moves.json and moves.csv. `digest`: that of the new plan."""
    head = {"format_version": FORMAT_VERSION, "digest": digest, **record, "columns": list(COLUMNS)}
    text = json.dumps(head, sort_keys=True, indent=2, allow_nan=False)
    body = json.dumps(list(rows))[1:-1].replace("], [", "],\n    [")  # a row a line; no host name has brackets
    whole = text.removesuffix("\n}") + ',\n  "moves": [' + (f"\n    {body}\n  ]" if rows else "]") + "\n}\n"
    lines = [",".join(COLUMNS), *(",".join(map(str, row)) for row in rows)]
    return {"moves.json": whole.encode(), "moves.csv": ("\n".join(lines) + "\n").encode()}


def screen(record: Mapping[str, Any], rows: Sequence[Sequence[Any]], notes: Sequence[str] = (), style: Style = PLAIN) -> str:
    """What a repair did, for people."""
    return frame(record, list(_lines(record)), rows, notes, style)


def frame(
    record: Mapping[str, Any], lines: Sequence[Sequence[str]], rows: Sequence[Sequence[Any]], notes: Sequence[str], style: Style
) -> str:
    """How many ranks moved, what that means, the first runs of them, and notes."""
    moved, least = record["moved"], record["least_moves"]
    how = "the fewest possible" if record["proven_least"] else f"{least:,} have to"
    head = (
        f"{style('Repaired', 'bold')}   {counted(moved, 'rank')} moved, {how}"
        if moved
        else "Nothing to repair: no rank has to move"
    )
    return "\n".join([head, *table(lines), *_runs(rows), *(f"note: {n}" for n in notes)])


def _lines(record: Mapping[str, Any]) -> Iterator[list[str]]:
    before_s, after_s = record["step_time_s"]
    if record["lost_ranks"]:
        yield lost_line(record)
    if record["cells_moved"]:
        yield ["cells", f"{record['cells_moved']:,} of {record['cell_ranks']} ranks left their NVLink domain"]
    yield from where_lines(record)
    if "replicas" in record:
        (old, new), (full, less) = record["replicas"], record["global_batch"]
        yield ["replicas", f"{old:,} -> {new:,}; the global batch goes from {full:,} to {less:,} sequences"]
    if slow := record.get("slow_nodes"):
        stay_s, move_s = slow["step_time_s"]
        what = f"{slow['extra_moves']:,} more ranks leave them" if slow["left"] else "ranks stay on them"
        pays = f"moving pays after {slow['break_even_steps']:,.0f} steps"
        yield ["slow nodes", f"{what}: {seconds(stay_s)} a step with them, {seconds(move_s)} without; {pays}"]
    yield ["step time", f"{seconds(before_s)} -> {seconds(after_s)}   {change(after_s, before_s)}"]
    yield ["traffic", f"{percent(record['traffic_gap'])} above the lower bound of any placement"]
    room = f"room for {counted(record['spare_cells'], 'cell')} of {record['cell_ranks']} ranks"
    yield ["spares", f"{record['spare_gpus']:,} GPUs left, {room}"]


def lost_line(record: Mapping[str, Any]) -> list[str]:
    return ["lost", f"{record['lost_ranks']:,} ranks had a GPU that may not be used any more"]


def where_lines(record: Mapping[str, Any]) -> list[list[str]]:
    within = {k: n for k, n in record["moved_within"].items() if n}
    return [["where to", ", ".join(f"{n:,} within the same {k} group" for k, n in within.items())]] if within else []


def run(first: int, last: int) -> str:
    """`rank 7` or `ranks 4-7`."""
    return f"rank {first}" if first == last else f"ranks {first}-{last}"


def _runs(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Runs of ranks that go from one host to one other."""
    runs: list[list[Any]] = []
    for rank, old, _, new, _, why, *_ in rows:
        if runs and runs[-1][1] == rank - 1 and runs[-1][2:] == [old, new, why]:
            runs[-1][1] = rank
        elif len(runs) < LINES:
            runs.append([rank, rank, old, new, why])
        else:
            break
    lines = [f"    ~ {run(a, b)}   {old} -> {new}   {why}" for a, b, old, new, why in runs]
    left = len(rows) - sum(b - a + 1 for a, b, *_ in runs)
    return [*lines, *([f"    … and {left:,} more: moves.csv"] if left else [])]


def told(events: Mapping[tuple[str, str], Sequence[str]]) -> dict[str, str]:
    """Events by `state kind`, names folded: `{"failed nodes": "rack0001-tray[01-04]"}`."""
    return {f"{state} {kind}": fold(names) for (state, kind), names in events.items() if names}
