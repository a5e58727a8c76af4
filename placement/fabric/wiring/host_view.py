# SPDX-License-Identifier: Apache-2.0
# R adapter port   Q slot   W leaf   J group of leafs that share hosts   H host
"""Everything that is known of hosts, adapters and leafs, and the words for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placement.fabric.wiring.adapters import Adapters
from placement.fabric.wiring.faults import Names, some
from placement.fabric.wiring.hosts import Seats
from placement.fabric.wiring.naming import Naming, naming
from placement.fabric.wiring.sockets import Sockets
from placement.ir import Wired
from placement.ir._array import Ints


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
        return {
            q: (w, p) for q, w, p in zip(self.x.slot_Q.tolist(), self.x.leaf_Q.tolist(), self.x.port_Q.tolist(), strict=True)
        }

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
        return re.sub(r"[^0-9]*\d+$", "", host.split(".", maxsplit=1)[0])

    def at(self, place: int) -> dict[str, Any]:
        """Roll-up keys of a place."""
        host = self.host(place)
        return {"group": self.group(place // self.x.width), "rack": "" if " " in host else self.rack(host)}

    def evidence(self, *rows: int) -> dict[str, Any]:
        """Where the first of some adapters stands in the capture, and the cables of all."""
        line, file = self.names.place(int(self.a.cable_R[rows[0]]))
        return {"line": line, "file": file, "records": tuple(int(self.a.cable_R[r]) for r in rows)}


def named(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are names of hosts, not words for where one stands."""
    return tuple(h for h in hosts if " " not in h or h[:1].isupper())
