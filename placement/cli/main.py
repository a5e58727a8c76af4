# SPDX-License-Identifier: Apache-2.0
"""Runs the app and turns every way a command can end into an exit code and a message (DESIGN §12)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from placement.cli import output
from placement.cli.exit import Exit
from placement.diag import Diagnostic, Infeasible, InputError, PlanError


def main(argv: Sequence[str] | None = None) -> int:
    """The whole program: returns an exit code, never raises."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # looking for them would take 25 ms of every command
    args = list(sys.argv[1:] if argv is None else argv)
    output.prepare()
    try:
        code = _run(args)
        output.finish()
    except OSError as error:  # a full disk shows when stdout is flushed
        return _system(error)
    except KeyboardInterrupt:
        output.note("interrupted")
        return Exit.INTERRUPTED
    except SystemExit as error:  # typer leaves this way when the reader of its help is gone
        return error.code if isinstance(error.code, int) else Exit.OK
    return code


def _run(args: list[str]) -> int:
    from typer import Abort, TyperException

    from placement.cli.app import app_of

    try:
        code = int(app_of(args)(args, prog_name="placement", standalone_mode=False) or 0)
    except TyperException as error:
        return _usage(error)
    except InputError as error:
        return _input(error.diagnostics, Exit.INPUT, args)
    except PlanError as error:
        return _input(error.diagnostics, Exit.PLAN, args)
    except Infeasible as error:
        return _infeasible(error, args)
    except Abort as error:
        raise KeyboardInterrupt from error
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  the last line of defence: our bug, so ask for a report
        return _internal(error, args)
    if code == Exit.INTERRUPTED:  # typer catches Ctrl-C itself and returns its code
        raise KeyboardInterrupt
    return code


def _usage(error: Any) -> int:
    show = getattr(error, "show", None)
    if show:
        show()
    else:
        output.note(f"Error: {error}")
    return Exit.USAGE


def _input(diagnostics: Sequence[Diagnostic], code: int, args: Sequence[str]) -> int:
    from placement.report.diagnostics import as_json, render, summary_json

    if wants_json(args):
        found = [as_json(d) for d in diagnostics]
        output.result_json({"diagnostics": found, "summary": summary_json(diagnostics)})
    else:
        output.note(render(diagnostics, output.stderr_style()))
    return code


def _infeasible(error: Infeasible, args: Sequence[str]) -> int:
    from placement.report.rejections import infeasible_text

    output.note(infeasible_text(error, output.stderr_style()))
    if wants_json(args):
        output.result_json({"infeasible": str(error), "rejected": dict(error.rejected), "help": error.help})
    return Exit.INFEASIBLE


def _system(error: OSError) -> int:
    """A file or pipe that can't be read or written is the user's to mend, so it gets a diagnostic and no traceback."""
    where = f"`{error.filename}`: " if error.filename else ""
    message = f"{where}{(error.strerror or str(error)).lower()}"
    return _input([Diagnostic("cli/cannot-read-or-write", message)], Exit.INPUT, [])


def _internal(error: Exception, args: Sequence[str]) -> int:
    from placement.cli.bundle import write_bundle

    output.note(write_bundle(error, args))
    return Exit.INTERNAL


def wants_json(args: Sequence[str]) -> bool:
    """Whether `--format json` was asked for; read from the arguments because the failure may come before they are parsed."""
    return "--format=json" in args or any(a == "--format" and b == "json" for a, b in pairwise(args))
