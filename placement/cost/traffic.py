# SPDX-License-Identifier: Apache-2.0
# P pipeline stage   T tier   J group of a tier
"""Bytes of a training step by axis, what of them leaves the groups of each tier, and the load of every uplink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from placement.cost.crossings import (
    TierView,
    along,
    boundaries,
    chunk_edges,
    clique_load,
    path_load,
    ring_load,
    touch_load,
    view,
)
from placement.cost.memory import boundary_widths
from placement.cost.spans import seconds_J
from placement.ir import AXES, Cluster, Job, ModelGraph, Placement, Stages, Strategy, Term, Traffic
from placement.ir._array import Floats

if TYPE_CHECKING:
    from placement.cost.layers import LayerCost

KINDS = {"ep": "clique", "pp": "path"}  # every other axis runs rings


def traffic(model: ModelGraph, job: Job, strategy: Strategy, stages: Stages, layer: LayerCost, k: int = 0) -> Traffic:
    """Terms of a step, by axis, zero ones left out: bytes one rank sends, one direction, by stage.

    tp, cp, ep, etp, gtp, egtp: `layer.sent_KYA` of the blocks of a stage, times microbatches. pp: `layer.edge_K` times the
    tensors that cross, for every chunk boundary. dp, edp: gradient reduce-scatter and parameter all-gather, a ring sends
    (n-1)/n of the payload (Thakur et al. 2005). Weights sharded over gtp (egtp) members have as many rings, of every gtp-th
    member, which leave a group side by side wherever it holds whole blocks of gtp members: the bytes of all of them count.
    """
    count_PY = _blocks(model, strategy, stages)
    sent_PA = count_PY @ layer.sent_KYA[k] * strategy.num_microbatches
    bytes_by_axis = {a: sent_PA[:, i] for i, a in enumerate(AXES)}
    per_param = _reduced_bytes(job, strategy)
    for axis, params_PY, rings in (("dp", layer.dense_KY, strategy.gtp), ("edp", layer.expert_KY, strategy.egtp)):
        n = strategy.size(axis) // rings
        bytes_by_axis[axis] = count_PY @ params_PY[k] * per_param * rings * (n - 1) / n
    bytes_by_axis["pp"] = _boundary_bytes(strategy, float(layer.edge_K[k]) * boundary_widths(model, strategy, stages))
    terms = [Term(a, KINDS.get(a, "ring"), b) for a, b in bytes_by_axis.items() if strategy.size(a) > 1 and b.any()]
    return Traffic(tuple(terms))


def tier_bytes(cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic) -> dict[str, dict[str, float]]:
    """Bytes per step that leave groups of each tier, summed over the groups: {axis: {tier: bytes}}.

    Of a stage boundary both directions count, activations and gradients; of a ring its one direction; of an all-to-all every
    byte whose receiver sits in another group.
    """
    total: dict[str, dict[str, float]] = {term.axis: {} for term in traffic.terms}
    for t, tier in enumerate(cluster.tiers):
        ranks = view(cluster, placement, t)
        for term in traffic.terms:
            load_J = axis_load(ranks, strategy, term)
            total[term.axis][tier.name] = 0.0 if load_J is None else float(load_J.sum())
    return total


def link_loads(cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic) -> dict[str, Floats]:
    """Bytes per step that each group of each tier sends over its uplink: {tier: (J,)}."""
    loads = {}
    for t, tier in enumerate(cluster.tiers):
        ranks = view(cluster, placement, t)
        found = [axis_load(ranks, strategy, term) for term in traffic.terms]
        loads[tier.name] = np.sum([x for x in found if x is not None] or [np.zeros(tier.num_groups)], axis=0)
    return loads


def hottest_links(cluster: Cluster, loads: Mapping[str, Floats], top: int = 10) -> list[tuple[str, int, float, float]]:
    """The uplinks that are busy longest under loads of tiers (J,): (tier, group, bytes, seconds), ties by tier and group."""
    rows = []
    for tier in cluster.tiers:
        load_J = loads[tier.name]
        busy_J = seconds_J(load_J, tier.uplink_Bps_J)
        best = np.lexsort((np.arange(len(busy_J)), -busy_J))[:top]
        rows += [(tier.name, int(j), float(load_J[j]), float(busy_J[j])) for j in best if busy_J[j] > 0]
    return sorted(rows, key=lambda row: -row[3])[:top]


def axis_load(ranks: TierView, strategy: Strategy, term: Term) -> Floats | None:
    """Bytes of one term that leave each group of a tier (J,), or None when nothing does."""
    axis = along(ranks, strategy, term.axis)
    if axis is None:
        return None
    if term.kind == "path":
        edges = boundaries(strategy)
        out_J, in_J = path_load(axis, edges, np.array([term.bytes_P[a] for a, _ in edges]))
        return out_J + in_J
    weight_H = np.repeat(term.bytes_P, axis.group_HnX.shape[0] // strategy.pp)
    load = {"clique": clique_load, "hier": touch_load}.get(term.kind, ring_load)
    return load(axis, weight_H)


def _blocks(model: ModelGraph, strategy: Strategy, stages: Stages) -> Floats:
    """Blocks of each type in each stage. (P, Y)"""
    stage_B = strategy.chunk_stage[stages.chunk_B]
    count_PY = np.zeros((strategy.pp, len(model.types)))
    np.add.at(count_PY, (stage_B, model.type_B), 1.0)
    return count_PY


def _reduced_bytes(job: Job, strategy: Strategy) -> float:
    """Bytes per parameter that the data-parallel rings move in a step (Rajbhandari et al. 2020, section 7).

    none: all-reduce, twice the gradients. zero1: gradients once, parameters once. zero2: gradients of every microbatch, as they
    are not kept. fsdp: parameters gathered for the forward and the backward pass, gradients reduced, of every microbatch.
    """
    grad, param = job.optimizer.grad_reduce_bytes, job.optimizer.param_gather_bytes
    batches = strategy.num_microbatches
    return {
        "none": 2 * grad, "zero1": grad + param, "zero2": batches * grad + param, "fsdp": batches * (grad + 2 * param),
    }[strategy.sharding]  # fmt: skip


def _boundary_bytes(strategy: Strategy, bytes_C: Floats) -> Floats:
    """Bytes of activations that a rank of each stage sends to the next one (cyclic) in a step. (P,)

    Along a V the second arm runs backwards, so its gradients take the forward direction: the same bytes.
    """
    stage_C = strategy.chunk_stage
    source_E = np.array([a for a, _ in chunk_edges(strategy)], np.int64)
    bytes_E = bytes_C[stage_C[1:] != stage_C[:-1]]
    return np.asarray(np.bincount(source_E, bytes_E, strategy.pp) * strategy.num_microbatches, float)
