# SPDX-License-Identifier: Apache-2.0
# E pair of ranks
"""Pairs of ranks and bytes from a CSV file: `source,target,bytes` in each line, a header line and `#` comments allowed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from placement.diag import Diagnostic, InputError, Label, Span
from placement.ir.comms import Wires

MAX_BYTES = 512 << 20  # 16 million lines
TOLD = 20  # findings of one file; nobody reads more


def read_pairs(path: Path, named: Span) -> Wires:
    """The pairs of a file; `named`: where its name stands. Raises InputError, with the line of every finding."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError([_at(named, f"`{path.name}` is larger than {MAX_BYTES >> 20} MiB", "leave out what is small")])
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError([_at(named, f"`{path.name}` cannot be read: {reason}", "the file stands beside this one")]) from None
    except UnicodeDecodeError:
        raise InputError([_at(Span(str(path)), "the file is not UTF-8", "save it as UTF-8")]) from None
    lines = text.splitlines()
    skip = int(bool(lines) and not lines[0].strip()[:1].isdigit() and not lines[0].lstrip().startswith("#"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty file is said below
            rows = np.loadtxt(lines[skip:], delimiter=",", ndmin=2)
    except ValueError:
        rows = None
    if rows is None or rows.shape[1:] != (3,) or not _clean(rows):
        raise InputError(list(_mistakes(path, lines, skip)) or [_at(Span(str(path)), "there is no pair in the file", _HELP)])
    return Wires("pairs_file", "pairs", rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2])


_HELP = "write `source,target,bytes`, such as `0,8,1.5e9`"


def _clean(rows: np.ndarray) -> bool:
    ends = rows[:, :2]
    return bool(np.isfinite(rows).all() and (rows >= 0).all() and (ends == np.floor(ends)).all() and (ends < 2**31).all())


def _mistakes(path: Path, lines: list[str], skip: int) -> Iterator[Diagnostic]:
    told = 0
    for number, line in enumerate(lines[skip:], skip + 1):
        text = line.partition("#")[0].strip()
        if not text or told >= TOLD:
            continue
        reason = _mistake(text.split(","))
        if reason:
            told += 1
            yield _at(Span(str(path), number, 1, len(line) + 1), reason, _HELP)


def _mistake(words: list[str]) -> str:
    if len(words) != 3:
        return f"a line has three numbers, this one has {len(words)}"
    try:
        source, target, sent = (float(w) for w in words)
    except ValueError:
        return "a source, a target or bytes are not a number"
    if not _clean(np.array([[source, target, sent]])):
        return "ranks are whole numbers from 0, and bytes are finite and not negative"
    return ""


def _at(span: Span, message: str, help: str) -> Diagnostic:
    return Diagnostic("comms/pair", message, primary=Label(span), help=help)
