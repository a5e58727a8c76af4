# SPDX-License-Identifier: Apache-2.0
# R adapter port with a cable to a leaf   H host   L class of hosts   D device
"""Adapters on leafs: whose they are, which of the host's lanes (rail, and plane) each is, and which hosts belong to the fabric.

A lane is the place of an adapter port in the sorted list of its host: `mlx5_0, mlx5_1, mlx5_4, mlx5_5` are lanes 0 to 3, and
so are
`HCA-1, HCA-2, HCA-5, HCA-6`. Hosts with the usual number of adapters decide; the others are read by what those decided.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np

from placement.fabric.wiring.ends import Ends
from placement.fabric.wiring.names import letters, natural
from placement.ir import Kind, Wired
from placement.ir._array import Bools, Ints

MEMBER_SHARE = 0.05  # of all named adapters: a class of hosts with fewer does not set the pattern
FEW = 8  # hosts of a lab: too few to call one of them foreign
RARE = 0.05  # of the hosts of a class have a unit, or it is no compute adapter


@dataclass(frozen=True)
class Adapters:
    """Adapter ports on leafs. `host_R` index into `hosts`, -1 unnamed; `lane_R` -1 unknown; `class_H` -1: foreign to the
    pattern.

    `odd_R`  the unit is no compute adapter of its class (storage or management)
    `lanes_L` usual number of lanes of a host of each class
    """

    device_R: Ints
    leaf_R: Ints
    port_R: Ints
    cable_R: Ints
    host_R: Ints
    lane_R: Ints
    odd_R: Bools
    upper_R: Bools  # plugged into a switch above the leafs
    hosts: tuple[str, ...]
    class_H: Ints
    lanes_L: Ints
    unit_of: tuple[tuple[str, ...], ...]  # usual unit of each lane, by class

    @property
    def class_R(self) -> Ints:
        return np.where(self.host_R >= 0, self.class_H[self.host_R] if len(self.class_H) else -1, -1)


def adapters_of(wired: Wired, ends: Ends, tier_D: Ints) -> Adapters:
    """Adapter ports whose cable leads to a switch, in order of switch and port."""
    kind_D = wired.device.kind_D
    rows = np.flatnonzero((tier_D[ends.device_X] >= 1) & (kind_D[ends.peer_X] == Kind.ADAPTER))
    rows = rows[np.lexsort((ends.port_X[rows], ends.device_X[rows]))]
    device_R, nic_R = ends.peer_X[rows], ends.peer_port_X[rows]
    index: dict[str, int] = {}
    names = wired.device.name_D[device_R].tolist()
    host_R = np.array([index.setdefault(n, len(index)) if n else -1 for n in names], np.int64)
    hosts = tuple(index)
    class_H, classes = _classes(hosts, host_R)
    units = list(zip(wired.device.unit_D[device_R].tolist(), nic_R.tolist(), strict=True))
    lane_R, odd_R, lanes_L, unit_of = _lanes(host_R, units, class_H, classes)
    return Adapters(
        device_R, ends.device_X[rows], ends.port_X[rows], ends.cable_X[rows], host_R, lane_R, odd_R,
        tier_D[ends.device_X[rows]] > 1, hosts, class_H, lanes_L, unit_of,
    )  # fmt: skip


def _classes(hosts: tuple[str, ...], host_R: Ints) -> tuple[Ints, int]:
    """Class of each host by the shape of its name; classes with few adapters are foreign (-1) unless no class is large."""
    seen: dict[str, int] = {}
    shape_H = np.array([seen.setdefault(_class(h), len(seen)) for h in hosts], np.int64)
    named = host_R[host_R >= 0]
    if not len(named):
        return np.full(len(hosts), -1, np.int64), 0
    if len(hosts) < FEW:
        return shape_H, len(seen)
    ports_L = np.bincount(shape_H[named], minlength=len(seen))
    hosts_L = np.bincount(shape_H, minlength=len(seen))
    large_L = (ports_L >= MEMBER_SHARE * len(named)) & (hosts_L >= min(3, hosts_L.max()))
    number_L = np.where(large_L, np.cumsum(large_L) - 1, -1)
    return number_L[shape_H], int(large_L.sum())


def _class(host: str) -> str:
    """Shape of a host name; one letter before a number is a row of the hall (`a05`, `b05`), not another kind of host."""
    text = letters(host.split(".", maxsplit=1)[0])
    return "?" + text[1:] if text[1:2] == "#" else text


def _lanes(
    host_R: Ints, units: list[tuple[str, int]], class_H: Ints, classes: int
) -> tuple[Ints, Bools, Ints, tuple[tuple[str, ...], ...]]:
    """(lane of each row, whether its unit is no compute adapter, usual lanes of each class, usual unit of each lane)."""
    owned: defaultdict[int, list[int]] = defaultdict(list)
    for row, host in enumerate(host_R.tolist()):
        if host >= 0 and class_H[host] >= 0:
            owned[host].append(row)
    keys = {unit: natural(unit[0]) for unit in set(units)}
    sets = {h: sorted({units[r] for r in rows}, key=lambda u: (keys[u[0], u[1]], u[1])) for h, rows in owned.items()}
    lane_R, odd_R = np.full(len(units), -1, np.int64), np.zeros(len(units), bool)
    lanes_L = np.zeros(max(classes, 1), np.int64)
    unit_of: list[tuple[str, ...]] = []
    for cls in range(classes):
        members = [h for h in sets if class_H[h] == cls]
        usual = Counter(len(sets[h]) for h in members).most_common(1)[0][0]
        lanes_L[cls] = usual
        owners = Counter(u for h in members for u in sets[h])
        fleet = Counter(_scheme(u) for h in members for u in {(_scheme(x), 0): x for x in sets[h]}.values())
        rare = {u for u, n in owners.items() if n < max(RARE, 1.5 / len(members)) * fleet[_scheme(u)]}
        ordinal: defaultdict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        for h in members:
            if len(sets[h]) == usual:
                for lane, unit in enumerate(sets[h]):
                    ordinal[unit][lane] += 1
        lane_of = {u: c.most_common(1)[0][0] for u, c in ordinal.items()}
        for h in members:
            strange = [u for u in sets[h] if u in rare] or _alien(sets[h], fleet, len(members))
            single = len(strange) == 1 and usual > 1 and len(members) >= FEW
            for row in owned[h]:
                unit = units[row]
                odd_R[row] = single and unit in strange
                lane_R[row] = -1 if odd_R[row] else lane_of.get(unit, -1)
        best = [Counter({u: n for u, n in owners.items() if lane_of.get(u) == lane}) for lane in range(usual)]
        unit_of.append(tuple(c.most_common(1)[0][0][0] if c else "" for c in best))
    return lane_R, odd_R, lanes_L, tuple(unit_of)


def _alien(units: list[tuple[str, int]], fleet: Counter[str], members: int) -> list[tuple[str, int]]:
    """Units called in another way than the host's others, and than those of nearly all hosts."""
    own = Counter(_scheme(u) for u in units)
    main = own.most_common(1)[0][0]
    return [u for u in units if _scheme(u) != main and fleet[_scheme(u)] < max(2, RARE * members) and own[_scheme(u)] == 1]


def _scheme(unit: tuple[str, int]) -> str:
    return letters(unit[0])
