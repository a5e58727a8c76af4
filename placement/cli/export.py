# SPDX-License-Identifier: Apache-2.0
"""`placement export DIR --to TARGET`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanOrMap


def export(
    plan: PlanOrMap,
    to: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            show_default=False,
            help="slurm, openmpi, openmpi4, mpich, torchrun, env, megatron, torchtitan, "
            "deepspeed, jax, kubernetes, ray or nccl.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="Write the files here; default: DIR-TARGET.", show_default=False),
    ] = None,
    fmt: Out = Format.TEXT,
) -> int:
    """The files that a launcher or framework needs to run the plan exactly; refused where it cannot."""  # fmt: skip
    from placement.cli.inputs import plan_cluster
    from placement.cli.maps import load_directory
    from placement.export import TARGETS, write_export
    from placement.export import export as make
    from placement.report.diagnostics import as_json, render

    if to not in TARGETS:
        raise typer.BadParameter(f"`{to}` is none of {', '.join(TARGETS)}", param_hint="--to")
    loaded = load_directory(plan, to)
    made = make(to, loaded, plan_cluster(loaded))
    folder = out or Path(f"{str(plan).rstrip('/')}-{to}")
    write_export(made, folder)
    if fmt is Format.JSON:
        found = [as_json(d) for d in made.warnings]
        files = {name: len(data) for name, data in made.files.items()}
        output.result_json({"target": to, "plan": loaded.digest, "out": str(folder), "files": files, "diagnostics": found})
        return Exit.OK
    if made.warnings:
        output.note(render(made.warnings, output.stderr_style()))
    output.result("\n".join([*(str(folder / name) for name in sorted(made.files)), "", made.files["README"].decode()]))
    return Exit.OK
