# SPDX-License-Identifier: Apache-2.0
"""`placement report DIR -o report.html [--svg DIR]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanOrMap

if TYPE_CHECKING:
    from placement.report.html import Facts, MapFacts


def report(
    plan: PlanOrMap,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Write the page here; default: report.html.", show_default=False),
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FOLDER", help="Write each picture as a file here.", show_default=False)
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="With --svg: also as PNG, where rsvg-convert is installed.")] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """One page to look at a plan or map offline: every GPU, pipeline, traffic, memory, what else was considered."""
    from placement.report.html import Facts, map_page, page
    from placement.runtime.mapfile import is_map

    if png and svg is None:
        raise typer.BadParameter("needs --svg FOLDER", param_hint="--png")
    found = read_map(plan) if is_map(plan) else read(plan)
    written = []
    if out is not None or svg is None:
        target = out or Path("report.html")
        output.write_file(target, page(found) if isinstance(found, Facts) else map_page(found))
        written.append(target)
    if svg is not None:
        written += _pictures(found, svg, png)
    if fmt is Format.JSON:
        output.result_json({"files": {str(p): p.stat().st_size for p in written}, "plan": found.tree["digest"]})
    else:
        output.result("\n".join(str(p) for p in written))
    return Exit.OK


def read(plan: str) -> Facts:
    """A plan directory as facts to draw, its pipeline simulated again from its own inputs."""
    from placement.cli.inputs import plan_inputs
    from placement.cost.step import steps_of
    from placement.passes.landscape import landscape
    from placement.passes.problem import priced, problem, slowness
    from placement.report.html import facts
    from placement.runtime import load_plan

    loaded = load_plan(plan)
    given = plan_inputs(loaded)
    task = problem(given.cluster, given.model, given.job, given.efficiency)
    spans, layer = priced(task, loaded.strategy, loaded.placement)
    slow_P = slowness(task.cluster, loaded.strategy, loaded.placement)
    steps = steps_of(
        task.model, task.job, task.hw, task.efficiency, loaded.strategy, loaded.stages, spans, layer, slow_P=slow_P
    )
    return facts(loaded.json, task, loaded.strategy, steps.timeline, landscape(task), loaded.placement)


def read_map(directory: str) -> MapFacts:
    """A map directory as facts to draw."""
    from placement.cli import maps
    from placement.report.html import map_facts

    return map_facts(maps.read_map(directory))


def _pictures(found: Facts | MapFacts, folder: Path, png: bool) -> list[Path]:
    """Write every picture into `folder`; names of the files."""
    import shutil

    from placement.report.html import pictures

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pictures(found).items():
        output.write_file(folder / name, text)
        written.append(folder / name)
    converter = shutil.which("rsvg-convert") if png else None
    if png and converter is None:
        output.note("no PNG: rsvg-convert is not installed (Debian: librsvg2-bin)")
    return [*written, *(_convert(converter, path) for path in written if converter)]


def _convert(converter: str, path: Path) -> Path:
    """One picture as PNG at twice its size on white."""
    import subprocess

    target = path.with_suffix(".png")
    subprocess.run([converter, "--zoom", "2", "-o", str(target), str(path)], check=True)  # noqa: S603  found on PATH, our file
    return target
