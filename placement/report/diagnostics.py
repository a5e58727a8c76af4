# SPDX-License-Identifier: Apache-2.0
"""Prints diagnostics the way rustc does: severity and name, `file:line:column`, the line with its caret, notes, help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from placement.diag import Diagnostic, Label, Severity
from placement.report.pages import page_of
from placement.report.style import PLAIN, Style, columns, safe

COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
SHOWN = 20  # diagnostics on the screen; the rest are counted
OBJECTS = 5  # victims named per diagnostic
WIDTH = 110  # columns of a source line; longer ones are cut around the caret

Lines = Callable[[str], Sequence[str]]


def read_lines(file: str) -> Sequence[str]:
    """Lines of a text file for display, or none if it can't be read (the place is still named)."""
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as f:
            return f.read(1 << 24).split("\n")
    except (OSError, ValueError):
        return ()


def render(diagnostics: Sequence[Diagnostic], style: Style = PLAIN, lines: Lines = read_lines) -> str:
    """All diagnostics as text, at most `SHOWN` of them, then how many there are and where to read more."""
    blocks = ["\n".join(_block(d, style, lines)) for d in diagnostics[:SHOWN]]
    if len(diagnostics) > SHOWN:
        blocks.append(f"… and {len(diagnostics) - SHOWN} more")
    return "\n\n".join([*blocks, summary_text(diagnostics)])


def render_one(diagnostic: Diagnostic, style: Style = PLAIN, lines: Lines = read_lines) -> str:
    """One diagnostic as text, without a count below it."""
    return "\n".join(_block(diagnostic, style, lines))


def summary_text(diagnostics: Sequence[Diagnostic]) -> str:
    """`3 errors in 1 file` and the first name worth an explanation."""
    counts = Counter(d.severity for d in diagnostics)
    files = {d.primary.span.file for d in diagnostics if d.primary}
    told = ", ".join(_count(counts[s], s.value) for s in Severity if counts[s]) or "no findings"
    where = f" in {_count(len(files), 'file')}" if files else ""
    named = next((d.name for d in diagnostics if page_of(d.name)), None)
    return told + where + (f"\n  see: placement explain {named}" if named else "")


def as_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """The published shape of a diagnostic: `{severity, name, message, objects, where, help, notes, labels}`."""
    d = diagnostic
    return {
        "severity": d.severity.value,
        "name": d.name,
        "message": d.message,
        "objects": list(d.objects),
        "where": _where(d.primary) if d.primary else None,
        "help": d.help,
        "notes": list(d.notes),
        "related": [_where(label) | {"text": label.text} for label in d.secondary],
    }


def summary_json(diagnostics: Iterable[Diagnostic]) -> dict[str, int]:
    """How many of each severity: `{"errors": 1, "warnings": 0, "infos": 0}`."""
    counts = Counter(d.severity for d in diagnostics)
    return {f"{s.value}s": counts[s] for s in Severity}


def _where(label: Label) -> dict[str, Any]:
    return {"file": label.span.file, "line": label.span.line, "column": label.span.column}


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"


def _block(d: Diagnostic, style: Style, lines: Lines) -> Iterator[str]:
    head = style(f"{d.severity.value}[{d.name}]", COLOURS[d.severity], "bold")
    yield f"{head}: {style(safe(d.message), 'bold')}"
    labels = [label for label in (d.primary, *d.secondary) if label]
    gutter = " " * max((len(str(label.span.line)) for label in labels), default=1)
    if d.primary:
        yield from _places(d.primary, labels, style, lines, gutter)
    footers = [("note", n) for n in d.notes] + ([("help", d.help)] if d.help else [])
    if d.objects:
        footers.insert(0, ("on", _objects(d.objects)))
    if footers and d.primary:
        yield f"{gutter} {style('|', 'cyan')}"
    for kind, text in footers:
        yield from _footer(kind, text, gutter, style)


def _objects(objects: Sequence[str]) -> str:
    named = ", ".join(f"`{o}`" for o in objects[:OBJECTS])
    return named + (f" … and {len(objects) - OBJECTS} more" if len(objects) > OBJECTS else "")


def _footer(kind: str, text: str, gutter: str, style: Style) -> Iterator[str]:
    first, *rest = [safe(line) for line in text.split("\n")]
    yield f"{gutter} {style('=', 'cyan')} {style(kind + ':', 'cyan' if kind == 'help' else 'bold')} {first}"
    yield from (f"{gutter}   {' ' * len(kind)}  {line}" for line in rest)


def _places(primary: Label, labels: Sequence[Label], style: Style, lines: Lines, gutter: str) -> Iterator[str]:
    """The source excerpts: the primary's file first, then the others; labels of one file in order of line."""
    by_file: Mapping[str, list[Label]] = {
        file: sorted(group, key=lambda x: x.span)
        for file, group in groupby(sorted(labels, key=lambda x: x.span.file), key=lambda x: x.span.file)
    }
    others = [file for file in by_file if file != primary.span.file]
    for file in (primary.span.file, *others):
        at = primary.span if file == primary.span.file else by_file[file][0].span
        yield f"{gutter}{style('-->' if file == primary.span.file else ':::', 'cyan')} {safe(str(at))}"
        yield from _excerpt(by_file[file], primary, lines(file), style, gutter)


def _excerpt(labels: Sequence[Label], primary: Label, source: Sequence[str], style: Style, gutter: str) -> Iterator[str]:
    if not any(0 < label.span.line <= len(source) for label in labels):
        return
    bar = style("|", "cyan")
    yield f"{gutter} {bar}"
    last = None
    for label in labels:
        line = label.span.line
        if not 0 < line <= len(source):
            continue
        if last is not None and line > last + 1:
            yield "..."
        text, start, width = _window(source[line - 1], label)
        if line != last:
            yield f"{style(str(line).rjust(len(gutter)), 'cyan')} {bar} {text}"
        mark = ("^" if label is primary else "-") * width
        colour = "red" if label is primary else "cyan"
        yield f"{gutter} {bar} {' ' * start}{style((mark + ' ' + safe(label.text)).rstrip(), colour, 'bold')}"
        last = line


def _window(raw: str, label: Label) -> tuple[str, int, int]:
    """A source line cut around its label: text, columns before the caret, width of the caret."""
    text = safe(raw.rstrip("\r\n"))
    begin = min(max(label.span.column - 1, 0), len(text))
    end = min(max(label.span.end_column - 1, begin + 1), max(len(text), begin + 1))
    cut = max(0, begin - WIDTH // 2) if columns(text) > WIDTH else 0
    prefix = "…" if cut else ""
    shown = prefix + text[cut:]
    if len(shown) > WIDTH:
        shown = shown[: WIDTH - 1] + "…"
    start = columns(prefix + text[cut:begin])
    return shown, start, max(1, min(columns(text[begin:end]), WIDTH - start))
