# SPDX-License-Identifier: Apache-2.0
"""Runs a program as a user would and says how long it took and how much memory it held."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PLACEMENT = (sys.executable, "-m", "placement")


@dataclass(frozen=True)
class Run:
    """One whole process: wall seconds, processor seconds, peak resident bytes, exit code, what it wrote."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    code: int
    stdout: str
    stderr: str


def run(command: Sequence[str | Path], *, cwd: Path | None = None) -> Run:
    """Starts `command` and waits. The peak is the kernel's own (`ru_maxrss` of the process and the children it waited for).

    Python may keep compiled modules, whatever the environment says: an installed package comes with them.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        words = [str(c) for c in command]
        child = subprocess.Popen(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)  # tells Popen that it is reaped
        texts = [_text(f) for f in (out, err)]
    scale = 1 if sys.platform == "darwin" else 1024  # Linux counts KiB
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale, child.returncode, *texts)


def placement(*args: str | Path, cwd: Path | None = None) -> Run:
    """Runs the `placement` command of this checkout."""
    return run((*PLACEMENT, *args), cwd=cwd)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
