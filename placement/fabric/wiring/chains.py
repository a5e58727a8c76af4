# SPDX-License-Identifier: Apache-2.0
# Q expected cable   X actual cable
"""Expected against actual, socket by socket: deviations that share a socket have one cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.ends import distinct, find
from placement.ir._array import Ints


@dataclass(frozen=True)
class Chain:
    """Deviations with one cause: indices of the expected cables that are not there and of the actual ones that are not
    expected.
    """

    expected: tuple[int, ...]
    actual: tuple[int, ...]


def chains(expected_QE: Ints, actual_XE: Ints) -> list[Chain]:
    """Compare two sets of cables, each an (n, 2) array of socket numbers: lower end, upper end. A negative socket matches
    nothing else.

    Each expected cable counts once; so does each actual one. In order of the first deviation.
    """
    size = int(max(expected_QE.max(initial=0), actual_XE.max(initial=0))) + 1
    want, have = _code(expected_QE, size), _code(actual_XE, size)
    lost = np.flatnonzero(find(distinct(have), want) < 0)
    odd = np.flatnonzero(find(distinct(want), have) < 0)
    lost_sockets, odd_sockets = expected_QE[lost].tolist(), actual_XE[odd].tolist()
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent.setdefault(x, x) != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for a, b in [*lost_sockets, *odd_sockets]:
        parent[root(a)] = root(b)
    groups: dict[int, tuple[list[int], list[int]]] = {}
    for index, (a, _) in zip(lost.tolist(), lost_sockets, strict=True):
        groups.setdefault(root(a), ([], []))[0].append(index)
    for index, (a, _) in zip(odd.tolist(), odd_sockets, strict=True):
        groups.setdefault(root(a), ([], []))[1].append(index)
    return [Chain(tuple(e), tuple(a)) for e, a in groups.values()]


def _code(socket_QE: Ints, size: int) -> Ints:
    """One integer a cable; unknown (negative) sockets give each its own."""
    plain = socket_QE[:, 0] * size + socket_QE[:, 1] if len(socket_QE) else np.zeros(0, np.int64)
    return np.where((socket_QE < 0).any(axis=1), -1 - np.arange(len(socket_QE)), plain)
