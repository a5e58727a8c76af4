# SPDX-License-Identifier: Apache-2.0
"""One strategy under several placements: the plan, what launchers and frameworks do by themselves, and chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from placement.ir import StepCost
from placement.report.text import change, percent, seconds, si, table


def compare_facts(name: str, cost: StepCost | None, reason: str, tiers: Sequence[str]) -> dict[str, Any]:
    """One row: cost of a step and bytes that leave groups of each tier; `reason` where the order cannot run."""
    if cost is None:
        return {"name": name, "step_time_s": None, "reason": reason}
    leaves = {t: sum(float(b.get(t, 0.0)) for b in cost.bytes_tier.values()) for t in tiers}
    parts = {part: float(s) for part, s in cost.parts_s.items()}
    return {"name": name, "step_time_s": float(cost.step_s), "mfu": float(cost.mfu), "breakdown_s": parts, "bytes_tier": leaves}


def compare_text(rows: Sequence[Mapping[str, Any]], tiers: Sequence[str]) -> str:
    """The screen of `compare`: one line a placement, the plan first."""
    plan_s = rows[0]["step_time_s"]
    used = [t for t in tiers if any(r.get("bytes_tier", {}).get(t) for r in rows)]
    head = ["", "step time", "", "mfu", "exposed", *(f"leaves {t}" for t in used)]
    body = [_line(r, plan_s, used) for r in rows]
    notes = [f"  {r['name']} cannot run: {r['reason']}" for r in rows if r["step_time_s"] is None]
    title = "One strategy, the same stages, several placements (predicted by one model)"
    return "\n".join([title, *table([head, *body], "<" + ">" * (4 + len(used))), *notes])


def _line(row: Mapping[str, Any], plan_s: float, tiers: Sequence[str]) -> list[str]:
    s = row["step_time_s"]
    if s is None:
        return [row["name"], "-"]
    parts = row["breakdown_s"]
    exposed = sum(parts[p] for p in ("tp", "cp", "ep", "pp", "dp"))
    bytes_of = [si(n, "B") if (n := row["bytes_tier"][t]) else "-" for t in tiers]
    return [row["name"], seconds(s), "" if s == plan_s else change(s, plan_s), percent(row["mfu"]), seconds(exposed), *bytes_of]
