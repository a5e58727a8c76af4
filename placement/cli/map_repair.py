# SPDX-License-Identifier: Apache-2.0
"""`placement repair` of a map of several towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placement.ir.comms import CommsPlan
    from placement.runtime import Bundle, LoadedPlan
    from placement.spec.events import Event


def reserved_hosts(loaded: LoadedPlan) -> str:
    """A host list of the spares that the topology reserves."""
    from placement.cli.inputs import plan_cluster
    from placement.hostlist import fold
    from placement.ir import State

    cluster = plan_cluster(loaded)
    return fold(cluster.host_N[cluster.state_N == State.RESERVED])


def repair(
    loaded: LoadedPlan, events: Sequence[Event], topology: str | None, verify: bool, out: Path | None
) -> tuple[dict[str, Any], list[list[Any]], list[str]]:
    """Repair a map and write it if `out` is given: record, a row for each moved rank, notes."""
    from placement.cli.inputs import TOPOLOGY
    from placement.cli.maps import own_comms
    from placement.cli.now import cluster_now, placed_on
    from placement.cli.repair import written
    from placement.comms import repair_comms
    from placement.report.maps import moves
    from placement.report.moves import files, rows_of, told
    from placement.runtime import Bundle
    from placement.runtime.mapfile import assemble_map, standing_map, write_map

    now = cluster_now(loaded, events, topology)
    old = standing_map(loaded, now.cluster, own_comms(loaded))
    if topology is not None:
        old = replace(old, placement=placed_on(loaded, now.cluster))
    narrower = topology is None and not any(e.state == "restored" for e in events)
    repaired = repair_comms(now.cluster, old, narrower=narrower)
    plan, fix = repaired.plan, repaired.repair
    rows = rows_of(now.cluster, fix.moved_R, fix.lost_R, old.placement, plan.placement, repaired.sources)
    record = moves.facts(repaired, old.placement, loaded.json, loaded.digest, told(now.changed))
    bundle = assemble_map(plan, {**loaded.inputs, TOPOLOGY: now.file})
    bundle = Bundle(bundle.json, {**bundle.files, **files(record, rows, bundle.digest)})
    if verify:
        _verify(bundle, plan)
    notes = [*now.notes, *_remarks(slower=now.slower, named=topology is not None or any(now.changed.values()))]
    notes += written(bundle, loaded, out, write_map) if out is not None else []
    return {**record, "digest": bundle.digest}, rows, notes


def _remarks(*, slower: bool, named: bool) -> list[str]:
    """What the record alone does not say."""
    if not named:
        return ["no part is named that was not out already"]
    return ["ranks stay on slow parts: no step of several towers is simulated, so that nobody knows what moving buys"] * slower


def _verify(bundle: Bundle, plan: CommsPlan) -> None:
    """Let the referee look at the finished files. Raises PlanError."""
    import tempfile

    from placement.diag import PlanError
    from placement.runtime.mapfile import load_map, write_map
    from placement.verify.comms import verify_map

    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        write_map(bundle, Path(scratch) / "map")
        found = verify_map(load_map(Path(scratch) / "map"), plan.cluster, plan.comms)
    if not found.ok:
        raise PlanError(found.diagnostics)
