# SPDX-License-Identifier: Apache-2.0
# N node   X rack   J group of a tier   G gpu slot   R rail   P plane   T tier   W switch
"""Exceptions of a topology: what is failed, drained, degraded, absent or reserved, and what that leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from placement.diag import Severity
from placement.fabric.capacity import effective, share
from placement.fabric.pattern import Pattern
from placement.hostlist import HostlistError, fold
from placement.ir import State
from placement.ir._array import Bools, Floats, Ints, Strings
from placement.spec.switches import Links, find_links, find_switches
from placement.spec.topology import ExceptionSchema

if TYPE_CHECKING:
    from placement.spec.layout import Layout
    from placement.spec.reader import Reader
    from placement.spec.source import KeyPath

KINDS = ("racks", "nodes", "gpus", "nics", "nvlink", "switches", "links")
STATES = {"failed": State.FAILED, "drained": State.DRAINED, "absent": State.ABSENT, "reserved": State.RESERVED}
RANK = {State.OK: 0, State.RESERVED: 1, State.DRAINED: 2, State.FAILED: 3, State.ABSENT: 4}  # the worst of several counts


@dataclass(frozen=True)
class Health:
    """What is left after all exceptions. `live_T`: part of its uplinks that each group of a tier keeps (None: all)."""

    state_N: Ints
    gpu_ok_NG: Bools
    speed_N: Floats
    nic_Bps_N: Floats
    domain_uplink_J: Floats
    live_T: list[Floats | None]
    nvlink_J: Floats | None


class Damage:
    """Arrays under change while exceptions are applied; live here only."""

    def __init__(self, layout: Layout, pattern: Pattern, num_slots: int) -> None:
        num_nodes = len(layout.host_N)
        self.state_N = np.zeros(num_nodes, dtype=np.int64)
        self.owner_N = np.full(num_nodes, -1)
        self.gpu_ok_NG = np.ones((num_nodes, num_slots), dtype=np.bool_)
        self.speed_N = np.ones(num_nodes)
        self.nic_NR = np.ones((num_nodes, pattern.rails))
        self.live_T: list[Floats | None] = [None] * len(pattern.tiers)
        self.nvlink_J: Floats | None = None
        self.pattern = pattern

    def live(self, index: int) -> Floats:
        """Live part of the uplinks of a tier, by group, rail (one if the tier joins rails) and plane."""
        found = self.live_T[index]
        if found is None:
            tier = self.pattern.tiers[index]
            rails = self.pattern.rails if tier.spec.per_rail else 1
            found = self.live_T[index] = np.ones((tier.num_groups, rails, self.pattern.planes))
        return found


def apply(reader: Reader, layout: Layout, pattern: Pattern, nic_Bps_N: Floats) -> Health:
    """Health of the cluster. `nic_Bps_N`: speed of one healthy adapter of each node. Findings go to the reader."""
    damage = Damage(layout, pattern, reader.spec.node.gpus)
    for index, item in enumerate(reader.spec.exceptions):
        kind = _kind(reader, index, item)
        if kind:
            _APPLY[kind](reader, layout, damage, index, item)
    return _health(reader, layout, damage, nic_Bps_N)


def _health(reader: Reader, layout: Layout, damage: Damage, nic_Bps_N: Floats) -> Health:
    cut_N = ~(damage.nic_NR > 0).any(axis=1) & (damage.state_N == State.OK)
    if cut_N.any() and damage.pattern.tiers:
        damage.state_N[cut_N] = State.FAILED
        message = f"{int(cut_N.sum()):,} nodes have no adapter left in service, and count as failed"
        objects = tuple(layout.host_N[cut_N][:100].tolist())
        reader.report(
            ("exceptions",),
            "node-cut-off",
            message,
            severity=Severity.WARNING,
            notes=(fold(layout.host_N[cut_N], 200),),
            objects=objects,
        )
    usable_N = (damage.state_N == State.OK) | (damage.state_N == State.RESERVED)
    damage.gpu_ok_NG &= usable_N[:, None]
    if not (damage.gpu_ok_NG.any(axis=1) & (damage.state_N == State.OK)).any():
        reader.report(("exceptions",), "nothing-left", "no GPU of the cluster is left in service", help="remove exceptions")
    _cut_groups(reader, damage)
    nics_per_gpu = damage.pattern.rails / damage.gpu_ok_NG.shape[1]
    networked_N = usable_N & bool(
        damage.pattern.tiers
    )  # without a network no adapter is missed, and a zero would poison ratios
    return Health(
        state_N=damage.state_N,
        gpu_ok_NG=damage.gpu_ok_NG,
        speed_N=damage.speed_N,
        nic_Bps_N=nic_Bps_N * np.where(networked_N, share(damage.nic_NR), 1.0) * nics_per_gpu,
        domain_uplink_J=_injection(layout, usable_N, nic_Bps_N[:, None] * damage.nic_NR),
        live_T=[None if live is None else effective(live) for live in damage.live_T],
        nvlink_J=damage.nvlink_J,
    )


def _injection(layout: Layout, usable_N: Bools, nic_Bps_NR: Floats) -> Floats:
    """Adapters of the nodes in service, summed by NVLink domain. A domain without any keeps its nominal figure: nothing runs
    there, and a zero would only poison ratios.
    """
    num = len(layout.domain_name_J)
    dead_J = np.bincount(layout.domain_N, weights=usable_N, minlength=num) == 0
    counts_N = usable_N | dead_J[layout.domain_N]
    injection_N = np.where(counts_N, nic_Bps_NR.sum(axis=1), 0.0)
    return np.asarray(np.bincount(layout.domain_N, weights=injection_N, minlength=num), dtype=np.float64)


def _cut_groups(reader: Reader, damage: Damage) -> None:
    """Groups that lost every way up: jobs must stay inside."""
    for index, live in enumerate(damage.live_T[:-1]):
        dead = np.flatnonzero(effective(live) == 0) if live is not None else np.zeros(0, np.int64)
        if len(dead):
            tier = damage.pattern.tiers[index].spec
            which = fold([str(g) for g in dead], 60)
            groups = (
                f"group {which} of tier `{tier.name}` has" if len(dead) == 1 else f"groups {which} of tier `{tier.name}` have"
            )
            message = f"{groups} no uplink left"
            note = "groups are numbered from 0, in the order of their racks"
            reader.report(("exceptions",), "group-cut-off", message, severity=Severity.WARNING, notes=(note,))


def _kind(reader: Reader, index: int, item: ExceptionSchema) -> str | None:
    """Which objects an exception names: exactly one kind. Reports what makes no sense."""
    path: KeyPath = ("exceptions", index)
    given = [k for k in KINDS if getattr(item, k) is not None]
    if len(given) != 1:
        message = f"an exception names one kind of object, this one names {' and '.join(given) if given else 'none'}"
        reader.report(path, "exception-objects", message, help="write one of " + ", ".join(f"`{k}`" for k in KINDS))
        return None
    kind = given[0]
    if item.state == "degraded" and item.fraction is None:
        reader.report(
            path, "exception-fraction", "a degraded object needs the fraction it still reaches", help="add `fraction: 50 %`"
        )
        return None
    if item.state != "degraded" and item.fraction is not None:
        message = f"`fraction` belongs to degraded objects, these are {item.state}"
        reader.report((*path, "fraction"), "exception-fraction", message, help="write `state: degraded`, or remove it")
    if item.count is not None and kind != "links":
        reader.report(
            (*path, "count"), "exception-count", f"`count` belongs to links, this exception names {kind}", help="remove it"
        )
    if item.state == "reserved" and kind in ("nics", "switches", "links"):
        reader.report((*path, "state"), "exception-state", f"{kind} cannot be reserved", help="reserve nodes or racks")
        return None
    return kind


def _left(item: ExceptionSchema) -> float:
    """Part of the object that still works."""
    return float(item.fraction or 0.0) if item.state == "degraded" else 0.0


def names(reader: Reader, path: KeyPath, text: str) -> Strings:
    """The names of a host list; none, with a finding, if it cannot be read."""
    try:
        return reader.lookup.expand(text)
    except HostlistError as error:
        reader.report(path, "host-list", error.message, help=error.help)
        return np.array([], dtype=np.str_)


def find(reader: Reader, path: KeyPath, what: str, known: Strings, wanted: Strings) -> Ints:
    """Positions of names that exist; the others are one finding."""
    if not len(wanted):
        return np.array([], dtype=np.int64)
    at = reader.lookup.positions(what, known, wanted)
    missing = wanted[at < 0]
    if len(missing):
        first = str(missing[0])
        others = f", nor are {len(missing) - 1:,} more" if len(missing) > 1 else ""
        message = f"`{first}` is no {what} of this cluster{others}"
        shown = reader.lookup.once(f"pattern {what}", lambda: fold(known, 90))
        named = f"{'switches' if what == 'switch' else what + 's'} are named `{shown}`"
        help = reader.lookup.suggest(first, known) or named
        reader.report(path, f"unknown-{what}", message, help=help, objects=tuple(missing[:100].tolist()))
    return at[at >= 0]


def _set_state(
    reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema, node: Ints, path: KeyPath
) -> None:
    """Give nodes the state of an exception; the worst of several counts, and being listed twice is said."""
    if item.state == "degraded":
        np.minimum.at(damage.speed_N, node, _left(item))
        return
    before = damage.owner_N[node]
    again = node[before >= 0]
    if len(again):
        from placement.diag import Label

        first = int(before[before >= 0][0])
        message = f"`{fold(layout.host_N[again], 60)}` {'is' if len(again) == 1 else 'are'} listed twice"
        label = Label(reader.doc.span(("exceptions", first)), "listed first here")
        reader.report(
            path, "listed-twice", message, severity=Severity.WARNING, secondary=(label,), notes=("the worse state counts",)
        )
    damage.owner_N[node] = index
    new = STATES[item.state]
    rank_N = np.array([RANK[State(s)] for s in range(len(State))])
    worse = rank_N[damage.state_N[node]] < RANK[new]
    damage.state_N[node[worse]] = new


def _racks(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    path: KeyPath = ("exceptions", index, "racks")
    rack = find(reader, path, "rack", layout.rack_name_X, names(reader, path, item.racks or ""))
    if item.state == "degraded":
        reader.report(path, "exception-state", "a rack cannot be degraded as one", help="name its nodes, adapters or switches")
        return
    in_N = np.zeros(len(layout.rack_name_X), dtype=np.bool_)
    in_N[rack] = True
    _set_state(reader, layout, damage, index, item, np.flatnonzero(in_N[layout.rack_N]), path)


def _nodes(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    path: KeyPath = ("exceptions", index, "nodes")
    node = find(reader, path, "node", layout.host_N, names(reader, path, item.nodes or ""))
    _set_state(reader, layout, damage, index, item, node, path)


def _slots(reader: Reader, layout: Layout, path: KeyPath, text: str, what: str, labels: dict[str, int]) -> tuple[Ints, Ints]:
    """(node, slot) of `host:slot` names. `labels`: what a slot may be called."""
    wanted = names(reader, path, text)
    host, colon, slot = (
        (np.asarray(part, dtype=np.str_) for part in np.strings.rpartition(wanted, ":")) if len(wanted) else (wanted,) * 3
    )
    if not all(colon == ":"):
        reader.report(
            path, f"unknown-{what}", f"`{wanted[colon != ':'][0]}` does not say which {what} of the host", help="write `host:0`"
        )
        return np.array([], np.int64), np.array([], np.int64)
    number = np.array([labels.get(str(s), -1) for s in slot.tolist()], dtype=np.int64)
    if (number < 0).any():
        bad = str(wanted[number < 0][0])
        message = f"`{bad}` is no {what}: a host has {len(set(labels.values()))}"
        reader.report(path, f"unknown-{what}", message, help=f"{what}s are numbered from 0 to {max(labels.values())}")
    ok = number >= 0
    at = reader.lookup.positions("node", layout.host_N, host[ok]) if ok.any() else np.array([], np.int64)
    find(reader, path, "node", layout.host_N, host[ok][at < 0])
    return at[at >= 0], number[ok][at >= 0]


def _gpus(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    labels = {str(g): g for g in range(reader.spec.node.gpus)}
    node, slot = _slots(reader, layout, ("exceptions", index, "gpus"), item.gpus or "", "gpu", labels)
    if item.state == "degraded":
        np.minimum.at(damage.speed_N, node, _left(item))
    else:
        damage.gpu_ok_NG[node, slot] = False


def _nics(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    rails = damage.pattern.rails
    called = {reader.spec.node.nic_name.replace("{rail}", str(r)): r for r in range(rails)}
    labels = called | {str(r): r for r in range(rails)}
    node, rail = _slots(reader, layout, ("exceptions", index, "nics"), item.nics or "", "nic", labels)
    damage.nic_NR[node, rail] = np.minimum(damage.nic_NR[node, rail], _left(item))


def _nvlink(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    """An NVLink domain at part of its bandwidth; a name that is none: [topology/unknown-domain]."""
    path: KeyPath = ("exceptions", index, "nvlink")
    if item.state != "degraded":
        help = "name its racks or nodes if it cannot be used"
        reader.report((*path[:-1], "state"), "exception-state", f"an NVLink domain cannot be {item.state}", help=help)
        return
    domain = find(reader, path, "domain", layout.domain_name_J, names(reader, path, item.nvlink or ""))
    if damage.nvlink_J is None:
        damage.nvlink_J = np.ones(len(layout.domain_name_J))
    np.minimum.at(damage.nvlink_J, domain, max(_left(item), 1e-3))


def _switches(reader: Reader, layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    """A lost switch takes the uplinks of its group with it, and the cables that reach it from below."""
    path: KeyPath = ("exceptions", index, "switches")
    lost = 1.0 - _left(item)
    for tier, group, rail, plane in find_switches(reader, path, names(reader, path, item.switches or ""), damage.pattern):
        size = float(damage.pattern.tiers[tier].switches_J[group])
        live = damage.live(tier)
        rails = slice(None) if live.shape[1] == 1 else slice(rail, rail + 1)
        live[group, rails, plane] = np.maximum(0.0, live[group, rails, plane] - lost / size)
        if tier == 0:
            _leaf_lost(layout, damage, group, rail, lost / size)
        else:
            _below_lost(damage, tier, group, rail, plane, lost / size)


def _leaf_lost(layout: Layout, damage: Damage, group: int, rail: int, lost: float) -> None:
    """Adapters under a leaf keep their other planes; `rail` < 0 stands for all rails."""
    leaf = damage.pattern.tiers[0]
    node = np.flatnonzero(leaf.group_X[layout.rack_N] == group)
    rails = slice(None) if rail < 0 else slice(rail, rail + 1)
    left = damage.nic_NR[node, rails] - lost / damage.pattern.planes
    damage.nic_NR[node, rails] = np.where(left < 1e-9, 0.0, left)


def _below_lost(damage: Damage, tier: int, group: int, rail: int, plane: int, lost: float) -> None:
    """Groups one tier down lose their cables to a switch."""
    above, below = damage.pattern.tiers[tier], damage.pattern.tiers[tier - 1]
    inside = np.flatnonzero(above.group_X[below.starts_J] == group)
    live = damage.live(tier - 1)
    rails = slice(None) if rail < 0 or live.shape[1] == 1 else slice(rail, rail + 1)
    live[inside, rails, plane] = np.maximum(0.0, live[inside, rails, plane] - lost)


def _links(reader: Reader, _layout: Layout, damage: Damage, index: int, item: ExceptionSchema) -> None:
    """A lost cable takes its share of the uplinks of the lower group."""
    path: KeyPath = ("exceptions", index, "links")
    found: Links = find_links(reader, path, item.links or "", damage.pattern, item.count)
    for tier, group, rail, plane, part in found:
        live = damage.live(tier)
        at = (group, max(rail, 0) if live.shape[1] > 1 else 0, plane)
        live[at] = max(0.0, live[at] - part * (1.0 - _left(item)))


_APPLY = {
    "racks": _racks, "nodes": _nodes, "gpus": _gpus, "nics": _nics, "nvlink": _nvlink, "switches": _switches, "links": _links,
}  # fmt: skip
