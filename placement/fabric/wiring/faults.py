# SPDX-License-Identifier: Apache-2.0
"""A finding about a wired fabric: one root cause, what was expected and what is there, and who suffers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from placement.diag import Diagnostic, Label, Severity, Span
from placement.fabric.wiring.kinds import KINDS
from placement.hostlist import fold
from placement.ir import Kind, Wired

SHOWN = 200  # characters of a folded list of victims


@dataclass(frozen=True)
class Fault:
    """One root cause. `kind` is the diagnostic name without its room.

    `expected`, `actual`  the two sides of a cabling fault, one line each: names and ports at both ends
    `group`, `rack`       where it is, for the roll-up ("" : the whole fabric)
    `victims`             hosts that lose something; `devices` names of the devices that are to blame
    `cables`              number of cables that are missing, wrong or slow
    `line`, `file`        evidence; 0 where there is none (something that is missing)
    """

    kind: str
    severity: Severity
    message: str
    expected: tuple[str, ...] = ()
    actual: tuple[str, ...] = ()
    group: str = ""
    rack: str = ""
    victims: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    cables: int = 0
    line: int = 0
    file: str = ""
    help: str = ""
    records: tuple[int, ...] = ()  # cables of the capture that the fault is about

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind

    def diagnostic(self, fallback: str = "") -> Diagnostic:
        """The finding as every other part of the tool prints it; victims as one folded host list."""
        file = self.file or fallback
        label = Label(Span(file, max(self.line, 1))) if file else None
        pairs = zip(self.expected, self.actual, strict=False) if len(self.expected) == len(self.actual) else ()
        notes = [f"expected {e} | actual {a}" for e, a in pairs]
        if not notes:
            notes = [f"expected {e}" for e in self.expected] + [f"actual {a}" for a in self.actual]
        if self.victims:
            noun = "host" if len(self.victims) == 1 else "hosts"
            notes.append(f"{len(self.victims):,} {noun}: {fold(self.victims, SHOWN)}")
        return Diagnostic(
            f"fabric/{self.kind}", self.message, self.severity, label, notes=tuple(notes), help=self.help,
            objects=tuple(dict.fromkeys((*self.devices, *self.victims))),
        )  # fmt: skip


class Names:
    """Devices and ports as people know them."""

    def __init__(self, wired: Wired) -> None:
        self.wired = wired

    @cached_property
    def host(self) -> list[str]:
        return [str(n) for n in self.wired.device.name_D]

    def device(self, d: int) -> str:
        """A switch (with its chip), or an adapter on its host; its GUID where the capture names nobody."""
        device = self.wired.device
        name, unit = str(device.name_D[d]), str(device.unit_D[d])
        if not name:
            text = " ".join(str(device.text_D[d]).split()[:2]) or "device"
            guid = int(device.guid_D[d])
            return f"({text} {guid:016x})" if guid else f"({text})"
        if device.kind_D[d] == Kind.SWITCH:
            return f"{name}:{unit}" if unit else name
        return f"{name} {unit}" if unit else name

    def socket(self, d: int, port: int) -> str:
        """`A09-P1-IBLEAF-04-02/5`; adapters with one port are named without it."""
        if self.wired.device.kind_D[d] != Kind.SWITCH and self.wired.device.ports_D[d] in (1, -1) and port in (1, -1):
            return self.device(d)
        return f"{self.device(d)}/{port if port >= 0 else '?'}"

    def cable(self, a: int, port_a: int, b: int, port_b: int) -> str:
        return f"{self.socket(a, port_a)} -- {self.socket(b, port_b)}"

    def place(self, cable: int) -> tuple[int, str]:
        """Line and file of a cable."""
        table = self.wired.cable
        return int(table.line_C[cable]), self.wired.files[int(table.file_C[cable])]

    def device_place(self, d: int) -> tuple[int, str]:
        device = self.wired.device
        return int(device.line_D[d]), self.wired.files[int(device.file_D[d])]


def located(faults: Sequence[Fault], names: Names) -> list[Fault]:
    """The faults, those of things that are not there with the line of what should hold them: the leaf of a missing cable."""
    device = names.wired.device
    if all(f.line for f in faults):
        return list(faults)
    line_of: dict[str, int] = {}
    for d in np.flatnonzero(device.line_D > 0).tolist():
        line_of.setdefault(names.device(d), d)
        line_of.setdefault(str(device.name_D[d]), d)
    return [f if f.line else _placed(f, line_of, names) for f in faults]


def _placed(fault: Fault, line_of: dict[str, int], names: Names) -> Fault:
    ends = (end for text in fault.expected for end in text.split(" -- ")[::-1])
    for text in (*fault.devices, *ends, *fault.victims):
        d = line_of.get(text, line_of.get(text.rpartition("/")[0]))
        if d is not None:
            line, file = names.device_place(d)
            return replace(fault, line=line, file=file)
    return fault


def count(n: int, noun: str, plural: str = "") -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {plural or noun + 's'}"


def some(names: Iterable[str], most: int = 3) -> str:
    """A few names and how many more."""
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")
