# SPDX-License-Identifier: Apache-2.0
# R rank   J group of a tier   H slice of ranks along which one axis runs
"""What leaves the groups of a tier: ring edges, stage boundaries and all-to-all shares, counted by group.

An axis of `size` n and `stride` s runs down the middle of ranks reshaped to (H, n, s) (`Strategy.groups`). Consecutive ranks
that sit in one group are merged to one *block* before anything is counted, so the cost follows the number of cells and not of
GPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from placement.ir import Cluster, Placement, Strategy
from placement.ir._array import Floats, Ints


class Staged(Protocol):
    """What stage boundaries depend on."""

    @property
    def schedule(self) -> str: ...
    @property
    def chunk_stage(self) -> Ints: ...


@dataclass(frozen=True)
class TierView:
    """Groups of the ranks at one tier, one entry for each `unit` consecutive ranks. `block`: a number of aligned consecutive
    ranks that always share a group.
    """

    group_U: Ints
    unit: int
    block: int
    num_groups: int

    def sample(self, width: int) -> Ints:
        """Group of every width-th rank; `width` divides `unit` or is a multiple of it."""
        if width >= self.unit:
            return self.group_U[:: width // self.unit]
        return np.asarray(np.repeat(self.group_U, self.unit // width))


@dataclass(frozen=True)
class Axis:
    """Blocks of ranks arranged along one axis: `group_HnX` (H, n, stride / width), each block standing for `width` ranks."""

    group_HnX: Ints
    width: int
    num_groups: int

    @property
    def size(self) -> int:
        return int(self.group_HnX.shape[1])


def view(cluster: Cluster, placement: Placement, tier: int) -> TierView:
    """Groups of the ranks at a tier; O(world)."""
    facts = cluster.tiers[tier]
    group_R = facts.group_N.astype(np.int32)[placement.gpu_R // cluster.gpus_per_node]
    starts = np.flatnonzero(group_R[1:] != group_R[:-1]) + 1
    return TierView(group_R, 1, int(np.gcd.reduce(starts, initial=len(group_R))), facts.num_groups)


def along(view: TierView, strategy: Strategy, axis: str) -> Axis | None:
    """The axis in blocks, or None when no communicator of it leaves a group of this tier."""
    n, stride = strategy.size(axis), strategy.stride(axis)
    if n == 1 or view.block % (n * stride) == 0:
        return None
    width = int(np.gcd(view.block, stride))
    group_HnX = view.sample(width).reshape(-1, n, stride // width)
    if bool((group_HnX == group_HnX[:, :1]).all()):
        return None
    return Axis(group_HnX, width, view.num_groups)


def ring_load(axis: Axis, weight_H: Floats | None = None) -> Floats:
    """Ring edges (member i to i+1, closed) that leave each group: (J,). As many enter. `weight_H` scales the slices."""
    here, there = axis.group_HnX, np.roll(axis.group_HnX, -1, axis=1)
    return _count(axis, here, here != there, weight_H)


def path_load(axis: Axis, edges: list[tuple[int, int]], weight_E: Floats | None = None) -> tuple[Floats, Floats]:
    """Directed edges between members (from, to) that leave, and that enter, each group: two (J,) arrays."""
    from_E, to_E = np.array(edges, np.int64).reshape(-1, 2).T
    here, there = axis.group_HnX[:, from_E], axis.group_HnX[:, to_E]
    cut = here != there
    if weight_E is None or bool((weight_E == weight_E[:1]).all()):
        weight = axis.width * (1.0 if weight_E is None or not len(weight_E) else float(weight_E[0]))
        loads = [np.asarray(weight * np.bincount(side[cut], minlength=axis.num_groups), float) for side in (here, there)]
    else:
        weights = np.broadcast_to(weight_E[:, None], here.shape)[cut] * axis.width
        loads = [np.asarray(np.bincount(side[cut], weights, axis.num_groups), float) for side in (here, there)]
    return loads[0], loads[1]


def clique_load(axis: Axis, weight_H: Floats | None = None) -> Floats:
    """All-to-all: sum over members in each group of the share of their n-1 peers that sit outside: (J,)."""
    group_K, count_K, row_K = pieces(axis)
    share_K = count_K * (axis.size - count_K) * (axis.width / (axis.size - 1))
    if weight_H is not None:
        share_K = share_K * weight_H[row_K // axis.group_HnX.shape[2]]
    return np.asarray(np.bincount(group_K, weights=share_K, minlength=axis.num_groups), float)


def touch_load(axis: Axis, weight_H: Floats | None = None) -> Floats:
    """Collectives in the order of the fabric: communicators that each group touches and does not hold whole: (J,)."""
    group_K, count_K, row_K = pieces(axis)
    lines_K = np.where(count_K < axis.size, float(axis.width), 0.0)
    if weight_H is not None:
        lines_K = lines_K * weight_H[row_K // axis.group_HnX.shape[2]]
    return np.asarray(np.bincount(group_K, weights=lines_K, minlength=axis.num_groups), float)


def fewest_members(axis: Axis) -> int:
    """Smallest number of members of one communicator that share a group."""
    return int(pieces(axis)[1].min())


def pieces(axis: Axis) -> tuple[Ints, Ints, Ints]:
    """(group, members, row) of every pair of a communicator and a group it touches; row = slice * X + column."""
    rows = np.sort(np.moveaxis(axis.group_HnX, 1, 2).reshape(-1, axis.size), axis=1)
    first = np.empty(rows.shape, bool)
    first[:, 0] = True
    np.not_equal(rows[:, 1:], rows[:, :-1], out=first[:, 1:])
    start_K = np.flatnonzero(first)
    return np.asarray(rows.ravel()[start_K]), np.diff(start_K, append=rows.size), start_K // axis.size


def boundaries(strategy: Staged) -> list[tuple[int, int]]:
    """Pairs of stages (from, to) that exchange activations, each once, in order of chunks.

    Interleaved schedules also send from the last stage to the first. The second arm of a V runs back over the pairs of the
    first.
    """
    return list(dict.fromkeys(chunk_edges(strategy)))


def chunk_edges(strategy: Staged) -> list[tuple[int, int]]:
    """(from, to) stages of consecutive chunks that sit in different stages; along the second arm of a V, (to, from)."""
    stage_C = strategy.chunk_stage.tolist()
    pairs = [(a, b) for a, b in pairwise(stage_C) if a != b]
    back = strategy.schedule in ("zb-v", "dualpipev")
    return [(min(p), max(p)) if back else p for p in pairs]


def chunk_boundaries(strategy: Staged) -> npt.NDArray[np.int64]:
    """Stage boundary, named by the stage before it, that lies between each chunk and the next, (C - 1,); inside a stage any."""
    stage_C = np.asarray(strategy.chunk_stage)
    back = strategy.schedule in ("zb-v", "dualpipev")
    return np.asarray(np.minimum(stage_C[:-1], stage_C[1:]) if back else stage_C[:-1], dtype=np.int64)


def _count(axis: Axis, group_HnX: Ints, mask_HnX: np.ndarray, weight_H: Floats | None) -> Floats:
    found = group_HnX[mask_HnX]
    if weight_H is None:
        return np.asarray(np.bincount(found, minlength=axis.num_groups) * float(axis.width))
    weights = np.broadcast_to(weight_H[:, None, None], group_HnX.shape)[mask_HnX]
    return np.asarray(np.bincount(found, weights=weights, minlength=axis.num_groups) * axis.width, float)
