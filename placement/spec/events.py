# SPDX-License-Identifier: Apache-2.0
"""What happened to a cluster since its topology was written: parts by name, into the `exceptions` of the file and out again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from placement.diag import Collector, Diagnostic, Severity
from placement.fabric.pattern import build
from placement.hostlist import HostlistError, expand, fold
from placement.ir import Cluster
from placement.ir._array import Strings
from placement.spec.exceptions import KINDS
from placement.spec.source import Document
from placement.spec.topology import ExceptionSchema, Topology
from placement.spec.validate import validate

STATES = ("failed", "drained", "degraded", "restored")
_HALF = "50 %"  # of a degraded part whose fraction nobody gave
_RAIL = re.compile(r"rail-?(\d{1,4})\Z", re.ASCII)


@dataclass(frozen=True)
class Event:
    """Parts that changed state. `text`: names or host lists separated by commas, one or several kinds mixed.

    Nodes, racks and switches by name; GPUs `host:0`; adapters `host:mlx5_0` or `host:rail0`; a rail of a rack `rack0001:rail2`,
    or of everything `rail2`; cables `lower -- upper`. A degraded part may say what it still reaches: `rack0001-tray01=60%`.
    """

    state: str
    text: str


Key = tuple[str, str, str, str, int]  # state, kind, fraction, reason, count


@dataclass(frozen=True)
class Amended:
    """The topology file as it now reads, and what the events changed: names by (state, kind)."""

    text: str
    changed: Mapping[tuple[str, str], tuple[str, ...]]
    notes: tuple[str, ...] = ()


def amend(doc: Document, events: Sequence[Event]) -> Amended:
    """The topology with the events in its exceptions. Raises InputError where a name is no part of the cluster."""
    book = _Book(doc)
    for event in events:
        for kind, names, fraction in book.sorted_out(event):
            book.enter(event.state, kind, names, fraction)
    book.found.raise_if_errors()
    return Amended(_rewritten(doc.text, book.block()), {k: tuple(v) for k, v in book.changed.items()}, tuple(book.notes))


def after(text: str, file: str) -> Cluster:
    """The cluster of an amended topology."""
    from placement.spec.source import parse
    from placement.spec.topology import lower_document

    return lower_document(parse(text, file, "topology"))


def rack_names(doc: Document) -> list[str]:
    """Names of the racks of a topology."""
    return [str(name) for name in _Book(doc).racks]


class _Book:
    """The exceptions of a file as names by kind and state."""

    def __init__(self, doc: Document) -> None:
        from placement.spec.lower import Reader, _layout, _tier_specs

        self.spec: Topology = validate(doc, Topology)
        self.reader = Reader(self.spec, doc)
        self.found = Collector()
        self.layout = _layout(self.reader)
        self.pattern_specs = _tier_specs
        self.hosts = np.sort(self.layout.host_N)
        self.racks = np.sort(self.layout.rack_name_X)
        self.entries: dict[Key, list[str]] = {}
        self.changed: dict[tuple[str, str], list[str]] = {}
        self.notes: list[str] = []
        for item in self.spec.exceptions:
            kind = next(k for k in KINDS if getattr(item, k) is not None)
            self.entries.setdefault(_key(item, kind), []).extend(_listed(kind, getattr(item, kind)))

    # ------------------------------------------------------------------------------------------------ names to kinds
    def sorted_out(self, event: Event) -> list[tuple[str, list[str], str]]:
        """(kind, names, fraction) of what an event names; unknown names are reported."""
        out: dict[tuple[str, str], list[str]] = {}
        for item, fraction in _items(event, self._refuse):
            for kind, names in self._kinds(item).items():
                out.setdefault((kind, fraction if event.state == "degraded" else ""), []).extend(names)
        return [(kind, names, fraction) for (kind, fraction), names in out.items()]

    def _kinds(self, item: str) -> dict[str, list[str]]:
        if "--" in item:
            return {"links": [" -- ".join(end.strip() for end in item.split("--"))]}
        try:
            names = expand(item)
        except HostlistError as error:
            self._refuse(error.message, error.help)
            return {}
        if rail := _RAIL.match(item):
            return {"nics": [f"{h}:{int(rail[1])}" for h in self.layout.host_N.tolist()]}
        if ":" in item:
            return self._slots(names)
        known_rack, known_host = _among(names, self.racks), _among(names, self.hosts)
        rest = names[~known_rack & ~known_host]
        switch = _among(rest, self._switches()) if len(rest) else np.zeros(0, bool)
        if len(unknown := rest[~switch]):
            self._unknown(unknown)
        racks = known_rack & ~known_host
        found = {"racks": names[racks], "nodes": names[known_host], "switches": rest[switch]}
        return {kind: some.tolist() for kind, some in found.items() if len(some)}

    def _slots(self, names: Strings) -> dict[str, list[str]]:
        """`host:0` is a GPU, `host:mlx5_0` and `host:rail0` an adapter, `rack:rail0` that adapter of each of its nodes."""
        out: dict[str, list[str]] = {}
        for name in names.tolist():
            owner, _, slot = name.rpartition(":")
            rail = _RAIL.match(slot)
            hosts = [owner] if _among(np.array([owner]), self.hosts)[0] else self._nodes_of(owner)
            if not hosts:
                self._unknown(np.array([owner]))
            elif rail:
                out.setdefault("nics", []).extend(f"{h}:{int(rail[1])}" for h in hosts)
            else:
                out.setdefault("gpus" if slot.isdigit() else "nics", []).extend(f"{h}:{slot}" for h in hosts)
        return out

    def _nodes_of(self, rack: str) -> list[str]:
        at = np.flatnonzero(self.layout.rack_name_X == rack)
        return self.layout.host_N[np.isin(self.layout.rack_N, at)].tolist() if len(at) else []

    def _switches(self) -> Strings:
        from placement.spec.switches import _all_switches

        specs, _ = self.pattern_specs(self.reader)
        fabric = self.spec.fabric
        nics_X = self.layout.nodes_X * self.reader.nics
        pattern = build(specs, nics_X, rails=self.reader.nics, planes=fabric.planes, rails_connected=fabric.rails_connected)
        return np.sort(_all_switches(self.reader, pattern)[0])

    def _unknown(self, names: Strings) -> None:
        first = str(names[0])
        more = f", nor are {len(names) - 1:,} more" if len(names) > 1 else ""
        near = self.reader.lookup.suggest(first, self.layout.host_N) or self.reader.lookup.suggest(
            first, self.layout.rack_name_X
        )
        shown = f"nodes are named `{fold(self.layout.host_N, 60)}`, racks `{fold(self.layout.rack_name_X, 40)}`"
        self._refuse(f"`{first}` is no node, rack or switch of this cluster{more}", near or shown, names[:100].tolist())

    def _refuse(self, message: str, help: str = "", objects: Sequence[str] = ()) -> None:
        self.found.add(Diagnostic("repair/unknown-part", message, Severity.ERROR, help=help, objects=tuple(objects)))

    # ------------------------------------------------------------------------------------------------ entering events
    def enter(self, state: str, kind: str, names: list[str], fraction: str) -> None:
        if state == "restored":
            self._restore(kind, names)
            return
        if state == "degraded" and kind == "racks":  # what a rack has in common is its NVLink domain
            at = np.flatnonzero(np.isin(self.layout.rack_name_X, names))
            domains = np.unique(self.layout.domain_N[np.isin(self.layout.rack_N, at)])
            kind, names = "nvlink", self.layout.domain_name_J[domains].tolist()
        known = {n for key, some in self.entries.items() if key[:3] == (state, kind, fraction) for n in some}
        fresh = [n for n in dict.fromkeys(names) if n not in known]
        if len(fresh) < len(names):
            self.notes.append(f"{len(names) - len(fresh):,} {kind} were {state} already")
        if state == "degraded":  # what it reaches now counts, better or worse than before
            self._drop(kind, set(fresh), {"degraded"})
        elif kind in ("racks", "nodes"):  # the worse of two states counts
            lesser = {"reserved", "drained"} | ({"failed"} if state == "failed" else set())
            self._drop(kind, set(fresh), lesser)
            if kind == "racks":
                self._drop("nodes", {h for rack in fresh for h in self._nodes_of(rack)}, lesser)
        self.entries.setdefault((state, kind, fraction, "", 0), []).extend(fresh)
        self.changed.setdefault((state, kind), []).extend(fresh)

    def _restore(self, kind: str, names: list[str]) -> None:
        """Back in service, in full health: the names go from every entry that holds them or a part of them."""
        before = sum(len(some) for some in self.entries.values())
        gone = set(names)
        if kind == "racks":
            hosts = {h for rack in names for h in self._nodes_of(rack)}
            self._drop("racks", gone)
            self._drop("nodes", hosts)
            self._drop_slots(hosts)
            self._drop("nvlink", gone)
        elif kind == "nodes":
            self._split_racks(gone)
            self._drop("nodes", gone)
            self._drop_slots(gone)
        else:
            self._drop(kind, gone)
        if sum(len(some) for some in self.entries.values()) == before:
            self.notes.append(f"{fold(names, 60)}: was not out of service")
        self.changed.setdefault(("restored", kind), []).extend(names)

    def _drop(self, kind: str, names: set[str], states: set[str] | None = None) -> None:
        for key, some in self.entries.items():
            if key[1] == kind and (states is None or key[0] in states):
                some[:] = [n for n in some if n not in names]

    def _drop_slots(self, hosts: set[str]) -> None:
        for key, some in self.entries.items():
            if key[1] in ("gpus", "nics"):
                some[:] = [n for n in some if n.rpartition(":")[0] not in hosts]

    def _split_racks(self, hosts: set[str]) -> None:
        """Entries of whole racks that hold one of these nodes become entries of their other nodes."""
        for key in [k for k in self.entries if k[1] == "racks"]:
            for rack in list(self.entries[key]):
                inside = self._nodes_of(rack)
                if hosts & set(inside):
                    self.entries[key].remove(rack)
                    state, _, *rest = key
                    self.entries.setdefault((state, "nodes", *rest), []).extend(inside)  # type: ignore[arg-type]

    # -------------------------------------------------------------------------------------------------------- writing
    def block(self) -> list[str]:
        """Lines of the `exceptions` key; none if nothing is out of the ordinary."""
        rows = []
        for (state, kind, fraction, reason, count), names in self.entries.items():
            if not names:
                continue
            facts = (
                [f"state: {state}"] + ([f'fraction: "{fraction}"'] if fraction else []) + ([f"count: {count}"] if count else [])
            )
            facts += [f"reason: {_quoted(reason)}"] if reason else []
            texts = names if kind == "links" else [fold(names)]
            rows += ["  - {" + ", ".join([*facts, f"{kind}: {_quoted(text)}"]) + "}" for text in texts]
        return ["exceptions:", *rows] if rows else []


def _key(item: ExceptionSchema, kind: str) -> Key:
    fraction = "" if item.fraction is None else f"{float(item.fraction) * 100:.10g} %"
    return item.state, kind, fraction, item.reason or "", item.count or 0


def _listed(kind: str, text: str) -> list[str]:
    return [text] if kind == "links" else expand(text).tolist()


def _items(event: Event, refuse: object) -> list[tuple[str, str]]:
    """(names, fraction) of each item between the commas outside of brackets."""
    out = []
    for item in re.split(r",(?![^\[]*\])", event.text):
        name, _, fraction = (part.strip() for part in item.partition("="))
        if not name:
            continue
        if fraction and not re.fullmatch(r"\d{1,3}(\.\d+)?\s*%|0?\.\d+", fraction, re.ASCII):
            refuse(f"`{fraction}` is not a share of full speed", "write `rack0001-tray01=60%`")  # type: ignore[operator]
            continue
        out.append((name, _percent(fraction) if fraction else _HALF))
    return out


def _percent(text: str) -> str:
    value = float(text.rstrip(" %")) if "%" in text else float(text) * 100
    return f"{value:.10g} %"


def _among(names: Strings, ascending: Strings) -> np.ndarray:
    if not len(names):
        return np.zeros(0, bool)
    wide = names.astype(np.result_type(names, ascending))
    at = np.minimum(np.searchsorted(ascending, wide), len(ascending) - 1)
    return np.asarray(ascending[at] == wide)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def _rewritten(text: str, block: list[str]) -> str:
    """The file without its `exceptions` key, and the new one at the end. Everything else stays as its author typed it."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r"[\"']?exceptions[\"']?\s*:", line)), None)
    if start is not None:
        end = start + 1
        while end < len(lines) and (not lines[end].strip() or re.match(r"[\s#\-\]}]", lines[end])):
            end += 1
        while end > start + 1 and re.match(r"\s*(#.*)?$", lines[end - 1]):
            end -= 1  # blank lines and comments before the next key stay
        lines[start:end] = []
    return "\n".join([*lines, *block]).rstrip("\n") + "\n"
