# SPDX-License-Identifier: Apache-2.0
"""`placement calibrate -o FILE (--runs RUNS | --nccl LOG --matmul CSV --steps RUNS)`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out
from placement.diag import Diagnostic, InputError, Label, Span

if TYPE_CHECKING:
    from placement.cost.hardware import Hardware
    from placement.ir import CollectivePoint, Efficiency, MatmulPoint, Run


def calibrate(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Write the constants here.", show_default=False)],
    runs: Annotated[
        str | None, typer.Option("--runs", metavar="RUNS", help="Fit everything anew to many runs (YAML).", show_default=False)
    ] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="RUNS", help="Your own measured steps (YAML, as for --runs).", show_default=False)
    ] = None,
    nccl: Annotated[
        list[str] | None, typer.Option(metavar="LOG", help="A nccl-tests log; may be given again.", show_default=False)
    ] = None,
    matmul: Annotated[
        list[str] | None,
        typer.Option(metavar="CSV", help="A matmul sweep: m,n,k,precision,seconds; may be given again.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="CSV",
            help="What hosts take: what,seconds of empty_step, dense_layer, routing, expert, fsdp_hooks.",
            show_default=False,
        ),
    ] = None,
    topology: Annotated[
        str | None, typer.Option(metavar="TOPOLOGY", help="The cluster that logs and sweeps come from.", show_default=False)
    ] = None,
    crossed: Annotated[bool, typer.Option("--cross-validate/--no-cross-validate", help="Also fit with pairs left out.")] = True,
    fmt: Out = Format.TEXT,
) -> int:
    """Fit the constants of the cost model; use them with `calibration:` in a job file.

    With --runs from priors, as the constants that come with the tool are made. With --nccl, --matmul, --host and --steps near
    those constants: a few measurements of your own cluster move what they speak of.
    """
    own = steps or nccl or matmul or host
    if bool(runs) == bool(own):
        raise typer.BadParameter("give --runs, or some of --steps, --nccl, --matmul and --host", param_hint="--runs")
    if (nccl or matmul) and not topology:
        raise typer.BadParameter(
            "--nccl and --matmul need --topology: which GPUs and NICs they measured", param_hint="--topology"
        )
    if runs:
        text, told, report = _anew(runs, crossed)
    else:
        text, told, report = _near(steps, nccl or [], matmul or [], host, topology)
    output.write_file(out, text)
    output.note(f"    Wrote {out}")
    if fmt is Format.JSON:
        output.result_json(report | {"format_version": output.FORMAT_VERSION})
    else:
        output.result(told)
    return Exit.OK


def _anew(runs: str, crossed: bool) -> tuple[str, str, dict[str, Any]]:
    """Text of the file, screen, and report of a fit from priors."""
    from placement.passes.calibrate import calibrate as fit
    from placement.report.calibration import efficiency_text, screen
    from placement.spec.catalog import priors

    used = _usable(runs)
    eff, report = fit(used, priors(), crossed=crossed, provenance=f"fitted to {len(used)} runs of {Path(runs).name}")
    return efficiency_text(eff, report), screen(report), report


def _near(
    steps: str | None, nccl: list[str], matmul: list[str], host: str | None, topology: str | None
) -> tuple[str, str, dict[str, Any]]:  # fmt: skip
    """The same of a fit to a user's own measurements, near the constants that come with the tool."""
    from placement.passes.own import fit_collectives, fit_matmuls, fit_steps, host_constants, own_report
    from placement.report.calibration import own_screen, own_text
    from placement.spec.catalog import efficiency, priors

    base = eff = efficiency()
    points, sweep, measured, times, hw = _measured(steps, nccl, matmul, host, topology)
    if hw is not None:
        eff = fit_matmuls(sweep, hw, fit_collectives(points, hw, eff))
    report = own_report(base, fit_steps(measured, priors(), eff, host_constants(times)), hw, points, sweep, measured)
    found: Efficiency = report.pop("efficiency")
    return (
        own_text(found, [Path(name).name for name in (*nccl, *matmul, *filter(None, (host, steps)))]),
        own_screen(report),
        report,
    )


def _measured(
    steps: str | None, nccl: list[str], matmul: list[str], host: str | None, topology: str | None
) -> tuple[list[CollectivePoint], list[MatmulPoint], list[Run], dict[str, float], Hardware | None]:
    """Everything that was measured, and where. Raises InputError with what is wrong in any of the files."""
    from placement.cli.inputs import gathered
    from placement.cost.hardware import hardware
    from placement.diag import Collector
    from placement.spec import load_cluster
    from placement.spec.measurements import host_times, matmul_sweep
    from placement.spec.nccl_tests import nccl_log

    found = Collector()
    logs = [gathered(found, lambda: nccl_log(name)) or [] for name in nccl]  # noqa: B023 -- called at once
    sweeps = [gathered(found, lambda: matmul_sweep(name)) or [] for name in matmul]  # noqa: B023
    runs = (gathered(found, lambda: _usable(steps)) if steps else None) or []
    times = (gathered(found, lambda: host_times(host)) if host else None) or {}
    cluster = gathered(found, lambda: load_cluster(topology)) if topology else None
    hw = hardware(cluster) if cluster else None
    for name, sweep in zip(matmul, sweeps, strict=True):
        found.found.extend(_unknown_precisions(name, sweep, hw))
    found.raise_if_errors()
    return [p for log in logs for p in log], [p for sweep in sweeps for p in sweep], runs, times, hw


def _unknown_precisions(path: str, sweep: list[MatmulPoint], hw: Hardware | None) -> list[Diagnostic]:
    """Precisions of a sweep that the GPUs of the topology have no constant for: another GPU was measured."""
    from placement.passes.own import foreign_precisions
    from placement.spec.textfile import unreadable

    foreign = foreign_precisions(sweep, hw) if hw else []
    help = "does --topology say which GPUs were measured?"
    return [unreadable(path, f"{p} was measured, which {hw.chip.name} has no tensor cores for", help) for p in foreign if hw]


def _usable(path: str) -> list[Run]:
    from placement.passes.calibrate import usable
    from placement.spec.runs import load_runs

    measured = load_runs(path)
    if not usable(measured):
        message = f"none of the {len(measured)} runs has both a measured step and a configuration that can be priced"
        raise InputError(
            [Diagnostic("runs/nothing-to-fit", message, primary=Label(Span(path)), help="`placement accuracy` says why")]
        )
    return usable(measured)
