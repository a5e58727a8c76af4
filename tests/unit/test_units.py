# SPDX-License-Identifier: Apache-2.0
"""Quantities: text with units to SI and back."""

from __future__ import annotations

import pytest

from placement.units import (
    UnitError,
    format_bandwidth,
    format_Bps,
    format_bytes,
    format_count,
    format_flops,
    format_time,
    parse_quantity,
)

VALUES = [
    ("800 Gb/s", "bandwidth", 100e9),
    ("100 GB/s", "bandwidth", 100e9),
    ("400Gbit/s", "bandwidth", 50e9),
    ("400 Gbps", "bandwidth", 50e9),
    ("1 GiB/s", "bandwidth", 2.0**30),
    ("1.3 us", "time", 1.3e-6),
    ("1.3 µs", "time", 1.3e-6),
    ("1.3 μs", "time", 1.3e-6),
    ("0 s", "time", 0.0),
    ("284208 MiB", "bytes", 284208 * 2.0**20),
    ("1,000 kB", "bytes", 1e6),
    ("2.5 PFLOP/s", "flops", 2.5e15),
    (" 989  TFLOPS ", "flops", 989e12),
    ("142 kW", "power", 142e3),
]


@pytest.mark.parametrize(("text", "dimension", "value"), VALUES)
def test_known_units(text: str, dimension: str, value: float) -> None:
    """A number with a unit becomes bytes/s, seconds, bytes, FLOP/s or watts."""
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-12)


BANDWIDTH_HELP = "write `400 Gb/s` (bits, as ports are sold) or `50 GB/s` (bytes)"
ERRORS = [
    ("400", "bandwidth", "bandwidth-unit: bandwidth has no unit; " + BANDWIDTH_HELP),
    ("400 gb/s", "bandwidth",
     "bandwidth-unit: `gb/s` is not a unit of bandwidth; " + BANDWIDTH_HELP),
    ("1.3", "time", "time-unit: time has no unit; write `1.3 us` or `2 ms`"),
    ("80 Gb", "bytes", "bytes-unit: `Gb` is not a unit of size; did you mean `80 GB`?"),
    ("fast", "bandwidth", "bad-quantity: `fast` is not a bandwidth; " + BANDWIDTH_HELP),
    ("nan s", "time", "bad-quantity: `nan s` is not a time; write `1.3 us` or `2 ms`"),
    ("inf GB/s", "bandwidth",
     "bad-quantity: `inf GB/s` is not a bandwidth; " + BANDWIDTH_HELP),
    ("1e400 s", "time", "absurd-number: a time of `1e400 s` is impossibly large; check the unit"),
    ("9e15 GB/s", "bandwidth", "absurd-number: a bandwidth of `9e15 GB/s` is impossibly large; check the unit"),
    ("-1 us", "time", "negative-number: a time cannot be negative"),
    ("", "bytes", "bad-quantity: `` is not a size; write `288 GB` or `268 GiB`"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dimension", "message"), ERRORS)
def test_whole_messages(text: str, dimension: str, message: str) -> None:
    """What cannot be read says why, and what to write instead."""
    with pytest.raises(UnitError) as caught:
        parse_quantity(text, dimension)
    assert f"{caught.value.name}: {caught.value}" == message


def test_bits_and_bytes_differ() -> None:
    """Gb/s and GB/s differ by eight: the case of the letter decides."""
    assert parse_quantity("8 Gb/s", "bandwidth") == parse_quantity("1 GB/s", "bandwidth")


def test_formats_for_people() -> None:
    """Three digits, the largest unit that leaves at least 1, and no surprise at the edges."""
    assert [format_bandwidth(x) for x in (100e9, 12.5e9, 900e9, float("inf"))] == [
        "800 Gb/s",
        "100 Gb/s",
        "7.20 Tb/s",
        "unlimited",
    ]
    assert [format_Bps(x) for x in (667e9, 47.7e9, 2.0)] == ["667 GB/s", "47.7 GB/s", "2.00 B/s"]
    assert [format_bytes(288e9), format_bytes(2.0**30, binary=True), format_bytes(999.9)] == ["288 GB", "1.00 GiB", "1.00 kB"]
    assert [format_time(x) for x in (12.6, 3.2e-6, 840.0, 0.0, 7200.0)] == ["12.6 s", "3.20 us", "14.0 min", "0 s", "2.00 h"]
    assert [format_flops(2.45e15), format_count(220032)] == ["2.45 PFLOP/s", "220,032"]
