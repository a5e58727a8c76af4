# SPDX-License-Identifier: Apache-2.0
"""The NAMES section: UTF-8 strings, each with a NUL behind it, written many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from placement.ir._array import Strings


class Names:
    """Collects names; `add` gives their byte offsets and lengths (uint32 arrays like the names)."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint8]] = []
        self._size = 0

    def add(self, names: Strings | Sequence[str]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        text = encode(names)
        width = text.itemsize
        letters = np.zeros((len(text), width + 1), np.uint8)
        letters[:, :width] = text.view(np.uint8).reshape(len(text), width)
        size = (letters != 0).sum(axis=1, dtype=np.uint32)
        offset = self._size + np.concatenate([[0], np.cumsum(size[:-1].astype(np.int64) + 1)])[: len(text)]
        part = letters[np.arange(width + 1) <= size[:, None]]
        self._parts.append(part)
        self._size += len(part)
        return offset.astype(np.uint32), size

    def blob(self) -> npt.NDArray[np.uint8]:
        return np.concatenate([np.empty(0, np.uint8), *self._parts])


def encode(names: Strings | Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Names as UTF-8 in fixed-width bytes, contiguous; sorting them is sorting by strcmp."""
    array = np.ascontiguousarray(names, dtype=np.str_)
    if not array.size or not array.itemsize:
        return np.zeros(array.shape, "S1")
    code = array.view(np.uint32).reshape(len(array), -1)
    if int(code.max()) < 128:  # one byte a letter: five times faster than encoding name by name
        return code.astype(np.uint8).view(f"S{code.shape[1]}").ravel()
    return np.ascontiguousarray(np.char.encode(array, "utf-8"))
