# SPDX-License-Identifier: Apache-2.0
"""`placement show DIR [ranks|stages|traffic|memory|groups|tree]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import PlanDir, TableFormat, TableOut

if TYPE_CHECKING:
    from placement.runtime import LoadedPlan


class What(StrEnum):
    PLAN = "plan"
    RANKS = "ranks"
    STAGES = "stages"
    TRAFFIC = "traffic"
    MEMORY = "memory"
    GROUPS = "groups"
    TREE = "tree"


def show(
    plan: PlanDir,
    what: Annotated[What, typer.Argument(help="Which side of the plan.")] = What.PLAN,
    fmt: TableOut = TableFormat.TEXT,
    top: Annotated[int, typer.Option(min=0, help="Runners-up to list below the plan.")] = 0,
) -> int:
    """A written plan: all of it on one screen, or one side of it in full."""
    from placement.runtime import load_plan

    if fmt is TableFormat.CSV and what in (What.PLAN, What.TREE):
        raise typer.BadParameter(f"`{what.value}` is not a table; use text or json", param_hint="--format")
    loaded = load_plan(plan)
    if what is What.PLAN:
        _plan(loaded, fmt, top)
    elif what is What.RANKS:
        _ranks(loaded, fmt)
    else:
        _SIDES[what](loaded, fmt)
    return Exit.OK


def _plan(loaded: LoadedPlan, fmt: TableFormat, top: int) -> None:
    from placement.report.plan import screen

    if fmt is TableFormat.JSON:
        output.result_json(loaded.json)
    else:
        output.result(screen(loaded.json, output.stdout_style(), top))


def _ranks(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.report.ranks import ranks_json, ranks_text
    from placement.runtime import rank_rows

    if fmt is TableFormat.CSV:
        output.stream(rank_rows(loaded))
    elif fmt is TableFormat.JSON:
        output.stream(ranks_json(rank_rows(loaded), output.FORMAT_VERSION))
    else:
        output.result(ranks_text(rank_rows(loaded), loaded.json["world_size"]))


def _stages(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.report.stages import stage_rows, stage_table
    from placement.report.text import table

    _table(fmt, "stages", stage_rows(loaded.json), lambda: "\n".join(table(stage_table(loaded.json), "><>><")))


def _traffic(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.traffic import hop_rows, hops_text, link_rows, links_text, traffic_rows, traffic_text

    rows = traffic_rows(loaded.json)
    if fmt is TableFormat.CSV:
        output.stream(_csv(rows))
        return
    cluster = plan_cluster(loaded)
    links = link_rows(cluster, loaded.json, loaded.strategy, loaded.placement)
    hops = hop_rows(cluster, loaded.strategy, loaded.placement)
    if fmt is TableFormat.JSON:
        output.result_json({"traffic": rows, "links": links, "hops": hops})
    else:
        output.plain(traffic_text(loaded.json) + "\n" + links_text(links) + hops_text(cluster, hops))


def _memory(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.report.memory import memory_rows, memory_text

    _table(fmt, "memory", memory_rows(loaded.json), lambda: memory_text(loaded.json))


def _groups(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.groups import group_facts, groups_text, meets_text

    facts = group_facts(plan_cluster(loaded), loaded.strategy, loaded.placement.gpu_R)
    rows = [f | {"meets": meets_text(f["meets"])} for f in facts] if fmt is TableFormat.CSV else facts
    _table(fmt, "groups", rows, lambda: groups_text(facts))


def _tree(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.tree import occupancy, tree_facts, tree_text

    cluster = plan_cluster(loaded)
    facts = tree_facts(cluster, occupancy(cluster, loaded.strategy, loaded.placement.gpu_R))
    if fmt is TableFormat.JSON:
        output.result_json(facts)
    else:
        output.plain(tree_text(facts))


def _table(fmt: TableFormat, name: str, rows: Sequence[Mapping[str, Any]], text: Callable[[], str]) -> None:
    """One table in the format that was asked for."""
    if fmt is TableFormat.JSON:
        output.result_json({name: list(rows)})
    elif fmt is TableFormat.CSV:
        output.stream(_csv(rows))
    else:
        output.plain(text())


def _csv(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    import csv
    import io

    for i, row in enumerate(rows):
        line = io.StringIO()
        writer = csv.DictWriter(line, list(row), lineterminator="\n")
        if i == 0:
            writer.writeheader()
        writer.writerow(row)
        yield line.getvalue()


_SIDES: Mapping[What, Callable[[LoadedPlan, TableFormat], None]] = {
    What.STAGES: _stages,
    What.TRAFFIC: _traffic,
    What.MEMORY: _memory,
    What.GROUPS: _groups,
    What.TREE: _tree,
}
