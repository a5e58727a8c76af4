# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.runtime`: plan.bin from C and from Python at 220,032 ranks, promised numbers beside measured ones."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.suite import MODEL, TOPOLOGY, Target
from placement.ir import (
    MEMORY,
    Candidate,
    Certificate,
    Efficiency,
    Placement,
    Plan,
    Search,
    Stages,
    StepCost,
    Strategy,
    Traffic,
)
from placement.runtime import Section, tables
from placement.runtime.planbin import pack, plan_digest, unpack

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "placement" / "runtime"
FLAGS = ("-std=c11", "-O2", "-I", str(SOURCES))
TIMES = 9


@dataclass(frozen=True)
class Timing:
    """The least and the median of many repetitions. The least is what the code takes where nothing else runs."""

    least: float
    median: float

    def scaled(self, factor: float) -> Timing:
        return Timing(self.least * factor, self.median * factor)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        rows = timings(Path(scratch))
    width = max(len(what) for what, *_ in rows)
    print(f"{'':{width}}  {'least':>9} {'median':>9} {'promised':>9}")
    for what, took, limit, unit in rows:
        promised = f"{limit:>9g} {unit:2} {'yes' if took.least <= limit else 'NO'}" if limit else f"{'':>9} {unit}"
        print(f"{what:{width}}  {took.least:>9.3g} {took.median:>9.3g} {promised}")


def targets(scratch: Path) -> list[Target]:
    """The promised numbers, for the table of all of them."""
    return [Target(what, took.least, limit, unit) for what, took, limit, unit in timings(scratch) if limit]


def timings(scratch: Path) -> list[tuple[str, Timing, float, str]]:
    """(what, time, promise or 0, unit). Without a C compiler only the Python side."""
    plan, path = every_gpu(), scratch / "plan.bin"
    found = [
        ("plan.bin: tables, checksums, digest and file from Python", _repeat(lambda: _write(plan, path)), 0.2, "s"),
        ("numpy reader: open with every check", _repeat(lambda: _read(path)).scaled(1e3), 0.0, "ms"),
    ]
    if compiler := shutil.which("cc"):
        found += _native(compiler, path, scratch)
    return found


def _repeat(action: Callable[[], None]) -> Timing:
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return Timing(min(taken), statistics.median(taken))


def every_gpu(*, ep: int = 96, etp: int = 1) -> Plan:
    """A plan with a rank on each of the 220,032 GPUs of the example, made without a search: only its size matters here."""
    from placement.spec import load_cluster, load_job, load_model

    cluster = load_cluster(str(ROOT / TOPOLOGY))
    model, defaults = load_model(str(ROOT / MODEL))
    job = load_job(None, defaults, {})
    s = Strategy(
        tp=8, cp=1, ep=ep, etp=etp, dp=2292, pp=12, vpp=1, micro_batch=1, num_microbatches=16,
        schedule="1f1b", recompute="none", sharding="zero1",
    )  # fmt: skip
    cost = StepCost(1.0, {"compute": 1.0}, np.ones(s.pp), np.ones((s.pp, len(MEMORY))), 1.0, 0.5, {})
    stages = Stages(np.arange(model.num_blocks) * s.num_chunks // model.num_blocks, ("none",) * s.pp)
    gpu_R = np.flatnonzero(cluster.usable_NG.ravel())[: s.world_size]
    assert len(gpu_R) == s.world_size == 220_032
    chosen = Candidate(s, stages, Placement(gpu_R), Traffic(()), cost)
    search, certificate = Search(1, 1, 1, {}, 1.0, False), Certificate({}, {}, {})
    return Plan(cluster, model, job, Efficiency({}, "none"), chosen, cost, certificate, search)


def _write(plan: Plan, path: Path) -> None:
    sections = tables.tables(plan)
    flags, counts = tables.flags(plan.cluster, sections), tables.counts(plan.cluster, sections)
    path.write_bytes(pack(sections, digest=plan_digest("", sections), flags=flags, counts=counts))


def _read(path: Path) -> None:
    assert len(unpack(path.read_bytes(), str(path))[Section.RANKS]) == 220_032


def _native(compiler: str, path: Path, scratch: Path) -> list[tuple[str, Timing, float, str]]:
    timer, shim, still = (scratch / name for name in ("timer", "placement-exec", "placement-exec-static"))
    _compile(compiler, ROOT / "benchmarks" / "runtime.c", timer)
    _compile(compiler, SOURCES / "placement_exec.c", shim)
    ns = _times(timer, path, shim)
    found = [
        ("C: open, warm", ns["open"].scaled(1e-3), 100.0, "us"),
        ("C: rank -> record, random", ns["rank"], 100.0, "ns"),
        ("C: (host, slot) -> rank, random", ns["slot"], 0.0, "ns"),
        ("C: host name -> host, random", ns["host"], 0.0, "ns"),
        ("C: communicator by name, of a rank, its last member", ns["group"], 0.0, "ns"),
        ("C: all 220,032 records scanned, every field", ns["scan"].scaled(1e-6), 1.0, "ms"),
        ("C: the same for the first time", ns["scan_first"].scaled(1e-6), 0.0, "ms"),
        ("C: whole check (every CRC, index and name)", ns["check"].scaled(1e-6), 0.0, "ms"),
        ("placement-exec: start", _start(ns), 2.0, "ms"),
    ]
    if _compile(compiler, SOURCES / "placement_exec.c", still, "-static"):
        found.append(("placement-exec, static: start", _start(_times(timer, path, still)), 2.0, "ms"))
    return found


def _start(ns: dict[str, Timing]) -> Timing:
    """What starting a program through the shim takes longer than starting it."""
    return Timing(ns["with"].least - ns["bare"].least, ns["with"].median - ns["bare"].median).scaled(1e-6)


def _compile(compiler: str, source: Path, program: Path, *more: str) -> bool:
    return measure.run((compiler, *FLAGS, *more, source, "-o", program)).code == 0


def _times(timer: Path, path: Path, shim: Path) -> dict[str, Timing]:
    done = measure.run((timer, path, shim, "--host", "rack2001-tray03", "--slot", "2", path, "/bin/true"))
    if done.code:
        raise RuntimeError(done.stderr)
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: Timing(float(least), float(median)) for name, least, median in rows}


if __name__ == "__main__":
    main()
