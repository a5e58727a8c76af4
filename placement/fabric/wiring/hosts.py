# SPDX-License-Identifier: Apache-2.0
# R adapter port on a leaf   H host   Q slot   W leaf   J group   I place in the group
"""Which slot each adapter belongs to, and which slots exist: the expected and the actual cables between hosts and leafs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.adapters import Adapters
from placement.fabric.wiring.ends import distinct, find, vote
from placement.fabric.wiring.naming import Naming, naming
from placement.fabric.wiring.sockets import Sockets
from placement.ir._array import Bools, Ints, freeze

FOREIGN, DOUBLE, LOST = -2, -3, -1  # slots of adapters that have none: foreign device, second bearer of a name, no place for it


@dataclass(frozen=True)
class Seats:
    """Homes and slots. `slot = place * lanes + lane`, `place = group * width + place in the group`.

    `home_H`      place of each host, -1 none
    `slot_R`      slot of each adapter, or FOREIGN, DOUBLE, LOST
    `own_R`       slot that the adapter's socket belongs to, -1 where the rule has none
    `leaf_R`      row of its leaf in `Sockets`
    `guessed_R`   the adapter's host was read from its position
    slots (Q): `slot_Q`, `leaf_Q`, `port_Q` of every socket that the rule knows; `usual_Q`; `real_Q` the place exists
    """

    lanes: int
    width: int
    home_H: Ints
    slot_R: Ints
    own_R: Ints
    leaf_R: Ints
    guessed_R: Bools
    slot_Q: Ints
    leaf_Q: Ints
    port_Q: Ints
    usual_Q: Bools
    real_Q: Bools
    naming: Naming

    def __post_init__(self) -> None:
        freeze(self)


def seats_of(a: Adapters, s: Sockets) -> Seats:
    """Assign every adapter on a leaf to a slot."""
    leaf_R = np.searchsorted(s.leaf_W, a.leaf_R)
    lanes = max((max(k) for k in s.kinds), default=0) + 1
    rule_R = s.rule(s.kind_W[leaf_R], a.port_R) if len(leaf_R) else np.zeros(0, np.int64)
    group_R = s.group_W[leaf_R] if len(leaf_R) else np.zeros(0, np.int64)
    ruled_R = (rule_R >= 0) & (group_R >= 0)
    place_R = np.where(ruled_R, group_R * s.width + s.nth_P[rule_R] if len(s.nth_P) else -1, -1)
    own_R = np.where(ruled_R, place_R * lanes + s.lane_P[rule_R] if len(s.lane_P) else -1, -1)
    home_H, double_R, names = _homes(a, place_R, s.width)
    slot_R, guessed_R = _slots(a, home_H, double_R, own_R, place_R, lanes)
    slot_Q, leaf_Q, port_Q, usual_Q = _sockets(s, lanes)
    taken = distinct(slot_R[slot_R >= 0] // lanes)
    real_Q = find(taken, slot_Q // lanes) >= 0
    return Seats(
        lanes, s.width, home_H, slot_R, own_R, leaf_R, guessed_R, slot_Q, leaf_Q, port_Q, usual_Q, real_Q, names
    )  # fmt: skip


def _homes(a: Adapters, place_R: Ints, width: int) -> tuple[Ints, Bools, Naming]:
    """Home of each host by majority of its adapters; adapters of a second host with the same name; the rule of names."""
    home_H: Ints = np.full(len(a.hosts), -1, np.int64)
    sure = np.flatnonzero((a.class_R >= 0) & (place_R >= 0))
    votes = vote(a.host_R[sure], place_R[sure])
    home_H[votes.key_K] = votes.value_K
    tied = votes.key_K[2 * votes.count_K <= votes.total_K]
    lost = np.flatnonzero((home_H < 0) & (a.class_H >= 0))
    sure_H = home_H.copy()
    sure_H[tied] = -1
    names = _naming(a, sure_H, width)
    if len(tied) or len(lost):
        home_H = _by_name(a, home_H, place_R, width, names, (tied.tolist(), lost.tolist())) if names.ok else home_H
        names = _naming(a, home_H, width)
    double_R = np.zeros(len(place_R), bool)
    lanes_L = a.lanes_L
    before = home_H.copy()
    many_H = np.bincount(a.host_R[sure], minlength=len(a.hosts))
    for h in np.flatnonzero(many_H > np.where(a.class_H >= 0, lanes_L[a.class_H], 0)).tolist():
        rows = sure[a.host_R[sure] == h]
        places, counts = np.unique(place_R[rows], return_counts=True)
        if a.class_H[h] < 0 or len(places) < 2 or np.sort(counts)[-2] * 2 < lanes_L[a.class_H[h]]:
            continue
        fitting = [p for p in places.tolist() if names.expected(p // width, p % width) == a.hosts[h]]
        home_H[h] = fitting[0] if fitting else places[counts.argmax()]
        double_R[rows[place_R[rows] != home_H[h]]] = True
    return home_H, double_R, names if np.array_equal(before, home_H) else _naming(a, home_H, width)


def _by_name(a: Adapters, home_H: Ints, place_R: Ints, width: int, names: Naming, unsure: tuple[list[int], list[int]]) -> Ints:
    """Homes with those of hosts whose adapters disagree, or sit where nothing should, told by their names."""
    tied, lost = unsure
    out = home_H.copy()
    for h in tied:
        places = place_R[(a.host_R == h) & (place_R >= 0)].tolist()
        fitting = [p for p in places if names.expected(p // width, p % width) == a.hosts[h]]
        out[h] = fitting[0] if fitting else out[h]
    if lost:
        taken = set(out[out >= 0].tolist())
        free = [(j, i) for j in names.row_key_J.tolist() for i in names.column_key_I.tolist() if j * width + i not in taken]
        place_of = {names.expected(j, i): j * width + i for j, i in free}
        for h in lost:
            out[h] = place_of.get(a.hosts[h], -1)
    return out


def _naming(a: Adapters, home_H: Ints, width: int) -> Naming:
    at = np.flatnonzero(home_H >= 0)
    return naming([a.hosts[h] for h in at.tolist()], home_H[at] // width, home_H[at] % width, even=True)


def _slots(a: Adapters, home_H: Ints, double_R: Bools, own_R: Ints, place_R: Ints, lanes: int) -> tuple[Ints, Bools]:
    """Slot of each adapter: its host's home and its lane; unnamed ones sit where they are, unless their slot is another's."""
    class_R = a.class_R
    home_R = np.where(a.host_R >= 0, home_H[a.host_R] if len(home_H) else -1, -1)
    sure_R = (class_R >= 0) & (a.lane_R >= 0) & (home_R >= 0) & ~double_R
    slot_R = np.where(sure_R, home_R * lanes + a.lane_R, LOST)
    holder = {int(slot): row for row, slot in enumerate(slot_R.tolist()) if slot >= 0}
    homes = set(home_H[home_H >= 0].tolist())
    guessed_R = np.zeros(len(slot_R), bool)
    for row in np.flatnonzero(~sure_R).tolist():
        named = a.host_R[row] >= 0 and class_R[row] < 0
        if own_R[row] < 0 or (named and int(place_R[row]) in homes):
            slot_R[row] = FOREIGN if named else LOST
            continue
        slot, seen = int(own_R[row]), 0
        while slot in holder and seen < 8:  # its slot belongs to an adapter that sits elsewhere: this one belongs there
            slot, seen = int(own_R[holder[slot]]), seen + 1
        if slot < 0 or slot in holder:
            slot_R[row] = FOREIGN if named else LOST
            continue
        slot_R[row], holder[slot] = slot, row
        guessed_R[row] = True
    return slot_R, guessed_R


def _sockets(s: Sockets, lanes: int) -> tuple[Ints, Ints, Ints, Bools]:
    """Every socket that the rule knows: slot, leaf row, port, and whether most leafs of its kind use the port."""
    kind_P, port_P = s.code_P // s.span, s.code_P % s.span
    order = np.argsort(kind_P, kind="stable")
    starts = np.searchsorted(kind_P[order], np.arange(len(s.kinds) + 1))
    leafs = np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0))
    times = (starts[1:] - starts[:-1])[s.kind_W[leafs]] if len(leafs) else np.zeros(0, np.int64)
    leaf_Q = np.repeat(leafs, times)
    nth = np.arange(len(leaf_Q)) - np.repeat(np.cumsum(times) - times, times)
    rule_Q = order[starts[s.kind_W[leaf_Q]] + nth] if len(leaf_Q) else np.zeros(0, np.int64)
    place_Q = s.group_W[leaf_Q] * s.width + s.nth_P[rule_Q]
    return place_Q * lanes + s.lane_P[rule_Q], leaf_Q, port_P[rule_Q], s.usual_P[rule_Q]
