# SPDX-License-Identifier: Apache-2.0
"""Objects by name, with work that a hostile file cannot blow up: indexes are made once, names are counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from placement.hostlist import HostlistError, expand
from placement.ir._array import Ints, Strings
from placement.spec.validate import did_you_mean

T = TypeVar("T")
SUGGESTIONS = 20  # unknown names that get a search for the nearest one


class Lookup:
    """Indexes of names by kind of object. `budget`: names that all exceptions together may list."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.suggestions = SUGGESTIONS
        self._sorted: dict[str, tuple[Ints, Strings]] = {}
        self._made: dict[str, object] = {}

    def expand(self, text: str) -> Strings:
        """Names of a host list. Raises HostlistError also where the file as a whole names too many."""
        names = expand(text, most=max(self.left, 0))
        self.left -= len(names)
        return names

    def spend(self, count: int) -> None:
        """Count work that is not a list of names. Raises HostlistError when there is too much of it."""
        self.left -= count
        if self.left < 0:
            raise HostlistError(f"the exceptions of this file name too many objects ({count:,} here)")

    def once(self, key: str, make: Callable[[], T]) -> T:
        """The value of `make`, made at the first call for a key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]  # type: ignore[return-value]

    def positions(self, what: str, known: Strings, wanted: Strings) -> Ints:
        """Index of each wanted name among unique known ones of a kind, -1 where there is none."""
        if what not in self._sorted:
            ascending = np.argsort(known, kind="stable")  # one pass where the names are in order
            self._sorted[what] = (ascending, known[ascending])
        order, names = self._sorted[what]
        at = np.minimum(np.searchsorted(names, wanted.astype(names.dtype)), len(known) - 1)
        return np.where(names[at] == wanted, order[at], -1)

    def suggest(self, word: str, known: Strings) -> str:
        """Did you mean: the name with the same numbers, else the nearest of a small set, else nothing."""
        self.suggestions -= 1
        if self.suggestions < 0 or _same_shape(word, str(known[0])):
            return ""  # the right pattern, with a number that there is not
        numbers = _numbers(word)
        if len(known) > 2000 and numbers:
            known = known[np.strings.endswith(known, re.findall(r"[0-9]+", word)[-1][-2:])]
        same = [str(k) for k in known.tolist() if _numbers(str(k)) == numbers] if numbers else []
        if same:
            return f"did you mean `{same[0]}`?"
        text = did_you_mean(word, known.tolist()) if 0 < len(known) <= 2000 else ""
        return text if text.startswith("did you") else ""


def _numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"[0-9]{1,15}", text)]


def _same_shape(one: str, other: str) -> bool:
    return len(one) == len(other) and re.sub(r"[0-9]", "#", one) == re.sub(r"[0-9]", "#", other)
