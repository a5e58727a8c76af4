# SPDX-License-Identifier: Apache-2.0
"""`placement model validate|show|import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, ModelFile, Out
from placement.diag import Diagnostic, InputError, Severity

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at a model and check its file.")


@app.command()
def validate(file: ModelFile, fmt: Out = Format.TEXT) -> int:
    """Check a model file; every finding with its place, at once."""
    from placement.report.model import summary
    from placement.spec import load_model

    diagnostics: list[Diagnostic] = []
    facts: dict[str, object] = {}
    try:
        graph, job = load_model(file)
        facts = summary(graph, job)
    except InputError as error:
        diagnostics = list(error.diagnostics)
    from placement.report.diagnostics import as_json, render, summary_json

    if fmt is Format.JSON:
        counts = summary_json(diagnostics) | facts
        output.result_json({"diagnostics": [as_json(d) for d in diagnostics], "summary": counts})
    elif diagnostics:
        output.result(render(diagnostics, output.stdout_style()))
    else:
        output.result(f"ok: {facts['name']}, {facts['blocks']} blocks, {facts['parameters']:,} parameters")
    return Exit.INPUT if any(d.severity is Severity.ERROR for d in diagnostics) else Exit.OK


@app.command()
def show(
    file: ModelFile,
    fmt: Out = Format.TEXT,
    seq_len: Annotated[
        int | None, typer.Option(min=1, help="Sequence length for FLOPs; default: the file's job.", show_default=False)
    ] = None,
) -> int:
    """Parameters, blocks and FLOPs of a model."""
    from placement.report.model import screen, summary
    from placement.spec import load_model

    graph, job = load_model(file)
    facts = summary(graph, job, seq_len)
    if fmt is Format.JSON:
        output.result_json(facts)
    else:
        output.result(screen(graph, facts))
    return Exit.OK


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A Hugging Face config.json.", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Write the model file here; default: stdout.")] = None,
    name: Annotated[str, typer.Option(help="Name of the model; default: what the configuration calls itself.")] = "",
    fmt: Out = Format.TEXT,
) -> int:
    """Turn a Hugging Face config.json into a model file."""
    from placement.spec.hf import import_config

    output.made_file(import_config(file, name), out, [], as_json=fmt is Format.JSON)
    return Exit.OK
