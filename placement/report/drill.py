# SPDX-License-Identifier: Apache-2.0
"""What a failure drill found: screen, JSON, plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from placement.passes.drill import Costs, Drill
from placement.report.style import PLAIN, Style
from placement.report.svg import Line, plot
from placement.report.text import percent, seconds, table


def as_json(drills: Sequence[Drill], seeds: Sequence[int], costs: Costs) -> dict[str, Any]:
    """Every drill by seed. Times of repairs are measured, so they differ from run to run; everything else does not."""
    return {
        "costs_s": {"restart": costs.restart_s, "naive_restart": costs.naive_s, "checkpoint": costs.checkpoint_s},
        "drills": [
            {
                "seed": seed, "days": d.days, "failures": d.failures, "interruptions": d.interruptions, "repairs": d.repairs,
                "moves": d.moves, "least_moves": d.least_moves, "checked": d.checked, "audited": d.audited,
                "broken": list(d.broken),
                "shrunk_events": d.shrunk_events, "shrunk_hours": d.shrunk_s / 3600, "fewest_replicas": d.fewest_replicas,
                "effective": {"repair": d.share, "naive_restart": d.share_naive, "no_spares_waiting": d.share_no_spares,
                              "no_spares_shrinking": d.share_no_spares_shrink},
                "by_day": d.share_D.tolist(),
                "repair_s": {"median": _at(d, 50), "worst": _at(d, 100)},
                "step_time_s": {"first": d.steps[0][1], "worst": max(s for _, s in d.steps), "sampled": len(d.steps) - 1},
            }
            for seed, d in zip(seeds, drills, strict=True)
        ],
    }  # fmt: skip


def _at(d: Drill, percentile: float) -> float:
    return float(np.percentile(d.solver_s, percentile)) if len(d.solver_s) else 0.0


def screen(drills: Sequence[Drill], costs: Costs, style: Style = PLAIN) -> str:
    """The first drill in full; of several, a line each."""
    d = drills[0]
    kinds = ", ".join(f"{n:,} {name}" for name, n in d.failures.items())
    verdict = (
        style(f"{d.checked:,} of {d.checked:,}", "green") if not d.broken else style(f"{len(d.broken)} BROKEN", "red", "bold")
    )
    shrunk = f"{d.shrunk_events:,} times, {d.shrunk_s / 3600:.1f} h, at least {d.fewest_replicas:,} replicas"
    rows = [
        ["failures", f"{sum(d.failures.values()):,} in {d.days:g} days: {kinds}"],
        ["interruptions", f"{d.interruptions:,}; the others hit parts without ranks"],
        ["repairs", f"{d.repairs:,}, {d.moves:,} moves, of which {d.least_moves:,} could not be avoided by any repair"],
        ["rules kept", f"{verdict} repaired placements pass the referee's rules, {d.audited:,} the whole referee as plans"],
        ["solver", f"median {seconds(_at(d, 50))}, worst {seconds(_at(d, 100))} of processor time"],
        ["shrunk", shrunk if d.shrunk_events else "never"],
        [
            "step time",
            f"{seconds(d.steps[0][1])} at first, worst {seconds(max(s for _, s in d.steps))} of {len(d.steps) - 1} samples",
        ],
    ]
    effective = [
        ["repair with spares", percent(d.share), f"restart {seconds(costs.restart_s)}"],
        ["naive restart", percent(d.share_naive), f"everything anew, {seconds(costs.naive_s)}"],
        ["no spares, shrinking", percent(d.share_no_spares_shrink), "fewer replicas until parts are back"],
        ["no spares, waiting", percent(d.share_no_spares), "stops until parts are back"],
    ]
    out = [*table(rows), "", "Effective training time", *table(effective, "<><")]
    if len(drills) > 1:
        shares = np.array([x.share for x in drills])
        span = f"{percent(float(shares.min()))} to {percent(float(shares.max()))}, mean {percent(float(shares.mean()))}"
        checked, broken = sum(x.checked for x in drills), sum(len(x.broken) for x in drills)
        worst = seconds(max(_at(x, 100) for x in drills))
        out += ["", f"{len(drills)} seeds: {span}; worst repair {worst}; {checked:,} placements checked, {broken} broken"]
    return "\n".join([*out, *(f"  BROKEN {what}" for what in d.broken[:10])])


def picture(drills: Sequence[Drill], seeds: Sequence[int]) -> str:
    """Effective training time day by day, one line a seed, and the means of the ways to do without."""
    first = drills[0]
    end = float(len(first.share_D))
    lines = [
        Line(
            f"repair, seed {s}",
            [*np.arange(len(d.share_D)).tolist(), end],
            [*d.share_D.tolist(), float(d.share_D[-1])],
            steps=True,
        )
        for s, d in list(zip(seeds, drills, strict=True))[:4]
    ]
    flat = (
        ("naive restart", first.share_naive),
        ("no spares, shrink", first.share_no_spares_shrink),
        ("no spares, wait", first.share_no_spares),
    )
    lines += [Line(name, [0.0, end], [share, share]) for name, share in flat]
    return plot("Effective training time", lines, "day", "share of wall time", y_range=(0, 1))
