# SPDX-License-Identifier: Apache-2.0
# X cable between two tiers   Q expected cable   J group
"""One boundary between two tiers of switches, and the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.fabric.wiring.faults import Names
from placement.fabric.wiring.uplinks import Boundary
from placement.ir import Kind, Wired
from placement.ir._array import Ints

Below = Callable[[int], tuple[str, ...]]


@dataclass(frozen=True)
class SwitchView:
    """One boundary, the words for it, and the hosts below each switch."""

    wired: Wired
    b: Boundary
    names: Names
    below: Below  # hosts under a switch
    pods: int

    @cached_property
    def switches(self) -> list[str]:
        """Names of all switches of the capture."""
        return [self.names.device(d) for d in np.flatnonzero(self.wired.device.kind_D == Kind.SWITCH).tolist()]

    def ports_of(self, device: int) -> set[int]:
        """Ports of a device that have a cable."""
        cable = self.wired.cable
        return set(cable.port_CE[cable.device_CE == device].tolist())

    def group(self, device: int) -> str:
        group = int(self.b.group_D[device])
        return f"pod {group}" if self.pods > 1 and self.b.tier == 1 and group >= 0 else ""

    def expected(self, q: int) -> str:
        b = self.b
        return self.names.cable(int(b.low_Q[q]), int(b.port_Q[q]), int(b.high_Q[q]), int(b.peer_port_Q[q]))

    def actual(self, x: int) -> str:
        b = self.b
        return self.names.cable(int(b.low_X[x]), int(b.port_X[x]), int(b.high_X[x]), int(b.peer_port_X[x]))


def hosts_below(leaf_R: Ints, host_R: Ints, hosts: tuple[str, ...]) -> Below:
    """Function from a leaf to the hosts on it; switches above the leafs have none of their own."""
    order = np.argsort(leaf_R, kind="stable")
    leaf, host = leaf_R[order], host_R[order]

    def below(device: int) -> tuple[str, ...]:
        a, b = np.searchsorted(leaf, [device, device + 1])
        return tuple(sorted({hosts[h] for h in host[a:b].tolist() if h >= 0}))

    return below
