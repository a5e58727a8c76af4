# SPDX-License-Identifier: Apache-2.0
"""`placement fleet plan FLEET -o DIR [--from DIR]`, `placement fleet show DIR`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out

if TYPE_CHECKING:
    from placement.cli.inputs import Inputs
    from placement.ir import Cluster
    from placement.ir._array import Ints
    from placement.ir.fleet import Fleet, FleetJob
    from placement.runtime import LoadedPlan

app = typer.Typer(no_args_is_help=True, help="Several jobs on one cluster.", rich_markup_mode=None)
FORMAT_VERSION = "1.0"
FILE = "fleet.json"


@app.command("plan")
def plan(
    fleet: Annotated[str, typer.Argument(metavar="FLEET", help="A fleet YAML.", show_default=False)],
    out: Annotated[str, typer.Option("-o", "--out", metavar="DIR", help="Write fleet.json and a plan for each job here.")],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR", help="The fleet that runs now: its jobs keep their racks.", show_default=False),
    ] = None,
    effort: Annotated[
        int | None, typer.Option(min=0, max=3, help="How much to search for each job.", show_default=False)
    ] = None,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Let the referee check every plan.")] = True,
    fmt: Out = Format.TEXT,
) -> int:
    """Give every job racks of its own, sharing as few switches as possible, and plan each job on them."""
    from placement.report.fleet import screen
    from placement.runtime.atomic import replace_directory

    before = _read(Path(start)) if start else None
    tree, files = _planned(_load(fleet), before, Path(start) if start else None, effort, verify)
    files[FILE] = (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode()
    target = Path(out)
    replace_directory(target, files, (FILE, "jobs"), mark=FILE, what="fleet")
    if fmt is Format.JSON:
        output.result_json(tree)
    else:
        output.result(screen(tree, output.stdout_style()))
    return Exit.OK


@app.command("show")
def show(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="What `placement fleet plan` wrote.", show_default=False)],
    fmt: Out = Format.TEXT,
) -> int:
    """Who has which racks."""
    from placement.report.fleet import screen

    tree = _read(Path(directory))
    if fmt is Format.JSON:
        output.result_json(tree)
    else:
        output.result(screen(tree, output.stdout_style()))
    return Exit.OK


def _read(directory: Path) -> dict[str, Any]:
    """fleet.json of a fleet directory. Raises PlanError."""
    from placement.diag import Diagnostic, Label, PlanError, Span

    try:
        tree: dict[str, Any] = json.loads((directory / FILE).read_bytes())
        assert str(tree["format_version"]).startswith("1.")
        assert isinstance(tree["jobs"], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        message = f"{FILE} of the directory cannot be read, or is of another version"
        help = "is it a directory that `placement fleet plan` wrote?"
        raise PlanError([Diagnostic("fleet/unreadable", message, primary=Label(Span(str(directory))), help=help)]) from None
    return tree


def _load(path: str) -> Fleet:
    from placement.spec.fleet import load_fleet

    return load_fleet(path)


def _planned(
    fleet: Fleet, before: Mapping[str, Any] | None, start: Path | None, effort: int | None, verify: bool
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """fleet.json and all files. Jobs that keep exactly their racks and inputs keep their plan, byte by byte."""
    from placement.passes.fleet import FREE, partition
    from placement.spec import load_cluster

    cluster = load_cluster(fleet.topology)
    need = _needs(fleet, cluster)
    was_J = _owners(fleet, cluster, before)
    found = partition(cluster, need, was_J)
    tree: dict[str, Any] = {
        "format_version": FORMAT_VERSION, "name": fleet.name, "cluster": cluster.name, "jobs": {},
        "free_racks": int(((found.owner_J == FREE) & (cluster.whole_J > 0)).sum()), "shared_groups": found.shared,
        "racks_kept": {"kept": found.kept, "had": found.had},
    }  # fmt: skip
    files: dict[str, bytes] = {}
    text = _topology_text(fleet.topology)
    for i, job in enumerate(fleet.jobs):
        old = (before or {"jobs": {}})["jobs"].get(job.name)
        same = old is not None and bool(((found.owner_J == i) == (was_J == i)).all())
        inputs = _inputs_of(job, fleet.topology, _restricted(text, cluster, found.owner_J, i), effort)
        kept = _kept(start, job.name, inputs) if same else None
        bundle_files, facts = kept or _plan_job(inputs, verify)
        files |= {f"jobs/{job.name}/{name}": data for name, data in bundle_files.items()}
        change = "new" if old is None else "kept" if kept else "planned again" if same else f"{old['racks']:,} racks"
        tree["jobs"][job.name] = {**facts, **_share(cluster, found.owner_J, i), "change": change}
    return tree, files


def _needs(fleet: Fleet, cluster: Cluster) -> list[int]:
    """Racks of each job: as asked, or from its deadline; jobs of the least priority shrink where there is too little."""
    need = [job.racks or _by_deadline(job, cluster) for job in fleet.jobs]
    over = sum(need) - int((cluster.whole_J > 0).sum())
    for i in sorted(range(len(need)), key=lambda i: (fleet.jobs[i].priority, -i)):
        give = min(max(over, 0), need[i] - (fleet.jobs[i].min_racks or need[i]))
        need[i] -= give
        over -= give
    return need


def _by_deadline(job: FleetJob, cluster: Cluster) -> int:
    """Racks for so many tokens in so many days at the stated utilisation of the bf16 peak."""
    import math

    from placement.cost.flops import flops_per_token
    from placement.spec import load_job, load_model

    model, defaults = load_model(job.model)
    task = load_job(job.job, defaults, {})
    assert job.tokens is not None and job.days is not None
    flops = flops_per_token(model, task.seq_len) * job.tokens / (job.days * 86400.0)
    peak = min(chip.peak("bf16") for chip in cluster.chips) * job.mfu
    return math.ceil(flops / peak / int(cluster.whole_J.max()))


def _owners(fleet: Fleet, cluster: Cluster, before: Mapping[str, Any] | None) -> Ints:
    """Job of each rack now, by number in the new fleet; racks of jobs that are gone are free."""
    import numpy as np

    from placement.hostlist import expand
    from placement.passes.fleet import FREE

    owner_J = np.full(len(cluster.domain_name_J), FREE)
    numbers = {job.name: i for i, job in enumerate(fleet.jobs)}
    for name, job in (before or {"jobs": {}})["jobs"].items():
        if name in numbers:
            owner_J[np.isin(cluster.domain_name_J, expand(job["hosts"]))] = numbers[name]
    return owner_J


def _topology_text(topology: str) -> str:
    from placement.spec.examples import resolve

    return resolve(topology, "topology").read_text(encoding="utf-8-sig")


def _restricted(text: str, cluster: Cluster, owner_J: Ints, job: int) -> bytes:
    """The topology with everything drained that belongs to another job or to nobody."""
    from placement.hostlist import fold
    from placement.spec.events import Event, amend
    from placement.spec.source import parse

    others = cluster.domain_name_J[(owner_J != job) & (cluster.whole_J > 0)]
    if not len(others):
        return text.encode()
    doc = parse(text, "topology.yaml", "topology")
    names = set(cluster.domain_name_J.tolist()) <= set(_racks(doc))
    hosts = cluster.host_N[(owner_J != job)[cluster.tiers[0].group_N]]
    return amend(doc, [Event("drained", fold(others if names else hosts))]).text.encode()


def _racks(doc: Any) -> Sequence[str]:
    """Names of the racks: NVLink domains may be a part of one."""
    from placement.spec.events import rack_names

    return rack_names(doc)


def _inputs_of(job: FleetJob, topology: str, restricted: bytes, effort: int | None) -> Inputs:
    """What `placement plan` would read, on the cluster as far as it is this job's."""
    from dataclasses import replace

    from placement.cli.inputs import TOPOLOGY, read_inputs
    from placement.spec.events import after

    options = {} if effort is None else {"effort": effort}
    inputs = read_inputs(job.model, topology, job.job, {}, options)
    cluster = after(restricted.decode(), TOPOLOGY)
    return replace(inputs, cluster=cluster, files={**inputs.files, TOPOLOGY: restricted})


def _kept(start: Path | None, name: str, inputs: Inputs) -> tuple[dict[str, bytes], dict[str, Any]] | None:
    """The plan that runs, repairs included, if it was made from the same model and job and stands on the cluster as it is."""
    from placement.runtime import load_plan, succession

    if start is None or not (start / "jobs" / name / "plan.json").exists():
        return None
    folder = succession.latest(start / "jobs" / name)
    loaded = load_plan(folder)
    if not _stands(loaded, inputs):
        return None
    files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    return files, _facts(loaded.json)


def _stands(loaded: LoadedPlan, inputs: Inputs) -> bool:
    from placement.cli.inputs import TOPOLOGY
    from placement.cli.now import placed_on
    from placement.diag import InputError
    from placement.verify.placing import broken_rules

    was, now = dict(loaded.inputs), dict(inputs.files)
    same_cluster = was.pop(TOPOLOGY) == now.pop(TOPOLOGY)
    if was != now or same_cluster:
        return was == now
    try:
        placement = placed_on(loaded, inputs.cluster)
    except InputError:
        return False
    return not broken_rules(inputs.cluster, loaded.strategy, placement, ragged=inputs.job.ragged)


def _plan_job(inputs: Inputs, verify: bool) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Compile one job; the referee looks at the finished files. Raises PlanError, Infeasible."""
    import tempfile

    from placement.cli.watch import progress
    from placement.compile import compile_plan
    from placement.diag import PlanError
    from placement.runtime import assemble, load_plan, write_plan
    from placement.verify import verify as referee

    with progress(bar=True) as observe:
        plan = compile_plan(inputs.cluster, inputs.model, inputs.job, inputs.efficiency, observe)
    bundle = assemble(plan, inputs.files)
    if verify:
        with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
            write_plan(bundle, Path(scratch) / "plan")
            found = referee(load_plan(Path(scratch) / "plan"), inputs.cluster, inputs.model, inputs.job, inputs.efficiency)
        if not found.ok:
            raise PlanError(found.diagnostics)
    return dict(bundle.files), _facts(bundle.json)


def _facts(tree: Mapping[str, Any]) -> dict[str, Any]:
    told = tree["predicted"]
    return {
        "digest": tree["digest"], "world_size": tree["world_size"], "step_time_s": told["step_time_s"], "mfu": told["mfu"],
        "strategy": tree["strategy"],
    }  # fmt: skip


def _share(cluster: Cluster, owner_J: Ints, job: int) -> dict[str, Any]:
    from placement.hostlist import fold

    mine = owner_J == job
    return {"racks": int(mine.sum()), "gpus": int(cluster.whole_J[mine].sum()), "hosts": fold(cluster.domain_name_J[mine])}
