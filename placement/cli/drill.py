# SPDX-License-Identifier: Apache-2.0
"""`placement drill DIR --days 30 --seed S`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir

if TYPE_CHECKING:
    from placement.passes.drill import Costs, Drill


def drill(
    plan: PlanDir,
    days: Annotated[float, typer.Option(min=0.01, max=3660, help="Days of failures.")] = 30.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the failures.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="So many drills, from SEED on.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes for several seeds; -1: one for each core.")] = -1,
    backend: Annotated[
        str, typer.Option(metavar="loky|dask|ray", help="Where several seeds run: here, or on a Dask or Ray cluster.")
    ] = "loky",
    rates: Annotated[
        str | None, typer.Option(metavar="FILE", help="Failure rates; default: published ones.", show_default=False)
    ] = None,
    restart: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="What an interruption costs with a repair.")] = 120.0,
    naive: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="What a restart from nothing costs.")] = 900.0,
    checkpoint: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds between checkpoints.")] = 120.0,
    picture: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw it, day by day.", show_default=False)
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Replay weeks of failures through the repairer, and say what is left of the training time."""
    from placement.passes.drill import Costs
    from placement.report import drill as report

    if backend not in ("loky", "dask", "ray"):
        raise typer.BadParameter(f"`{backend}` is none of loky, dask, ray", param_hint="--backend")
    costs, numbers = Costs(restart, naive, checkpoint), list(range(seed, seed + seeds))
    found = _all(str(Path(plan).resolve()), numbers, days, rates, costs, jobs, backend)
    if picture is not None:
        output.write_file(Path(picture), report.picture(found, numbers))
    if fmt is Format.JSON:
        output.result_json(report.as_json(found, numbers, costs))
    else:
        output.result(report.screen(found, costs, output.stdout_style()))
    return Exit.PLAN if any(d.broken for d in found) else Exit.OK


def _all(plan: str, seeds: list[int], days: float, rates: str | None, costs: Costs, jobs: int, backend: str) -> list[Drill]:
    if len(seeds) == 1:
        return [one(plan, seeds[0], days, rates, costs)]
    import importlib

    joblib: Any = importlib.import_module("joblib")  # ships no types
    _connect(backend)
    with joblib.parallel_config(backend=backend, n_jobs=jobs):
        work = (joblib.delayed(one)(plan, s, days, rates, costs) for s in seeds)
        return list(joblib.Parallel()(work))


def _connect(backend: str) -> Any:
    """Reach a running Dask or Ray cluster by its own settings (DASK_SCHEDULER_ADDRESS, RAY_ADDRESS)."""
    import importlib

    try:
        if backend == "dask":
            return importlib.import_module("dask.distributed").Client()
        if backend == "ray":
            return importlib.import_module("ray.util.joblib").register_ray()
    except ImportError as error:
        raise typer.BadParameter(f"{backend} is not installed: {error}", param_hint="--backend") from None
    return None


def one(plan: str, seed: int, days: float, rates: str | None, costs: Costs) -> Drill:
    """One drill of a plan directory, from nothing: also what a worker process runs."""
    import time

    from placement.cli.inputs import plan_inputs
    from placement.ir import Cluster, Placement, Strategy
    from placement.passes.drill import drill as play
    from placement.passes.problem import problem
    from placement.runtime import load_plan
    from placement.runtime.standing import candidate_of
    from placement.spec.failures import load_failures
    from placement.verify.placing import broken_rules

    loaded = load_plan(plan)
    inputs = plan_inputs(loaded)
    task = problem(inputs.cluster, inputs.model, inputs.job, inputs.efficiency)

    def check(cluster: Cluster, strategy: Strategy, placement: Placement) -> list[str]:
        return broken_rules(cluster, strategy, placement, ragged=inputs.job.ragged)

    return play(
        task, candidate_of(loaded), load_failures(rates), check, days=days, seed=seed, costs=costs, clock=time.perf_counter
    )  # fmt: skip
