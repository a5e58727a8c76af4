# SPDX-License-Identifier: Apache-2.0
"""`placement simulate DIR [--trace FILE]`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanDir


def simulate(
    plan: PlanDir,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every event for Perfetto (trace.json or trace.json.gz).", show_default=False),
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Simulate one step of a plan, event by event: every stage, microbatch, message and bucket."""
    from placement.cli.inputs import plan_inputs
    from placement.passes.problem import problem
    from placement.passes.timeline import events_of
    from placement.report.simulation import facts, screen
    from placement.report.trace import write_trace
    from placement.runtime import load_plan

    loaded = load_plan(plan)
    inputs = plan_inputs(loaded)
    task = problem(inputs.cluster, inputs.model, inputs.job, inputs.efficiency)
    events = events_of(task, loaded.strategy, loaded.stages, loaded.placement)
    if trace is not None:
        count = write_trace(events, trace)
        output.note(f"    Wrote {count:,} events to {trace}: open it at ui.perfetto.dev")
    told = facts(events)
    if fmt is Format.JSON:
        output.result_json(told)
    else:
        output.result(screen(told))
    return Exit.OK
