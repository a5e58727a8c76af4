# SPDX-License-Identifier: Apache-2.0
"""`placement drill DIR --days 30 --seed S`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir

if TYPE_CHECKING:
    from placement.ir import Placement
    from placement.passes.drill import Costs, Drill
    from placement.passes.problem import Problem
    from placement.runtime import LoadedPlan


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
    audits: Annotated[int, typer.Option(min=0, help="So many repaired plans go through the whole referee.")] = 3,
    picture: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw it, day by day.", show_default=False)
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Replay weeks of failures through the repairer, and say what is left of the training time."""
    from placement.cli.many import spread
    from placement.passes.drill import Costs
    from placement.report import drill as report

    if backend not in ("loky", "dask", "ray"):
        raise typer.BadParameter(f"`{backend}` is none of loky, dask, ray", param_hint="--backend")
    costs, numbers = Costs(restart, naive, checkpoint), list(range(seed, seed + seeds))
    what = (str(Path(plan).resolve()), days, rates, costs, audits)
    found = spread(one, [(s, *what) for s in numbers], jobs, backend) if seeds > 1 else [one(seed, *what)]
    if picture is not None:
        output.write_file(Path(picture), report.picture(found, numbers))
    if fmt is Format.JSON:
        output.result_json(report.as_json(found, numbers, costs))
    else:
        output.result(report.screen(found, costs, output.stdout_style()))
    return Exit.PLAN if any(d.broken for d in found) else Exit.OK


def one(seed: int, plan: str, days: float, rates: str | None, costs: Costs, audits: int = 0) -> Drill:
    """One drill of a plan directory, from nothing: also what a worker process runs."""
    import time

    from placement.cli.inputs import plan_inputs
    from placement.ir import Cluster, Strategy
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

    def audit(cluster: Cluster, _: Strategy, placement: Placement) -> list[str]:
        return audited(loaded, replace(task, cluster=cluster), placement)

    return play(
        task, candidate_of(loaded), load_failures(rates), check, days=days, seed=seed, costs=costs, clock=time.process_time,
        audit=audit, audits=audits,
    )  # fmt: skip


def audited(loaded: LoadedPlan, task: Problem, placement: Placement) -> list[str]:
    """What the whole referee has against a repaired placement, written out as a plan."""
    import tempfile

    from placement.cli.now import standing_of
    from placement.passes.problem import realise
    from placement.repair import settled
    from placement.runtime import assemble, load_plan, write_plan
    from placement.verify import verify

    chosen = realise(task, loaded.strategy, loaded.stages, placement)
    bundle = assemble(settled(task, standing_of(loaded), chosen), loaded.inputs)
    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        write_plan(bundle, Path(scratch) / "plan")
        found = verify(load_plan(Path(scratch) / "plan"), task.cluster, task.model, task.job, task.efficiency)
    return [f"{d.name}: {d.message}" for d in found.diagnostics] if not found.ok else []
