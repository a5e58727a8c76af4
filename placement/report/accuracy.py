# SPDX-License-Identifier: Apache-2.0
"""`accuracy`: predicted beside measured, for each run and each (model, hardware) pair, then in summary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from placement.report.text import counted, percent, seconds, table

Report = Mapping[str, Any]


def screen(report: Report) -> str:
    """The text of `placement accuracy`: nothing is left out, runs without a prediction come with their reason."""
    sections = (_runs(report), _without(report), _nearest(report), _pairs(report), _summary(report))
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines)


def _runs(report: Report) -> Iterator[str]:
    rows = [
        [r["id"], r["model"], r["hardware"], *_numbers(r), "" if r["core"] else "not core"]
        for r in report["runs"]
        if r["predicted_step_time_s"] is not None and r["measured_step_time_s"] is not None
    ]
    if rows:
        yield from table([["run", "model", "hardware", "measured", "predicted", "error"], *rows], "<<<>>>")


def _numbers(row: Mapping[str, Any]) -> list[str]:
    measured, predicted = row["measured_step_time_s"], row["predicted_step_time_s"]
    return [seconds(measured), seconds(predicted), f"{(predicted / measured - 1) * 100:+.1f} %"]


def _without(report: Report) -> Iterator[str]:
    """Rows that were not compared, each with the reason."""
    rows = [
        [r["id"], r["model"], r["hardware"], r["reason"] or "the row gives no step time to compare with"]
        for r in report["runs"]
        if r["predicted_step_time_s"] is None or r["measured_step_time_s"] is None
    ]
    if rows:
        yield f"{counted(len(rows), 'run')} of {report['total']:,} not compared:"
        yield from table(rows)


NEAREST = ("hardware", "precision", "offload", "n_gpus", "model")  # other fields that a row leaves open have a usual value


def _nearest(report: Report) -> Iterator[str]:
    """Predicted rows with fields that were read as something else than they say."""
    rows = [[r["id"], ", ".join(f for f in NEAREST if f in r["assumed"])] for r in report["runs"] if r["predicted_step_time_s"]]
    if told := [row for row in rows if row[1]]:
        yield f"{counted(len(told), 'run')} predicted as the nearest that the cost model knows:"
        yield from table(told)


def _pairs(report: Report) -> Iterator[str]:
    rows = [
        [
            p["model"],
            p["hardware"],
            str(p["runs"]),
            percent(p["mean_abs_error"]),
            f"{p['bias'] * 100:+.1f} %",
            _tau(p["kendall_tau"]),
        ]
        for p in report["pairs"]
    ]
    yield from table([["model", "hardware", "runs", "mean error", "bias", "order"], *rows], "<<>>>>")


def _summary(report: Report) -> Iterator[str]:
    rows = [
        [name, str(s["pairs"]), str(s["runs"]), *(_share(s[k]) for k in ("median", "mean", "p90")), _tau(s["kendall_tau"])]
        for name, s in ((n, report["summary"][n]) for n in ("core", "all"))
    ]
    yield from table([["error over pairs", "pairs", "runs", "median", "mean", "p90", "order"], *rows], "<>>>>>>")
    yield "  order: Kendall's tau of predicted against measured throughput, 1 is the same order"
    told, memory = report["summary"].get("covered"), report["summary"].get("memory", {"runs": 0})
    if told is not None:
        yield f"  {percent(told)} of runs lie inside their 80 % intervals, which left-out runs set"
    if memory["runs"]:
        yield f"  peak memory: mean error {percent(memory['mean'])} over {counted(memory['runs'], 'run')}"


def _share(value: float | None) -> str:
    return "-" if value is None else percent(value)


def _tau(value: float | None) -> str:
    """Kendall's tau of predicted against measured order; 1 is perfect agreement."""
    return "-" if value is None else f"{value:.2f}"
