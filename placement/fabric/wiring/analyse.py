# SPDX-License-Identifier: Apache-2.0
"""A wired fabric looked at as a whole: its pattern, and every fault."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placement.diag import Severity
from placement.fabric.wiring.adapters import Adapters, adapters_of
from placement.fabric.wiring.audit_hosts import host_faults
from placement.fabric.wiring.audit_switches import switch_faults
from placement.fabric.wiring.ends import Ends, ends_of
from placement.fabric.wiring.faults import Fault, Names, located
from placement.fabric.wiring.groups import group_faults
from placement.fabric.wiring.host_view import HostView
from placement.fabric.wiring.hosts import Seats, seats_of
from placement.fabric.wiring.identity import identity_faults, port_faults, speed_faults
from placement.fabric.wiring.nvlink import nvlink_faults
from placement.fabric.wiring.roles import tiers_of
from placement.fabric.wiring.shape import shape_faults
from placement.fabric.wiring.sockets import Sockets, sockets_of
from placement.fabric.wiring.switch_view import SwitchView, hosts_below
from placement.fabric.wiring.uplinks import Boundary, boundary
from placement.ir import Wired
from placement.ir._array import Ints

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True)
class Analysis:
    """What is known of a fabric. `tier_D` 0 adapters, 1 leafs, 2..; `faults` by severity, then kind, then place."""

    wired: Wired
    ends: Ends
    tier_D: Ints
    adapters: Adapters
    sockets: Sockets
    seats: Seats
    boundaries: tuple[Boundary, ...]
    faults: tuple[Fault, ...]
    names: Names = field(compare=False)


def analyse(wired: Wired) -> Analysis:
    """Learn the pattern of a fabric and report every deviation from it, one fault a cause."""
    ends, names = ends_of(wired), Names(wired)
    tier_D = tiers_of(wired, ends)
    adapters = adapters_of(wired, ends, tier_D)
    sockets = sockets_of(adapters)
    seats = seats_of(adapters, sockets)
    found = [b for t in range(1, int(tier_D.max(initial=0))) if (b := boundary(ends, tier_D, t)) is not None]
    pod_W = found[0].group_D[sockets.leaf_W] if found else np.full(len(sockets.leaf_W), -1, np.int64)
    pods = found[0].num_groups if found else 1
    if wired.logical:
        said = [*nvlink_faults(wired), *group_faults(wired)]
        return Analysis(wired, ends, tier_D, adapters, sockets, seats, tuple(found), ordered(said), names)
    faults = list(identity_faults(wired, names))
    faults += port_faults(wired, ends, names)
    faults += speed_faults(wired, ends, tier_D, names)
    faults += host_faults(HostView(wired, adapters, sockets, seats, pod_W, pods))
    below = hosts_below(adapters.leaf_R, adapters.host_R, adapters.hosts)
    for b in found:
        faults += switch_faults(SwitchView(wired, b, names, below, b.num_groups))
    faults += [*nvlink_faults(wired), *group_faults(wired)]
    faults += shape_faults(wired, ends, tier_D, names, adapters, sockets, found)
    return Analysis(wired, ends, tier_D, adapters, sockets, seats, tuple(found), ordered(located(faults, names)), names)


def ordered(faults: list[Fault]) -> tuple[Fault, ...]:
    """One fault a cause: what two checks see is kept once. Most severe first, kinds together, then by place."""
    twice = {r for f in faults if f.kind in ("port-twice", "no-such-port", "loop-cable") for r in f.records}
    cut = {d for f in faults if f.kind == "island" for d in f.devices}
    lost = {d for f in faults if f.kind in ("missing-switch", "leaf-without-hosts", "taper-off-design") for d in f.devices}
    unlinked = {v for f in faults if f.kind in ("missing-host-link", "missing-switch", "leaf-without-hosts") for v in f.victims}
    below = {e.rpartition("/")[0] for f in faults if f.kind == "missing-switch" for e in _lower_ends(f)}
    dark = {v for f in faults if f.kind == "no-link" for v in f.victims}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    kept = []
    for fault in faults:
        again = (fault.kind, fault.devices) in seen and fault.kind in ("switch-cut-off", "leaf-without-hosts", "missing-switch")
        seen.add((fault.kind, fault.devices))
        covered = (
            again
            or (fault.kind in ("extra-cable", "wrong-port", "wrong-leaf") and bool(twice & set(fault.records)))
            or (fault.kind == "taper-off-design" and bool(below) and below.issuperset(fault.devices))
            or (fault.kind in ("switch-cut-off", "idle-switch") and bool(fault.devices) and fault.devices[0] in cut | lost)
            or (fault.kind == "no-link" and bool(unlinked & set(fault.victims)))
            or (fault.kind == "absent-tray" and bool(dark & set(fault.victims)))
        )
        if not covered:
            kept.append(fault)
    return tuple(sorted(kept, key=lambda f: (ORDER[f.severity], f.kind, f.group, f.rack, f.devices, f.message)))


def _lower_ends(fault: Fault) -> list[str]:
    """Sockets whose cables lead to a missing switch."""
    return [e.partition(" -- ")[0] for e in fault.expected if " -- " in e]
