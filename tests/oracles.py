# SPDX-License-Identifier: Apache-2.0
"""Slow, plain re-derivations: spans, bytes and exact optima by enumeration. They share no code with placement/cost."""

from __future__ import annotations

import itertools
import math

import numpy as np

from placement.ir import AXES, Cluster, Placement, State, Strategy, Traffic


def directed_edges(strategy: Strategy, axis: str) -> list[tuple[int, int]]:
    """Ring edges (closed), or for pp the stage boundaries in the direction of activations; the arms of a V once."""
    edges = []
    for row in strategy.groups(axis).tolist():
        if axis != "pp":
            edges += [(row[i], row[(i + 1) % len(row)]) for i in range(len(row))] if len(row) > 1 else []
            continue
        stages = strategy.chunk_stage.tolist()
        seen = set()
        for a, b in itertools.pairwise(stages):
            pair = (min(a, b), max(a, b)) if strategy.schedule in ("zb-v", "dualpipev") else (a, b)
            if a != b and pair not in seen:
                seen.add(pair)
                edges.append((row[pair[0]], row[pair[1]]))
    return edges


def spans(cluster: Cluster, strategy: Strategy, placement: Placement) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """members, ring_spB, a2a_spB as `Spans` defines them, one rank at a time."""
    shape = (len(AXES), len(cluster.tiers))
    members, ring, a2a = np.ones(shape), np.zeros(shape), np.zeros(shape)
    node = [int(g) // cluster.gpus_per_node for g in placement.gpu_R]
    for t, tier in enumerate(cluster.tiers):
        group = [int(tier.group_N[n]) for n in node]
        for a, axis in enumerate(AXES):
            rows = strategy.groups(axis).tolist()
            members[a, t] = min(sum(group[x] == group[r] for x in row) for row in rows for r in row)
            leave, enter, share = (dict.fromkeys(range(tier.num_groups), 0.0) for _ in range(3))
            for r, s in directed_edges(strategy, axis):
                if group[r] != group[s]:
                    leave[group[r]] += 1
                    enter[group[s]] += 1
            for row in rows:
                for r in row:
                    share[group[r]] += sum(group[x] != group[r] for x in row) / max(len(row) - 1, 1)
            for j in range(tier.num_groups):
                edges = max(leave[j], enter[j])
                up = _paced(cluster, j, node) if t == 0 else float(tier.uplink_Bps_J[j])
                ring[a, t] = max(ring[a, t], edges / up if edges else 0.0)
                a2a[a, t] = max(a2a[a, t], share[j] / up if share[j] else 0.0)
            for row in rows if axis == "ep" and t == 0 and strategy.ep > 1 else ():
                for r in row:  # what a member of an expert group sends to other domains takes its own adapter
                    slowest = min(float(cluster.nic_Bps_N[n]) for n in node if tier.group_N[n] == group[r])
                    away = sum(group[x] != group[r] for x in row) / (len(row) - 1)
                    a2a[a, 0] = max(a2a[a, 0], away / slowest)
    return members, ring, a2a


def _paced(cluster: Cluster, domain: int, used: list[int]) -> float:
    """Uplink of a domain whose adapters all wait for the slowest of those that ranks use."""
    tier, here = cluster.tiers[0], [n for n in range(cluster.num_nodes) if cluster.tiers[0].group_N[n] == domain]
    slowest = min((float(cluster.nic_Bps_N[n]) for n in here if n in used), default=math.inf)
    present = sum(cluster.state_N[n] in (State.OK, State.RESERVED) for n in here)
    paced, up = slowest * max(present, 1) * cluster.gpus_per_node, float(tier.uplink_Bps_J[domain])
    return paced if paced < up * (1 - 1e-9) else up


def pair_bytes(strategy: Strategy, traffic: Traffic) -> np.ndarray:
    """Symmetric matrix (R, R): bytes that leave groups of a tier when the two ranks do not share one, both directions."""
    weight = np.zeros((strategy.world_size, strategy.world_size))
    for term in traffic.terms:
        if term.kind == "clique":
            for row in strategy.groups(term.axis).tolist():
                for r, s in itertools.permutations(row, 2):
                    weight[r, s] += term.bytes_P[r // strategy.stage_ranks] / (len(row) - 1)
            continue
        for r, s in directed_edges(strategy, term.axis):
            weight[r, s] += term.bytes_P[r // strategy.stage_ranks] * (2 if term.kind == "path" else 1)
    return weight + weight.T


def leaving(cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic) -> list[float]:
    """Bytes that leave groups of each tier, all axes."""
    weight = pair_bytes(strategy, traffic)
    node_R = placement.gpu_R // cluster.gpus_per_node
    out = []
    for tier in cluster.tiers:
        group_R = tier.group_N[node_R]
        out.append(float((weight * (group_R[:, None] != group_R)).sum() / 2))
    return out


def least_leaving(strategy: Strategy, traffic: Traffic, room_J: np.ndarray, parents: tuple[np.ndarray, ...] = ()) -> float:
    """Exact minimum over every assignment of ranks to groups of these capacities, by enumeration.

    With `parents` (group of an outer tier of each group) the bytes that leave those groups are added.
    """
    weight = pair_bytes(strategy, traffic)
    world = strategy.world_size
    spots = np.array(list(itertools.product(range(len(room_J)), repeat=world)), np.int8)
    count = np.stack([(spots == j).sum(axis=1) for j in range(len(room_J))], axis=1)
    spots = spots[(count <= room_J).all(axis=1)]
    total = np.zeros(len(spots))
    for group in (np.arange(len(room_J)), *parents):
        place = group[spots]
        for r in range(world):
            for s in range(r):
                total += weight[r, s] * (place[:, r] != place[:, s])
    return float(total.min())
