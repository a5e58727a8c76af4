# SPDX-License-Identifier: Apache-2.0
"""Kubernetes nodes: `kubectl get nodes -o json|yaml`, `--show-labels` tables, and excerpts of labels (`key=value` lines)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.labels import MARK, facts_of
from placement.ingest.records import json_records, mapping, sequence, text_of, whole_of, yaml_documents
from placement.ingest.source import Source
from placement.ingest.trees import unsaid

_LABEL = re.compile(r"([A-Za-z0-9.-]+/[A-Za-z0-9._-]+|[A-Za-z0-9._-]+)\s*[=:]\s*\"?([^\s\",]*)\"?,?\s*")
_NAME_LINE = re.compile(r"(?:Name|Node|node|name)\s*[:=]\s*(\S+)\s*")
MAX_UNUSED = 8


def looks_like(_name: str, head: str) -> bool:
    kinds = re.search(r'"?kind"?\s*:\s*"?(?:Node|NodeList|List|Topology|ResourceFlavor)\b', head)
    return bool(kinds and re.search(r'"?apiVersion"?\s*:', head)) or bool(MARK.search(head))


def read(source: Source) -> Reading:
    """Whichever of the four the file is."""
    out = Builder("kubernetes", source.file, logical=True)
    start = source.text.lstrip()[:1]
    if start in ("{", "["):
        for record in json_records(out, source, "items"):
            _node(out, record.value, record.line)
    elif re.search(r"^(?:apiVersion|kind|items)\s*:", source.head, re.MULTILINE):
        _yaml(out, source)
    elif re.match(r"\s*NAME\s+STATUS\s.*LABELS\s*$", source.lines[0]):
        _table(out, source)
    else:
        _excerpt(out, source)
    if not out.empty:
        unsaid(out, "rails, ports and speeds; racks only as NVLink domains")
    return out.done()


def _yaml(out: Builder, source: Source) -> None:
    levels: list[str] = []
    line = 1
    for doc in yaml_documents(out, source):
        root = mapping(doc.tree)
        items = sequence(root.get("items"))
        for i, item in enumerate(items):
            _node(out, mapping(item), doc.span(("items", i)).line)
        if text_of(root.get("kind")) == "Node":
            _node(out, root, doc.span(("metadata",)).line)
        if text_of(root.get("kind")) == "Topology":
            line = doc.key_span(("spec",)).line
            levels = [text_of(mapping(v).get("nodeLabel")) for v in sequence(mapping(root.get("spec")).get("levels"))]
    if levels and out.empty:
        message = f"the file says which labels are the levels of a topology ({', '.join(levels)}), and describes no node"
        out.error(line, "no-hosts", message, "give `kubectl get nodes -o json` too")
    elif out.empty:
        out.error(line, "no-hosts", "the file describes no node", "give `kubectl get nodes -o json`")


def _node(out: Builder, node: Mapping[str, Any], line: int) -> None:
    meta = mapping(node.get("metadata"))
    name = text_of(meta.get("name"))
    labels = {k: text_of(v) for k, v in mapping(meta.get("labels")).items()}
    if not name:
        out.bad(line, "bad-record", "a node without `metadata.name`")
        return
    facts: dict[str, object] = {}
    capacity = whole_of(mapping(mapping(node.get("status")).get("capacity")).get("nvidia.com/gpu"))
    if capacity >= 0:
        facts["gpus"] = capacity
    conditions = (mapping(c) for c in sequence(mapping(node.get("status")).get("conditions")))
    ready = {text_of(c.get("type")): text_of(c.get("status")) for c in conditions}.get("Ready", "True")
    cordoned = text_of(mapping(node.get("spec")).get("unschedulable")).lower() == "true"
    facts["state"] = "NotReady" if ready != "True" else "cordoned" if cordoned else ""
    _host(out, name, labels, line, facts)


def _host(out: Builder, name: str, labels: Mapping[str, str], line: int, facts: Mapping[str, object]) -> None:
    if name in out._host:  # noqa: SLF001  # the collector of this very file
        out.bad(line, "duplicate-name", f"node `{name}` is described twice; what is said last counts")
    said, groups, unused = facts_of(labels)
    if unused:
        message = f"`{name}` has labels of two families of tiers; {', '.join(unused[:MAX_UNUSED])} are not used"
        out.bad(line, "not-used", message, severity=Severity.INFO)
    gpus, capacity = said.get("gpus", -1), facts.get("gpus", -1)
    if gpus != capacity and -1 not in (gpus, capacity):
        out.bad(line, "contradiction", f"`{name}` has {capacity} GPUs by its capacity and {gpus} by its label")
    out.host(name, line, groups, **{**said, **facts})


def _table(out: Builder, source: Source) -> None:
    for number, line in enumerate(source.lines[1:], start=2):
        words = line.split()
        if len(words) < 2:
            continue
        labels = dict(p.partition("=")[::2] for p in words[-1].split(",") if "=" in p)
        if not labels:
            out.bad(number, "bad-record", f"`{line[:60]}` has no labels")
            continue
        state = "" if words[1] == "Ready" else words[1]
        _host(out, words[0], labels, number, {"state": state})


def _excerpt(out: Builder, source: Source) -> None:
    """Labels line by line. A blank line, a name, or a label that was given already starts the next node."""
    nodes: list[tuple[str, int, dict[str, str]]] = [("", 1, {})]
    for number, raw in enumerate(source.lines, start=1):
        line = raw.strip().removeprefix("- ").strip()
        named = _NAME_LINE.fullmatch(line)
        match = _LABEL.fullmatch(line)
        if not line or named:
            if nodes[-1][2] or named:
                nodes.append((named[1] if named else "", number + (not named), {}))
        elif match is None:
            if not line.startswith("#") and line.lower() not in ("labels:", "metadata:"):
                out.bad(number, "bad-record", f"`{line[:60]}` is no label")
        else:
            if match[1] in nodes[-1][2]:
                nodes.append(("", number, {}))
            nodes[-1][2][match[1]] = match[2]
    _named(out, source, [n for n in nodes if n[2]])


def _named(out: Builder, source: Source, nodes: Iterable[tuple[str, int, dict[str, str]]]) -> None:
    stem = re.split(r"[\\/]", source.file)[-1].split(".")[0] or "node"
    nodes, nameless = list(nodes), 0
    for index, (name, line, labels) in enumerate(nodes):
        known = name or labels.get("kubernetes.io/hostname", "")
        nameless += not known
        _host(out, known or (f"{stem}-{index}" if len(nodes) > 1 else stem), labels, line, {})
    if nameless:
        message = f"{nameless} node{'s have' if nameless > 1 else ' has'} no name: called after the file, `{stem}`"
        out.bad(1, "assumed", message, "add a line `Name: HOST` before the labels of each")
