# SPDX-License-Identifier: Apache-2.0
# A axis (AXES order)   T tier   J group of a tier   R rank
"""How the communicators of a placement lie on the tiers of the fabric: all that collective costs know of a placement."""

from __future__ import annotations

import numpy as np

from placement.cost.crossings import (
    Axis,
    along,
    boundaries,
    clique_load,
    fewest_members,
    path_load,
    pieces,
    ring_load,
    view,
)
from placement.cost.forward import forwarding
from placement.cost.ideal import ideal_spans
from placement.ir import AXES, Cluster, Placement, Spans, Strategy
from placement.ir._array import Floats

__all__ = ["ideal_spans", "spans_of"]


def spans_of(cluster: Cluster, strategy: Strategy, placement: Placement) -> Spans:
    """Exact spans of a placement, arrays (A, T).

    `ring_spB` counts directed ring edges (member i to i+1, closed) that leave a group; as many enter it. For `pp` the edges are
    the stage boundaries (`crossings.boundaries`), and the larger of those that leave and those that enter counts, because
    gradients take the way back at the same time. A group without uplink that has traffic gives inf. Where rails are apart, the
    NICs of GPUs that forward count too (`forward.forwarding`). A boundary (`edge_spB`) waits for the uplinks that it crosses,
    which carry the other boundaries too.
    """
    members_AT = np.array([[strategy.size(a)] * len(cluster.tiers) for a in AXES], float)
    ring_AT, a2a_AT = np.zeros(members_AT.shape), np.zeros(members_AT.shape)
    edge_P = np.zeros(strategy.pp)
    for t, tier in enumerate(cluster.tiers):
        ranks = view(cluster, placement, t)
        uplink_Bps_J = paced_uplinks(cluster, placement) if t == 0 else tier.uplink_Bps_J
        for a, name in enumerate(AXES):
            axis = along(ranks, strategy, name)
            if axis is None:
                continue
            members_AT[a, t] = fewest_members(axis)
            load_J = _edges(axis, strategy, name)
            ring_AT[a, t] = worst_s(load_J, uplink_Bps_J)
            a2a_AT[a, t] = worst_s(clique_load(axis), uplink_Bps_J)
            if t == 0 and name == "ep":
                a2a_AT[a, t] = max(a2a_AT[a, t], own_s(axis, slowest_adapter(cluster, placement)))
            if name == "pp":
                np.maximum(edge_P, _edge_s(axis, strategy, seconds_J(load_J, uplink_Bps_J)), out=edge_P)
    found = forwarding(cluster, strategy, placement)
    ring_AT[:, 0] = np.maximum(ring_AT[:, 0], found.nic_spB_A)
    edge_P[edge_P > 0] = np.maximum(edge_P[edge_P > 0], found.nic_spB_A[AXES.index("pp")])
    return Spans(members_AT, ring_AT, a2a_AT, found.hop_A if found.hop_A.any() else None, edge_P)


def own_s(axis: Axis, slowest_J: Floats) -> float:
    """Seconds per byte of the busiest adapter in an all-to-all: a member sends what goes to other domains over its own,
    however many others of its domain send nothing.
    """
    group_K, count_K, _ = pieces(axis)
    return float(((axis.size - count_K) / ((axis.size - 1) * np.maximum(slowest_J[group_K], 1e-9))).max())


def slowest_adapter(cluster: Cluster, placement: Placement) -> Floats:
    """Bytes/s of the slowest adapter in use of each NVLink domain, (J,)."""
    tier, slots = cluster.tiers[0], cluster.gpus_per_node
    node_U = np.flatnonzero(np.bincount(placement.gpu_R // slots, minlength=cluster.num_nodes))
    slowest_J = np.full(tier.num_groups, np.inf)
    np.minimum.at(slowest_J, tier.group_N[node_U], cluster.nic_Bps_N[node_U])
    return slowest_J


def paced_uplinks(cluster: Cluster, placement: Placement) -> Floats:
    """`paced` by the adapters that the ranks of a placement use, (J,)."""
    return paced(cluster, slowest_adapter(cluster, placement))


def paced(cluster: Cluster, slowest_J: Floats) -> Floats:
    """Bytes/s of each NVLink domain as its ranks find it, (J,): a collective waits for the slowest adapter that it uses, so
    all of a domain are worth that one; at most their sum. An adapter with a plane down is slow on all of them.
    """
    tier = cluster.tiers[0]
    paced_J = slowest_J * np.maximum(cluster.present_J, cluster.gpus_per_node)
    slowed_J = paced_J < tier.uplink_Bps_J * (1.0 - 1e-9)
    return np.asarray(np.where(slowed_J, paced_J, tier.uplink_Bps_J)) if slowed_J.any() else tier.uplink_Bps_J


def worst_s(load_J: Floats, uplink_Bps_J: Floats) -> float:
    """Seconds of the most loaded uplink; loads in bytes (or in edges: then seconds per byte)."""
    return float(seconds_J(load_J, uplink_Bps_J).max())


def seconds_J(load_J: Floats, uplink_Bps_J: Floats) -> Floats:
    """Seconds each uplink is busy: 0 where nothing leaves, inf where something leaves and there is no uplink."""
    busy_J = load_J > 0
    with np.errstate(divide="ignore"):
        return np.divide(load_J, uplink_Bps_J, out=np.zeros(len(load_J)), where=busy_J)


def _edge_s(axis: Axis, strategy: Strategy, busy_J: Floats) -> Floats:
    """Seconds per byte at the busiest uplink that each stage boundary crosses; 0 where it crosses none. (P,)"""
    out_P = np.zeros(strategy.pp)
    for a, b in boundaries(strategy):
        here, there = axis.group_HnX[:, a], axis.group_HnX[:, b]
        cut = here != there
        out_P[a] = max(float(busy_J[g[cut]].max(initial=0.0)) for g in (here, there))
    return out_P


def _edges(axis: Axis, strategy: Strategy, name: str) -> Floats:
    if name != "pp":
        return ring_load(axis)
    out_J, in_J = path_load(axis, boundaries(strategy))
    return np.maximum(out_J, in_J)
