# SPDX-License-Identifier: Apache-2.0
"""The pipeline of a step: a row a stage, forward, backward and weight gradients in colour, waiting left blank."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from placement.report.html.svg import CATEGORIES, legend, line, num, path, picture, text
from placement.report.text import percent, seconds

if TYPE_CHECKING:
    from placement.cost.pipeline import Timeline
    from placement.ir._array import Floats, Ints
    from placement.report.html.facts import Facts

LIMIT = 6000  # pieces of work that are drawn; longer steps show how they begin and how they end
KINDS = {"forward": 4, "backward": 2, "dgrad": 2, "wgrad": 6}
LEFT, WIDE, ROW = 90.0, 960.0, 18.0


def timeline(f: Facts) -> str:
    """The simulated step, or its first and last pieces where there are too many to see."""
    found = f.timeline
    pp, end_s = len(found.busy_s_P), found.makespan_s
    row = ROW if pp <= 32 else 9.0
    windows = _windows(found)
    wide = (WIDE - LEFT - 80 - 20 * (len(windows) - 1)) / len(windows)
    used = sorted(set(found.kind.tolist()))
    names = [list(KINDS)[k] for k in used]
    body = legend(LEFT, 18, [(n, CATEGORIES[KINDS[n]]) for n in names])
    for w, (from_s, to_s) in enumerate(windows):
        x0, scale = LEFT + w * (wide + 20), wide / (to_s - from_s or 1.0)
        inside = (found.end_s > from_s) & (found.start_s < to_s)
        for kind, name in zip(used, names, strict=True):
            some = inside & (found.kind == kind)
            start, stop = np.maximum(found.start_s[some], from_s), np.minimum(found.end_s[some], to_s)
            at = zip(
                (x0 + (start - from_s) * scale).tolist(),
                ((stop - start) * scale).tolist(),
                found.stage[some].tolist(),
                strict=True,
            )
            cells = "".join(
                f"M{num(x)} {num(32 + row * p)}h{num(max(n - 0.25, 0.2))}v{num(row - 3)}h-{num(max(n - 0.25, 0.2))}z"
                for x, n, p in at
            )
            body.append(path(cells, CATEGORIES[KINDS[name]], "", name))
            if row >= ROW:
                body += _numbers(
                    x0 + (start - from_s) * scale, (stop - start) * scale, found.stage[some], found.microbatch[some]
                )
        low = 32 + row * pp
        body += [
            line(x0, low + 2, x0 + wide, low + 2),
            text(x0, low + 18, seconds(from_s), "dim"),
            text(x0 + wide, low + 18, seconds(to_s), "dim end"),
        ]
    for p, busy in enumerate(found.busy_s_P.tolist()):
        body.append(text(LEFT - 8, 32 + row * p + row / 2 + 3, f"stage {p}", "end"))
        body.append(text(WIDE - 4, 32 + row * p + row / 2 + 3, percent(busy / end_s if end_s else 0.0), "end dim"))
    body.append(text(WIDE - 4, 18, "busy", "end dim"))
    what = "" if len(windows) == 1 else f", first and last {seconds(windows[0][1] - windows[0][0])} of it"
    return picture(WIDE, 32 + row * pp + 28, f"Pipeline of one step: {seconds(end_s)}{what} (simulated)", body)


def _windows(found: Timeline) -> list[tuple[float, float]]:
    """Spans of time that are drawn: all of the step, or as much of its start and end as `LIMIT` pieces fill."""
    count = len(found.start_s)
    if count <= LIMIT:
        return [(0.0, found.makespan_s)]
    span = min(
        float(np.partition(found.end_s, LIMIT // 2)[LIMIT // 2]),
        found.makespan_s - float(np.partition(found.start_s, count - LIMIT // 2)[count - LIMIT // 2]),
    )
    return [(0.0, span), (found.makespan_s - span, found.makespan_s)]


def _numbers(x_X: Floats, wide_X: Floats, stage_X: Ints, microbatch_X: Ints) -> list[str]:
    """The microbatch in each piece that is wide enough for its number, as the figures of Megatron and zero bubble have it."""
    room = wide_X >= 8 + 7 * np.char.str_len(microbatch_X.astype(str))
    at = zip((x_X + wide_X / 2)[room].tolist(), stage_X[room].tolist(), microbatch_X[room].tolist(), strict=True)
    return [text(x, 43 + ROW * p, str(m), "mid on-light small") for x, p, m in at]
