# SPDX-License-Identifier: Apache-2.0
"""Collects the records of a foreign file into a `Wired`. One bad record is one diagnostic, and reading goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from placement.diag import Diagnostic, Label, Severity, Span
from placement.ingest.rates import lanes, rate_Bps
from placement.ir import Cables, Devices, Gpus, Hosts, Kind, Wired

MAX_TEXT = 200  # characters of one name; arrays of text are as wide as their longest
MAX_NAMED = 200  # bad records with a diagnostic each, of one kind and file; the rest are counted in one more
MAX_ID = (1 << 64) - 1


@dataclass
class Builder:
    """Append-only columns. Devices are found again by `key` (GUID text, name: whatever the format identifies them by)."""

    format: str
    file: str
    name: str = ""
    planned: bool = False
    logical: bool = False
    taken: str = ""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    tiers: list[str] = field(default_factory=list)
    _device: list[tuple[int, str, str, str, int, int, int, str, int, int, str, str, str, int]] = field(default_factory=list)
    _cable: list[tuple[int, int, int, int, int, int, float, int, int, int, int]] = field(default_factory=list)
    _host: dict[str, dict[str, object]] = field(default_factory=dict)
    _gpu: list[tuple[str, int, str, int, float, str, str, int]] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)
    _labels: dict[str, int] = field(default_factory=lambda: {"": 0})
    _rates: dict[str, int] = field(default_factory=lambda: {"": 0})
    _dropped: dict[str, tuple[int, int]] = field(default_factory=dict)

    # ---- findings of reading

    def bad(
        self, line: int, name: str, message: str, help: str = "", severity: Severity = Severity.WARNING, column: int = 1
    ) -> None:
        """A record that cannot be used: `ingest/<name>` at its line. Beyond MAX_NAMED of a kind they are counted."""
        count, last = self._dropped.get(name, (0, 0))
        self._dropped[name] = (count + 1, max(last, line))
        if count < MAX_NAMED:
            label = Label(Span(self.file, max(line, 1), column, column + 1))
            self.diagnostics.append(Diagnostic(f"ingest/{name}", message, severity, label, help=help))

    def error(self, line: int, name: str, message: str, help: str = "") -> None:
        """As `bad`, for what makes the file useless, or what the program that it is for refuses."""
        self.bad(line, name, message, help, Severity.ERROR)

    # ---- records

    def find(self, key: str) -> int | None:
        """Index of a device that was added under `key`."""
        return self._index.get(key)

    def device(
        self, key: str, kind: Kind, name: str, line: int = 0, *, unit: str = "", text: str = "", guid: int = 0, system: int = 0,
        lid: int = 0, model: str = "", chip: int = 0, ports: int = -1, hall: str = "", rack: str = "", place: str = "",
    ) -> int:  # fmt: skip
        """Add a device, or return the one that has this key already (what it says then is kept). Names are cut at MAX_TEXT."""
        found = self._index.get(key)
        if found is not None:
            return found
        if max(len(name), len(unit), len(text), len(model), len(hall), len(rack), len(place)) > MAX_TEXT:
            self.bad(line, "long-name", f"a name of more than {MAX_TEXT} characters is cut")
            name, unit, text, model = name[:MAX_TEXT], unit[:MAX_TEXT], text[:MAX_TEXT], model[:MAX_TEXT]
            hall, rack, place = hall[:MAX_TEXT], rack[:MAX_TEXT], place[:MAX_TEXT]
        self._index[key] = len(self._device)
        guid, system = guid if 0 <= guid <= MAX_ID else 0, system if 0 <= system <= MAX_ID else 0
        self._device.append((int(kind), name, unit, text, guid, system, lid, model, chip, ports, hall, rack, place, line))
        return self._index[key]

    def cable(
        self, a: int, port_a: int, b: int, port_b: int, line: int = 0, *, rate: str = "", Bps: float = 0.0, width: int = 0,
        label_a: str = "", label_b: str = "", back: int = 0,
    ) -> int:  # fmt: skip
        """Add one physical cable and return its index. `rate` as written (`4xNDR`) gives what speed and width are not given."""
        labels = self._labels
        code_a = labels.setdefault(label_a[:MAX_TEXT], len(labels))
        code_b = labels.setdefault(label_b[:MAX_TEXT], len(labels))
        code = self._rates.setdefault(rate[:MAX_TEXT], len(self._rates))
        self._cable.append(
            (a, b, port_a, port_b, code_a, code_b, Bps or rate_Bps(rate), code, width or lanes(rate), line, back)
        )
        return len(self._cable) - 1

    def set_back(self, cable: int, line: int) -> None:
        """Note the line at which the other end of a cable says the same."""
        self._cable[cable] = (*self._cable[cable][:-1], line)

    def set_lid(self, device: int, lid: int) -> None:
        row = self._device[device]
        self._device[device] = (*row[:6], lid, *row[7:])

    def host(self, name: str, line: int = 0, groups: Sequence[tuple[str, str]] = (), **facts: object) -> None:
        """Say something about a host: keys as the columns of `Hosts` without their index (`domain`, `rack`, `gpus` ...).

        `groups`: (tier, group) pairs, innermost first. What was said before stays unless it is said anew.
        """
        known = self._host.setdefault(name[:MAX_TEXT], {"line": line})
        known.update(facts)
        for tier, group in groups:
            if tier not in self.tiers:
                self.tiers.append(tier)
            known[f"tier {tier}"] = group

    def gpu(
        self, host: str, slot: int, line: int = 0, *, name: str = "", nvlinks: int = -1, nvlink_Bps: float = 0.0,
        domain: str = "", health: str = "",
    ) -> None:  # fmt: skip
        """Say something about one GPU of a host (which is added if need be)."""
        self.host(host, line)
        self._gpu.append(
            (host[:MAX_TEXT], slot, name[:MAX_TEXT], nvlinks, nvlink_Bps, domain[:MAX_TEXT], health[:MAX_TEXT], line)
        )

    # ---- result

    @property
    def empty(self) -> bool:
        return not (self._device or self._host)

    def done(self) -> tuple[Wired, tuple[Diagnostic, ...]]:
        """The value and every diagnostic, in order of line."""
        for name, (count, line) in self._dropped.items():
            if count > MAX_NAMED:
                message = f"{count - MAX_NAMED:,} more records are left out for the same reason, the last at line {line:,}"
                label = Label(Span(self.file, max(line, 1)))
                self.diagnostics.append(Diagnostic(f"ingest/{name}", message, Severity.WARNING, label))
        wired = Wired(
            self.name or self.file, self.format, (self.file,), self._devices(), self._cables(), self._hosts(), self._gpus(),
            self.planned, self.logical, self.taken,
        )  # fmt: skip
        return wired, tuple(sorted(self.diagnostics, key=lambda d: d.primary.span if d.primary else Span(self.file)))

    def _devices(self) -> Devices:
        rows = list(zip(*self._device, strict=True)) or [()] * 14
        kind, name, unit, text, guid, system, lid, model, chip, ports, hall, rack, place, line = rows
        return Devices(
            whole(kind), words(name), words(unit), words(text), guids(guid), guids(system),
            whole(lid), words(model), whole(chip), whole(ports), words(hall), words(rack), words(place),
            np.zeros(len(kind), np.int64), whole(line),
        )  # fmt: skip

    def _cables(self) -> Cables:
        rows = list(zip(*self._cable, strict=True)) or [()] * 11
        a, b, port_a, port_b, label_a, label_b, Bps, rate, width, line, back = rows
        return Cables(
            pairs(a, b), pairs(port_a, port_b), pairs(label_a, label_b), tuple(self._labels), np.array(Bps, np.float64),
            whole(rate), tuple(self._rates), whole(width), np.zeros(len(a), np.int64), whole(line), whole(back),
        )  # fmt: skip

    def _hosts(self) -> Hosts:
        facts = list(self._host.values())

        def text(key: str) -> list[str]:
            return [str(f.get(key, ""))[:MAX_TEXT] for f in facts]

        def number(key: str, default: float = -1) -> list[float]:
            return [float(str(f.get(key, default))) for f in facts]

        group_HL = np.array([[str(f.get(f"tier {t}", ""))[:MAX_TEXT] for t in self.tiers] for f in facts], np.str_)
        return Hosts(
            words(list(self._host)), words(text("domain")), words(text("hall")), words(text("rack")), words(text("place")),
            tuple(self.tiers), group_HL.reshape(len(facts), len(self.tiers)), whole(number("gpus")), words(text("gpu_name")),
            whole(number("nics")), np.array(number("nic_Bps", 0), np.float64), words(text("state")),
            np.zeros(len(facts), np.int64), whole(number("line", 0)),
        )  # fmt: skip

    def _gpus(self) -> Gpus:
        place = {name: index for index, name in enumerate(self._host)}
        rows = list(zip(*self._gpu, strict=True)) or [()] * 8
        host, slot, name, nvlinks, Bps, domain, health, line = rows
        return Gpus(
            whole([place[h] for h in host]), whole(slot), words(name), whole(nvlinks), np.array(Bps, np.float64), words(domain),
            words(health), np.zeros(len(host), np.int64), whole(line),
        )  # fmt: skip


def words(values: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    return np.array(values, dtype=np.str_)


ABSURD = 2**62  # no count, port or local identifier of anything


def whole(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Integers; what is too large to be one of anything is not known."""
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return np.array([v if abs(v) < ABSURD else -1 for v in values], dtype=np.int64)


def guids(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Identifiers of 64 bits, of longer ones the last."""
    return np.array([v & 0xFFFF_FFFF_FFFF_FFFF for v in values], dtype=np.uint64)


def pairs(a: Sequence[int], b: Sequence[int]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.stack([whole(a), whole(b)], axis=1)
