# SPDX-License-Identifier: Apache-2.0
"""Small fabrics of many shapes as ibnetdiscover text: sizes, rails, names, sides of ports; and faults of cables in them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

HOSTS: dict[str, Callable[[int, int, int], str]] = {
    "racks": lambda g, t, _: f"rack{g + 1:02}-tray{t + 1:02}", "flat": lambda _g, _t, n: f"gpu-{n + 1:04}",
    "short": lambda g, t, _: f"r{g + 1}n{t + 1}", "domain": lambda _g, _t, n: f"dgx-h100-{n + 1:03}.cluster.local",
    "joined": lambda g, t, _: f"hgx{g + 1:02}{t + 1:02}", "rows": lambda g, t, _: f"{'abcdefghijklmnop'[g]}{t + 1:02}-dgx",
}  # fmt: skip
LEAFS: dict[str, Callable[[int, int, int], str]] = {
    "grid": lambda g, k, _: f"LEAF-{k + 1:02}-{g + 1:02}", "flat": lambda _g, _k, n: f"ibleaf{n + 1}",
    "unit": lambda g, k, _: f"SU{g + 1}-L{k + 1}", "alike": lambda _g, _k, n: f"ibsw{n + 1:03}",
}  # fmt: skip
UNITS = {
    1: ["mlx5_0"], 2: ["mlx5_0", "mlx5_1"], 4: ["HCA-1", "HCA-2", "HCA-5", "HCA-6"],
    8: ["mlx5_0", "mlx5_3", "mlx5_4", "mlx5_5", "mlx5_6", "mlx5_9", "mlx5_10", "mlx5_11"],
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Leaf groups, hosts of each, rails, spines; one leaf a rail, or one for all rails."""

    groups: int
    hosts: int
    rails: int
    spines: int
    per_rail: bool = True


@dataclass
class Device:
    name: str
    text: str
    guid: int
    unit: str = ""  # of adapters


@dataclass
class Fabric:
    """Devices, cables as [device, port, device, port, rate], and the adapters of each host."""

    devices: list[Device] = field(default_factory=list)
    cables: list[list] = field(default_factory=list)
    hosts: dict[str, list[Device]] = field(default_factory=dict)
    leafs: list[Device] = field(default_factory=list)
    spines: list[Device] = field(default_factory=list)

    def add(self, name: str, text: str, unit: str = "") -> Device:
        self.devices.append(Device(name, text, 0x946DAE0300000000 + 16 * len(self.devices), unit))
        return self.devices[-1]

    def cable_of(self, adapter: Device) -> list:
        return next(c for c in self.cables if c[0] is adapter)

    def uplinks(self) -> list[list]:
        return [c for c in self.cables if not c[0].unit]

    def free(self, switch: Device) -> int:
        used = {c[1] for c in self.cables if c[0] is switch} | {c[3] for c in self.cables if c[2] is switch}
        return next(p for p in range(64, 0, -1) if p not in used)

    def drop(self, device: Device) -> str:
        self.cables = [c for c in self.cables if device is not c[0] and device is not c[2]]
        self.devices.remove(device)
        return device.name

    def text(self, rng: random.Random) -> str:
        """Both ends of each cable, devices in any order."""
        ports = defaultdict(list)
        for a, p, b, q, rate in self.cables:
            ports[id(a)].append((p, b, q, rate))
            ports[id(b)].append((q, a, p, rate))
        lid = {id(d): n + 1 for n, d in enumerate(self.devices)}
        out = []
        for d in rng.sample(self.devices, len(self.devices)):
            word = f'Ca\t1 "H-{d.guid:016x}"' if d.unit else f'Switch\t64 "S-{d.guid:016x}"'
            out += [
                "",
                f"sysimgguid=0x{d.guid:016x}",
                f'{word}\t\t# "{d.text}"' + ("" if d.unit else f" port 0 lid {lid[id(d)]}"),
            ]
            for p, peer, q, rate in sorted(ports[id(d)], key=lambda x: x[0]):
                own = f"lid {lid[id(d)]} lmc 0 " if d.unit else ""
                letter = "H" if peer.unit else "S"
                out.append(f'[{p}]\t"{letter}-{peer.guid:016x}"[{q}]\t# {own}"{peer.text}" lid {lid[id(peer)]} {rate}')
        return "\n".join(out) + "\n"


def build(shape: Shape, hosts: str, leafs: str, up_first: bool) -> Fabric:
    """A healthy two-tier fabric, non-blocking as far as the spines divide the ports."""
    f = Fabric()
    down = shape.hosts if shape.per_rail else shape.hosts * shape.rails
    each = max(1, down // shape.spines)
    offset = 64 - down if up_first else 0
    for g in range(shape.groups):
        mine = []
        for k in range(shape.rails if shape.per_rail else 1):
            name = LEAFS[leafs](g, k, len(f.leafs))
            mine.append(f.add(name, f"MF0;{name}:MQM9700/U1"))
            f.leafs.append(mine[-1])
        for t in range(shape.hosts):
            host = HOSTS[hosts](g, t, len(f.hosts))
            f.hosts[host] = [f.add(host, f"{host} {u}", u) for u in UNITS[shape.rails]]
            for k, adapter in enumerate(f.hosts[host]):
                leaf, port = (mine[k], t) if shape.per_rail else (mine[0], t * shape.rails + k)
                f.cables.append([adapter, 1, leaf, offset + port + 1, "4xNDR"])
    for s in range(shape.spines):
        name = f"ibsw{len(f.leafs) + s + 1:03}" if leafs == "alike" else f"SPINE-{s + 1:02}"
        f.spines.append(f.add(name, f"MF0;{name}:MQM9700/U1"))
    for n, leaf in enumerate(f.leafs):
        for s, spine in enumerate(f.spines):
            for j in range(each):
                low = (0 if up_first else down) + s * each + j + 1
                f.cables.append([leaf, low, spine, n * each + j + 1, "4xNDR"])
    return f


Wanted = tuple[set[str], list[str]]  # kinds that name it, and what the findings must mention


def socket(cable: list, end: int = 2) -> str:
    return f"{cable[end].name}/{cable[end + 1]}"


def rail_swap(f: Fabric, rng: random.Random) -> Wanted | None:
    host = rng.choice(list(f.hosts))
    if len(f.hosts[host]) < 2:
        return None
    a, b = (f.cable_of(x) for x in rng.sample(f.hosts[host], 2))
    kind = "swapped-ports" if a[2] is b[2] else "rail-swap"
    a[2:4], b[2:4] = b[2:4], a[2:4]
    return {kind}, [host, socket(a), socket(b)]


def missing_uplink(f: Fabric, rng: random.Random) -> Wanted:
    cable = rng.choice(f.uplinks())
    f.cables.remove(cable)
    return {"missing-cable"}, [socket(cable, 0), socket(cable)]


def missing_host_link(f: Fabric, rng: random.Random) -> Wanted | None:
    host = rng.choice(list(f.hosts))
    if len(f.hosts[host]) < 2:
        return None
    adapter = rng.choice(f.hosts[host])
    cable = f.cable_of(adapter)
    f.drop(adapter)
    return {"missing-host-link"}, [host, socket(cable)]


def missing_inner_spine(f: Fabric, rng: random.Random) -> Wanted | None:
    if len(f.spines) < 4 or f.spines[0].name.startswith("ibsw"):
        return None
    return {"missing-switch"}, [f.drop(rng.choice(f.spines[1:-1]))]


def slow_uplink(f: Fabric, rng: random.Random) -> Wanted:
    cable = rng.choice(f.uplinks())
    cable[4] = "4xHDR"
    return {"wrong-speed"}, [socket(cable, 0), socket(cable)]


def narrow_host_link(f: Fabric, rng: random.Random) -> Wanted | None:
    host = rng.choice(list(f.hosts))
    if len(f.hosts[host]) < 2:
        return None
    cable = f.cable_of(rng.choice(f.hosts[host]))
    cable[4] = "2xNDR"
    return {"wrong-width"}, [host, socket(cable)]


def wrong_port_of_spine(f: Fabric, rng: random.Random) -> Wanted | None:
    cable = rng.choice(f.uplinks())
    if sum(1 for c in f.cables if c[2] is cable[2]) > 63:
        return None
    cable[3] = f.free(cable[2])
    return {"wrong-port"}, [cable[0].name, socket(cable)]


def exchanged_on_a_leaf(f: Fabric, rng: random.Random) -> Wanted | None:
    leaf = rng.choice(f.leafs)
    mine = [c for c in f.cables if c[2] is leaf and c[0].unit]
    a, b = rng.choice(mine), rng.choice(mine)
    if a[0].name == b[0].name or len(f.hosts[a[0].name]) < 2:
        return None
    a[3], b[3] = b[3], a[3]
    return {"swapped-cables"}, [a[0].name, b[0].name, socket(a), socket(b)]


def unnamed(f: Fabric, rng: random.Random) -> Wanted:
    host = rng.choice(list(f.hosts))
    for adapter in f.hosts[host]:
        adapter.text = "MT4129 ConnectX7   Mellanox Technologies"
    return {"unnamed-adapter"}, [socket(f.cable_of(a)) for a in f.hosts[host]]


def stranger(f: Fabric, rng: random.Random) -> Wanted | None:
    leaf = rng.choice(f.leafs)
    if sum(1 for c in f.cables if leaf in (c[0], c[2])) > 60:
        return None
    f.cables.append([f.add("ufm-mgmt-01", "ufm-mgmt-01 mlx5_0", "mlx5_0"), 1, leaf, f.free(leaf), "4xNDR"])
    return {"foreign-device"}, ["ufm-mgmt-01", socket(f.cables[-1])]


def one_guid(f: Fabric, rng: random.Random) -> Wanted:
    one, two = rng.sample(list(f.hosts), 2)
    f.hosts[one][0].guid = f.hosts[two][0].guid
    return {"duplicate-guid"}, [one, two]


def leaf_to_leaf(f: Fabric, rng: random.Random) -> Wanted | None:
    a, b = rng.sample(f.leafs, 2)
    if any(sum(1 for c in f.cables if x in (c[0], c[2])) > 60 for x in (a, b)):
        return None
    f.cables.append([a, f.free(a), b, f.free(b), "4xNDR"])
    return {"not-a-tree"}, [socket(f.cables[-1], 0), socket(f.cables[-1])]


def storage_adapter(f: Fabric, rng: random.Random) -> Wanted | None:
    host = rng.choice(list(f.hosts))
    if len(f.hosts[host]) < 4:
        return None
    adapter = rng.choice(f.hosts[host])
    adapter.unit = "mlx5_17"
    adapter.text = f"{host} mlx5_17"
    return {"wrong-adapter"}, [host, socket(f.cable_of(adapter))]


CLASSES = (
    rail_swap, missing_uplink, missing_host_link, missing_inner_spine, slow_uplink, narrow_host_link, wrong_port_of_spine,
    exchanged_on_a_leaf, unnamed, stranger, one_guid, leaf_to_leaf, storage_adapter,
)  # fmt: skip
