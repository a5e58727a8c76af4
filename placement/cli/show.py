# SPDX-License-Identifier: Apache-2.0
"""`placement show DIR [ranks|stages|traffic|memory|groups|tree]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import PlanOrMap, TableFormat, TableOut

if TYPE_CHECKING:
    from placement.ir import Cluster
    from placement.report.tree import Occupancy
    from placement.runtime import LoadedPlan

Rows = list[dict[str, Any]]


class What(StrEnum):
    PLAN = "plan"
    RANKS = "ranks"
    STAGES = "stages"
    TRAFFIC = "traffic"
    MEMORY = "memory"
    GROUPS = "groups"
    TREE = "tree"


def show(
    plan: PlanOrMap,
    what: Annotated[What, typer.Argument(help="Which side of the plan.")] = What.PLAN,
    fmt: TableOut = TableFormat.TEXT,
    top: Annotated[int, typer.Option(min=0, help="Runners-up to list below the plan.")] = 0,
) -> int:
    """A written plan or map: all of it on one screen, or one side of it in full."""
    from placement.runtime import load_plan
    from placement.runtime.mapfile import is_map

    if fmt is TableFormat.CSV and what in (What.PLAN, What.TREE):
        raise typer.BadParameter(f"`{what.value}` is not a table; use text or json", param_hint="--format")
    if is_map(plan):
        from placement.cli import maps

        maps.show(plan, what.value, fmt)
        return Exit.OK
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
    from placement.runtime import rank_rows

    ranks(rank_rows(loaded), loaded.json["world_size"], fmt)


def ranks(rows: Iterable[str], total: int, fmt: TableFormat) -> None:
    """Lines of CSV, a header first, in the format that was asked for."""
    from placement.report.ranks import ranks_json, ranks_text

    if fmt is TableFormat.CSV:
        output.stream(rows)
    elif fmt is TableFormat.JSON:
        output.stream(ranks_json(rows, output.FORMAT_VERSION))
    else:
        output.result(ranks_text(rows, total))


def _stages(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.report.stages import stage_rows, stage_table
    from placement.report.text import table

    _table(fmt, "stages", stage_rows(loaded.json), lambda: "\n".join(table(stage_table(loaded.json), "><>><")))


def _traffic(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.traffic import hop_rows, link_rows

    cluster, strategy, placement = plan_cluster(loaded), loaded.strategy, loaded.placement
    links, hops = partial(link_rows, cluster, loaded.json, strategy, placement), partial(hop_rows, cluster, strategy, placement)
    traffic(cluster, loaded.json, links, hops, "the step", fmt)


def traffic(
    cluster: Cluster, tree: Mapping[str, Any], links: Callable[[], Rows], hops: Callable[[], Rows], whole: str,
    fmt: TableFormat,
) -> None:  # fmt: skip
    """Bytes by axis and tier; below them the hottest links, with their share of `whole`, and hops to other rails."""
    from placement.report.traffic import hops_text, links_text, traffic_rows, traffic_text

    rows = traffic_rows(tree)
    if fmt is TableFormat.CSV:
        output.stream(_csv(rows))
    elif fmt is TableFormat.JSON:
        output.result_json({"traffic": rows, "links": links(), "hops": hops()})
    else:
        output.plain(traffic_text(tree) + "\n" + links_text(links(), whole) + hops_text(cluster, hops()))


def _memory(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.report.memory import memory_rows, memory_text

    _table(fmt, "memory", memory_rows(loaded.json), lambda: memory_text(loaded.json))


def _groups(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.groups import group_facts

    groups(group_facts(plan_cluster(loaded), loaded.strategy, loaded.placement.gpu_R), fmt)


def groups(facts: Rows, fmt: TableFormat) -> None:
    """Records of communicators."""
    from placement.report.groups import groups_text, meets_text

    rows = [f | {"meets": meets_text(f["meets"])} for f in facts] if fmt is TableFormat.CSV else facts
    _table(fmt, "groups", rows, lambda: groups_text(facts))


def _tree(loaded: LoadedPlan, fmt: TableFormat) -> None:
    from placement.cli.inputs import plan_cluster
    from placement.report.tree import stage_occupancy

    cluster = plan_cluster(loaded)
    tree(cluster, stage_occupancy(cluster, loaded.strategy, loaded.placement.gpu_R), fmt)


def tree(cluster: Cluster, use: Occupancy, fmt: TableFormat) -> None:
    """The cluster as a tree, with what lives where."""
    from placement.report.tree import tree_facts, tree_text

    facts = tree_facts(cluster, use)
    output.result_json(facts) if fmt is TableFormat.JSON else output.plain(tree_text(facts))


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
