# SPDX-License-Identifier: Apache-2.0
"""`placement topology validate|show|import|export|diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, TableFormat, TableOut, TopologyFile
from placement.diag import Diagnostic, Severity

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Look at a cluster and check its file.")

From = Annotated[
    str | None, typer.Option("--from", metavar="FORMAT", help="Format of foreign files; default: recognised by their content.")
]


@app.command()
def validate(
    files: Annotated[
        list[str],
        typer.Argument(metavar="TOPOLOGY…", help="A topology YAML or example, or captures and exports of one cluster."),
    ],
    fmt: TableOut = TableFormat.TEXT,
    source: From = None,
    plan: Annotated[
        list[str] | None,
        typer.Option("--plan", metavar="PLAN", help="Planned cabling to compare a capture with; may be repeated."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="What the faults cost a training step of this model.", show_default=False),
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="A job YAML for --model.", show_default=False)] = None,
) -> int:
    """Check a topology: a file of ours against its schema and itself, a capture against its own pattern and a plan."""
    from placement.cli import fabric

    if plan or model or fabric.is_foreign(files, source):
        return fabric.validate(files, source, plan or [], fmt, model, job)
    return _native(files[0], fmt)


def _native(file: str, fmt: TableFormat) -> int:
    diagnostics, facts = _check(file)
    if fmt is TableFormat.CSV:
        from placement.report.fabric import as_csv

        output.result(as_csv([], diagnostics))
    elif fmt is TableFormat.JSON:
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
def show(
    file: TopologyFile,
    fmt: Out = Format.TEXT,
    source: From = None,
    gpu: Annotated[str | None, typer.Option(help="GPU of the catalogue, where a capture does not name it.")] = None,
) -> int:
    """Counts, tiers, switches and cables, what is out of service, the tree of groups, and which groups meet at which tier."""
    from placement.ingest.anyfile import load_cluster
    from placement.report.hierarchy import tree_json
    from placement.report.topology import screen, summary

    cluster = load_cluster(file, source, gpu)
    if fmt is Format.JSON:
        output.result_json(summary(cluster) | {"tree": tree_json(cluster)})
    else:
        output.result(screen(cluster))
    return Exit.OK


@app.command("import")
def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Captures, plans or exports of one cluster.")],
    source: From = None,
    gpu: Annotated[str | None, typer.Option(help="GPU of the catalogue, where the files do not name it.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the YAML here instead of to stdout.")
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Read foreign files as a topology of ours: the pattern that they follow, and what is broken as exceptions."""
    from placement.cli import fabric

    return fabric.imported(files, source, gpu, out, fmt is Format.JSON)


@app.command("export")
def export_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="TOPOLOGY…", help="A topology YAML or example, or captures and exports of one cluster."),
    ],
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            show_default=False,
            help="slurm-tree, slurm-block, slurm-yaml, topograph, kubernetes, graphml or yaml.",
        ),
    ],
    source: From = None,
    gpu: Annotated[str | None, typer.Option(help="GPU of the catalogue, where the files do not name it.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the file here instead of to stdout.")
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """The topology for schedulers and other tools; `placement topology import` reads each of them back."""
    from placement.cli import fabric

    return fabric.exported(files, to, source, gpu, out, fmt is Format.JSON)


@app.command()
def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="A capture, a plan of cabling or a topology.")],
    two: Annotated[str, typer.Argument(metavar="B", help="Another one, or a later capture.")],
    fmt: TableOut = TableFormat.TEXT,
    from_one: Annotated[str | None, typer.Option("--from-a", metavar="FORMAT", help="Format of A.")] = None,
    from_two: Annotated[str | None, typer.Option("--from-b", metavar="FORMAT", help="Format of B.")] = None,
) -> int:
    """What changed between two captures, or between a design and a capture, cable by cable. Exit 5 if anything did."""
    from placement.cli import fabric

    return fabric.compare_files(one, two, (from_one, from_two), fmt)
