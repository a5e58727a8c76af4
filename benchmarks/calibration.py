# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.calibration RUNS`: what a user's own measured steps are worth.

For each (model, hardware) pair with enough configurations: constants fitted without the pair stand for the catalogue, every
other configuration of the pair for what the user measured (`placement calibrate --steps`), and the rest is predicted before and
after. Then the same again with the halves exchanged.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from placement.ir import Efficiency, Run
from placement.passes.batch import batch_of, predict
from placement.passes.calibrate import fit, usable, weights, with_simulation
from placement.passes.own import fit_steps
from placement.spec.catalog import efficiency, priors
from placement.spec.runs import load_runs

HERE = Path(__file__).resolve().parent
ENOUGH = 3  # configurations of a pair


@dataclass(frozen=True)
class Row:
    """Mean absolute error of the configurations of a pair that were not measured."""

    pair: tuple[str, str]
    kind: str
    runs: int
    before: float
    after: float


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """A row for each pair of core runs with enough configurations."""
    start = efficiency()
    batch, weight_R = with_simulation(batch_of(runs), start), weights(runs)
    out = []
    for pair in dict.fromkeys(r.pair for r in runs if r.core):
        mine = [r for r in runs if r.pair == pair and r.core]
        if len(mine) < ENOUGH:
            continue
        held = np.array([r.pair == pair for r in runs])
        unaware, _ = fit(batch, priors(), np.where(held, 0.0, weight_R), start, steps=8)
        halves = [(mine[::2], mine[1::2]), (mine[1::2], mine[::2])]
        before = float(np.mean([error(rest, unaware) for _, rest in halves]))
        after = float(np.mean([error(rest, fit_steps(own, priors(), unaware)) for own, rest in halves]))
        out.append(Row(pair, mine[0].kind, len(mine), before, after))
    return out


def error(runs: Sequence[Run], eff: Efficiency) -> float:
    """Mean absolute error of the step."""
    measured = np.array([r.measured_step_s for r in runs], dtype=float)
    return float(np.mean(np.abs(predict(with_simulation(batch_of(runs), eff), eff) / measured - 1.0)))


def markdown(rows: Sequence[Row]) -> str:
    """A table of pairs, and the medians of dense and of routed models."""
    lines = ["| pair | configurations | before | after |", "|---|--:|--:|--:|"]
    lines += [f"| {r.pair[0]} on {r.pair[1]} | {r.runs} | {r.before:.1%} | {r.after:.1%} |" for r in rows]
    for kind in ("dense", "moe"):
        some = [r for r in rows if r.kind == kind]
        middle = [f"{np.median([getattr(r, k) for r in some]):.1%}" for k in ("before", "after")]
        lines.append(f"| **median of {len(some)} {kind} pairs** | | {middle[0]} | {middle[1]} |")
    return "\n".join(lines)


HEAD = """\
<!-- written by `python -m benchmarks.calibration RUNS`; not edited by hand -->
# After calibration to a user's own steps

Mean error of the configurations of a pair that were not measured, by constants that never saw the pair (before) and by the same
after `placement calibrate --steps` with every other configuration of the pair (after). Core runs.

"""


def main() -> None:
    """Writes the table beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("runs", type=Path, help="measured runs (YAML)")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "CALIBRATION.md")
    args = parser.parse_args()
    args.out.write_text(HEAD + markdown(rows_of(usable(load_runs(args.runs)))) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
