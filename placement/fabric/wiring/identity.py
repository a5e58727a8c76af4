# SPDX-License-Identifier: Apache-2.0
# D device   C cable   E end   X half-cable
"""Faults that need no pattern: identities that are not unique, ports that are used twice, speeds and widths that differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.ends import Ends, joined, vote
from placement.fabric.wiring.faults import Fault, Names, count, some
from placement.ir import Kind, Wired
from placement.ir._array import Bools, Ints

E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO
MANY, TWICE = 20, 0.1  # identities that are there twice, and part of all: the file is to blame, not each device
PERMISSIVE = 65535  # LID of a port that the subnet manager has not configured (IBTA)


def identity_faults(wired: Wired, names: Names) -> Iterator[Fault]:
    """Duplicate GUIDs, LIDs and switch names; ports without a LID."""
    device = wired.device
    yield from _twins(wired, names, device.guid_D.astype(np.int64), device.guid_D != 0, "duplicate-guid", "GUID", E_)
    with_lid = (device.lid_D > 0) & (device.lid_D < 0xC000)
    yield from _twins(wired, names, device.lid_D, with_lid, "duplicate-lid", "LID", E_)
    yield from _same_name(wired, names)
    real = int(device.lid_D.max(initial=0)) <= PERMISSIVE  # larger numbers are no LIDs: the file numbers its devices
    idle = np.flatnonzero(real & (device.lid_D == PERMISSIVE) & (device.kind_D == Kind.ADAPTER))
    if len(idle):
        hosts = tuple(sorted({str(n) for n in device.name_D[idle].tolist() if n}))
        line, file = names.device_place(int(idle[0]))
        message = f"{count(len(idle), 'adapter')} of {count(len(hosts), 'host')} {'have' if len(idle) > 1 else 'has'} no LID"
        yield Fault(
            "no-lid", W_, message, victims=hosts, line=line, file=file,
            help="the subnet manager has not configured these ports: no traffic passes until it has",
        )  # fmt: skip


def _twins(wired: Wired, names: Names, key_D: Ints, of_D: Bools, kind: str, word: str, severity: Severity) -> Iterator[Fault]:
    rows = np.flatnonzero(of_D)
    _, of, many = np.unique(key_D[rows], return_inverse=True, return_counts=True)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row, key in zip(rows[many[of.ravel()] > 1].tolist(), key_D[rows[many[of.ravel()] > 1]].tolist(), strict=True):
        groups[key].append(row)
    if len(groups) > max(MANY, TWICE * len(rows)):
        yield _all_twice(names, list(groups.values()), len(rows), kind, word, severity)
        return
    for key, twins in groups.items():
        line, file = names.device_place(twins[1])
        lines = [names.device_place(d)[0] for d in twins]
        value = (
            f"{int(wired.device.guid_D[twins[0]]):016x}"
            if kind == "duplicate-guid"
            else str(key)
            if kind == "duplicate-lid"
            else ""
        )
        text = f" {value}" if value else ""
        message = f"{count(len(twins), 'device')} share the {word}{text}: {some(dict.fromkeys(names.device(d) for d in twins))}"
        yield Fault(
            kind, severity, message, actual=tuple(f"{names.device(d)} (line {n:,})" for d, n in zip(twins, lines, strict=True)),
            devices=tuple(names.device(d) for d in twins), line=line, file=file, help=f"each device needs its own {word}",
        )  # fmt: skip


def _all_twice(names: Names, groups: list[list[int]], devices: int, kind: str, word: str, severity: Severity) -> Fault:
    """One finding where a large part of the capture is there twice: two captures in one file, or two fabrics."""
    line, file = names.device_place(groups[0][1])
    message = f"{len(groups):,} of {devices:,} devices share their {word} with another: the capture holds them twice"
    told = dict.fromkeys(names.device(d) for g in groups for d in g)
    return Fault(
        kind, severity, message, actual=(f"from line {line:,} on",), devices=tuple(told), line=line, file=file,
        help="give one capture a file; fabrics that were captured apart may use the same numbers",
    )  # fmt: skip


def _same_name(wired: Wired, names: Names) -> Iterator[Fault]:
    """Switches that bear one name: as many chips of a chassis as there are do so by right, each with its own unit."""
    device = wired.device
    bearers: defaultdict[str, list[int]] = defaultdict(list)
    for d in np.flatnonzero((device.kind_D == Kind.SWITCH) & (device.name_D != "")).tolist():
        bearers[str(device.name_D[d]).casefold()].append(d)
    for rows in bearers.values():
        if len(rows) < 2 or len({str(device.unit_D[d]) for d in rows}) == len(rows):
            continue
        line, file = names.device_place(rows[1])
        racks = [str(r) for r in np.unique(device.rack_D[rows]) if r]
        where = f" in racks {some(racks)}" if len(racks) > 1 else ""
        yield Fault(
            "duplicate-name", E_, f"several switches are called {device.name_D[rows[0]]}{where}",
            actual=tuple(f"{names.device(d)} (line {names.device_place(d)[0]:,})" for d in rows[:20]),
            devices=(str(device.name_D[rows[0]]),), line=line, file=file, help="each switch needs its own name",
        )  # fmt: skip


def port_faults(wired: Wired, ends: Ends, names: Names) -> Iterator[Fault]:
    """Ports with two cables, ports that the device does not have, cables that lead back to their own switch."""
    device = wired.device
    known_X = ends.port_X >= 0
    loop_X = ends.device_X == ends.peer_X
    span = int(ends.port_X.max(initial=0)) + 1
    code_X = np.where(known_X, ends.device_X * span + ends.port_X, -1 - np.arange(len(known_X)))
    _, of, many = np.unique(code_X, return_inverse=True, return_counts=True)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for x in np.flatnonzero(many[of.ravel()] > 1).tolist():
        groups[int(code_X[x])].append(x)
    for rows in groups.values():
        socket = names.socket(int(ends.device_X[rows[0]]), int(ends.port_X[rows[0]]))
        line, file = names.place(int(ends.cable_X[rows[-1]]))
        peers = tuple(
            names.cable(*(int(v[x]) for v in (ends.device_X, ends.port_X, ends.peer_X, ends.peer_port_X))) for x in rows
        )
        yield Fault(
            "port-twice", E_, f"{socket} has {len(rows)} cables", ("1 cable",), (f"{len(rows)}: {some(peers)}",),
            devices=(socket,), cables=len(rows) - 1, line=line, file=file,
            help="a port takes one cable: one of the records is wrong", records=tuple(int(ends.cable_X[x]) for x in rows),
        )  # fmt: skip
    ports_D = device.ports_D
    over = np.flatnonzero((ports_D[ends.device_X] >= 0) & (ends.port_X > ports_D[ends.device_X]))
    beyond: defaultdict[int, list[int]] = defaultdict(list)
    for x in over.tolist():
        beyond[int(ends.device_X[x])].append(x)
    for d, rows in beyond.items():
        line, file = names.place(int(ends.cable_X[rows[0]]))
        sockets = [names.socket(d, int(ends.port_X[x])) for x in rows]
        what = f"{some(sockets)} {'are' if len(rows) > 1 else 'is'} used, but {names.device(d)} has {int(ports_D[d])} ports"
        yield Fault(
            "no-such-port", E_, what, (f"ports 1 to {int(ports_D[d])}",) * len(rows),
            tuple(f"port {int(ends.port_X[x])}" for x in rows), devices=(names.device(d), *sockets), cables=len(rows),
            line=line, file=file, help="the port number or the switch model is wrong",
            records=tuple(int(ends.cable_X[x]) for x in rows),
        )  # fmt: skip
    half = len(loop_X) // 2
    for x in np.flatnonzero(loop_X[:half]).tolist():
        text = names.cable(*(int(v[x]) for v in (ends.device_X, ends.port_X, ends.peer_X, ends.peer_port_X)))
        line, file = names.place(int(ends.cable_X[x]))
        yield Fault(
            "loop-cable", W_, f"a cable leads from {names.device(int(ends.device_X[x]))} back to itself", (), (text,),
            devices=(names.device(int(ends.device_X[x])),), cables=1, line=line, file=file,
            help="remove it, or connect it as planned",
        )  # fmt: skip


def speed_faults(wired: Wired, ends: Ends, tier_D: Ints, names: Names) -> Iterator[Fault]:
    """Links that run at another speed or width than most between the same tiers; a device whose links all do is one."""
    cable = wired.cable
    half = len(ends.device_X) // 2
    a_C, b_C, at_C = ends.device_X[:half], ends.peer_X[:half], ends.cable_X[:half]
    known = np.flatnonzero((cable.Bps_C[at_C] > 0) & (a_C != b_C))
    a, b, at = a_C[known], b_C[known], at_C[known]
    if not len(at):
        return
    first_rate, rate = np.unique(
        np.stack([cable.Bps_C[at], cable.width_C[at]], axis=1), axis=0, return_index=True, return_inverse=True
    )[1:]
    rate = rate.ravel()
    low, high = np.minimum(tier_D[a], tier_D[b]), np.maximum(tier_D[a], tier_D[b])
    _, model_D = np.unique(wired.device.model_D, return_inverse=True)
    upper = np.where(tier_D[a] <= tier_D[b], b, a)
    mode = vote(joined(low + 1, high + 1, model_D.ravel()[upper]), rate)
    firm = (mode.count_K >= 2) & (2 * mode.count_K > mode.total_K)
    odd = np.flatnonzero((rate != mode.winner_X) & firm[mode.of_X])
    words = [_rate_text(wired, int(at[f])) for f in first_rate.tolist()]
    lower = np.where(tier_D[a] <= tier_D[b], a, b)
    _, owner_D = np.unique(
        np.where(wired.device.name_D == "", wired.device.guid_D.astype(np.str_), wired.device.name_D), return_inverse=True
    )
    owner = owner_D.ravel()[lower]
    total = np.bincount(owner)
    sets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i in odd.tolist():
        sets[int(owner[i]), int(rate[i])].append(i)
    whole: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for (who, mine), rows in sets.items():
        if len(rows) > 1 and len(rows) == total[who]:
            whole[mine, int(mode.winner_X[rows[0]])].extend(rows)
            continue
        for i in rows:
            usual = int(at[first_rate[mode.winner_X[i]]])
            narrow = cable.width_C[at[i]] != cable.width_C[usual]
            yield _slow(wired, names, "wrong-width" if narrow else "wrong-speed", int(at[i]), words[int(mode.winner_X[i])])
    owners = len(np.unique(owner))
    for (mine, usual), rows in whole.items():
        hosts = sorted({_owner(wired, int(lower[i])) for i in rows})
        yield _generation(names, int(at[rows[0]]), words[mine], words[usual], hosts, len(rows), 10 * len(hosts) >= owners)


def _generation(names: Names, c: int, rate: str, usual: str, owners: list[str], cables: int, many: bool) -> Fault:
    line, file = names.place(c)
    message = f"every link of {some(owners)} runs at {rate}, those of the others at {usual}"
    return Fault(
        "mixed-generation", I_ if many else W_, message, (usual,), (rate,), victims=tuple(owners), cables=cables, line=line,
        file=file, help="plan these apart: a job is as fast as its slowest link",
    )  # fmt: skip


def _slow(wired: Wired, names: Names, kind: str, c: int, usual: str) -> Fault:
    cable, device = wired.cable, wired.device
    (a, b), (p, q) = cable.device_CE[c].tolist(), cable.port_CE[c].tolist()
    text, rate = names.cable(a, p, b, q), _rate_text(wired, c)
    line, file = names.place(c)
    hosts = tuple(sorted({str(device.name_D[d]) for d in (a, b) if device.kind_D[d] == Kind.ADAPTER and device.name_D[d]}))
    return Fault(
        kind, W_, f"{text} runs at {rate} instead of {usual}", (f"{text} at {usual}",), (f"{text} at {rate}",),
        victims=hosts, devices=(names.device(a), names.device(b)), cables=1, line=line, file=file,
        help="check cable type, transceivers and port settings", records=(c,),
    )  # fmt: skip


def _rate_text(wired: Wired, c: int) -> str:
    cable = wired.cable
    return cable.rates[int(cable.rate_C[c])] or f"{cable.Bps_C[c] * 8e-9:g} Gb/s"


def _owner(wired: Wired, d: int) -> str:
    return str(wired.device.name_D[d]) or f"{int(wired.device.guid_D[d]):016x}"
