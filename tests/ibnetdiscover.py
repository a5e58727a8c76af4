# SPDX-License-Identifier: Apache-2.0
"""Writes a wired fabric as ibnetdiscover would print it, both ends of each cable (rdma-core, infiniband-diags)."""

from __future__ import annotations

from collections import defaultdict

from placement.ir import Kind, Wired

TAGS = {Kind.SWITCH: ("Switch", "S", "switchguid"), Kind.ADAPTER: ("Ca", "H", "caguid")}


def plain(wired: Wired, rate: str = "4xNDR") -> str:
    """`ibnetdiscover`."""
    device, cable = wired.device, wired.cable
    ports = defaultdict(list)
    for (a, b), (p, q) in zip(cable.device_CE.tolist(), cable.port_CE.tolist(), strict=True):
        ports[a].append((p, b, q))
        ports[b].append((q, a, p))
    out = ["#", "# Topology file: generated on Wed Jan  1 00:00:00 2025", "#"]
    for d in range(len(device)):
        word, letter, key = TAGS[Kind(device.kind_D[d])]
        guid = _guid(wired, d)
        out += ["", "vendid=0x2c9", "devid=0x1021", f"sysimgguid=0x{guid}", f"{key}=0x{guid}"]
        size = max(int(device.ports_D[d]), 1)
        tail = f" enhanced port 0 lid {d + 1} lmc 0" if letter == "S" else ""
        out.append(f'{word}\t{size} "{letter}-{guid}"\t\t# "{text(wired, d)}"{tail}')
        for p, peer, q in sorted(ports[d]):
            other = TAGS[Kind(device.kind_D[peer])][1]
            own = f"({guid})" if letter == "H" else ""
            lid = f"lid {d + 1} lmc 0 " if letter == "H" else ""
            theirs = f"({_guid(wired, peer)}) " if other == "H" else ""
            out.append(
                f'[{p}]{own}\t"{other}-{_guid(wired, peer)}"[{q}]{theirs}\t\t# {lid}"{text(wired, peer)}" lid {peer + 1} {rate}'
            )
    return "\n".join(out) + "\n"


def ports(wired: Wired) -> str:
    """`ibnetdiscover -p`."""
    device, cable = wired.device, wired.cable
    rows = []
    for (a, b), (p, q) in zip(cable.device_CE.tolist(), cable.port_CE.tolist(), strict=True):
        for one, port, two, peer in ((a, p, b, q), (b, q, a, p)):
            kind = ["SW" if device.kind_D[d] == Kind.SWITCH else "CA" for d in (one, two)]
            rows.append(
                f"{kind[0]} {one + 1:5} {port:3} 0x{_guid(wired, one)} 4x NDR"
                f" - {kind[1]} {two + 1:5} {peer:3} 0x{_guid(wired, two)} ( '{text(wired, one)}' - '{text(wired, two)}' )"
            )
    return "\n".join(rows) + "\n"


def text(wired: Wired, d: int) -> str:
    """Description of a device, as its driver or switch sets it."""
    device = wired.device
    name = str(device.name_D[d])
    if device.kind_D[d] == Kind.SWITCH:
        return f"MF0;{name}:MQM9790/U1"
    return f"{name} {device.unit_D[d]}" if name else str(device.text_D[d])


def _guid(wired: Wired, d: int) -> str:
    guid = int(wired.device.guid_D[d])
    return f"{guid or 0x1000 + d:016x}"
