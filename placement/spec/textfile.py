# SPDX-License-Identifier: Apache-2.0
"""Plain text files of measurements: read within bounds, and refused with the line."""

from __future__ import annotations

from pathlib import Path

from placement.diag import Diagnostic, InputError, Label, Span

MOST_BYTES = 64 << 20


def text_of(path: str) -> str:
    """The text of a file; a mark of UTF-8 before it is left out. Raises InputError if it cannot be read or is too large."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError([unreadable(path, f"cannot read the file: {error.strerror}")]) from None
    if len(data) > MOST_BYTES:
        raise InputError([unreadable(path, f"{len(data):,} bytes are more than {MOST_BYTES:,}")])
    return data.decode("utf-8-sig", errors="replace")


def unreadable(path: str, message: str, help: str = "", *, line: int = 1) -> Diagnostic:
    """What is wrong at a line of a file of measurements."""
    return Diagnostic("calibrate/unreadable", message, primary=Label(Span(path, line)), help=help)
