# SPDX-License-Identifier: Apache-2.0
"""What a bug in the compiler leaves behind: a small text file to attach to a report."""

from __future__ import annotations

import hashlib
import platform
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from placement import __version__


def write_bundle(error: BaseException, args: Sequence[str]) -> str:
    """Write the traceback, the command and versions to a file; return what to tell the user (file name included)."""
    text = bundle_text(error, args)
    name = f"placement-error-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
    told = f"internal error: {type(error).__name__}: {_first_line(error)}\n"
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return f"{told}  this is a bug in placement; please report it and attach {folder / name}"
    return f"{told}  this is a bug in placement; please report it with the text below\n\n{text}"


def bundle_text(error: BaseException, args: Sequence[str]) -> str:
    """Everything a maintainer needs to find the bug; no environment variables, no contents of input files."""
    lines = [
        f"placement {__version__}",
        f"python {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"arguments: {list(args)!r}",
        "",
        *traceback.format_exception(error),
    ]
    return "\n".join(line.rstrip("\n") for line in lines) + "\n"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["(no message)"])[0][:200]
