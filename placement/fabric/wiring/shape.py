# SPDX-License-Identifier: Apache-2.0
# D device   X half-cable   W leaf   J pod   T lane
"""Faults of the whole: islands, cables beside the tree, switches without cables, tapers and planes that differ, rails that
never meet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.adapters import Adapters
from placement.fabric.wiring.ends import Ends, vote
from placement.fabric.wiring.faults import Fault, Names, count, some
from placement.fabric.wiring.names import grid, numbers, renumbered
from placement.fabric.wiring.sockets import Sockets
from placement.fabric.wiring.uplinks import Boundary
from placement.hostlist import fold
from placement.ir import Kind, Wired
from placement.ir._array import Bools, Ints

E_, W_, I_ = Severity.ERROR, Severity.WARNING, Severity.INFO
TOGETHER = 4  # hosts that lost the same adapters have one cause
REGULAR = 0.5  # of the pods have a value: the others are off


def shape_faults(
    wired: Wired, ends: Ends, tier_D: Ints, names: Names, a: Adapters, s: Sockets, boundaries: list[Boundary]
) -> Iterator[Fault]:
    """Faults that need the whole fabric at once."""
    yield from _beside_the_tree(wired, ends, tier_D, names)
    yield from _idle(wired, ends, tier_D, names)
    island_D = islands(wired, ends)
    yield from _islands(tier_D, names, island_D, a, s)
    for b in boundaries:
        yield from _tapers(b, names)


def islands(wired: Wired, ends: Ends) -> Ints:
    """Connected part of each switch over cables between switches, numbered by first switch; -1 for adapters."""
    switch_D = _switches(wired)
    between = switch_D[ends.device_X] & switch_D[ends.peer_X]
    a, b = ends.device_X[between], ends.peer_X[between]
    a, b = _with_chassis(wired, switch_D, a, b)
    label = np.arange(len(switch_D))
    while True:
        low = label.copy()
        np.minimum.at(low, a, label[b])
        low = low[low]
        if np.array_equal(low, label):
            break
        label = low
    _, out = np.unique(np.where(switch_D, label, len(label)), return_inverse=True)
    return np.where(switch_D, out.ravel(), -1)


def _with_chassis(wired: Wired, switch_D: Bools, a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Chips of one chassis are joined by its backplane, also where a plan does not list it."""
    chips = np.flatnonzero(switch_D & (wired.device.unit_D != "") & (wired.device.name_D != ""))
    if not len(chips):
        return a, b
    _, first, of = np.unique(wired.device.name_D[chips], return_index=True, return_inverse=True)
    hub = chips[first[of.ravel()]]
    return np.r_[a, chips, hub], np.r_[b, hub, chips]


def _switches(wired: Wired) -> Bools:
    return np.asarray((wired.device.kind_D == Kind.SWITCH) | (wired.device.kind_D == Kind.ROUTER))


def _beside_the_tree(wired: Wired, ends: Ends, tier_D: Ints, names: Names) -> Iterator[Fault]:
    """Cables within one tier, or over more than one."""
    switch_D = _switches(wired)
    half = len(ends.device_X) // 2
    a, b = ends.device_X[:half], ends.peer_X[:half]
    low, high = np.minimum(tier_D[a], tier_D[b]), np.maximum(tier_D[a], tier_D[b])
    top = int(tier_D.max(initial=0))
    odd = switch_D[a] & switch_D[b] & (a != b) & (low >= 1) & (high - low != 1) & (top > 1)
    pairs: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for x in np.flatnonzero(odd).tolist():
        pairs[min(a[x], b[x]), max(a[x], b[x])].append(x)
    for (one, two), rows in pairs.items():
        line, file = names.place(int(ends.cable_X[rows[0]]))
        cables = tuple(
            names.cable(*(int(v[x]) for v in (ends.device_X, ends.port_X, ends.peer_X, ends.peer_port_X))) for x in rows
        )
        same = tier_D[one] == tier_D[two]
        message = f"{count(len(rows), 'cable')} between {names.device(int(one))} and {names.device(int(two))}, " + (
            f"both of tier {int(tier_D[one])}" if same else f"of tiers {int(tier_D[one])} and {int(tier_D[two])}"
        )
        yield Fault(
            "not-a-tree", E_, message, (), cables, devices=(names.device(int(one)), names.device(int(two))),
            cables=len(rows), line=line, file=file,
            help="up-down routing does not use it, and schedulers refuse fabrics that are no tree; move the cable",
        )  # fmt: skip


def _idle(wired: Wired, ends: Ends, tier_D: Ints, names: Names) -> Iterator[Fault]:
    """Devices without any cable, and leafs without a way up."""
    kind_D = wired.device.kind_D
    used_D = np.bincount(ends.device_X, minlength=len(kind_D))
    yield from _unlinked(wired, used_D, names)
    for d in np.flatnonzero((used_D == 0) & _switches(wired)).tolist():
        line, file = names.device_place(d)
        yield Fault(
            "idle-switch", W_, f"{names.device(d)} has no cable", devices=(names.device(d),), line=line, file=file,
            help="connect it, or take it out of the fabric",
        )  # fmt: skip
    yield from _hostless(wired, ends, tier_D, names)
    up_D = np.zeros(len(kind_D), np.int64)
    np.add.at(up_D, ends.device_X, (tier_D[ends.peer_X] == tier_D[ends.device_X] + 1) & (tier_D[ends.device_X] > 0))
    top = int(tier_D.max(initial=0))
    orphans_D = (tier_D >= 1) & (tier_D < top) & (up_D == 0) & (used_D > 0)
    for tier in range(1, top):
        yield from _headless(names, ends, tier_D, tier, orphans_D)
    for d in np.flatnonzero(orphans_D).tolist():
        line, file = names.device_place(d)
        below = sorted(
            {str(wired.device.name_D[p]) for p in ends.peer_X[ends.device_X == d].tolist() if kind_D[p] == Kind.ADAPTER} - {""}
        )
        yield Fault(
            "switch-cut-off", E_, f"{names.device(d)} has no cable upwards", victims=tuple(below),
            devices=(names.device(d),), line=line, file=file, help="check the switch before its cables",
        )  # fmt: skip
    adrift_D = _switches(wired) & (tier_D < 0) & (used_D > 0) & bool((tier_D == 1).any())
    for d in np.flatnonzero(adrift_D).tolist():
        line, file = names.device_place(d)
        yield Fault(
            "switch-cut-off", W_, f"no cables lead from {names.device(d)} down to a leaf", devices=(names.device(d),),
            line=line, file=file, help="check the switch before its cables",
        )  # fmt: skip


def _unlinked(wired: Wired, used_D: Ints, names: Names) -> Iterator[Fault]:
    """Adapters without a cable: one fault a host, or one for all hosts that lost the same adapters together."""
    device = wired.device
    adapter_D = device.kind_D == Kind.ADAPTER
    hosts: defaultdict[str, list[int]] = defaultdict(list)
    for d in np.flatnonzero((used_D == 0) & adapter_D).tolist():
        hosts[str(device.name_D[d]) or names.device(d)].append(d)
    linked = {str(n) for n in device.name_D[(used_D > 0) & adapter_D].tolist()}
    alike: defaultdict[tuple[bool, tuple[str, ...]], list[str]] = defaultdict(list)
    for host, rows in hosts.items():
        alike[host in linked, tuple(sorted(str(device.unit_D[d]) for d in rows))].append(host)
    for (partly, units), members in alike.items():
        for together in [members] if len(members) >= TOGETHER else [[m] for m in members]:
            rows = [d for m in together for d in hosts[m]]
            line, file = names.device_place(rows[0])
            whole = "" if partly else ": it cannot be reached" if len(together) == 1 else ": they cannot be reached"
            of = together[0] if len(together) == 1 else f"each of {len(together):,} hosts ({some(units, 8)})"
            many = len(units)
            message = f"{count(many, 'adapter')} of {of} {'have' if many > 1 else 'has'} no link{whole}"
            yield Fault(
                "no-link", E_, message, ("1 cable",), ("none",), victims=tuple(together),
                devices=tuple(names.device(d) for d in rows), cables=len(rows), line=line, file=file,
                help="check cable, transceivers and power" if len(together) == 1 else "check the leaf that they have in common",
            )  # fmt: skip


def _hostless(wired: Wired, ends: Ends, tier_D: Ints, names: Names) -> Iterator[Fault]:
    """Leafs that are cabled upwards like the others, but to no host."""
    kind_D = wired.device.kind_D
    adapter_X = kind_D[ends.peer_X] == Kind.ADAPTER
    hosts_D = np.bincount(ends.device_X[adapter_X], minlength=len(kind_D))
    up_D = np.bincount(ends.device_X[tier_D[ends.peer_X] == 2], minlength=len(kind_D))
    if not adapter_X.any():
        return  # a plan of switches only
    dark = bool(((np.bincount(ends.device_X, minlength=len(kind_D)) == 0) & (kind_D == Kind.ADAPTER)).any())
    for d in np.flatnonzero((tier_D == 1) & (hosts_D == 0) & (up_D > 0)).tolist():
        line, file = names.device_place(d)
        message = f"{names.device(d)} has {count(int(up_D[d]), 'uplink')}, but no host links"
        yield Fault(
            "leaf-without-hosts", E_ if dark else I_, message,
            ("host links",), ("none",), devices=(names.device(d),), line=line, file=file,
            help="check the leaf and its transceivers; nothing to do if its hosts are still to come",
        )  # fmt: skip


def _headless(names: Names, ends: Ends, tier_D: Ints, tier: int, orphans_D: Bools) -> Iterator[Fault]:
    """A whole column of a tier (the spines of one index in every pod) without a way up: what joined it is missing. Takes the
    column out.
    """
    row = np.flatnonzero(tier_D == tier)
    if not orphans_D[row].any():
        return
    g = grid([names.device(int(d)) for d in row])
    for field in range(g.field_NF.shape[1]):
        value, column, many = np.unique(g.field_NF[:, field], return_inverse=True, return_counts=True)
        gone = np.bincount(column.ravel(), weights=orphans_D[row], minlength=len(value))
        for v in np.flatnonzero((gone == many) & (many >= 2) & (2 * gone.sum() <= len(row))).tolist():
            mine = row[column.ravel() == v]
            name = _column_head(names, ends, tier_D, tier, row, g.field_NF[:, field], int(value[v]))
            message = f"{name or 'a switch'} is missing: {count(len(mine), 'switch', 'switches')} below have no cable upwards"
            orphans_D[mine] = False
            below = fold([names.device(int(d)) for d in mine], 80)
            yield Fault(
                "missing-switch", E_, message, (f"{name or 'a switch'} above {below}",), ("not in the capture",),
                devices=(name,) if name else (), cables=len(mine),
                help="check power and management of the switch; capture again when it is back",
            )  # fmt: skip


def _column_head(names: Names, ends: Ends, tier_D: Ints, tier: int, row: Ints, field: Ints, value: int) -> str:
    """Name of the one switch above a column, from those above the other columns; "" where there are several."""
    of = dict(zip(row.tolist(), field.tolist(), strict=True))
    heads: dict[int, set[int]] = defaultdict(set)
    for x in np.flatnonzero((tier_D[ends.device_X] == tier) & (tier_D[ends.peer_X] == tier + 1)).tolist():
        heads[of[int(ends.device_X[x])]].add(int(ends.peer_X[x]))
    single = {v: names.device(next(iter(d))) for v, d in heads.items() if len(d) == 1}
    votes: Counter[str] = Counter()
    for v, name in single.items():
        fields = numbers(name)
        if fields and fields[-1] + value - v >= 0:
            votes[renumbered(name, [*fields[:-1], fields[-1] + value - v])] += 1
    return votes.most_common(1)[0][0] if votes and 2 * votes.most_common(1)[0][1] > len(heads) else ""


def _islands(tier_D: Ints, names: Names, island_D: Ints, a: Adapters, s: Sockets) -> Iterator[Fault]:
    """Parts of the fabric that no path joins. Planes and split rails are parts by design: each holds the same hosts."""
    leafs = np.flatnonzero((tier_D == 1) & (island_D >= 0))
    if not len(leafs):
        return
    served = defaultdict(set)
    for leaf, host in zip(island_D[a.leaf_R].tolist(), a.host_R.tolist(), strict=True):
        if host >= 0:
            served[leaf].add(host)
    parts = sorted({int(i) for i in island_D[leafs].tolist() if served.get(int(i))}, key=lambda i: -len(served[i]))
    if len(parts) < 2:
        return
    main = served[parts[0]]
    planes = [p for p in parts if len(served[p] & main) >= 0.5 * len(main)]
    for part in parts[1:]:
        if part in planes:
            continue
        mine = np.flatnonzero(island_D == part)
        if len(mine) == 1:
            continue  # a single leaf without uplinks is reported as cut off
        hosts = tuple(sorted(a.hosts[h] for h in served[part]))
        yield Fault(
            "island", E_,
            f"{count(len(mine), 'switch', 'switches')} with {count(len(hosts), 'host')} cannot be reached from the rest",
            victims=hosts, devices=tuple(names.device(int(d)) for d in mine.tolist()),
            help="these are separate fabrics: join them, or describe them apart",
        )  # fmt: skip
    lanes = [frozenset(s.kind_W[np.isin(s.leaf_W, leafs[island_D[leafs] == p])].tolist()) for p in planes]
    if len(planes) > 1 and len(set(lanes)) == len(planes):
        yield Fault(
            "rails-not-joined", I_,
            f"the fabric has {len(planes)} parts without a path between them, one for each of its rails or planes",
            help="by design in rail-split fabrics: keep PXN on, and write `rails_connected: false`",
        )  # fmt: skip


def _tapers(b: Boundary, names: Names) -> Iterator[Fault]:
    """Pods whose switches have another number of uplinks than those of most pods."""
    if b.num_groups < 3 or not len(b.low_Q):
        return
    low, many = np.unique(b.low_Q, return_counts=True)
    group = b.group_D[low]
    per = vote(group, many)
    usual = vote(np.zeros(len(per.value_K), np.int64), per.value_K)
    if usual.count_K[0] < REGULAR * usual.total_K[0]:
        return
    off = per.key_K[np.abs(per.value_K - usual.value_K[0]) > 0.25 * usual.value_K[0]]
    for g in off.tolist():
        mine = low[group == g]
        n = int(per.value_K[per.key_K == g][0])
        text = fold([names.device(int(d)) for d in mine], 80)
        yield Fault(
            "taper-off-design", W_, f"{text} have {n} uplinks each, most others {int(usual.value_K[0])}",
            (f"{int(usual.value_K[0])} uplinks",), (f"{n}",), devices=tuple(names.device(int(d)) for d in mine),
            cables=len(mine) * max(0, int(usual.value_K[0]) - n), help="declare it as a tapered group, or add the cables",
        )  # fmt: skip
