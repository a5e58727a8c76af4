# SPDX-License-Identifier: Apache-2.0
"""Planned cabling as CSV: UFM NDT files and the point-to-point sheets of contractors.

One line a cable: start device and port, end device and port, and perhaps rack, height, speed and length. Headers differ from
sheet to sheet and are found by name. `Blade 16_Port 2/20` is port 20 of chip `L16/U2` of a director; `SAT1 ibp11s0f0` on
device `SAT1` is adapter `ibp11s0f0` of that host. A cable that is listed from both ends is one cable.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from placement.diag import Severity
from placement.ingest.build import Builder
from placement.ingest.formats import Reading
from placement.ingest.source import Source, refuse
from placement.ir import Kind

NEEDED = ("a device", "a port", "b device", "b port")
MAX_HEADER = 50  # lines before the header
_START, _END = ("start", "source", "src", "from", "a", "local"), ("end", "destination", "dest", "dst", "to", "b", "z", "remote")
_BLADE = re.compile(r"blade\s*(\d+)[_\s]*port\s*(\d+)/(\d+)\Z", re.IGNORECASE)
_PORT = re.compile(r"(?:port\s*|p|swp|ethernet)?(\d{1,5})\Z", re.IGNORECASE)
_SPLIT = re.compile(r"(?:port\s*|swp|ethernet)?(\d{1,4})(?:/|s)(\d{1,3})\Z", re.IGNORECASE)
_HEIGHT = re.compile(r"u\d{1,2}\Z", re.IGNORECASE)


def looks_like(_name: str, head: str) -> bool:
    for line in head.split("\n")[:MAX_HEADER]:
        columns = _columns(_cells(line))
        if "a device" in columns and "b device" in columns:
            return True
    return False


@dataclass(frozen=True)
class _End:
    device: str
    label: str
    rack: str
    height: str


@dataclass(frozen=True)
class _Row:
    line: int
    a: _End
    b: _End
    speed: str


def read(source: Source) -> Reading:
    """A cabling sheet. Raises InputError where it has no header with the four columns that a cable needs."""
    out = Builder("cabling", source.file, planned=True)
    lines = source.lines
    at, columns = _header(source.file, lines)
    _check_columns(source.file, at, columns)
    rows = _rows(out, lines, at, columns)
    racks: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for end in (row.a, row.b):
            if not _switch(end):
                racks[end.device].add(end.rack)
    _cables(out, rows, {device for device, where in racks.items() if len(where) > 1})
    return out.done()


def _header(file: str, lines: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Line index of the header and its columns."""
    best: tuple[int, dict[str, int]] = (0, {})
    for index, line in enumerate(lines[:MAX_HEADER]):
        columns = _columns(_cells(line))
        if sum(n in columns for n in NEEDED) > sum(n in best[1] for n in NEEDED):
            best = index, columns
    if not best[1]:
        help = "give a line `#StartDevice,StartPort,EndDevice,EndPort,LinkType`"
        raise refuse(file, "ingest/no-header", "no line names the columns of a cabling sheet", help=help)
    return best


def _check_columns(file: str, at: int, columns: dict[str, int]) -> None:
    missing = [n for n in NEEDED if n not in columns]
    if missing:
        words = {"a device": "StartDevice", "a port": "StartPort", "b device": "EndDevice", "b port": "EndPort"}
        listed = ", ".join(f"`{words[m]}`" for m in missing)
        raise refuse(
            file, "ingest/missing-column", f"the header has no column {listed}", at + 1, "name the columns as UFM NDT does"
        )


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _columns(cells: Iterable[str]) -> dict[str, int]:
    """Meaning of each column by its header; of two with one meaning the first counts for the start, the second for the end."""
    found: dict[str, int] = {}
    for index, cell in enumerate(cells):
        word = re.sub(r"^#?\s*(fields:)?", "", cell.strip().lower())
        key = _meaning(re.sub(r"[^a-z]", "", word))
        if key == "height":
            key = "a height" if "a device" not in found else "b height"
        elif key == "rack":
            key = "a rack" if "a device" not in found else "b rack"
        if key and key not in found:
            found[key] = index
    return found


def _meaning(word: str) -> str:
    for side, prefixes in (("a", _START), ("b", _END)):
        for prefix in prefixes:
            rest = word.removeprefix(prefix)
            if rest != word and rest in ("device", "host", "node", "switch", "name", "hostname"):
                return f"{side} device"
            if rest != word and rest in ("port", "interface", "int"):
                return f"{side} port"
            if rest != word and rest in ("devicelocation", "location", "rack", "devicerack"):
                return f"{side} location"
    return {"rack": "rack", "uheight": "height", "u": "height", "speed": "speed", "linkspeed": "speed"}.get(word, "")


def _rows(out: Builder, lines: Sequence[str], at: int, columns: dict[str, int]) -> list[_Row]:
    rows: list[_Row] = []
    need = max(columns[n] for n in NEEDED)
    header = len(_cells(lines[at]))
    beyond = 0
    for number, line in enumerate(lines[at + 1 :], start=at + 2):
        if not line.strip(", \t"):
            continue
        if line.lstrip().startswith("#"):
            continue  # a comment
        cells = [c.strip() for c in _cells(line)]
        if len(cells) <= need:
            out.bad(number, "bad-row", f"{len(cells)} columns are too few: a cable needs {need + 1}")
            continue
        beyond = beyond or (number if len(cells) > header or any(cells[header:]) else 0)
        a, b = (_end(cells, columns, side) for side in ("a", "b"))
        if a.device and a.label and b.device and b.label:
            rows.append(_Row(number, a, b, cells[columns["speed"]] if columns.get("speed", len(cells)) < len(cells) else ""))
        else:
            out.bad(number, "bad-row", "a device or port of the cable is empty")
    if beyond:
        out.bad(
            beyond, "unused-columns", f"cells beyond column {header} have no header and are not read", severity=Severity.INFO
        )
    return rows


def _end(cells: Sequence[str], columns: dict[str, int], side: str) -> _End:
    def cell(key: str) -> str:
        index = columns.get(f"{side} {key}", -1)
        return cells[index] if 0 <= index < len(cells) else ""

    location, height, rack = cell("location"), cell("height"), cell("rack")
    if _HEIGHT.match(location):
        height, location = location, ""
    device, label = cell("device"), cell("port")
    if device.casefold().endswith(" " + label.casefold()):
        device = device[: -len(label)].rstrip()  # `Server 1 IB Port 3` with port `IB Port 3`
    elif label.casefold().startswith(device.casefold() + " "):
        label = label[len(device) :].strip()  # `SAT1 ibp11s0f0` on `SAT1`
    return _End(device, label, location or rack, height)


def _switch(end: _End) -> bool:
    return bool(_BLADE.match(end.label) or _PORT.match(end.label) or _SPLIT.match(end.label))


def _cables(out: Builder, rows: Sequence[_Row], shared: set[str]) -> None:
    """Devices and cables; hosts whose names begin anew in every rack are named with their rack."""
    seen: dict[tuple[int, int, int, int], int] = {}
    for row in rows:
        ends = []
        for end in (row.a, row.b):
            if not re.search(r"\d", end.label):
                out.bad(
                    row.line,
                    "bad-port",
                    f"`{end.label[:40]}` is no port",
                    "write `Port 7`, `Blade 3_Port 1/7` or an adapter such as `mlx5_0`",
                )
                break
            ends.append(_place(out, end, row.line, shared))
        if len(ends) < 2:
            continue
        (a, p, label_a), (b, q, label_b) = ends
        if (b, q, a, p) in seen and (a, p) != (b, q):
            out.set_back(seen[b, q, a, p], row.line)
        elif (a, p, b, q) in seen:
            out.bad(row.line, "cable-twice", "the same cable is planned twice", severity=Severity.INFO)
        else:
            seen[a, p, b, q] = out.cable(a, p, b, q, row.line, rate=row.speed, label_a=label_a, label_b=label_b)


def _place(out: Builder, end: _End, line: int, shared: set[str]) -> tuple[int, int, str]:
    """(device, port, port as written where the number does not say it all)."""
    name = end.device
    if blade := _BLADE.match(end.label):
        unit = f"L{int(blade[1]):02}/U{int(blade[2])}"
        d = out.device(
            _key(name, unit, end.rack), Kind.SWITCH, name, line, unit=unit, rack=end.rack, place=end.height, text=name
        )
        return d, int(blade[3]), end.label
    if split := _SPLIT.match(end.label):
        d = out.device(_key(name, "", end.rack), Kind.SWITCH, name, line, rack=end.rack, place=end.height, text=name)
        return d, int(split[1]) * 1000 + int(split[2]), end.label
    if port := _PORT.match(end.label):
        d = out.device(_key(name, "", end.rack), Kind.SWITCH, name, line, rack=end.rack, place=end.height, text=name)
        return d, int(port[1]), ""
    host = f"{end.rack} {name}" if name in shared else name
    text = f"{name} {end.label}"
    d = out.device(
        _key(host, end.label), Kind.ADAPTER, host, line, unit=end.label, rack=end.rack, place=end.height, text=text, ports=1
    )
    return d, 1, ""


def _key(name: str, unit: str, rack: str = "") -> str:
    """Identity of a device in a sheet. One switch name in two racks is two switches: the check of names says so."""
    return f"{name}\0{unit}\0{rack}".casefold()
