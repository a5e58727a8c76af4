# SPDX-License-Identifier: Apache-2.0
"""Records of JSON and YAML files with their lines, one by one: a broken record, or a file that is cut, costs only itself."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from placement.diag import Diagnostic, InputError, Label, Severity
from placement.ingest.build import Builder
from placement.ingest.source import Source, refuse

MAX_RECORD = 32 << 20  # characters of one record; a NetQ graph of 20,000 links is one record of 10 MB
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[\s,]*")
_NEXT = re.compile(r"\n\s*\{")


class Lines:
    """Line numbers of places in a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def at(self, offset: int) -> int:
        return bisect_right(self._starts, offset)

    def of(self, needle: str, start: int = 0) -> int:
        """Line of the first `needle` at or after `start`; the line of `start` where there is none."""
        found = self.text.find(needle, start)
        return self.at(found if found >= 0 else start)


@dataclass(frozen=True)
class Record:
    """One object of a list, and where it starts."""

    value: Mapping[str, Any]
    line: int
    offset: int = 0


def json_records(out: Builder, source: Source, *keys: str) -> Iterator[Record]:
    """Objects of the list under the first of `keys` that the file has; else of the list, or the object, that the file is.

    Lists are read element by element. An element that is no JSON is a diagnostic, and reading goes on after it.
    """
    text = source.text
    lines = Lines(text)
    match = next((m for key in keys if (m := re.search(rf'"{re.escape(key)}"\s*:\s*\[', text))), None)
    start = re.match(r"\s*\[", text)
    if match is None and start is None:
        at = _SPACE.match(text)
        yield from _one(out, text, lines, at.end() if at else 0)
        return
    at_end = (match or start or re.compile("").match(text)).end()  # type: ignore[union-attr]
    while True:
        space = _SPACE.match(text, at_end)
        at_end = space.end() if space else at_end
        if at_end >= len(text):
            out.bad(lines.at(len(text) - 1), "incomplete", "the file ends inside a list: it is cut", "write the file again")
            return
        if text[at_end] == "]":
            return
        begin = at_end
        try:
            value, at_end = _DECODER.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            out.bad(_error_line(error, lines, begin), "bad-record", f"this record is no JSON: {_reason(error)}")
            onward = _NEXT.search(text, begin + 1)
            if onward is None:
                return
            at_end = onward.start()
            continue
        if isinstance(value, dict):
            yield Record(value, lines.at(begin), begin)
        else:
            out.bad(lines.at(begin), "bad-record", "an element of the list is no object")


def _one(out: Builder, text: str, lines: Lines, begin: int) -> Iterator[Record]:
    try:
        value, _ = _DECODER.raw_decode(text, begin)
    except (ValueError, RecursionError) as error:
        out.error(_error_line(error, lines, begin), "bad-record", f"the file is no JSON: {_reason(error)}")
        return
    if isinstance(value, dict):
        yield Record(value, lines.at(begin), begin)


def _error_line(error: Exception, lines: Lines, begin: int) -> int:
    return lines.at(min(error.pos, len(lines.text) - 1)) if isinstance(error, json.JSONDecodeError) else lines.at(begin)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    return text[:1].lower() + text[1:]


def yaml_documents(out: Builder, source: Source) -> Iterator[Any]:
    """`spec.source.Document` of each document of a YAML file, places as in the file. What cannot be parsed is a diagnostic."""
    from placement.spec.source import parse

    before = 0
    for chunk in re.split(r"(?m)^---[ \t]*(?:#.*)?$", source.text):
        if any(line.strip() and not line.lstrip().startswith("#") for line in chunk.split("\n")):
            try:
                yield parse("\n" * before + chunk, source.file)
            except InputError as error:
                out.diagnostics.extend(foreign(d) for d in error.diagnostics)
        before += chunk.count("\n")


def foreign(d: Diagnostic) -> Diagnostic:
    return replace(d, severity=Severity.ERROR)


def text_of(value: Any) -> str:
    """A scalar as text; "" for None and for what is no scalar."""
    return "" if value is None or isinstance(value, dict | list) else str(value).strip()


def whole_of(value: Any, default: int = -1) -> int:
    """A scalar as a whole number; `default` where it is none."""
    text = text_of(value)
    return int(text) if re.fullmatch(r"[0-9]{1,12}", text) else default


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def label(source: Source, line: int) -> Label:
    from placement.diag import Span

    return Label(Span(source.file, max(line, 1)))


__all__ = ["Lines", "Record", "json_records", "label", "mapping", "refuse", "sequence", "text_of", "whole_of", "yaml_documents"]
