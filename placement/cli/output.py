# SPDX-License-Identifier: Apache-2.0
"""stdout is the result, stderr everything else. A reader that goes away ends the output, not the command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from placement.diag import Diagnostic
from placement.report.style import Style, safe, style_of

FORMAT_VERSION = "1.0"


def result(text: str) -> None:
    """Write one result to stdout, ending in a newline."""
    _write(text if text.endswith("\n") or not text else text + "\n")


def plain(text: str) -> None:
    """Write a result that has no colours of ours: whatever control character is in it came from a file."""
    result("\n".join(safe(line) for line in text.split("\n")))


def stream(chunks: Iterable[str]) -> None:
    """Write a long result piece by piece; stops producing as soon as nobody reads it."""
    for chunk in chunks:
        if not _write(chunk):
            return


def result_json(value: Mapping[str, Any]) -> None:
    """Write a JSON document to stdout: sorted keys, `format_version` first among equals, no NaN (not JSON)."""
    _write(indented({"format_version": FORMAT_VERSION, **value}) + "\n")


def indented(value: Any, margin: str = "\n") -> str:
    """`json.dumps` with indent 2, sorted keys and no NaN, byte by byte; with it C writes lists of scalars, not Python.

    >>> print(indented({"b": [1, "x"], "a": {}}))
    {
      "a": {},
      "b": [
        1,
        "x"
      ]
    }
    """
    inner = margin + "  "
    if isinstance(value, Mapping) and value and all(type(key) is str for key in value):
        items = [f"{inner}{json.dumps(key)}: {indented(value[key], inner)}" for key in sorted(value)]
        return "{" + ",".join(items) + margin + "}"
    if not isinstance(value, list | tuple) or not value:
        return json.dumps(value, sort_keys=True, indent=2, allow_nan=False).replace("\n", margin)
    if not any(isinstance(item, list | tuple | Mapping) for item in value):
        return f"[{inner}{json.dumps(value, allow_nan=False, separators=(',' + inner, ': '))[1:-1]}{margin}]"
    return "[" + ",".join(f"{inner}{indented(item, inner)}" for item in value) + margin + "]"


def made_file(text: str, out: Path | None, found: Sequence[Diagnostic], *, as_json: bool) -> None:
    """A file that a command made, to `out` or stdout, and what was found on the way to stderr; or JSON that says all of it."""
    from hashlib import sha256

    from placement.report.diagnostics import as_json as tree
    from placement.report.diagnostics import render

    if out is not None:
        write_file(out, text)
    if as_json:
        digest, path = sha256(text.encode()).hexdigest(), None if out is None else str(out)
        told = None if out is not None else text
        result_json({"file": path, "sha256": digest, "text": told, "diagnostics": [tree(d) for d in found]})
        return
    if out is None:
        result(text)
    if found:
        note(render(found, stderr_style()))


def write_file(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises OSError with the file's name."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def note(text: str) -> None:
    """Write to stderr; a closed stderr is not an error."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def stdout_style() -> Style:
    return style_of(sys.stdout, os.environ)


def stderr_style() -> Style:
    return style_of(sys.stderr, os.environ)


def prepare() -> None:
    """Characters that the terminal's encoding lacks are replaced instead of ending the command."""
    for out in (sys.stdout, sys.stderr):
        if hasattr(out, "reconfigure"):
            out.reconfigure(errors="replace")


def finish() -> None:
    """Flush stdout, so that a full disk or closed pipe shows here and not at interpreter exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _abandon()


def _write(text: str) -> bool:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        _abandon()
        return False
    return True


def _abandon() -> None:
    """Point stdout at nothing: the interpreter flushes it once more at exit and would complain."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        pass
