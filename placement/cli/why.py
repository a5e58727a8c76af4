# SPDX-License-Identifier: Apache-2.0
"""`placement why DIR (rank N | stage N | node NAME | link NAME | axis NAME)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanOrMap
from placement.cli.watch import progress

if TYPE_CHECKING:
    from placement.ir import Cluster
    from placement.passes.problem import Problem
    from placement.runtime import LoadedPlan

WHICH = "Which one: a number, a host, `rack0077` or `leaf 3` for its uplink, an axis."
Answer = tuple[Mapping[str, Any], str]


class Kind(StrEnum):
    RANK = "rank"
    STAGE = "stage"
    NODE = "node"
    LINK = "link"
    AXIS = "axis"


def why(
    plan: PlanOrMap,
    kind: Annotated[Kind, typer.Argument(help="What to ask about.", show_default=False)],
    name: Annotated[list[str], typer.Argument(help=WHICH, show_default=False)],
    fmt: Out = Format.TEXT,
) -> int:
    """Why a rank, stage, node, link or degree is what it is in this plan or map, and what else would have cost."""
    from placement.cli.inputs import plan_cluster
    from placement.runtime import load_plan
    from placement.runtime.mapfile import is_map

    if is_map(plan):
        from placement.cli import maps

        facts, text = maps.why(plan, kind.value, " ".join(name))
    else:
        loaded = load_plan(plan)
        facts, text = _ANSWERS[kind](loaded, plan_cluster(loaded), " ".join(name))
    if fmt is Format.JSON:
        output.result_json(facts)
    else:
        output.plain(text)
    return Exit.OK


def _rank(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.report.why_rank import rank_facts, rank_text

    rank = number(name, "rank", loaded.strategy.world_size)
    facts = rank_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, rank)
    facts["elsewhere"] = _elsewhere(loaded, cluster, int(loaded.placement.gpu_R[rank]) // cluster.gpus_per_node)
    return facts, rank_text(facts)


def _stage(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.passes.neighbours import neighbours
    from placement.passes.trades import stage_trades
    from placement.report.why_link import transfer_facts
    from placement.report.why_stage import alternative_facts, stage_facts, stage_text
    from placement.report.why_trade import stage_records

    stage = number(name, "stage", loaded.strategy.pp)
    facts = stage_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, stage)
    task, placed = _problem(loaded), (loaded.strategy, loaded.stages, loaded.placement)
    facts["alternatives"] = alternative_facts(loaded.json, task.model.block_names, neighbours(task, *placed, stage), stage)
    facts["elsewhere"] = stage_records(loaded.json, stage_trades(task, *placed, stage))
    facts["transfer"] = transfer_facts(cluster, loaded.json, loaded.strategy, loaded.placement, stage)
    return facts, stage_text(facts)


def _problem(loaded: LoadedPlan) -> Problem:
    """What the plan was an answer to, read again from its own inputs."""
    from placement.cli.inputs import plan_inputs
    from placement.passes.problem import problem

    inputs = plan_inputs(loaded)
    return problem(inputs.cluster, inputs.model, inputs.job, inputs.efficiency)


def _elsewhere(loaded: LoadedPlan, cluster: Cluster, node: int) -> list[dict[str, Any]]:
    """The plan with a host in another's place, priced."""
    from placement.passes.trades import node_trades
    from placement.report.why_trade import node_records

    found = node_trades(_problem(loaded), loaded.strategy, loaded.stages, loaded.placement, node)
    return node_records(cluster, loaded.json, found)


def _node(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.report.why_node import node_facts, node_text

    node = node_of(cluster, name)
    facts = node_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, node)
    facts |= exception(loaded.path, facts["host"], facts["rack"])
    facts["elsewhere"] = _elsewhere(loaded, cluster, node)
    return facts, node_text(facts)


def node_of(cluster: Cluster, name: str) -> int:
    from placement.report.why_node import find_node, similar

    node = find_node(cluster, name)
    if node is None:
        raise typer.BadParameter(f"no node `{name}`; did you mean `{similar(cluster, name)}`?", param_hint="NAME")
    return node


def exception(directory: Path, host: str, rack: str) -> dict[str, str]:
    """`where` and `reason` of the exception in the topology file that names a host or its rack; empty if none does.

    Captures have no exceptions.
    """
    from placement.cli.inputs import TOPOLOGY
    from placement.hostlist import expand
    from placement.ingest.anyfile import NATIVE, format_of
    from placement.spec.source import load

    path = directory / "inputs" / TOPOLOGY
    if format_of(str(path)) != NATIVE:
        return {}
    doc = load(path, "topology")
    for i, entry in enumerate(doc.tree.get("exceptions") or ()):
        hosts = [entry[key].partition(":")[0] for key in ("nodes", "gpus", "nics") if key in entry]
        if any(host in expand(h) for h in hosts) or ("racks" in entry and rack in expand(entry["racks"])):
            file, line, column = doc.where(("exceptions", i))
            return {"where": f"{file}:{line}:{column}", "reason": entry.get("reason", "")}
    return {}


def _link(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.report.why_link import link_facts, link_text

    facts = link_facts(cluster, loaded.json, loaded.strategy, loaded.placement, *link_of(cluster, name))
    return facts, link_text(facts)


def link_of(cluster: Cluster, name: str) -> tuple[int, int]:
    from placement.report.why_link import find_link

    found = find_link(cluster, name)
    if found is None:
        tiers = ", ".join(f"`{t.name} 0` to `{t.name} {t.num_groups - 1}`" for t in cluster.tiers[1:])
        raise typer.BadParameter(
            f"no link `{name}`; there are those of `{cluster.domain_name_J[0]}` and its like, {tiers}", param_hint="NAME"
        )
    return found


def _axis(loaded: LoadedPlan, cluster: Cluster, name: str) -> Answer:
    from placement.ir import AXES
    from placement.passes.degrees import other_degrees
    from placement.report.why_axis import axis_facts, axis_text, searched

    if name not in AXES:
        raise typer.BadParameter(f"no axis `{name}`; there are {', '.join(AXES)}", param_hint="NAME")
    facts = axis_facts(cluster, loaded.json, loaded.strategy, loaded.placement.gpu_R, name)
    with progress(bar=True) as observe:
        facts["searched"] = searched(other_degrees(_problem(loaded), loaded.strategy, name, observe))
    return facts, axis_text(facts)


def number(text: str, what: str, end: int) -> int:
    """A rank or stage number, commas allowed as the screens print them."""
    digits = text.replace(",", "")
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= end:
        raise typer.BadParameter(f"no {what} `{text}`: there are {what}s 0 to {end - 1:,}", param_hint="NAME")
    return int(digits)


_ANSWERS: Mapping[Kind, Callable[[LoadedPlan, Cluster, str], Answer]] = {
    Kind.RANK: _rank,
    Kind.STAGE: _stage,
    Kind.NODE: _node,
    Kind.LINK: _link,
    Kind.AXIS: _axis,
}
