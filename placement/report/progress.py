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
ENOUGH = 0.05  # share of the work from which on its pace says something


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
        self._stage, self._stage_s = "", self._start_s

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        now_s = self._clock()
        if stage != self._stage:
            self._stage, self._stage_s = stage, now_s
        if now_s - self._last_s < (DRAW_EVERY_S if self._terminal else LINE_EVERY_S):
            return
        self._last_s = now_s
        left = self._left(done, total, now_s)
        text = (
            self._bar(stage, done, total, detail, left)
            if self._terminal
            else self._line(stage, done, total, detail, left, now_s)
        )
        self._write(text)

    def _left(self, done: int, total: int, now_s: float) -> str:
        """At most how long the stage takes from here at its pace so far; totals are limits that searches seldom reach."""
        spent_s = now_s - self._stage_s
        if not total or done < ENOUGH * total or done >= total or spent_s < 1.0:
            return ""
        return f", at most {spent_s * (total - done) / done:.0f} s left"

    def _bar(self, stage: str, done: int, total: int, detail: str, left: str) -> str:
        self._drawn = True
        share = min(done / total, 1.0) if total else 0.0
        filled = bar(share, BAR_WIDTH).ljust(BAR_WIDTH) if total else ""
        text = f"{stage:>9} {filled} {_count(done, total)} {detail}".rstrip() + left
        return "\r" + text[: self._width - 1] + "\x1b[K"

    def _line(self, stage: str, done: int, total: int, detail: str, left: str, now_s: float) -> str:
        return f"{stage:>9} {_count(done, total)} {detail}".rstrip() + f"  {now_s - self._start_s:.0f} s{left}\n"

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
