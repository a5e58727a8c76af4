# SPDX-License-Identifier: Apache-2.0
"""Findings about a wired fabric, as a screen, as JSON and as CSV: five of a kind for people, all of them for programs."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from placement.diag import Diagnostic, Severity
from placement.fabric.wiring.bandwidth import Bandwidth
from placement.fabric.wiring.compare import Comparison
from placement.fabric.wiring.faults import Fault
from placement.hostlist import fold
from placement.report.diagnostics import as_json as diagnostic_json
from placement.report.style import PLAIN, Style, safe
from placement.report.text import counted, si, table

KIND = 5  # findings of one kind on the screen
PAIRS = 3  # expected and actual lines of one finding on the screen
ROWS = 12  # racks in the roll-up
LIST = 90  # characters of a host list on the screen
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
COLUMNS = (
    "severity",
    "name",
    "message",
    "group",
    "rack",
    "expected",
    "actual",
    "hosts",
    "num_hosts",
    "devices",
    "cables",
    "file",
    "line",
    "help",
)


def screen(
    title: str,
    design: Sequence[str],
    faults: Sequence[Fault],
    read: Sequence[Diagnostic],
    capacity: Bandwidth | None,
    style: Style = PLAIN,
) -> str:
    """What the fabric is, what is wrong with it, where, and what that leaves."""
    lines = [title, *(f"  {s}" for s in design), ""]
    lines += [line for d in read[:KIND] for line in _reading(d, style)]
    if len(read) > KIND:
        lines.append(f"… and {len(read) - KIND} more findings of reading")
    for (severity, kind), group in groupby(faults, key=lambda f: (f.severity, f.kind)):
        lines += _kind(severity, kind, list(group), style)
    if faults:
        lines += ["", *_rollup(faults)]
    if capacity is not None:
        lines += ["", *_capacity(capacity)]
    return "\n".join([*lines, "", summary(faults)])


def _reading(d: Diagnostic, style: Style) -> list[str]:
    where = f"{d.primary.span}: " if d.primary else ""
    return [f"{style(d.severity.value, COLOURS[d.severity])}[{d.name}] {safe(where + d.message)}"]


def _kind(severity: Severity, kind: str, group: list[Fault], style: Style) -> list[str]:
    out = [f"{style(severity.value, COLOURS[severity], 'bold')}[fabric/{kind}] {counted(len(group), 'finding')}"]
    for fault in group[:KIND]:
        place = f"line {fault.line}: " if fault.line else ""
        out.append(f"  {safe(place + fault.message)}")
        out += [f"      {safe(line)}" for line in _sides(fault)]
        if fault.victims:
            out.append(f"      {counted(len(fault.victims), 'host')}: {safe(fold(fault.victims, LIST))}")
    if len(group) > KIND:
        rest = sorted({v for f in group[KIND:] for v in f.victims})
        names = f", hosts {fold(rest, LIST)}" if rest else ""
        out.append(f"  … and {len(group) - KIND} more{names}; all of them: `--format csv`")
    help = group[0].help
    return [*out, f"  {style('help:', 'cyan')} {help}"] if help else out


def _sides(fault: Fault) -> list[str]:
    if fault.expected and len(fault.expected) == len(fault.actual):
        pairs = [f"expected {e} | actual {a}" for e, a in zip(fault.expected, fault.actual, strict=True)]
    else:
        pairs = [f"expected {e}" for e in fault.expected] + [f"actual {a}" for a in fault.actual]
    return pairs[:PAIRS] + ([f"… and {len(pairs) - PAIRS} more"] if len(pairs) > PAIRS else [])


def _rollup(faults: Sequence[Fault]) -> list[str]:
    """Findings by group and rack, the worst first."""
    tally: dict[tuple[str, str], Counter[Severity]] = defaultdict(Counter)
    for f in faults:
        tally[f.group or "fabric", f.rack][f.severity] += 1
    order = sorted(tally, key=lambda k: (-tally[k][Severity.ERROR], -tally[k][Severity.WARNING], k))
    rows = [[*key, *(str(tally[key][s] or "") for s in Severity)] for key in order[:ROWS]]
    out = table([["group", "rack", "errors", "warnings", "notes"], *rows], "<<>>>")
    return [*out, f"… and {len(order) - ROWS} more"] if len(order) > ROWS else out


def _capacity(capacity: Bandwidth) -> list[str]:
    head = ["", "cables", "as designed", "found", "bandwidth", "as designed", "found", "left"]
    rows = [
        [t.name, "", f"{t.designed:,}", f"{t.found:,}", "", si(t.designed_Bps, "B/s"), si(t.found_Bps, "B/s"),
         _left(t.found_Bps, t.designed_Bps)]
        for t in capacity.tiers
    ]  # fmt: skip
    if capacity.bisection is not None:
        want, have = capacity.bisection
        rows.append(["bisection, exact cut", "", "", "", "", si(want, "B/s"), si(have, "B/s"), _left(have, want)])
    return table([head, *rows], "<<>><>>>")


def _left(have: float, want: float) -> str:
    return f"{have / want:.1%}" if want else ""


def summary(faults: Sequence[Fault]) -> str:
    """`2 errors, 48 warnings, 4 notes; 83 hosts affected`."""
    counts = Counter(f.severity for f in faults)
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    told = ", ".join(counted(counts[s], words[s]) for s in Severity if counts[s]) or "ok: no findings"
    hosts = {v for f in faults if f.severity is not Severity.INFO for v in f.victims}
    return told + (f"; {counted(len(hosts), 'host')} affected" if hosts else "")


def as_json(fault: Fault, file: str = "") -> dict[str, Any]:
    """One finding in the shape of every diagnostic, with what only cables have: both sides, hosts, devices, place.

    `file` is named where the finding has no line of its own.
    """
    return diagnostic_json(fault.diagnostic(file)) | {
        "expected": list(fault.expected), "actual": list(fault.actual), "hosts": list(fault.victims),
        "devices": list(fault.devices), "cables": fault.cables, "group": fault.group, "rack": fault.rack,
    }  # fmt: skip


def capacity_json(capacity: Bandwidth | None) -> dict[str, Any]:
    if capacity is None:
        return {}
    tiers = [
        {
            "name": t.name,
            "cables_designed": t.designed,
            "cables_found": t.found,
            "designed_Bps": t.designed_Bps,
            "found_Bps": t.found_Bps,
        }
        for t in capacity.tiers
    ]
    cut = {"designed_Bps": capacity.bisection[0], "found_Bps": capacity.bisection[1]} if capacity.bisection else None
    return {"tiers": tiers, "bisection": cut}


def as_csv(faults: Sequence[Fault], read: Sequence[Diagnostic] = ()) -> str:
    """Every finding, a row each; lists are separated by ` ; `, hosts are a host list."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for d in read:
        span = d.primary.span if d.primary else None
        writer.writerow(
            [
                d.severity.value,
                d.name,
                d.message,
                *[""] * 5,
                0,
                "",
                0,
                span.file if span else "",
                span.line if span else 0,
                d.help,
            ]
        )
    for f in faults:
        writer.writerow(
            [f.severity.value, f"fabric/{f.kind}", f.message, f.group, f.rack, " ; ".join(f.expected), " ; ".join(f.actual),
             fold(f.victims), len(f.victims), " ; ".join(f.devices), f.cables, f.file, f.line, f.help]
        )  # fmt: skip
    return out.getvalue()


def difference(found: Comparison, faults: Sequence[Fault], style: Style = PLAIN) -> str:
    """The text of a comparison of two fabrics."""
    lines = []
    for (severity, kind), group in groupby(sorted(faults, key=lambda f: f.kind), key=lambda f: (f.severity, f.kind)):
        lines += _kind(severity, kind, list(group), style)
    if found.skipped:
        lines.append(f"note: {found.skipped}")
    counts = [
        (len(found.moved), "moved"),
        (len(found.missing), "missing"),
        (len(found.extra), "extra"),
        (len(found.slower), "slower"),
    ]
    told = ", ".join(f"{n:,} {word}" for n, word in counts if n)
    same = sum(1 for link in found.intended.links if link in found.actual.links)
    return "\n".join([*lines, f"{same:,} cables are the same" + (f"; {told}" if told else "; nothing differs")])
