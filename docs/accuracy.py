# SPDX-License-Identifier: Apache-2.0
"""Draw docs/images/accuracy.svg and write the numbers of docs/accuracy.md: `python -m docs.accuracy RUNS`."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.collectives import markdown as collectives
from placement.passes.accuracy import accuracy
from placement.report.html.svg import CATEGORIES, legend, line, num, path, picture, standalone, text
from placement.report.text import percent
from placement.spec.catalog import CATALOG, efficiency
from placement.spec.runs import load_runs

HERE = Path(__file__).resolve().parent
GENERATIONS = ("ampere", "hopper", "blackwell", "blackwell_ultra")
WIDE, HIGH, LEFT, TOP = 900.0, 420.0, 70.0, 40.0
LEAST, MOST = 0.5, 2.0  # of predicted / measured; runs beyond stand on the edge


def plot(report: Mapping[str, Any]) -> str:
    """Predicted over measured step against the measured step, both logarithmic; shape and colour by generation."""
    rows = [r for r in report["runs"] if r["predicted_step_time_s"] and r["measured_step_time_s"]]
    steps = [r["measured_step_time_s"] for r in rows]
    low, high = math.floor(math.log10(min(steps))), math.ceil(math.log10(max(steps)))

    def x(s: float) -> float:
        return LEFT + (math.log10(s) - low) / (high - low) * (WIDE - LEFT - 20)

    def y(ratio: float) -> float:
        return TOP + (1 - math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)) * (HIGH - TOP - 40)

    body = legend(LEFT, 20, [(g.replace("_", " "), CATEGORIES[i]) for i, g in enumerate(GENERATIONS)])
    for ratio in (0.5, 0.7, 0.9, 1.0, 1.1, 1.4, 2.0):
        body += [line(LEFT, y(ratio), WIDE - 20, y(ratio), "line" if ratio == 1 else "grid"),
                 text(LEFT - 8, y(ratio) + 4, f"{(ratio - 1) * 100:+.0f} %" if ratio != 1 else "exact", "end")]  # fmt: skip
    for power in range(low, high + 1):
        body += [
            line(x(10.0**power), TOP, x(10.0**power), HIGH - 40, "grid"),
            text(x(10.0**power), HIGH - 22, f"{10.0**power:g} s", "mid"),
        ]
    body.append(text((WIDE + LEFT) / 2, HIGH - 4, "measured step", "mid dim"))
    for r in rows:
        i = GENERATIONS.index(r["generation"])
        where = x(r["measured_step_time_s"]), y(r["predicted_step_time_s"] / r["measured_step_time_s"])
        body.append(path(_shape(i, *where, filled=r["core"]), CATEGORIES[i], "", f"{r['id']}: {r['error'] * 100:+.1f} %"))
    return standalone(picture(WIDE, HIGH, f"Predicted over measured step of {len(rows)} published runs", body))


def _shape(i: int, x: float, y: float, *, filled: bool) -> str:
    """Circle, square, triangle or diamond; runs that are not core are small."""
    r = 4.0 if filled else 2.4
    if i == 0:
        return f"M{num(x - r)} {num(y)}a{num(r)} {num(r)} 0 1 0 {num(2 * r)} 0a{num(r)} {num(r)} 0 1 0 -{num(2 * r)} 0z"
    corners = {
        1: ((-r, -r), (r, -r), (r, r), (-r, r)),
        2: ((0, -r * 1.2), (r * 1.1, r), (-r * 1.1, r)),
        3: ((0, -r * 1.35), (r * 1.35, 0), (0, r * 1.35), (-r * 1.35, 0)),
    }[i]
    return "M" + "L".join(f"{num(x + a)} {num(y + b)}" for a, b in corners) + "z"


def numbers(report: Mapping[str, Any]) -> str:
    """Tables: errors in the fit and left out, then by kind, generation and precision."""
    found, summary = _residuals(), report["summary"]
    lines = [
        f"{report['total']} runs, {summary['all']['pairs']} pairs of model and hardware. Constants: {efficiency().provenance}.",
        "",
        "| absolute error of the step, over pairs | median | mean | 90th percentile |",
        "|---|--:|--:|--:|",
        *(_row(name, summary[key]) for name, key in (("core runs, in the fit", "core"), ("all runs, in the fit", "all"))),
    ]
    for left, name in (("pair", "pair left out"), ("model", "model left out"), ("hardware", "hardware left out")):
        for runs in ("core", "all"):
            values = {k: found.get(f"{left}_left_out_{runs}_{k}") for k in ("median", "mean", "p90")}
            if all(v is not None for v in values.values()):
                lines.append(_row(f"{runs} runs, {name}", values))
    lines += ["", "| core runs, in the fit | pairs | runs | median | 90th percentile | order |", "|---|--:|--:|--:|--:|--:|"]
    for key in ("core_by_kind", "core_by_generation", "core_by_precision"):
        for name, s in summary[key].items():
            order = "" if s["kendall_tau"] is None else f"{s['kendall_tau']:.2f}"
            cells = (name.replace("_", " "), s["pairs"], s["runs"], percent(s["median"]), percent(s["p90"]), order)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    worst = sorted((r for r in report["runs"] if r["error"] is not None), key=lambda r: -abs(r["error"]))[:8]
    lines += ["", "The worst of all:", "", "| run | measured | predicted | error |", "|---|--:|--:|--:|"]
    lines += [
        f"| {r['id']} | {r['measured_step_time_s']:.3g} s | {r['predicted_step_time_s']:.3g} s | {r['error'] * 100:+.0f} % |"
        for r in worst
    ]
    return "\n".join(lines)


def _row(name: str, s: Mapping[str, Any]) -> str:
    return f"| {name} | {percent(s['median'])} | {percent(s['mean'])} | {percent(s['p90'])} |"


def _residuals() -> dict[str, float]:
    """Residuals that `placement calibrate` wrote beside the constants."""
    text = (CATALOG / "efficiency.yaml").read_text(encoding="utf-8")
    return {k: float(v) for k, v in re.findall(r"^  (\w+_left_out_\w+): ([\d.]+)$", text, re.MULTILINE)}


def main(runs: str) -> None:
    report = accuracy(load_runs(runs), efficiency())
    tables = {"numbers": numbers(report), "collectives": collectives()}
    (HERE / "images").mkdir(exist_ok=True)
    (HERE / "images" / "accuracy.svg").write_text(plot(report), encoding="utf-8")
    page = HERE / "accuracy.md"
    text = page.read_text(encoding="utf-8")
    for name, table in tables.items():
        head, rest = text.split(f"<!-- {name}: written by docs/accuracy.py -->\n", 1)
        tail = rest[rest.index(f"<!-- end of {name} -->") :]
        text = f"{head}<!-- {name}: written by docs/accuracy.py -->\n{table}\n{tail}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
