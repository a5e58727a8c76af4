# SPDX-License-Identifier: Apache-2.0
"""`placement plan MODEL TOPOLOGY`: inputs, compiler, referee, files, screen."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, ModelFile, Out, TopologyFile
from placement.cli.watch import progress
from placement.diag import PlanError

if TYPE_CHECKING:
    from placement.cli.inputs import Inputs
    from placement.diag import Diagnostic
    from placement.ir import Plan
    from placement.runtime import Bundle

T = TypeVar("T")


@dataclass(frozen=True)
class Voice:
    """What goes to stderr besides errors. `level`: -1 nothing, 0 what was done, 1 seconds of each step as well."""

    level: int
    bar: bool

    def did(self, verb: str, text: str, took_s: float | None = None) -> None:
        """`   Loaded moe-10t   117 layers …`; with `-v` how long it took."""
        if self.level < 0:
            return
        style = output.stderr_style()
        timed = f"   {took_s:.1f} s" if took_s is not None and self.level > 0 else ""
        output.note(f"{style(f'{verb:>9}', 'green', 'bold')} {text}{timed}")

    def found(self, finding: Diagnostic) -> None:
        """A warning about an input, with its place; mere information only with `-v`."""
        from placement.diag import Severity
        from placement.report.diagnostics import render_one

        if self.level >= (1 if finding.severity is Severity.INFO else 0):
            output.note(render_one(finding, output.stderr_style()))


def plan(
    model: ModelFile,
    topology: TopologyFile,
    job: Annotated[
        str | None, typer.Option(metavar="JOB", help="A job YAML: batch, precision, pins, spares.", show_default=False)
    ] = None,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="DIR", help="Write the plan directory here.", show_default=False)
    ] = None,
    pin: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Fix a degree or choice: tp=8. May be repeated.", show_default=False),
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Use at most so many GPUs; default: all.", show_default=False)] = None,
    spares: Annotated[
        str | None,
        typer.Option(metavar="POLICY[=N]", help="Healthy GPUs to keep out: none, racks=8, gpus=64.", show_default=False),
    ] = None,
    effort: Annotated[
        int | None, typer.Option(min=0, max=3, help="How much to search; counted, not timed.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of every random choice.", show_default=False)] = None,
    top: Annotated[int, typer.Option(min=0, help="Runners-up to list below the plan.")] = 0,
    fmt: Out = Format.TEXT,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Let the referee check the plan before it is written.")
    ] = True,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No bar and no progress lines.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr.")] = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Seconds of each step; -vv also runners-up.")] = 0,
) -> int:
    """Choose how to run a model on a cluster, down to which rank runs on which GPU."""
    from placement.report.plan import screen

    voice = Voice(-1 if quiet else verbose, bar=not (no_progress or quiet))
    if out is not None:
        _check_target(Path(out))
    inputs = _read(model, topology, job, pin or (), voice, max_gpus=gpus, spares=spares, effort=effort, seed=seed)
    bundle = _bundle(_compile(inputs, voice), inputs)
    if verify:
        _verify(bundle, inputs, voice)
    if out is not None:
        _write(bundle, Path(out), voice)
    if fmt is Format.JSON:
        output.result_json(bundle.json)
    else:
        output.result(screen(bundle.json, output.stdout_style(), max(top, 10 if verbose > 1 else 0)))
    return Exit.OK


def _read(model: str, topology: str, job: str | None, pin: Sequence[str], voice: Voice, **options: Any) -> Inputs:
    from placement.cli.inputs import pins, read_inputs, spare_policy
    from placement.fabric import validate
    from placement.report.text import amount

    spares = spare_policy(options.pop("spares"))
    given = {k: v for k, v in (options | {"spares": spares}).items() if v is not None}
    inputs, took_s = timed(lambda: read_inputs(model, topology, job, pins(pin), given))
    graph, cluster = inputs.model, inputs.cluster
    tiers = " · ".join(t.name for t in cluster.tiers)
    voice.did("Loaded", f"{graph.name}   {graph.num_blocks} blocks, {amount(graph.num_params)} parameters")
    voice.did("Loaded", f"{cluster.name}   {cluster.num_nodes:,} nodes, {cluster.num_gpus:,} GPUs, tiers {tiers}", took_s)
    for finding in validate(cluster):
        voice.found(finding)
    return inputs


def _compile(inputs: Inputs, voice: Voice) -> Plan:
    from placement.compile import compile_plan

    with progress(bar=voice.bar) as observe:
        plan, took_s = timed(lambda: compile_plan(inputs.cluster, inputs.model, inputs.job, inputs.efficiency, observe))
    s, job = plan.search, inputs.job
    counts = f"{s.enumerated:,} strategies, {s.feasible:,} feasible, {s.scored:,} scored in full"
    voice.did("Searched", f"{counts}   effort {job.effort} · seed {job.seed} · {took_s:.1f} s")
    return plan


def _bundle(plan: Plan, inputs: Inputs) -> Bundle:
    from placement.runtime import assemble

    return assemble(plan, inputs.files)


def _verify(bundle: Bundle, inputs: Inputs, voice: Voice) -> None:
    """Let the referee check the finished files in a place of their own. Raises PlanError before `--out` is touched."""
    from placement.runtime import load_plan, write_plan
    from placement.verify import verify

    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        write_plan(bundle, Path(scratch) / "plan")
        loaded = load_plan(Path(scratch) / "plan")
        found, took_s = timed(lambda: verify(loaded, inputs.cluster, inputs.model, inputs.job, inputs.efficiency))
    if not found.ok:
        output.note(
            "compiler and referee disagree, so nothing is written; please report it (`--no-verify` writes the plan as it is)"
        )
        raise PlanError(found.diagnostics)
    voice.did("Verified", f"{len(found.checks)} checks", took_s)


def _write(bundle: Bundle, out: Path, voice: Voice) -> None:
    from placement.runtime import write_plan

    digest, took_s = timed(lambda: write_plan(bundle, out))
    voice.did("Wrote", f"{out}   {digest[:8]}", took_s)
    voice.did("", f"next: placement verify {out}")


def _check_target(out: Path) -> None:
    """Refuse a directory that can't be written before the search starts rather than after it."""
    from placement.diag import Diagnostic, InputError, Label, Span

    base = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not base.is_dir() or not os.access(base, os.W_OK):
        reason = "is a file" if not base.is_dir() else "may not be written to"
        message = f"cannot write the plan directory: `{base}` {reason}"
        found = Diagnostic(
            "plan/not-writable", message, primary=Label(Span(str(out))), help="choose another directory with `-o`"
        )
        raise InputError([found])


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """The result of `work` and the seconds it took, for people only."""
    start_s = time.monotonic()
    return work(), time.monotonic() - start_s
