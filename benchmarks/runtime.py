# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.runtime`: plan.bin from C and from Python at 220,032 ranks, promised numbers beside measured ones."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
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
TIMES = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        results = targets(Path(scratch))
    width = max(len(t.what) for t in results)
    print(f"{'':{width}}  {'measured':>10} {'promised':>10}")
    for t in results:
        promised = f"{t.limit:>10g} {t.unit:2} {'yes' if t.met else 'NO'}" if np.isfinite(t.limit) else f"{'':>10} {t.unit:2}"
        print(f"{t.what:{width}}  {t.value:>10.3g} {promised}")


def targets(scratch: Path) -> list[Target]:
    """Everything measured; a number without a promise has no limit. Without a C compiler only the Python side."""
    plan, path = every_gpu(), scratch / "plan.bin"
    write_s = _write(plan, path)
    found = [Target("plan.bin: tables, checksums, digest and file from Python", write_s, 0.2, "s"), _read(path)]
    if compiler := shutil.which("cc"):
        found += _native(compiler, path, scratch)
    return found


def every_gpu() -> Plan:
    """A plan with a rank on each of the 220,032 GPUs of the example, made without a search: only its size matters here."""
    from placement.spec import load_cluster, load_job, load_model

    cluster = load_cluster(str(ROOT / TOPOLOGY))
    model, defaults = load_model(str(ROOT / MODEL))
    job = load_job(None, defaults, {})
    s = Strategy(
        tp=8, cp=1, ep=96, etp=1, dp=2292, pp=12, vpp=1, micro_batch=1, num_microbatches=16,
        schedule="1f1b", recompute="none", sharding="zero1",
    )  # fmt: skip
    cost = StepCost(1.0, {"compute": 1.0}, np.ones(s.pp), np.ones((s.pp, len(MEMORY))), 1.0, 0.5, {})
    stages = Stages(np.arange(model.num_blocks) * s.num_chunks // model.num_blocks, ("none",) * s.pp)
    gpu_R = np.flatnonzero(cluster.usable_NG.ravel())[: s.world_size]
    assert len(gpu_R) == s.world_size == 220_032
    chosen = Candidate(s, stages, Placement(gpu_R), Traffic(()), cost)
    search, certificate = Search(1, 1, 1, {}, 1.0, False), Certificate({}, {}, {})
    return Plan(cluster, model, job, Efficiency({}, "none"), chosen, cost, certificate, search)


def _write(plan: Plan, path: Path) -> float:
    """Median seconds from the plan to the file."""
    taken = []
    for _ in range(TIMES):
        start = time.perf_counter()
        sections = tables.tables(plan)
        flags, counts = tables.flags(plan, sections), tables.counts(plan, sections)
        path.write_bytes(pack(sections, digest=plan_digest("", sections), flags=flags, counts=counts))
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def _read(path: Path) -> Target:
    """Median milliseconds of the numpy reader, every check included."""
    data, taken = path.read_bytes(), []
    for _ in range(TIMES):
        start = time.perf_counter()
        assert len(unpack(data, str(path))[Section.RANKS]) == 220_032
        taken.append(time.perf_counter() - start)
    return Target("numpy reader: open with every check", statistics.median(taken) * 1e3, np.inf, "ms")


def _native(compiler: str, path: Path, scratch: Path) -> list[Target]:
    timer, shim, still = (scratch / name for name in ("timer", "placement-exec", "placement-exec-static"))
    _compile(compiler, ROOT / "benchmarks" / "runtime.c", timer)
    _compile(compiler, SOURCES / "placement_exec.c", shim)
    ns = _times(timer, path, shim)
    found = [
        Target("C: open, warm", ns["open"] / 1e3, 100, "us"),
        Target("C: rank -> record, random", ns["rank"], 100, "ns"),
        Target("C: (host, slot) -> rank, random", ns["slot"], np.inf, "ns"),
        Target("C: host name -> host, random", ns["host"], np.inf, "ns"),
        Target("C: communicator of a rank and its last member", ns["group"], np.inf, "ns"),
        Target("C: all 220,032 records scanned, warm", ns["scan"] / 1e6, 1, "ms"),
        Target("C: all 220,032 records scanned, first time", ns["scan_first"] / 1e6, np.inf, "ms"),
        Target("C: whole check (every CRC, index and name)", ns["check"] / 1e6, np.inf, "ms"),
        Target("placement-exec: start, median", ns["start"] / 1e6, 2, "ms"),
        Target("placement-exec: start, least", ns["start_least"] / 1e6, np.inf, "ms"),
    ]
    if _compile(compiler, SOURCES / "placement_exec.c", still, "-static"):
        found.append(Target("placement-exec, static: start, median", _times(timer, path, still)["start"] / 1e6, 2, "ms"))
    return found


def _compile(compiler: str, source: Path, program: Path, *more: str) -> bool:
    return measure.run((compiler, *FLAGS, *more, source, "-o", program)).code == 0


def _times(timer: Path, path: Path, shim: Path) -> dict[str, float]:
    done = measure.run((timer, path, shim, "--host", "rack2001-tray03", "--slot", "2", path, "/bin/true"))
    if done.code:
        raise RuntimeError(done.stderr)
    return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}


if __name__ == "__main__":
    main()
