# SPDX-License-Identifier: Apache-2.0
"""The report of a plan: how long it takes to write, how large it is, and how fast it is in a browser."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks import measure
from benchmarks.suite import Target
from tests.browser import MISSING, Browser, browser

HOVERS, STRIDE = 60, 104_729  # ranks that are pointed at, one after the other
WINDOW = 200  # pixels that the page scrolls to have the map in view


def targets(plan: Path, scratch: Path) -> list[Target]:
    """Promises of the report; those of the browser only where there is one."""
    page = scratch / "report.html"
    run = measure.placement("report", plan, "-o", page)
    found = [
        Target("report, wall", run.wall_s if run.code == 0 else float("inf"), 10, "s"),
        Target("report, processor", run.cpu_s, 10, "s"),
        Target("report, size", page.stat().st_size / 1e6, 2, "MB"),
    ]
    if MISSING:
        return found
    with browser(scratch / "profile") as tab:
        return [*found, *_interactive(tab, page)]


def _interactive(tab: Browser, page: Path) -> list[Target]:
    """From the start of the navigation to the first frame after the script; then each hover up to the frame that shows it."""
    opened, shown = [], []
    for _ in range(5):
        tab.open(page)
        tab.settle()
        opened.append(tab.run("return performance.getEntriesByName('report-interactive')[0].startTime"))
    tab.run(f"document.getElementById('map').scrollIntoView();scrollBy(0,{WINDOW})")
    tab.run(
        "window.shown=[];document.getElementById('canvas').addEventListener('pointermove',()=>{const t=performance.now();"
        "requestAnimationFrame(()=>{const c=new MessageChannel();c.port1.onmessage=()=>shown.push(performance.now()-t);"
        "c.port2.postMessage(0)})},true)"
    )
    ranks = tab.run("return placementReport.ranks")
    for i in range(HOVERS):
        tab.move(*tab.run(f"return placementReport.screen({i * STRIDE % ranks})"))
    shown = tab.run("return shown")
    return [
        Target("report, page interactive after (median of 5)", statistics.median(opened) / 1e3, 2, "s"),
        Target(f"report, hover to painted, median of {len(shown)}", statistics.median(shown), 50, "ms"),
        Target(f"report, hover to painted, worst of {len(shown)}", max(shown), 50, "ms"),
    ]
