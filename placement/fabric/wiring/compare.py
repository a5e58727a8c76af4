# SPDX-License-Identifier: Apache-2.0
# C cable   E end
"""Two fabrics cable by cable: a plan and what was found, or two captures. Devices match by name, whatever its case."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.faults import Fault, Names, count, some
from placement.ir import Kind, Wired

E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO
Socket = tuple[str, str, int]
Link = tuple[Socket, Socket]
FASTER = 1 + 1e-6


@dataclass(frozen=True)
class Side:
    """One fabric as links between sockets, with the cable that each came from."""

    wired: Wired
    links: dict[Link, int]
    devices: frozenset[tuple[str, str]]

    @cached_property
    def names(self) -> Names:
        return Names(self.wired)

    def text(self, link: Link) -> str:
        """A cable with names and ports at both ends, as its own file writes them."""
        c = self.links[link]
        return " -- ".join(self.end(c, e) for e in (0, 1))

    def end(self, c: int, e: int) -> str:
        cable = self.wired.cable
        d = int(cable.device_CE[c, e])
        if self.wired.device.kind_D[d] != Kind.SWITCH:
            return self.names.socket(d, int(cable.port_CE[c, e]))
        return f"{self.names.device(d)}/{cable.port_CE[c, e]}"

    def place(self, link: Link) -> tuple[int, str]:
        return self.names.place(self.links[link])


def side(wired: Wired) -> Side:
    """Links of a fabric; those inside one chassis and to parts of a switch are left out."""
    device, cable = wired.device, wired.cable
    service = device.kind_D == Kind.SERVICE
    name = [
        n.split(".")[0].casefold() if k != Kind.SWITCH else n.casefold()
        for n, k in zip(device.name_D.tolist(), device.kind_D.tolist(), strict=True)
    ]
    unit = [_unit(u) for u in device.unit_D.tolist()]
    guid = device.guid_D.tolist()
    ident = [
        (n, u) if n else (f"guid {g:016x}" if g else f"device {d}", u)
        for d, (n, u, g) in enumerate(zip(name, unit, guid, strict=True))
    ]
    single = (device.kind_D != Kind.SWITCH) & (device.ports_D <= 1)
    links: dict[Link, int] = {}
    kept = np.flatnonzero(~service[cable.device_CE].any(axis=1)) if len(cable) else np.zeros(0, np.int64)
    for c, (a, b), (p, q) in zip(kept.tolist(), cable.device_CE[kept].tolist(), cable.port_CE[kept].tolist(), strict=True):
        if ident[a][0] == ident[b][0] and ident[a][1] and ident[b][1] and a != b:
            continue  # a backplane link of a chassis
        one, two = (*ident[a], 0 if single[a] else p), (*ident[b], 0 if single[b] else q)
        links[(one, two) if one <= two else (two, one)] = c
    return Side(wired, links, frozenset(ident))


def _unit(text: str) -> str:
    """`L05/U2` and `L5/U2` are one chip."""
    return re.sub(r"\d+", lambda m: str(int(m[0])), text.casefold())


@dataclass(frozen=True)
class Comparison:
    """`moved`: pairs of an intended and an actual link that share a socket; `missing` only intended; `extra` only actual."""

    intended: Side
    actual: Side
    moved: tuple[tuple[Link, Link], ...]
    missing: tuple[Link, ...]
    extra: tuple[Link, ...]
    slower: tuple[Link, ...]
    skipped: str = ""

    @property
    def same(self) -> bool:
        return not (self.moved or self.missing or self.extra or self.slower)


def compare(intended: Wired, actual: Wired) -> Comparison:
    """What differs. Kinds of cables that the plan does not speak of at all are not held against the capture."""
    a, b = side(intended), side(actual)
    lost = [link for link in a.links if link not in b.links]
    odd = [link for link in b.links if link not in a.links]
    skipped = ""
    if intended.planned and not actual.planned:
        kinds = {_kind(a, link) for link in a.links}
        left = [link for link in odd if _kind(b, link) not in kinds]
        odd = [link for link in odd if _kind(b, link) in kinds]
        skipped = f"{len(left):,} cables of kinds that the plan does not list are not compared" if left else ""
    by_socket: defaultdict[Socket, list[Link]] = defaultdict(list)
    for link in odd:
        for socket in link:
            by_socket[socket].append(link)
    taken: set[Link] = set()
    moved = []
    for link in lost:
        near = [o for s in _adapters_first(link) for o in by_socket.get(s, ()) if o not in taken]
        if near:
            taken.add(near[0])
            moved.append((link, near[0]))
    paired = {link for link, _ in moved}
    slower = [x for x in a.links if x in b.links and _slower(intended, actual, a.links[x], b.links[x])]
    return Comparison(
        a, b, tuple(moved), tuple(x for x in lost if x not in paired), tuple(o for o in odd if o not in taken),
        tuple(slower), skipped
    )  # fmt: skip


def _kind(s: Side, link: Link) -> bool:
    """Whether a cable joins two switches."""
    return bool((s.wired.device.kind_D[s.wired.cable.device_CE[s.links[link]]] == Kind.SWITCH).all())


def _adapters_first(link: Link) -> list[Socket]:
    """The sockets of a link, the adapter's first: who moved is told by the host, not by the port it left."""
    return sorted(link, key=lambda x: (x[2] != 0, x))


def _slower(intended: Wired, actual: Wired, c: int, d: int) -> bool:
    want, have = float(intended.cable.Bps_C[c]), float(actual.cable.Bps_C[d])
    return want > 0 and have > 0 and have * FASTER < want


def plan_faults(found: Comparison) -> Iterator[Fault]:
    """The difference between a plan and what was found, one fault a cause."""
    a, b = found.intended, found.actual
    present = b.devices
    named = {n for n, _ in present}
    gone: defaultdict[str, list[Link]] = defaultdict(list)
    single: list[Link] = []
    for link in found.missing:
        absent = [s[0] for s in link if s[0] not in named]
        if absent:
            gone[absent[0]].append(link)
        else:
            single.append(link)
    for device, links in gone.items():
        yield _absent(a, device, links)
    yield from _moved(found)
    for link in single:
        line, file = a.place(link)
        yield Fault(
            "plan-missing", W_, f"a cable of the plan is not there: {a.text(link)}", (a.text(link),), ("no link",),
            victims=_hosts(a, link), devices=tuple(a.text(link).split(" -- ")), cables=1, line=line, file=file,
            help="connect it, or strike it from the plan",
        )  # fmt: skip
    yield from _extra(found)
    for link in found.slower:
        line, file = b.place(link)
        want, have = (s.wired.cable.Bps_C[s.links[link]] * 8e-9 for s in (a, b))
        yield Fault(
            "plan-speed", W_, f"{b.text(link)} runs at {have:g} Gb/s, planned are {want:g}",
            (f"{a.text(link)} at {want:g} Gb/s",), (f"{b.text(link)} at {have:g} Gb/s",), victims=_hosts(b, link), cables=1,
            line=line, file=file, help="check cable type, transceivers and port settings",
        )  # fmt: skip


def _hosts(s: Side, link: Link) -> tuple[str, ...]:
    device, ends = s.wired.device, s.wired.cable.device_CE[s.links[link]].tolist()
    return tuple(str(device.name_D[d]) for d in ends if device.kind_D[d] == Kind.ADAPTER and device.name_D[d])


def _absent(a: Side, device: str, links: list[Link]) -> Fault:
    line, file = a.place(links[0])
    c = a.links[links[0]]
    name = next(
        (
            str(a.wired.device.name_D[d])
            for d in a.wired.cable.device_CE[c].tolist()
            if str(a.wired.device.name_D[d]).casefold() == device
        ),
        device,
    )
    texts = tuple(a.text(x) for x in links)
    hosts = tuple(sorted({h for x in links for h in _hosts(a, x)}))
    return Fault(
        "plan-missing-device", E_, f"{name} of the plan is not there, nor {count(len(links), 'cable')} to it", texts,
        ("no such device",) * len(links), victims=hosts, devices=(name,), cables=len(links), line=line, file=file,
        help="check its power and its name; or strike it from the plan",
    )  # fmt: skip


def _moved(found: Comparison) -> Iterator[Fault]:
    """Links that are somewhere else than planned; those that touch are one fault."""
    a, b = found.intended, found.actual
    parent: dict[Socket, Socket] = {}

    def root(x: Socket) -> Socket:
        while parent.setdefault(x, x) != x:
            x = parent[x]
        return x

    for pair in found.moved:
        sockets = [s for link in pair for s in link]
        for s in sockets[1:]:
            parent[root(s)] = root(sockets[0])
    groups: defaultdict[Socket, list[tuple[Link, Link]]] = defaultdict(list)
    for pair in found.moved:
        groups[root(pair[0][0])].append(pair)
    for pairs in groups.values():
        line, file = b.place(pairs[0][1])
        expected, actual = tuple(a.text(x) for x, _ in pairs), tuple(b.text(y) for _, y in pairs)
        hosts = tuple(sorted({h for x, y in pairs for h in (*_hosts(a, x), *_hosts(b, y))}))
        what = some(hosts) if hosts else actual[0]
        message = f"{count(len(pairs), 'cable')} of {what} {'are' if len(pairs) > 1 else 'is'} not where the plan says"
        yield Fault(
            "plan-miswired", E_, message, expected, actual, victims=hosts,
            devices=tuple(t for y in actual for t in y.split(" -- ")), cables=len(pairs), line=line, file=file,
            help="move the cable, or correct the plan",
        )  # fmt: skip


def _extra(found: Comparison) -> Iterator[Fault]:
    """Links that the plan does not know, by switch."""
    b = found.actual
    groups: defaultdict[int, list[Link]] = defaultdict(list)
    device = b.wired.device
    for link in found.extra:
        ends = b.wired.cable.device_CE[b.links[link]].tolist()
        groups[next((d for d in ends if device.kind_D[d] == Kind.SWITCH), ends[0])].append(link)
    for d, links in groups.items():
        line, file = b.place(links[0])
        texts = tuple(b.text(x) for x in links)
        message = f"{count(len(links), 'cable')} of {b.names.device(d)} {'are' if len(links) > 1 else 'is'} not in the plan"
        yield Fault(
            "plan-extra", W_, message, ("no link",) * len(texts), texts,
            victims=tuple(sorted({h for x in links for h in _hosts(b, x)})), devices=(b.names.device(d),), cables=len(links),
            line=line, file=file, help="add it to the plan, or remove it",
        )  # fmt: skip


def ndt_report(found: Comparison) -> dict[str, list[object]]:
    """The difference in the words and buckets of UFM's NDT report: `miss_wired`, `missing_in_ufm`, `missing_in_ndt`."""
    a, b = found.intended, found.actual
    moved: list[object] = [{"expected": _ufm(a, x), "actual": _ufm(b, y)} for x, y in found.moved]
    return {
        "miss_wired": moved,
        "missing_in_ufm": [_ufm(a, x) for x in found.missing],
        "missing_in_ndt": [_ufm(b, x) for x in found.extra],
    }


def _ufm(s: Side, link: Link) -> str:
    """`HOST/HOST adapter - switch/16`: adapters first, as UFM writes most of them."""
    cable, device = s.wired.cable, s.wired.device
    c = s.links[link]
    ends = []
    for e in (0, 1):
        d, text = int(cable.device_CE[c, e]), str(device.text_D[int(cable.device_CE[c, e])])
        if device.kind_D[d] == Kind.SWITCH:
            ends.append((1, f"{device.name_D[d]}/{cable.port_text(c, e)}"))
        else:
            ends.append((0, f"{text.split(maxsplit=1)[0]}/{text}" if text.split() else s.names.device(d)))
    return " - ".join(t for _, t in sorted(ends))


HOST_KINDS = frozenset(
    {
        "absent-tray", "foreign-device", "leaf-without-hosts", "missing-host-link", "partial-group", "swapped-cables",
        "swapped-hosts", "swapped-leafs", "swapped-ports", "swapped-racks", "wrong-leaf", "wrong-place",
    }
)  # fmt: skip
SWITCH_KINDS = frozenset({"crossed-pair", "missing-cable", "swapped-uplinks", "taper-off-design", "wrong-switch"})
BOTH_KINDS = frozenset({"extra-cable", "missing-switch", "switch-cut-off", "wrong-port"})


def superseded(plan: Wired) -> frozenset[str]:
    """Kinds of faults that a plan judges better than the pattern does: those of the cables that it lists."""
    switch_C = (plan.device.kind_D[plan.cable.device_CE] == Kind.SWITCH).all(axis=1)
    hosts, switches = bool((~switch_C).any()), bool(switch_C.any())
    return (
        (HOST_KINDS if hosts else frozenset())
        | (SWITCH_KINDS if switches else frozenset())
        | (BOTH_KINDS if hosts and switches else frozenset())
    )
