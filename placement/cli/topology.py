# SPDX-License-Identifier: Apache-2.0
"""`placement topology validate|show`."""

from __future__ import annotations

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, TopologyFile
from placement.diag import Diagnostic, Severity

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at a cluster and check its file.")


@app.command()
def validate(file: TopologyFile, fmt: Out = Format.TEXT) -> int:
    """Check a topology file; every finding with its place, at once."""
    diagnostics, facts = _check(file)
    if fmt is Format.JSON:
        from placement.report.diagnostics import as_json, summary_json

        summary = summary_json(diagnostics) | facts
        output.result_json({"diagnostics": [as_json(d) for d in diagnostics], "summary": summary})
    else:
        _print(diagnostics, facts)
    return Exit.INPUT if any(d.severity is Severity.ERROR for d in diagnostics) else Exit.OK


def _check(file: str) -> tuple[list[Diagnostic], dict[str, object]]:
    from placement.fabric import validate as validate_cluster
    from placement.report.topology import summary
    from placement.spec import check_topology

    cluster, found = check_topology(file)
    return (list(validate_cluster(cluster)), summary(cluster)) if cluster else (list(found), {})


def _print(diagnostics: list[Diagnostic], facts: dict[str, object]) -> None:
    from placement.report.diagnostics import render

    if diagnostics:
        output.result(render(diagnostics, output.stdout_style()))
    else:
        output.result(f"ok: {facts['name']}, {facts['nodes']:,} nodes, {facts['gpus']:,} GPUs, {facts['usable_gpus']:,} usable")


@app.command()
def show(file: TopologyFile, fmt: Out = Format.TEXT) -> int:
    """Counts, tiers, switches and cables, and what is out of service."""
    from placement.report.topology import screen, summary
    from placement.spec import load_cluster

    cluster = load_cluster(file)
    if fmt is Format.JSON:
        output.result_json(summary(cluster))
    else:
        output.result(screen(cluster))
    return Exit.OK
