# SPDX-License-Identifier: Apache-2.0
"""Reads the files that commands name, and those that a plan directory keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from placement.diag import Collector, Diagnostic, InputError, Label, Span

if TYPE_CHECKING:
    from placement.ir import Cluster, Efficiency, Job, ModelGraph, Spares
    from placement.runtime import LoadedPlan

T = TypeVar("T")

MODEL, TOPOLOGY, JOB, EFFICIENCY = "model.yaml", "topology.yaml", "job.yaml", "efficiency.yaml"


@dataclass(frozen=True)
class Inputs:
    """Everything that a compilation reads, and the bytes it was read from, by the name they have in a plan directory."""

    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency
    files: Mapping[str, bytes] = field(default_factory=dict)


def read_inputs(model: str, topology: str, job: str | None, pinned: Mapping[str, str], options: Mapping[str, Any]) -> Inputs:
    """Every input of `placement plan`; the errors of all files are raised together."""
    from placement.ingest.anyfile import load_cluster
    from placement.spec import load_job, load_model

    found = Collector()
    graph, defaults = gathered(found, lambda: load_model(model)) or (None, None)
    cluster = gathered(found, lambda: load_cluster(topology))
    task = gathered(found, lambda: load_job(job, defaults, dict(pinned), **options))
    constants = gathered(found, lambda: read_constants(task.calibration if task else None))
    found.raise_if_errors()
    assert cluster and graph and task and constants
    return Inputs(cluster, graph, task, constants, _files(model, topology, job, task.calibration))


def read_constants(path: str | None) -> Efficiency:
    """Constants of the cost model: the fitted ones, or a calibration file, which must have all of them."""
    from placement.spec.catalog import efficiency, priors

    found = efficiency(path)
    missing = sorted(set(priors()) - set(found.values)) if path is not None else []
    if missing:
        message = f"the calibration file lacks {len(missing)} of the {len(priors())} constants"
        where = Label(Span(str(path)))
        help = "write it again with `placement calibrate` of this version"
        raise InputError([Diagnostic("catalog/missing-constant", message, primary=where, help=help, objects=tuple(missing))])
    return found


def gathered(found: Collector, read: Callable[[], T]) -> T | None:
    """The value that `read` returns, or None with its diagnostics in `found`."""
    try:
        return read()
    except InputError as error:
        found.found.extend(error.diagnostics)
        return None


def _files(model: str, topology: str, job: str | None, calibration: str | None) -> dict[str, bytes]:
    """Copies for the plan directory, so that it can be checked without the original files."""
    from placement.spec.catalog import CATALOG
    from placement.spec.examples import resolve

    files = {MODEL: resolve(model, "model"), TOPOLOGY: resolve(topology, "topology")}
    if job is not None:
        files[JOB] = resolve(job, "job")
    files[EFFICIENCY] = Path(calibration) if calibration else CATALOG / "efficiency.yaml"
    return {name: path.read_bytes() for name, path in files.items()}


def spare_policy(text: str | None) -> Spares | None:
    """`none`, `any`, `racks=8`, `gpus=64`, `per_rack=2`, `per_group=1`, `survive=24` (hours); None if nothing was asked."""
    if text is None:
        return None
    from placement.ir import Spares

    policy, _, count = text.partition("=")
    needs_count = policy in ("racks", "gpus", "per_rack", "per_group", "survive")
    if policy not in ("none", "any") and not needs_count:
        known = "none, any, per_rack=N, racks=N, per_group=N, gpus=N, survive=HOURS"
        raise typer.BadParameter(f"`{policy}` is none of {known}", param_hint="--spares")
    if needs_count != (count.isascii() and count.isdigit()):
        raise typer.BadParameter(f"`{text}` is not written as `{policy}{'=8' if needs_count else ''}`", param_hint="--spares")
    if policy == "survive":
        from placement.ir.failures import GPU_DAY

        return Spares("survive", 0, float(count), 0.99, GPU_DAY)
    return Spares(policy, int(count or 0))


def pins(given: Sequence[str]) -> dict[str, str]:
    """`["tp=8", "schedule=1f1b"]` as a mapping; the same key twice, or no `=`, is a usage error."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or not value:
            raise typer.BadParameter(f"`{text}` is not KEY=VALUE, such as `tp=8`", param_hint="--pin")
        if found.get(key, value) != value:
            raise typer.BadParameter(f"`{key}` is pinned to both `{found[key]}` and `{value}`", param_hint="--pin")
        found[key] = value
    return found


def plan_inputs(loaded: LoadedPlan, topology: str | None = None) -> Inputs:
    """What a plan directory was made from, read again from its own copies; `topology` replaces the cluster."""
    from placement.spec import load_model

    folder = loaded.path / "inputs"
    constants = str(folder / EFFICIENCY) if EFFICIENCY in loaded.inputs else None
    model, defaults = load_model(str(folder / MODEL))
    return Inputs(plan_cluster(loaded, topology), model, _job_again(loaded, defaults), read_constants(constants))


def _job_again(loaded: LoadedPlan, defaults: Mapping[str, Any]) -> Job:
    """The job of the copied files under what the command line had set: what the job in plan.json is checked against."""
    from placement.runtime.planjob import job_of
    from placement.spec import load_job

    stated = job_of(loaded.json)
    path = str(loaded.path / "inputs" / JOB) if JOB in loaded.inputs else None
    options = {name: getattr(stated, name) for name in ("max_gpus", "spares", "effort", "seed")}
    return load_job(path, defaults, {k: str(v) for k, v in stated.pins.items()}, **options)


def plan_cluster(loaded: LoadedPlan, topology: str | None = None) -> Cluster:
    """The cluster of a plan directory, from its own copy of the topology file."""
    from placement.ingest.anyfile import load_cluster

    if topology:
        return load_cluster(topology)
    return load_cluster(str(loaded.path / "inputs" / TOPOLOGY), copy_of=str(loaded.json["cluster"]["name"]))
