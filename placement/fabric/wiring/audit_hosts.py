# SPDX-License-Identifier: Apache-2.0
# R adapter port   Q slot   W leaf   J group of leafs that share hosts   H host
"""Faults between hosts and leafs: rails swapped, cables swapped, moved or missing, absent trays, missing leafs, foreign and unnamed devices."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.adapters import Adapters
from placement.fabric.wiring.chains import Chain, chains
from placement.fabric.wiring.ends import vote
from placement.fabric.wiring.faults import Fault, Names, count, some
from placement.fabric.wiring.hosts import DOUBLE, FOREIGN, LOST, Seats
from placement.fabric.wiring.naming import Naming, naming
from placement.fabric.wiring.sockets import Sockets
from placement.hostlist import fold
from placement.ir import Wired
from placement.ir._array import Ints

ALL = 0.8  # of a device's cables are gone: the device is to blame, not each cable
E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO


@dataclass(frozen=True)
class HostView:
    """Everything that is known of adapters and leafs, and the words for it."""

    wired: Wired
    a: Adapters
    s: Sockets
    x: Seats
    pod_W: Ints  # group of each leaf at the boundary above, -1 unknown
    num_pods: int

    @cached_property
    def names(self) -> Names:
        return Names(self.wired)

    @cached_property
    def leaf_names(self) -> Naming:
        known = np.flatnonzero((self.s.group_W >= 0) & (self.s.kind_W >= 0))
        labels = [self.names.device(d) for d in self.s.leaf_W[known].tolist()]
        return naming(labels, self.s.group_W[known], self.s.kind_W[known])

    @cached_property
    def host_at(self) -> dict[int, int]:
        """Host of each place."""
        return {int(p): h for h, p in reversed(list(enumerate(self.x.home_H.tolist()))) if p >= 0}

    @cached_property
    def socket_of(self) -> dict[int, tuple[int, int]]:
        """Leaf row and port of each slot."""
        return {q: (w, p) for q, w, p in zip(self.x.slot_Q.tolist(), self.x.leaf_Q.tolist(), self.x.port_Q.tolist(), strict=True)}

    @cached_property
    def holder(self) -> dict[int, int]:
        """Adapter row of each slot."""
        return {slot: row for row, slot in enumerate(self.x.slot_R.tolist()) if slot >= 0}

    def host(self, place: int) -> str:
        """The host of a place: its name, the name that belongs there, or where it is."""
        at = self.host_at.get(place)
        if at is not None:
            return self.a.hosts[at]
        return self.x.naming.expected(place // self.x.width, place % self.x.width) or self.spot(place)

    def spot(self, place: int) -> str:
        """A place without a name: the leaf and its ports."""
        slots = [q for q in range(place * self.x.lanes, (place + 1) * self.x.lanes) if q in self.socket_of]
        if not slots:
            return "an unknown place"
        sockets = [self.socket_of[q] for q in slots]
        return f"the host at {some([self.socket(w, p) for w, p in sockets[:1]])}"

    def unit(self, slot: int) -> str:
        """The adapter that belongs to a slot, as its host calls it."""
        row = self.holder.get(slot)
        if row is not None and self.wired.device.unit_D[self.a.device_R[row]]:
            return str(self.wired.device.unit_D[self.a.device_R[row]])
        place, lane = divmod(slot, self.x.lanes)
        host = self.host_at.get(place)
        cls = int(self.a.class_H[host]) if host is not None else 0
        units = self.a.unit_of[max(cls, 0)] if self.a.unit_of else ()
        return units[lane] if lane < len(units) else f"lane {lane}"

    def plug(self, slot: int) -> str:
        return f"{self.host(slot // self.x.lanes)} {self.unit(slot)}"

    def socket(self, leaf: int, port: int) -> str:
        return self.names.socket(int(self.s.leaf_W[leaf]), port)

    def row_socket(self, row: int) -> str:
        return self.names.socket(int(self.a.leaf_R[row]), int(self.a.port_R[row]))

    def adapter(self, row: int) -> str:
        """An adapter as the capture names it, with its host as far as that can be told."""
        slot = int(self.x.slot_R[row])
        if self.a.host_R[row] < 0 and slot >= 0:
            return f"{self.plug(slot)} (unnamed)"
        return self.names.device(int(self.a.device_R[row]))

    def group(self, group: int) -> str:
        """Pod of a group of leafs, "" where there is only one."""
        pods = self.pod_W[(self.s.group_W == group) & (self.pod_W >= 0)]
        return f"pod {int(np.bincount(pods).argmax())}" if self.num_pods > 1 and len(pods) else ""

    def rack(self, host: str) -> str:
        return re.sub(r"[^0-9]*\d+$", "", host.split(".")[0])

    def at(self, place: int) -> dict[str, str]:
        """Roll-up keys of a place."""
        host = self.host(place)
        return {"group": self.group(place // self.x.width), "rack": "" if " " in host else self.rack(host)}

    def evidence(self, *rows: int) -> dict[str, object]:
        """Where the first of some adapters stands in the capture, and the cables of all."""
        line, file = self.names.place(int(self.a.cable_R[rows[0]]))
        return {"line": line, "file": file, "records": tuple(int(self.a.cable_R[r]) for r in rows)}


def named(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are names of hosts, not words for where one stands."""
    return tuple(h for h in hosts if " " not in h or h[:1].isupper())


def host_faults(view: HostView) -> Iterator[Fault]:
    """Every fault between hosts and leafs, roughly by weight."""
    gone = _missing_leafs(view)
    yield from gone.values()
    yield from _cabling(view)
    yield from _absent(view)
    yield from _order(view)
    yield from _strangers(view)
    yield from _units(view)


# ------------------------------------------------------------------------------------------------------------- cabling


def _cabling(view: HostView) -> Iterator[Fault]:
    """Sockets and slots that are not joined as the rule says; deviations that touch are one fault."""
    x, a, s = view.x, view.a, view.s
    real_Q, rows = np.flatnonzero(x.real_Q), np.flatnonzero(x.slot_R >= 0)
    span = max(s.span, int(a.port_R.max(initial=0)) + 1)
    offset = (len(s.leaf_W) + 1) * span
    want = np.stack([x.leaf_Q[real_Q] * span + x.port_Q[real_Q], x.slot_Q[real_Q] + offset], axis=1)
    have = np.stack([x.leaf_R[rows] * span + a.port_R[rows], x.slot_R[rows] + offset], axis=1)
    missing: list[int] = []
    for chain in chains(want, have):
        if not chain.actual:
            missing.extend(int(real_Q[q]) for q in chain.expected)
        else:
            yield _rewired(view, Chain(tuple(int(real_Q[q]) for q in chain.expected), tuple(int(rows[r]) for r in chain.actual)))
    yield from _unlinked(view, missing)


def _rewired(view: HostView, chain: Chain) -> Fault:
    """Cables that are plugged where they do not belong."""
    x = view.x
    slots = [int(x.slot_R[r]) for r in chain.actual]
    places = sorted({q // x.lanes for q in slots})
    hosts = tuple(view.host(p) for p in places)
    by_slot = {int(x.slot_Q[q]): q for q in chain.expected}
    expected, actual = [], []
    for row, slot in zip(chain.actual, slots, strict=True):
        plug = view.adapter(row)
        q = by_slot.pop(slot, None)
        home = view.socket(int(x.leaf_Q[q]), int(x.port_Q[q])) if q is not None else "no socket that is known"
        expected.append(f"{plug} -- {home}")
        actual.append(f"{plug} -- {view.row_socket(row)}")
    lost = [view.plug(slot) for slot in by_slot]
    kind, message, severity, help = _what(view, chain, slots, hosts)
    if lost:
        message += f"; {some(lost)} {'have' if len(lost) > 1 else 'has'} no link"
    return Fault(
        kind, severity, message, tuple(expected), tuple(actual), **view.at(places[0]), victims=named(hosts),
        devices=tuple(dict.fromkeys(view.row_socket(r) for r in chain.actual)), cables=len(chain.actual),
        help=help, **view.evidence(*chain.actual),  # type: ignore[arg-type]
    )  # fmt: skip


def _what(view: HostView, chain: Chain, slots: list[int], hosts: tuple[str, ...]) -> tuple[str, str, Severity, str]:
    """Kind, message, severity and help of a chain of wrong cables."""
    x, n = view.x, len(chain.actual)
    wanted = {q: int(x.leaf_Q[i]) for q, i in zip([int(x.slot_Q[i]) for i in chain.expected], chain.expected, strict=True)}
    wrong_leaf = [r for r, q in zip(chain.actual, slots, strict=True) if wanted.get(q, -1) != int(x.leaf_R[r])]
    if view.a.upper_R[list(chain.actual)].any():
        return "adapter-above-leaf", f"{some(hosts)}: an adapter is plugged into a switch above the leafs", E_, "move it to its leaf"
    if not chain.expected:
        return "extra-cable", f"{some(hosts)}: {count(n, 'adapter cable')} that the pattern does not know", W_, "check what it is for"
    home = {int(x.slot_R[r]) // x.lanes // x.width for r in chain.actual}
    if wrong_leaf and len(hosts) == 1 and {int(view.s.group_W[x.leaf_R[r]]) for r in wrong_leaf} <= home:
        rails = f"{count(n, 'cable')} of {hosts[0]} {'are' if n > 1 else 'is'} on the wrong rail"
        return "rail-swap", rails, E_, "swap the cables at the host: collectives expect rail i on the leafs of rail i"
    if wrong_leaf:
        noun = "cables of different hosts are" if n > 1 else f"cable of {hosts[0]} is"
        return "wrong-leaf", f"{n} {noun} plugged into the wrong leaf", E_, "move them to the leaf of their rack and rail"
    if n == 1:
        return "wrong-port", f"{hosts[0]} is plugged into the wrong port of its leaf", W_, "move the cable, or note it in the plan"
    if len(hosts) == 1:
        return "swapped-ports", f"{n} cables of {hosts[0]} are exchanged on their leaf", W_, "swap them at the leaf or at the host"
    return "swapped-cables", f"the cables of {some(hosts)} are exchanged on one leaf", W_, "swap the cables at the leaf"


def _unlinked(view: HostView, missing: list[int]) -> Iterator[Fault]:
    """Slots without a cable: one fault a leaf where most of its sockets are empty, else one a host."""
    x = view.x
    leaf_Q, slot_Q, port_Q = x.leaf_Q.tolist(), x.slot_Q.tolist(), x.port_Q.tolist()
    real = np.bincount(x.leaf_Q[x.real_Q], minlength=len(view.s.leaf_W))
    by_leaf: defaultdict[int, list[int]] = defaultdict(list)
    for q in missing:
        by_leaf[leaf_Q[q]].append(q)
    rest: list[int] = []
    for leaf, lost in by_leaf.items():
        if len(lost) < max(4, ALL * real[leaf]):
            rest.extend(lost)
            continue
        hosts = tuple(view.host(slot_Q[q] // x.lanes) for q in lost)
        yield Fault(
            "leaf-without-hosts", E_, f"{view.names.device(int(view.s.leaf_W[leaf]))} has lost {len(lost)} of {int(real[leaf])} host links",
            (f"{count(int(real[leaf]), 'host link')}",), (f"{int(real[leaf]) - len(lost)}",), **view.at(slot_Q[lost[0]] // x.lanes),
            victims=named(hosts), devices=(view.names.device(int(view.s.leaf_W[leaf])),), cables=len(lost), help="check the leaf and its transceivers",
        )  # fmt: skip
    by_place: defaultdict[int, list[int]] = defaultdict(list)
    for q in rest:
        by_place[slot_Q[q] // x.lanes].append(q)
    for place, lost in by_place.items():
        host = view.host(place)
        plugs = [f"{view.plug(slot_Q[q])} -- {view.socket(leaf_Q[q], port_Q[q])}" for q in lost]
        total = sum(1 for slot in range(place * x.lanes, (place + 1) * x.lanes) if slot in view.socket_of)
        yield Fault(
            "missing-host-link", E_, f"{host} has no link on {len(lost)} of its {total} rails", tuple(plugs), ("no link",) * len(plugs),
            **view.at(place), victims=named((host,)), devices=tuple(view.socket(leaf_Q[q], port_Q[q]) for q in lost), cables=len(lost),
            help="check the cable, the transceivers and the adapter",
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ what is not there


def _missing_leafs(view: HostView) -> dict[tuple[int, int], Fault]:
    """Groups that lack a leaf of a kind which most groups have."""
    s, x = view.s, view.x
    known = np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0))
    if s.num_groups < 2 or not len(known):
        return {}
    have_JK = np.zeros((s.num_groups, len(s.kinds)), np.int64)
    np.add.at(have_JK, (s.group_W[known], s.kind_W[known]), 1)
    sets = [tuple(np.flatnonzero(row).tolist()) for row in have_JK]
    usual = _most(sets)
    out: dict[tuple[int, int], Fault] = {}
    present = {view.names.device(d).casefold() for d in np.flatnonzero(view.wired.device.kind_D == 0).tolist()}
    for group, kinds in enumerate(sets):
        for kind in sorted(set(usual) - set(kinds)) if set(kinds) < set(usual) else ():
            name = view.leaf_names.expected(group, kind)
            out[group, kind] = _missing_leaf(view, group, kind, name, name.casefold() in present if name else False)
    del x
    return out


def _missing_leaf(view: HostView, group: int, kind: int, name: str, present: bool) -> Fault:
    x, s = view.x, view.s
    places = np.unique(x.slot_Q[x.real_Q] // x.lanes)
    hosts = tuple(view.host(int(p)) for p in places[places // x.width == group])
    siblings = fold([view.names.device(int(d)) for d in s.leaf_W[s.group_W == group]], 80)
    lanes = some([view.a.unit_of[0][lane] if view.a.unit_of and lane < len(view.a.unit_of[0]) else f"lane {lane}" for lane in s.kinds[kind]])
    if present:
        message = f"{name} has no host links: {lanes} of {count(len(hosts), 'host')} lead nowhere"
        return Fault(
            "leaf-without-hosts", E_, message, (f"{name} with {len(hosts)} host links",), ("none",), view.group(group),
            view.rack(hosts[0]) if hosts else "", named(hosts), (name,), len(hosts), help="check the leaf and its transceivers",
        )  # fmt: skip
    message = f"{name or 'a leaf'} is missing beside {siblings}: {lanes} of {count(len(hosts), 'host')} lead nowhere"
    return Fault(
        "missing-switch", E_, message, (name or f"a leaf for {lanes}",), ("not in the capture",), view.group(group),
        view.rack(hosts[0]) if hosts else "", named(hosts), (name,) if name else (), len(hosts),
        help="check power and management of the switch; capture again when it is back",
    )  # fmt: skip


def _most(sets: list[tuple[int, ...]]) -> tuple[int, ...]:
    """The most frequent set; the larger of equally frequent ones."""
    tally: defaultdict[tuple[int, ...], int] = defaultdict(int)
    for s in sets:
        tally[s] += 1
    return max(tally, key=lambda s: (tally[s], len(s)))


def _absent(view: HostView) -> Iterator[Fault]:
    """Places that most groups fill and this one does not: single trays, or the open end of a partial group."""
    x, s = view.x, view.s
    empty = np.unique(x.slot_Q[x.usual_Q & ~x.real_Q] // x.lanes)
    usual_I = np.unique(s.nth_P[s.usual_P]) if len(s.nth_P) else np.zeros(0, np.int64)
    for group in np.unique(empty // x.width).tolist():
        nth = empty[empty // x.width == group] % x.width
        filled = np.setdiff1d(usual_I, nth)
        last = int(filled.max()) if len(filled) else -1
        tail = nth[nth > last]
        if len(tail) < max(2, 0.2 * len(usual_I)):
            tail = tail[:0]
        if len(tail):
            yield _partial(view, group, tail, len(usual_I))
        for place in np.setdiff1d(nth, tail).tolist():
            yield _tray(view, group * x.width + place)


def _tray(view: HostView, place: int) -> Fault:
    x = view.x
    slots = [q for q in range(place * x.lanes, (place + 1) * x.lanes) if q in view.socket_of]
    name = x.naming.expected(place // x.width, place % x.width)
    sockets = [view.socket(*view.socket_of[q]) for q in slots]
    message = f"{name or 'a host'} is absent: {'all ' if len(sockets) > 1 else ''}{count(len(sockets), 'socket')} of its place are empty"
    return Fault(
        "absent-tray", W_, message, (f"{name or 'a host'} at {some(sockets)}",), ("no link on any rail",), **view.at(place),
        victims=(name,) if name else (), devices=tuple(sockets), cables=len(sockets), help="power the tray on, or declare it absent",
    )  # fmt: skip


def _partial(view: HostView, group: int, tail: Ints, usual: int) -> Fault:
    names = [view.x.naming.expected(group, int(p)) for p in tail]
    known = tuple(n for n in names if n)
    leafs = fold([view.names.device(int(d)) for d in view.s.leaf_W[view.s.group_W == group]], 80)
    last = group == view.s.num_groups - 1
    message = f"the group of {leafs} holds {usual - len(tail)} of {usual} hosts"
    return Fault(
        "partial-group", I_ if last else W_, message, (f"{usual} hosts",), (f"{usual - len(tail)}",), view.group(group), "", known,
        help="nothing to do if racks are still to come",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- names and places


def _order(view: HostView) -> Iterator[Fault]:
    """Hosts, racks and leafs that stand where another one belongs, by the grid of names."""
    yield from _swapped_hosts(view)
    yield from _swapped_leafs(view)
    yield from _swapped_groups(view)


def _swapped_hosts(view: HostView) -> Iterator[Fault]:
    x, a = view.x, view.a
    if not x.naming.ok:
        return
    hosts = np.flatnonzero(x.home_H >= 0)
    wrong = {a.hosts[h]: view.x.naming.expected(int(x.home_H[h]) // x.width, int(x.home_H[h]) % x.width)
             for h, fits in zip(hosts.tolist(), x.naming.fits_N.tolist(), strict=True) if not fits}  # fmt: skip
    place = {a.hosts[h]: int(x.home_H[h]) for h in hosts.tolist()}
    racks: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for host, proper in wrong.items():
        if wrong.get(proper) == host and host < proper:
            racks[view.rack(host), view.rack(proper)].append(host)
    done: set[str] = set()
    for (one, two), pairs in racks.items():
        size = sum(1 for h in place if view.rack(h) == one)
        done |= {*pairs, *(wrong[h] for h in pairs)}
        if one != two and len(pairs) >= max(2, ALL * size):
            yield _racks(view, one, two, [*pairs, *(wrong[h] for h in pairs)], place[pairs[0]])
        else:
            yield from (_exchanged(view, h, wrong[h], place) for h in pairs)
    for host, proper in sorted(wrong.items()):
        if host not in done:
            known = proper in place
            message = f"{host} stands at the place of {proper or 'another host'}"
            yield Fault(
                "wrong-place", W_, message, (f"{proper} at {view.spot(place[host])}",), (host,), **view.at(place[host]), victims=(host,),
                help="two hosts claim one name or place" if known else "move the host, or give it the name of its place",
            )  # fmt: skip


def _racks(view: HostView, one: str, two: str, hosts: list[str], place: int) -> Fault:
    message = f"racks {one} and {two} are exchanged: each is cabled to the leafs of the other"
    return Fault(
        "swapped-racks", E_, message, (f"{one} at {view.spot(place).removeprefix('the host at ')}",), (two,), **view.at(place),
        victims=tuple(sorted(hosts)), devices=(one, two), cables=len(hosts) * view.x.lanes, help="exchange the trunks, or the names",
    )  # fmt: skip


def _exchanged(view: HostView, host: str, proper: str, place: dict[str, int]) -> Fault:
    message = f"{host} and {proper} are exchanged on every rail"
    spots = [view.spot(place[h]).removeprefix("the host at ") for h in (proper, host)]
    return Fault(
        "swapped-hosts", W_, message, (f"{host} -- {spots[0]}", f"{proper} -- {spots[1]}"), (f"{host} -- {spots[1]}", f"{proper} -- {spots[0]}"),
        **view.at(place[host]), victims=(host, proper), cables=2 * view.x.lanes, help="exchange the trays, or their names",
    )  # fmt: skip


def _swapped_leafs(view: HostView) -> Iterator[Fault]:
    s, rule = view.s, view.leaf_names
    if not rule.ok:
        return
    known = np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0))
    wrong: dict[str, str] = {}
    where: dict[str, int] = {}
    for w in known[~rule.fits_N].tolist():
        name = view.names.device(int(s.leaf_W[w]))
        wrong[name] = rule.expected(int(s.group_W[w]), int(s.kind_W[w]))
        where[name] = w
    for name, proper in sorted(wrong.items()):
        if wrong.get(proper) == name and name > proper:
            continue
        pair = wrong.get(proper) == name
        group = int(s.group_W[where[name]])
        message = f"{name} and {proper} are exchanged: each serves the hosts of the other" if pair else f"{name} serves the hosts of {proper or 'another leaf'}"
        hosts = sorted({view.a.hosts[h] for h in view.a.host_R[view.a.leaf_R == s.leaf_W[where[name]]].tolist() if h >= 0})
        yield Fault(
            "swapped-leafs", E_, message, (f"{proper} here",), (name,), view.group(group), "", tuple(hosts), (name, proper) if pair else (name,),
            len(hosts) * (2 if pair else 1), help="exchange the trunks of the two leafs, or their names",
        )  # fmt: skip


def _swapped_groups(view: HostView) -> Iterator[Fault]:
    """Groups whose leafs and hosts are not in the same order: two racks that are cabled to each other's leafs."""
    hosts, leafs = view.x.naming, view.leaf_names
    if not (hosts.ok and leafs.ok) or len(leafs.row_key_J) < 5 or not np.array_equal(hosts.row_key_J, leafs.row_key_J):
        return
    order_h, order_l = _ranks(hosts), _ranks(leafs)
    wrong = np.flatnonzero(order_h != order_l)
    if not len(wrong) or len(wrong) > 0.4 * len(order_h):
        return
    for j in wrong.tolist():
        k = int(np.flatnonzero(order_h == order_l[j])[0])
        if order_h[j] != order_l[k]:
            continue  # not a plain exchange
        if j < k:
            one, two = view.rack(hosts.model_J[j]), view.rack(hosts.model_J[k])
            rows = np.flatnonzero((view.x.home_H >= 0) & np.isin(view.x.home_H // view.x.width, [j, k]))
            yield _racks(view, one, two, [view.a.hosts[h] for h in rows.tolist()], int(view.x.home_H[rows[0]]))


def _ranks(rule: Naming) -> Ints:
    """Order of the rows by their names: numbers first to last, then letters."""
    keys = [(re.sub(r"\d+", "#", m.lower()), *row) for m, row in zip(rule.model_J, rule.base_JF.tolist(), strict=True)]
    order = sorted(range(len(keys)), key=lambda j: keys[j])
    out = np.empty(len(keys), np.int64)
    out[order] = np.arange(len(keys))
    return out


# ------------------------------------------------------------------------------------------------ strangers and names


def _strangers(view: HostView) -> Iterator[Fault]:
    """Foreign devices, unnamed adapters, hosts whose name was not set, names that two hosts bear."""
    x, a = view.x, view.a
    foreign: defaultdict[int, list[int]] = defaultdict(list)
    unset: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    unnamed: defaultdict[int, list[int]] = defaultdict(list)
    loose: defaultdict[int, list[int]] = defaultdict(list)
    class_R = a.class_R
    for row, slot in enumerate(x.slot_R.tolist()):
        host = int(a.host_R[row])
        if slot == FOREIGN:
            foreign[host].append(row)
        elif host < 0:
            (unnamed[slot // x.lanes] if slot >= 0 else loose[int(a.leaf_R[row])]).append(row)
        elif slot >= 0 and class_R[row] < 0:
            unset[slot // x.lanes, host].append(row)
    for host, rows in foreign.items():
        yield _foreign(view, a.hosts[host], rows)
    for (place, host), rows in unset.items():
        yield _renamed(view, place, a.hosts[host], rows)
    for place, rows in unnamed.items():
        yield _unnamed(view, view.host(place), rows, view.at(place))
    for leaf, rows in loose.items():
        yield _unnamed(view, f"{count(len(rows), 'host adapter')} on {view.names.device(leaf)}", rows, {})
    yield from _doubles(view)


def _foreign(view: HostView, host: str, rows: list[int]) -> Fault:
    sockets = [view.row_socket(r) for r in rows]
    message = f"{host} is no host of this cluster, but has {count(len(rows), 'adapter')} on compute leafs"
    return Fault(
        "foreign-device", W_, message, (), tuple(f"{view.adapter(r)} -- {s}" for r, s in zip(rows, sockets, strict=True)),
        devices=tuple(sockets), cables=len(rows), help="management and storage hosts on compute leafs make false leafs and take bandwidth",
        **view.evidence(rows[0]),  # type: ignore[arg-type]
    )  # fmt: skip


def _renamed(view: HostView, place: int, name: str, rows: list[int]) -> Fault:
    proper = view.x.naming.expected(place // view.x.width, place % view.x.width)
    message = f"a host calls itself `{name}`" + (f" at the place of {proper}" if proper else f" at {view.spot(place)}")
    return Fault(
        "host-name", W_, message, (proper,) if proper else (), (name,) if proper else (), **view.at(place),
        victims=(proper or name,), devices=tuple(view.row_socket(r) for r in rows), help="set the host name, then the node description",
        **view.evidence(rows[0]),  # type: ignore[arg-type]
    )  # fmt: skip


def _unnamed(view: HostView, host: str, rows: list[int], at: dict[str, str]) -> Fault:
    text = str(view.wired.device.text_D[view.a.device_R[rows[0]]])
    message = f"{count(len(rows), 'adapter')} of {host} {'carry' if len(rows) > 1 else 'carries'} no host name (`{' '.join(text.split())}`)"
    known = host if " on " not in host and not host.startswith("the host") else ""
    return Fault(
        "unnamed-adapter", W_, message, victims=(known,) if known else (), devices=tuple(view.row_socket(r) for r in rows),
        help="the host is down or its driver has not set the node description", **at, **view.evidence(rows[0]),  # type: ignore[arg-type]
    )  # fmt: skip


def _doubles(view: HostView) -> Iterator[Fault]:
    """Host names that stand at two places."""
    x, a = view.x, view.a
    double = np.flatnonzero((a.class_R >= 0) & x.guessed_R & (a.lane_R >= 0))
    for host in np.unique(a.host_R[double]).tolist():
        rows = double[a.host_R[double] == host].tolist()
        place = int(x.slot_R[rows[0]]) // x.lanes
        proper = x.naming.expected(place // x.width, place % x.width)
        name, home = a.hosts[host], view.spot(int(x.home_H[host])).removeprefix("the host at ")
        message = f"two hosts call themselves {name}: one at {home}, one at {view.row_socket(rows[0])}"
        yield Fault(
            "duplicate-name", E_, message, (proper,) if proper else (), (name,) if proper else (), **view.at(place), victims=(name,),
            devices=tuple(view.row_socket(r) for r in rows), help="give each host its own name", **view.evidence(rows[0]),  # type: ignore[arg-type]
        )  # fmt: skip


def _units(view: HostView) -> Iterator[Fault]:
    """Adapters that are no compute adapters, and groups of hosts that name theirs in another way."""
    x, a = view.x, view.a
    unit_D = view.wired.device.unit_D
    for row in np.flatnonzero(a.odd_R).tolist():
        name = view.names.device(int(a.device_R[row]))
        slot = int(x.slot_R[row])
        usual = view.a.unit_of[max(int(a.class_R[row]), 0)]
        lane = slot % x.lanes if slot >= 0 else -1
        expected = f"{a.hosts[a.host_R[row]]} {usual[lane]}" if 0 <= lane < len(usual) else "a compute adapter"
        yield Fault(
            "wrong-adapter", E_, f"{name} is no compute adapter, but is plugged into a compute leaf", (f"{expected} -- {view.row_socket(row)}",),
            (f"{name} -- {view.row_socket(row)}",), victims=(a.hosts[a.host_R[row]],), devices=(view.row_socket(row),), cables=1,
            help="a storage or management adapter stands in for a compute rail", **view.evidence(row),  # type: ignore[arg-type]
        )  # fmt: skip
    odd = np.flatnonzero((a.class_R >= 0) & (a.lane_R >= 0) & (x.slot_R >= 0))
    if not len(odd):
        return
    schemes: dict[str, int] = {}
    scheme = np.array([schemes.setdefault(re.sub(r"\d+", "#", str(u)), len(schemes)) for u in unit_D[a.device_R[odd]].tolist()], np.int64)
    if len(schemes) < 2:
        return
    words, main = list(schemes), int(np.bincount(scheme).argmax())
    for other in [i for i in range(len(words)) if i != main]:
        hosts = sorted({a.hosts[h] for h in a.host_R[odd[scheme == other]].tolist()})
        message = f"the adapters of {count(len(hosts), 'host')} are called `{words[other]}`, those of the others `{words[main]}`"
        yield Fault("adapter-naming", I_, message, victims=tuple(hosts), help="harmless here; NCCL_IB_HCA lists need both names")


__all__ = ["DOUBLE", "LOST", "HostView", "host_faults", "vote"]
