# SPDX-License-Identifier: Apache-2.0
"""`placement sweep MODEL TOPOLOGY --gpus 576,4608,…`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, ModelFile, Out, TopologyFile

if TYPE_CHECKING:
    from placement.passes.scaling import Point


def sweep(
    model: ModelFile,
    topology: TopologyFile,
    gpus: Annotated[str, typer.Option(metavar="N,N,…", help="Sizes: at most so many GPUs each.", show_default=False)],
    job: Annotated[str | None, typer.Option(metavar="JOB", help="A job YAML.", show_default=False)] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Fix a degree or choice: tp=8. May be repeated.", show_default=False),
    ] = None,
    effort: Annotated[int, typer.Option(min=0, max=3, help="How much to search for each size.")] = 0,
    weak: Annotated[bool, typer.Option("--weak", help="Grow the global batch with the size (weak scaling).")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; -1: one for each core. A cluster gives all that it has.")] = 1,
    backend: Annotated[
        str, typer.Option(metavar="loky|dask|ray", help="Where they run: here, or on a Dask or Ray cluster.")
    ] = "loky",
    fmt: Out = Format.TEXT,
) -> int:
    """Plan the same job on clusters of several sizes: step time, MFU, and what stops scaling."""
    from placement.passes.scaling import scaling
    from placement.report.scaling import screen

    if backend not in ("loky", "dask", "ray"):
        raise typer.BadParameter(f"`{backend}` is none of loky, dask, ray", param_hint="--backend")
    sizes = _sizes(gpus)
    first = sizes[0] if weak else None
    tasks = [(model, topology, job, tuple(pin or ()), effort, size, first) for size in sizes]
    rows = scaling(_all(tasks, jobs, backend))
    if fmt is Format.JSON:
        output.result_json({"points": rows})
    else:
        output.result(screen(rows))
    return Exit.OK if any(r["step_time_s"] for r in rows) else Exit.INFEASIBLE


def _sizes(text: str) -> list[int]:
    words = [w.strip().replace("_", "") for w in text.split(",") if w.strip()]
    if not words or not all(w.isascii() and w.isdigit() and 0 < int(w) < 10**9 for w in words):
        raise typer.BadParameter(f"`{text}` is no list of counts such as `576,4608`", param_hint="--gpus")
    return sorted({int(w) for w in words})


def _all(tasks: list[tuple[Any, ...]], jobs: int, backend: str) -> list[Point]:
    if jobs == 1 and backend == "loky":
        from placement.cli.watch import progress

        points = []
        with progress(bar=True) as observe:
            for i, task in enumerate(tasks):
                observe("sweep", i, len(tasks), f"{task[-2]:,} GPUs")
                points.append(one(*task))
        return points
    from placement.cli.many import spread

    return spread(one, tasks, jobs, backend)


def one(
    model: str, topology: str, job: str | None, pinned: tuple[str, ...], effort: int, size: int, first: int | None
) -> Point:  # fmt: skip
    """One size, from nothing: also what a worker process runs. `first`: the size that the batch of the job is for."""
    from placement.cli.inputs import pins, read_inputs
    from placement.compile import compile_plan
    from placement.diag import Infeasible
    from placement.passes.scaling import Point, point_of
    from placement.report.strategy import choices, degrees
    from placement.runtime.layout import Flag
    from placement.runtime.planjson import plan_dict

    inputs = read_inputs(model, topology, job, pins(pinned), {"max_gpus": size, "effort": effort})
    task = inputs.job
    if first is not None:
        task = dataclasses.replace(task, global_batch=max(1, round(task.global_batch * size / first)))
    try:
        plan = compile_plan(inputs.cluster, inputs.model, task, inputs.efficiency)
    except Infeasible as error:
        return Point(size, reason=str(error).splitlines()[0])
    tree = plan_dict(plan, {}, Flag(0))
    sure = tree["uncertainty"]
    return point_of(
        size,
        plan,
        f"{degrees(tree['strategy'])} · {choices(tree['strategy'])}",
        (sure["low_s"], sure["high_s"]) if sure else None,
    )
