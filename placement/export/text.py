# SPDX-License-Identifier: Apache-2.0
# H host   L letter of a name
"""Text of many lines at once: a matrix of letters, no loop over ranks or hosts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Letters = npt.NDArray[np.bytes_]
Ints = npt.NDArray[np.integer]
MAX_ARGUMENT = 131_071  # bytes of one argument or variable of a program (Linux MAX_ARG_STRLEN less its NUL)
Column = npt.NDArray[np.bytes_] | npt.NDArray[np.integer] | bytes


def rows(*columns: Column) -> bytes:
    r"""Columns side by side, one row an entry; plain bytes repeat in every row.

    >>> rows(np.array([b"a", b"bc"]), b":", np.array([4, 16]), b"\n")
    b'a:4\nbc:16\n'
    """
    n = next(len(c) for c in columns if not isinstance(c, bytes))
    if not n:
        return b""
    letters = np.concatenate([_matrix(c, n) for c in columns], axis=1)
    text: bytes = letters[letters != 0].tobytes()  # NUL is the padding of fixed-width text
    return text


def _matrix(column: Column, n: int) -> npt.NDArray[np.uint8]:
    if isinstance(column, bytes):
        return np.broadcast_to(np.frombuffer(column, np.uint8), (n, len(column)))
    text = column if column.dtype.kind == "S" else column.astype(np.bytes_)
    return np.ascontiguousarray(text).view(np.uint8).reshape(n, -1)


def listed(items: Sequence[str], width: int = 100, indent: str = "    ") -> str:
    """Items with commas, broken into lines."""
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += f"{item}, "
    return "\n".join([*lines, line.rstrip()])


def slurm_lists(name_H: Letters, group_H: Ints) -> list[str]:
    """Host lists of the names of each group, groups in ascending order, as Slurm writes them.

    Slurm folds the last number of a name only: `rack0001-tray[01-18],rack0002-tray[01-18]`.

    >>> slurm_lists(np.array([b"r1-t01", b"r1-t03", b"r1-t02", b"r2-t01", b"login"]), np.array([0, 0, 0, 0, 7]))
    ['r1-t[01-03],r2-t01', 'login']
    """
    letter_HL, number_HL = _numbers(name_H)
    frame_H = _text(np.where(number_HL, 1, letter_HL))  # the width of the number is part of the frame
    value_H = _values(letter_HL, number_HL)
    order_H = np.lexsort((value_H, frame_H, group_H))
    group_H, frame_H, value_H = group_H[order_H], frame_H[order_H], value_H[order_H]
    first = np.flatnonzero(np.r_[True, (group_H[1:] != group_H[:-1]) | (frame_H[1:] != frame_H[:-1]) | (np.diff(value_H) != 1)])
    last = np.r_[first[1:], len(group_H)] - 1
    digits_H = _text(np.where(number_HL, letter_HL, 0))[order_H]  # NULs in front
    lists: dict[int, dict[bytes, list[str]]] = {}
    columns = (group_H[first].tolist(), frame_H[first].tolist(), digits_H[first].tolist(), digits_H[last].tolist())
    for group, frame, low, high in zip(*columns, strict=True):
        run = _plain(low) if low == high else f"{_plain(low)}-{_plain(high)}"
        lists.setdefault(group, {}).setdefault(frame, []).append(run)
    return [",".join(_item(frame, runs) for frame, runs in frames.items()) for frames in lists.values()]


def _plain(digits: bytes) -> str:
    return digits.strip(b"\0").decode()


def _item(frame: bytes, runs: list[str]) -> str:
    """`rack0001-tray`, `[01-18]`, and what is behind the number."""
    before, _, rest = frame.decode().partition("\1")
    text = ",".join(runs)
    return before + (f"[{text}]" if len(runs) > 1 or "-" in text else text) + rest.replace("\1", "")


def _numbers(name_H: Letters) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """Letters of the names, and which of them belong to the last number."""
    letter_HL = np.ascontiguousarray(name_H).view(np.uint8).reshape(len(name_H), -1)
    digit_HL = (letter_HL >= ord("0")) & (letter_HL <= ord("9"))
    back_HL = digit_HL[:, ::-1]
    seen_HL = np.logical_or.accumulate(back_HL, axis=1)
    ended_HL = np.logical_or.accumulate(seen_HL & ~back_HL, axis=1)
    return letter_HL, (back_HL & ~ended_HL)[:, ::-1]


def _values(letter_HL: npt.NDArray[np.uint8], number_HL: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """The last numbers, as floats: runs of more than 2^53 are not folded right, and no host has such a number."""
    value_H = np.zeros(len(letter_HL))
    for letter_H, number_H in zip(letter_HL.T, number_HL.T, strict=True):
        value_H = np.where(number_H, value_H * 10 + (letter_H - np.float64(ord("0"))), value_H)
    return value_H


def _text(letter_HL: npt.NDArray[np.integer]) -> Letters:
    return np.ascontiguousarray(letter_HL.astype(np.uint8)).view(f"S{letter_HL.shape[1]}").ravel()
