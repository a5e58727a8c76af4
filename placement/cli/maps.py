# SPDX-License-Identifier: Apache-2.0
"""What commands that read plan directories do with a map of several towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placement.cli import output
from placement.cli.options import TableFormat
from placement.diag import Diagnostic, InputError, PlanError

if TYPE_CHECKING:
    from placement.ir.comms import Comms
    from placement.report.maps.view import MapView
    from placement.runtime import LoadedPlan
    from placement.verify import Verification

SIDES = ("plan", "ranks", "traffic", "groups", "tree")  # of `show`
KINDS = ("rank", "node", "link")  # of `why`
Answer = tuple[Mapping[str, Any], str]


def load_directory(directory: str, target: str) -> LoadedPlan:
    """A plan or map directory for an export; targets that write flags of one strategy take no map. Raises InputError."""
    from placement.export.registry import RANKS_ONLY
    from placement.runtime import load_plan
    from placement.runtime.mapfile import is_map, load_map

    if not is_map(directory):
        return load_plan(directory)
    if target not in RANKS_ONLY:
        message = f"`{target}` takes one strategy, and `{directory}` holds several towers with a strategy each"
        raise InputError([Diagnostic("export/towers", message, help=f"targets that place ranks: {', '.join(RANKS_ONLY)}")])
    return load_map(directory)


def verify_directory(directory: str, topology: str | None) -> Verification:
    """What `placement verify` says of a map directory, read again from its own copies."""
    from placement.ingest.anyfile import load_cluster
    from placement.runtime.mapfile import load_map
    from placement.verify.comms import verify_map

    loaded = load_map(directory)
    name = str(loaded.json["cluster"]["name"])
    inputs = loaded.path / "inputs"
    cluster = load_cluster(topology) if topology else load_cluster(str(inputs / "topology.yaml"), copy_of=name)
    return verify_map(loaded, cluster, comms_again(loaded))


def comms_again(loaded: LoadedPlan) -> Comms:
    """The communication of the copied file; of towers that run a model, strategy and bytes as map.json states them."""
    from placement.runtime.mapfile import stated_towers
    from placement.spec.comms_file import COMMS, load_comms

    return load_comms(str(loaded.path / "inputs" / COMMS), copy=True).lower(stated_towers(loaded))


def read_map(directory: str) -> MapView:
    """A map directory with its communication and its cluster, from its own copies. Raises PlanError, InputError."""
    from placement.cli.inputs import plan_cluster
    from placement.report.maps.view import MapView
    from placement.runtime.mapfile import load_map

    loaded = load_map(directory)
    comms = own_comms(loaded)
    return MapView(loaded.json, plan_cluster(loaded), comms, loaded.placement.gpu_R)


def own_comms(loaded: LoadedPlan) -> Comms:
    """The communication of a map that is what it was when it was written. Raises PlanError."""
    from placement.runtime.mapfile import require_inputs, require_ranks

    require_inputs(loaded)
    comms = comms_again(loaded)
    require_ranks(loaded, comms)
    return comms


def show(directory: str, what: str, fmt: TableFormat) -> None:
    """`placement show` of a map. Raises PlanError for sides that only a plan has."""
    from placement.runtime.mapfile import load_map

    if what not in SIDES:
        raise only_plans(f"`{what}` belongs to the step of one strategy", directory, f"sides of a map: {', '.join(SIDES)}")
    if what == "plan":
        from placement.report.comms import screen

        tree = load_map(directory).json
        output.result_json(tree) if fmt is TableFormat.JSON else output.result(screen(tree, output.stdout_style()))
    else:
        _SHOW[what](directory, fmt)


def _ranks(directory: str, fmt: TableFormat) -> None:
    from placement.cli.show import ranks
    from placement.runtime.mapfile import load_map, map_rows

    loaded = load_map(directory)
    ranks(map_rows(loaded.bin, own_comms(loaded).towers), int(loaded.json["world_size"]), fmt)


def _traffic(directory: str, fmt: TableFormat) -> None:
    from placement.cli.show import traffic
    from placement.report.maps.traffic import WHOLE, hops, link_rows
    from placement.report.maps.view import in_plan_words

    view = read_map(directory)
    traffic(view.cluster, in_plan_words(view), lambda: link_rows(view), lambda: hops(view), WHOLE, fmt)


def _groups(directory: str, fmt: TableFormat) -> None:
    from placement.cli.show import groups
    from placement.report.maps.traffic import groups as facts

    groups(facts(read_map(directory)), fmt)


def _tree(directory: str, fmt: TableFormat) -> None:
    from placement.cli.show import tree
    from placement.report.tree import occupancy

    view = read_map(directory)
    tree(view.cluster, occupancy(view.cluster, view.tower_R, view.gpu_R, view.names), fmt)


def why(directory: str, kind: str, name: str) -> Answer:
    """`placement why` of a map: facts and screen. Raises PlanError for what only a plan has."""
    if kind not in KINDS:
        message = f"there is no {kind} of all towers to ask about"
        raise only_plans(message, directory, f"ask about one of {', '.join(KINDS)}; `placement show` has the towers")
    return _WHY[kind](directory, name)


def _rank(directory: str, name: str) -> Answer:
    from placement.cli.why import number
    from placement.passes.comms_trades import trades
    from placement.report.maps.why import rank_facts, rank_text

    view = read_map(directory)
    rank = number(name, "rank", view.comms.world_size)
    node = int(view.gpu_R[rank]) // view.cluster.gpus_per_node
    found = trades(view.cluster, view.comms, view.cell_K, view.gpu_R, node)
    assert found is not None
    facts = rank_facts(view, rank, found)
    return facts, rank_text(facts)


def _node(directory: str, name: str) -> Answer:
    from placement.cli.why import exception, node_of
    from placement.passes.comms_trades import trades
    from placement.report.maps.why import node_facts, node_text

    view = read_map(directory)
    node = node_of(view.cluster, name)
    facts = node_facts(view, node, trades(view.cluster, view.comms, view.cell_K, view.gpu_R, node))
    facts |= exception(Path(directory), facts["host"], facts["rack"])
    return facts, node_text(facts)


def _link(directory: str, name: str) -> Answer:
    from placement.cli.why import link_of
    from placement.report.maps.why import link_facts, link_text

    view = read_map(directory)
    facts = link_facts(view, *link_of(view.cluster, name))
    return facts, link_text(facts)


def only_plans(message: str, directory: str, help: str) -> PlanError:
    from placement.diag import Label, Span

    return PlanError([Diagnostic("plan/towers", f"{message}, and this is a map of several towers",
                                 primary=Label(Span(directory)), help=help)])  # fmt: skip


_SHOW: Mapping[str, Callable[[str, TableFormat], None]] = {
    "ranks": _ranks, "traffic": _traffic, "groups": _groups, "tree": _tree,
}  # fmt: skip
_WHY: Mapping[str, Callable[[str, str], Answer]] = {"rank": _rank, "node": _node, "link": _link}
