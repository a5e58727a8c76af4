# SPDX-License-Identifier: Apache-2.0
"""`placement accuracy RUNS`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out


def accuracy(
    runs: Annotated[str, typer.Argument(metavar="RUNS", help="A YAML file of measured runs.", show_default=False)],
    efficiency: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Constants of the cost model; default: the fitted ones.", show_default=False),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE.svg", help="Also draw predicted against measured.", show_default=False),
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Predict published runs with their own strategies, and compare with what was measured."""
    from placement.cli.inputs import read_constants
    from placement.passes.accuracy import accuracy as predict
    from placement.report.accuracy import screen
    from placement.spec.runs import load_runs

    report = predict(load_runs(runs), read_constants(efficiency))
    if picture is not None:
        from placement.report.scatter import scatter

        output.write_file(picture, scatter(report))
    if fmt is Format.JSON:
        output.result_json(report | {"format_version": output.FORMAT_VERSION})
    else:
        output.result(screen(report))
    return Exit.OK
