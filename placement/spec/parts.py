# SPDX-License-Identifier: Apache-2.0
"""Parts of a cluster by the names that people give them: what kind of object a name is, and what to say where it is none."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from placement.diag import Collector, Diagnostic, Severity
from placement.fabric.pattern import Pattern, build
from placement.hostlist import HostlistError, expand, fold
from placement.ir._array import Ints, Strings
from placement.spec.source import Document
from placement.spec.topology import Topology
from placement.spec.validate import validate

_RAIL = re.compile(r"rail-?(\d{1,4})\Z", re.ASCII)
FEW = 10  # unknown names that are told apart
WHAT = ("nodes", "racks", "switches")
_PLANE = re.compile(r"plane-?(\d{1,4})\Z", re.ASCII)


class Parts:
    """Everything of a topology that has a name. Findings are gathered in `found`."""

    def __init__(self, doc: Document) -> None:
        from placement.spec.layout import layout_of
        from placement.spec.reader import Reader

        self.spec: Topology = validate(doc, Topology)
        self.reader = Reader(self.spec, doc)
        self.found = Collector()
        self.layout = layout_of(self.reader)
        self.hosts = np.sort(self.layout.host_N, kind="stable")  # in order already as a rule: then that is one pass
        self.racks = np.sort(self.layout.rack_name_X, kind="stable")

    def kinds(self, items: Sequence[str]) -> dict[str, list[str]]:
        """Names by kind of items: host lists, rails, planes, pairs of switches. Unknown ones are reported."""
        out: dict[str, list[str]] = {}
        names: list[Strings] = []
        for item in items:
            if special := self._special(item):
                out.setdefault(special[0], []).extend(special[1])
            elif "[" in item or "]" in item:
                names.append(self._expanded(item))
            else:
                names.append(np.array([item]))
        if names:
            every = np.concatenate(names)
            slot = np.strings.find(every, ":") >= 0
            for found in (self._named(every[~slot]), self._slots(every[slot])):
                for kind, some in found.items():
                    out.setdefault(kind, []).extend(some)
        return {kind: some for kind, some in out.items() if some}

    def _special(self, item: str) -> tuple[str, list[str]] | None:
        """A cable, a rail or a plane; None for names."""
        if "--" in item:
            return "links", self._cables(" -- ".join(end.strip() for end in item.split("--")))
        if rail := _RAIL.match(item):
            return "nics", self._rails(self.layout.host_N, int(rail[1]), item)
        if plane := _PLANE.match(item):
            return "switches", self._plane(int(plane[1]), item)
        return None

    def _expanded(self, item: str) -> Strings:
        try:
            return expand(item)
        except HostlistError as error:
            self.refuse(error.message, error.help)
            return np.array([], np.str_)

    def nodes_of(self, racks: Iterable[str]) -> list[str]:
        """Hosts of racks."""
        at = np.flatnonzero(np.isin(self.layout.rack_name_X, list(racks)))
        return list(self.layout.host_N[np.isin(self.layout.rack_N, at)].tolist()) if len(at) else []

    def domains_of(self, racks: Iterable[str]) -> list[str]:
        """NVLink domains of racks."""
        at = np.flatnonzero(np.isin(self.layout.rack_name_X, list(racks)))
        domains = np.unique(self.layout.domain_N[np.isin(self.layout.rack_N, at)])
        return list(self.layout.domain_name_J[domains].tolist())

    def refuse(self, message: str, help: str = "", objects: Sequence[str] = ()) -> None:
        self.found.add(Diagnostic("repair/unknown-part", message, Severity.ERROR, help=help, objects=tuple(objects)))

    # -------------------------------------------------------------------------------------------------- kinds of names
    def _named(self, names: Strings) -> dict[str, list[str]]:
        known_rack, known_host = among(names, self.racks), among(names, self.hosts)
        rest = names[~known_rack & ~known_host]
        switch = among(rest, np.sort(self._switches()[0])) if len(rest) else np.zeros(0, bool)
        self._unknown(rest[~switch])
        found = {"racks": names[known_rack & ~known_host], "nodes": names[known_host], "switches": rest[switch]}
        return {kind: some.tolist() for kind, some in found.items() if len(some)}

    def _slots(self, names: Strings) -> dict[str, list[str]]:
        """`host:0` is a GPU, `host:mlx5_0` and `host:rail0` an adapter, `rack:rail0` that adapter of each of its nodes."""
        out: dict[str, list[str]] = {}
        split = [name.rpartition(":") for name in names.tolist()]
        owners = sorted({owner for owner, _, _ in split})
        known = dict(zip(owners, among(np.array(owners), self.hosts).tolist(), strict=True))
        for owner, _, slot in split:
            hosts, told = [owner] if known[owner] else self.nodes_of([owner]), f"{owner}:{slot}"
            rail = _RAIL.match(slot)
            if not hosts:
                self._unknown(np.array([owner]))
            elif rail:
                out.setdefault("nics", []).extend(self._rails(hosts, int(rail[1]), told))
            elif slot.isdigit():
                out.setdefault("gpus", []).extend(self._gpus(hosts, int(slot), told))
            else:
                out.setdefault("nics", []).extend(self._adapters(hosts, slot, told))
        return out

    def _rails(self, hosts: Iterable[str], rail: int, told: str) -> list[str]:
        if rail >= self.reader.nics:
            self.refuse(f"`{told}` is no rail: they are numbered from 0 to {self.reader.nics - 1}", objects=[told])
            return []
        return [f"{host}:{rail}" for host in hosts]

    def _gpus(self, hosts: Iterable[str], slot: int, told: str) -> list[str]:
        if slot >= self.spec.node.gpus:
            message = f"`{told}` is no GPU: those of a host are numbered from 0 to {self.spec.node.gpus - 1}"
            self.refuse(message, objects=[told])
            return []
        return [f"{host}:{slot}" for host in hosts]

    def _adapters(self, hosts: Iterable[str], name: str, told: str) -> list[str]:
        known = [self.spec.node.nic_name.replace("{rail}", str(r)) for r in range(self.reader.nics)]
        if name not in known:
            self.refuse(f"`{told}` is no adapter: a host has {', '.join(known)}", "or write `host:rail0`", [told])
            return []
        return [f"{host}:{name}" for host in hosts]

    def _cables(self, pair: str) -> list[str]:
        """`lower -- upper`; what the topology's own reader says against it is said here."""
        from placement.spec.switches import find_links

        seen = len(self.reader.found.found)
        find_links(self.reader, ("exceptions",), pair, self._pattern(), None)
        wrong = self.reader.found.found[seen:]
        self.found.found.extend(replace(d, name="repair/unknown-part", primary=None) for d in wrong)
        del self.reader.found.found[seen:]
        return [] if wrong else [pair]

    def _plane(self, plane: int, told: str) -> list[str]:
        """The leaf switches of a plane: without them no adapter reaches the rest of it."""
        planes = self.spec.fabric.planes
        if plane >= planes or planes == 1:
            has = f"planes are numbered from 0 to {planes - 1}" if planes > 1 else "this fabric has one plane"
            self.refuse(f"`{told}` is no plane: {has}", objects=[told])
            return []
        names, rows = self._switches()
        found: list[str] = names[(rows[:, 0] == 0) & (rows[:, 3] == plane)].tolist()
        if not found:
            self.refuse(f"`{told}`: the topology describes no leaf switches", "name adapters at part of their speed", [told])
        return found

    def _pattern(self) -> Pattern:
        from placement.spec.tiers import tier_specs

        def make() -> Pattern:
            specs, _ = tier_specs(self.reader)
            nics_X, fabric = self.layout.nodes_X * self.reader.nics, self.spec.fabric
            return build(specs, nics_X, rails=self.reader.nics, planes=fabric.planes, rails_connected=fabric.rails_connected)

        return self.reader.lookup.once("pattern", make)

    def _switches(self) -> tuple[Strings, Ints]:
        from placement.spec.switches import _all_switches

        pattern = self._pattern()
        return self.reader.lookup.once("switches", lambda: _all_switches(self.reader, pattern))

    # -------------------------------------------------------------------------------------------------- unknown names
    def _unknown(self, names: Strings) -> None:
        """A finding for each of a few names, one for all of many."""
        for few in (names[i : i + 1] for i in range(len(names))) if len(names) <= FEW else [names]:
            first = str(few[0])
            more = f", nor are {len(few) - 1:,} more" if len(few) > 1 else ""
            self.refuse(f"`{first}` is no node, rack or switch of this cluster{more}", self._advice(first), few[:100].tolist())

    def _advice(self, word: str) -> str:
        """The nearest name of any kind; how things are named where the word follows a pattern, or nothing is near."""
        kinds = [self.layout.host_N, self.layout.rack_name_X, self._switches()[0]]
        texts = [self.reader.lookup.suggest(word, known) for known in kinds if len(known)]
        near = [text for text in texts if text]
        if near and not any(_shape(str(known[0])) == _shape(word) for known in kinds if len(known)):
            return max(near, key=lambda text: difflib.SequenceMatcher(None, word, text.split("`")[1]).ratio())
        return ", ".join(f"{what} are named `{fold(known, 60)}`" for what, known in zip(WHAT, kinds, strict=True) if len(known))


def among(names: Strings, ascending: Strings) -> np.ndarray:
    """Which names are in a sorted array."""
    if not len(names) or not len(ascending):
        return np.zeros(len(names), bool)
    wide = names.astype(np.result_type(names, ascending))
    at = np.minimum(np.searchsorted(ascending, wide), len(ascending) - 1)
    return np.asarray(ascending[at] == wide)


def _shape(text: str) -> str:
    return re.sub(r"[0-9]", "#", text)
