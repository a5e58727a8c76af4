# SPDX-License-Identifier: Apache-2.0
"""`placement map FILE TOPOLOGY`: several towers, bridges, groups and pairs, placed together."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from placement.cli import output
from placement.cli.exit import Exit
from placement.cli.options import Format, Out, TopologyFile
from placement.cli.plan import Voice, _check_target, timed
from placement.cli.watch import progress
from placement.diag import Collector, PlanError

if TYPE_CHECKING:
    from placement.ir import Cluster, Strategy, Traffic
    from placement.ir.comms import Comms
    from placement.runtime import Bundle
    from placement.spec.comms_file import CommsFile


def map_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A communication YAML, or the name of a packaged example.", show_default=False)
    ],
    topology: TopologyFile,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="DIR", help="Write the map directory here.", show_default=False)
    ] = None,
    fmt: Out = Format.TEXT,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Let the referee check the map before it is written.")
    ] = True,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="No bar and no progress lines.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors on stderr.")] = False,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Seconds of each step.")] = 0,
) -> int:
    """Place a job of several towers, or any groups and pairs of ranks, on a cluster: which rank runs on which GPU."""
    from placement.report.comms import screen
    from placement.runtime.mapfile import write_map

    voice = Voice(-1 if quiet else verbose, bar=not (no_progress or quiet))
    if out is not None:
        _check_target(Path(out))
    given, cluster, topology_bytes = _read(file, topology)
    comms = given.lower(_strategies(given, cluster, voice))
    voice.did("Loaded", f"{comms.name}   {len(comms.towers)} towers, {comms.world_size:,} ranks")
    bundle = _bundle(cluster, comms, {**given.files, "topology.yaml": topology_bytes}, voice)
    if verify:
        _verify(bundle, cluster, comms, voice)
    if out is not None:
        digest, took_s = timed(lambda: write_map(bundle, Path(out)))
        voice.did("Wrote", f"{out}   {digest[:8]}", took_s)
        voice.did("", f"next: placement export {out} --to slurm")
    if fmt is Format.JSON:
        output.result_json(dict(bundle.json))
    else:
        output.result(screen(bundle.json, output.stdout_style()))
    return Exit.OK


def _read(file: str, topology: str) -> tuple[CommsFile, Cluster, bytes]:
    """Both inputs; the errors of all files are raised together."""
    from placement.cli.inputs import gathered
    from placement.ingest.anyfile import load_cluster
    from placement.spec.comms_file import load_comms
    from placement.spec.examples import resolve

    found = Collector()
    given = gathered(found, lambda: load_comms(file))
    cluster = gathered(found, lambda: load_cluster(topology))
    found.raise_if_errors()
    assert given is not None
    assert cluster is not None
    return given, cluster, resolve(topology, "topology").read_bytes()


def _strategies(given: CommsFile, cluster: Cluster, voice: Voice) -> dict[str, tuple[Strategy, Traffic]]:
    """Strategies of towers that run a model, each found as if it had the cluster to itself."""
    from placement.comms import search_tower
    from placement.spec.catalog import efficiency

    found = {}
    for name, ask in given.asks.items():
        constants = efficiency(ask.job.calibration)
        with progress(bar=voice.bar) as observe:
            pair, took_s = timed(lambda ask=ask, c=constants: search_tower(cluster, ask.model, ask.job, c, observe))  # type: ignore[misc]
        found[name] = pair
        voice.did("Searched", f"{name}   {pair[0].world_size:,} ranks", took_s)
    return found


def _bundle(cluster: Cluster, comms: Comms, files: dict[str, bytes], voice: Voice) -> Bundle:
    from placement.comms import compile_comms
    from placement.runtime.mapfile import assemble_map

    with progress(bar=voice.bar) as observe:
        plan, took_s = timed(lambda: compile_comms(cluster, comms, observe))
    voice.did("Placed", f"{plan.how}", took_s)
    return assemble_map(plan, files)


def _verify(bundle: Bundle, cluster: Cluster, comms: Comms, voice: Voice) -> None:
    """Let the referee check the finished files in a place of their own. Raises PlanError before `--out` is touched."""
    from placement.runtime.mapfile import load_map, write_map
    from placement.verify.comms import verify_map

    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        write_map(bundle, Path(scratch) / "map")
        loaded = load_map(Path(scratch) / "map")
        found, took_s = timed(lambda: verify_map(loaded, cluster, comms))
    if not found.ok:
        output.note("compiler and referee disagree, so nothing is written; please report it")
        raise PlanError(found.diagnostics)
    voice.did("Verified", f"{len(found.checks)} checks", took_s)
