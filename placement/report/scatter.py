# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured throughput as SVG, written by hand: every run a point, its 80 % interval a line."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping
from typing import Any

from placement.report.svg import COLOURS

SIZE, LEFT, RIGHT, TOP, BOTTOM = 640, 70, 170, 40, 56
MARKS = {"dense": "circle", "moe": "square"}
Row = Mapping[str, Any]


def scatter(report: Mapping[str, Any]) -> str:
    """An SVG document: tokens/s of one GPU, logarithmic, colours by hardware, squares for mixtures of experts."""
    rows = [r for r in report["runs"] if r["error"] is not None]
    values = [v for r in rows for v in (r["measured_tokens_per_s_per_gpu"], r["tokens_per_s_per_gpu"])]
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))) if values else (0, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE + RIGHT} {SIZE}" font-family="sans-serif" font-size="12">',
        "<title>Predicted against measured</title>", f'<rect width="{SIZE + RIGHT}" height="{SIZE}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="14">Tokens a second of a GPU: predicted against measured, {len(rows)} runs</text>',
        *_axes(low, high), *_points(rows, low, high),
    ]  # fmt: skip
    return "\n".join([*parts, "</svg>"]) + "\n"


def _at(value: float, low: float, high: float) -> float:
    """Share of the axis, 0 to 1."""
    return (math.log10(value) - low) / (high - low)


def _x(share: float) -> float:
    return LEFT + share * (SIZE - LEFT)


def _y(share: float) -> float:
    return SIZE - BOTTOM - share * (SIZE - BOTTOM - TOP)


def _axes(low: int, high: int) -> Iterator[str]:
    for power in range(low, high + 1):
        share = (power - low) / (high - low)
        yield f'<path d="M{_x(share):.1f} {_y(0):.1f}V{TOP}M{LEFT} {_y(share):.1f}H{SIZE}" stroke="#e5e5e5" fill="none"/>'
        yield f'<text x="{_x(share):.1f}" y="{_y(0) + 18:.1f}" text-anchor="middle">{10**power:,}</text>'
        yield f'<text x="{LEFT - 6}" y="{_y(share) + 4:.1f}" text-anchor="end">{10**power:,}</text>'
    yield f'<path d="M{_x(0):.1f} {_y(0):.1f}L{_x(1):.1f} {_y(1):.1f}" stroke="#999" stroke-dasharray="4 3"/>'
    yield f'<text x="{(LEFT + SIZE) / 2}" y="{SIZE - 14}" text-anchor="middle">measured</text>'
    turned = f'transform="rotate(-90 16 {SIZE / 2})" text-anchor="middle"'
    yield f'<text x="16" y="{SIZE / 2}" {turned}>predicted</text>'


def _points(rows: list[Row], low: int, high: int) -> Iterator[str]:
    kinds = sorted({r["hardware"] for r in rows})
    for row in rows:
        colour = COLOURS[kinds.index(row["hardware"]) % len(COLOURS)]
        measured, predicted = row["measured_tokens_per_s_per_gpu"], row["tokens_per_s_per_gpu"]
        x, y = _x(_at(measured, low, high)), _y(_at(predicted, low, high))
        title = f"<title>{html.escape(row['id'])}: {row['error'] * 100:+.1f} %</title>"
        if row["interval_s"]:
            ends = (predicted * row["predicted_step_time_s"] / s for s in row["interval_s"])
            top, bottom = (_y(_at(v, low, high)) for v in ends)
            yield f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-opacity="0.3"/>'
        if MARKS.get(row["kind"]) == "square":
            yield f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}">{title}</rect>'
        else:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}">{title}</circle>'
    for i, kind in enumerate(kinds):
        y = TOP + 18 * i
        yield f'<circle cx="{SIZE + 18}" cy="{y}" r="4" fill="{COLOURS[i % len(COLOURS)]}"/>'
        yield f'<text x="{SIZE + 28}" y="{y + 4}">{html.escape(kind)}</text>'
    yield f'<text x="{SIZE + 12}" y="{TOP + 18 * len(kinds) + 10}">squares: experts</text>'
