# SPDX-License-Identifier: Apache-2.0
"""`placement runtime [DIR]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.options import Format, Out
from placement.diag import Diagnostic, InputError

FILES = ("placement_plan.h", "placement_exec.c")
PROGRAM = "placement-exec"
_FLAGS = ("-std=c11", "-O2")


def runtime(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Where the C sources go; made if missing.", show_default=False)
    ] = None,
    build: Annotated[
        bool, typer.Option("--build", help="Also compile placement-exec there, with $CC, $CFLAGS and $LDFLAGS, else cc.")
    ] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """The C side of a plan: placement_plan.h, which reads plan.bin, and placement-exec, which starts a rank.

    Without DIR, print the directory that holds them, for a compiler's `-I`. Manual: docs/how-to/runtime.md.
    """
    if folder is None and build:
        raise InputError([Diagnostic("cli/no-directory", "where should placement-exec be built?", help="name a directory")])
    paths = [str(sources() / name) for name in FILES] if folder is None else copy(folder) + (_build(folder) if build else [])
    if fmt is Format.JSON:
        output.result_json({"directory": str(folder or sources()), "files": paths})
    else:
        output.result(str(sources()) if folder is None else "\n".join(paths))
    return 0


def sources() -> Path:
    """The directory of the C sources, inside the installed package."""
    return Path(__file__).resolve().parents[1] / "runtime"


def copy(folder: Path) -> list[str]:
    """Copy the sources; returns the paths written. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        output.write_file(folder / name, (sources() / name).read_text(encoding="utf-8"))
    return [str(folder / name) for name in FILES]


def _build(folder: Path) -> list[str]:
    import os
    import shlex
    import subprocess

    program = folder / PROGRAM
    compiler, flags, link = (shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS"))
    command = [*(compiler or ["cc"]), *(flags or _FLAGS), "-o", str(program), str(folder / FILES[1]), *link]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)  # noqa: S603
    except OSError as error:
        raise _no_compiler(f"cannot run `{command[0]}`: {(error.strerror or str(error)).lower()}") from None
    if done.returncode:
        lines = tuple(done.stderr.splitlines()[:8])
        raise _no_compiler(f"`{shlex.join(command)}` ended with exit code {done.returncode}", lines)
    return [str(program)]


def _no_compiler(message: str, notes: tuple[str, ...] = ()) -> InputError:
    fix = "install a C11 compiler, or name one: `CC=gcc placement runtime DIR --build`"
    return InputError([Diagnostic("cli/no-compiler", message, notes=notes, help=fix)])
