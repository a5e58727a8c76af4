# SPDX-License-Identifier: Apache-2.0
# H host   K number column of a name
"""Host lists as Slurm writes them: `rack[0001-3056]-tray[01-18]` <-> an array of names.

>>> expand("n[08-11],login").tolist()
['n08', 'n09', 'n10', 'n11', 'login']
>>> fold(["n10", "n08", "n11", "n09", "login"])
'login,n[08-11]'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

Strings = npt.NDArray[np.str_]
MAX_NAMES = 4_000_000  # twice the hosts of a million-GPU cluster of four-GPU nodes, with room
Piece = str | list[tuple[int, int, int]]  # text, or ranges (first, last, width)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?\Z", re.ASCII)


class HostlistError(ValueError):
    """A host list that cannot be read. `message` without advice, `help` with it."""

    def __init__(self, message: str, help: str = "") -> None:
        self.message, self.help = message, help
        super().__init__(f"{message}; {help}" if help else message)


def expand(text: str, most: int = MAX_NAMES) -> Strings:
    """Names of a host list, in the order written. Raises HostlistError; refuses more than `most` names before making them."""
    parts = [_pieces(item) for item in _split(text)]
    total = sum(_size(p) for p in parts)
    if total > most:
        raise HostlistError(f"the list names {total:,} objects, more than {most:,}")
    return np.concatenate([names for plain, run in groupby(parts, _is_plain) for names in _expanded(plain, run)])


def _is_plain(pieces: Sequence[Piece]) -> bool:
    """A name without ranges."""
    return len(pieces) == 1 and isinstance(pieces[0], str)


def _expanded(plain: bool, run: Iterable[Sequence[Piece]]) -> list[Strings]:
    """Names of items in a row that are all plain, or all have ranges: thousands of plain ones are one array."""
    return [np.array([pieces[0] for pieces in run])] if plain else [_product(pieces) for pieces in run]


def _split(text: str) -> list[str]:
    """Items between the commas that are outside of brackets."""
    items, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if depth not in (0, 1):
            raise HostlistError(f"brackets do not match in `{_short(text)}`", "write ranges as `n[00-15,20]`")
        if char == "," and depth == 0:
            items.append(text[start:at].strip())
            start = at + 1
    items.append(text[start:].strip())
    if depth:
        raise HostlistError(f"a bracket is not closed in `{_short(text)}`", "write ranges as `n[00-15,20]`")
    if not all(items):
        raise HostlistError(f"an empty name in `{_short(text)}`", "remove the extra comma" if "," in text else "")
    return items


def _pieces(item: str) -> list[Piece]:
    """`rack[1-2]-x` -> ["rack", [(1, 2, 1)], "-x"]."""
    if "[" not in item and "]" not in item:
        return [item]
    out: list[Piece] = []
    for index, part in enumerate(re.split(r"[\[\]]", item)):
        if index % 2:
            out.append([_range(r.strip(), item) for r in part.split(",")])
        elif part:
            out.append(part)
    return out


def _range(text: str, item: str) -> tuple[int, int, int]:
    match = _RANGE.match(text)
    if not match or len(text) > 40:
        raise HostlistError(f"`{_short(text)}` is not a range in `{_short(item)}`", "write ranges as `n[00-15,20]`")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise HostlistError(f"the range {match[1]}-{match[2]} runs backwards", f"write `{match[2]}-{match[1]}`")
    return first, last, len(match[1])


def _size(pieces: Sequence[Piece]) -> int:
    total = 1
    for piece in pieces:
        total *= 1 if isinstance(piece, str) else sum(last - first + 1 for first, last, _ in piece)
    return total


def _product(pieces: Sequence[Piece]) -> Strings:
    names: Strings = np.array([""])
    for piece in pieces:
        column = np.array([piece]) if isinstance(piece, str) else np.concatenate([numbers(*r) for r in piece])
        names = np.strings.add(names[:, None], column[None, :]).ravel()
    return names


def numbers(first: int, last: int, width: int) -> Strings:
    """The numbers first..last as text, zero-padded to `width`."""
    return np.strings.zfill(np.arange(first, last + 1).astype(np.str_), width)


def fold(names: Iterable[str] | Strings, most: int | None = None) -> str:
    """The shortest plain host list of a set of names, sorted; the opposite of `expand`. Duplicates count once.

    `most`: cut after that many characters, with the number of names that are left out, for people.
    """
    array = np.asarray(names if isinstance(names, np.ndarray) else list(names), dtype=np.str_)
    if not bool((array[:-1] < array[1:]).all()):  # hosts of a cluster are in order as a rule
        array = np.unique(array)
    if array.size == 0:
        return ""
    items = [item for shape in _shapes(array) for item in _fold_shape(*shape)]
    text = ",".join(_join_widths(items))
    if most is None or len(text) <= most:
        return text
    return f"{text[:most].rsplit(',', 1)[0]},… ({array.size:,} in all)"


def _shapes(names: Strings) -> list[tuple[str, npt.NDArray[np.int64], list[int]]]:
    """Names grouped by their text around numbers: (template with one NUL per number, numbers (H, K), widths K).

    Columns of digits are found once per group, so that 55,008 names cost a handful of array operations. Numbers of more
    than 18 digits stay text.
    """
    length = names.dtype.itemsize // 4
    code_HL = names.view(np.uint32).reshape(len(names), length)
    digit_HL = (code_HL >= ord("0")) & (code_HL <= ord("9"))
    shape_HL = np.where(digit_HL, ord("0"), code_HL).astype(np.uint32)
    shapes, group_H = np.unique(np.ascontiguousarray(shape_HL).view(f"U{length}").ravel(), return_inverse=True)
    out: list[tuple[str, npt.NDArray[np.int64], list[int]]] = []
    for index, shape in enumerate(shapes):
        rows = code_HL[group_H == index].astype(np.int64) - ord("0")
        plain = not digit_HL[group_H == index].any()
        runs = [] if plain else [m.span() for m in re.finditer("0+", str(shape)) if m.end() - m.start() <= 18]
        columns = [rows[:, a:b] @ 10 ** np.arange(b - a - 1, -1, -1) for a, b in runs]
        template, at = "", 0
        for a, b in runs:
            template, at = template + str(shape)[at:a] + "\0", b
        value_HK = np.stack(columns, axis=1) if columns else np.zeros((len(rows), 0), np.int64)
        if any(len(m) > 18 for m in re.findall("0+", str(shape))):
            out += [(str(name), np.zeros((1, 0), np.int64), []) for name in names[group_H == index]]
        else:
            out.append((template + str(shape)[at:], value_HK, [b - a for a, b in runs]))
    return out


def _fold_shape(template: str, value_HK: npt.NDArray[np.int64], widths: list[int]) -> list[str]:
    """Host lists of names that differ in their numbers only: fold the last column, then the one before, and so on."""
    if not widths:
        return [template]
    rows: dict[tuple[int, ...], str] = {}
    value_HK = value_HK[np.lexsort(value_HK.T[::-1])]
    lead_HK, last_H = value_HK[:, :-1], value_HK[:, -1]
    starts = np.flatnonzero(np.r_[True, (lead_HK[1:] != lead_HK[:-1]).any(axis=1)])
    known: dict[bytes, str] = {}  # racks are alike
    for lead, start, stop in zip(lead_HK[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(last_H)], strict=True):
        key = last_H[start:stop].tobytes()
        if key not in known:
            known[key] = _ranges(last_H[start:stop], widths[-1])
        rows[tuple(lead)] = known[key]
    folded: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
    for lead, text in rows.items():
        folded.setdefault((text,), []).append(lead)
    for k in range(len(widths) - 2, -1, -1):
        wider: dict[tuple[str, ...], list[tuple[int, ...]]] = {}
        for tail, leads in folded.items():
            groups: dict[tuple[int, ...], list[int]] = {}
            for lead in leads:
                groups.setdefault(lead[:-1], []).append(lead[-1])
            for head, values in groups.items():
                wider.setdefault((_ranges(np.array(sorted(values)), widths[k]), *tail), []).append(head)
        folded = wider
    return sorted(_fill(template, tail) for tail in folded)


def _ranges(values: npt.NDArray[np.int64], width: int) -> str:
    """Ascending numbers as `[01-18,20]`, or bare when there is one."""
    spans: list[list[int]] = []
    for value in values.tolist():
        if spans and spans[-1][1] == value - 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    parts = [f"{a:0{width}}" if a == b else f"{a:0{width}}-{b:0{width}}" for a, b in spans]
    return parts[0] if len(values) == 1 else "[" + ",".join(parts) + "]"


def _fill(template: str, columns: tuple[str, ...]) -> str:
    pieces = template.split("\0")
    return pieces[0] + "".join(c + p for c, p in zip(columns, pieces[1:], strict=True))


def _join_widths(items: list[str]) -> list[str]:
    """`n[8-9]`, `n[10-12,99]`, `n100` -> `n[8-12,99-100]`: numbers without leading zeros are one list, whatever their width."""
    natural: dict[tuple[str, str], list[tuple[int, int]]] = {}
    out = []
    for item in items:
        match = _ONE.match(item)
        ranges = [r.partition("-") for r in (match[2] or match[3]).split(",")] if match else []
        if match and all(first == "0" or first[0] != "0" for first, _, _ in ranges):
            spans = [(int(first), int(last or first)) for first, _, last in ranges]
            natural.setdefault((match[1], match[4]), []).extend(spans)
        else:
            out.append(item)
    return sorted(out + [before + _joined(sorted(spans)) + after for (before, after), spans in natural.items()])


_ONE = re.compile(r"([^\[\]\d]*)(?:\[([\d,-]+)\]|(\d{1,18}))([^\[\]\d]*)\Z", re.ASCII)


def _joined(spans: list[tuple[int, int]]) -> str:
    """Ascending ranges, neighbours joined, as `[8-12,99]` or a bare number."""
    joined: list[tuple[int, int]] = []
    for first, last in spans:
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    text = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in joined)
    return text if text.isdigit() else f"[{text}]"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
