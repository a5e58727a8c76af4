# SPDX-License-Identifier: Apache-2.0
"""Ranks of a stage written in digits along which the axes run, as far as their strides nest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.ir import Term, Traffic
from placement.passes.contract import Ranks

KINDS = ("ring", "path", "clique")


@dataclass(frozen=True)
class Digits:
    """Marks 1 = m_0 | m_1 | ... | ranks of a stage: digit i of a rank of a stage is rank // m_i % (m_{i+1} / m_i).

    `terms` run along digits; `loose` ones do not, and are bounded by themselves.
    """

    marks: tuple[int, ...]
    terms: tuple[Term, ...]
    loose: tuple[Term, ...]

    @property
    def inside(self) -> list[tuple[Term, bool]]:
        """Terms within a stage, and whether each runs along digits."""
        return [(t, True) for t in self.terms if t.kind != "path"] + [(t, False) for t in self.loose]

    def home(self, strategy: Ranks, term: Term) -> int:
        """Smallest mark that holds whole communicators of a term."""
        return min(m for m in self.marks if m % (strategy.size(term.axis) * strategy.stride(term.axis)) == 0)


def ways(strategy: Ranks, traffic: Traffic) -> list[Digits]:
    """Ways to write ranks in digits that suit as many terms as possible; the others are bounded apart."""
    terms = [t for t in traffic.terms if t.kind in KINDS]
    by_weight = sorted(terms, key=lambda t: -float(t.bytes_P.sum()))
    outward = sorted(terms, key=lambda t: -strategy.stride(t.axis) * strategy.size(t.axis))
    return list({d.marks: d for d in (_digits(strategy, order) for order in (by_weight, outward))}.values())


def _digits(strategy: Ranks, order: Sequence[Term]) -> Digits:
    marks = {1, strategy.stage_ranks}
    solid: list[tuple[int, int]] = []
    for term in order:
        n, stride = strategy.size(term.axis), strategy.stride(term.axis)
        want = {stride, n * stride} if term.kind != "path" else set()
        if term.kind == "clique" and stride > 1 and any(stride < m < n * stride for m in marks):
            continue
        grown = marks | {w for w in want if all(w % m == 0 or m % w == 0 for m in marks)}
        if any(low < m < high for low, high in solid for m in grown):
            continue
        marks = grown
        if term.kind == "clique" and stride > 1 and want <= marks:
            solid.append((stride, n * stride))
    for term in order:
        marks |= _joint(strategy, term, marks)
    chain = tuple(sorted(marks))
    fits = [_fits(strategy, t, chain) for t in order]
    return Digits(chain, *(tuple(t for t, ok in zip(order, fits, strict=True) if ok is want) for want in (True, False)))


def _joint(strategy: Ranks, term: Term, marks: set[int]) -> set[int]:
    """For a ring that starts between two marks: the smallest number of ranks at which its links nest with them."""
    stride = strategy.stride(term.axis)
    if term.kind != "ring" or stride in marks:
        return set()
    joint = [int(np.lcm(m, stride)) for m in marks]
    return set(sorted(j for j in joint if j in marks or all(j % m == 0 or m % j == 0 for m in marks))[:1])


def _fits(strategy: Ranks, term: Term, marks: tuple[int, ...]) -> bool:
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if term.kind == "path":
        return True
    if term.kind == "clique":
        return stride in marks and n * stride in marks and (stride == 1 or not any(stride < m < n * stride for m in marks))
    return n * stride in marks and any(m % stride == 0 for m in marks if m < n * stride)
