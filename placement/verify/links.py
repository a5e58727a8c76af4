# SPDX-License-Identifier: Apache-2.0
# R rank   T tier   J group of a tier
"""How communicators lie on the fabric, counted rank by rank, and how long a collective takes on that (alpha-beta, scalars)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from placement.ir import Chip, Efficiency, State
from placement.verify.case import Array, Case, Degrees
from placement.verify.forward import messages, rings

AXES = ("tp", "cp", "gtp", "dp", "pp", "etp", "ep", "egtp", "edp")


def shape(d: Degrees, axis: str) -> tuple[int, int]:
    """Members of a communicator of an axis, and the distance in rank from one to the next."""
    return {
        "tp": (d.tp, 1), "cp": (d.cp, d.tp), "gtp": (d.gtp, d.tp * d.cp), "dp": (d.dp, d.tp * d.cp),
        "pp": (d.pp, d.stage_ranks),
        "etp": (d.etp, 1), "ep": (d.ep, d.etp), "egtp": (d.egtp, d.etp * d.ep), "edp": (d.edp, d.etp * d.ep),
    }[axis]  # fmt: skip


def place_in_group(d: Degrees, axis: str) -> tuple[Array, Array]:
    """Position of each rank in its communicator of an axis, and the communicator's first rank."""
    size, step = shape(d, axis)
    rank_R = np.arange(d.world)
    position_R = rank_R // step % size
    return position_R, rank_R - position_R * step


@dataclass(frozen=True)
class Lie:
    """How one axis lies. `members_T` fewest of one communicator in a group of each tier that it touches; `ring_T`, `clique`
    seconds a byte at the worst uplink of each tier, and of any.
    """

    size: int
    members_T: tuple[int, ...]
    ring_T: tuple[float, ...]
    clique: float
    hop: float = 0.0  # of a byte, what the busiest GPU passes on to another rail over NVLink
    edges: dict[tuple[int, int], float] = field(default_factory=dict)  # pp: seconds a byte between two stages, if it leaves

    @property
    def members(self) -> int:
        """In an NVLink domain."""
        return self.members_T[0]

    @property
    def ring(self) -> float:
        return max(self.ring_T)


def lies(case: Case, node_R: Array) -> dict[str, Lie]:
    """Every axis with ranks on these nodes."""
    return {axis: _lie(case, axis, node_R) for axis in AXES}


def _lie(case: Case, axis: str, node_R: Array) -> Lie:
    d, tiers = case.degrees, case.cluster.tiers
    size, _ = shape(d, axis)
    if size == 1:
        return Lie(1, (1,) * len(tiers), (0.0,) * len(tiers), 0.0)
    members, ring, clique = [], [], []
    pairs = list(dict.fromkeys(stage_pairs(case))) if axis == "pp" else []
    edges = dict.fromkeys(pairs, 0.0)
    for t, tier in enumerate(tiers):
        group_R = tier.group_N[node_R]
        uplink_Bps_J = domain_uplinks(case, node_R) if t == 0 else tier.uplink_Bps_J
        together_R = members_together(d, axis, group_R)
        outside_R = (size - together_R) / (size - 1)
        members.append(int(together_R.min()))
        load_J = _ring_load(case, axis, group_R, tier.num_groups)
        ring.append(_worst(load_J, uplink_Bps_J))
        for pair in pairs:
            edges[pair] = max(edges[pair], _worst(load_J * _touched(case, group_R, tier.num_groups, pair), uplink_Bps_J))
        clique.append(_worst(np.bincount(group_R, outside_R, tier.num_groups), uplink_Bps_J))
        if t == 0 and axis == "ep":  # a rank sends over its own adapter, at the pace of the slowest of its domain
            clique[0] = max(clique[0], float((outside_R / _slowest_adapter(case, node_R)).max()))
    hop, nic = messages(case, node_R, pairs) if pairs else rings(case, node_R, axis, place_in_group(d, axis)[1])
    ring[0] = max(ring[0], nic)
    edges = {pair: max(spB, nic) for pair, spB in edges.items() if spB > 0}
    return Lie(size, tuple(members), tuple(ring), max(clique), hop, edges)


def domain_uplinks(case: Case, node_R: Array) -> Array:
    """Of each NVLink domain: all its adapters at the pace of the slowest that is in use, or their sum where that is less."""
    cluster, tier = case.cluster, case.cluster.tiers[0]
    uplink_Bps_J = tier.uplink_Bps_J.copy()
    present = np.isin(cluster.state_N, (State.OK, State.RESERVED))
    _, nodes_J = np.unique(np.r_[tier.group_N[present], np.arange(tier.num_groups)], return_counts=True)
    used = np.unique(node_R)
    order = used[np.argsort(cluster.nic_Bps_N[used], kind="stable")]
    domains, first = np.unique(tier.group_N[order], return_index=True)
    paced = cluster.nic_Bps_N[order[first]] * cluster.gpus_per_node * np.maximum(nodes_J[domains] - 1, 1)
    slowed = paced < uplink_Bps_J[domains] * (1.0 - 1e-9)
    uplink_Bps_J[domains[slowed]] = paced[slowed]
    return uplink_Bps_J


def _slowest_adapter(case: Case, node_R: Array) -> Array:
    """Bytes/s, for each rank."""
    group_R = case.cluster.tiers[0].group_N[node_R]
    order = np.argsort(case.cluster.nic_Bps_N[node_R], kind="stable")
    domains, first = np.unique(group_R[order], return_index=True)
    slowest: Array = case.cluster.nic_Bps_N[node_R[order[first]]][np.searchsorted(domains, group_R)]
    return slowest


def _ring_load(case: Case, axis: str, group_R: Array, num_groups: int) -> Array:
    """Edges that leave each group: of rings, or of stage boundaries in the busier direction."""
    if axis != "pp":
        leaves_R = group_R != group_R[following(case.degrees, axis)]
        return np.bincount(group_R[leaves_R], minlength=num_groups).astype(float)
    away, back = boundary_load(case, group_R, num_groups, dict.fromkeys(stage_pairs(case), 1.0))
    return np.maximum(away, back)


def following(d: Degrees, axis: str) -> Array:
    """The next member of each rank's ring."""
    size, step = shape(d, axis)
    position_R, first_R = place_in_group(d, axis)
    return np.asarray(first_R + (position_R + 1) % size * step)


def members_together(d: Degrees, axis: str, group_R: Array) -> Array:
    """How many members of each rank's communicator sit in the same group of a tier, itself included."""
    _, first_R = place_in_group(d, axis)
    key_R = first_R * (int(group_R.max()) + 1) + group_R
    _, which_R, count = np.unique(key_R, return_inverse=True, return_counts=True)
    together: Array = count[which_R]
    return together


def stage_pairs(case: Case) -> list[tuple[int, int]]:
    """Stages of consecutive chunks, each pair as often as the chunks say; back up a V the pair of the way down."""
    down = case.chunk_stage
    pairs = [(a, b) for a, b in pairwise(down) if a != b]
    return [(min(p), max(p)) for p in pairs] if case.degrees.schedule in ("zb-v", "dualpipev") else pairs


def boundary_load(case: Case, group_R: Array, num_groups: int, weight: dict[tuple[int, int], float]) -> tuple[Array, Array]:
    """What leaves and what enters each group between the stages of each pair, rank to rank."""
    ranks = case.degrees.stage_ranks
    away, back = np.zeros(num_groups), np.zeros(num_groups)
    for (a, b), amount in weight.items():
        here, there = group_R[a * ranks : (a + 1) * ranks], group_R[b * ranks : (b + 1) * ranks]
        away += amount * np.bincount(here[here != there], minlength=num_groups)
        back += amount * np.bincount(there[here != there], minlength=num_groups)
    return away, back


def _touched(case: Case, group_R: Array, num_groups: int, pair: tuple[int, int]) -> Array:
    """1 for each group that a message between two stages leaves or enters, else 0."""
    away, back = boundary_load(case, group_R, num_groups, {pair: 1.0})
    return np.asarray(away + back > 0, float)


def _worst(load_J: Array, uplink_Bps_J: Array) -> float:
    """Seconds of the slowest uplink; inf where something leaves a group that has none."""
    busy = load_J > 0
    if bool((uplink_Bps_J[busy] == 0).any()):
        return float("inf")
    return float((load_J[busy] / uplink_Bps_J[busy]).max(initial=0.0))


@dataclass(frozen=True)
class Machine:
    """Facts of the GPUs that may be used: the slowest chip, the median NIC, the largest NVLink domain."""

    chip: Chip
    nic_Bps: float
    domain: int

    @property
    def blackwell(self) -> bool:
        return self.chip.generation not in ("ampere", "hopper")


def machine(case: Case) -> Machine:
    """Of the healthy nodes that the topology does not reserve."""
    cluster = case.cluster
    healthy = cluster.state_N == State.OK
    used = sorted(set(cluster.chip_N[healthy].tolist()))
    chips = [cluster.chips[c] for c in used]
    slowest = min(chips, key=lambda c: (c.peak_flops["bf16"], c.nvlink_Bps, c.hbm_Bps, c.hbm_bytes, c.name))
    _, trays = np.unique(cluster.tiers[0].group_N[healthy], return_counts=True)
    return Machine(slowest, float(np.median(cluster.nic_Bps_N[healthy])), int(trays.max()) * cluster.gpus_per_node)


def ring_s(case_m: Machine, eff: Efficiency, lie: Lie, payload: float) -> float:
    """Gather or scatter of a payload over a ring: (n-1)/n of it passes every edge (Thakur et al. 2005)."""
    n = lie.size
    if n <= 1:
        return 0.0
    passed = payload * (n - 1) / n
    inside = passed * ((lie.members > 1) + lie.hop) / (case_m.chip.nvlink_Bps * eff["nvlink_ring"])
    outside = 0.0
    if n > lie.members:
        alone = 1.0 / (min(lie.members, eff["ring_nics"]) * case_m.nic_Bps)
        outside = passed * max(lie.ring, alone) / eff["nic_ring"]
    return together(inside, outside) + start_s(eff, lie) / 2.0


def start_s(eff: Efficiency, lie: Lie) -> float:
    """Latency of an all-reduce: start, the hops of the ring (saturating), the domain."""
    hops = 2.0 * (lie.size - 1) * eff["hop_s"]
    return eff["collective_start_s"] + hops / (1.0 + hops / eff["hop_cap_s"]) + 2.0 * (lie.members - 1) * eff["domain_hop_s"]


def together(inside: float, outside: float) -> float:
    """NVLink and network parts of a collective run as a pipeline: power mean of order 3 of both."""
    return float(np.cbrt(inside**3 + outside**3))


def boundary_s(m: Machine, eff: Efficiency, lie: Lie, pair: tuple[int, int], message: float) -> float:
    """A message between two stages: over the NIC where some of them leave their domain, else over NVLink."""
    local = message / (m.chip.nvlink_Bps * eff["nvlink_ring"])
    if pair in lie.edges:
        network = message * max(lie.edges[pair], 1.0 / m.nic_Bps) / eff["nic_ring"]
        return together(lie.hop * local, network) if lie.hop else network
    return local
