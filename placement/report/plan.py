# SPDX-License-Identifier: Apache-2.0
"""The screen of a plan: what was chosen, what it costs, how it compares, where the time goes, how far from the bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from placement.report.gpus import gpus_text
from placement.report.rejections import histogram
from placement.report.stages import stage_table
from placement.report.strategy import choices, degrees
from placement.report.style import PLAIN, Style, safe
from placement.report.text import bar, change, fold_rows, percent, seconds, si, table

Tree = Mapping[str, Any]
REACHED = 5e-4  # gaps below this print as zero
EXPOSED = ("tp", "cp", "ep", "pp", "dp")


def screen(tree: Tree, style: Style = PLAIN, top: int = 0) -> str:
    """All of it, from plan.json. `top`: how many runners-up to list."""
    sections = (
        _strategy(tree, style), _comparison(tree), _where_time_goes(tree), _stages(tree), _bounds(tree), _search(tree, top),
        [f"{style('warning', 'yellow', 'bold')}: {safe(w)}" for w in tree["warnings"]],
    )  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def _strategy(tree: Tree, style: Style) -> Iterator[str]:
    s = tree["strategy"]
    yield f"{style('Plan', 'bold')}   {degrees(s)}"
    yield f"       {choices(s)}"
    yield from (f"       {line}" for line in gpus_text(tree))


def _comparison(tree: Tree) -> list[str]:
    """This plan beside the same strategy in the launcher's default order."""
    this, other = tree["predicted"], tree["baseline"]
    world = tree["world_size"]
    rows = [
        ["", "this plan", "launcher default", ""],
        _compare("step time", this["step_time_s"], other["step_time_s"], seconds),
        _compare("throughput", this["tokens_per_s_per_gpu"] * world, other["tokens_per_s_per_gpu"] * world, _rate),
        _compare("per GPU", this["tokens_per_s_per_gpu"], other["tokens_per_s_per_gpu"], _rate),
        _compare("mfu", this["mfu"], other["mfu"], percent),
        [
            "peak memory", _memory(tree, this["peak_memory_bytes"]), _memory(tree, other["peak_memory_bytes"]),
            f"stage {this['fullest_stage']}",
        ],
        *(_compare(f"{name} traffic, per step", a, b, lambda x: si(x, "B")) for name, a, b in _traffic(tree)),
    ]  # fmt: skip
    return [*table(rows, "<>>>"), *uncertainty(tree.get("uncertainty"))]


def uncertainty(told: Tree | None) -> Iterator[str]:
    """How sure the step time is, and in which respects nobody has measured."""
    if told:
        yield f"8 runs of 10 take {seconds(told['low_s'])} to {seconds(told['high_s'])} (errors on runs left out of the fit)"
        if told["extrapolates"]:
            yield "  extrapolates: " + safe("; ".join(told["extrapolates"]))


def _compare(title: str, this: float, other: float, form: Any) -> list[str]:
    return [title, form(this), form(other), change(this, other)]


def _rate(tokens_per_s: float) -> str:
    return si(tokens_per_s, "tok/s")


def _memory(tree: Tree, used: float) -> str:
    return f"{used / 2**30:.1f} / {tree['cluster']['hbm_bytes'] / 2**30:.0f} GiB"


def _traffic(tree: Tree) -> Iterator[tuple[str, float, float]]:
    """Bytes that cross each tier above NVLink, outermost first: this plan's and the default's."""
    tiers = tree["cluster"]["tiers"]
    for below, name in reversed(list(pairwise(tiers))):
        yield name, crossing(tree["predicted"], below), crossing(tree["baseline"], below)


def crossing(cost: Tree, tier: str) -> float:
    """Bytes per step that leave groups of `tier`, all axes together."""
    return float(sum(tiers.get(tier, 0.0) for tiers in cost["bytes_tier"].values()))


def _where_time_goes(tree: Tree) -> Iterator[str]:
    parts, total = tree["predicted"]["breakdown_s"], tree["predicted"]["step_time_s"]
    yield "Where a step goes (predicted)"
    shown = sorted(((name, s) for name, s in parts.items() if s > 0), key=lambda item: (-item[1], item[0]))
    rows = [[f"{n} exposed" if n in EXPOSED else n, seconds(s), f"{bar(s / total):<44}", percent(s / total)] for n, s in shown]
    yield from table([*rows, ["total", seconds(total), "", percent(sum(parts.values()) / total)]], "<><>")


def _stages(tree: Tree) -> list[str]:
    header, *rows = stage_table(tree)
    return table([header, *fold_rows(rows)], "><>><")


def _bounds(tree: Tree) -> Iterator[str]:
    bound, gap = tree["bound"], tree["bound"]["gap"]
    yield "How far from the best"
    verdict = "proven: no other strategy of the space is faster under this cost model" if bound["proven"] else "not proven"
    stopped = tree["search"]["stopped_by"]
    if not bound["proven"] and stopped:
        verdict += f", the search stopped at its {stopped}"
    distance = "" if gap is None else "; this plan reaches it" if gap < REACHED else f"; this plan takes {percent(gap)} more"
    least = f"no strategy, its layers cut as here, takes less than {seconds(bound['step_time_s'])}"
    rows = [["strategy", verdict], ["bound", least + distance]]
    certificate = tree["certificate"]
    if certificate["tiers"]:
        known = [t for t in tree["cluster"]["tiers"] if t in certificate["tiers"]]
        tiers = ", ".join(f"{t} {_gap(certificate['tiers'][t])}" for t in known)
        first, *more = certified(certificate)
        rows += [["placement", f"{first}: {tiers}"], *(["", line] for line in more)]
    yield from table(rows)


def certified(certificate: Tree) -> Iterator[str]:
    """What the certificate says of the traffic and of the step, a clause each."""
    cells = f" with cells of {certificate['cell']} ranks on NVLink" if certificate["cell"] else ""
    yield f"traffic {_above(certificate['kept_gap'])} any placement{cells} has"
    if cells and certificate["gap"] > certificate["kept_gap"] + REACHED:
        yield f"traffic {_above(certificate['gap'])} any placement whatsoever has"
    if certificate["step_time_s"]:
        yield f"step {_above(certificate['step_gap'])} any placement{cells} takes"


def _above(gap: float) -> str:
    return "is the least that" if gap < REACHED else f"at most {percent(gap)} above the least that"


def _gap(tier: Tree) -> str:
    low, plan = tier.get("kept_bytes", tier["lower_bytes"]), tier["plan_bytes"]
    if plan <= low * (1 + 1e-9):
        return "none (optimal)" if plan > 0 else "none"
    return f"+{percent(plan / low - 1)}" if low > 0 else f"{si(plan, 'B')} over 0"


def _search(tree: Tree, top: int) -> Iterator[str]:
    s = tree["search"]
    first, *rest = histogram(s["feasible"], s["enumerated"], s["rejected"])
    yield "Search  " + first
    yield from rest
    best = tree["predicted"]["step_time_s"]
    rows = [[f"{i}.", seconds(r["step_time_s"]), change(r["step_time_s"], best), degrees(r["strategy"]), choices(r["strategy"])]
            for i, r in enumerate(s["runners_up"][:top], 1)]  # fmt: skip
    yield from table(rows, ">>>")
