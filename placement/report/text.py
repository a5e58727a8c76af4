# SPDX-License-Identifier: Apache-2.0
"""Numbers, tables and bars as people of this field read them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from placement.report.style import columns, pad, safe

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SI = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def seconds(s: float) -> str:
    """A duration in the unit that shows three digits: `12.60 s`, `3.21 ms`, `1.3 us`.

    >>> seconds(12.6), seconds(0.00321), seconds(1.3e-6), seconds(0.0)
    ('12.60 s', '3.21 ms', '1.30 us', '0 s')
    """
    if s == 0:
        return "0 s"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(s) >= factor:
            return f"{s / factor:.{2 if abs(s) < 100 * factor else 1}f} {unit}"
    return f"{s * 1e9:.2f} ns"


def si(value: float, unit: str) -> str:
    """A quantity with an SI prefix and three significant digits: `333 k tok/s` is `si(333e3, "tok/s")`.

    >>> si(333_000, "tok/s"), si(4.2e12, "B"), si(7, "B"), si(1.0e13, "parameters")
    ('333 ktok/s', '4.20 TB', '7 B', '10.0 Tparameters')
    """
    power = 0
    while abs(value) >= 999.5 and power < len(_SI) - 1:
        value, power = value / 1000, power + 1
    digits = 0 if power == 0 and float(value).is_integer() else max(0, 2 - len(str(int(abs(value)))) + 1)
    return f"{value:.{digits}f} {_SI[power]}{unit}".rstrip()


def amount(n: float) -> str:
    """A count as model cards write it, with three digits: `9.98 T`, `405 B`, `70.6 M`.

    >>> amount(9_980_543_833_344), amount(405e9), amount(12)
    ('9.98 T', '405 B', '12')
    """
    return si(n, "").replace("G", "B").strip()


def counted(n: int, one: str, many: str = "") -> str:
    """`1 group`, `2 groups`, `3 microbatches`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def gib(num_bytes: float) -> str:
    """Memory in GiB with one decimal, as nvidia-smi users expect: `47.1 GiB`."""
    return f"{num_bytes / 2**30:.1f} GiB"


def percent(share: float) -> str:
    """`41.1 %`; tiny but present shares read `<0.1 %`."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def change(new: float, old: float) -> str:
    """Relative change from `old` to `new`: `-9.9 %`, `same`, or nothing if there is no old value."""
    if old == 0:
        return "" if new == 0 else "new"
    ratio = new / old - 1
    return "same" if abs(ratio) < 5e-4 else f"{ratio * 100:+.1f} %"


def bar(share: float, width: int = 44) -> str:
    """A horizontal bar of eighths of a character; anything above zero shows at least one eighth."""
    eighths = max(1, round(share * width * 8)) if share > 0 else 0
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")


def table(rows: Sequence[Sequence[str]], align: str = "", gap: int = 3, indent: int = 2) -> list[str]:
    """Rows as aligned lines. `align` has `<` or `>` per column (default left); trailing spaces are cut.

    Cells may hold names from files, so control characters are replaced; colour is added outside of tables.
    """
    if not rows:
        return []
    rows = [[safe(cell) for cell in row] for row in rows]
    num = max(len(r) for r in rows)
    align = align.ljust(num, "<")
    width = [max((columns(r[i]) for r in rows if i < len(r)), default=0) for i in range(num)]
    return [(" " * indent + (" " * gap).join(pad(c, width[i], align[i]) for i, c in enumerate(row))).rstrip() for row in rows]


def fold_rows(rows: Sequence[Sequence[str]], limit: int = 16) -> list[Sequence[str]]:
    """At most `limit` rows: the first and last ones, with a line between that counts the rest."""
    if len(rows) <= limit:
        return list(rows)
    tail = limit // 4
    head = limit - 1 - tail
    return [*rows[:head], [f"… {len(rows) - head - tail} more"], *rows[len(rows) - tail :]]


def ranges(numbers: Sequence[int]) -> str:
    """Ascending integers as ranges: `0-22`, `0-3,8-11`; a constant stride reads `0-56:8`.

    >>> ranges([0, 1, 2, 8, 9]), ranges([0, 8, 16, 24]), ranges([5]), ranges([])
    ('0-2,8-9', '0-24:8', '5', '')
    """
    n = list(numbers)
    if len(n) > 2 and n[1] - n[0] > 1 and all(b - a == n[1] - n[0] for a, b in pairwise(n)):
        return f"{n[0]}-{n[-1]}:{n[1] - n[0]}"
    runs: list[list[int]] = []
    for x in n:
        if runs and x == runs[-1][1] + 1:
            runs[-1][1] = x
        else:
            runs.append([x, x])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
