# SPDX-License-Identifier: Apache-2.0
"""`placement diff A B [--exit-code]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out

if TYPE_CHECKING:
    from placement.runtime import LoadedPlan


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A plan or map directory.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one of the same kind.", show_default=False)],
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 5 if they differ.")] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """What differs between two plans, or two maps: inputs and lines that changed, strategy, stages, ranks that move, cost."""
    from placement.report.diff import diff_facts, diff_text
    from placement.report.maps import diff as maps
    from placement.runtime import load_plan
    from placement.runtime.mapfile import is_map, load_map

    left, right = (load_map(d) if is_map(d) else load_plan(d) for d in (a, b))
    both = _both_maps(a, b)
    facts = maps.diff_facts(left, right) if both else diff_facts(left, right)
    facts["changes"] = _changes(left, right, facts["inputs"])
    if fmt is Format.JSON:
        output.result_json(facts)
    else:
        output.plain(maps.diff_text(facts) if both else diff_text(facts, left.json, right.json))
    return Exit.DIFFERENT if exit_code and facts["different"] else Exit.OK


def _both_maps(a: str, b: str) -> bool:
    """Whether both are maps. Raises PlanError where one is a map and the other a plan."""
    from placement.cli.maps import only_plans
    from placement.runtime.mapfile import is_map

    if is_map(a) != is_map(b):
        raise only_plans("a plan has no towers to compare with", a if is_map(a) else b, "compare two plans, or two maps")
    return is_map(a) and is_map(b)


def _changes(a: LoadedPlan, b: LoadedPlan, inputs: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Keys that differ in each input file that both plans keep a copy of, by the name of the file."""
    from dataclasses import asdict

    from placement.spec.changes import file_changes

    both = [name for name in inputs if all((p.path / "inputs" / name).is_file() for p in (a, b))]
    return {n: [asdict(c) for c in file_changes(a.path / "inputs" / n, b.path / "inputs" / n)] for n in both}
