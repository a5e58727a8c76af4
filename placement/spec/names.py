# SPDX-License-Identifier: Apache-2.0
"""Names by pattern, `rack{rack:04}-tray{node:02}`, rendered for whole arrays of numbers at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from placement.ir._array import Ints, Strings

_FIELD = re.compile(r"\{([a-z]*)(?::0?(\d{1,2}))?\}", re.ASCII)


class PatternError(ValueError):
    """A name pattern that cannot be used. `message` and `help` for a diagnostic."""

    def __init__(self, message: str, help: str = "") -> None:
        self.message, self.help = message, help
        super().__init__(message)


@dataclass(frozen=True)
class Template:
    """A name pattern: text and (field, width) in turn."""

    text: str
    pieces: tuple[str | tuple[str, int], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(p[0] for p in self.pieces if isinstance(p, tuple))

    def render(self, values: Mapping[str, Ints]) -> Strings:
        """Names for arrays of numbers that broadcast against each other, in their broadcast shape."""
        names: npt.NDArray[np.str_] = np.array("")
        for piece in self.pieces:
            column = np.asarray(piece) if isinstance(piece, str) else padded(values[piece[0]], piece[1])
            names = np.strings.add(names, column)
        shape = np.broadcast_shapes(*(np.shape(v) for v in values.values()))
        return np.broadcast_to(names, shape)

    def nearest(self, word: str) -> str | None:
        """The name of this pattern with the numbers of `word`: `rack17_tray3` -> `rack0017-tray03`."""
        numbers = re.findall(r"[0-9]{1,15}", word)
        if len(numbers) != len(self.fields):
            return None
        left = iter(numbers)
        return "".join(p if isinstance(p, str) else f"{int(next(left)):0{p[1]}}" for p in self.pieces)


def padded(numbers: Ints, width: int) -> Strings:
    """Numbers as text with leading zeros."""
    return np.strings.zfill(np.asarray(numbers).astype(np.str_), width)


def template(text: str, allowed: tuple[str, ...], needed: tuple[str, ...] = ()) -> Template:
    """Parse a name pattern. Raises PatternError for unknown fields, missing ones, and fields that touch."""
    pieces: list[str | tuple[str, int]] = []
    at = 0
    for match in _FIELD.finditer(text):
        if match[1] not in allowed:
            listed = ", ".join(f"`{{{a}}}`" for a in allowed)
            raise PatternError(f"`{match[0]}` is not a field of this name", f"fields: {listed}")
        if text[at : match.start()]:
            pieces.append(text[at : match.start()])
        elif pieces:
            raise PatternError(
                f"two numbers touch in the name `{text}`, so two objects could share one", "put a letter or `-` between them"
            )
        pieces.append((match[1], int(match[2] or 0)))
        at = match.end()
    if text[at:]:
        pieces.append(text[at:])
    out = Template(text, tuple(pieces))
    if re.search(r"[{}\[\],\s:]", "".join(p for p in pieces if isinstance(p, str))):
        raise PatternError(
            f"the name `{text}` holds a character that host lists cannot", "use letters, digits, `-`, `_` and `.`"
        )
    for name in needed:
        if name not in out.fields:
            raise PatternError(f"the name `{text}` is the same for several objects", f"add `{{{name}}}`")
    return out
