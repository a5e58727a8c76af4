# SPDX-License-Identifier: Apache-2.0
"""Alternatives of `why rank`, `why node` and `why stage`: the same plan with hosts or stages in each other's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from placement.ir import Cluster, StepCost
from placement.report.text import change, seconds, table

if TYPE_CHECKING:
    from placement.passes.trades import Trade

Tree = Mapping[str, Any]
WORTH = 5e-4  # of the step: smaller changes of a part are not named


def node_records(cluster: Cluster, tree: Tree, found: Sequence[Trade]) -> list[dict[str, Any]]:
    """One record for each host that could take over."""
    return [
        {"name": str(cluster.host_N[t.other]), "idle": t.idle, "same": cluster.tiers[t.tier].name, **_priced(tree, t.cost)}
        for t in found
    ]


def stage_records(tree: Tree, found: Sequence[Trade]) -> list[dict[str, Any]]:
    """One record for each stage whose hosts could run this one, and the other way round."""
    return [{"name": str(t.other), "idle": False, "same": None, **_priced(tree, t.cost)} for t in found]


def _priced(tree: Tree, cost: StepCost) -> dict[str, Any]:
    """Step, difference from the plan, and what each part adds."""
    was = tree["predicted"]["breakdown_s"]
    more = {part: float(s) - was.get(part, 0.0) for part, s in cost.parts_s.items()}
    return {
        "step_time_s": float(cost.step_s),
        "slower_s": float(cost.step_s) - tree["predicted"]["step_time_s"],
        "adds_s": {part: s for part, s in more.items() if abs(s) > WORTH * tree["predicted"]["step_time_s"]},
    }


def node_rows(f: Mapping[str, Any]) -> list[str]:
    """Lines of `why rank` and `why node`: chosen, each other host, the launcher's default order."""
    rows = [[_host(a), *_cells(a, f["step_time_s"])] for a in f["elsewhere"]]
    return frame(rows, f["step_time_s"], f["default_s"])


def _host(a: Mapping[str, Any]) -> str:
    return f"{a['name']} instead ({'idle' if a['idle'] else 'trade'}, same {a['same']})"


def frame(rows: Sequence[Sequence[str]], chosen_s: float, default_s: float) -> list[str]:
    """A table of alternatives between the plan and the launcher's default order."""
    last = ["launcher default", seconds(default_s), change(default_s, chosen_s)]
    return table([["", "step time"], ["chosen", seconds(chosen_s)], *rows, last], "<>><")


def stage_rows(found: Sequence[Mapping[str, Any]], chosen_s: float) -> list[list[str]]:
    return [[f"hosts of stage {a['name']} instead", *_cells(a, chosen_s)] for a in found]


def _cells(a: Mapping[str, Any], chosen_s: float) -> list[str]:
    return [seconds(a["step_time_s"]), change(a["step_time_s"], chosen_s), adds_text(a["adds_s"])]


def adds_text(adds_s: Mapping[str, float]) -> str:
    """`pp +3.20 ms, bubble +0.51 ms`: the parts that change most, largest first."""
    ranked = sorted(adds_s.items(), key=lambda item: (-abs(item[1]), item[0]))[:2]
    return ", ".join(f"{part} {'+' if s > 0 else '-'}{seconds(abs(s))}" for part, s in ranked)
