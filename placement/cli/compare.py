# SPDX-License-Identifier: Apache-2.0
"""`placement compare DIR`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir
from placement.diag import Infeasible

if TYPE_CHECKING:
    from placement.runtime import LoadedPlan


def compare(plan: PlanDir, fmt: Out = Format.TEXT) -> int:
    """The plan beside Megatron's, Slurm's and JAX's default orders and random nodes, each priced by the same model."""
    from placement.report.compare import compare_text
    from placement.runtime import load_plan

    loaded = load_plan(plan)
    rows = _rows(loaded)
    if fmt is Format.JSON:
        output.result_json({"plan": loaded.digest, "placements": rows})
    else:
        output.plain(compare_text(rows, loaded.json["cluster"]["tiers"]))
    return Exit.OK


def _rows(loaded: LoadedPlan) -> list[dict[str, Any]]:
    """The plan's own placement first, then each order of `passes.orders`."""
    from placement.cli.inputs import plan_inputs
    from placement.passes.orders import ORDERS
    from placement.passes.problem import problem, realise
    from placement.report.compare import compare_facts

    given = plan_inputs(loaded)
    task = problem(given.cluster, given.model, given.job, given.efficiency)
    tiers = loaded.json["cluster"]["tiers"]
    own = realise(task, loaded.strategy, loaded.stages, loaded.placement)
    rows = [compare_facts("this plan", own.cost, "", tiers)]
    for name, order in ORDERS.items():
        try:
            placement = order(given.cluster, loaded.strategy, given.job)
        except Infeasible as error:
            rows.append(compare_facts(name, None, str(error), tiers))
        else:
            found = realise(task, loaded.strategy, loaded.stages, placement)
            rows.append(compare_facts(name, found.cost, "", tiers))
    return rows
