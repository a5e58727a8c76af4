# SPDX-License-Identifier: Apache-2.0
"""`placement repair DIR --failed … -o NEWDIR`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, PlanOrMap

if TYPE_CHECKING:
    from placement.cli.now import Now
    from placement.ir import Placement
    from placement.repair import Repaired, Standing, Terms
    from placement.runtime import Bundle, LoadedPlan
    from placement.spec.events import Event

Parts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LIST|@FILE", show_default=False,
        help="Names or host lists of nodes, racks, switches; host:0 GPUs; host:rail0 adapters; rail0; plane0; `a -- b` cables.",
    ),
]  # fmt: skip


def repair(
    plan: PlanOrMap,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="NEWDIR", help="Write the repaired plan here.", show_default=False)
    ] = None,
    failed: Parts = None,
    drained: Parts = None,
    degraded: Parts = None,
    restored: Parts = None,
    topology: Annotated[
        str | None,
        typer.Option(metavar="TOPOLOGY", help="The cluster as it is now: a topology, or a new capture.", show_default=False),
    ] = None,
    shrink: Annotated[bool, typer.Option("--shrink", help="Run on fewer replicas where there is no repair.")] = False,
    extra_moves: Annotated[
        int | None,
        typer.Option(
            min=0, help="Ranks that may leave slow nodes beyond the fewest; default: as many as pay.", show_default=False
        ),
    ] = None,
    restart: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="What one interruption of the job costs.")] = 300.0,
    pays_within: Annotated[float, typer.Option(min=0, metavar="HOURS", help="Leave slow nodes if that pays within.")] = 24.0,
    use_reserved: Annotated[bool, typer.Option("--use-reserved", help="Take the spares that the topology reserves.")] = False,
    expect: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Refuse any other plan than this one.", show_default=False)
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Repair a plan once more that another has taken the place of.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Let the referee check the plan before it is written.")] = False,
    fmt: Out = Format.TEXT,
) -> int:
    """Move the ranks of lost parts with as few moves as possible: same strategy, stages and rank numbers."""
    from placement.runtime import succession
    from placement.runtime.mapfile import is_map

    events = _events({"failed": failed, "drained": drained, "degraded": degraded, "restored": restored})
    if not events and topology is None:
        raise typer.BadParameter("say what happened: --failed, --drained, --degraded, --restored or --topology")
    folder, several = Path(plan), is_map(plan)
    if several and (shrink or extra_moves is not None):
        option = "--shrink" if shrink else "--extra-moves"
        raise typer.BadParameter("a map has several strategies and no simulated step; drop the option", param_hint=option)
    with succession.claimed(folder), _without_gc():
        from placement.cli import map_repair
        from placement.repair import Terms
        from placement.runtime import load_plan
        from placement.runtime.mapfile import load_map

        loaded = load_map(plan) if several else load_plan(plan)
        succession.require_current(folder, loaded.digest, expect) if not again else None
        if out is not None:
            succession.require_free(Path(out), folder, loaded.digest)
        hosts = (
            (map_repair.reserved_hosts(loaded) if several else loaded.json["spares"]["reserved_hosts"]) if use_reserved else ""
        )
        events += _restored(hosts)
        target = Path(out) if out else None
        if several:
            record, rows, notes = map_repair.repair(loaded, events, topology, verify, target)
        else:
            terms = Terms(extra_moves, restart, pays_within * 3600)
            record, rows, notes = _repair(loaded, events, topology, shrink, terms, verify, target)
    if fmt is Format.JSON:
        from placement.report.moves import COLUMNS

        output.result_json({**record, "columns": list(COLUMNS), "moves": rows, "notes": notes})
    else:
        from placement.report import moves
        from placement.report.maps import moves as map_moves

        screen = map_moves.screen if several else moves.screen
        output.result(screen(record, rows, notes, output.stdout_style()))
    return Exit.OK


@contextmanager
def _without_gc() -> Iterator[None]:
    """Three in the morning: a tenth of a short program would go into looking for garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _events(given: Mapping[str, Sequence[str] | None]) -> list[Event]:
    from placement.spec.events import Event

    return [Event(state, _text(item)) for state, items in given.items() for item in items or ()]


def _restored(hosts: str) -> list[Event]:
    """Nodes back in service."""
    from placement.spec.events import Event

    return [Event("restored", hosts)] if hosts else []


def _text(item: str) -> str:
    """A list as typed, or `@FILE` with one name a line; `#` starts a comment."""
    if not item.startswith("@"):
        return item
    lines = Path(item[1:]).read_text(encoding="utf-8").splitlines()
    return ",".join(name for line in lines if (name := line.partition("#")[0].strip()))


def _repair(
    loaded: LoadedPlan, events: Sequence[Event], topology: str | None, shrink: bool, terms: Terms, verify: bool,
    out: Path | None,
) -> tuple[dict[str, Any], list[list[Any]], list[str]]:  # fmt: skip
    from placement.cli.inputs import EFFICIENCY, JOB, MODEL, TOPOLOGY
    from placement.cli.now import cluster_now
    from placement.repair import repair_plan
    from placement.report import moves
    from placement.runtime import Bundle, assemble, write_plan
    from placement.runtime.planjob import job_of
    from placement.spec import load_model
    from placement.spec.catalog import efficiency

    folder = loaded.path / "inputs"
    now = cluster_now(loaded, events, topology)
    model, _ = load_model(str(folder / MODEL))
    constants = efficiency(str(folder / EFFICIENCY) if EFFICIENCY in loaded.inputs else None)
    standing = _standing(loaded, now, events, topology)
    if not (topology is not None or now.slower or terms.limit):  # nobody got slower, so nobody has to leave
        terms = replace(terms, limit=0)
    repaired = repair_plan(now.cluster, model, job_of(loaded.json), constants, standing, shrink=shrink, terms=terms)
    before = _before(repaired, standing.chosen.placement)
    inputs = {**loaded.inputs, TOPOLOGY: now.file}
    if repaired.shrunk:
        inputs[JOB] = smaller_batch(loaded.inputs.get(JOB, b""), repaired.shrunk.batch[1])
    rows = moves.moves(repaired, before)
    told = moves.told(now.changed)
    record = moves.facts(repaired, before, repairs=loaded.digest, step_s=standing.chosen.cost.step_s, events=told)
    bundle = assemble(repaired.plan, inputs)
    bundle = Bundle(bundle.json, {**bundle.files, **moves.files(record, rows, bundle.digest)})
    if verify:
        _verify(bundle, repaired)
    notes = [*now.notes, *_remarks(now, topology, repaired)]
    notes += written(bundle, loaded, out, write_plan) if out is not None else []
    return {**record, "digest": bundle.digest}, rows, notes


def _standing(loaded: LoadedPlan, now: Now, events: Sequence[Event], topology: str | None) -> Standing:
    """The plan that is repaired, on the nodes of the cluster as it is now."""
    from placement.cli.now import placed_on, standing_of

    standing = standing_of(loaded)
    if topology is not None:
        standing = replace(standing, chosen=replace(standing.chosen, placement=placed_on(loaded, now.cluster)))
    return replace(standing, narrower=topology is None and not any(e.state == "restored" for e in events))


def written(bundle: Bundle, loaded: LoadedPlan, out: Path, write: Callable[[Bundle, Path], str]) -> list[str]:
    """Put the new plan or map in its place and name it in the old one; what could not be done."""
    from placement.runtime import succession

    if out.resolve() == loaded.path.resolve():
        succession.require_unchanged(loaded.path, loaded.digest)
        write(bundle, out)
        return []
    write(bundle, out)
    if succession.mark_superseded(loaded.path, out, bundle.digest):
        return []
    return ["the old directory may not be written to, so it does not say that another plan took its place"]


def _remarks(now: Now, topology: str | None, repaired: Repaired) -> list[str]:
    """What the facts alone do not say."""
    if topology is None and not any(now.changed.values()):
        return ["no part is named that was not out already"]
    if now.slower and repaired.offer is None:
        return ["no move off the slow parts makes the step shorter"]
    return []


def _before(repaired: Repaired, old: Placement) -> Placement:
    """Where the ranks of the new plan were."""
    from placement.ir import Placement

    return Placement(old.gpu_R[repaired.shrunk.old_R]) if repaired.shrunk else old


def smaller_batch(job: bytes, batch: int) -> bytes:
    """A job file with another global batch; everything else as typed."""
    import re

    text, line = job.decode("utf-8-sig"), f"global_batch: {batch}"
    found, count = re.subn(r"(?m)^global_batch\s*:.*$", line, text)
    return (found if count else text + ("" if not text or text.endswith("\n") else "\n") + line + "\n").encode()


def _verify(bundle: Bundle, repaired: Repaired) -> None:
    """Let the referee look at the finished files. Raises PlanError."""
    import tempfile

    from placement.diag import PlanError
    from placement.runtime import load_plan, write_plan
    from placement.verify import verify

    plan = repaired.plan
    job = replace(plan.job)
    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        write_plan(bundle, Path(scratch) / "plan")
        found = verify(load_plan(Path(scratch) / "plan"), plan.cluster, plan.model, job, plan.efficiency)
    if not found.ok:
        raise PlanError(found.diagnostics)
