# SPDX-License-Identifier: Apache-2.0
# C cell
"""What communicators move inside one unit, the largest block of consecutive cells that exchanges all with all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from placement.ir import Strategy, Term, Traffic


@dataclass(frozen=True)
class Inside:
    """`cells` of a unit; `blocks`: (ranks of a clique, its stride, bytes a member sends), `cell` ranks each.

    `ladder`: sizes in cells of the blocks that are worth keeping whole. `ring_bytes`: what all ranks of a unit send over the
    rings that leave it.
    """

    cells: int
    cell: int
    blocks: tuple[tuple[int, int, float], ...]
    ladder: tuple[int, ...]
    ring_bytes: float

    def left(self, pieces: tuple[int, ...]) -> float:
        """Bytes between the pieces, in cells and in order, that a unit is cut into."""
        return _left(self, pieces)


@cache
def _left(inside: Inside, pieces: tuple[int, ...]) -> float:
    total, owner_R = 0.0, np.repeat(np.arange(len(pieces)), np.array(pieces) * inside.cell)
    for size, stride, sent_bytes in inside.blocks:
        members = owner_R.reshape(-1, size, stride).transpose(0, 2, 1).reshape(-1, size)
        row = np.arange(len(members))[:, None] * len(pieces)
        alike = np.bincount((row + members).ravel(), minlength=len(members) * len(pieces)).astype(float)
        total += float((alike * (size - alike)).sum()) * sent_bytes / (size - 1)
    return total


def inside_of(strategy: Strategy, traffic: Traffic, cell: int, room: int) -> Inside | None:
    """The unit of a strategy where domains hold at most `room` cells; None where no clique is larger than a cell."""
    cliques = [t for t in traffic.terms if t.kind == "clique" and strategy.size(t.axis) > 1]
    ranks = [_reach(strategy, t) for t in cliques if _reach(strategy, t) % cell == 0]
    fitting = [r for r in ranks if cell < r <= cell * room and strategy.stage_ranks % r == 0]
    if not fitting:
        return None
    unit = max(fitting)
    within = [t for t in cliques if unit % _reach(strategy, t) == 0]
    blocks = tuple((strategy.size(t.axis), strategy.stride(t.axis), float(t.bytes_P.mean())) for t in within)
    sizes = {size * stride // cell for size, stride, _ in blocks if size * stride % cell == 0}
    rings = sum(float(t.bytes_P.mean()) for t in traffic.terms if t.kind == "ring" and strategy.stride(t.axis) >= unit)
    return Inside(unit // cell, cell, blocks, tuple(sorted({1, *sizes})), rings * unit)


def _reach(strategy: Strategy, term: Term) -> int:
    return strategy.size(term.axis) * strategy.stride(term.axis)
