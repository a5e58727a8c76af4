# SPDX-License-Identifier: Apache-2.0
# D NVLink domain   T tier   J group of a tier
"""What units could not keep, laid over the places that are left: near first, whole where that fits, the largest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from placement.ir._array import Ints
from placement.passes.fill import Run, deal


@dataclass(frozen=True)
class Piece:
    """Cells start to start + length of a unit, whose seat is in domain `home`. `beside`: the group of domains that it should go
    to if it leaves that of its home, as what it exchanges most with is there; -1 for none.
    """

    unit: int
    start: int
    length: int
    home: int
    beside: int = -1


Laid = tuple[Piece, int]  # a piece and its domain


def lay(pieces: Sequence[Piece], free_D: Ints, parent_TD: Ints, ladder: tuple[int, ...]) -> Iterator[Laid]:
    """Domains of all pieces, cut where they must be. `free_D` is used up; it holds at least what there is.

    Tier by tier outwards: of a group, pieces at home in it take its places. A piece that is half a unit or more takes what
    its innermost group has left, and only the rest goes further.
    """
    free_D = free_D.copy()
    inner_D = parent_TD[min(1, len(parent_TD) - 1)]
    todo = list(pieces)
    for tier, outer_D in enumerate([*parent_TD[1:], np.zeros_like(inner_D)]):
        rest: list[Piece] = []
        yield from _tier(todo, free_D, inner_D, outer_D, ladder, tier == 0, rest)
        todo = rest
    assert not todo, "the caller checks that the cells fit"


def _tier(
    todo: Sequence[Piece], free_D: Ints, inner_D: Ints, outer_D: Ints, ladder: tuple[int, ...], first: bool, rest: list[Piece]
) -> Iterator[Laid]:  # fmt: skip
    """Lay what fits into the group of `outer_D` that each piece is at home in; the others go to `rest`."""
    inner_J = np.zeros(int(inner_D.max()) + 1, np.int64)
    np.maximum.at(inner_J, inner_D, outer_D)
    kids_J = np.split(np.argsort(inner_D, kind="stable"), np.cumsum(np.bincount(inner_D))[:-1])
    room_J = np.bincount(inner_D, weights=free_D, minlength=len(inner_J)).astype(np.int64)
    own = _own_first if first else _neighbours
    for piece in sorted(todo, key=own):
        left: Piece | None = piece
        near = np.flatnonzero(inner_J == outer_D[piece.home])
        while left is not None:
            group = _wanted(near, room_J, left)
            if group is None or (first and room_J[near[group]] < left.length and 2 * left.length <= ladder[-1]):
                rest.append(left)
                break
            j = int(near[group])
            part = min(left.length, int(room_J[j]))
            room_J[j] -= part
            yield from _group(replace(left, length=part), kids_J[j], free_D, ladder)
            left = replace(left, start=left.start + part, length=left.length - part) if part < left.length else None


def _own_first(piece: Piece) -> tuple[bool, int, int]:
    return piece.start == 0, -piece.length, piece.unit


def _neighbours(piece: Piece) -> tuple[bool, int, int]:
    return piece.beside < 0, piece.unit, piece.start


def _wanted(near: Ints, room_J: Ints, piece: Piece) -> int | None:
    """Of the groups near by, the one that the piece should be in, if it has room for all of it, or the best fit."""
    if piece.beside in near and room_J[piece.beside] >= piece.length:
        return int(np.flatnonzero(near == piece.beside)[0])
    return _best_fit(room_J[near], piece.length)


def _best_fit(room_K: Ints, length: int) -> int | None:
    """The smallest room that holds it, else the largest; None where all are full."""
    if not len(room_K) or not room_K.max():
        return None
    fits = np.flatnonzero(room_K >= length)
    return int(fits[np.argmin(room_K[fits])]) if len(fits) else int(np.argmax(room_K))


@lru_cache(maxsize=1024)
def _dealt(start: int, length: int, target: tuple[int, ...], ladder: tuple[int, ...]) -> list[list[Run]]:
    """Tails of a regular cluster are cut alike, unit by unit."""
    return deal([(start, length)], list(target), ladder, trim=True)


def _group(piece: Piece, kids: Ints, free_D: Ints, ladder: tuple[int, ...]) -> Iterator[Laid]:
    """One piece over the domains of one group: whole in one of them, or its blocks dealt over the roomiest."""
    room_K = free_D[kids]
    best = _best_fit(room_K, piece.length)
    assert best is not None
    if room_K[best] >= piece.length:
        free_D[kids[best]] -= piece.length
        yield piece, int(kids[best])
        return
    order = np.lexsort((kids, -room_K))
    target = np.diff(np.minimum(np.cumsum(room_K[order]), piece.length), prepend=0)
    parts = _dealt(piece.start, piece.length, tuple(target.tolist()), ladder)
    for k, part in zip(order.tolist(), parts, strict=True):
        for start, length in part:
            free_D[kids[k]] -= length
            yield Piece(piece.unit, start, length, piece.home), int(kids[k])
