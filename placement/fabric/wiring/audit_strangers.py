# SPDX-License-Identifier: Apache-2.0
# R adapter port   H host
"""Adapters that are not what they should be: foreign, unnamed, of a host without its name, or of another kind."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.faults import Fault, count
from placement.fabric.wiring.host_view import HostView
from placement.fabric.wiring.hosts import FOREIGN

E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO


def stranger_faults(view: HostView) -> Iterator[Fault]:
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
        yield _unnamed(view, f"hosts on {view.names.device(leaf)}", rows, {})
    yield from _doubles(view)


def _foreign(view: HostView, host: str, rows: list[int]) -> Fault:
    sockets = [view.row_socket(r) for r in rows]
    message = f"{host} is no host of this cluster, but has {count(len(rows), 'adapter')} on compute leafs"
    return Fault(
        "foreign-device", W_, message, (), tuple(f"{view.adapter(r)} -- {s}" for r, s in zip(rows, sockets, strict=True)),
        devices=tuple(sockets), cables=len(rows),
        help="management and storage hosts on compute leafs make false leafs and take bandwidth",
        **view.evidence(rows[0]),
    )  # fmt: skip


def _renamed(view: HostView, place: int, name: str, rows: list[int]) -> Fault:
    proper = view.x.naming.expected(place // view.x.width, place % view.x.width)
    message = f"a host calls itself `{name}`" + (f" at the place of {proper}" if proper else f" at {view.spot(place)}")
    return Fault(
        "host-name", W_, message, (proper,) if proper else (), (name,) if proper else (),
        **view.at(place), victims=(proper or name,), devices=tuple(view.row_socket(r) for r in rows),
        help="set the host name, then the node description", **view.evidence(rows[0]),
    )  # fmt: skip


def _unnamed(view: HostView, host: str, rows: list[int], at: dict[str, Any]) -> Fault:
    text = str(view.wired.device.text_D[view.a.device_R[rows[0]]])
    message = (
        f"{count(len(rows), 'adapter')} of {host} {'carry' if len(rows) > 1 else 'carries'} no host name "
        f"(`{' '.join(text.split())}`)"
    )
    known = host if " on " not in host and not host.startswith("the host") else ""
    return Fault(
        "unnamed-adapter", W_, message, victims=(known,) if known else (), devices=tuple(view.row_socket(r) for r in rows),
        help="the host is down or its driver has not set the node description", **at,
        **view.evidence(rows[0]),
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
            "duplicate-name", E_, message, (proper,) if proper else (), (name,) if proper else (),
            **view.at(place), victims=(name,), devices=tuple(view.row_socket(r) for r in rows),
            help="give each host its own name", **view.evidence(rows[0]),
        )  # fmt: skip


def unit_faults(view: HostView) -> Iterator[Fault]:
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
            "wrong-adapter", E_, f"{name} is no compute adapter, but is plugged into a compute leaf",
            (f"{expected} -- {view.row_socket(row)}",), (f"{name} -- {view.row_socket(row)}",),
            victims=(a.hosts[a.host_R[row]],), devices=(view.row_socket(row),), cables=1,
            help="a storage or management adapter stands in for a compute rail",
            **view.evidence(row),
        )  # fmt: skip
    odd = np.flatnonzero((a.class_R >= 0) & (a.lane_R >= 0) & (x.slot_R >= 0))
    if not len(odd):
        return
    schemes: dict[str, int] = {}
    scheme = np.array(
        [schemes.setdefault(re.sub(r"\d+", "#", str(u)), len(schemes)) for u in unit_D[a.device_R[odd]].tolist()], np.int64
    )
    if len(schemes) < 2:
        return
    words, main = list(schemes), int(np.bincount(scheme).argmax())
    for other in [i for i in range(len(words)) if i != main]:
        hosts = sorted({a.hosts[h] for h in a.host_R[odd[scheme == other]].tolist()})
        message = (
            f"the adapters of {count(len(hosts), 'host')} are called `{words[other]}`, those of the others `{words[main]}`"
        )
        yield Fault(
            "adapter-naming", I_, message, victims=tuple(hosts), help="harmless here; NCCL_IB_HCA lists need both names"
        )
