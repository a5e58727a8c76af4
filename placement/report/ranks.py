# SPDX-License-Identifier: Apache-2.0
"""Ranks as text and JSON, from the lines of the CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from placement.report.text import table

SHOWN = 32
NAMES = {"host", "rack", "nic", "tower"}  # columns of text; all others are integers


def ranks_text(chunks: Iterable[str], total: int) -> str:
    """The first ranks as a table, and how to get all of them."""
    lines = next(iter(_joined(chunks))).split("\n", SHOWN + 1)[: SHOWN + 1]
    rows = [line for line in csv.reader(lines) if line]
    shown = table(rows, "><" + ">" + "<")
    rest = total - (len(rows) - 1)
    return "\n".join([*shown, *([f"  … {rest:,} more: --format csv writes all"] if rest > 0 else [])])


def _joined(chunks: Iterable[str]) -> Iterator[str]:
    """Header and first block of rows in one piece."""
    parts = iter(chunks)
    yield next(parts) + next(parts, "")


def ranks_json(chunks: Iterable[str], format_version: str) -> Iterator[str]:
    """`{"format_version": …, "ranks": [{…}, …]}`, one rank a line, streamed."""
    parts = iter(chunks)
    names = next(csv.reader([next(parts)]))
    yield '{"format_version": ' + json.dumps(format_version) + ', "ranks": ['
    first = True
    for chunk in parts:
        rows = [_object(names, row) for row in csv.reader(io.StringIO(chunk))]
        yield ("\n" if first else ",\n") + ",\n".join(rows)
        first = False
    yield "\n]}\n"


def _object(names: list[str], row: list[str]) -> str:
    return json.dumps({n: v if n in NAMES else int(v) for n, v in zip(names, row, strict=True)})
