# SPDX-License-Identifier: Apache-2.0
"""`placement why DIR (rank N | stage N | node NAME | axis NAME)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir

if TYPE_CHECKING:
    from placement.ir import Cluster
    from placement.runtime import LoadedPlan

Answer = tuple[Mapping[str, Any], str]


class Kind(StrEnum):
    RANK = "rank"
    STAGE = "stage"
    NODE = "node"
    AXIS = "axis"


def why(
    plan: PlanDir,
    kind: Annotated[Kind, typer.Argument(help="What to ask about.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Which one: a number, a host name, or an axis.", show_default=False)],
    fmt: Out = Format.TEXT,
) -> int:
    """Why a rank, stage, node or degree is what it is in this plan."""
    from placement.cli.inputs import plan_cluster
    from placement.runtime import load_plan

    loaded = load_plan(plan)
    facts, text = _ANSWERS[kind](loaded, plan_cluster(loaded), name)
    if fmt is Format.JSON:
        output.result_json(facts)
    else:
        output.plain(text)
    return Exit.OK


def _rank(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.report.why_rank import rank_facts, rank_text

    rank = _number(name, "rank", loaded.strategy.world_size)
    facts = rank_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, rank)
    return facts, rank_text(facts)


def _stage(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.cli.inputs import plan_inputs
    from placement.passes.neighbours import neighbours
    from placement.passes.problem import problem
    from placement.report.why_stage import alternative_facts, stage_facts, stage_text

    stage = _number(name, "stage", loaded.strategy.pp)
    facts = stage_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, stage)
    inputs = plan_inputs(loaded)
    task = problem(inputs.cluster, inputs.model, inputs.job, inputs.efficiency)
    found = neighbours(task, loaded.strategy, loaded.stages, loaded.placement, stage)
    facts["alternatives"] = alternative_facts(loaded.json, inputs.model.block_names, found, stage)
    return facts, stage_text(facts)


def _node(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.report.why_node import find_node, node_facts, node_text, similar

    node = find_node(cluster, name)
    if node is None:
        raise typer.BadParameter(f"no node `{name}`; did you mean `{similar(cluster, name)}`?", param_hint="NAME")
    facts = node_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, node)
    facts |= _exception(loaded, facts["host"], facts["rack"])
    return facts, node_text(facts)


def _exception(loaded: LoadedPlan, host: str, rack: str) -> dict[str, str]:
    """`where` and `reason` of the exception in the topology file that names a host or its rack; empty if none does."""
    from placement.cli.inputs import TOPOLOGY
    from placement.hostlist import expand
    from placement.spec.source import load

    doc = load(loaded.path / "inputs" / TOPOLOGY, "topology")
    for i, entry in enumerate(doc.tree.get("exceptions") or ()):
        hosts = [entry[key].partition(":")[0] for key in ("nodes", "gpus", "nics") if key in entry]
        if any(host in expand(h) for h in hosts) or ("racks" in entry and rack in expand(entry["racks"])):
            file, line, column = doc.where(("exceptions", i))
            return {"where": f"{file}:{line}:{column}", "reason": entry.get("reason", "")}
    return {}


def _axis(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.ir import AXES
    from placement.report.why_axis import axis_facts, axis_text

    if name not in AXES:
        raise typer.BadParameter(f"no axis `{name}`; there are {', '.join(AXES)}", param_hint="NAME")
    facts = axis_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, name)
    return facts, axis_text(facts)


def _number(text: str, what: str, end: int) -> int:
    """A rank or stage number, commas allowed as the screens print them."""
    digits = text.replace(",", "")
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= end:
        raise typer.BadParameter(f"no {what} `{text}`: this plan has {what}s 0 to {end - 1:,}", param_hint="NAME")
    return int(digits)


_ANSWERS: Mapping[Kind, Callable[[LoadedPlan, Cluster, str], Answer]] = {
    Kind.RANK: _rank,
    Kind.STAGE: _stage,
    Kind.NODE: _node,
    Kind.AXIS: _axis,
}
