# SPDX-License-Identifier: Apache-2.0
"""Networks of simulators: SimAI text (one line a link) and ASTRA-sim YAML (one entry a dimension).

SimAI: astra-sim-alibabacloud/inputs/topo/gen_Topo_Template.py: header `nodes gpus_per_server nvswitches switches links
gpu`, then the numbers of all switches, then `a b bandwidth latency error`. ASTRA-sim: analytical network, `npus_count`,
`bandwidth` in GB/s, `latency` in ns.
"""

from __future__ import annotations

import re
from math import prod

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.rates import rate_Bps
from placement.ingest.records import mapping, sequence, text_of, whole_of, yaml_documents
from placement.ingest.source import Source
from placement.ingest.trees import unsaid
from placement.ir import Kind

MAX_GPUS = 4_000_000
_HEADER = re.compile(r"\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s*\Z")
_LINK = re.compile(r"(\d+)\s+(\d+)\s+([-\d.]+\s*[A-Za-z/]*)\s+([-\d.eE]+\s*[a-z]*)\s+(\S+)\s*\Z")


def looks_like_simai(_name: str, head: str) -> bool:
    lines = [line for line in head.split("\n") if line.strip()][:3]
    return len(lines) == 3 and bool(_HEADER.match(lines[0])) and bool(_LINK.match(lines[2].strip()))


def read_simai(source: Source) -> Reading:
    """Servers are hosts; a GPU's link to a network switch is its adapter, to an NVSwitch its NVLink."""
    out = Builder("simai", source.file, planned=True)
    head = _HEADER.match(source.lines[0])
    if head is None:
        out.error(1, "bad-record", "the first line is no header", "`nodes gpus_per_server nvswitches switches links gpu`")
        return out.done()
    nodes, per_server, nvswitches, switches, links = (int(head[k][:9]) for k in range(1, 6))
    gpus = nodes - nvswitches - switches
    if per_server <= 0 or gpus <= 0 or nodes > MAX_GPUS:
        out.error(1, "bad-record", f"the header leaves {gpus:,} GPUs in servers of {per_server}")
        return out.done()
    if gpus % per_server:
        out.bad(1, "partial-block", f"{gpus:,} GPUs do not fill servers of {per_server}")
    listed = [int(n) for n in re.findall(r"\d{1,9}", source.lines[1] if len(source.lines) > 1 else "")]
    if len(listed) != nvswitches + switches:
        out.bad(2, "incomplete", f"{len(listed)} switches are listed, the header says {nvswitches + switches}")
    sim = _SimAi(out, gpus, per_server, nvswitches)
    for number, raw in enumerate(source.lines[2:], start=3):
        if raw.strip():
            sim.link(raw.strip(), number, nodes)
    if sim.count != links:
        out.bad(1, "incomplete", f"{sim.count:,} links are listed, the header says {links:,}: the file is cut or edited")
    sim.done(head[6])
    unsaid(out, "names and ports")
    return out.done()


class _SimAi:
    def __init__(self, out: Builder, gpus: int, per_server: int, nvswitches: int) -> None:
        self.out, self.gpus, self.per_server, self.nvswitches = out, gpus, per_server, nvswitches
        self.count = 0
        self.nvswitch: dict[int, set[int]] = {}
        self.nic_Bps: dict[int, float] = {}
        self.line: dict[int, int] = {}
        self.port: dict[int, int] = {}
        self.links: list[tuple[int, int, int, str]] = []

    def link(self, text: str, line: int, nodes: int) -> None:
        match = _LINK.match(text)
        self.count += 1
        if match is None:
            self.out.bad(line, "bad-record", f"`{text[:60]}` is no link")
            return
        a, b = sorted((int(match[1][:9]), int(match[2][:9])))
        rate = match[3].replace(" ", "")
        if b >= nodes:
            self.out.bad(line, "unknown-child", f"a link leads to {b}, the header says {nodes:,} nodes")
            return
        if rate_Bps(rate) <= 0:
            self.out.bad(line, "no-speed", f"`{rate[:40]}` is no speed that a link can have; the cable is kept")
        if self.gpus <= b < self.gpus + self.nvswitches:
            self.line.setdefault(a, line)
            self.nvswitch.setdefault(b, set()).add(a)
            return
        self.links.append((a, b, line, rate))

    def cables(self) -> None:
        """Switches by what hangs on them: leafs have GPUs, spines leafs, cores the rest."""
        leafs = {b for a, b, _, _ in self.links if a < self.gpus}
        spines = {y for a, b, _, _ in self.links for x, y in ((a, b), (b, a)) if x in leafs and y >= self.gpus} - leafs
        for a, b, line, rate in self.links:
            ends = []
            for n in (a, b):
                self.port[n] = self.port.get(n, 0) + 1
                role = "leaf" if n in leafs else "spine" if n in spines else "core"
                ends.append(self._end(n, role, line))
            if a < self.gpus:
                self.nic_Bps[a] = self.nic_Bps.get(a, 0.0) + max(rate_Bps(rate), 0.0)
            self.out.cable(ends[0], self.port[a], ends[1], self.port[b], line, rate=rate)

    def _end(self, node: int, role: str, line: int) -> int:
        if node >= self.gpus:
            return self.out.device(str(node), Kind.SWITCH, f"{role}{node}", line)
        return self.out.device(str(node), Kind.ADAPTER, self._server(node), line, unit=f"nic{node % self.per_server}", ports=1)

    def _server(self, gpu: int) -> str:
        width = len(str((self.gpus - 1) // self.per_server))
        return f"server{gpu // self.per_server:0{width}}"

    def done(self, gpu_name: str) -> None:
        """Hosts, and the NVLink domain of each: servers whose GPUs meet at one NVSwitch."""
        self.cables()
        domain: dict[int, str] = {}
        for switch, members in sorted(self.nvswitch.items()):
            for gpu in members:
                domain.setdefault(gpu // self.per_server, f"nvswitch{switch}")
        for server in range(-(-self.gpus // self.per_server)):
            first = server * self.per_server
            name = self._server(first)
            rates = [self.nic_Bps.get(g, 0.0) for g in range(first, min(first + self.per_server, self.gpus))]
            self.out.host(
                name, self.line.get(first, 1), gpus=len(rates), nics=len(rates), nic_Bps=min(rates), gpu_name=gpu_name,
                domain=domain.get(server, ""),
            )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- ASTRA-sim


def looks_like_astra(_name: str, head: str) -> bool:
    return bool(re.search(r"^npus_count\s*:", head, re.MULTILINE)) and bool(re.search(r"^topology\s*:", head, re.MULTILINE))


def read_astra(source: Source) -> Reading:
    """Dimensions innermost first: the first is the host (NVLink), every further one a tier."""
    out = Builder("astra-sim", source.file, planned=True, logical=True)
    for doc in yaml_documents(out, source):
        root = mapping(doc.tree)
        counts = [whole_of(c, 0) for c in sequence(root.get("npus_count"))]
        line = doc.span(("npus_count",)).line
        if not counts or min(counts) <= 0 or prod(counts) > MAX_GPUS:
            out.error(line, "bad-record", "`npus_count` is no list of sizes", "write `npus_count: [8, 16]`")
            continue
        speeds = [float(s) if re.fullmatch(r"[0-9.]{1,12}", s := text_of(v)) else 0.0 for v in sequence(root.get("bandwidth"))]
        for key in ("topology", "bandwidth", "latency"):
            if len(sequence(root.get(key))) != len(counts):
                out.bad(
                    doc.key_span((key,)).line, "bad-record", f"`{key}` does not have {len(counts)} entries, one a dimension"
                )
        _dimensions(out, counts, speeds, [text_of(t) for t in sequence(root.get("topology"))], line)
    unsaid(out, "names, ports, adapters and the kind of GPU")
    return out.done()


def _dimensions(out: Builder, counts: list[int], speeds: list[float], kinds: list[str], line: int) -> None:
    odd = [k for k in kinds if k.lower() != "switch"]
    if odd:
        message = f"dimensions of kind {', '.join(odd)} are read as switches"
        out.bad(line, "not-used", message, severity=Severity.INFO)
    hosts, per_host = prod(counts[1:]), counts[0]
    width = len(str(max(hosts - 1, 0)))
    for h in range(hosts):
        groups, size = [], 1
        for k, count in enumerate(counts[1:], start=1):
            size *= count
            groups.append((f"dim{k}", f"dim{k}-{h // size}"))
        facts: dict[str, object] = {"gpus": per_host}
        if len(speeds) > 1 and speeds[1] > 0:
            facts |= {"nics": per_host, "nic_Bps": speeds[1] * 1e9}
        out.host(f"npu{h:0{width}}", line, groups, **facts)
