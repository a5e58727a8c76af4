# SPDX-License-Identifier: Apache-2.0
"""The compiler of jobs that are no single product, composed: strategies of towers, one placement of all, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.compile import Observe, silent
from placement.ir import Cluster, Efficiency, Job, ModelGraph, Placement, Strategy, Traffic
from placement.ir._array import Ints
from placement.ir.comms import Comms, CommsPlan

if TYPE_CHECKING:
    from placement.passes.comms_bound import CommsBound
    from placement.passes.comms_place import Found
    from placement.passes.comms_repair import MapRepair
    from placement.passes.fetch import Sources


def search_tower(
    cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency, observe: Observe = silent
) -> tuple[Strategy, Traffic]:
    """Strategy and bytes of one tower, found as if it had the cluster to itself. Raises Infeasible."""
    from placement.passes.problem import problem
    from placement.passes.search import search

    chosen, _ = search(problem(cluster, model, job, efficiency), observe)
    return chosen.strategy, chosen.traffic


def compile_comms(cluster: Cluster, comms: Comms, observe: Observe = silent) -> CommsPlan:
    """Place every rank of every tower, beside the launcher's order and under bounds for any placement. Raises Infeasible."""
    from placement.passes.comms_bound import bound_comms
    from placement.passes.comms_place import place_comms

    @cache
    def bound() -> CommsBound:
        observe("certificate", 0, 1, "lower bounds for any placement")
        return bound_comms(cluster, comms)

    found = place_comms(cluster, comms, lambda how: observe("placement", 0, 0, how), lambda: bound().joint)
    cells = dict(zip((t.name for t in comms.towers), found.units.cell_K, strict=True))
    return _plan(cluster, comms, found.best, found.launcher, found.kept, found.tried, cells, bound())


def _plan(
    cluster: Cluster, comms: Comms, best: Found, launcher: Found, kept: bool, tried: tuple[tuple[str, float], ...],
    cells: Mapping[str, int], bound: CommsBound,
) -> CommsPlan:  # fmt: skip
    parts, other = (_parts(cluster, f) for f in (best, launcher))
    return CommsPlan(
        cluster, comms, best.placement, best.how, tried, cells, parts, best.loads.busiest_s, other, launcher.loads.busiest_s,
        kept, bound.lower, bound.method, bound.joint, bound.parts, _open(bound.why, parts), _hints(bound.shared, bound.apart),
    )  # fmt: skip


def _parts(cluster: Cluster, found: Found) -> dict[str, dict[str, float]]:
    names = [t.name for t in cluster.tiers]
    return {p.label: dict(zip(names, p.bytes_T.tolist(), strict=True)) for p in found.loads.parts}


@dataclass(frozen=True)
class MapRepaired:
    """A repaired map. `sources` for `repair.moved_R`."""

    plan: CommsPlan
    repair: MapRepair
    sources: Sources


def repair_comms(cluster: Cluster, old: CommsPlan, *, narrower: bool) -> MapRepaired:
    """Repair a map, its ranks on the nodes of `cluster`, the cluster as it is now: same towers, same rank numbers.

    `narrower`: no GPU came back since, so that its bounds hold on. Raises NoRepair.
    """
    from placement.passes.comms_bound import bound_comms, uncertified
    from placement.passes.comms_place import Shop, launcher_order
    from placement.passes.comms_repair import repair_map
    from placement.passes.comms_units import Units, cells_of

    comms, cell_K = old.comms, tuple(old.cells[t.name] for t in old.comms.towers)
    fix = repair_map(cluster, comms, cell_K, old.placement)
    cell_R = cells_of(comms, cell_K)
    shop = Shop(cluster, comms, Units(cell_R, np.bincount(cell_R), cell_R, cell_K), None)
    how = old.how if old.how.endswith(REPAIRED) else f"{old.how}{REPAIRED}"
    best = shop.priced(how, fix.placement.gpu_R)
    launcher = shop.priced("the launcher's order", launcher_order(cluster, comms.world_size))
    kept, tried = shop.allows(launcher.placement), ((fix.how, best.loads.score[0]),)
    found = sources_of(cluster, comms, old.placement, fix.moved_R)
    if not narrower:
        return MapRepaired(
            _plan(cluster, comms, best, launcher, kept, tried, old.cells, bound_comms(cluster, comms)), fix, found
        )
    parts, other = (_parts(cluster, f) for f in (best, launcher))
    plan = replace(
        old, cluster=cluster, placement=best.placement, how=how, tried=tried, parts=parts, busiest_s=best.loads.busiest_s,
        launcher_parts=other, launcher_busiest_s=launcher.loads.busiest_s, launcher_keeps=kept,
        why=_open(uncertified(comms, old.part_lower), parts),
    )  # fmt: skip
    return MapRepaired(plan, fix, found)


REPAIRED = ", repaired"


def sources_of(cluster: Cluster, comms: Comms, before: Placement, moved_W: Ints) -> Sources:
    """Where moved ranks find their state, tower by tower. Bare ranks have no replicas: their old GPU, or a checkpoint."""
    from placement.passes.fetch import CHECKPOINT, ITSELF, Sources, readable, sources

    alone_W = np.where(readable(cluster)[before.gpu_R[moved_W]], ITSELF, CHECKPOINT)
    found = [alone_W.copy() for _ in range(3)]
    for tower, first in zip(comms.towers, comms.first, strict=True):
        mine = np.flatnonzero((moved_W >= first) & (moved_W < first + tower.ranks))
        if tower.strategy is not None and len(mine):
            part = Placement(before.gpu_R[first : first + tower.ranks])
            told = sources(cluster, tower.strategy, part, moved_W[mine] - first)
            for column, of_tower in zip(found, (told.dense_W, told.expert_W, told.optimizer_W), strict=True):
                column[mine] = np.where(of_tower >= 0, of_tower + first, of_tower)
    return Sources(*found)


def _open(why: Mapping[str, str], parts: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Of parts without a certificate those that send anything: where nothing leaves there is nothing to better."""
    left = {label: sum(tiers.values()) for label, tiers in parts.items()}
    return {
        name: text for name, text in why.items() if sum(b for p, b in left.items() if p == name or p.startswith(f"{name}."))
    }


def _hints(shared: Mapping[str, Any], apart: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "shared": {tier: asdict(hint) for tier, hint in shared.items()},
        "apart": {tower: {tier: asdict(w) for tier, w in tiers.items()} for tower, tiers in apart.items()},
    }
