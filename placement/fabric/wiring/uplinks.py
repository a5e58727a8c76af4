# SPDX-License-Identifier: Apache-2.0
# X cable between two tiers   W lower switch   V upper switch   Q expected cable   K key of a vote
"""The rule behind the cables between two tiers of switches, learnt from the majority, and the cables that the rule expects.

Rule A: in a group of lower switches that share their upper switches (a pod, or the spines of one index), port p leads to the
same upper switch from each. Rule B: the j-th cable of a lower switch to an upper one ends at the same port number on each
upper switch. Both hold in every fabric that is cabled by a scheme; where they don't, cables per pair are all that can be
expected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.clusters import clusters
from placement.fabric.wiring.ends import Ends, find, joined, vote
from placement.ir._array import Bools, Ints, freeze

RULED = 0.7  # of the cables follow a rule, or there is no rule
MOST_PAIRS = 4_000_000
PRESENT = 0.5  # of a group's members have a cable at a port, or none is expected there


@dataclass(frozen=True)
class Boundary:
    """Cables between tier `tier` and the one above, and those that the rule expects.

    `low_X`, `port_X`, `high_X`, `peer_port_X`, `cable_X`  what is there
    `low_Q` ... `peer_port_Q`                              what is expected; peer port -1 where rule B says nothing
    `group_D`    group of each device at this boundary, -1 outside
    `ports`, `peers`  share of cables that follow rule A and rule B
    """

    tier: int
    low_X: Ints
    port_X: Ints
    high_X: Ints
    peer_port_X: Ints
    cable_X: Ints
    low_Q: Ints
    port_Q: Ints
    high_Q: Ints
    peer_port_Q: Ints
    group_D: Ints
    num_groups: int
    ruled_J: Bools
    ports: float
    peers: float

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def ruled(self) -> bool:
        """Any group follows rule A."""
        return bool(self.ruled_J.any())


def boundary(ends: Ends, tier_D: Ints, tier: int) -> Boundary | None:
    """Everything about the cables between `tier` and `tier + 1`; None if there are none."""
    rows = np.flatnonzero((tier_D[ends.device_X] == tier) & (tier_D[ends.peer_X] == tier + 1))
    if not len(rows):
        return None
    low_X, port_X, high_X, peer_X = ends.device_X[rows], ends.port_X[rows], ends.peer_X[rows], ends.peer_port_X[rows]
    size = len(tier_D)
    group_low_D, group_high_D = clusters(low_X, high_X, size, size)
    group_D = np.where(tier_D == tier, group_low_D, np.where(tier_D == tier + 1, group_high_D, -1))
    num_groups = int(group_D.max()) + 1
    known_X = (port_X >= 0) & (peer_X >= 0)
    empty: Ints = np.zeros(0, np.int64)
    ports, low_Q, port_Q, high_Q, peer_Q, peers = 0.0, empty, empty, empty, empty, 0.0
    ruled_J = np.zeros(num_groups, bool)
    if known_X.all():
        ports, ruled_J, (low_Q, port_Q, high_Q) = _rule_a(low_X, port_X, high_X, group_D, tier_D == tier)
        peer_Q, peers = _rule_b(low_X, port_X, high_X, peer_X, low_Q, port_Q, high_Q)
    free = ~ruled_J[group_D[low_X]]
    more = _multiplicity(low_X[free], high_X[free], group_D)
    low_Q, high_Q = np.r_[low_Q, more[0]], np.r_[high_Q, more[1]]
    port_Q, peer_Q = np.r_[port_Q, np.full(len(more[0]), -1)], np.r_[peer_Q, np.full(len(more[0]), -1)]
    return Boundary(
        tier, low_X, port_X, high_X, peer_X, ends.cable_X[rows], low_Q, port_Q, high_Q, peer_Q, group_D, num_groups, ruled_J,
        ports, peers
    )  # fmt: skip


def _rule_a(
    low_X: Ints, port_X: Ints, high_X: Ints, group_D: Ints, lower_D: Bools
) -> tuple[float, Bools, tuple[Ints, Ints, Ints]]:
    """(share of cables that agree, groups in which they do, expected (low, port, high))."""
    span = int(port_X.max()) + 1
    votes = vote(group_D[low_X] * span + port_X, high_X)
    share = float(votes.count_K.sum() / max(len(low_X), 1))
    group_K, port_K = votes.key_K // span, votes.key_K % span
    members_J = np.bincount(group_D[lower_D & (group_D >= 0)], minlength=int(group_D.max()) + 1)
    num_groups = int(group_D.max()) + 1
    agree_J = np.bincount(group_K, weights=votes.count_K, minlength=num_groups)
    ruled_J = (agree_J >= RULED * np.bincount(group_K, weights=votes.total_K, minlength=num_groups)) & (agree_J > 0)
    firm_K = ruled_J[group_K] & (votes.count_K >= 2) & (votes.count_K >= PRESENT * members_J[group_K])
    group_K, port_K, high_K = group_K[firm_K], port_K[firm_K], votes.value_K[firm_K]
    member_W = np.flatnonzero(lower_D & (group_D >= 0))
    member_W = member_W[np.argsort(group_D[member_W], kind="stable")]
    starts_J = np.searchsorted(group_D[member_W], np.arange(len(members_J)))
    times_K = members_J[group_K]
    rule_Q = np.repeat(np.arange(len(group_K)), times_K)
    nth_Q = np.arange(len(rule_Q)) - np.repeat(np.cumsum(times_K) - times_K, times_K)
    low_Q = member_W[starts_J[group_K[rule_Q]] + nth_Q] if len(rule_Q) else np.zeros(0, np.int64)
    return share, ruled_J, (low_Q, port_K[rule_Q], high_K[rule_Q])


def _rule_b(
    low_X: Ints, port_X: Ints, high_X: Ints, peer_X: Ints, low_Q: Ints, port_Q: Ints, high_Q: Ints
) -> tuple[Ints, float]:
    """Port at the upper end of each expected cable, -1 unknown, and the share of cables that agree."""
    if not len(low_Q):
        return np.zeros(0, np.int64), 0.0
    nth_Q, many_Q = _nth(joined(low_Q, high_Q), port_Q)
    size = int(max(port_Q.max(), port_X.max())) + 1
    code_Q = low_Q * size + port_Q
    order = np.argsort(code_Q)
    at_X = find(code_Q[order], low_X * size + port_X)
    there_X = at_X >= 0
    row_X = order[at_X[there_X]]
    right = high_Q[row_X] == high_X[there_X]
    row_X, q_X = row_X[right], peer_X[there_X][right]
    key_Q = joined(low_Q, many_Q, nth_Q)
    votes = vote(key_Q[row_X], q_X)
    share = float(votes.count_K.sum() / max(len(q_X), 1))
    at_Q = find(votes.key_K, key_Q)
    firm_K = (votes.count_K >= 2) & (2 * votes.count_K > votes.total_K)
    if share < RULED or not len(votes.key_K):
        return np.full(len(low_Q), -1, np.int64), share
    peer_Q = np.where((at_Q >= 0) & firm_K[at_Q], votes.value_K[at_Q], -1)
    return _stepped(peer_Q, low_Q, many_Q, nth_Q), share


def _stepped(peer_Q: Ints, low_Q: Ints, many_Q: Ints, nth_Q: Ints) -> Ints:
    """Ports that too few cables vote for, from a known one of the same switch: the j-th and the first are as far apart there
    as on every other switch.
    """
    first = np.flatnonzero((peer_Q >= 0) & (nth_Q == 0))
    both = joined(np.r_[low_Q[first], low_Q], np.r_[many_Q[first], many_Q])
    key, at = np.unique(both[: len(first)], return_index=True)
    row_Q = find(np.asarray(key, np.int64), both[len(first) :])
    base_Q = np.where(row_Q >= 0, peer_Q[first[at[row_Q]]] if len(first) else -1, -1)
    known = np.flatnonzero((peer_Q >= 0) & (base_Q >= 0))
    if not len(known):
        return peer_Q
    step = vote(nth_Q[known], peer_Q[known] - base_Q[known] + int(peer_Q.max()))
    same_K = step.count_K == step.total_K
    of_Q = find(step.key_K, nth_Q)
    told = (peer_Q < 0) & (base_Q >= 0) & (of_Q >= 0) & same_K[of_Q]
    return np.where(told, base_Q + step.value_K[of_Q] - int(peer_Q.max()), peer_Q)


def _nth(pair_Q: Ints, port_Q: Ints) -> tuple[Ints, Ints]:
    """Rank of each cable among those of its pair by port, and how many the pair has."""
    order = np.lexsort((port_Q, pair_Q))
    pair = pair_Q[order]
    start = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])
    length = np.diff(np.r_[start, len(pair)])
    nth_Q, many_Q = np.empty(len(pair), np.int64), np.empty(len(pair), np.int64)
    nth_Q[order] = np.arange(len(pair)) - np.repeat(start, length)
    many_Q[order] = np.repeat(length, length)
    return nth_Q, many_Q


def _multiplicity(low_X: Ints, high_X: Ints, group_D: Ints) -> tuple[Ints, Ints]:
    """Expected (low, high) of each cable in groups without a port rule, where every pair has `n`, or `n` or `n + 1`, cables.

    In the uneven case all that can be expected is the number of cables of each switch: a pair is one short if both its
    switches are.
    """
    out: list[tuple[Ints, Ints]] = []
    for group in np.unique(group_D[low_X]).tolist():
        inside = (group_D[low_X] == group) & (group_D[high_X] == group)
        low_W, of_low = np.unique(low_X[inside], return_inverse=True)
        high_V, of_high = np.unique(high_X[inside], return_inverse=True)
        if len(low_W) < 2 or len(high_V) < 2 or len(low_W) * len(high_V) > MOST_PAIRS:
            continue
        count_WV = np.zeros((len(low_W), len(high_V)), np.int64)
        np.add.at(count_WV, (of_low.ravel(), of_high.ravel()), 1)
        due_WV = _due(count_WV)
        if due_WV is not None:
            times = due_WV.ravel()
            out.append((np.repeat(np.repeat(low_W, len(high_V)), times), np.repeat(np.tile(high_V, len(low_W)), times)))
    if not out:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate([o[0] for o in out]), np.concatenate([o[1] for o in out])


def _due(count_WV: Ints) -> Ints | None:
    """Cables that each pair should have, None without a pattern."""
    usual = int(np.bincount(count_WV.ravel()).argmax())
    even = (count_WV == usual).mean() >= RULED and (np.abs(count_WV - usual) == 1).mean() <= 0.1
    if usual and even:
        return np.full_like(count_WV, usual)
    per_low, per_high = count_WV.sum(axis=1), count_WV.sum(axis=0)
    want_low, want_high = int(np.bincount(per_low).argmax()), int(np.bincount(per_high).argmax())
    if (per_low == want_low).mean() < RULED or (per_high == want_high).mean() < RULED:
        return None
    due_WV = count_WV.copy()
    short_W, short_V = want_low - per_low, want_high - per_high
    for w in np.flatnonzero(short_W > 0).tolist():
        for v in np.flatnonzero(short_V > 0).tolist():
            room = max(0, -(-want_low // len(per_high)) - int(count_WV[w, v]))
            add = max(0, min(int(short_W[w]), int(short_V[v]), room))
            due_WV[w, v] += add
            short_W[w] -= add
            short_V[v] -= add
    return due_WV
