# SPDX-License-Identifier: Apache-2.0
# Q slot   W leaf   J group of leafs that share hosts   H host
"""Places of hosts: absent trays, partial groups, and hosts, racks and leafs that stand where another one belongs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.faults import Fault, count, some
from placement.fabric.wiring.host_view import HostView
from placement.fabric.wiring.naming import Naming
from placement.hostlist import fold
from placement.ir._array import Ints

ALL = 0.8  # of the hosts of a rack stand at another's places: the rack is exchanged, not each host
E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO


def absent_faults(view: HostView) -> Iterator[Fault]:
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
            if s.num_groups == 1 and not x.naming.expected(group, place):
                continue  # nothing says that a host should be there: no other group has one, and no name is left out
            yield _tray(view, group * x.width + place)


def _tray(view: HostView, place: int) -> Fault:
    x = view.x
    slots = [q for q in range(place * x.lanes, (place + 1) * x.lanes) if q in view.socket_of]
    name = x.naming.expected(place // x.width, place % x.width)
    sockets = [view.socket(*view.socket_of[q]) for q in slots]
    message = (
        f"{name or 'a host'} is absent: {'all ' if len(sockets) > 1 else ''}{count(len(sockets), 'socket')} of its "
        f"place are empty"
    )
    if not name and sockets:
        message = f"a host is absent at {sockets[0]}: {count(len(sockets), 'socket')} of its place are empty"
    return Fault(
        "absent-tray", W_, message, (f"{name or 'a host'} at {some(sockets)}",), ("no link on any rail",), **view.at(place),
        victims=(name,) if name else (), devices=tuple(sockets), cables=len(sockets),
        help="power the tray on, or declare it absent",
    )  # fmt: skip


def _partial(view: HostView, group: int, tail: Ints, usual: int) -> Fault:
    names = [view.x.naming.expected(group, int(p)) for p in tail]
    known = tuple(n for n in names if n)
    leafs = fold([view.names.device(int(d)) for d in view.s.leaf_W[view.s.group_W == group]], 80)
    last = group == view.s.num_groups - 1
    message = f"the group of {leafs} holds {usual - len(tail)} of {usual} hosts"
    return Fault(
        "partial-group", I_ if last else W_, message, (f"{usual} hosts",), (f"{usual - len(tail)}",), view.group(group), "",
        known, help="nothing to do if racks are still to come",
    )  # fmt: skip


def order_faults(view: HostView) -> Iterator[Fault]:
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
                "wrong-place", W_, message, (f"{proper} at {view.spot(place[host])}",), (host,), **view.at(place[host]),
                victims=(host,),
                help="two hosts claim one name or place" if known else "move the host, or give it the name of its place",
            )  # fmt: skip


def _racks(view: HostView, one: str, two: str, hosts: list[str], place: int) -> Fault:
    message = f"racks {one} and {two} are exchanged: each is cabled to the leafs of the other"
    return Fault(
        "swapped-racks", E_, message, (f"{one} at {view.spot(place).removeprefix('the host at ')}",), (two,),
        **view.at(place), victims=tuple(sorted(hosts)), devices=(one, two), cables=len(hosts) * view.x.lanes,
        help="exchange the trunks, or the names",
    )  # fmt: skip


def _exchanged(view: HostView, host: str, proper: str, place: dict[str, int]) -> Fault:
    message = f"{host} and {proper} are exchanged on every rail"
    spots = [view.spot(place[h]).removeprefix("the host at ") for h in (proper, host)]
    return Fault(
        "swapped-hosts", W_, message, (f"{host} -- {spots[0]}", f"{proper} -- {spots[1]}"),
        (f"{host} -- {spots[1]}", f"{proper} -- {spots[0]}"), **view.at(place[host]), victims=(host, proper),
        cables=2 * view.x.lanes, help="exchange the trays, or their names",
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
        message = (
            f"{name} and {proper} are exchanged: each serves the hosts of the other"
            if pair
            else f"{name} serves the hosts of {proper or 'another leaf'}"
        )
        hosts = sorted({view.a.hosts[h] for h in view.a.host_R[view.a.leaf_R == s.leaf_W[where[name]]].tolist() if h >= 0})
        yield Fault(
            "swapped-leafs", E_, message, (f"{proper} here",), (name,), view.group(group), "", tuple(hosts),
            (name, proper) if pair else (name,), len(hosts) * (2 if pair else 1),
            help="exchange the trunks of the two leafs, or their names",
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
