# SPDX-License-Identifier: Apache-2.0
"""hwloc: lstopo XML of one host: GPUs, adapters, NVSwitch chips, product.

Layout: hwloc2.dtd and hwloc 2.x objects `PCIDev` and `OSDev`.
"""

from __future__ import annotations

import re

from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.source import Source
from placement.ingest.trees import unsaid
from placement.ingest.xmltree import Element, read_xml
from placement.ir import Kind

_GPU_CLASS, _IB_CLASS = ("0302", "0300", "1200"), "0207"  # PCI class codes: 3D, VGA, processing accelerator; InfiniBand
_VENDORS = ("10de", "1002")


def looks_like(_name: str, head: str) -> bool:
    return bool(re.search(r"<topology\b[^>]*>", head)) and '<object type="' in head


def read(source: Source) -> Reading:
    """One host."""
    out = Builder("lstopo", source.file, logical=True)
    root = read_xml(out, source)
    machine = next((o for o in root.find("object") if o.get("type") == "Machine"), None)
    if machine is None:
        out.error(1, "bad-record", "the file has no object of type Machine")
        return out.done()
    info = {i.get("name"): i.get("value") for i in machine.children if i.tag == "info"}
    host = info.get("HostName") or re.split(r"[\\/]", source.file)[-1].split(".")[0]
    if "HostName" not in info:
        out.bad(machine.line, "assumed", f"the file names no host: it is called `{host}` after the file")
    _devices(out, host, machine, info.get("DMIProductName", ""))
    unsaid(out, "switches, other hosts and racks")
    return out.done()


def _devices(out: Builder, host: str, machine: Element, product: str) -> None:
    gpus, adapters, names = [], 0, set()
    for pci in machine.find("object"):
        if pci.get("type") != "PCIDev":
            continue
        match = re.match(r"([0-9a-f]{4})(?:\s*\[([0-9a-f]{4}):([0-9a-f]{4}))?", pci.get("pci_type"))
        if not match:
            out.bad(pci.line, "bad-record", f"`{pci.get('pci_type')[:40]}` is no PCI type")
            continue
        if match[1] in _GPU_CLASS and match[2] in _VENDORS:
            gpus.append(pci)
            names.add(_product(pci))
        units = [o.get("name") for o in pci.children if o.get("type") == "OSDev" and _adapter(o)]
        for unit in units:
            adapters += match[1] == _IB_CLASS
            out.device(f"{host}\0{unit}", Kind.ADAPTER, host, pci.line, unit=unit, ports=1, guid=_guid(pci, unit))
    for slot, pci in enumerate(gpus):
        out.gpu(host, slot, pci.line, name=_product(pci))
    known = sorted(n for n in names if n)
    if len(known) > 1:
        out.bad(machine.line, "mixed-gpus", f"`{host}` has GPUs of several kinds: {', '.join(known)}")
    out.host(
        host, machine.line, gpus=len(gpus), nics=adapters or -1, gpu_name=known[0] if known else "", place=product
    )  # fmt: skip


def _adapter(os_device: Element) -> bool:
    """Verbs devices (`mlx5_0`); hwloc calls them type 3, or `OpenFabrics`."""
    return os_device.get("osdev_type") in ("3", "OpenFabrics") or bool(
        re.match(r"mlx[45]_|hfi1_|bnxt_re", os_device.get("name"))
    )


def _product(pci: Element) -> str:
    model = next((i.get("value") for o in pci.children for i in o.children if i.get("name") == "GPUModel"), "")
    return model or next((i.get("value") for i in pci.children if i.get("name") == "PCIDevice"), "")


def _guid(pci: Element, unit: str) -> int:
    values = {i.get("name"): i.get("value") for o in pci.children if o.get("name") == unit for i in o.children}
    text = values.get("NodeGUID", "").replace(":", "")
    return int(text, 16) if re.fullmatch(r"[0-9a-fA-F]{1,16}", text) else 0
