# SPDX-License-Identifier: Apache-2.0
# P pipeline stage
"""Cells as single ranks of a smaller job: what leaves groups under placements that keep every cell in one NVLink domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from placement.ir import Strategy, Term, Traffic
from placement.ir._array import Floats, Ints


class Ranks(Protocol):
    """What bounds ask of a strategy: how its axes run over ranks (or over cells)."""

    @property
    def pp(self) -> int: ...
    @property
    def schedule(self) -> str: ...
    @property
    def stage_ranks(self) -> int: ...
    @property
    def world_size(self) -> int: ...
    @property
    def chunk_stage(self) -> Ints: ...
    def size(self, axis: str, /) -> int: ...
    def stride(self, axis: str, /) -> int: ...


@dataclass(frozen=True)
class Cells:
    """A strategy seen cell by cell. `runs`: size and stride of each axis that leaves cells, in cells."""

    strategy: Strategy
    cell: int
    runs: Mapping[str, tuple[int, int]]

    @property
    def pp(self) -> int:
        return self.strategy.pp

    @property
    def schedule(self) -> str:
        return self.strategy.schedule

    @property
    def stage_ranks(self) -> int:
        return self.strategy.stage_ranks // self.cell

    @property
    def world_size(self) -> int:
        return self.strategy.world_size // self.cell

    @property
    def chunk_stage(self) -> Ints:
        return self.strategy.chunk_stage

    def size(self, axis: str, /) -> int:
        return self.runs[axis][0]

    def stride(self, axis: str, /) -> int:
        return self.runs[axis][1]


def contracted(strategy: Strategy, traffic: Traffic, cell: int) -> tuple[Cells, Traffic] | None:
    """The job of cells, and the bytes between them; None where cells do not tile a stage.

    Terms whose communicators nest neither inside cells nor around them are left out: bounds stay valid.
    """
    if strategy.stage_ranks % cell:
        return None
    found = [_term(strategy, term, cell) for term in traffic.terms]
    kept = [f for f in found if f]
    return Cells(strategy, cell, {t.axis: run for t, run in kept}), Traffic(tuple(t for t, _ in kept))


def _term(strategy: Strategy, term: Term, cell: int) -> tuple[Term, tuple[int, int]] | None:
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if stride % cell == 0:
        return Term(term.axis, term.kind, term.bytes_P * cell), (n, stride // cell)
    if cell % stride or (n * stride) % cell or cell % (n * stride) == 0:
        return None
    members = cell // stride
    return Term(term.axis, term.kind, _together(term, n, members, stride)), (n // members, 1)


def _together(term: Term, n: int, members: int, lines: int) -> Floats:
    """Bytes that a cell sends of a term of which it holds `members` on each of `lines`: every ring has one link to the next
    cell, and every pair of an all-to-all counts.
    """
    if term.kind != "clique":
        return term.bytes_P * lines
    return term.bytes_P * (lines * members * (n - members) / (n - 1))
