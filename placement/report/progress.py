# SPDX-License-Identifier: Apache-2.0
"""How far a long command is: a bar on a terminal, otherwise one greppable line each 5 s. Always on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

from placement.report.text import bar

LINE_EVERY_S = 5.0
DRAW_EVERY_S = 0.1
BAR_WIDTH = 24


class Progress:
    """Called by the compiler as `observe(stage, done, total, detail)`; `total` 0 means that the end is unknown.

    Seconds only decide when something is drawn, never what is computed.
    """

    def __init__(
        self, stream: IO[str], *, terminal: bool, width: int = 80, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._terminal, self._width, self._clock = stream, terminal, width, clock
        self._last_s = self._start_s = clock()
        self._drawn = False

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        now_s = self._clock()
        if now_s - self._last_s < (DRAW_EVERY_S if self._terminal else LINE_EVERY_S):
            return
        self._last_s = now_s
        text = self._bar(stage, done, total, detail) if self._terminal else self._line(stage, done, total, detail, now_s)
        self._write(text)

    def _bar(self, stage: str, done: int, total: int, detail: str) -> str:
        self._drawn = True
        share = min(done / total, 1.0) if total else 0.0
        filled = bar(share, BAR_WIDTH).ljust(BAR_WIDTH) if total else ""
        text = f"{stage:>9} {filled} {_count(done, total)} {detail}".rstrip()
        return "\r" + text[: self._width - 1] + "\x1b[K"

    def _line(self, stage: str, done: int, total: int, detail: str, now_s: float) -> str:
        return f"{stage:>9} {_count(done, total)} {detail}".rstrip() + f"  {now_s - self._start_s:.0f} s\n"

    def close(self) -> None:
        """Remove the bar; the screen below starts on a clean line."""
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody watches any more
            self._terminal = self._drawn = False


def silent(stage: str, done: int, total: int, detail: str = "") -> None:
    """An observer that shows nothing."""


def _count(done: int, total: int) -> str:
    return f"{done:,}/{total:,} ({100 * done // total} %)" if total else f"{done:,}"
