# SPDX-License-Identifier: Apache-2.0
"""Colour, width and safe text of a terminal. Colour never carries meaning alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

CODES = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_UNSAFE = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # controls, bidirectional overrides, surrogates, line separators


@dataclass(frozen=True)
class Style:
    """How text leaves: with ANSI colours or plain."""

    colour: bool = False

    def __call__(self, text: str, *names: str) -> str:
        if not self.colour or not names or not text:
            return text
        return f"\x1b[{';'.join(CODES[n] for n in names)}m{text}\x1b[0m"


PLAIN = Style()


def style_of(stream: IO[str], environ: Mapping[str, str]) -> Style:
    """Colour only on a terminal that shows it and unless `NO_COLOR` is set to anything (no-color.org)."""
    return Style(is_terminal(stream, environ) and not environ.get("NO_COLOR"))


def is_terminal(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether a person watches this stream: a terminal that is not `TERM=dumb`."""
    try:
        return stream.isatty() and environ.get("TERM") != "dumb"
    except ValueError:  # closed
        return False


def safe(text: str) -> str:
    """Text from a file made harmless for a terminal: controls and invisible characters become U+FFFD, tabs one space."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if c == "\t" else "\ufffd" if unicodedata.category(c) in _UNSAFE else c for c in text)


def columns(text: str) -> int:
    """Terminal columns of `text`: wide East Asian characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int, align: str = "<") -> str:
    """`text` filled with spaces to `width` terminal columns, to the left (`<`) or right (`>`)."""
    fill = " " * max(0, width - columns(text))
    return text + fill if align == "<" else fill + text
