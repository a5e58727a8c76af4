# SPDX-License-Identifier: Apache-2.0
# R rank   W moved rank
"""What differs between two plans: inputs, strategy, stages, where ranks live, and what a step costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.hostlist import fold
from placement.ir import DEGREES
from placement.report.moves import run
from placement.report.plan import crossing
from placement.report.stages import layer_names
from placement.report.strategy import clip, degrees
from placement.report.text import change, counted, gib, percent, ranges, seconds, si, table
from placement.runtime.layout import Section

if TYPE_CHECKING:
    from placement.ir._array import Ints
    from placement.runtime import LoadedPlan

Tree = Mapping[str, Any]
MOVES, CHANGES = 8, 12  # lines of moved ranks, and of changed inputs, on the screen
CHOICES = (*DEGREES, "num_microbatches", "schedule", "recompute", "sharding")


def diff_facts(a: LoadedPlan, b: LoadedPlan) -> dict[str, Any]:
    """Every difference as one record; `different` says whether there is any."""
    stage_R = b.bin[Section.RANKS]["stage"]
    rank_R = np.arange(min(a.json["world_size"], b.json["world_size"]))
    return {
        **shared_facts(a, b),
        "job": changed(a.json["job"], b.json["job"]),
        "strategy": changed(_chosen(a.json), _chosen(b.json)),
        "stages": [p for p in range(_most_stages(a, b)) if _layers(a, p) != _layers(b, p)],
        "mapping": mapping(a, b, rank_R, rank_R, lambda rank: {"stage": int(stage_R[rank])}),
        "step_time_s": [p.json["predicted"]["step_time_s"] for p in (a, b)],
        "mfu": [p.json["predicted"]["mfu"] for p in (a, b)],
        "peak_memory_bytes": [p.json["predicted"]["peak_memory_bytes"] for p in (a, b)],
        "traffic_bytes": {t: [crossing(p.json["predicted"], t) for p in (a, b)] for t in a.json["cluster"]["tiers"][:-1]},
    }


def shared_facts(a: LoadedPlan, b: LoadedPlan) -> dict[str, Any]:
    """What differs in everything that plans and maps both have."""
    return {
        "different": a.digest != b.digest,
        "digests": [a.digest, b.digest],
        "inputs": changed(a.json["inputs"], b.json["inputs"]),
        "changes": {},
        "cluster": changed(a.json["cluster"], b.json["cluster"]),
        "world_size": [a.json["world_size"], b.json["world_size"]],
    }


def changed(a: Tree, b: Tree) -> dict[str, Any]:
    return {k: [a.get(k), b.get(k)] for k in sorted({*a, *b}) if a.get(k) != b.get(k)}


def _chosen(tree: Tree) -> dict[str, Any]:
    return {k: tree["strategy"][k] for k in CHOICES}


def _most_stages(a: LoadedPlan, b: LoadedPlan) -> int:
    return max(len(a.json["stages"]), len(b.json["stages"]))


def _layers(plan: LoadedPlan, stage: int) -> list[str] | None:
    stages = plan.json["stages"]
    return layer_names(stages[stage]) if stage < len(stages) else None


def mapping(a: LoadedPlan, b: LoadedPlan, of_a: Ints, of_b: Ints, part: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
    """Hosts that left and joined, and ranks that both plans have on different GPUs, in runs of equal host pairs.

    `of_a`, `of_b`: the same ranks in both, as either numbers them, ascending. `part`: what a rank of `b` belongs to.
    """
    host_a, host_b = _host_names(a), _host_names(b)
    rank_a, rank_b = a.bin[Section.RANKS][of_a], b.bin[Section.RANKS][of_b]
    from_R, to_R = host_a[rank_a["host"]], host_b[rank_b["host"]]
    moved_W = np.flatnonzero((from_R != to_R) | (rank_a["slot"] != rank_b["slot"]))
    gone, new = np.setdiff1d(host_a, host_b), np.setdiff1d(host_b, host_a)
    return {
        "hosts_out": fold(gone),
        "hosts_in": fold(new),
        "num_hosts_out": len(gone),
        "num_hosts_in": len(new),
        "ranks_moved": len(moved_W),
        "ranks_compared": len(of_b),
        "moves": [m | part(m["ranks"][0]) for m in _moves(of_b[moved_W], from_R[moved_W], to_R[moved_W])],
    }


def _host_names(plan: LoadedPlan) -> Any:
    return np.char.decode(plan.bin.name_column(plan.bin[Section.HOSTS]), "utf-8")


def _moves(moved_W: Ints, from_W: Any, to_W: Any) -> Iterator[dict[str, Any]]:
    """The first runs of consecutive moved ranks with the same two hosts."""
    if not len(moved_W):
        return
    cut = (np.diff(moved_W) != 1) | (from_W[1:] != from_W[:-1]) | (to_W[1:] != to_W[:-1])
    starts = np.r_[0, np.flatnonzero(cut) + 1]
    for start, stop in zip(starts[:MOVES], np.r_[starts[1:], len(moved_W)][:MOVES], strict=True):
        ranks = [int(moved_W[start]), int(moved_W[stop - 1])]
        yield {"ranks": ranks, "from": str(from_W[start]), "to": str(to_W[start])}


def diff_text(f: Mapping[str, Any], a: Tree, b: Tree) -> str:
    """The screen of `diff`."""
    if not f["different"]:
        return f"same plan   {f['digests'][0][:8]}"
    return frame(f, [*_strategy(f, a, b), *_stages(f)], list(_costs(f)), _summary(f))


def frame(f: Mapping[str, Any], choices: Sequence[Sequence[str]], costs: Sequence[Sequence[str]], summary: str) -> str:
    """Digests, inputs with the lines that changed, choices, moves, costs, and a last line."""
    lines = [
        f"{f['digests'][0][:8]} -> {f['digests'][1][:8]}",
        *table(_inputs(f)),
        *_lines(f),
        *table(choices),
        *_moved(f["mapping"]),
        *table(costs, "<>>>"),
        summary,
    ]
    return "\n".join(lines)


def _inputs(f: Mapping[str, Any]) -> list[list[str]]:
    short = [[name, " -> ".join(x[:8] if x else "none" for x in pair)] for name, pair in f["inputs"].items()]
    return short or [["inputs", "same"]]


def _lines(f: Mapping[str, Any]) -> Iterator[str]:
    """The keys of the input files that changed, each with its place, and what the command line changed."""
    rows = [[_sign(c), c["key"], _both(c["before"], c["after"]), c["where"]] for found in f["changes"].values() for c in found]
    yield from table(rows[:CHANGES], indent=4)
    if len(rows) > CHANGES:
        yield f"    … and {len(rows) - CHANGES:,} more"
    asked = {k: pair for k, pair in f.get("job", {}).items() if not f["changes"]}
    yield from table([["~", f"job {k}", _both(*(str(x) for x in pair))] for k, pair in asked.items()], indent=4)


def _sign(c: Mapping[str, Any]) -> str:
    return "+" if c["before"] is None else "-" if c["after"] is None else "~"


def _both(before: str | None, after: str | None) -> str:
    return " -> ".join(clip(x, 60) for x in (before, after) if x is not None)


def _strategy(f: Mapping[str, Any], a: Tree, b: Tree) -> list[list[str]]:
    if not f["strategy"]:
        return [["strategy", "same   " + degrees(a["strategy"])]]
    rows = [["strategy", ", ".join(f"{k} {x} -> {y}" for k, (x, y) in f["strategy"].items())]]
    if f["world_size"][0] != f["world_size"][1]:
        rows.append(["GPUs", f"{f['world_size'][0]:,} -> {f['world_size'][1]:,}"])
    return [*rows, ["", degrees(b["strategy"])]]


def _stages(f: Mapping[str, Any]) -> list[list[str]]:
    return [["stages", f"layers of {ranges(f['stages'])} differ" if f["stages"] else "same"]]


def _moved(m: Mapping[str, Any]) -> Iterator[str]:
    yield from table([["mapping", f"{m['ranks_moved']:,} of {m['ranks_compared']:,} ranks move"]])
    if m["hosts_out"]:
        yield f"    - {clip(m['hosts_out'], 90)}"
    if m["hosts_in"]:
        yield f"    + {clip(m['hosts_in'], 90)}"
    told = 0
    for move in m["moves"]:
        first, last = move["ranks"]
        told += last - first + 1
        part = move["tower"] if "tower" in move else f"stage {move['stage']}"
        yield f"    ~ {run(first, last)}   {move['from']} -> {move['to']}   {part}"
    if m["ranks_moved"] > told:
        yield f"    … and {m['ranks_moved'] - told:,} more"


def _costs(f: Mapping[str, Any]) -> Iterator[list[str]]:
    yield row("step time", f["step_time_s"], seconds)
    yield row("mfu", f["mfu"], percent)
    yield row("peak memory", f["peak_memory_bytes"], gib)
    yield from traffic_costs(f)


def traffic_costs(f: Mapping[str, Any]) -> Iterator[list[str]]:
    for tier, pair in f["traffic_bytes"].items():
        yield row(f"out of {tier} groups", pair, lambda n: si(n, "B"))


def row(title: str, pair: list[float], form: Any) -> list[str]:
    return [title, f"{form(pair[0])} ->", form(pair[1]), change(pair[1], pair[0])]


def _summary(f: Mapping[str, Any]) -> str:
    degrees_differ = [k for k in f["strategy"] if k in DEGREES and k != "micro_batch"] or f["stages"]
    loads = (
        "groups reshaped: checkpoints must be resharded"
        if degrees_differ
        else "no group reshaped (checkpoints load as they are)"
    )
    return summary(f["mapping"], loads)


def summary(m: Mapping[str, Any], loads: str) -> str:
    """The last line: hosts out and in, ranks moved, and whether checkpoints load."""
    hosts = (
        f"{counted(m['num_hosts_out'], 'host')} out, {m['num_hosts_in']:,} in, "
        if m["num_hosts_out"] or m["num_hosts_in"]
        else ""
    )
    return f"Diff: {hosts}{counted(m['ranks_moved'], 'rank')} moved, {loads}"
