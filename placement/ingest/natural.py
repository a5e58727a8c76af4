# SPDX-License-Identifier: Apache-2.0
"""Names in the order that people count in."""

from __future__ import annotations

import re
from functools import cache

_PARTS = re.compile(r"(\d{1,18})")


@cache
def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key: numbers by value.

    >>> sorted(["n10", "n9", "n1"], key=natural)
    ['n1', 'n9', 'n10']
    """
    return tuple((0, int(p), p) if p.isdecimal() and p.isascii() else (1, 0, p) for p in _PARTS.split(name) if p)
