# SPDX-License-Identifier: Apache-2.0
"""Line plots as SVG, written by hand: no library, the same bytes every time."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 190, 40, 52
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#000000")  # Okabe and Ito 2008
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True)
class Line:
    """One line of a plot. `steps`: the value holds until the next point."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    steps: bool = False


def plot(
    title: str, lines: Sequence[Line], x_label: str, y_label: str, *, y_range: tuple[float, float] | None = None
) -> str:  # fmt: skip
    """An SVG document: axes with round ticks, one line a series, a legend at the right."""
    xs, ys = [v for line in lines for v in line.x], [v for line in lines for v in line.y]
    x0, x1 = min(xs, default=0.0), max(xs, default=1.0)
    y0, y1 = y_range or (min(ys, default=0.0), max(ys, default=1.0))
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">{html.escape(title)}</text>',
    ]
    for x in ticks(x0, x1):
        a, b = at(x, y0)
        parts.append(f'<path d="M{a:.1f} {b:.1f}V{TOP}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{a:.1f}" y="{b + 16:.1f}" text-anchor="middle">{_short(x)}</text>')
    for y in ticks(y0, y1):
        a, b = at(x0, y)
        parts.append(f'<path d="M{a:.1f} {b:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{a - 6:.1f}" y="{b + 4:.1f}" text-anchor="end">{_short(y)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{html.escape(x_label)}</text>')
    turned = f'transform="rotate(-90 14 {HEIGHT / 2})" text-anchor="middle"'
    parts.append(f'<text x="14" y="{HEIGHT / 2}" {turned}>{html.escape(y_label)}</text>')
    for i, line in enumerate(lines):
        parts += _drawn(line, i, [at(x, min(max(y, y0), y1)) for x, y in zip(line.x, line.y, strict=True)])
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(line: Line, i: int, points: Sequence[tuple[float, float]]) -> list[str]:
    colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
    stroke = f'stroke="{colour}" stroke-width="1.8" fill="none"' + (f' stroke-dasharray="{dash}"' if dash else "")
    path = "".join(
        (f"M{a:.1f} {b:.1f}" if k == 0 else (f"H{a:.1f}V{b:.1f}" if line.steps else f"L{a:.1f} {b:.1f}"))
        for k, (a, b) in enumerate(points)
    )
    y = TOP + 10 + 18 * i
    return [
        f'<path d="{path}" {stroke}/>',
        f'<path d="M{WIDTH - RIGHT + 12} {y}h22" {stroke}/>',
        f'<text x="{WIDTH - RIGHT + 40}" y="{y + 4}">{html.escape(line.name)}</text>',
    ]


def ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Round numbers between two values, at most so many.

    >>> ticks(0, 1), ticks(0, 24)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 5.0, 10.0, 15.0, 20.0])
    """
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value: float) -> str:
    return f"{value:.10g}"
