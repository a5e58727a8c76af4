# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks`: every number that the project promises, measured in one go and written to RESULTS.md."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import report, suite

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Runs the benchmarks one after the other (nothing else should run on the machine) and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "benchmarks" / "RESULTS.md", help="where the tables go")
    parser.add_argument("--sizes", type=int, nargs="+", default=suite.SIZES, help="GPUs of the clusters to plan on")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = suite.run_all(ROOT, Path(scratch), sizes=args.sizes, say=print)
    args.out.write_text(report.markdown(results), encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
