# SPDX-License-Identifier: Apache-2.0
"""The commands and their order in `placement --help`. Markup is off because importing rich would double the start-up time."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from placement import __version__
from placement.cli.examples import attach

# Each is a module of its name beside this one, with a function of its name (`map_`, as Python has a `map`) or, for a group of
# commands, an `app`.
COMMANDS = (
    "plan", "verify", "show", "why", "simulate", "sweep", "repair", "spares", "drill", "fleet", "map", "diff", "compare",
    "export", "report", "topology", "model", "runtime", "accuracy", "calibrate", "explain", "schema",
)  # fmt: skip


def app_of(words: Sequence[str] = ()) -> typer.Typer:
    """The program, or what a command line that begins with these words needs of it: typer takes 2 ms for each command."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=True, add_completion=True)
    for name in [words[0]] if words and words[0] in COMMANDS else COMMANDS:
        module = import_module(f"placement.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name, None) or getattr(module, f"{name}_"))
    attach(app)
    app.callback()(placement)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"placement {__version__}")
        raise typer.Exit


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
