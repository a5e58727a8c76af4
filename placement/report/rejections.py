# SPDX-License-Identifier: Apache-2.0
"""The histogram of rejected strategies: infeasible is a result with reasons."""

from __future__ import annotations

from collections.abc import Mapping

from placement.diag import Infeasible
from placement.report.style import PLAIN, Style, safe
from placement.report.text import table

WIDTH = 100


def histogram_line(feasible: int, enumerated: int, rejected: Mapping[str, int]) -> str:
    """`212 feasible of 1,184: memory 611, divisibility 298, tp>node 63`."""
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in ranked(rejected))
    return f"{feasible:,} feasible of {enumerated:,}" + (f": {reasons}" if reasons else "")


def histogram(feasible: int, enumerated: int, rejected: Mapping[str, int], indent: str = "  ") -> list[str]:
    """The histogram on one line if it fits a screen, else one reason a line."""
    line = histogram_line(feasible, enumerated, rejected)
    if len(line) <= WIDTH:
        return [line]
    rows = [[f"{n:,}", safe(reason)] for reason, n in ranked(rejected)]
    return [f"{feasible:,} feasible of {enumerated:,}; not taken:", *(indent + row for row in table(rows, "><"))]


def ranked(rejected: Mapping[str, int]) -> list[tuple[str, int]]:
    """Reasons by count, most frequent first, ties by name; reasons that rejected nothing are left out."""
    return sorted(((r, n) for r, n in rejected.items() if n), key=lambda item: (-item[1], item[0]))


def infeasible_text(error: Infeasible, style: Style = PLAIN) -> str:
    """Why no plan fits: the message, the histogram, one reason a line with its share, and what to change."""
    total = sum(error.rejected.values())
    lines = [f"{style('error[plan/infeasible]', 'red', 'bold')}: {style(safe(str(error)), 'bold')}"]
    if total:
        lines += [f"  {line}" for line in histogram(0, total, error.rejected)]
    if error.help:
        lines.append(f"  = {style('help:', 'cyan')} {safe(error.help)}")
    return "\n".join([*lines, "  see: placement explain plan/infeasible"])
