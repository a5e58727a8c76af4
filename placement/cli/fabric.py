# SPDX-License-Identifier: Apache-2.0
"""What the topology commands do with foreign files: captures, plans of cabling, exports of schedulers and clouds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import TableFormat
from placement.diag import Diagnostic, Severity

if TYPE_CHECKING:
    from placement.fabric.wiring.faults import Fault


def is_foreign(files: Sequence[str], format: str | None) -> bool:
    """Whether the files are anything but one topology of ours."""
    from placement.ingest.anyfile import NATIVE, format_of

    return len(files) > 1 or (format or format_of(files[0])) != NATIVE


def validate(
    files: Sequence[str], format: str | None, plan: Sequence[str], fmt: TableFormat, model: str | None = None,
    job: str | None = None,
) -> int:  # fmt: skip
    """Every fault of a fabric as wired, its difference from a plan where one is given, and what the faults cost a model."""
    from placement.cli import cost_of_faults
    from placement.fabric.wiring.analyse import analyse, ordered
    from placement.fabric.wiring.bandwidth import bandwidth
    from placement.fabric.wiring.compare import compare, ndt_report, plan_faults, superseded
    from placement.fabric.wiring.design import design_of, sentences
    from placement.ingest.anyfile import load_wired
    from placement.report import fabric

    wired, read = load_wired(files, format)
    known = analyse(wired)
    faults, report = list(known.faults), None
    if plan:
        intended, more = load_wired(plan)
        read = (*read, *more)
        found = compare(intended, wired)
        better = superseded(intended)
        faults, report = [*(f for f in faults if f.kind not in better), *plan_faults(found)], ndt_report(found)
        if found.skipped:
            read = (*read, Diagnostic("ingest/not-in-plan", found.skipped, Severity.INFO))
    faults = list(ordered(faults))
    loss = None
    if model is not None:
        loss = cost_of_faults.loss_of(known, model, files[0], job)
    if fmt is TableFormat.CSV:
        output.result(fabric.as_csv(faults, read))
    elif fmt is TableFormat.JSON:
        from placement.report.diagnostics import as_json

        told = [as_json(d) for d in read] + [fabric.as_json(f, wired.files[0]) for f in faults]
        value = {
            "format": wired.format, "files": list(wired.files), "design": design_of(known), "diagnostics": told,
            "bandwidth": None if wired.logical else fabric.capacity_json(bandwidth(known)), "summary": _counts(faults, read),
        }  # fmt: skip
        extra = {"ndt_report": report} if report is not None else {}
        output.result_json(value | extra | ({"cost": cost_of_faults.as_json(loss)} if loss is not None else {}))
    else:
        capacity = None if wired.logical else bandwidth(known)
        title = f"{wired.name}   {wired.format}" + (f", captured {wired.taken}" if wired.taken else "")
        output.result(fabric.screen(title, sentences(known), faults, read, capacity, output.stdout_style()))
        if loss is not None:
            output.result("\n".join(["", *cost_of_faults.lines(loss)]))
    return Exit.INPUT if _counts(faults, read)["errors"] else Exit.OK


def _counts(faults: Sequence[Fault], read: Sequence[Diagnostic]) -> dict[str, int]:
    severities = [f.severity for f in faults] + [d.severity for d in read]
    words = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.INFO: "infos"}
    return {word: sum(s is severity for s in severities) for severity, word in words.items()}


def compare_files(one: str, two: str, formats: tuple[str | None, str | None], fmt: TableFormat) -> int:
    """What changed between two fabrics, or between a design and what was found. Exit 5 if they differ."""
    from placement.fabric.wiring.compare import compare, ndt_report, plan_faults
    from placement.ingest.anyfile import load_wired
    from placement.report import fabric

    (a, _), (b, _) = load_wired([one], formats[0]), load_wired([two], formats[1])
    found = compare(a, b)
    faults = list(plan_faults(found))
    if fmt is TableFormat.CSV:
        output.result(fabric.as_csv(faults))
    elif fmt is TableFormat.JSON:
        same = sum(1 for link in found.intended.links if link in found.actual.links)
        told = [fabric.as_json(f, b.files[0]) for f in faults]
        output.result_json({"same": same, "diagnostics": told, "summary": _counts(faults, ()), "ndt_report": ndt_report(found)})
    else:
        output.result(fabric.difference(found, faults, output.stdout_style()))
    return Exit.OK if found.same else Exit.DIFFERENT


def imported(files: Sequence[str], format: str | None, gpu: str | None, out: Path | None, as_json: bool) -> int:
    """A foreign topology as our YAML, to stdout or to a file; what was found on the way goes to stderr."""
    from placement.ingest.anyfile import load_wired
    from placement.ingest.native import as_yaml

    wired, read = load_wired(files, format)
    text, notes = as_yaml(wired, gpu)
    output.made_file(text, out, [*read, *notes], as_json=as_json)
    return Exit.OK


def exported(files: Sequence[str], to: str, format: str | None, gpu: str | None, out: Path | None, as_json: bool) -> int:
    """A topology in a format of others, to stdout or to a file."""
    import typer

    from placement.export.topology import CLUSTER_TARGETS, TARGETS, WIRED_TARGETS
    from placement.ingest.anyfile import load_clusters, load_wired

    if to not in TARGETS:
        raise typer.BadParameter(f"`{to}` is none of {', '.join(TARGETS)}", param_hint="--to")
    if to == "yaml" and is_foreign(files, format):
        return imported(files, format, gpu, out, as_json)
    if to == "yaml":
        from placement.ingest.grouped import topology_text

        text = topology_text(load_clusters(files))
    elif to in CLUSTER_TARGETS:
        text = CLUSTER_TARGETS[to][1](load_clusters(files, format, gpu))
    else:
        text = WIRED_TARGETS[to][1](load_wired(files, format)[0])
    output.made_file(text, out, [], as_json=as_json)
    return Exit.OK
