# SPDX-License-Identifier: Apache-2.0
"""Read-only numpy arrays and digests, shared by every frozen type of this room."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64] | npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Strings = npt.NDArray[np.str_]


def freeze(value: object) -> None:
    """Make every array field of a frozen dataclass read-only; called from `__post_init__`."""
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if isinstance(item, np.ndarray):
            item.setflags(write=False)


def distinct(values: Ints) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different values, ascending, and which of them each is: `np.unique` of small integers >= 0, without sorting.

    >>> [a.tolist() for a in distinct(np.array([5, 2, 5]))]
    [[2, 5], [1, 0, 1]]
    """
    seen = np.bincount(values) > 0
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[values]


def digest(*values: Any) -> str:
    """SHA-256 (hex) of arrays, scalars, strings, mappings, sequences and frozen dataclasses, by content."""
    h = hashlib.sha256()
    for value in values:
        _feed(h, value)
    return h.hexdigest()


def _feed(h: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        h.update(f"array {value.dtype.str} {value.shape}".encode())
        h.update(np.ascontiguousarray(value).tobytes())
    elif dataclasses.is_dataclass(value):
        h.update(type(value).__name__.encode())
        for field in dataclasses.fields(value):
            if field.compare:
                h.update(field.name.encode())
                _feed(h, getattr(value, field.name))
    elif isinstance(value, dict):
        h.update(f"map {len(value)}".encode())
        for key in sorted(value):
            h.update(str(key).encode())
            _feed(h, value[key])
    elif isinstance(value, tuple | list):
        h.update(f"seq {len(value)}".encode())
        for item in value:
            _feed(h, item)
    else:
        h.update(f"{type(value).__name__} {value!r};".encode())
