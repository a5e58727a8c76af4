# SPDX-License-Identifier: Apache-2.0
# X half of a cable (one end)   C cable   D device   K distinct key
"""Half-cables as arrays, and votes over them: what most of a group do is taken for the rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir import Kind, Wired
from placement.ir._array import Ints, freeze


@dataclass(frozen=True)
class Ends:
    """Every cable seen from both ends: half `x` and half `other(x)` are one cable. Devices that are part of a switch are left
    out.
    """

    device_X: Ints
    port_X: Ints
    peer_X: Ints
    peer_port_X: Ints
    cable_X: Ints
    end_X: Ints

    def __post_init__(self) -> None:
        freeze(self)

    def other(self, x: Ints) -> Ints:
        half = len(self.device_X) // 2
        return np.where(x < half, x + half, x - half)


def ends_of(wired: Wired) -> Ends:
    """Both halves of each cable between switches, routers and adapters."""
    cable = wired.cable
    service_D = wired.device.kind_D == Kind.SERVICE
    kept_C = np.flatnonzero(~service_D[cable.device_CE].any(axis=1)) if len(cable) else np.zeros(0, np.int64)
    device_CE, port_CE = cable.device_CE[kept_C], cable.port_CE[kept_C]
    return Ends(
        np.r_[device_CE[:, 0], device_CE[:, 1]], np.r_[port_CE[:, 0], port_CE[:, 1]],
        np.r_[device_CE[:, 1], device_CE[:, 0]], np.r_[port_CE[:, 1], port_CE[:, 0]],
        np.r_[kept_C, kept_C], np.r_[np.zeros(len(kept_C), np.int64), np.ones(len(kept_C), np.int64)],
    )  # fmt: skip


@dataclass(frozen=True)
class Votes:
    """The most frequent value of each key. `of_X` index of each row's key; `count_K` votes for the winner, `total_K` of all."""

    key_K: Ints
    value_K: Ints
    count_K: Ints
    total_K: Ints
    of_X: Ints

    @property
    def winner_X(self) -> Ints:
        return self.value_K[self.of_X]


def vote(key_X: Ints, value_X: Ints) -> Votes:
    """Votes of rows by key; ties go to the smallest value.

    >>> v = vote(np.array([1, 1, 1, 2]), np.array([7, 5, 5, 9]))
    >>> v.value_K.tolist(), v.count_K.tolist(), v.total_K.tolist()
    ([5, 9], [2, 1], [3, 1])
    """
    unique, inverse = np.unique(key_X, return_inverse=True)
    key_K, of_X = np.asarray(unique, np.int64), np.asarray(inverse.ravel(), np.int64)
    if not len(key_X):
        empty = np.zeros(0, np.int64)
        return Votes(key_K, empty, empty, empty, of_X)
    order = np.lexsort((value_X, of_X))
    key, value = of_X[order], value_X[order]
    starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]) | (value[1:] != value[:-1])])
    length = np.diff(np.r_[starts, len(key)])
    best = np.lexsort((value[starts], -length, key[starts]))  # per key: most votes first
    first = np.flatnonzero(np.r_[True, np.diff(key[starts][best]) != 0])
    pick = best[first]
    return Votes(key_K, value[starts][pick], length[pick], np.bincount(of_X, minlength=len(key_K)), of_X)


def joined(*columns: Ints) -> Ints:
    """One integer for each combination of non-negative columns, ascending in the order of the columns."""
    out = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        size = int(column.max()) + 1 if len(column) else 1
        out = out * size + column
    return out


def distinct(values: Ints) -> Ints:
    """The different values, ascending."""
    return np.asarray(np.unique(values), dtype=np.int64)


def find(sorted_key: Ints, key: Ints) -> Ints:
    """Index of each key in an ascending array, -1 where it is not there."""
    if not len(sorted_key):
        return np.full(len(key), -1, np.int64)
    at = np.minimum(np.searchsorted(sorted_key, key), len(sorted_key) - 1)
    return np.where(sorted_key[at] == key, at, -1)
