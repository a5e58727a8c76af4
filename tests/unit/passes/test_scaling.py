# SPDX-License-Identifier: Apache-2.0
"""Scaling studies: Amdahl's share and where GPU time goes."""

import pytest

from placement.ir import PARTS
from placement.passes.scaling import Point, scaling
from placement.report.scaling import screen


def point(gpus: int, step_s: float, **parts: float) -> Point:
    parts_s = dict.fromkeys(PARTS, 0.0) | parts
    return Point(
        gpus, gpus, step_s, 0.5, 1000.0 / step_s, None, None, "tp 1", parts_s | {"compute": step_s - sum(parts.values())}
    )


def test_amdahl_share_of_a_known_case():
    """10 s on one GPU, of which 1 s does not scale: 1.9 s on ten, a speed-up of 5.26, a serial share of 10 %."""
    first, tenth = scaling([point(1, 10.0), point(10, 1.9, overhead=1.0)])
    assert first["efficiency"] == 1.0
    assert first["serial_share"] is None
    assert tenth["speed_up"] == pytest.approx(10 / 1.9)
    assert tenth["serial_share"] == pytest.approx(0.1)
    assert tenth["lost"]["overhead"] == pytest.approx(1.0)
    assert sum(tenth["lost"].values()) == pytest.approx(1 / tenth["efficiency"] - 1)


def test_a_size_without_a_plan_keeps_its_row():
    """With its reason, and the others beside the smallest that has a plan."""
    rows = scaling([Point(4, reason="no strategy fits"), point(8, 2.0), point(16, 1.0)])
    assert rows[0]["step_time_s"] is None
    assert rows[2]["efficiency"] == pytest.approx(1.0)
    assert "no strategy fits" in screen(rows)
