# SPDX-License-Identifier: Apache-2.0
"""Faults put into a generated fabric: each class changes devices or cables as the real fault would, and says what must be
found.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np

from placement.ir import Kind, Wired

Injection = tuple[str, str]  # kind of the finding, and a name that it must mention

TOPOLOGY = """
name: generated
gpu: GB300
node: {gpus: 4, nics: 4, nic: ConnectX-8, nic_name: "mlx5_{rail}"}
nvlink: {latency: 1 us}
racks: [{count: 112, nodes: 18, host: "rack{rack:04}-tray{node:02}"}]
fabric:
  tiers:
    - {name: leaf, racks: 4, latency: 3 us, switch: {model: Q3400, kind: leaf, per_rail: true, uplinks: 36}}
    - {name: pod, racks: 16, latency: 4 us, switch: {model: Q3400, kind: spine, count: 18, uplinks: 16}}
    - {name: core, latency: 5 us, switch: {model: Q3400, kind: core}}
"""


class Lab:
    """A fabric under change. Devices and cables are lists of dicts of columns, so that rows can be dropped and added."""

    def __init__(self, wired: Wired, seed: int) -> None:
        self.rng = random.Random(seed)
        self.wired = wired
        d, c = wired.device, wired.cable
        self.name, self.unit = d.name_D.astype("U40").copy(), d.unit_D.astype("U20").copy()
        self.guid, self.lid = d.guid_D.copy(), d.lid_D.copy()
        self.kind = d.kind_D
        self.text = d.text_D.astype("U60").copy()
        self.end, self.port = c.device_CE.copy(), c.port_CE.copy()
        self.Bps, self.width = c.Bps_C.copy(), c.width_C.copy()
        self.keep_C, self.keep_D = np.ones(len(c), bool), np.ones(len(d), bool)
        self.new_devices: list[tuple[int, str, str]] = []
        self.new_cables: list[tuple[int, int, int, int]] = []
        self.busy: set[object] = set()
        switch = d.kind_D == Kind.SWITCH
        self.leafs = [i for i in np.flatnonzero(switch).tolist() if str(d.name_D[i]).startswith("leaf")]
        self.spines = [i for i in np.flatnonzero(switch).tolist() if str(d.name_D[i]).startswith("spine")]
        self.cores = [i for i in np.flatnonzero(switch).tolist() if str(d.name_D[i]).startswith("core")]
        self.hosts = list(dict.fromkeys(d.name_D[~switch].tolist()))
        self.of_host: dict[str, list[int]] = {}
        for i in np.flatnonzero(~switch).tolist():
            self.of_host.setdefault(str(d.name_D[i]), []).append(i)
        self.cable_of = {int(a): c for c, a in enumerate(self.end[:, 0].tolist()) if not switch[a]}
        self.up: dict[int, list[int]] = {}
        for c, a in enumerate(self.end[:, 0].tolist()):
            if switch[a]:
                self.up.setdefault(a, []).append(c)
        self.spare: dict[int, int] = {}
        self.also: list[Injection] = []

    # ---- choosing sites that no other fault touches

    def free(self, things: list, tries: int = 2000):
        for _ in range(tries):
            thing = self.rng.choice(things)
            if thing not in self.busy:
                return thing
        raise AssertionError("the lab is full")

    def host(self) -> str:
        """A host none of whose leafs, places or names is part of another fault."""
        for _ in range(2000):
            host = self.free(self.hosts)
            rack = host[:8]
            if rack in self.busy or any(x in self.busy for x in self.leafs_of(host)):
                continue
            self.busy.add(host)
            return host
        raise AssertionError("the lab is full")

    def leafs_of(self, host: str) -> list[int]:
        return [int(self.end[self.cable_of[a], 1]) for a in self.of_host[host]]

    def leaf(self, whole: bool = False) -> int:
        """A leaf; `whole`: alone with all of its hosts and their other leafs."""
        for _ in range(2000):
            leaf = self.free(self.leafs)
            group = [x for x in self.leafs if str(self.wired.device.name_D[x])[:-1] == str(self.wired.device.name_D[leaf])[:-1]]
            hosts = [h for h in self.hosts if leaf in self.leafs_of(h)] if whole else []
            if any(h in self.busy or h[:8] in self.busy for h in hosts) or any(
                x in self.busy for x in (group if whole else [])
            ):
                continue
            self.busy.update([leaf, *hosts, *(group if whole else [])])
            return leaf
        raise AssertionError("the lab is full")

    def uplink(self, tier: list[int]) -> int:
        """A cable upwards of a switch; the switch and its peer are then taken."""
        for _ in range(2000):
            low = self.free(tier)
            c = self.rng.choice(self.up[low])
            high = int(self.end[c, 1])
            if high not in self.busy:
                self.busy.update([low, high])
                return c
        raise AssertionError("the lab is full")

    def socket(self, switch: int) -> int:
        """A port that no cable uses."""
        self.spare[switch] = self.spare.get(switch, 144) - 1
        return self.spare[switch] + 1

    def names(self, c: int) -> tuple[str, str]:
        a, b = self.end[c].tolist()
        return str(self.wired.device.name_D[a]), str(self.wired.device.name_D[b])

    # ---- result

    def result(self) -> Wired:
        w, num = self.wired, len(self.name)
        keep = np.r_[self.keep_D, np.ones(len(self.new_devices), bool)]
        place = np.cumsum(keep) - 1
        extra = len(self.new_devices)
        columns = {f.name: getattr(w.device, f.name) for f in fields(w.device)}
        columns |= {"name_D": self.name, "unit_D": self.unit, "guid_D": self.guid, "lid_D": self.lid, "text_D": self.text}
        grown = {}
        for key, values in columns.items():
            fill = np.zeros(extra, values.dtype)
            if key == "kind_D":
                fill[:] = [k for k, _, _ in self.new_devices]
            grown[key] = np.concatenate([values, fill])
        if extra:
            grown["name_D"] = np.concatenate([self.name, np.array([n for _, n, _ in self.new_devices])])
            grown["unit_D"] = np.concatenate([self.unit, np.array([u for _, _, u in self.new_devices])])
            grown["ports_D"][num:] = 1
        device = replace(w.device, **{k: v[keep] for k, v in grown.items()})
        alive = self.keep_C & keep[self.end].all(axis=1)
        end = np.concatenate([self.end[alive], np.array([[a, b] for a, _, b, _ in self.new_cables], np.int64).reshape(-1, 2)])
        port = np.concatenate([self.port[alive], np.array([[p, q] for _, p, _, q in self.new_cables], np.int64).reshape(-1, 2)])
        more, c = len(self.new_cables), w.cable
        # as a capture would list them: in any order, from either end
        order = np.arange(len(end))
        self.rng.shuffle(order)
        usual = float(c.Bps_C[0])
        Bps = np.concatenate([self.Bps[alive], np.full(more, usual)])
        width = np.concatenate([self.width[alive], np.full(more, 4)])
        codes = {v: i for i, v in enumerate(sorted({(b, x) for b, x in zip(Bps.tolist(), width.tolist(), strict=True)}))}
        rate = np.array([codes[b, x] for b, x in zip(Bps.tolist(), width.tolist(), strict=True)])
        zero = np.zeros(len(end), np.int64)
        cable = replace(
            c, device_CE=place[end][order], port_CE=port[order], label_CE=np.zeros((len(end), 2), np.int64),
            Bps_C=Bps[order], rate_C=rate[order], rates=tuple(f"{x}x{b * 8e-9 / max(x, 1):g}G" for b, x in codes),
            width_C=width[order], file_C=zero, line_C=np.arange(len(end)) + 1, back_C=zero,
        )  # fmt: skip
        return replace(w, device=device, cable=cable, planned=False)


def prepared(wired: Wired) -> Wired:
    """The generated design with identities, as a capture has them."""
    size = len(wired.device)
    device = replace(
        wired.device, guid_D=(np.arange(size) + 0x2C5EAB0300000000).astype(np.uint64), lid_D=np.arange(1, size + 1),
        text_D=wired.device.name_D,
    )  # fmt: skip
    return replace(wired, device=device, cable=replace(wired.cable, width_C=np.full(len(wired.cable), 4)))


# ---------------------------------------------------------------------------------------------------------- the classes


def missing_cable(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    lab.keep_C[c] = False
    return "missing-cable", lab.names(c)[0]


def missing_core_cable(lab: Lab) -> Injection:
    c = lab.uplink(lab.spines)
    lab.keep_C[c] = False
    return "missing-cable", lab.names(c)[0]


def missing_pair(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    a, b = lab.end[c]
    lab.keep_C[(lab.end[:, 0] == a) & (lab.end[:, 1] == b)] = False
    return "missing-cable", lab.names(c)[1]


def missing_leaf(lab: Lab) -> Injection:
    leaf = lab.leaf(whole=True)
    lab.keep_D[leaf] = False
    return "missing-switch", str(lab.name[leaf])


def _upper(lab: Lab, tier: list[int]) -> int:
    for _ in range(2000):
        high = lab.free(tier)
        peers = set(lab.end[(lab.end[:, 1] == high), 0].tolist()) | set(lab.end[(lab.end[:, 0] == high), 1].tolist())
        if not peers & lab.busy:
            lab.busy.update([high, *peers])
            return high
    raise AssertionError("the lab is full")


def missing_spine(lab: Lab) -> Injection:
    spine = _upper(lab, lab.spines)
    lab.keep_D[spine] = False
    return "missing-switch", str(lab.name[spine])


def missing_core(lab: Lab) -> Injection:
    core = _upper(lab, lab.cores)
    lab.keep_D[core] = False
    return "missing-switch", str(lab.name[core])


def rail_swap(lab: Lab) -> Injection:
    host = lab.host()
    i, j = lab.rng.sample(range(4), 2)
    a, b = (lab.cable_of[lab.of_host[host][k]] for k in (i, j))
    lab.end[[a, b], 0] = lab.end[[b, a], 0]
    return "rail-swap", host


def rail_rotation(lab: Lab) -> Injection:
    host = lab.host()
    rows = [lab.cable_of[a] for a in lab.of_host[host]]
    lab.end[rows, 0] = lab.end[rows[1:] + rows[:1], 0]
    return "rail-swap", host


def swapped_cables(lab: Lab) -> Injection:
    host = lab.host()
    other = next(h for h in lab.hosts if h != host and h not in lab.busy and lab.leafs_of(h) == lab.leafs_of(host))
    lab.busy.add(other)
    rail = lab.rng.randrange(4)
    a, b = (lab.cable_of[lab.of_host[h][rail]] for h in (host, other))
    lab.end[[a, b], 0] = lab.end[[b, a], 0]
    return "swapped-cables", host


def swapped_unnamed(lab: Lab) -> Injection:
    """Two exchanged cables, one of a host whose adapters carry no name: attributed by elimination."""
    host = lab.host()
    other = next(h for h in lab.hosts if h != host and h not in lab.busy and lab.leafs_of(h) == lab.leafs_of(host))
    lab.busy.add(other)
    a, b = (lab.cable_of[lab.of_host[h][0]] for h in (host, other))
    lab.end[[a, b], 0] = lab.end[[b, a], 0]
    for d in lab.of_host[other]:
        lab.name[d], lab.unit[d], lab.text[d] = "", "", "MT4129 ConnectX8 Mellanox Technologies"
    lab.also = [("unnamed-adapter", other)]
    return "swapped-cables", host


def wrong_port(lab: Lab) -> Injection:
    host = lab.host()
    c = lab.cable_of[lab.of_host[host][lab.rng.randrange(4)]]
    lab.port[c, 1] = lab.socket(int(lab.end[c, 1]))
    return "wrong-port", host


def missing_host_link(lab: Lab) -> Injection:
    host = lab.host()
    d = lab.of_host[host][lab.rng.randrange(4)]
    lab.keep_D[d] = False
    return "missing-host-link", host


def dark_adapter(lab: Lab) -> Injection:
    """The adapter is on record, its cable is not."""
    host = lab.host()
    lab.keep_C[lab.cable_of[lab.of_host[host][lab.rng.randrange(4)]]] = False
    return "missing-host-link", host


def dark_host(lab: Lab) -> Injection:
    host = lab.host()
    for d in lab.of_host[host]:
        lab.keep_C[lab.cable_of[d]] = False
    return "no-link", host


def absent_tray(lab: Lab) -> Injection:
    host = lab.host()
    for d in lab.of_host[host]:
        lab.keep_D[d] = False
    return "absent-tray", host


def wrong_leaf(lab: Lab) -> Injection:
    host = lab.host()
    rail = lab.rng.randrange(4)
    c = lab.cable_of[lab.of_host[host][rail]]
    own = int(lab.end[c, 1])
    other = next(
        x
        for x in lab.rng.sample(lab.leafs, len(lab.leafs))
        if x not in lab.busy and str(lab.name[x])[-1] == str(lab.name[own])[-1] and x != own
    )
    lab.busy.add(other)
    lab.end[c, 1], lab.port[c, 1] = other, lab.socket(other)
    return "wrong-leaf", host


def swapped_uplinks(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    pod = lab.names(c)[1].split("-s")[0]
    for _ in range(2000):
        low = lab.free(lab.leafs)
        d = lab.rng.choice(lab.up[low])
        if lab.names(d)[1].split("-s")[0] == pod and int(lab.end[d, 1]) not in lab.busy and lab.end[d, 1] != lab.end[c, 1]:
            break
    else:
        raise AssertionError("the lab is full")
    lab.busy.update([low, int(lab.end[d, 1])])
    lab.end[[c, d], 1], lab.port[[c, d], 1] = lab.end[[d, c], 1], lab.port[[d, c], 1]
    return "swapped-uplinks", lab.names(c)[0]


def crossed_pair(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    d = next(x for x in lab.up[int(lab.end[c, 0])] if x != c and lab.end[x, 1] == lab.end[c, 1])
    lab.port[[c, d], 1] = lab.port[[d, c], 1]
    return "crossed-pair", lab.names(c)[0]


def wrong_switch(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    pod = lab.names(c)[1].split("-s")[0]
    other = next(
        s
        for s in lab.rng.sample(lab.spines, len(lab.spines))
        if s not in lab.busy and not str(lab.name[s]).startswith(pod + "-s")
    )
    lab.busy.add(other)
    lab.end[c, 1], lab.port[c, 1] = other, lab.socket(other)
    return "wrong-switch", str(lab.name[other])


def uplink_port(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    lab.port[c, 1] = lab.socket(int(lab.end[c, 1]))
    return "wrong-port", lab.names(c)[0]


def wrong_speed(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs) if lab.rng.random() < 0.5 else lab.cable_of[lab.of_host[lab.host()][lab.rng.randrange(4)]]
    lab.Bps[c] /= 2
    return "wrong-speed", lab.names(c)[0]


def wrong_width(lab: Lab) -> Injection:
    c = lab.cable_of[lab.of_host[lab.host()][lab.rng.randrange(4)]]
    lab.Bps[c] /= 4
    lab.width[c] = 1
    return "wrong-width", lab.names(c)[0]


def slow_rack(lab: Lab) -> Injection:
    rack = next(
        r
        for r in lab.rng.sample([f"rack{i:04}" for i in range(1, 113)], 112)
        if r not in lab.busy and not any(h[:8] == r and h in lab.busy for h in lab.hosts)
    )
    lab.busy.add(rack)
    for host in [h for h in lab.hosts if h[:8] == rack]:
        lab.busy.add(host)
        for d in lab.of_host[host]:
            lab.Bps[lab.cable_of[d]] /= 2
    return "mixed-generation", f"{rack}-tray01"


def duplicate_guid(lab: Lab) -> Injection:
    a, b = lab.of_host[lab.host()][0], lab.of_host[lab.host()][1]
    lab.guid[b] = lab.guid[a]
    return "duplicate-guid", str(lab.name[b])


def duplicate_lid(lab: Lab) -> Injection:
    a, b = lab.of_host[lab.host()][0], lab.of_host[lab.host()][1]
    lab.lid[b] = lab.lid[a]
    return "duplicate-lid", str(lab.name[b])


def duplicate_name(lab: Lab) -> Injection:
    one, two = lab.host(), lab.host()
    for d in lab.of_host[two]:
        lab.name[d] = one
    return "duplicate-name", one


def duplicate_switch_name(lab: Lab) -> Injection:
    one, two = _quiet_spine(lab), _quiet_spine(lab)
    lab.name[two] = lab.name[one]
    return "duplicate-name", str(lab.name[one])


def _quiet_spine(lab: Lab) -> int:
    spine = lab.free(lab.spines)
    lab.busy.add(spine)
    return spine


def unnamed(lab: Lab) -> Injection:
    host = lab.host()
    for d in lab.of_host[host]:
        lab.name[d], lab.unit[d], lab.text[d] = "", "", "MT4129 ConnectX8 Mellanox Technologies"
    return "unnamed-adapter", host


def host_name(lab: Lab) -> Injection:
    host = lab.host()
    for d in lab.of_host[host]:
        lab.name[d] = "localhost"
    return "host-name", host


def foreign(lab: Lab) -> Injection:
    leaf = lab.leaf()
    name = f"ufm{lab.rng.randrange(10**6)}"
    lab.new_devices.append((int(Kind.ADAPTER), name, "mlx5_0"))
    lab.new_cables.append((len(lab.name) + len(lab.new_devices) - 1, 1, leaf, lab.socket(leaf)))
    return "foreign-device", name


def leaf_to_leaf(lab: Lab) -> Injection:
    one, two = lab.leaf(), lab.leaf()
    lab.new_cables.append((one, lab.socket(one), two, lab.socket(two)))
    return "not-a-tree", str(lab.name[one])


def leaf_to_core(lab: Lab) -> Injection:
    one, two = lab.leaf(), lab.free(lab.cores)
    lab.busy.add(two)
    lab.new_cables.append((one, lab.socket(one), two, lab.socket(two)))
    return "not-a-tree", str(lab.name[one])


def loop_cable(lab: Lab) -> Injection:
    leaf = lab.leaf()
    lab.new_cables.append((leaf, lab.socket(leaf), leaf, lab.socket(leaf)))
    return "loop-cable", str(lab.name[leaf])


def extra_cable(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    a, b = lab.end[c].tolist()
    lab.new_cables.append((a, lab.socket(a), b, lab.socket(b)))
    return "extra-cable", lab.names(c)[0]


def port_twice(lab: Lab) -> Injection:
    c = lab.uplink(lab.leafs)
    a, b = lab.end[c].tolist()
    lab.new_cables.append((a, int(lab.port[c, 0]), b, lab.socket(b)))
    return "port-twice", lab.names(c)[0]


def no_such_port(lab: Lab) -> Injection:
    host = lab.host()
    c = lab.cable_of[lab.of_host[host][0]]
    lab.port[c, 1] = 200
    return "no-such-port", str(lab.name[lab.end[c, 1]])


def swapped_hosts(lab: Lab) -> Injection:
    one = lab.host()
    two = next(
        h for h in lab.hosts if h != one and h not in lab.busy and lab.leafs_of(h) == lab.leafs_of(one) and h[:8] == one[:8]
    )
    lab.busy.add(two)
    for d, e in zip(lab.of_host[one], lab.of_host[two], strict=True):
        lab.name[d], lab.name[e] = lab.name[e], lab.name[d]
    return "swapped-hosts", one


def swapped_racks(lab: Lab) -> Injection:
    racks = [f"rack{i:04}" for i in range(1, 113)]
    quiet = [r for r in racks if r not in lab.busy and not any(h in lab.busy for h in lab.hosts if h[:8] == r)]
    one, two = lab.rng.sample(quiet, 2)
    lab.busy.update([one, two])
    for h in [h for h in lab.hosts if h[:8] == one]:
        lab.busy.update([h, two + h[8:]])
        for d, e in zip(lab.of_host[h], lab.of_host[two + h[8:]], strict=True):
            lab.name[d], lab.name[e] = lab.name[e], lab.name[d]
    return "swapped-racks", min(one, two)


def swapped_leafs(lab: Lab) -> Injection:
    one, two = lab.leaf(whole=True), lab.leaf(whole=True)
    lab.name[one], lab.name[two] = lab.name[two], lab.name[one]
    return "swapped-leafs", str(lab.name[one])


def wrong_adapter(lab: Lab) -> Injection:
    host = lab.host()
    d = lab.of_host[host][lab.rng.randrange(4)]
    lab.unit[d] = "mlx5_9"
    return "wrong-adapter", host


def leaf_without_hosts(lab: Lab) -> Injection:
    leaf = lab.leaf(whole=True)
    for host in lab.hosts:
        for d in lab.of_host[host]:
            if lab.end[lab.cable_of[d], 1] == leaf:
                lab.keep_D[d] = False
    return "leaf-without-hosts", str(lab.name[leaf])


def leaf_cut_off(lab: Lab) -> Injection:
    leaf = lab.leaf()
    lab.keep_C[lab.up[leaf]] = False
    return "switch-cut-off", str(lab.name[leaf])


def spine_cut_off(lab: Lab) -> Injection:
    spine = _upper(lab, lab.spines)
    lab.keep_C[lab.up[spine]] = False
    return "switch-cut-off", str(lab.name[spine])


CLASSES: dict[str, Callable[[Lab], Injection]] = {
    f.__name__: f
    for f in (
        missing_leaf, leaf_without_hosts, swapped_leafs, swapped_racks, missing_spine, missing_core, spine_cut_off, slow_rack,
        leaf_cut_off, missing_cable, missing_core_cable, missing_pair, rail_swap, rail_rotation, swapped_cables,
        swapped_unnamed, wrong_port, missing_host_link, dark_adapter, dark_host, absent_tray, wrong_leaf, swapped_uplinks,
        crossed_pair, wrong_switch, uplink_port, wrong_speed, wrong_width, duplicate_guid, duplicate_lid, duplicate_name,
        duplicate_switch_name, unnamed, host_name, foreign, leaf_to_leaf, leaf_to_core, loop_cable, extra_cable, port_twice,
        no_such_port, swapped_hosts, wrong_adapter ) }  # fmt: skip
