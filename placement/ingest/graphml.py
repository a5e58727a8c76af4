# SPDX-License-Identifier: Apache-2.0
"""GraphML as networkx writes it (and Topology Zoo): devices and links with whatever attributes their authors gave them.

Understood on nodes: `name`/`label`, `kind`/`type`/`role` (switch, host, gpu), `rack`, `hall`, `domain`, `gpus`. On edges:
`port_a`/`source_port`, `port_b`/`target_port`, `speed`/`bandwidth`/`capacity`/`rate`, `key` and parallel edges.
Everything else is named once as not used.
"""

from __future__ import annotations

import re
from collections import Counter

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.rates import rate_Bps
from placement.ingest.records import whole_of
from placement.ingest.source import Source
from placement.ingest.xmltree import Element, read_xml
from placement.ir import Kind

_NODE_KEYS = {"name", "label", "kind", "type", "role", "rack", "hall", "domain", "gpus", "unit", "model"}
_EDGE_KEYS = {"port_a", "source_port", "port_b", "target_port", "speed", "bandwidth", "capacity", "rate", "linkspeed"}
_SWITCH = re.compile(r"switch|leaf|spine|core|tor|router|sw\d|agg", re.IGNORECASE)


def looks_like(_name: str, head: str) -> bool:
    return "<graphml" in head


def read(source: Source) -> Reading:
    """Nodes and edges of every graph in the file."""
    out = Builder("graphml", source.file)
    root = read_xml(out, source)
    names = {k.get("id"): k.get("attr.name") or k.get("id") for k in root.find("key")}
    ignored: Counter[str] = Counter()
    graph = _Graph(out, names, ignored)
    degree = Counter(e.get(end) for e in root.find("edge") for end in ("source", "target"))
    for node in root.find("node"):
        graph.node(node, degree)
    for edge in root.find("edge"):
        graph.edge(edge)
    if ignored:
        message = f"attributes are not used: {', '.join(f'`{k}`' for k in sorted(ignored)[:12])}"
        out.bad(1, "not-used", message, severity=Severity.INFO)
    return out.done()


class _Graph:
    def __init__(self, out: Builder, names: dict[str, str], ignored: Counter[str]) -> None:
        self.out, self.names, self.ignored = out, names, ignored

    def attributes(self, element: Element, known: set[str]) -> dict[str, str]:
        found = {}
        for data in element.children:
            if data.tag == "data":
                key = self.names.get(data.get("key"), data.get("key")).lower()
                if key in known:
                    found[key] = data.text.strip()
                else:
                    self.ignored[key] += 1
        return found

    def node(self, node: Element, degree: Counter[str]) -> None:
        id = node.get("id")
        facts = self.attributes(node, _NODE_KEYS)
        if not id:
            self.out.bad(node.line, "bad-record", "a node without an id")
            return
        if self.out.find(id) is not None:
            self.out.bad(node.line, "duplicate-name", f"node `{id[:60]}` is described twice; the first is kept")
            return
        name = facts.get("name") or facts.get("label") or id
        said = facts.get("kind") or facts.get("type") or facts.get("role") or ""
        is_switch = bool(_SWITCH.search(said)) if said else bool(_SWITCH.match(name)) or degree[id] > 32
        if not said:
            self.ignored["(no kind: names starting with switch, leaf, spine, core are switches)"] += 1
        kind = Kind.SWITCH if is_switch else Kind.ADAPTER
        self.out.device(
            id, kind, name, node.line, unit=facts.get("unit", ""), rack=facts.get("rack", ""), hall=facts.get("hall", ""),
            model=facts.get("model", ""),
        )  # fmt: skip
        if not is_switch:
            self.out.host(
                name, node.line, domain=facts.get("domain", ""), rack=facts.get("rack", ""), gpus=whole_of(facts.get("gpus"))
            )

    def edge(self, edge: Element) -> None:
        ends = [self.out.find(edge.get(end)) for end in ("source", "target")]
        facts = self.attributes(edge, _EDGE_KEYS)
        a, b = ends
        if a is None or b is None:
            missing = edge.get("source") if a is None else edge.get("target")
            self.out.bad(edge.line, "unknown-child", f"an edge leads to `{missing[:60]}`, which is no node")
            return
        port_a, port_b = (facts.get(x) or facts.get(y) or "" for x, y in (("port_a", "source_port"), ("port_b", "target_port")))
        rate = next((facts[k] for k in ("speed", "rate", "bandwidth", "capacity", "linkspeed") if facts.get(k)), "")
        if rate and not rate_Bps(rate):
            self.out.bad(edge.line, "no-speed", f"`{rate[:40]}` is no speed; the cable is kept")
        self.out.cable(
            a, whole_of(port_a), b, whole_of(port_b), edge.line, rate=rate, label_a="" if port_a.isdigit() else port_a,
            label_b="" if port_b.isdigit() else port_b,
        )  # fmt: skip
