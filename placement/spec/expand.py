# SPDX-License-Identifier: Apache-2.0
# N node   R rail   P plane   W switch   C cable   J group of a tier   X rack
"""A topology file as wired: every switch, adapter and cable that its pattern stands for, at port level.

Ports are numbered from 1: a switch has its downlinks first, in the order of what hangs below, then its uplinks in the order
of the switches above. Uplinks of leafs are dealt over the switches of their group as `spec.switches.pair_cables` says.
Exceptions are left out: this is the design.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from placement.diag import Diagnostic, InputError, Label, Span
from placement.fabric.pattern import Pattern, TierPattern, build
from placement.ir import Cables, Devices, Gpus, Hosts, Kind, Wired
from placement.ir._array import Floats, Ints, Strings
from placement.spec.layout import Layout, layout_of
from placement.spec.lower import check_sizes, nic_speeds
from placement.spec.reader import Reader
from placement.spec.source import Document, load
from placement.spec.switches import switch_table
from placement.spec.tiers import tier_specs
from placement.spec.topology import Topology
from placement.spec.validate import validate

MAX_CABLES = 20_000_000


@dataclass(frozen=True)
class _Tier:
    """Switches of a tier as devices: `first` device number, `start_J` first index of each group in one copy, `copy` switches
    of a copy.
    """

    pattern: TierPattern
    first: int
    names_W: Strings
    column_WK: Ints  # group, rail (-1 all), plane, index
    start_J: Ints
    copy: int
    rails: int

    def device(self, group: Ints, rail: Ints, plane: Ints, index: Ints) -> Ints:
        lane = plane * self.rails + (rail if self.rails > 1 else 0)
        return self.first + lane * self.copy + self.start_J[group] + index


def load_wired(path: str) -> Wired:
    """The design of a topology file, as wired. Raises InputError with every finding."""
    return expand(load(path, room="topology"))


def expand(doc: Document) -> Wired:
    """The cables of a parsed topology."""
    spec = validate(doc, Topology)
    reader = Reader(spec, doc)
    check_sizes(reader)
    reader.found.raise_if_errors()
    speed_X, layout = nic_speeds(reader), layout_of(reader)
    specs, _ = tier_specs(reader)
    reader.found.raise_if_errors()
    fabric = spec.fabric
    pattern = build(
        specs, layout.nodes_X * reader.nics, rails=reader.nics, planes=fabric.planes, rails_connected=fabric.rails_connected
    )
    wired = [t for t in pattern.tiers if t.spec.ports is not None]
    total = int(pattern.nics_X.sum()) * pattern.planes + sum(t.num_uplinks for t in wired)
    if total > MAX_CABLES:
        label = Label(Span(doc.file))
        raise InputError([Diagnostic("topology/absurd-number", f"the pattern stands for {total:,} cables", primary=label)])
    num_adapters = len(layout.host_N) * reader.nics
    tiers, first = [], num_adapters
    for index, tier in enumerate(pattern.tiers):
        if tier.spec.ports is None:
            break
        names_W, column_WK = switch_table(reader, index, pattern)
        start_J = np.r_[0, np.cumsum(tier.switches_J)[:-1]]
        rails = pattern.rails if tier.spec.per_rail else 1
        tiers.append(_Tier(tier, first, names_W, column_WK, start_J, int(tier.switches_J.sum()), rails))
        first += len(names_W)
    device = _devices(reader, layout, tiers)
    parts = [_host_cables(layout, pattern, tiers[0], speed_X, reader.nics)] if tiers else []
    parts += [_up_cables(pattern, low, high) for low, high in itertools.pairwise(tiers) if low.pattern.spec.uplinks]
    return Wired(
        spec.name, "topology", (doc.file,), device, _cables(parts), _hosts(spec, layout, reader.nics), _no_gpus(), planned=True
    )


Part = tuple[Ints, Ints, Floats]  # devices and ports of both ends, bytes/s


def _host_cables(layout: Layout, pattern: Pattern, leaf: _Tier, speed_X: Floats, rails: int) -> Part:
    """Adapter r of a node to the leaf of its group, rail and plane; ports follow racks and nodes."""
    num_nodes = len(layout.host_N)
    group_N = leaf.pattern.group_X[layout.rack_N]
    first_N = np.searchsorted(group_N, np.arange(leaf.pattern.num_groups))
    nth_N = np.arange(num_nodes) - first_N[group_N]
    n, r, p = (a.ravel() for a in np.meshgrid(np.arange(num_nodes), np.arange(rails), np.arange(pattern.planes), indexing="ij"))
    serves = 1 if leaf.rails > 1 or leaf.pattern.spec.per_rail else rails
    nth = nth_N[n] if serves == 1 else nth_N[n] * rails + r
    switches = leaf.pattern.switches_J[group_N[n]]
    index = (
        np.zeros(len(n), np.int64)
        if int(switches.max(initial=1)) == 1
        else nth * switches // _sockets(group_N, serves)[group_N[n]]
    )
    device = leaf.device(group_N[n], r, p, index)
    order = np.lexsort((nth, device))
    port = np.empty(len(n), np.int64)
    port[order] = _rank(device[order]) + 1
    ends = np.stack([n * rails + r, device], axis=1)
    port_Bps = leaf.pattern.spec.port_Bps or np.inf
    Bps = np.minimum(speed_X[layout.rack_N][n] / pattern.planes, port_Bps)
    return ends, np.stack([p + 1, port], axis=1), Bps


def _sockets(group_N: Ints, serves: int) -> Ints:
    return np.bincount(group_N) * serves


def _up_cables(pattern: Pattern, low: _Tier, high: _Tier) -> Part:
    """Cables from each switch of a tier to those above, as `pair_cables` deals them."""
    tier, above = low.pattern, high.pattern
    uplinks = tier.spec.uplinks
    group, rail, plane, index = (np.repeat(c, uplinks) for c in low.column_WK.T)
    k = np.tile(np.arange(uplinks), len(low.names_W))
    parent_J = above.group_X[tier.starts_J]
    parent = parent_J[group]
    if tier.level > 0 and above.pair:
        target = index * max(1, uplinks // above.pair) + k // above.pair
    else:
        first_J = np.searchsorted(parent_J, np.arange(above.num_groups))
        joined = pattern.rails if tier.spec.per_rail and not above.spec.per_rail else 1
        position = ((group - first_J[parent]) * joined + np.maximum(rail, 0) % joined) * int(tier.switches_J.max()) + index
        target = (k + position * uplinks) % above.switches_J[parent]
        order = np.lexsort((target, np.repeat(np.arange(len(low.names_W)), uplinks)))
        target = target[order]  # uplink ports in the order of the switches above
    a = low.first + np.repeat(np.arange(len(low.names_W)), uplinks)
    b = high.device(parent, np.maximum(rail, 0), plane, target)
    port = np.empty(len(a), np.int64)
    order = np.lexsort((k, a, b))
    port[order] = _rank(b[order]) + 1
    Bps = np.full(len(a), min(tier.spec.port_Bps or 0.0, above.spec.port_Bps or 0.0))
    ends: Ints = np.asarray(np.stack([a, b], axis=1), np.int64)
    return ends, np.stack([tier.down + 1 + k, port], axis=1), Bps


def _rank(sorted_key: Ints) -> Ints:
    """Position of each entry in its run of equal keys."""
    start = np.flatnonzero(np.r_[True, sorted_key[1:] != sorted_key[:-1]])
    return np.arange(len(sorted_key)) - np.repeat(start, np.diff(np.r_[start, len(sorted_key)]))


def _cables(parts: list[Part]) -> Cables:
    if not parts:
        parts = [(np.zeros((0, 2), np.int64), np.zeros((0, 2), np.int64), np.zeros(0))]
    ends, ports, Bps = (np.concatenate([p[i] for p in parts]) for i in range(3))
    speeds, rate = np.unique(Bps, return_inverse=True)
    size = len(ends)
    zero = np.zeros(size, np.int64)
    rates = tuple(f"{s * 8e-9:g}G" for s in speeds.tolist())
    return Cables(
        ends.astype(np.int64), ports.astype(np.int64), np.zeros((size, 2), np.int64), ("",), Bps.astype(np.float64),
        rate.ravel().astype(np.int64), rates, zero, zero, zero, zero,
    )  # fmt: skip


def _devices(reader: Reader, layout: Layout, tiers: list[_Tier]) -> Devices:
    rails = reader.nics
    num = len(layout.host_N) * rails
    units = [reader.spec.node.nic_name.replace("{rail}", str(r)) for r in range(rails)]
    name = np.concatenate([np.repeat(layout.host_N, rails), *(t.names_W for t in tiers)])
    size = len(name)
    blank = np.zeros(size, "U1")
    kind = np.r_[np.full(num, int(Kind.ADAPTER)), np.full(size - num, int(Kind.SWITCH))]
    ports = np.concatenate(
        [np.full(num, reader.spec.fabric.planes), *(np.full(len(t.names_W), t.pattern.spec.ports or -1) for t in tiers)]
    )
    rack = np.concatenate([np.repeat(layout.rack_name_X[layout.rack_N], rails), np.zeros(size - num, "U1")])
    models = [reader.spec.fabric.tiers[i].switch for i in range(len(tiers))]
    model = np.concatenate(
        [
            np.zeros(num, "U1"),
            *(np.full(len(t.names_W), (m.model if m else None) or "") for t, m in zip(tiers, models, strict=True)),
        ]
    )
    unit = np.concatenate([np.tile(np.array(units), len(layout.host_N)), np.zeros(size - num, "U1")])
    zero = np.zeros(size, np.int64)
    none = np.zeros(size, np.uint64)
    return Devices(
        kind, name, unit, blank, none, none, zero, model, zero, ports.astype(np.int64), blank, rack, blank, zero, zero
    )


def _hosts(spec: Topology, layout: Layout, nics: int) -> Hosts:
    size = len(layout.host_N)
    blank, zero = np.zeros(size, "U1"), np.zeros(size, np.int64)
    return Hosts(
        layout.host_N, layout.domain_name_J[layout.domain_N], blank, layout.rack_name_X[layout.rack_N], blank, (),
        np.zeros((size, 0), "U1"), np.full(size, spec.node.gpus), blank, np.full(size, nics), np.zeros(size), blank, zero,
        zero,
    )  # fmt: skip


def _no_gpus() -> Gpus:
    none, text = np.zeros(0, np.int64), np.zeros(0, "U1")
    return Gpus(none, none, text, none, np.zeros(0), text, text, none, none)
