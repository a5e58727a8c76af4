# SPDX-License-Identifier: Apache-2.0
"""`placement verify DIR`."""

from __future__ import annotations

from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanOrMap


def verify(
    plan: PlanOrMap,
    topology: Annotated[
        str | None,
        typer.Option(metavar="TOPOLOGY", help="Check against this topology instead of the one in DIR.", show_default=False),
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """Re-derive everything the plan claims, trusting no number in it. Exit code 4 if anything is wrong."""
    from placement.cli.inputs import plan_inputs
    from placement.report.verification import as_json, screen
    from placement.runtime import load_plan
    from placement.runtime.mapfile import is_map
    from placement.verify import verify as referee

    if is_map(plan):
        from placement.cli.maps import verify_directory

        found = verify_directory(plan, topology)
    else:
        loaded = load_plan(plan)
        inputs = plan_inputs(loaded, topology)
        found = referee(loaded, inputs.cluster, inputs.model, inputs.job, inputs.efficiency)
    if fmt is Format.JSON:
        output.result_json(as_json(found))
    else:
        output.result(screen(found, output.stdout_style()))
    return Exit.OK if all(c.ok for c in found.checks) else Exit.PLAN
