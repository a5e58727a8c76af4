# SPDX-License-Identifier: Apache-2.0
# R adapter port on a leaf   W leaf   J group of leafs that share hosts   P port rule   H host   K kind of leaf
"""The rule behind the cables between hosts and leafs, learnt from the majority.

Leafs that share their hosts form a group: the rails (and planes) of a rack or of a few racks. A leaf's kind is the set of
lanes it serves. Over all groups, port p of a leaf of one kind serves the same lane and the same place in the group: that is
the rule. A place holds one host; a slot is one lane of a place, and each slot has its socket, a port of a leaf.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.adapters import FEW, Adapters
from placement.fabric.wiring.clusters import clusters
from placement.fabric.wiring.ends import distinct, find, vote
from placement.ir._array import Bools, Ints, freeze

KIND_SHARE = 0.25  # of the ports of a leaf's main lane: fewer are misplaced cables, not another lane of the leaf
MIXED = 4  # times as many leafs have another set of lanes that overlaps: this one is a fault, not a kind
USUAL = 0.5  # of the leafs of a kind use a port: every leaf of the kind should
ALLOWED = 0.15  # of the leafs of a kind use a port: hosts may stand there
HOLES = 0.15  # of the ports of a single group are empty between its hosts
POOLED = 0.9  # of the used ports are used by most leafs, whatever their rail: one rule of ports holds for all rails


@dataclass(frozen=True)
class Sockets:
    """Groups, kinds and places. Places are numbered over the whole fabric: `place = group * width + place in the group`.

    `leaf_W` devices; `group_W`, `kind_W` -1 where nothing is known of a leaf
    `kinds`  lanes of each kind
    rule rows (P), sorted by `code_P = kind * span + port`: `lane_P`, `nth_P` place in the group, `usual_P` most leafs use it
    """

    leaf_W: Ints
    group_W: Ints
    kind_W: Ints
    kinds: tuple[tuple[int, ...], ...]
    num_groups: int
    width: int
    span: int
    code_P: Ints
    lane_P: Ints
    nth_P: Ints
    usual_P: Bools

    def __post_init__(self) -> None:
        freeze(self)

    def rule(self, kind: Ints, port: Ints) -> Ints:
        """Row of the rule for a port of a leaf kind, -1 none."""
        row = find(self.code_P, kind * self.span + port)
        return np.where((kind >= 0) & (port < self.span), row, -1)


def sockets_of(adapters: Adapters) -> Sockets:
    """Learn groups, kinds and the port rule."""
    a = adapters
    leaf_W = distinct(a.leaf_R)
    of_R = find(leaf_W, a.leaf_R)
    sure_R = (a.class_R >= 0) & (a.lane_R >= 0) & ~a.upper_R
    num_hosts = max(len(a.hosts), 1)
    many_H = np.bincount(a.host_R[sure_R], minlength=num_hosts)
    once_R = sure_R & (many_H[a.host_R] <= a.lanes_L[a.class_R])  # a name that two hosts bear joins no groups
    group_W, _ = clusters(*_mainly(of_R[once_R], a.host_R[once_R], num_hosts), len(leaf_W), num_hosts)
    kind_W, kinds = _kinds(of_R[sure_R], a.lane_R[sure_R], len(leaf_W))
    span = int(a.port_R.max(initial=0)) + 1
    code_P, lane_P, nth_P, usual_P, width = _rule(a, of_R, kind_W, kinds, sure_R, span)
    return Sockets(
        leaf_W, group_W, kind_W, kinds, int(group_W.max(initial=-1)) + 1, width, span, code_P, lane_P, nth_P, usual_P
    )  # fmt: skip


def _mainly(leaf_R: Ints, host_R: Ints, num_hosts: int) -> tuple[Ints, Ints]:
    """Pairs of a leaf and a host, without those that hold far fewer of the host's adapters than another leaf does."""
    code, many = np.unique(leaf_R * num_hosts + host_R, return_counts=True)
    most_H = np.zeros(num_hosts, np.int64)
    np.maximum.at(most_H, code % num_hosts, many)
    kept = code[2 * many >= most_H[code % num_hosts]]
    return kept // num_hosts, kept % num_hosts


def missing_leafs(s: Sockets) -> list[tuple[int, int]]:
    """(group, kind) of leafs that most groups have and some lack; only groups that have nothing else count."""
    known = np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0))
    if s.num_groups < 2 or not len(known):
        return []
    have_JK = np.zeros((s.num_groups, len(s.kinds)), bool)
    have_JK[s.group_W[known], s.kind_W[known]] = True
    tally = Counter(map(tuple, have_JK.tolist()))
    usual = np.array(max(tally, key=lambda row: (tally[row], sum(row))))
    subset_J = ~(have_JK & ~usual).any(axis=1)
    return [(int(g), int(k)) for g, k in np.argwhere(usual & ~have_JK) if subset_J[g]]


def _kinds(leaf_R: Ints, lane_R: Ints, num_leafs: int) -> tuple[Ints, tuple[tuple[int, ...], ...]]:
    """Kind of each leaf; rare kinds are read as the frequent one that they overlap most."""
    lanes = int(lane_R.max(initial=0)) + 1
    count_WL = np.zeros((num_leafs, lanes), np.int64)
    np.add.at(count_WL, (leaf_R, lane_R), 1)
    main_W = count_WL.max(axis=1)
    serves_WL = (count_WL >= np.maximum(1, KIND_SHARE * main_W[:, None])) & (main_W[:, None] > 0)
    sets = [tuple(np.flatnonzero(row).tolist()) for row in serves_WL]
    tally = Counter(s for s in sets if s)
    frequent: list[tuple[int, ...]] = []
    for s, n in sorted(tally.items(), key=lambda t: (-t[1], t[0])):
        mixed = any(set(s) & set(f) and tally[f] >= MIXED * n for f in frequent)  # a few exchanged cables on a small leaf
        if n >= max(1, 0.02 * num_leafs) and not mixed:
            frequent.append(s)
    frequent.sort()
    place = {s: i for i, s in enumerate(frequent)}

    def nearest(s: tuple[int, ...], row: int) -> int:
        if not s:
            return -1
        if s in place:
            return place[s]
        weight = {f: (sum(int(count_WL[row, x]) for x in f), -len(f)) for f in frequent}
        return place[max(frequent, key=lambda f: weight[f])]

    return np.array([nearest(s, i) for i, s in enumerate(sets)], np.int64), tuple(frequent)


def _rule(
    a: Adapters, of_R: Ints, kind_W: Ints, kinds: tuple[tuple[int, ...], ...], sure_R: Bools, span: int
) -> tuple[Ints, Ints, Ints, Bools, int]:
    """Rows of the rule, and the most places that a group has."""
    known_R = (kind_W[of_R] >= 0) & (a.port_R >= 0)
    sure_R = sure_R & known_R
    code_R = kind_W[of_R] * span + a.port_R
    lane = vote(code_R[sure_R], a.lane_R[sure_R])
    leafs_K = np.bincount(kind_W[kind_W >= 0], minlength=len(kinds))
    foreign_R = known_R & (a.host_R >= 0) & (a.class_R < 0)
    used = vote(code_R[known_R & ~foreign_R], of_R[known_R & ~foreign_R])
    used_P = np.zeros(len(lane.key_K), np.int64)
    at = find(used.key_K, lane.key_K)
    used_P[at >= 0] = used.total_K[at[at >= 0]]
    share_P = used_P / np.maximum(leafs_K[lane.key_K // span], 1)
    allowed_P = (share_P >= ALLOWED) & ((lane.count_K >= 2) | (leafs_K[lane.key_K // span] <= 3))
    code_P, lane_P, usual_P = lane.key_K[allowed_P], lane.value_K[allowed_P], share_P[allowed_P] >= USUAL
    code_P, lane_P, usual_P = _pooled(used.key_K, used.total_K, kinds, leafs_K, span, (code_P, lane_P, usual_P))
    if len(a.hosts) < FEW:
        code_P, lane_P, usual_P = code_P[:0], lane_P[:0], usual_P[:0]
    nth_P = np.zeros(len(code_P), np.int64)
    for kind in range(len(kinds)):
        rows = np.flatnonzero(code_P // span == kind)
        if len(kinds[kind]) == 1:
            nth_P[rows] = code_P[rows] - code_P[rows].min(initial=np.iinfo(np.int64).max)
        else:
            nth_P[rows] = _blocks(a, of_R, kind_W, kind, code_P[rows] % span, sure_R, span)
    return code_P, lane_P, nth_P, usual_P, int(nth_P.max(initial=0)) + 1


def _pooled(
    code_U: Ints, many_U: Ints, kinds: tuple[tuple[int, ...], ...], leafs_K: Ints, span: int, rule: tuple[Ints, Ints, Bools]
) -> tuple[Ints, Ints, Bools]:
    """The rule with what leafs of other rails say: where all rails use the same ports, a port counts for each of them.

    `many_U` leafs of a kind that use a port, by `code_U`. A leaf of one rail has that rail at every port.
    """
    code_P, lane_P, usual_P = rule
    single_K = np.array([len(k) == 1 for k in kinds], bool)
    if not single_K.any() or not len(code_U):
        return rule
    used_KP = np.zeros((len(kinds), span), np.int64)
    used_KP[code_U // span, code_U % span] = many_U
    used_KP[~single_K] = 0
    leafs = int(leafs_K[single_K].sum())
    share_P = used_KP.sum(axis=0) / max(leafs, 1)
    first_K = np.array([k[0] for k in kinds], np.int64)
    if leafs < 2 or used_KP[:, share_P >= USUAL].sum() < POOLED * used_KP.sum():
        return code_P, np.where(single_K[code_P // span], first_K[code_P // span], lane_P), usual_P
    port = np.flatnonzero(share_P >= max(ALLOWED, 1.5 / leafs))
    kind = np.flatnonzero(single_K)
    if leafs == len(kind):  # one group: a port that no leaf uses may be the place of a host that is not there
        whole = np.arange(port.min(initial=0), port.max(initial=-1) + 1)
        port = whole if len(whole) <= (1 + HOLES) * len(port) else port
        share_P = np.maximum(share_P, np.isin(np.arange(span), port).astype(float))
    code = (kind[:, None] * span + port[None, :]).ravel()
    rest = ~single_K[code_P // span]
    code_P = np.r_[code_P[rest], code]
    lane_P = np.r_[lane_P[rest], np.repeat(first_K[kind], len(port))]
    usual_P = np.r_[usual_P[rest], np.tile(share_P[port] >= USUAL, len(kind))]
    order = np.argsort(code_P)
    return code_P[order], lane_P[order], usual_P[order]


def _blocks(a: Adapters, of_R: Ints, kind_W: Ints, kind: int, port_P: Ints, sure_R: Bools, span: int) -> Ints:
    """Ports that hold the same host on most leafs form one place; places are numbered by their lowest port."""
    rows = np.flatnonzero(sure_R & (kind_W[of_R] == kind))
    rows = rows[np.lexsort((a.port_R[rows], a.host_R[rows], of_R[rows]))]
    leaf, host, port = of_R[rows], a.host_R[rows], a.port_R[rows]
    parent = {int(p): int(p) for p in port_P}
    votes: Counter[tuple[int, int]] = Counter()
    same = (leaf[1:] == leaf[:-1]) & (host[1:] == host[:-1])
    for p, q in zip(port[:-1][same].tolist(), port[1:][same].tolist(), strict=True):
        votes[p, q] += 1
    seen = Counter(port.tolist())
    for (p, q), n in sorted(votes.items()):
        if p in parent and q in parent and 2 * n >= min(seen[p], seen[q]) + (n == 1):
            parent[_root(parent, q)] = _root(parent, p)
    roots = [_root(parent, int(p)) for p in port_P]
    low: dict[int, int] = {}
    for p, r in zip(port_P.tolist(), roots, strict=True):
        low[r] = min(low.get(r, span), p)
    order = {r: i for i, r in enumerate(sorted(low, key=lambda r: low[r]))}
    return np.array([order[r] for r in roots], np.int64)


def _root(parent: dict[int, int], x: int) -> int:
    while parent[x] != x:
        parent[x] = parent[parent[x]]
        x = parent[x]
    return x
