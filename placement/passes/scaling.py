# SPDX-License-Identifier: Apache-2.0
"""What stops a job from scaling: plans over cluster sizes, decomposed as Amdahl would.

GPU-seconds a token are constant where scaling is perfect. What they grow by, part by part, is what a larger cluster wastes; and
the growth of the whole, put into Amdahl's law between two sizes, is the share of the work that does not scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from placement.ir import PARTS, Plan


@dataclass(frozen=True)
class Point:
    """One size. `gpus` asked for; the others None where no plan was found, with the `reason`."""

    gpus: int
    world_size: int | None = None
    step_s: float | None = None
    mfu: float | None = None
    tokens_per_s: float | None = None
    low_s: float | None = None
    high_s: float | None = None
    strategy: str = ""
    parts_s: dict[str, float] | None = None
    reason: str = ""


def point_of(gpus: int, plan: Plan, strategy: str, interval_s: tuple[float, float] | None) -> Point:
    """A plan as a point of a scaling study."""
    cost, world = plan.chosen.cost, plan.chosen.strategy.world_size
    low_s, high_s = interval_s or (None, None)
    return Point(
        gpus, world, cost.step_s, cost.mfu, cost.tokens_per_s_per_gpu * world, low_s, high_s, strategy,
        {name: cost.parts_s[name] for name in PARTS},
    )  # fmt: skip


def scaling(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Each size beside the smallest that has a plan: speed-up, efficiency, serial share, and growth of GPU time by part.

    `efficiency` throughput a GPU over that of the smallest. `serial_share` f of Amdahl's law S = 1 / (f + (1 - f) / r) for r
    times as many GPUs, None for the smallest. `lost` by part: growth of GPU-seconds a token, as a share of the smallest's.
    """
    known = [p for p in points if p.step_s is not None]
    out = []
    for p in points:
        row: dict[str, Any] = {
            "gpus": p.gpus, "world_size": p.world_size, "step_time_s": p.step_s, "mfu": p.mfu, "tokens_per_s": p.tokens_per_s,
            "interval_s": [p.low_s, p.high_s] if p.low_s else None, "strategy": p.strategy, "breakdown_s": p.parts_s,
            "reason": p.reason, "speed_up": None, "efficiency": None, "serial_share": None, "lost": None,
        }  # fmt: skip
        out.append(row | _beside(known[0], p) if known and p.step_s else row)
    return out


def _beside(first: Point, p: Point) -> dict[str, Any]:
    assert first.world_size and first.tokens_per_s and first.parts_s and p.world_size and p.tokens_per_s and p.parts_s
    speed_up, ratio = p.tokens_per_s / first.tokens_per_s, p.world_size / first.world_size
    serial = (ratio / speed_up - 1.0) / (ratio - 1.0) if ratio > 1 else None
    whole = first.world_size / first.tokens_per_s  # GPU-seconds a token
    lost = {name: (_gpu_s(p, name) - _gpu_s(first, name)) / whole for name in PARTS}
    return {"speed_up": speed_up, "efficiency": speed_up / ratio, "serial_share": serial, "lost": lost}


def _gpu_s(p: Point, part: str) -> float:
    """GPU-seconds of a part for each token."""
    assert p.parts_s and p.step_s and p.world_size and p.tokens_per_s
    return p.parts_s[part] / p.step_s * p.world_size / p.tokens_per_s
