# SPDX-License-Identifier: Apache-2.0
"""`placement schema KIND`: input files, plan.json, and what commands print as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from placement.cli import output

HELP = "`topology`, `model`, `job`, `comms`, `plan`, or a result: `why-rank`, `diff` …"


def schema(
    kind: Annotated[str | None, typer.Argument(help=HELP, show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Every kind with what it describes.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--all", metavar="FOLDER", help="Write every schema as a file here.", show_default=False)
    ] = None,
) -> int:
    """JSON Schema of an input file, of plan.json, or of what a command prints with `--format json`."""
    if folder is not None:
        _write_all(folder)
    elif list_:
        from placement.report.text import table

        output.plain("\n".join(table([[name, _schema(name)["description"]] for name in kinds()])))
    elif kind in kinds():
        assert kind is not None
        output.result(_text(kind))
    else:
        raise typer.BadParameter(_unknown(kind), param_hint="KIND")
    return 0


def kinds() -> tuple[str, ...]:
    """Input files and plan.json first, then results."""
    from placement.report.results import RESULTS
    from placement.spec.schemas import KINDS

    return (*KINDS, *RESULTS)


def _schema(kind: str) -> dict[str, Any]:
    from placement.report.results import RESULTS, result_schema
    from placement.spec.schemas import schema as of_file

    return result_schema(kind) if kind in RESULTS else of_file(kind)


def _text(kind: str) -> str:
    import json

    return json.dumps(_schema(kind), indent=2, sort_keys=True)


def _unknown(kind: str | None) -> str:
    from difflib import get_close_matches

    if kind is None:
        return "say which; `placement schema --list` has them all"
    near = get_close_matches(kind, kinds(), 1)
    return f"no schema `{kind}`" + (f"; did you mean `{near[0]}`?" if near else "; `placement schema --list` has them all")


def _write_all(folder: Path) -> None:
    """Files of inputs in the folder itself, those of results in `results/`."""
    from placement.report.results import RESULTS

    (folder / "results").mkdir(parents=True, exist_ok=True)
    for kind in kinds():
        output.write_file((folder / "results" if kind in RESULTS else folder) / f"{kind}.json", _text(kind) + "\n")
