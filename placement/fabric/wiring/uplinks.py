# SPDX-License-Identifier: Apache-2.0
# X cable between two tiers   W lower switch   V upper switch   Q expected cable   K key of a vote
"""The rule behind the cables between two tiers of switches, learnt from the majority, and the cables that the rule expects.

Rule A: in a group of lower switches that share their upper switches (a pod, or the spines of one index), port p leads to the same
upper switch from each. Rule B: the j-th cable of a lower switch to an upper one ends at the same port number on each upper switch.
Both hold in every fabric that is cabled by a scheme; where they don't, cables per pair are all that can be expected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.clusters import clusters
from placement.fabric.wiring.ends import Ends, find, joined, vote
from placement.ir._array import Bools, Ints, freeze

RULED = 0.7  # of the cables follow a rule, or there is no rule
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
    ports: float
    peers: float

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def ruled(self) -> bool:
        return self.ports >= RULED


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
    ports, low_Q, port_Q, high_Q = 0.0, *(np.zeros(0, np.int64),) * 3
    peer_Q, peers = np.zeros(0, np.int64), 0.0
    if known_X.all():
        ports, (low_Q, port_Q, high_Q) = _rule_a(low_X, port_X, high_X, group_D, tier_D == tier)
        peer_Q, peers = _rule_b(low_X, port_X, high_X, peer_X, low_Q, port_Q, high_Q)
    if ports < RULED:
        low_Q, port_Q, high_Q, peer_Q = _multiplicity(low_X, high_X, group_D)
    return Boundary(
        tier, low_X, port_X, high_X, peer_X, ends.cable_X[rows], low_Q, port_Q, high_Q, peer_Q, group_D, num_groups, ports, peers
    )  # fmt: skip


def _rule_a(low_X: Ints, port_X: Ints, high_X: Ints, group_D: Ints, lower_D: Bools) -> tuple[float, tuple[Ints, Ints, Ints]]:
    """(share of cables that agree, expected (low, port, high))."""
    span = int(port_X.max()) + 1
    votes = vote(group_D[low_X] * span + port_X, high_X)
    share = float(votes.count_K.sum() / max(len(low_X), 1))
    group_K, port_K = votes.key_K // span, votes.key_K % span
    members_J = np.bincount(group_D[lower_D & (group_D >= 0)], minlength=int(group_K.max()) + 1)
    firm_K = (votes.count_K >= 2) & (votes.count_K >= PRESENT * members_J[group_K])
    group_K, port_K, high_K = group_K[firm_K], port_K[firm_K], votes.value_K[firm_K]
    member_W = np.flatnonzero(lower_D & (group_D >= 0))
    member_W = member_W[np.argsort(group_D[member_W], kind="stable")]
    starts_J = np.searchsorted(group_D[member_W], np.arange(len(members_J)))
    times_K = members_J[group_K]
    rule_Q = np.repeat(np.arange(len(group_K)), times_K)
    nth_Q = np.arange(len(rule_Q)) - np.repeat(np.cumsum(times_K) - times_K, times_K)
    low_Q = member_W[starts_J[group_K[rule_Q]] + nth_Q] if len(rule_Q) else np.zeros(0, np.int64)
    return share, (low_Q, port_K[rule_Q], high_K[rule_Q])


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
    return np.where((at_Q >= 0) & firm_K[at_Q], votes.value_K[at_Q], -1), share


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


def _multiplicity(low_X: Ints, high_X: Ints, group_D: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Expected cables without ports: as many of each pair of a group as most pairs of the group have. Ports are -1."""
    low, high = np.unique(low_X), np.unique(high_X)
    out: list[tuple[Ints, Ints]] = []
    for group in range(int(group_D.max()) + 1):
        low_W, high_V = low[group_D[low] == group], high[group_D[high] == group]
        if len(low_W) < 2 or len(high_V) < 2 or len(low_W) * len(high_V) > 4_000_000:
            continue
        inside = (group_D[low_X] == group) & (group_D[high_X] == group)
        count_WV = np.zeros((len(low_W), len(high_V)), np.int64)
        np.add.at(count_WV, (np.searchsorted(low_W, low_X[inside]), np.searchsorted(high_V, high_X[inside])), 1)
        usual = int(np.bincount(count_WV.ravel()).argmax())
        if usual and (count_WV == usual).mean() >= RULED:
            low_Q = np.repeat(low_W, len(high_V) * usual)
            out.append((low_Q, np.tile(np.repeat(high_V, usual), len(low_W))))
    if not out:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty, empty
    low_Q, high_Q = (np.concatenate(column) for column in zip(*out, strict=True))
    unknown = np.full(len(low_Q), -1, np.int64)
    return low_Q, unknown, high_Q, unknown
