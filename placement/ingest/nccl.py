# SPDX-License-Identifier: Apache-2.0
"""NCCL: topology XML (what NCCL sees of hosts) and graph XML (the channels it chose).

Layouts: NVIDIA/nccl src/graph/xml.cc, topo.cc. RCCL writes the same with `xgmi` for `nvlink`.
"""

from __future__ import annotations

import re

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.records import whole_of
from placement.ingest.source import Source
from placement.ingest.trees import unsaid
from placement.ingest.xmltree import Element, read_xml
from placement.ir import Kind

# Chips by compute capability and host architecture (CUDA C programming guide); memory sizes cannot be told apart.
CHIP_BY_SM = {
    (80, "x86_64"): "A100-80GB", (90, "x86_64"): "H100", (90, "arm64"): "GH200", (100, "x86_64"): "B200",
    (100, "arm64"): "GB200", (103, "x86_64"): "B300", (103, "arm64"): "GB300",
}  # fmt: skip
MAX_GPUS = 1024
NVLINK_BPS = {80: 20.0e9, 90: 20.6e9, 100: 40.1e9, 103: 40.1e9}  # one link, one direction: NCCL src/graph/topo.h *_NVLINK_BW


def looks_like_topo(_name: str, head: str) -> bool:
    return bool(re.search(r"<system\b[^>]*>", head)) and "<cpu" in head


def read_topo(source: Source) -> Reading:
    """One host for each `host_hash` (one in all without it): GPUs with their NVLinks, adapters with speed."""
    out = Builder("nccl-topo", source.file, logical=True)
    root = read_xml(out, source)
    for system in root.find("system"):
        for host, cpus in _hosts(system, source.file).items():
            _host(out, host, cpus)
    unsaid(out, "switches, other hosts, racks and NVLink domains by name")
    return out.done()


def _hosts(system: Element, file: str) -> dict[str, list[Element]]:
    found: dict[str, list[Element]] = {}
    stem = re.split(r"[\\/]", file)[-1].split(".")[0] or "host"
    hashes = list(dict.fromkeys(c.get("host_hash") for c in system.find("cpu")))
    for cpu in system.find("cpu"):
        at = hashes.index(cpu.get("host_hash"))
        found.setdefault(stem if len(hashes) == 1 else f"{stem}-{at}", []).append(cpu)
    return found


def _host(out: Builder, host: str, cpus: list[Element]) -> None:
    gpus = [g for c in cpus for g in c.find("gpu")][:MAX_GPUS]
    nets = [n for c in cpus for n in c.find("net")]
    rates = []
    for net in nets:
        _adapter(out, host, net)
        rates.append(whole_of(net.get("speed"), 0) * 1e6 / 8)
    sms = sorted({whole_of(g.get("sm"), 0) for g in gpus})
    line = cpus[0].line
    if len(sms) > 1:
        out.bad(line, "mixed-gpus", f"`{host}` has GPUs of several kinds: sm {', '.join(map(str, sms))}")
    best = max(rates, default=0.0)
    compute = [r for r in rates if r == best and r > 0]
    facts: dict[str, object] = {"gpus": len(gpus), "nics": len(compute), "nic_Bps": best}
    if 0 < len(compute) < len(gpus) // 2:
        message = (
            f"`{host}` has {len(compute)} adapters of {best * 8e-9:g} Gb/s for {len(gpus)} GPUs: none for compute, it seems"
        )
        out.bad(line, "few-adapters", message, "a storage or management adapter? name the others in NCCL_IB_HCA")
        facts = {"gpus": len(gpus)}
    if not gpus:
        listed = sum(e.get("class").startswith("0x0302") for c in cpus for e in c.find("pci"))
        facts = {"gpus": listed} if listed else {}
    chip = CHIP_BY_SM.get((sms[0] if sms else 0, cpus[0].get("arch")), next((g.get("gcn") for g in gpus), ""))
    facts |= {"gpu_name": chip} if chip else {}
    out.host(host, line, (), **facts)
    counts = [sum(whole_of(n.get("count"), 0) for n in g.children if n.tag in ("nvlink", "xgmi")) for g in gpus]
    for gpu, count in zip(gpus, counts, strict=True):
        sm = whole_of(gpu.get("sm"), 0)
        if whole_of(gpu.get("dev")) < 0:
            out.bad(gpu.line, "bad-record", f"a GPU of `{host}` has no `dev`")
            continue
        out.gpu(
            host, whole_of(gpu.get("dev")), gpu.line, name=f"sm{sm}" if sm else "",
            nvlinks=count if count or any(counts) else -1, nvlink_Bps=NVLINK_BPS.get(sm, 0.0),
        )  # fmt: skip


def _adapter(out: Builder, host: str, net: Element) -> None:
    name = net.get("name") or f"net{net.get('dev')}"
    if not re.fullmatch(r"[0-9]{1,9}", net.get("speed")):
        out.bad(net.line, "no-speed", f"adapter `{name}` of `{host}` has no speed that can be read: `{net.get('speed')[:20]}`")
    elif int(net.get("speed")) < 100_000:
        message = f"adapter `{name}` of `{host}` has {int(net.get('speed')) / 1000:g} Gb/s: hardly a compute adapter"
        out.bad(net.line, "slow-adapter", message, "leave it out with NCCL_IB_HCA", Severity.INFO)
    guid = net.get("guid")
    value = int(guid, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", guid) else 0
    out.device(f"{host}\0{name}", Kind.ADAPTER, host, net.line, unit=name, guid=value, ports=1)


def looks_like_graph(_name: str, head: str) -> bool:
    return bool(re.search(r"<graphs\b", head))


def read_graph(source: Source) -> Reading:
    """Channels of NCCL: which GPUs of a host it uses, at which assumed speed."""
    out = Builder("nccl-graph", source.file, logical=True)
    host = re.split(r"[\\/]", source.file)[-1].split(".")[0] or "host"
    gpus: dict[int, int] = {}
    for graph in read_xml(out, source).find("graph"):
        members = []
        for channel in graph.find("channel"):
            devices = [whole_of(g.get("dev")) for g in channel.find("gpu")]
            for g, dev in zip(channel.find("gpu"), devices, strict=True):
                gpus.setdefault(dev, g.line)
            if len(set(devices)) < len(devices):
                out.bad(channel.line, "duplicate-name", "a channel passes a GPU twice")
            members.append(frozenset(devices))
        if len(set(members)) > 1:
            message = f"the channels of graph {graph.get('id')} pass {min(map(len, members))} to {max(map(len, members))} GPUs"
            out.bad(graph.line, "uneven-channels", message, "a GPU that some channels leave out has lost links")
    for dev, line in sorted(gpus.items()):
        if dev < 0:
            out.bad(line, "bad-record", "a GPU without `dev`")
        else:
            out.gpu(host, dev, line)
    if gpus:
        out.host(host, gpus=len([d for d in gpus if d >= 0]))
    unsaid(out, "switches, adapters' speed, other hosts and NVLink domains")
    return out.done()
