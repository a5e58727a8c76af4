# SPDX-License-Identifier: Apache-2.0
"""Quantities with units: text on the outside, SI floats (bytes/s, seconds, bytes, FLOP/s) on the inside.

>>> parse_quantity("800 Gb/s", "bandwidth") == parse_quantity("100 GB/s", "bandwidth") == 100e9
True
>>> format_time(3.2e-6), format_bandwidth(100e9), format_count(220032)
('3.20 us', '800 Gb/s', '220,032')
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[,_]\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}


@dataclass(frozen=True)
class Dimension:
    """A kind of quantity. `units`: spelling -> factor to SI; larger values than `most` are typing errors."""

    name: str
    units: Mapping[str, float]
    most: float
    help: str
    why: str


class UnitError(ValueError):
    """Text that is no quantity of the wanted kind. `name` ends a diagnostic's name; `label` goes under the caret."""

    def __init__(self, name: str, message: str, label: str = "", help: str = "") -> None:
        self.name, self.message, self.label, self.help = name, message, label, help
        super().__init__(f"{message}; {help}" if help else message)


def _prefixed(endings: Mapping[str, float], prefixes: Mapping[str, float]) -> dict[str, float]:
    return {p + unit: f * factor for unit, factor in endings.items() for p, f in prefixes.items()}


_BITS = {"b/s": 0.125, "bit/s": 0.125, "bps": 0.125}
_BYTES = {"B/s": 1.0}
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FLOPS = {"FLOP/s": 1.0, "FLOPS": 1.0, "F/s": 1.0}

DIMENSIONS: Mapping[str, Dimension] = MappingProxyType({
    "bandwidth": Dimension(
        "bandwidth", _prefixed(_BITS | _BYTES, _DECIMAL) | _prefixed(_BYTES, _BINARY), 1e18,
        "write `400 Gb/s` (bits, as ports are sold) or `50 GB/s` (bytes)", "Gb/s and GB/s differ by 8x"),
    "time": Dimension("time", _SECONDS, 1e10, "write `1.3 us` or `2 ms`", "us and ms differ by 1000x"),
    "bytes": Dimension(
        "bytes", _prefixed({"B": 1.0}, _DECIMAL | _BINARY), 1e21, "write `288 GB` or `268 GiB`", "GB and GiB differ by 7 %"),
    "flops": Dimension(
        "flops", _prefixed(_FLOPS, _DECIMAL), 1e21, "write `2.5 PFLOP/s` or `989 TFLOP/s`", "TFLOP/s and PFLOP/s differ 1000x"
    ),
    "power": Dimension(
        "power", _prefixed({"W": 1.0}, _DECIMAL), 1e12, "write `1400 W` or `142 kW`", "W and kW differ by 1000x"
    ),
})  # fmt: skip

_NOUN = MappingProxyType({"bandwidth": "bandwidth", "time": "time", "bytes": "size", "flops": "speed", "power": "power"})


def parse_quantity(text: str, dimension: str) -> float:
    """SI value of `text`, such as "800 Gb/s" -> 1e11 (bytes/s). The unit is required. Raises UnitError.

    `dimension`: bandwidth (bytes/s), time (s), bytes, flops (FLOP/s), power (W).
    """
    kind = DIMENSIONS[dimension]
    noun = _NOUN[dimension]
    stripped = str(text).strip()
    match = _NUMBER.match(stripped)
    if not match:
        raise UnitError("bad-quantity", f"`{_short(stripped)}` is not a {noun}", "a number and a unit belong here", kind.help)
    unit = stripped[match.end() :].strip()
    if not unit:
        raise UnitError(f"{dimension}-unit", f"{noun} has no unit", kind.why, kind.help)
    if unit not in kind.units:
        near = (
            difflib.get_close_matches(unit, kind.units, 1, 0.5) if dimension != "bandwidth" else []
        )  # bits or bytes: never guess
        help = f"did you mean `{match.group()} {near[0]}`?" if near else kind.help
        raise UnitError(f"{dimension}-unit", f"`{_short(unit)}` is not a unit of {noun}", "", help)
    value = float(match.group().replace(",", "").replace("_", "")) * kind.units[unit]
    if not isfinite(value) or value > kind.most:
        raise UnitError("absurd-number", f"a {noun} of `{_short(stripped)}` is impossibly large", "", "check the unit")
    if value < 0:
        raise UnitError("negative-number", f"a {noun} cannot be negative", "", "")
    return value


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """Three significant digits with the largest unit that leaves at least 1."""
    factor, unit = next(((f, u) for f, u in units if abs(value) >= f * 0.9995), units[-1])
    number = value / factor
    digits = 0 if abs(number) >= 99.95 else 1 if abs(number) >= 9.995 else 2
    return f"{number:,.{digits}f} {unit}"


def format_bandwidth(value_Bps: float) -> str:
    """Bits per second, as ports are sold: `800 Gb/s`, `14.4 Tb/s`."""
    units = ((1e15, "Pb/s"), (1e12, "Tb/s"), (1e9, "Gb/s"), (1e6, "Mb/s"), (1e3, "kb/s"), (1.0, "b/s"))
    return "unlimited" if value_Bps == float("inf") else _scaled(value_Bps * 8, units)


def format_Bps(value_Bps: float) -> str:
    """Bytes per second, as collectives are reported: `667 GB/s`."""
    return _scaled(value_Bps, ((1e15, "PB/s"), (1e12, "TB/s"), (1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")))


def format_bytes(value_bytes: float, binary: bool = False) -> str:
    """`288 GB`, or `268 GiB` with `binary`."""
    if binary:
        return _scaled(value_bytes, ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")))
    return _scaled(value_bytes, ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")))


def format_time(value_s: float) -> str:
    """`12.6 s`, `3.20 us`, `14.0 min`."""
    if abs(value_s) >= 120:
        return _scaled(value_s, ((86400.0, "d"), (3600.0, "h"), (60.0, "min")))
    return _scaled(value_s, ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))) if value_s else "0 s"


def format_flops(value: float) -> str:
    """`2.45 PFLOP/s`."""
    return _scaled(value, ((1e18, "EFLOP/s"), (1e15, "PFLOP/s"), (1e12, "TFLOP/s"), (1e9, "GFLOP/s"), (1.0, "FLOP/s")))


def format_count(value: int) -> str:
    """`220,032`."""
    return f"{value:,}"
