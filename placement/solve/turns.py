# SPDX-License-Identifier: Apache-2.0
# R ring   K kind of groups   J region
"""Rings laid into groups by turns: a plain layout for the search for fewer arcs (`solve/arcs.py`) to begin with.

Rings with the same regions go round them together, a member of each in turn, so that all leave a region at the same place; then
ring after ring fills the groups of a region, and the group in which one ends is where the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True)
class Ring:
    """`length` members; `regions` that its arcs may lie in, in the order in which it goes round them. `weight`: of its arcs."""

    length: int
    regions: tuple[int, ...]
    weight: int = 1


@dataclass(frozen=True)
class Kind:
    """`count` equal groups of one region, each with room for so many members."""

    region: int
    room: int
    count: int


@dataclass(frozen=True)
class Arc:
    """Members of a ring in one group: `group` counts the groups of `kind`."""

    kind: int
    group: int
    members: int


def turns(rings: Sequence[Ring], kinds: Sequence[Kind]) -> list[list[Arc]] | None:
    """Arcs of every ring, at most two neighbours in a group; None where that does not fit."""
    arcs: list[list[Arc]] = [[] for _ in rings]
    room = {j: sum(k.room * k.count for k in kinds if k.region == j) for j in regions(rings)}
    part: dict[tuple[int, int], int] = {}
    first = 0
    for at, run in groupby(rings, key=lambda ring: ring.regions):
        row = list(run)
        later = regions(rings[first + len(row) :])
        left = sum(ring.length for ring in row)
        for j in sorted(at, key=lambda j: j in later):
            taken = min(room[j], left)
            room[j] -= taken
            part |= {(first + s, j): n for s, n in enumerate(_shares(row, left, taken))}
            left -= taken
        first += len(row)
        if left:
            return None
    return arcs if all(_fill(arcs, part, kinds, j) for j in room) else None


def regions(rings: Sequence[Ring]) -> set[int]:
    return {j for ring in rings for j in ring.regions}


def _shares(row: Sequence[Ring], left: int, taken: int) -> Iterator[int]:
    """How many of the next `taken` turns each ring has, `left` turns before the end of all."""
    done = sum(ring.length for ring in row) - left
    for s in range(len(row)):
        yield len(range((s - done) % len(row), taken, len(row)))


def _fill(arcs: list[list[Arc]], part: dict[tuple[int, int], int], kinds: Sequence[Kind], region: int) -> bool:
    """Lay what the rings have in one region, in order; whether that fits."""
    free = ((k, g) for k, kind in enumerate(kinds) if kind.region == region for g in range(kind.count))
    half: Arc | None = None  # the group in which the ring before ended, and its places left
    for r, mine in enumerate(arcs):
        left = part.get((r, region), 0)
        if half and left:
            mine.append(Arc(half.kind, half.group, min(left, half.members)))
            left -= mine[-1].members
        half = None
        while left:
            k, g = next(free, (-1, -1))
            if k < 0:
                return False
            mine.append(Arc(k, g, min(left, kinds[k].room)))
            left -= mine[-1].members
            half = Arc(k, g, kinds[k].room - mine[-1].members)
            half = half if half.members else None
    return True
