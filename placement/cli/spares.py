# SPDX-License-Identifier: Apache-2.0
"""`placement spares DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir


def spares(
    plan: PlanDir,
    hours: Annotated[int, typer.Option(min=1, max=2400, help="How long the spares have to last.")] = 24,
    rates: Annotated[
        str | None, typer.Option(metavar="FILE", help="Failure rates; default: published ones.", show_default=False)
    ] = None,
    trials: Annotated[int, typer.Option(min=10, max=100_000, help="Simulated periods.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    picture: Annotated[
        str | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw how long they last.", show_default=False)
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """What each spare policy costs in step time, and what it survives."""
    from placement.cli.inputs import plan_cluster
    from placement.passes.sparing import sparing
    from placement.report import spares as report
    from placement.runtime import load_plan
    from placement.runtime.planjob import job_of
    from placement.runtime.standing import candidate_of
    from placement.spec.failures import load_failures

    loaded = load_plan(plan)
    cluster, failures = plan_cluster(loaded), load_failures(rates)
    job = job_of(loaded.json)
    rows = sparing(cluster, candidate_of(loaded), job, failures, hours=hours, trials=trials, seed=seed)
    domains = cluster.tiers[0].num_groups
    daily = sum(f.daily(cluster.num_gpus, domains) for f in failures if f.scope in ("node", "domain"))
    if picture is not None:
        output.write_file(Path(picture), report.picture(rows))
    if fmt is Format.JSON:
        output.result_json(report.as_json(rows, daily, hours))
    else:
        output.result(report.screen(rows, daily, hours, output.stdout_style()))
    return Exit.OK
