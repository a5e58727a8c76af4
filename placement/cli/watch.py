# SPDX-License-Identifier: Apache-2.0
"""Progress of long commands, for whoever looks at stderr."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(*, bar: bool) -> Iterator[Callable[[str, int, int, str], None]]:
    """An observer `(stage, done, total, detail)`; the bar is gone when the block ends, however it ends."""
    from placement.report.progress import Progress, silent
    from placement.report.style import is_terminal

    if not bar:
        yield silent
        return
    width = shutil.get_terminal_size().columns
    shown = Progress(sys.stderr, terminal=is_terminal(sys.stderr, os.environ), width=width)
    try:
        yield shown
    finally:
        shown.close()
