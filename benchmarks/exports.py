# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.exports [PLAN]`: seconds and memory of every export of a plan directory, as a table.

Without PLAN: a plan with a rank on each of the 220,032 GPUs of the example.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.suite import MODEL, TOPOLOGY, Target
from placement.export import TARGETS

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S, LIMIT_BYTES = 5.0, 2**30
_FOLDED = {"deepspeed": {"ep": 12, "etp": 8}}  # it runs experts only with etp = tp


@dataclass(frozen=True)
class Row:
    """One target: the program's whole run; `said` is the refusal, or empty."""

    target: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    written_bytes: int
    said: str

    @property
    def met(self) -> bool:
        return self.wall_s <= LIMIT_S and self.peak_bytes <= LIMIT_BYTES


def measured(plan_of: Callable[[str], Path], times: int = 3) -> list[Row]:
    """Every target of `placement export`, the median of `times` runs of the whole program."""
    return [_row(plan_of(target), target, times) for target in TARGETS]


def targets(scratch: Path) -> list[Target]:
    """The promised numbers, for the table of all of them: the slowest export and the largest."""
    rows = measured(largest(scratch))
    slow, large = max(rows, key=lambda r: r.wall_s), max(rows, key=lambda r: r.peak_bytes)
    return [
        Target(f"slowest export of 220,032 ranks ({slow.target}), wall", slow.wall_s, LIMIT_S, "s"),
        Target(f"largest export of 220,032 ranks ({large.target}), peak memory", large.peak_bytes / 2**30, 1.0, "GiB"),
    ]


def largest(scratch: Path) -> Callable[[str], Path]:
    """Plans of every GPU of the example, made where they are first asked for: target -> directory."""

    def plan_of(target: str) -> Path:
        folded = _FOLDED.get(target, {})
        folder = scratch / "-".join(("every-gpu", *(f"{k}{v}" for k, v in folded.items())))
        return folder if folder.exists() else _write(folder, folded)

    return plan_of


def _write(folder: Path, folded: Mapping[str, int]) -> Path:
    from benchmarks.runtime import every_gpu
    from placement.runtime import write_plan

    inputs = {"model.yaml": (ROOT / MODEL).read_bytes(), "topology.yaml": (ROOT / TOPOLOGY).read_bytes()}
    write_plan(every_gpu(**folded), folder, inputs)
    return folder


def _row(plan: Path, target: str, times: int) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        words = ("export", plan, "--to", target, "-o", out, "--format", "json")
        runs = sorted((measure.placement(*words) for _ in range(times)), key=lambda r: r.wall_s)
    run = runs[times // 2]
    if run.code not in (0, 1):
        raise RuntimeError(run.stderr)
    told = json.loads(run.stdout)
    names = ", ".join(dict.fromkeys(d["name"] for d in told["diagnostics"]))
    said = f"refused: {names}" if run.code else ""
    return Row(target, run.wall_s, run.cpu_s, run.peak_bytes, sum(told.get("files", {}).values()), said)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| target | s | processor s | peak MiB | written MB | |", "|---|--:|--:|--:|--:|---|"]
    for r in rows:
        state = r.said or ("" if r.met else "missed")
        sizes = f"{r.peak_bytes / 2**20:.0f} | {r.written_bytes / 1e6:.1f}"
        lines.append(f"| {r.target} | {r.wall_s:.2f} | {r.cpu_s:.2f} | {sizes} | {state} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; exit code 1 if a target missed 5 s or 1 GiB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("plan", type=Path, nargs="?")
    plan = parser.parse_args().plan
    with tempfile.TemporaryDirectory() as scratch:
        rows = measured((lambda _: plan) if plan else largest(Path(scratch)))
    print(table(rows))
    raise SystemExit(0 if all(r.met for r in rows) else 1)


if __name__ == "__main__":
    main()
