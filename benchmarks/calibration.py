# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.calibration RUNS`: what a user's own measured steps are worth.

For each (model, hardware) pair with enough configurations: constants fitted without the pair stand for the catalogue, every
other configuration of the pair for what the user measured (`placement calibrate --steps`), and the rest is predicted before and
after. Then the same again with the halves exchanged. A second table takes the configurations of a pair apart by stack, release
and precision, since a user measures and plans with one of them; there a single measured configuration stands for the user's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
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
    """Mean absolute error of configurations that were not measured; `software`: of which stack, release and precision."""

    pair: tuple[str, str]
    software: str
    kind: str
    runs: int
    before: float
    after: float


def rows_of(runs: Sequence[Run]) -> Iterator[Row]:
    """Rows of each pair of core runs with enough configurations: of all of them, then of each software with enough."""
    start = efficiency()
    batch, weight_R = with_simulation(batch_of(runs), start), weights(runs)
    for pair in dict.fromkeys(r.pair for r in runs if r.core):
        mine = [r for r in runs if r.pair == pair and r.core]
        if len(mine) < ENOUGH:
            continue
        held = np.array([r.pair == pair for r in runs])
        unaware, _ = fit(batch, priors(), np.where(held, 0.0, weight_R), start, steps=8)
        yield _row(mine, "", [(mine[::2], mine[1::2]), (mine[1::2], mine[::2])], unaware)
        for software in dict.fromkeys(map(software_of, mine)):
            alike = [r for r in mine if software_of(r) == software]
            if len(alike) >= ENOUGH:
                ends = [([alike[i]], alike[:i] + alike[i + 1 :]) for i in (0, len(alike) - 1)]
                yield _row(alike, software, ends, unaware)


def software_of(run: Run) -> str:
    """Stack, release and precision."""
    job = run.job
    assert job is not None
    return f"{job.software.stack} {job.software.year:.1f} {job.precision}"


def _row(runs: Sequence[Run], software: str, parts: Sequence[tuple[Sequence[Run], Sequence[Run]]], eff: Efficiency) -> Row:
    """Errors where the first of each two parts was measured and the second was not."""
    before = float(np.mean([error(rest, eff) for _, rest in parts]))
    after = float(np.mean([error(rest, fit_steps(own, priors(), eff)) for own, rest in parts]))
    return Row(runs[0].pair, software, runs[0].kind, len(runs), before, after)


def error(runs: Sequence[Run], eff: Efficiency) -> float:
    """Mean absolute error of the step."""
    measured = np.array([r.measured_step_s for r in runs], dtype=float)
    return float(np.mean(np.abs(predict(with_simulation(batch_of(runs), eff), eff) / measured - 1.0)))


def markdown(rows: Sequence[Row]) -> str:
    """A table of rows, and the medians of dense and of routed models."""
    lines = ["| pair | configurations | before | after |", "|---|--:|--:|--:|"]
    names = [f"{r.pair[0]} on {r.pair[1]}" + (f", {r.software}" if r.software else "") for r in rows]
    lines += [f"| {name} | {r.runs} | {r.before:.1%} | {r.after:.1%} |" for name, r in zip(names, rows, strict=True)]
    for kind in ("dense", "moe"):
        some = [r for r in rows if r.kind == kind]
        if not some:
            continue
        middle = [f"{np.median([getattr(r, k) for r in some]):.1%}" for k in ("before", "after")]
        lines.append(f"| **median of {len(some)} {kind}** | | {middle[0]} | {middle[1]} |")
    return "\n".join(lines)


HEAD = """\
<!-- written by `python -m benchmarks.calibration RUNS`; not edited by hand -->
# After calibration to a user's own steps

Mean error of the configurations of a pair that were not measured, by constants that never saw the pair (before) and by the same
after `placement calibrate --steps` with every other configuration of the pair (after). Core runs.

"""
ALIKE = """

## With one stack, release and precision

The same where all configurations are of one stack, release and precision, as those of a user are: one configuration was
measured (the first, then the last of the list), the others of that software were not.

"""


def main() -> None:
    """Writes the table beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration", description=__doc__)
    parser.add_argument("runs", type=Path, help="measured runs (YAML)")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "CALIBRATION.md")
    args = parser.parse_args()
    rows = list(rows_of(usable(load_runs(args.runs))))
    mixed, alike = ([r for r in rows if bool(r.software) == one] for one in (False, True))
    args.out.write_text(HEAD + markdown(mixed) + ALIKE + markdown(alike) + "\n", encoding="utf-8")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
