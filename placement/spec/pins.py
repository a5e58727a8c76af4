# SPDX-License-Identifier: Apache-2.0
"""Pins: degrees and choices that the user fixes. Unknown axes, impossible values and contradictions are diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from placement.diag import Collector, Diagnostic, Label
from placement.ir import DEGREES, RECOMPUTE, SCHEDULES, SHARDING, Job
from placement.spec.source import Document
from placement.spec.validate import did_you_mean

CHOICES = {"schedule": SCHEDULES, "recompute": RECOMPUTE, "sharding": SHARDING}
ALIASES = {"mbs": "micro_batch", "vp": "vpp", "etmp": "etp", "zero": "sharding"}  # what other tools call them
MOST_DEGREE = 10_000_000
_INTEGER = re.compile(r"[+-]?\d{1,18}\Z", re.ASCII)


def read_pins(
    found: Collector, doc: Document | None, defaults: Mapping[str, Any], in_file: Mapping[str, Any], on_line: Mapping[str, Any]
) -> dict[str, int | str]:
    """Pins of the model's defaults, the job file and the command line, in that order; the last two must agree."""
    out: dict[str, int | str] = {}
    for source, pins in (("the model", defaults), ("the job file", in_file), ("the command line", on_line)):
        for axis, text in pins.items():
            label = _label(doc, axis) if pins is in_file else None
            value = _value(found, axis, text, source, label)
            if value is None:
                continue
            if pins is on_line and axis in in_file and str(out.get(axis, value)) != str(value):
                message = f"`{axis}` is pinned to {out[axis]} in the job file and to {value} on the command line"
                found.add(Diagnostic("job/pin-contradiction", message, primary=_label(doc, axis), help="keep one of the two"))
            out[axis] = value
    return out


def _label(doc: Document | None, axis: str) -> Label | None:
    return Label(doc.span(("pins", axis))) if doc is not None else None


def _value(found: Collector, axis: str, text: Any, source: str, label: Label | None) -> int | str | None:
    """The checked value of one pin, or None with a finding."""

    def bad(name: str, message: str, help: str) -> None:
        found.add(Diagnostic(f"job/{name}", message, primary=label, help=help))

    if axis in CHOICES:
        if text in CHOICES[axis]:
            return str(text)
        bad("pin-value", f"`{text}` is not a choice of `{axis}`, pinned by {source}", did_you_mean(str(text), CHOICES[axis]))
        return None
    if axis not in DEGREES:
        near = f"did you mean `{ALIASES[axis]}`?" if axis in ALIASES else did_you_mean(axis, (*DEGREES, *CHOICES))
        bad("pin-axis", f"`{axis}` is not an axis that can be pinned, but {source} does", near)
        return None
    if not _INTEGER.match(str(text).strip()):
        bad("pin-value", f"`{axis}` is pinned to `{text}` by {source}, which is not a whole number", f"write `{axis}: 8`")
        return None
    number = int(str(text))
    if number < 1 or number > MOST_DEGREE:
        bad("pin-value", f"`{axis}` is pinned to {number} by {source}", f"a degree is between 1 and {MOST_DEGREE:,}")
        return None
    return number


def contradictions(job: Job, doc: Document | None) -> Iterator[Diagnostic]:
    """Pins that exclude each other or the job, whatever the model and cluster."""
    for axis, allowed in (("schedule", job.schedules), ("recompute", job.recompute), ("sharding", job.sharding)):
        pinned = job.pins.get(axis)
        if pinned is not None and pinned not in allowed:
            plural = {"schedule": "schedules"}.get(axis, axis)
            message = f"`{axis}` is pinned to `{pinned}`, which `{plural}` of the job leaves out"
            yield _clash(doc, axis, message, f"add `{pinned}` to `{plural}`")
    yield from _batch(job, doc)
    yield from _schedule(job, doc)
    yield from _folding(job, doc)


def _clash(doc: Document | None, axis: str, message: str, help: str) -> Diagnostic:
    known = doc is not None and ("pins", axis) in doc.spans
    return Diagnostic("job/pin-contradiction", message, primary=_label(doc, axis) if known else None, help=help)


def _degree(job: Job, axis: str) -> int:
    return int(job.pins.get(axis, 1))


def _batch(job: Job, doc: Document | None) -> Iterator[Diagnostic]:
    axes = [a for a in ("dp", "micro_batch") if a in job.pins]
    product = _degree(job, "dp") * _degree(job, "micro_batch")
    if axes and job.global_batch % product:
        pinned = " and ".join(f"`{a}` {job.pins[a]}" for a in axes)
        message = f"the global batch of {job.global_batch:,} sequences does not divide by the pinned {pinned}"
        yield _clash(doc, axes[0], message, f"pin a divisor of {job.global_batch:,}, or change the global batch")


def _schedule(job: Job, doc: Document | None) -> Iterator[Diagnostic]:
    """Chunks per stage follow from the schedule (cost/schedules.py)."""
    from placement.cost.schedules import misfit

    if "schedule" in job.pins and "vpp" in job.pins:
        pp = _degree(job, "pp") if "pp" in job.pins else 2
        reason = misfit(str(job.pins["schedule"]), pp, _degree(job, "vpp"), pp << 16)
        if reason:
            yield _clash(doc, "vpp", f"the pinned schedule and vpp exclude each other: {reason}", "unpin one of the two")


def _folding(job: Job, doc: Document | None) -> Iterator[Diagnostic]:
    """Experts fold the ranks of a stage, and weight shards divide their data-parallel group."""
    if all(a in job.pins for a in ("tp", "cp", "dp")):
        ranks = _degree(job, "tp") * _degree(job, "cp") * _degree(job, "dp")
        block = _degree(job, "ep") * _degree(job, "etp")
        if ranks % block:
            message = f"expert groups of ep x etp = {block} do not tile the tp x cp x dp = {ranks} ranks of a stage"
            yield _clash(doc, "ep" if "ep" in job.pins else "etp", message, f"ep x etp must divide {ranks}")
    if "dp" in job.pins and _degree(job, "dp") % _degree(job, "gtp"):
        message = f"`gtp` {job.pins['gtp']} does not divide the pinned `dp` {job.pins['dp']}"
        yield _clash(doc, "gtp", message, "gtp shards weights over data-parallel ranks, so it divides dp")
