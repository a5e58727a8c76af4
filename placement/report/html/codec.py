# SPDX-License-Identifier: Apache-2.0
"""Long integer and name columns as short text, which thirty lines of JavaScript unpack (`page.js`: `ints`, `names`)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_NUMBER = re.compile(r"\d{1,9}")


def ints(values: npt.ArrayLike) -> str:
    """Integers as base64 of runs of equal differences: LEB128 of zigzag(difference), then of the length of the run.

    >>> ints([7, 7, 7]), ints([])
    ('DgEAAg==', '')
    """
    v = np.asarray(values, np.int64)
    if not len(v):
        return ""
    step = np.diff(v, prepend=0)
    first = np.flatnonzero(np.concatenate([[True], step[1:] != step[:-1]]))
    zigzag = (step[first] << 1) ^ (step[first] >> 63)
    count = np.diff(first, append=len(v))
    return b64encode(_leb128(np.stack([zigzag, count], axis=1).ravel())).decode()


def _leb128(values: npt.NDArray[np.int64]) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    width = 1 + (values[:, None] >= 1 << 7 * np.arange(1, 9)).sum(axis=1)
    at = np.cumsum(width) - width
    out = np.zeros(int(width.sum()), np.uint8)
    for k in range(int(width.max())):
        some = width > k
        more = (width[some] > k + 1).astype(np.int64) << 7
        out[at[some] + k] = ((values[some] >> 7 * k) & 127) | more
    return out.tobytes()


def names(values: Sequence[str]) -> dict[str, Any]:
    """Names as text with numbers in it: distinct texts, which one each name has, and columns of the numbers.

    `rack0001-tray01` is the text `["rack", 4, "-tray", 2, ""]` (widths between the pieces) and the numbers 1 and 1.
    """
    seen: dict[tuple[str | int, ...], int] = {}
    which: list[int] = []
    numbers: list[list[int]] = []
    for name in values:
        found = _NUMBER.findall(name)
        pieces = _NUMBER.split(name)
        text = tuple(x for piece, n in zip(pieces, [*found, ""], strict=True) for x in (piece, len(n)))[:-1]
        which.append(seen.setdefault(text, len(seen)))
        numbers.append([int(n) for n in found])
    wide = max(map(len, numbers), default=0)
    columns = [ints([row[i] if i < len(row) else 0 for row in numbers]) for i in range(wide)]
    return {"text": [list(t) for t in seen], "which": ints(which), "numbers": columns}
