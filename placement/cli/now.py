# SPDX-License-Identifier: Apache-2.0
"""The cluster of a plan as it is now: its own topology with events, another topology, or a new capture of the fabric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from placement.diag import Diagnostic, InputError, Label, PlanError, Severity, Span

if TYPE_CHECKING:
    from placement.ir import Cluster, Placement
    from placement.repair import Standing
    from placement.runtime import LoadedPlan
    from placement.spec.events import Event
    from placement.spec.source import Document


@dataclass(frozen=True)
class Now:
    """`file`: the topology that describes `cluster`. `changed`: names of parts by (state, kind)."""

    cluster: Cluster
    file: bytes
    changed: Mapping[tuple[str, str], tuple[str, ...]]
    notes: tuple[str, ...] = ()

    @property
    def slower(self) -> bool:
        """Something changed that slows ranks without stopping them."""
        return any(kind not in ("nodes", "racks", "gpus") or state == "degraded" for state, kind in self.changed)


def cluster_now(loaded: LoadedPlan, events: Sequence[Event], topology: str | None = None) -> Now:
    """The cluster of a plan after events. Raises InputError, or PlanError for a topology that is not the plan's.

    A capture is taken as it is; with events it is first written as a topology of ours, which has room for them.
    """
    from placement.spec.events import after, amend

    name = topology or str(loaded.path / "inputs" / "topology.yaml")
    if topology is None:
        _require_own(loaded)
    if not events and topology and (taken := _captured(topology)):
        return taken
    doc, notes = _document(loaded, topology)
    amended = amend(doc, events)
    try:
        cluster = after(amended.text, name)
    except InputError as error:
        raise error if topology else _placeless(error) from None
    return Now(cluster, amended.text.encode(), amended.changed, (*notes, *amended.notes))


def placed_on(loaded: LoadedPlan, cluster: Cluster) -> Placement:
    """The placement of a plan on the nodes of the same names, in whatever order they are now. Raises InputError."""
    import numpy as np

    from placement.ir import Placement
    from placement.runtime import Section

    host = loaded.bin[Section.HOSTS]
    names = np.char.decode(loaded.bin.name_column(host), "utf-8")
    order = np.argsort(cluster.host_N)
    at_H = np.minimum(np.searchsorted(cluster.host_N, names, sorter=order), cluster.num_nodes - 1)
    node_H = order[at_H]
    gone = names[cluster.host_N[node_H] != names]
    slots = int(loaded.bin.header["gpus_per_node"])
    if len(gone) or cluster.gpus_per_node != slots:
        from placement.hostlist import fold

        what = f"{len(gone):,} hosts of the plan are not in it: {fold(gone, 80)}"
        message = f"nodes have {cluster.gpus_per_node} GPUs in the new topology, {slots} in the plan" if not len(gone) else what
        help = "keep hosts that are gone as `absent`, or plan again with `placement plan`"
        raise InputError([Diagnostic("repair/other-cluster", message, help=help)])
    rank = loaded.bin[Section.RANKS]
    return Placement(node_H[rank["host"]] * slots + loaded.placement.gpu_R % slots)


def standing_of(loaded: LoadedPlan) -> Standing:
    """A plan as a repair finds it. Raises PlanError where plan.json has not all that another version of this tool wrote."""
    from placement.repair import Standing
    from placement.runtime.standing import candidate_of, certificate_of, search_of

    tree = loaded.json
    try:
        return Standing(candidate_of(loaded), certificate_of(tree), search_of(tree), tuple(tree["warnings"]))
    except (KeyError, TypeError, ValueError) as error:
        message = f"plan.json is of another version, or damaged: it cannot be read at {error}"
        where, help = Label(Span(str(loaded.path / "plan.json"))), "write the plan again with `placement plan`"
        raise PlanError([Diagnostic("plan/damaged", message, primary=where, help=help)]) from None


def _require_own(loaded: LoadedPlan) -> None:
    from hashlib import sha256

    if sha256(loaded.inputs["topology.yaml"]).hexdigest() != loaded.json["inputs"]["topology.yaml"]:
        message = "inputs/topology.yaml is not the file that the plan was made from"
        where = Label(Span(str(loaded.path / "inputs" / "topology.yaml")))
        help = "restore it, or give the cluster with `--topology`"
        raise PlanError([Diagnostic("repair/stale", message, primary=where, help=help)])


def _placeless(error: InputError) -> InputError:
    """What is wrong with events: their lines stand in no file yet."""
    wrong = [d for d in error.diagnostics if d.severity is Severity.ERROR]
    return InputError([Diagnostic(d.name, d.message, help=d.help, objects=d.objects) for d in wrong])


def _captured(path: str) -> Now | None:
    """A capture, or a file of another tool, as it is; None for topologies of ours."""
    from placement.ingest.anyfile import NATIVE, format_of, load_cluster

    if format_of(path) == NATIVE:
        return None
    return Now(load_cluster(path), Path(path).read_bytes(), {})


def _document(loaded: LoadedPlan, topology: str | None) -> tuple[Document, list[str]]:
    """The topology as text of ours, into which events can be written."""
    from placement.spec.source import load, parse

    text = b"" if topology else loaded.inputs["topology.yaml"]
    path = topology or str(loaded.path / "inputs" / "topology.yaml")
    if not topology and _ours(text):
        return parse(text.decode("utf-8-sig"), path, "topology"), []
    from placement.ingest.anyfile import NATIVE, format_of, load_wired
    from placement.ingest.native import as_yaml

    if format_of(path) == NATIVE:
        return load(path, "topology"), []
    wired, _ = load_wired([path])
    written, found = as_yaml(wired)
    notes = [f"{path} was written as a topology of ours, to hold what happened", *(d.message for d in found)]
    return parse(written, path, "topology"), notes


def _ours(text: bytes) -> bool:
    """Written in our own form: as a file of ours starts its keys (`ingest.anyfile` looks more closely)."""
    return text.startswith((b"name:", b"racks:")) or b"\nracks:" in text or b"\nfabric:" in text
