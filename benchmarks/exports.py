# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.exports PLAN`: seconds and memory of every export of a plan directory, as a table."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from placement.export import TARGETS

LIMIT_S, LIMIT_BYTES = 5.0, 2**30


@dataclass(frozen=True)
class Row:
    """One target: the program's whole run; `said` is the refusal, or empty."""

    target: str
    wall_s: float
    peak_bytes: int
    written_bytes: int
    said: str

    @property
    def met(self) -> bool:
        return self.wall_s <= LIMIT_S and self.peak_bytes <= LIMIT_BYTES


def measured(plan: Path, times: int = 3) -> list[Row]:
    """Every target of `placement export`, the median of `times` runs of the whole program."""
    return [_row(plan, target, times) for target in TARGETS]


def _row(plan: Path, target: str, times: int) -> Row:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        words = ("export", plan, "--to", target, "-o", out, "--format", "json")
        runs = sorted((measure.placement(*words) for _ in range(times)), key=lambda r: r.wall_s)
    run = runs[times // 2]
    told = json.loads(run.stdout)
    names = ", ".join(dict.fromkeys(d["name"] for d in told["diagnostics"]))
    if run.code not in (0, 1):
        raise RuntimeError(run.stderr)
    return Row(target, run.wall_s, run.peak_bytes, sum(told.get("files", {}).values()), f"refused: {names}" if run.code else "")


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| target | s | peak MiB | written MB | |", "|---|--:|--:|--:|---|"]
    for r in rows:
        state = r.said or ("" if r.met else "missed")
        lines.append(f"| {r.target} | {r.wall_s:.2f} | {r.peak_bytes / 2**20:.0f} | {r.written_bytes / 1e6:.1f} | {state} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; exit code 1 if a target missed 5 s or 1 GiB."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exports", description=__doc__)
    parser.add_argument("plan", type=Path)
    rows = measured(parser.parse_args().plan)
    print(table(rows))
    raise SystemExit(0 if all(r.met for r in rows) else 1)


if __name__ == "__main__":
    main()
