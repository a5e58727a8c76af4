# SPDX-License-Identifier: Apache-2.0
"""The commands and their order in `placement --help`. Markup is off because importing rich would double the start-up time."""

from __future__ import annotations

from typing import Annotated

import typer

from placement import __version__
from placement.cli import (
    accuracy,
    calibrate,
    compare,
    diff,
    drill,
    explain,
    export,
    fleet,
    model,
    plan,
    repair,
    report,
    runtime,
    schema,
    show,
    simulate,
    spares,
    sweep,
    topology,
    verify,
    why,
)
from placement.cli import map as map_command
from placement.cli.examples import attach

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=True)
app.command()(plan.plan)
app.command()(verify.verify)
app.command()(show.show)
app.command()(why.why)
app.command()(simulate.simulate)
app.command()(sweep.sweep)
app.command()(repair.repair)
app.command()(spares.spares)
app.command()(drill.drill)
app.add_typer(fleet.app, name="fleet")
app.command("map")(map_command.map_)
app.command()(diff.diff)
app.command()(compare.compare)
app.command()(export.export)
app.command()(report.report)
app.add_typer(topology.app, name="topology")
app.add_typer(model.app, name="model")
app.command()(runtime.runtime)
app.command()(accuracy.accuracy)
app.command()(calibrate.calibrate)
app.command()(explain.explain)
app.command()(schema.schema)
attach(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"placement {__version__}")
        raise typer.Exit


@app.callback()
def placement(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Compile a model and a cluster topology into an exact, verified placement plan.

    \b
    placement plan MODEL TOPOLOGY -o DIR    choose and write a plan
    placement show DIR                      look at it
    placement explain NAME                  what a diagnostic means

    stdout is the result, stderr the rest. Exit codes: 0 ok, 1 inputs have errors, 2 usage, 3 no feasible plan,
    4 verification failed or plan stale, 5 differences, 70 internal error, 130 interrupted.
    """  # noqa: D301
