# SPDX-License-Identifier: Apache-2.0
"""A topology file under reading: its schema, its document, and what was found wrong so far."""

from __future__ import annotations

from typing import Any

from placement.diag import Collector, Diagnostic, Label, Severity
from placement.fabric.checks import Finding
from placement.spec.lookup import Lookup
from placement.spec.source import Document, KeyPath
from placement.spec.topology import Topology
from placement.spec.validate import finding


class Reader:
    """A topology and its document, with the diagnostics found so far."""

    def __init__(self, spec: Topology, doc: Document) -> None:
        self.spec, self.doc, self.found = spec, doc, Collector()
        self.lookup = Lookup(budget=8 * sum(r.count * r.nodes for r in spec.racks) * spec.node.gpus + 100_000)

    def report(self, path: KeyPath, name: str, message: str, *, severity: Severity = Severity.ERROR, **more: Any) -> None:
        self.found.add(finding(self.doc, path, name, message, severity=severity, **more))

    def report_key(self, item: Finding) -> None:
        """A finding of fabric/ at its key, or at the nearest key that is there."""
        given = item.path in self.doc.spans
        span = self.doc.span(item.path) if given else self.doc.key_span(self.nearest(item.path))
        name = f"{self.doc.room}/{item.name}"
        label = Label(span, item.label)
        self.found.add(Diagnostic(name, item.message, item.severity, label, notes=item.notes, help=item.help))

    def nearest(self, path: KeyPath) -> KeyPath:
        while path and path not in self.doc.spans:
            path = path[:-1]
        return path

    @property
    def nics(self) -> int:
        return self.spec.node.nics or self.spec.node.gpus


def either(first: str, second: str) -> str:
    """Two ways out in one sentence; `first` may be empty."""
    return f"{first} or {second}" if first else second
