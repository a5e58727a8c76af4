# SPDX-License-Identifier: Apache-2.0
"""NetBox: device types (devicetype-library YAML) and cable exports (CSV).

A device type describes a kind of host, not a host: it is read as one, so that its adapters and GPUs can be checked and merged.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from typing import Any

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.rates import rate_Bps
from placement.ingest.records import mapping, sequence, text_of, yaml_documents
from placement.ingest.source import Source
from placement.ingest.trees import unsaid
from placement.ir import Kind

# NetBox interface type (dcim.choices.InterfaceTypeChoices) -> speed as written elsewhere.
_INFINIBAND = {
    "sdr": "4xSDR",
    "ddr": "4xDDR",
    "qdr": "4xQDR",
    "fdr10": "4xFDR10",
    "fdr": "4xFDR",
    "edr": "4xEDR",
    "hdr": "4xHDR",
    "ndr": "4xNDR",
    "xdr": "4xXDR",
}
_SPEED = re.compile(r"(\d+(?:\.\d+)?)(g|m|)base")
_GPU_TEXT = re.compile(r"\b(\d+)\s*x\s*(?:NVIDIA\s+)?((?:GB|B|H|A)\d{3}[A-Z]*)\s*(?:GPU|Tensor)", re.IGNORECASE)


def looks_like_devicetype(_name: str, head: str) -> bool:
    return all(re.search(rf"^{k}\s*:", head, re.MULTILINE) for k in ("manufacturer", "model", "slug"))


def read_devicetype(source: Source) -> Reading:
    """Interfaces of one device type. Management ports, and adapters slower than the fastest kind, are not for compute."""
    out = Builder("netbox-devicetype", source.file, planned=True, logical=True)
    for doc in yaml_documents(out, source):
        root = mapping(doc.tree)
        host = text_of(root.get("slug")) or text_of(root.get("model"))
        if not host:
            out.error(1, "bad-record", "a device type without `model`")
            continue
        _device_type(out, doc, root, host)
    unsaid(out, "hosts, racks, cables and NVLink domains: it describes one kind of host")
    return out.done()


def _device_type(out: Builder, doc: Any, root: Mapping[str, Any], host: str) -> None:
    speeds: list[float] = []
    seen: set[str] = set()
    for i, raw in enumerate(sequence(root.get("interfaces"))):
        line, item = doc.span(("interfaces", i)).line, mapping(raw)
        name, kind = text_of(item.get("name")), text_of(item.get("type"))
        if not name:
            out.bad(line, "bad-record", "an interface without a name")
            continue
        if name in seen:
            out.bad(line, "duplicate-name", f"interface `{name}` is described twice")
        seen.add(name)
        if text_of(item.get("mgmt_only")).lower() == "true":
            continue
        rate = interface_rate(kind)
        if not rate:
            out.bad(line, "no-speed", f"interface `{name}` is of type `{kind[:40]}`, whose speed is not known")
        speeds.append(rate_Bps(rate))
        text = text_of(item.get("description"))
        out.device(f"{host}\0{name}", Kind.ADAPTER, host, line, unit=name, text=text, model=kind, ports=1)
    best = max(speeds, default=0.0)
    text = text_of(root.get("comments")) + " " + text_of(root.get("model"))
    facts: dict[str, object] = {"nics": speeds.count(best) if best else -1, "nic_Bps": best}
    if product := re.search(r"\bGB[23]00\b", text):
        facts["gpu_name"] = product[0]
    gpus = re.search(r"(\d+)\s*x\s*(?:NVIDIA\s+)?((?:GB|B|H|A)\d{3})[A-Z]*\s+GPU", text)
    if gpus:
        facts["gpus"] = int(gpus[1])
        out.bad(1, "assumed", f"GPUs are read from the comments: {gpus[0]}", severity=Severity.INFO)
    out.host(host, 1, (), **facts)


def interface_rate(kind: str) -> str:
    """Speed of a NetBox interface type: `infiniband-xdr` is 4xXDR, `400gbase-x-qsfp112` 400G."""
    if kind.startswith("infiniband-"):
        return _INFINIBAND.get(kind.removeprefix("infiniband-"), "")
    match = _SPEED.match(kind)
    return f"{match[1]}{(match[2] or 'm').upper()}" if match else ""


# -------------------------------------------------------------------------------------------------------------- cables

_HEADS = {
    "device_a": ("side_a_device", "device_a", "termination_a_device", "a_device", "side a device", "device a"),
    "port_a": ("side_a_name", "termination_a", "interface_a", "a_termination", "side a name", "termination a", "a_name"),
    "device_b": ("side_b_device", "device_b", "termination_b_device", "b_device", "side b device", "device b"),
    "port_b": ("side_b_name", "termination_b", "interface_b", "b_termination", "side b name", "termination b", "b_name"),
    "status": ("status",), "type": ("type",), "rack_a": ("rack_a", "rack a"), "rack_b": ("rack_b", "rack b"),
}  # fmt: skip
_SWITCH_PORT = re.compile(r"(?:swp|Ethernet|et-|eth\d+/|IB\d+/|\d+/|port|P?\d+$)", re.IGNORECASE)
_SWITCH_NAME = re.compile(r"(?:^|[-_.])(?:sw|switch|leaf|spine|core|tor|agg)", re.IGNORECASE)


def looks_like_cables(_name: str, head: str) -> bool:
    first = head.split("\n", 1)[0].lower()
    names = [c.strip().strip('"') for c in first.split(",")]
    return sum(any(n in names for n in _HEADS[k]) for k in ("device_a", "port_a", "device_b", "port_b")) == 4


def read_cables(source: Source) -> Reading:
    """A cable export: one row a cable, in either order of its ends."""
    out = Builder("netbox-cables", source.file, planned=True)
    reader = csv.reader(source.lines)
    head = [c.strip().lower() for c in next(reader, [])]
    column = {k: next((head.index(n) for n in names if n in head), -1) for k, names in _HEADS.items()}
    if min(column[k] for k in ("device_a", "port_a", "device_b", "port_b")) < 0:
        missing = [k for k in ("device_a", "port_a", "device_b", "port_b") if column[k] < 0]
        out.error(1, "bad-record", f"the head has no column for {', '.join(missing)}", "export `side_a_device,side_a_name,…`")
        return out.done()
    seen: dict[tuple[str, str], int] = {}
    try:
        for row in reader:
            _row(out, [c.strip() for c in row], column, seen, reader.line_num)
    except csv.Error as error:
        out.bad(reader.line_num, "bad-record", f"the rest is no CSV: {error}")
    unsaid(out, "speeds and NVLink domains")
    return out.done()


def _row(out: Builder, row: list[str], column: dict[str, int], seen: dict[tuple[str, str], int], line: int) -> None:
    if not any(row):
        return
    cell = {k: row[i] if 0 <= i < len(row) else "" for k, i in column.items()}
    ends = [(cell["device_a"], cell["port_a"]), (cell["device_b"], cell["port_b"])]
    if not all(device and port for device, port in ends):
        out.bad(line, "bad-record", "a cable without a device or port at one end")
        return
    if cell["status"].lower() in ("planned", "decommissioning", "offline"):
        out.bad(line, "not-used", f"the cable is {cell['status'].lower()}", severity=Severity.INFO)
        return
    for end in ends:
        if end in seen:
            out.bad(line, "port-twice", f"{end[0]} {end[1]} has a cable already, at line {seen[end]:,}")
        seen[end] = line
    a, b = (_device(out, *end, line, cell[rack]) for end, rack in zip(ends, ("rack_a", "rack_b"), strict=True))
    out.cable(
        a, port_of(ends[0][1]), b, port_of(ends[1][1]), line, label_a=ends[0][1], label_b=ends[1][1], rate=_rate(cell["type"])
    )  # fmt: skip


def _rate(kind: str) -> str:
    return interface_rate(kind.lower()) or ""


def _device(out: Builder, name: str, port: str, line: int, rack: str) -> int:
    if _SWITCH_NAME.search(name) or _SWITCH_PORT.match(port):
        return out.device(name, Kind.SWITCH, name, line, rack=rack)
    out.host(name, line, (), **({"rack": rack} if rack else {}))
    return out.device(f"{name}\0{port}", Kind.ADAPTER, name, line, unit=port, rack=rack, ports=1)


def port_of(text: str) -> int:
    """`Ethernet1/3` -> 11, `swp7` -> 56: a number for each port; splits of a cage count in eighths."""
    numbers = [int(n[:6]) for n in re.findall(r"\d+", text)]
    if not numbers:
        return -1
    return numbers[-1] if len(numbers) == 1 else numbers[-2] * 8 + numbers[-1]
