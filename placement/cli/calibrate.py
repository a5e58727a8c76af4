# SPDX-License-Identifier: Apache-2.0
"""`placement calibrate --runs RUNS -o FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out
from placement.diag import Diagnostic, InputError, Label, Span


def calibrate(
    runs: Annotated[str, typer.Option("--runs", metavar="RUNS", help="A YAML file of measured runs.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the constants here.", show_default=False)],
    crossed: Annotated[bool, typer.Option("--cross-validate/--no-cross-validate", help="Also fit with pairs left out.")] = True,
    fmt: Out = Format.TEXT,
) -> int:
    """Fit the constants of the cost model to measured runs; use them with `calibration:` in a job file."""
    from placement.passes.calibrate import calibrate as fit
    from placement.passes.calibrate import usable
    from placement.report.calibration import efficiency_text, screen
    from placement.spec.catalog import priors
    from placement.spec.runs import load_runs

    measured = load_runs(runs)
    if not usable(measured):
        message = f"none of the {len(measured)} runs has both a measured step and a configuration that can be priced"
        raise InputError(
            [Diagnostic("runs/nothing-to-fit", message, primary=Label(Span(runs)), help="`placement accuracy` says why")]
        )
    used = usable(measured)
    eff, report = fit(measured, priors(), crossed=crossed, provenance=f"fitted to {len(used)} runs of {Path(runs).name}")
    output.write_file(out, efficiency_text(eff, report))
    output.note(f"    Wrote {out}")
    if fmt is Format.JSON:
        output.result_json(report | {"format_version": output.FORMAT_VERSION})
    else:
        output.result(screen(report))
    return Exit.OK
