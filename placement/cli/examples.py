# SPDX-License-Identifier: Apache-2.0
"""One example of each command, shown below its `--help`. A test runs them all, in this order, in one folder."""

from __future__ import annotations

from collections.abc import Mapping

import typer

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "plan": ("placement plan llama3-70b gb200-su --pin tp=4 --pin dp=128 --effort 0 -o plan",),
    "verify": ("placement verify plan",),
    "show": ("placement show plan", "placement show plan ranks --format csv"),
    "why": ("placement why plan rank 137", "placement why plan stage 0", "placement why plan axis tp"),
    "simulate": ("placement simulate plan --trace trace.json.gz",),
    "repair": ("placement repair plan --failed su1-r1-t02 -o repaired",),
    "spares": ("placement spares plan --hours 24 --trials 50",),
    "drill": ("placement drill plan --days 1",),
    "fleet plan": ("placement fleet plan fleet.yaml --effort 0 -o fleet",),
    "fleet show": ("placement fleet show fleet",),
    "map": (
        "placement map vision-language-576 gb200-su -o mapped",
        "placement verify mapped",
        "placement show mapped traffic",
        "placement why mapped rank 384",
        "placement report mapped -o mapped.html",
        "placement repair mapped --failed su1-r1-t02 -o mapped-repaired",
        "placement diff mapped mapped-repaired",
        "placement export mapped --to slurm -o mapped-slurm",
    ),
    "diff": ("placement diff plan repaired",),
    "compare": ("placement compare plan",),
    "export": ("placement export plan --to slurm -o job",),
    "report": ("placement report plan -o report.html", "placement report plan --svg pictures"),
    "topology validate": ("placement topology validate cluster.yaml",),
    "topology show": ("placement topology show gb300-220k",),
    "topology import": ("placement topology import topology.conf --gpu H100 -o imported.yaml",),
    "topology export": ("placement topology export gb200-su --to slurm-yaml -o topology.yaml",),
    "topology diff": ("placement topology diff topology.conf topology.conf",),
    "sweep": ("placement sweep llama3-70b gb200-su --gpus 144,288 --pin tp=4",),
    "model validate": ("placement model validate model.yaml",),
    "model show": ("placement model show deepseek-v3",),
    "model import": ("placement model import config.json -o imported-model.yaml",),
    "runtime": ("placement runtime src",),
    "accuracy": ("placement accuracy runs.yaml",),
    "calibrate": ("placement calibrate --runs runs.yaml --no-cross-validate -o constants.yaml",),
    "explain": ("placement explain topology/unknown-key",),
    "schema": ("placement schema topology",),
}


def attach(app: typer.Typer, prefix: str = "") -> None:
    """Put the examples below the help of every command of an app and of the apps in it."""
    for command in app.registered_commands:
        assert command.callback is not None
        name = f"{prefix}{command.name or command.callback.__name__.rstrip('_')}"
        if name in EXAMPLES:
            command.epilog = "\b\nExample:\n" + "\n".join(f"  {line}" for line in EXAMPLES[name])
    for group in app.registered_groups:
        if group.typer_instance is not None:
            attach(group.typer_instance, f"{prefix}{group.name} ")
