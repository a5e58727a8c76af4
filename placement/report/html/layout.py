# SPDX-License-Identifier: Apache-2.0
# N node   D NVLink domain   T tier   J group of a tier
"""Where each GPU is drawn: slots in a node, nodes in a rack, racks in the groups of the fabric, one unit a GPU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from placement.ir import Cluster
from placement.ir._array import Ints

ASPECT = 1.7  # of every block of groups, and so of the whole map


@dataclass(frozen=True)
class Layout:
    """Units: one GPU is 1 x 1. `box_T[t]` (J, 4): x, y, width, height of each group of tier t.

    A node is `node_wide` x `node_high` slots, row by row; node n starts at `x_N[n]`, `y_N[n]`.
    """

    width: int
    height: int
    node_wide: int
    node_high: int
    x_N: Ints
    y_N: Ints
    box_T: tuple[Ints, ...]


def layout(cluster: Cluster) -> Layout:
    """The map of a cluster. Groups of one tier all take the room of the largest, so equal things look equal."""
    gpus, tiers = cluster.gpus_per_node, cluster.tiers
    row_N, rows = _position(tiers[0].group_N)
    wide = gpus if rows > 2 or gpus <= 4 else 4
    high = -(-gpus // wide)
    size = [(wide, rows * high)]
    parents = [*cluster.parent_TJ[1:]]
    at: list[Ints] = []  # offset of each group inside its parent, by tier
    child_of_J = np.arange(tiers[0].num_groups)
    for t, parent_D in enumerate(parents, 1):
        parent_J = np.zeros(tiers[t - 1].num_groups, np.int64)
        parent_J[child_of_J] = parent_D
        at.append(_pack(parent_J, size[-1], t, size))
        child_of_J = parent_D.astype(np.int64)
    at.append(_pack(np.zeros(tiers[-1].num_groups, np.int64), size[-1], len(tiers), size))
    corner: list[Ints] = [np.zeros((1, 2), np.int64)]
    above = [np.zeros(tiers[-1].num_groups, np.int64)]
    for t in range(len(tiers) - 1, 0, -1):
        up = np.zeros(tiers[t - 1].num_groups, np.int64)
        up[cluster.parent_TJ[t - 1]] = cluster.parent_TJ[t]
        above.append(up)
    for up_J, offset_J in zip(above, reversed(at), strict=True):
        corner.append(corner[-1][up_J] + offset_J)
    corner_T = corner[:0:-1]
    boxes = tuple(np.column_stack([c, np.broadcast_to(np.array(s), c.shape)]) for c, s in zip(corner_T, size[:-1], strict=True))
    start_N2 = corner_T[0][tiers[0].group_N]
    return Layout(size[-1][0], size[-1][1], wide, high, start_N2[:, 0], start_N2[:, 1] + row_N * high, boxes)


def _pack(parent_J: Ints, size: tuple[int, int], level: int, sizes: list[tuple[int, int]]) -> Ints:
    """Offsets of children, in rows inside their parents; appends the size of a parent to `sizes`."""
    order_J, most = _position(parent_J)
    gap = 2 * level - 1
    wide, high = size[0] + gap, size[1] + gap
    columns = min(range(1, most + 1), key=lambda k: (abs(math.log(k * wide / (-(-most // k) * high) / ASPECT)), k))
    sizes.append((columns * wide + gap, -(-most // columns) * high + gap))
    return np.array([gap + order_J % columns * wide, gap + order_J // columns * high], np.int64).T


def _position(group_X: Ints) -> tuple[Ints, int]:
    """Position of each item among those of its group, in order; and the size of the largest group."""
    order = np.argsort(group_X, kind="stable")
    count = np.bincount(group_X)
    first = np.cumsum(count) - count
    place = np.empty(len(group_X), np.int64)
    place[order] = np.arange(len(group_X)) - np.repeat(first, count)
    return place, int(count.max(initial=1))
