# SPDX-License-Identifier: Apache-2.0
"""topograph: simulation models (YAML), graph output (JSON); NetQ topology graphs and NMX compute nodes as topograph reads
them.

Layouts: NVIDIA/topograph, pkg/models/model.go, pkg/providers/netq, tests/models; graph engine output
`instances[].network_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.records import json_records, mapping, sequence, text_of, whole_of, yaml_documents
from placement.ingest.source import Source
from placement.ingest.trees import Tree, host_names, unsaid
from placement.ir import Kind


def looks_like(_name: str, head: str) -> bool:
    return bool(re.search(r"^blocks:\s*$", head, re.MULTILINE)) and "nodes:" in head


def read(source: Source) -> Reading:
    """A simulation model: `switches:` by name, `blocks:` of hosts under a switch, annotations with the NVLink domain."""
    out = Builder("topograph", source.file, logical=True)
    tree = Tree(out, "topograph switch")
    for doc in yaml_documents(out, source):
        root = mapping(doc.tree)
        for name, raw in mapping(root.get("switches")).items():
            children = [text_of(c) for c in sequence(mapping(raw).get("switches"))]
            tree.switch(name, doc.key_span(("switches", name)).line, [c for c in children if c])
        for i, raw in enumerate(sequence(root.get("blocks"))):
            _block(out, tree, mapping(raw), doc.span(("blocks", i)).line)
    tree.lower()
    unsaid(out, "rails, ports, speeds and GPUs")
    return out.done()


def _block(out: Builder, tree: Tree, raw: Any, line: int) -> None:
    lists = [text_of(n) for n in sequence(raw.get("nodes"))]
    hosts = [h for text in lists if text for h in host_names(out, text, line)]
    switch = text_of(raw.get("switch"))
    if not hosts:
        out.bad(line, "bad-record", f"the block under `{switch or '?'}` names no hosts")
    if switch:
        tree.switch(switch, line, (), hosts)
    else:
        out.bad(line, "no-leaf", "a block without a switch: its hosts stand in no tree")
    facts = domain_of({k: text_of(v) for k, v in mapping(raw.get("annotations")).items()})
    for host in hosts:
        out.host(host, line, (), **facts)


def domain_of(notes: dict[str, str]) -> dict[str, str]:
    """`…/domain` as the NVLink domain."""
    found = next((v for k, v in notes.items() if k.rpartition("/")[2] == "domain" and v), "")
    return {"domain": found} if found else {}


# ---------------------------------------------------------------------------------------------- topograph, graph engine


def looks_like_graph(_name: str, head: str) -> bool:
    return '"network_layers"' in head or '"networkLayers"' in head


def read_graph(source: Source) -> Reading:
    """engine=graph: instances with their switches, leaf first."""
    out = Builder("topograph-graph", source.file, logical=True)
    tree = Tree(out, "topograph switch")
    for record in json_records(out, source, "instances"):
        value = record.value
        name = text_of(value.get("id") or value.get("name") or value.get("node"))
        layers = [text_of(x) for x in sequence(value.get("network_layers") or value.get("networkLayers"))]
        if not name:
            out.bad(record.line, "bad-record", "an instance without a name")
            continue
        out.host(name, record.line, (), **domain_of({k: text_of(v) for k, v in mapping(value.get("labels")).items()}))
        chain = [x for x in layers if x]
        if not chain:
            out.bad(record.line, "no-leaf", f"`{name}` stands under no switch")
            continue
        tree.switch(chain[0], record.line, (), [name])
        for below, above in pairwise(chain):
            tree.switch(above, record.line, [below])
    tree.lower()
    unsaid(out, "rails, ports, speeds and GPUs")
    return out.done()


# ----------------------------------------------------------------------------------------------------------------- NetQ


def looks_like_netq(_name: str, head: str) -> bool:
    return '"compounded_links"' in head or ('"links"' in head and '"compoundedLinks"' in head)


def read_netq(source: Source) -> Reading:
    """NetQ topology graph: LLDP links by interface, each one a cable; a host's interface is an adapter of its own."""
    out = Builder("netq", source.file)
    net = _NetQ(out, Finder(source))
    for record in json_records(out, source):
        for raw in sequence(record.value.get("nodes")):
            net.node(mapping(raw))
        for raw in sequence(record.value.get("links")):
            net.link(mapping(raw))
    unsaid(out, "speeds, rails and NVLink domains")
    return out.done()


class Finder:
    """Lines of identities, found by search: JSON readers keep none."""

    def __init__(self, source: Source) -> None:
        self._line: dict[str, int] = {}
        for number, text in enumerate(source.lines, start=1):
            for match in re.finditer(r'"id"\s*:\s*"([^"]*)"', text):
                self._line.setdefault(match[1], number)

    def of(self, id: str) -> int:
        return self._line.get(id, 1)


class _NetQ:
    def __init__(self, out: Builder, lines: Finder) -> None:
        self.out, self.lines = out, lines
        self.name: dict[str, str] = {}  # by id
        self.switch: set[str] = set()
        self.seen: set[tuple[tuple[str, str], tuple[str, str]]] = set()

    def node(self, raw: Mapping[str, Any]) -> None:
        """A device, or a group of devices of one tier."""
        inner = sequence(raw.get("compounded_nodes"))
        for child in inner:
            self.node(mapping(child))
        id, name = text_of(raw.get("id")), text_of(raw.get("name"))
        if inner or not id or text_of(raw.get("node_type")) == "tier":
            return
        line = self.lines.of(id)
        if name in self.name.values():
            self.out.bad(line, "duplicate-name", f"two devices are called `{name}`")
        self.name[id] = name or id
        if text_of(raw.get("device_type")) in ("switch", "chassis"):
            self.switch.add(id)
            self.out.device(id, Kind.SWITCH, self.name[id], line)
        else:
            self.out.host(self.name[id], line)

    def link(self, raw: Mapping[str, Any]) -> None:
        parts = sequence(raw.get("compounded_links")) or [raw]
        id = text_of(raw.get("id"))
        for part in parts:
            self.cable(mapping(part), text_of(mapping(part).get("id")) or id)
        size = whole_of(raw.get("size"))
        if size >= 0 and size != len(parts):
            message = f"link `{id[:60]}` says that it is {size} cables and lists {len(parts)}"
            self.out.bad(self.lines.of(id), "ends-disagree", message)

    def cable(self, raw: Mapping[str, Any], id: str) -> None:
        ends = [
            (text_of(mapping(e).get("node")), text_of(mapping(e).get("interface"))) for e in sequence(raw.get("interfaces"))
        ]
        line = self.lines.of(id)
        if len(ends) != 2 or not all(node for node, _ in ends):
            self.out.bad(line, "bad-record", f"link `{id[:60]}` does not have two ends")
            return
        a, b = sorted(ends)
        if (a, b) in self.seen and a[1]:
            self.out.bad(line, "port-twice", f"link `{id[:60]}` is listed twice")
            return
        self.seen.add((a, b))
        label_a, label_b = (x if node in self.switch else "" for node, x in (a, b))
        self.out.cable(
            self.end(*a, line), port_number(a[1]) if label_a else 1, self.end(*b, line), port_number(b[1]) if label_b else 1,
            line, label_a=label_a, label_b=label_b,
        )  # fmt: skip

    def end(self, id: str, interface: str, line: int) -> int:
        if id in self.switch:
            return self.out.device(id, Kind.SWITCH, self.name[id], line)
        if id not in self.name:
            self.out.bad(line, "unknown-child", f"a link leads to `{id}`, which is nowhere described")
            self.name[id] = id
            self.out.host(id, line)
        return self.out.device(f"{id}\0{interface}", Kind.ADAPTER, self.name[id], line, unit=interface, ports=1)


def port_number(interface: str) -> int:
    """A number for each port name: `swp17s2` is 1702. A port is whole or split, never both."""
    match = re.match(r"[A-Za-z]+(\d{1,5})(?:s(\d{1,3}))?", interface)
    return int(match[1]) * 100 + int(match[2] or 0) if match else -1


# ------------------------------------------------------------------------------------------------------------------ NMX


def looks_like_nmx(_name: str, head: str) -> bool:
    return '"DomainUUID"' in head and ('"LocationInfo"' in head or '"GpuIDList"' in head)


def read_nmx(source: Source) -> Reading:
    """NMX compute nodes: NVLink domain, chassis, slot, tray, health and GPUs of each host."""
    out = Builder("nmx", source.file, logical=True)
    for record in json_records(out, source, "computeNodes", "items"):
        value = record.value
        name, place = text_of(value.get("Name")), mapping(value.get("LocationInfo"))
        if not name:
            out.bad(record.line, "bad-record", "a compute node without `Name`")
            continue
        gpus = sequence(value.get("GpuIDList"))
        health = text_of(value.get("Health"))
        chassis = text_of(place.get("ChassisSerialNumber")) or text_of(place.get("ChassisID"))
        slot, tray = text_of(place.get("SlotID")), text_of(place.get("TrayIndex"))
        out.host(
            name, record.line, domain=text_of(value.get("DomainUUID")), gpus=len(gpus) if gpus else -1, rack=chassis,
            place=f"slot {slot} tray {tray}" if slot or tray else "", state="" if health == "HEALTHY" else health,
        )  # fmt: skip
        if len(set(map(str, gpus))) < len(gpus):
            out.bad(record.line, "duplicate-name", f"`{name}` lists a GPU twice")
    unsaid(out, "switches, rails, ports and speeds")
    return out.done()
