# SPDX-License-Identifier: Apache-2.0
# X tp degree   Y pp degree
"""What else was considered: the best others, the whole space by tensor and pipeline degree, and why the rest lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from placement.report.html.svg import CATEGORIES, line, num, path, picture, ramp, rect, text
from placement.report.rejections import ranked
from placement.report.strategy import choices, degrees
from placement.report.text import change, seconds

if TYPE_CHECKING:
    from placement.ir._array import Ints
    from placement.passes.landscape import Landscape
    from placement.report.html.facts import Facts

WIDE, LEFT = 960.0, 90.0
OTHERS = 10  # runners-up that are drawn
COLUMNS = 24  # pipeline degrees that are drawn; deeper pipelines than that are rarely near the best
BEST, WORST = 0.7, 2.0  # times the plan between which the colours run


def landscape(f: Facts) -> str:
    """Three pictures in one: the fastest others, the least time by (tp, pp), and how many fell to which rule."""
    body, low = _others(f)
    for part in (_grid, _rejected):
        more, low = part(f, low + 26)
        body += more
    return picture(WIDE, low + 10, "Strategies that were considered, and why they lost", body)


def _others(f: Facts) -> tuple[list[str], float]:
    """This plan and the best strategies that were placed and priced in full, beside the bound."""
    chosen_s = float(f.tree["predicted"]["step_time_s"])
    rows = [("this plan", f.tree["strategy"], chosen_s)]
    others = [r for r in f.tree["search"]["runners_up"] if r["strategy"] != f.tree["strategy"]][:OTHERS]
    rows += [(f"#{i}", r["strategy"], float(r["step_time_s"])) for i, r in enumerate(others, 2)]
    longest = max(s for _, _, s in rows) or 1.0
    body, bound = [], float(f.tree["bound"]["step_time_s"])
    if bound > 0:
        x = LEFT + bound / longest * 560
        body += [line(x, 22, x, 54, "limit"), text(x, 16, f"bound {seconds(bound)}", "mid strong")]
    for i, (name, strategy, s) in enumerate(rows):
        y, wide = 30.0 + 40 * i, s / longest * 560
        body.append(text(82, y + 15, name, "end strong" if i == 0 else "end"))
        body.append(rect(LEFT, y, wide, 20, CATEGORIES[0 if i == 0 else 4], "", f"{degrees(strategy)}: {seconds(s)}"))
        body.append(text(LEFT + 6 + wide, y + 15, f"{seconds(s)} {change(s, chosen_s) if i else ''}", "strong"))
        body.append(text(LEFT, y + 33, f"{degrees(strategy)} · {choices(strategy)}", "dim"))
    return body, 30.0 + 40 * len(rows)


def _grid(f: Facts, top: float) -> tuple[list[str], float]:
    """Least time of any strategy with these tensor and pipeline degrees, as a multiple of the plan's step."""
    found = f.landscape
    y_C = _columns(found, f.strategy.pp)
    if len(found.tp_X) * len(y_C) < 2:
        return [], top - 26
    wide, high = min((WIDE - LEFT - 20) / len(y_C), 44.0), 24.0
    ratio_XC = found.least_s_XY[:, y_C] / float(f.tree["predicted"]["step_time_s"])
    below = "opened, and nothing faster was found" if f.tree["bound"]["proven"] else "could be faster, as far as is known"
    body = [
        text(LEFT, top + 6, "Least time that any strategy of these degrees could take, this plan = 1 (optimistic)", "strong"),
        text(LEFT, top + 24, f"below 1: {below}.  above 1: slower, whatever else is chosen.  hatched: nothing fits", "dim"),
        text(82, top + 46, "tp, pp", "end dim"),
    ]  # fmt: skip
    body += [text(LEFT + wide * (c + 0.5), top + 46, str(found.pp_Y[y]), "mid dim") for c, y in enumerate(y_C.tolist())]
    for i, tp in enumerate(found.tp_X.tolist()):
        y = top + 52 + high * i
        body.append(text(82, y + 16, str(tp), "end dim"))
        for c, at in enumerate(y_C.tolist()):
            title = f"tp {tp}, pp {found.pp_Y[at]}: {int(found.count_XY[i, at]):,} strategies"
            body += _cell(LEFT + wide * c, y, wide - 1, high - 1, float(ratio_XC[i, c]), title)
            if tp == f.strategy.tp and found.pp_Y[at] == f.strategy.pp:
                body.append(
                    path(f"M{num(LEFT + wide * c)} {num(y)}h{num(wide - 1)}v{num(high - 1)}h-{num(wide - 1)}z", "", "chosen")
                )
    return body, top + 52 + high * len(found.tp_X)


def _columns(found: Landscape, pp: int) -> Ints:
    """Pipeline degrees to draw: those at which anything fits, the shallow ones first, and the plan's own."""
    some = np.flatnonzero(np.isfinite(found.least_s_XY).any(axis=0))
    own = np.flatnonzero(found.pp_Y == pp)
    return np.union1d(some[:COLUMNS], own)


def _cell(x: float, y: float, wide: float, high: float, ratio: float, title: str) -> list[str]:
    if not np.isfinite(ratio):
        return [rect(x, y, wide, high, "", "blank", f"{title}, and nothing fits")]
    share = 1.0 - min(np.log(max(ratio, BEST) / BEST) / np.log(WORST / BEST), 1.0)
    label = f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}"
    ink = "on-light" if share > 0.5 else "on-dark"
    told = [text(x + wide / 2, y + 16, label, f"mid {ink}")] if wide >= 28 else []
    return [rect(x, y, wide, high, ramp(share), "", f"{title}, at least {label} of this plan"), *told]


def _rejected(f: Facts, top: float) -> tuple[list[str], float]:
    """How many strategies ended how, on a logarithmic scale."""
    search = f.tree["search"]
    reasons = [("scored in full", int(search["scored"])), *ranked(search["rejected"])]
    most = max(n for _, n in reasons) or 1
    body = [text(LEFT, top + 6, f"{search['enumerated']:,} strategies, by what became of them (logarithmic)", "strong")]
    for i, (reason, n) in enumerate(reasons):
        y = top + 16 + 20 * i
        wide = 300 * np.log1p(n) / np.log1p(most)
        body += [rect(LEFT, y, wide, 14, CATEGORIES[8 if i else 0]), text(LEFT + 8 + wide, y + 12, f"{n:,}  {reason}")]
    return body, top + 16 + 20 * len(reasons)
