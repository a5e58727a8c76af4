# SPDX-License-Identifier: Apache-2.0
"""The compiler of jobs that are no single product, composed: strategies of towers, one placement of all, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from placement.compile import Observe, silent
from placement.ir import Cluster, Efficiency, Job, ModelGraph, Strategy, Traffic
from placement.ir.comms import Comms, CommsPlan


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

    found = place_comms(cluster, comms, lambda how: observe("placement", 0, 0, how))
    observe("certificate", 0, 1, "lower bounds for any placement")
    bound = bound_comms(cluster, comms)
    names = [t.name for t in cluster.tiers]
    parts, launcher = (
        {p.label: dict(zip(names, p.bytes_T.tolist(), strict=True)) for p in f.loads.parts}
        for f in (found.best, found.launcher)
    )
    return CommsPlan(
        cluster, comms, found.best.placement, found.best.how, found.tried,
        dict(zip((t.name for t in comms.towers), found.units.cell_K, strict=True)),
        parts, found.best.loads.busiest_s, launcher, found.launcher.loads.busiest_s, found.kept,
        bound.lower, bound.method, bound.joint, bound.parts, _open(bound.why, parts), _hints(bound.shared, bound.apart),
    )  # fmt: skip


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
