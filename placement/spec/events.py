# SPDX-License-Identifier: Apache-2.0
"""What happened to a cluster since its topology was written: parts by name, into the `exceptions` of the file and out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from placement.diag import Diagnostic, Severity
from placement.hostlist import expand, fold
from placement.ir import Cluster
from placement.spec.exceptions import KINDS
from placement.spec.parts import Parts
from placement.spec.source import Document
from placement.spec.topology import ExceptionSchema

STATES = ("failed", "drained", "degraded", "restored")
_HALF = "50 %"  # of a degraded part whose fraction nobody gave


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
    named = [(event.state, *what) for event in events for what in book.sorted_out(event)]
    book.no_contradictions([(state, kind, names) for state, kind, names, _ in named])
    for state, kind, names, fraction in named:
        book.enter(state, kind, names, fraction)
    book.found.raise_if_errors()
    return Amended(_rewritten(doc.text, book.block()), {k: tuple(v) for k, v in book.changed.items()}, tuple(book.notes))


def after(text: str, file: str) -> Cluster:
    """The cluster of an amended topology."""
    from placement.spec.source import parse
    from placement.spec.topology import lower_document

    return lower_document(parse(text, file, "topology"))


def rack_names(doc: Document) -> list[str]:
    """Names of the racks of a topology."""
    return [str(name) for name in Parts(doc).racks]


class _Book:
    """The exceptions of a file as names by kind and state."""

    def __init__(self, doc: Document) -> None:
        self.parts = Parts(doc)
        self.found = self.parts.found
        self.entries: dict[Key, list[str]] = {}
        self.changed: dict[tuple[str, str], list[str]] = {}
        self.notes: list[str] = []
        for item in self.parts.spec.exceptions:
            kind = next(k for k in KINDS if getattr(item, k) is not None)
            self.entries.setdefault(_key(item, kind), []).extend(_listed(kind, getattr(item, kind)))

    def sorted_out(self, event: Event) -> list[tuple[str, list[str], str]]:
        """(kind, names, fraction) of what an event names; unknown names are reported."""
        items: dict[str, list[str]] = {}
        for item, fraction in _items(event, self.parts.refuse):
            items.setdefault(fraction if event.state == "degraded" else "", []).append(item)
        return [(*what, fraction) for fraction, some in items.items() for what in self.parts.kinds(some).items()]

    def no_contradictions(self, named: Sequence[tuple[str, str, list[str]]]) -> None:
        """A part that is back and out at once: nobody could know which was meant."""
        back = {(kind, name) for state, kind, names in named if state == "restored" for name in names}
        for state, kind, names in named:
            if state != "restored" and (both := [n for n in dict.fromkeys(names) if (kind, n) in back]):
                message = f"`{fold(both, 60) if kind != 'links' else both[0]}` is named as {state} and as restored"
                help = "leave one of the two out"
                self.found.add(
                    Diagnostic("repair/contradiction", message, Severity.ERROR, help=help, objects=tuple(both[:100]))
                )

    # ------------------------------------------------------------------------------------------------ entering events
    def enter(self, state: str, kind: str, names: list[str], fraction: str) -> None:
        if state == "restored":
            self._restore(kind, names)
            return
        if state == "degraded" and kind == "racks":  # what a rack has in common is its NVLink domain
            kind, names = "nvlink", self.parts.domains_of(names)
        known = {n for key, some in self.entries.items() if key[:3] == (state, kind, fraction) for n in some}
        known |= self._with_their_racks(state) if kind == "nodes" else set()
        fresh = [n for n in dict.fromkeys(names) if n not in known]
        if already := [n for n in dict.fromkeys(names) if n in known]:
            self.notes.append(f"{_told(kind, already)}: {state} already")
        if state == "degraded":  # what it reaches now counts, better or worse than before
            self._drop(kind, set(fresh), {"degraded"})
        elif kind in ("racks", "nodes"):  # the worse of two states counts
            lesser = {"reserved", "drained"} | ({"failed"} if state == "failed" else set())
            if kind == "racks":
                self._drop("nodes", set(self.parts.nodes_of(fresh)), lesser)
            else:
                self._split_racks(set(fresh), lesser)
            self._drop(kind, set(fresh), lesser)
        self.entries.setdefault((state, kind, fraction, "", 0), []).extend(fresh)
        self.changed.setdefault((state, kind), []).extend(fresh)

    def _with_their_racks(self, state: str) -> set[str]:
        """Hosts that are out as part of a whole rack, in this state or a worse one."""
        worse = {"failed": ("failed", "absent"), "drained": ("drained", "failed", "absent")}.get(state, ())
        return set(
            self.parts.nodes_of(
                [n for key, some in self.entries.items() if key[1] == "racks" and key[0] in worse for n in some]
            )
        )

    def _restore(self, kind: str, names: list[str]) -> None:
        """Back in service, in full health: the names go from every entry that holds them or a part of them."""
        before = sum(len(some) for some in self.entries.values())
        gone = set(names)
        if kind == "racks":
            hosts = set(self.parts.nodes_of(names))
            self._drop("racks", gone)
            self._drop("nodes", hosts)
            self._drop_slots(hosts)
            self._drop("nvlink", set(self.parts.domains_of(names)))
        elif kind == "nodes":
            self._split_racks(gone)
            self._drop("nodes", gone)
            self._drop_slots(gone)
        else:
            self._drop(kind, gone)
        if sum(len(some) for some in self.entries.values()) == before:
            self.notes.append(f"{_told(kind, names)}: was not out of service")
        self.changed.setdefault(("restored", kind), []).extend(names)

    def _drop(self, kind: str, names: set[str], states: set[str] | None = None) -> None:
        for key, some in self.entries.items():
            if key[1] == kind and (states is None or key[0] in states):
                some[:] = [n for n in some if n not in names]

    def _drop_slots(self, hosts: set[str]) -> None:
        for key, some in self.entries.items():
            if key[1] in ("gpus", "nics"):
                some[:] = [n for n in some if n.rpartition(":")[0] not in hosts]

    def _split_racks(self, hosts: set[str], states: set[str] | None = None) -> None:
        """Entries of whole racks that hold one of these nodes become entries of their other nodes."""
        for key in [k for k in self.entries if k[1] == "racks" and (states is None or k[0] in states)]:
            for rack in list(self.entries[key]):
                inside = self.parts.nodes_of([rack])
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


def _items(event: Event, refuse: Callable[..., None]) -> list[tuple[str, str]]:
    """(names, fraction) of each item between the commas outside of brackets."""
    out = []
    for item in _split(event.text):
        name, _, fraction = (part.strip() for part in item.partition("="))
        if not name:
            continue
        if fraction and not re.fullmatch(r"\d{1,3}(\.\d+)?\s*%|0?\.\d+", fraction, re.ASCII):
            refuse(f"`{fraction}` is not a share of full speed", "write `rack0001-tray01=60%`")
            continue
        out.append((name, _percent(fraction) if fraction else _HALF))
    return out


def _split(text: str) -> list[str]:
    """Between the commas outside of brackets."""
    items: list[str] = []
    for piece in text.split(","):
        if items and items[-1].count("[") > items[-1].count("]"):
            items[-1] += "," + piece
        else:
            items.append(piece)
    return items


def _percent(text: str) -> str:
    value = float(text.rstrip(" %")) if "%" in text else float(text) * 100
    return f"{value:.10g} %"


def _told(kind: str, names: Sequence[str]) -> str:
    return names[0] if kind == "links" else fold(names, 60)


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
