# SPDX-License-Identifier: Apache-2.0
"""nvidia-smi: the matrix of `topo -m`, and the fabric fields of `-q`.

Of one host, or of many with `pdsh` prefixes (`host: text`).

Fields of `-q`: nvmlGpuFabricInfoV (state, status, clique id, cluster UUID, health) as the driver prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.source import Source
from placement.ingest.trees import unsaid
from placement.ir import Kind

_PREFIX = re.compile(r"([A-Za-z0-9][\w.-]*):\s(?=\s*\S)(.*)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_CELL = re.compile(r"X|NV\d{1,3}|PIX|PXB|PHB|NODE|SYS|PXN|N/A|OK|C2C", re.ASCII)


def looks_like_topo(_name: str, head: str) -> bool:
    return bool(re.search(r"(?:^|\s)GPU0\s+X\s", _ANSI.sub("", head)))


def looks_like_q(_name: str, head: str) -> bool:
    return "NVSMI LOG" in head or ("CliqueId" in head and "ClusterUUID" in head)


def _lines(source: Source, start: re.Pattern[str]) -> Iterator[tuple[str, int, str]]:
    """(host, line number, text): the prefix of pdsh where most lines have one, else the name of the file."""
    stem = re.split(r"[\\/]", source.file)[-1].split(".")[0] or "host"
    lines = [_ANSI.sub("", line) for line in source.lines]
    marks = [m for line in lines if (m := _PREFIX.match(line)) and start.match(m[2].strip())]
    prefixed = {m[1] for m in marks}
    for number, line in enumerate(lines, start=1):
        match = _PREFIX.match(line)
        if prefixed and match and match[1] in prefixed:
            yield match[1], number, match[2]
        elif not prefixed:
            yield stem, number, line


@dataclass
class _Matrix:
    columns: list[str] = field(default_factory=list)
    rows: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    legend: dict[str, str] = field(default_factory=dict)


def read_topo(source: Source) -> Reading:
    """`nvidia-smi topo -m`: GPUs of a host with their NVLinks, and its adapters."""
    out = Builder("nvidia-smi-topo", source.file, logical=True)
    found: dict[str, _Matrix] = {}
    for host, number, line in _lines(source, re.compile(r"GPU\d+\s")):
        matrix = found.setdefault(host, _Matrix())
        words = line.split()
        if not words:
            continue
        if re.fullmatch(r"GPU\d{1,4}|NIC\d{1,4}", words[0]) and len(words) > 1 and _CELL.fullmatch(words[1]):
            matrix.rows[words[0]] = number, words[1:]
        elif words[0] == "GPU0":
            matrix.columns = [w for w in words if re.fullmatch(r"GPU\d{1,4}|NIC\d{1,4}|mlx\d_\w+", w)]
        elif match := re.fullmatch(r"\s*(NIC\d{1,4}):\s*(\S+)\s*", line):
            matrix.legend[match[1]] = match[2]
    for host, matrix in found.items():
        if matrix.rows:
            _matrix(out, host, matrix)
    unsaid(out, "switches, other hosts, speeds, racks and NVLink domains")
    return out.done()


def _matrix(out: Builder, host: str, matrix: _Matrix) -> None:
    gpus = {r: v for r, v in matrix.rows.items() if r.startswith("GPU")}
    nics = [c for c in matrix.columns if not c.startswith("GPU")]
    switched = all(
        re.match(r"NV\d", cell)
        for k, (_, cells) in enumerate(gpus.values())
        for j, cell in enumerate(cells[: len(gpus)])
        if j != k
    )
    first = next(iter(matrix.rows.values()))[0]
    out.host(host, first, gpus=len(gpus), nics=len(nics) if nics else -1)
    for name, (line, cells) in gpus.items():
        if len(cells) < len(matrix.columns):
            out.bad(line, "bad-record", f"row `{name}` has {len(cells)} cells for {len(matrix.columns)} devices")
        links = [int(c[2:]) for c in cells[: len(gpus)] if re.fullmatch(r"NV\d{1,3}", c)]
        count = (max(links, default=0) if switched else sum(links)) if len(gpus) > 1 else -1
        out.gpu(host, int(name[3:]), line, nvlinks=count)
    for nic in nics:
        unit = matrix.legend.get(nic, nic)
        out.device(f"{host}\0{unit}", Kind.ADAPTER, host, matrix.rows.get(nic, (first, []))[0], unit=unit, ports=1)
    listed = {f"GPU{i}" for i in range(len(gpus))}
    if set(gpus) != listed or {c for c in matrix.columns if c.startswith("GPU")} != set(gpus):
        out.bad(first, "incomplete", f"the matrix of `{host}` lacks rows of GPUs that its head names")


@dataclass
class _Gpu:
    line: int
    bus: str
    facts: dict[str, str] = field(default_factory=dict)


def read_q(source: Source) -> Reading:
    """`nvidia-smi -q`: NVLink domain (`ClusterUUID.CliqueId`), fabric state and health of every GPU."""
    out = Builder("nvidia-smi-q", source.file, logical=True)
    found: dict[str, list[_Gpu]] = {}
    attached: dict[str, int] = {}
    section: dict[str, str] = {}
    for host, number, line in _lines(source, re.compile(r"GPU [0-9A-Fa-f]{4,8}:|=+NVSMI LOG|Product Name")):
        text = line.strip()
        if match := re.match(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f:.]+)$", text):
            found.setdefault(host, []).append(_Gpu(number, match[1]))
            continue
        key, colon, value = (part.strip() for part in text.partition(" : "))
        if not colon:
            section[host] = text
        elif key == "Attached GPUs" and value.isdigit():
            attached[host] = int(value)
        elif host in found:
            _fact(found[host][-1], section.get(host, ""), key, value)
    for host, gpus in found.items():
        _gpus(out, host, gpus, attached.get(host))
    unsaid(out, "switches, racks, rails, ports and speeds")
    return out.done()


def _fact(gpu: _Gpu, section: str, key: str, value: str) -> None:
    """Fields of the fabric by their own name; `State` and `Status` only where the section is Fabric."""
    if key in ("CliqueId", "Clique ID", "ClusterUUID", "Cluster UUID", "Product Name"):
        gpu.facts[key.replace(" ", "") if key != "Product Name" else "name"] = value
    elif section in ("Fabric", "Health") and key in ("State", "Status", "Bandwidth", "Summary"):
        gpu.facts[key] = value


def _gpus(out: Builder, host: str, gpus: list[_Gpu], attached: int | None) -> None:
    if attached is not None and attached != len(gpus):
        out.bad(gpus[0].line, "incomplete", f"`{host}` says that {attached} GPUs are attached and lists {len(gpus)}")
    domains, names = [], []
    for slot, gpu in enumerate(gpus):
        facts = gpu.facts
        uuid, clique = facts.get("ClusterUUID", ""), facts.get("CliqueId") or facts.get("CliqueID", "")
        known = uuid not in ("", "N/A") and set(uuid) - set("0-")
        domain = f"{uuid}.{clique}" if known and clique not in ("", "N/A") else ""
        bad = [f"{k.lower()} {facts[k]}" for k, fine in _FINE.items() if facts.get(k, "N/A") not in ("N/A", *fine)]
        out.gpu(host, slot, gpu.line, name=facts.get("name", ""), domain=domain, health=", ".join(bad))
        domains.append(domain)
        names.append(facts.get("name", ""))
    if len(set(names)) > 1:
        out.bad(gpus[0].line, "mixed-gpus", f"`{host}` has GPUs of several kinds: {', '.join(sorted(set(names)))}")
    if len(set(domains)) > 1:
        out.bad(
            gpus[0].line,
            "split-host",
            f"the GPUs of `{host}` are in {len(set(domains))} NVLink domains: {', '.join(sorted(set(domains)))}",
        )
    best = max(set(domains), key=domains.count)
    out.host(host, gpus[0].line, gpus=len(gpus), gpu_name=names[0], domain=best)


_FINE = {"State": ("Completed", "Not Supported"), "Status": ("Success",), "Bandwidth": ("Full",), "Summary": ("Healthy",)}
