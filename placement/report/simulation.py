# SPDX-License-Identifier: Apache-2.0
"""The screen of `simulate`: how long each stage computes, communicates and waits in a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from placement.report.text import counted, percent, seconds, table

if TYPE_CHECKING:
    from placement.passes.timeline import Events


def facts(events: Events) -> dict[str, Any]:
    """Busy seconds of every lane of every stage, and the whole."""
    from placement.passes.timeline import LANES

    stages = sorted(set(events.stage.tolist()))
    busy = {
        lane: [float(events.seconds[(events.stage == p) & (events.lane == i)].sum()) for p in stages]
        for i, lane in enumerate(LANES)
    }
    end_s = float(np.max(events.start_s + events.seconds))
    return {"step_time_s": events.step_s, "last_event_ends_s": end_s, "events": len(events.seconds), "busy_s": busy}


def screen(told: dict[str, Any]) -> str:
    """The text of `simulate`."""
    lanes = list(told["busy_s"])
    rows = [
        [
            str(p),
            *(seconds(told["busy_s"][lane][p]) for lane in lanes),
            percent(told["busy_s"]["compute"][p] / told["step_time_s"]),
        ]
        for p in range(len(told["busy_s"]["compute"]))
    ]
    return "\n".join([
        f"One step: {seconds(told['step_time_s'])}, {counted(told['events'], 'event')}",
        "",
        *table([["stage", *lanes, "computes"], *rows], ">" * (len(lanes) + 2)),
        "",
        "communication inside a piece of work is part of its compute time; what is hidden runs beside it",
    ])  # fmt: skip
