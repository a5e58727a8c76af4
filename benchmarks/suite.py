# SPDX-License-Identifier: Apache-2.0
"""What is measured: the main job, the start-up, the scoring rate, and growth with the size of the cluster."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure, variants
from benchmarks.measure import Run

MODEL, TOPOLOGY = "models/moe-10t.yaml", "topologies/gb300-220k.yaml"
RACKS, RACK_GPUS = 3056, 72  # of TOPOLOGY
SIZES = (576, 4_608, 18_432, 73_728, 220_032, 1_000_000)
GIB = 2**30

Say = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """A promised number. `better`: "most" if the value may be at most the limit, "least" if it must be at least that."""

    what: str
    value: float
    limit: float
    unit: str
    better: str = "most"

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.better == "most" else self.value >= self.limit


@dataclass(frozen=True)
class Growth:
    """One size of cluster: the run of the planner, and what it printed (empty where it found no plan)."""

    gpus: int
    run: Run
    result: dict[str, Any]


@dataclass(frozen=True)
class Results:
    targets: tuple[Target, ...]
    growth: tuple[Growth, ...]
    plan: dict[str, Any]
    load: float  # processes that wanted to run, on average over the minute before the start


def run_all(root: Path, scratch: Path, *, sizes: Sequence[int], say: Say) -> Results:
    """Runs everything. `scratch`: an empty directory for variants and plans."""
    load = os.getloadavg()[0]
    growth = tuple(_grow(root, scratch, gpus, say) for gpus in sizes)
    targets = [
        _help(root, say),
        *_scoring(root, say),
        _simulation(root, say),
        *_runtime(scratch, say),
        *_exports(scratch, say),
        *_fabric(root, scratch, say),
    ]
    main_job = {g.gpus: g for g in growth}.get(220_032)
    if main_job:
        targets += [*_main_targets(main_job), _verify(scratch / "plan-220032", say), *_report(scratch, say)]
    if growth and growth[-1].gpus >= SIZES[-1]:
        targets += [
            _seconds("plan on 1,000,008 GPUs", growth[-1].run, 60),
            _memory("plan on 1,000,008 GPUs", growth[-1].run, 6),
        ]
    return Results(tuple(targets), growth, main_job.result if main_job else {}, load)


def _grow(root: Path, scratch: Path, gpus: int, say: Say) -> Growth:
    """Plans MODEL on a cluster of that size. The real size runs three times and reports the median."""
    topology, gpus = variants.write(root / TOPOLOGY, scratch, gpus, was=RACKS, domain_gpus=RACK_GPUS)
    command = ("plan", root / MODEL, topology, "-o", scratch / f"plan-{gpus}", "--format", "json")
    times = 3 if gpus == RACKS * RACK_GPUS else 1
    runs = sorted((_plan(command, root) for _ in range(times)), key=lambda r: r.wall_s)
    run = runs[len(runs) // 2]
    say(f"plan on {gpus:,} GPUs: {run.wall_s:.2f} s, {run.peak_bytes / GIB:.2f} GiB, exit {run.code}")
    return Growth(gpus, run, json.loads(run.stdout) if run.code == 0 else {})


def _plan(command: tuple[str | Path, ...], root: Path) -> Run:
    return measure.placement(*command, cwd=root)


def _main_targets(main_job: Growth) -> list[Target]:
    where = "plan moe-10t on gb300-220k"
    at_work = float(main_job.result["world_size"])
    return [
        _seconds(where, main_job.run, 15),
        _memory(where, main_job.run, 2),
        Target("GPUs at work of 220,032", at_work, 190_000, "", "least"),
    ]


def _seconds(what: str, run: Run, limit: float) -> Target:
    return Target(f"{what}, wall", run.wall_s if run.code == 0 else float("inf"), limit, "s")


def _memory(what: str, run: Run, limit_gib: float) -> Target:
    return Target(f"{what}, peak memory", run.peak_bytes / GIB if run.code == 0 else float("inf"), limit_gib, "GiB")


def _verify(plan: Path, say: Say) -> Target:
    run = measure.placement("verify", plan)
    say(f"verify: {run.wall_s:.2f} s, exit {run.code}")
    return _seconds("verify that plan", run, 30)


def _report(scratch: Path, say: Say) -> list[Target]:
    from benchmarks import page

    found = page.targets(scratch / "plan-220032", scratch)
    say("; ".join(f"{t.what}: {t.value:.3g} {t.unit}" for t in found))
    return found


def _help(root: Path, say: Say) -> Target:
    """Median of nine starts, after one that fills the file cache."""
    walls = [measure.placement("--help", cwd=root).wall_s for _ in range(10)][1:]
    say(f"help: {statistics.median(walls):.3f} s")
    return Target("placement --help, wall", statistics.median(walls), 0.3, "s")


def _simulation(root: Path, say: Say) -> Target:
    run = measure.run((sys.executable, "-m", "benchmarks.simulation"), cwd=root)
    if run.code:
        raise RuntimeError(run.stderr)
    say(f"event simulation: {float(run.stdout):.3f} s")
    return Target("event simulation of pp 16 x vpp 4 x 256 microbatches, processor", float(run.stdout), 0.2, "s")


def _scoring(root: Path, say: Say) -> list[Target]:
    run = measure.run((sys.executable, "-m", "benchmarks.scoring", root / MODEL, root / TOPOLOGY), cwd=root)
    if run.code:
        raise RuntimeError(run.stderr)
    rate = float(run.stdout)
    say(f"scoring: {rate:,.0f} strategies a second")
    return [Target("strategies scored with the vectorised bound, per second", rate, 1e6, "", "least")]


def _runtime(scratch: Path, say: Say) -> list[Target]:
    from benchmarks import runtime

    found = runtime.targets(scratch)
    say(f"plan.bin from C and Python: {sum(t.met for t in found)} of {len(found)} promises kept")
    return found


def _exports(scratch: Path, say: Say) -> list[Target]:
    from benchmarks import exports

    found = exports.targets(scratch)
    say(f"exports: {', '.join(f'{t.what} {t.value:.2f} {t.unit}' for t in found)}")
    return found


def _fabric(root: Path, scratch: Path, say: Say) -> list[Target]:
    from benchmarks import fabric

    return fabric.targets(root, scratch, say)
