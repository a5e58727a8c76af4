# SPDX-License-Identifier: Apache-2.0
"""BOUNDARY IN, foreign files: what clusters really have -> `ir.Wired`. One module a format, listed in formats.py.

    read(path)                 detect the format, read the file
    read(path, "slurm")        read it as that format
    read_all(paths, None)      several files of one fabric as one value

A format module builds its value with `build.Builder`: devices under a key of its own, cables between them, hosts and GPUs;
`builder.bad(line, name, message)` for a record that cannot be used. It never rejects a file for one bad record and never
drops one silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches

from placement.diag import Diagnostic, InputError, Label, Span
from placement.ingest.agree import contradictions, together
from placement.ingest.formats import FORMATS, Format, Reading
from placement.ingest.merge import merge
from placement.ingest.source import Source, head, load, refuse
from placement.ir import Wired

__all__ = ["FORMATS", "Format", "Reading", "Source", "detect", "merge", "read", "read_all"]


def detect(path: str, start: str | None = None) -> str | None:
    """Name of the first format that a file looks like, from its name and first 64 KiB; None: none of them."""
    text = head(path) if start is None else start
    return next((f.name for f in FORMATS.values() if f.looks_like(path, text)), None)


def read(path: str, format: str | None = None, called: str = "") -> Reading:
    """A foreign file and every diagnostic. Raises InputError where nothing of it can be used.

    `called`: name of the file that this one is a copy of; what a format calls after its file keeps that name.
    """
    source = load(path)
    if called:
        source = replace(source, file=called)
    name = format or detect(path, source.head)
    if name is None:
        raise refuse(
            path, "ingest/unknown-format", "the file is of no format that can be read", help=f"name it: `--from {_names()}`"
        )
    if name not in FORMATS:
        close = get_close_matches(name, FORMATS, 1, 0.5)
        help = f"did you mean `{close[0]}`?" if close else f"one of {_names()}"
        raise refuse(path, "ingest/unknown-format", f"`{name}` is no format that can be read", help=help)
    wired, found = FORMATS[name].read(source)
    if not (len(wired.device) or len(wired.host)):
        raise InputError([*source.diagnostics, *found, _nothing(path, name, source)])
    return wired, (*source.diagnostics, *found)


def read_all(paths: Sequence[str], format: str | None = None, called: str = "") -> Reading:
    """Several files of one fabric as one value; `called` as of `read`.

    Raises InputError with the findings of all that cannot be used.
    """
    read_ones: list[Reading] = []
    failed: list[Diagnostic] = []
    for path in paths:
        try:
            read_ones.append(read(path, format, called))
        except InputError as error:
            failed.extend(error.diagnostics)
    if failed:
        raise InputError(failed)
    values: list[Wired] = [wired for wired, _ in read_ones]
    differ = contradictions(values) if len(values) > 1 else []
    return merge(together(values)), (*(d for _, found in read_ones for d in found), *differ)


def _nothing(path: str, name: str, source: Source) -> Diagnostic:
    looks = detect(path, source.head)
    help = f"it looks like `--from {looks}`" if looks and looks != name else ""
    label = Label(Span(path))
    return Diagnostic("ingest/nothing-found", f"the file holds no record of format `{name}`", primary=label, help=help)


def _names() -> str:
    return "|".join(FORMATS)
