# SPDX-License-Identifier: Apache-2.0
# R adapter port   Q slot   W leaf   J group of leafs that share hosts   H host
"""Faults of the cables between hosts and leafs: exchanged rails and cables, moved and missing ones, missing leafs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.audit_places import absent_faults, order_faults
from placement.fabric.wiring.audit_strangers import stranger_faults, unit_faults
from placement.fabric.wiring.chains import Chain, chains
from placement.fabric.wiring.faults import Fault, count, some
from placement.fabric.wiring.host_view import HostView, named
from placement.fabric.wiring.sockets import missing_leafs
from placement.hostlist import fold

ALL = 0.8  # of a device's cables are gone: the device is to blame, not each cable
E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO


def host_faults(view: HostView) -> Iterator[Fault]:
    """Every fault between hosts and leafs, roughly by weight."""
    yield from _missing_leafs(view)
    yield from _cabling(view)
    yield from absent_faults(view)
    yield from order_faults(view)
    yield from stranger_faults(view)
    yield from unit_faults(view)


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
            yield _rewired(
                view, Chain(tuple(int(real_Q[q]) for q in chain.expected), tuple(int(rows[r]) for r in chain.actual))
            )
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
        help=help, **view.evidence(*chain.actual),
    )  # fmt: skip


def _what(view: HostView, chain: Chain, slots: list[int], hosts: tuple[str, ...]) -> tuple[str, str, Severity, str]:
    """Kind, message, severity and help of a chain of wrong cables."""
    x, n = view.x, len(chain.actual)
    wanted = {q: int(x.leaf_Q[i]) for q, i in zip([int(x.slot_Q[i]) for i in chain.expected], chain.expected, strict=True)}
    wrong_leaf = [r for r, q in zip(chain.actual, slots, strict=True) if wanted.get(q, -1) != int(x.leaf_R[r])]
    if view.a.upper_R[list(chain.actual)].any():
        return (
            "adapter-above-leaf",
            f"{some(hosts)}: an adapter is plugged into a switch above the leafs",
            E_,
            "move it to its leaf",
        )
    if not chain.expected:
        return (
            "extra-cable",
            f"{some(hosts)}: {count(n, 'adapter cable')} that the pattern does not know",
            W_,
            "check what it is for",
        )
    home = {int(x.slot_R[r]) // x.lanes // x.width for r in chain.actual}
    if wrong_leaf and len(hosts) == 1 and {int(view.s.group_W[x.leaf_R[r]]) for r in wrong_leaf} <= home:
        rails = f"{count(n, 'cable')} of {hosts[0]} {'are' if n > 1 else 'is'} on the wrong rail"
        return "rail-swap", rails, E_, "swap the cables at the host: collectives expect rail i on the leafs of rail i"
    if wrong_leaf:
        noun = "cables of different hosts are" if n > 1 else f"cable of {hosts[0]} is"
        return "wrong-leaf", f"{n} {noun} plugged into the wrong leaf", E_, "move them to the leaf of their rack and rail"
    if n == 1:
        return (
            "wrong-port",
            f"{hosts[0]} is plugged into the wrong port of its leaf",
            W_,
            "move the cable, or note it in the plan",
        )
    if len(hosts) == 1:
        return (
            "swapped-ports",
            f"{n} cables of {hosts[0]} are exchanged on their leaf",
            W_,
            "swap them at the leaf or at the host",
        )
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
            "leaf-without-hosts", E_,
            f"{view.names.device(int(view.s.leaf_W[leaf]))} has lost {len(lost)} of {int(real[leaf])} host links",
            (f"{count(int(real[leaf]), 'host link')}",), (f"{int(real[leaf]) - len(lost)}",),
            **view.at(slot_Q[lost[0]] // x.lanes), victims=named(hosts),
            devices=(view.names.device(int(view.s.leaf_W[leaf])),), cables=len(lost),
            help="check the leaf and its transceivers",
        )  # fmt: skip
    by_place: defaultdict[int, list[int]] = defaultdict(list)
    for q in rest:
        by_place[slot_Q[q] // x.lanes].append(q)
    for place, lost in by_place.items():
        host = view.host(place)
        plugs = [f"{view.plug(slot_Q[q])} -- {view.socket(leaf_Q[q], port_Q[q])}" for q in lost]
        total = sum(1 for slot in range(place * x.lanes, (place + 1) * x.lanes) if slot in view.socket_of)
        yield Fault(
            "missing-host-link", E_, f"{host} has no link on {len(lost)} of its {total} rails", tuple(plugs),
            ("no link",) * len(plugs), **view.at(place), victims=named((host,)),
            devices=tuple(view.socket(leaf_Q[q], port_Q[q]) for q in lost), cables=len(lost),
            help="check the cable, the transceivers and the adapter",
        )  # fmt: skip


def _missing_leafs(view: HostView) -> Iterator[Fault]:
    """Groups that lack a leaf of a kind which most groups have."""
    present = {view.names.device(d).casefold() for d in np.flatnonzero(view.wired.device.kind_D == 0).tolist()}
    for group, kind in missing_leafs(view.s):
        name = view.leaf_names.expected(group, kind)
        yield _missing_leaf(view, group, kind, name, name.casefold() in present if name else False)


def _missing_leaf(view: HostView, group: int, kind: int, name: str, present: bool) -> Fault:
    x, s = view.x, view.s
    places = np.unique(x.slot_Q[x.real_Q] // x.lanes)
    hosts = tuple(view.host(int(p)) for p in places[places // x.width == group])
    siblings = fold([view.names.device(int(d)) for d in s.leaf_W[s.group_W == group]], 80)
    lanes = some(
        [
            view.a.unit_of[0][lane] if view.a.unit_of and lane < len(view.a.unit_of[0]) else f"lane {lane}"
            for lane in s.kinds[kind]
        ]
    )
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
