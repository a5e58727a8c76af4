# SPDX-License-Identifier: Apache-2.0
"""The results as Markdown, with what they were measured on."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks.suite import GIB, Growth, Results, Target

PACKAGES = ("numpy", "ortools", "pydantic", "networkx")


def markdown(results: Results) -> str:
    """RESULTS.md: the promised numbers beside what was measured, then growth."""
    met = sum(t.met for t in results.targets)
    return "\n".join(
        [
            "<!-- written by `make bench`; not edited by hand -->",
            "# Measured",
            "",
            *_machine(results),
            "",
            "Times and memory are of whole processes, interpreter start included; the peak is the kernel's `ru_maxrss`.",
            "Processor seconds are of all threads; where they are far below the wall time, the machine had other work.",
            "",
            f"## Promised numbers: {met} of {len(results.targets)} reached",
            "",
            "| what | measured | promised | |",
            "|---|--:|--:|---|",
            *(_target(t) for t in results.targets),
            "",
            "## Growth with the cluster",
            "",
            "`moe-10t` on `gb300-220k` with its number of racks changed. Exit code 3: the model does not fit there.",
            "",
            "| GPUs | wall | processor | peak memory | strategies | scored in full | chosen | GPUs at work | step | proven |",
            "|--:|--:|--:|--:|--:|--:|---|--:|--:|---|",
            *(_growth(g) for g in results.growth),
            "",
        ]
    )


def _machine(results: Results) -> list[str]:
    """Date, processor, cores and versions, as a list."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        f"- {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, commit {_commit()}",
        f"- {_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
        f"- load of the machine before the start: {results.load:.1f} processes",
        f"- Python {platform.python_version()}, {versions}, placement {version('placement-compiler')}",
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _target(target: Target) -> str:
    sign = "≤" if target.better == "most" else "≥"
    return (
        f"| {target.what} | {_number(target.value)} {target.unit} | {sign} {_number(target.limit)} {target.unit} "
        f"| {'yes' if target.met else '**no**'} |"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _growth(growth: Growth) -> str:
    run, out = growth.run, growth.result
    measured = f"| {growth.gpus:,} | {run.wall_s:.2f} s | {run.cpu_s:.2f} s | {run.peak_bytes / GIB:.2f} GiB "
    if not out:
        return measured + f"| | | exit code {run.code} | | | |"
    search, bound, strategy = out["search"], out["bound"], out["strategy"]
    shape = " ".join(f"{axis} {strategy[axis]}" for axis in ("tp", "cp", "ep", "etp", "pp", "vpp", "dp"))
    return measured + (
        f"| {search['enumerated']:,} | {search['scored']:,} | {shape} | {out['world_size']:,} "
        f"| {out['predicted']['step_time_s']:.3f} s | {'yes' if bound['proven'] else 'gap ' + format(bound['gap'], '.1%')} |"
    )
