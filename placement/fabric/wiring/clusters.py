# SPDX-License-Identifier: Apache-2.0
# P pair (member, hub)   M member   B hub
"""Which members belong together because they share most of their hubs: leafs of a pod by spines, leafs of a rack group by
hosts.

A few wrong cables must not join two groups, so groups are formed by majority, not by reachability.
"""

from __future__ import annotations

import numpy as np

from placement.fabric.wiring.ends import vote
from placement.ir._array import Ints

ROUNDS = 4


def clusters(member_P: Ints, hub_P: Ints, num_members: int, num_hubs: int) -> tuple[Ints, Ints]:
    """Group of each member and of each hub; -1 for those without a pair. Groups are numbered by their first member.

    Pairs may repeat; each counts once. Time is linear in the pairs.
    """
    pair_P = np.unique(member_P * max(num_hubs, 1) + hub_P) if len(member_P) else np.zeros(0, np.int64)
    member_P, hub_P = pair_P // max(num_hubs, 1), pair_P % max(num_hubs, 1)
    group_B = _first_pass(member_P, hub_P, num_hubs)
    group_M: Ints = np.full(num_members, -1, np.int64)
    for _ in range(ROUNDS):
        before_M = group_M
        group_M = _majority(member_P, group_B[hub_P], num_members)
        group_B = _majority(hub_P, group_M[member_P], num_hubs)
        if np.array_equal(before_M, group_M):
            break
    return _numbered(group_M, group_B)


def _first_pass(member_P: Ints, hub_P: Ints, num_hubs: int) -> Ints:
    """Members in order: join the group that holds at least half of one's hubs, or found a new one."""
    group_B = np.full(num_hubs, -1, np.int64)
    if not len(member_P):
        return group_B
    starts = np.flatnonzero(np.r_[True, member_P[1:] != member_P[:-1]])
    fresh = 0
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(member_P)], strict=True):
        hubs = hub_P[start:stop]
        known = group_B[hubs]
        seen = known[known >= 0]
        best = int(np.bincount(seen).argmax()) if len(seen) else -1
        if best < 0 or 2 * int((seen == best).sum()) < len(hubs):
            best, fresh = fresh, fresh + 1
        group_B[hubs[known < 0]] = best
    return group_B


def _majority(of_P: Ints, group_P: Ints, size: int) -> Ints:
    votes = vote(of_P, group_P)
    out = np.full(size, -1, np.int64)
    out[votes.key_K] = votes.value_K
    return out


def _numbered(group_M: Ints, group_B: Ints) -> tuple[Ints, Ints]:
    """The same groups, numbered 0, 1, ... by first member; hubs of groups without members get -1."""
    used, first = np.unique(group_M[group_M >= 0], return_index=True)
    rank = np.empty(len(used), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(used))
    lookup = np.full(int(max(group_M.max(initial=-1), group_B.max(initial=-1))) + 2, -1, np.int64)
    lookup[used] = rank
    return lookup[group_M], lookup[group_B]
