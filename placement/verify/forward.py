# SPDX-License-Identifier: Apache-2.0
# R rank
"""Messages between rails that no switch joins, member by member: who passes them on over NVLink, and on which NIC they leave.

NCCL's PXN (NVIDIA/nccl, src/graph/paths.cc): a GPU of the same communicator on the sender's host, local to the receiver's rail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from placement.verify.case import Array, Case


def slots_of(case: Case, node_R: Array) -> Array:
    """GPU of each rank on its node: as the plan has it, or in the launcher's order the next usable one."""
    if node_R is case.node_R:
        return np.asarray(case.gpu_R % case.cluster.gpus_per_node)
    order = np.argsort(node_R, kind="stable")
    before = np.searchsorted(node_R[order], node_R[order])
    turn_R = np.empty(len(node_R), np.int64)
    turn_R[order] = np.arange(len(node_R)) - before
    usable_NG = case.cluster.usable_NG
    slot_NK = np.argsort(~usable_NG, axis=1, kind="stable")
    return np.asarray(slot_NK[node_R, turn_R])


def rings(case: Case, node_R: Array, axis: str, first_R: Array) -> tuple[float, float]:
    """(share of the payload that a member forwards, seconds a byte at its NIC) of an axis of rings; zeros without hops.

    `first_R`: first rank of each rank's communicator. Only communicators whose domains have unequal rails hop, over the rails
    that all of them have.
    """
    cluster, slot_R = case.cluster, slots_of(case, node_R)
    if cluster.rails_connected or axis == "ep":
        return 0.0, 0.0
    rail_R, domain_R = cluster.rail_G[slot_R], cluster.tiers[0].group_N[node_R]
    lanes = [n for members in _unequal(first_R, domain_R, rail_R) if (n := _lanes(members, domain_R, rail_R))]
    fewest = min(lanes, default=0)
    return (1.0 / fewest, 1.0 / (fewest * float(cluster.nic_Bps_N[node_R].min()))) if fewest else (0.0, 0.0)


def _lanes(members: Sequence[int], domain_R: Array, rail_R: Array) -> int:
    """Fewest members in a domain that sit on a rail which all domains of the communicator have."""
    rails: dict[int, list[int]] = {}
    for r in members:
        rails.setdefault(int(domain_R[r]), []).append(int(rail_R[r]))
    common = set.intersection(*(set(v) for v in rails.values()))
    return min(sum(rail in common for rail in v) for v in rails.values())


def stranded(case: Case, node_R: Array, axis: str, first_R: Array) -> list[int]:
    """First ranks of the communicators that have no path: domains without a common rail; of all-to-all, with unequal rails."""
    if case.cluster.rails_connected:
        return []
    rail_R, domain_R = case.cluster.rail_G[slots_of(case, node_R)], case.cluster.tiers[0].group_N[node_R]
    found = _unequal(first_R, domain_R, rail_R)
    return sorted(members[0] for members in found if axis == "ep" or not _lanes(members, domain_R, rail_R))


def _unequal(first_R: Array, domain_R: Array, rail_R: Array) -> Iterator[list[int]]:
    """Members of the communicators whose domains do not all have the same rails: pairs of domain and rail are then fewer than
    domains times rails.
    """
    triples = np.unique(np.stack([first_R, domain_R, rail_R]), axis=1)
    heads, pairs = np.unique(triples[0], return_counts=True)
    domains, rails = (
        np.unique(np.unique(np.stack([first_R, key]), axis=1)[0], return_counts=True)[1] for key in (domain_R, rail_R)
    )
    odd = set(heads[pairs != domains * rails].tolist())
    found: dict[int, list[int]] = {}
    for r in np.flatnonzero(np.isin(first_R, list(odd))).tolist() if odd else []:
        found.setdefault(int(first_R[r]), []).append(r)
    yield from found.values()


def messages(case: Case, node_R: Array, pairs: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """The same of messages between stages, the busier of activations and gradients."""
    if case.cluster.rails_connected:
        return 0.0, 0.0
    found = [_sent(case, node_R, way) for way in (pairs, [(b, a) for a, b in pairs])]
    hops, streams = max(f[0] for f in found), max(f[1] for f in found)
    return float(hops), streams / float(case.cluster.nic_Bps_N[node_R].min()) if hops else 0.0


def lost(case: Case, node_R: Array, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Ranks whose messages to the stages beside theirs have no path."""
    if case.cluster.rails_connected:
        return []
    ways = (list(pairs), [(b, a) for a, b in pairs])
    return sorted({r for way in ways for r in _sent(case, node_R, way)[2]})


def _sent(case: Case, node_R: Array, pairs: Sequence[tuple[int, int]]) -> tuple[int, int, list[int]]:
    """Most messages that one rank forwards, most that leave by the NIC of a rank that forwards, and senders without a path."""
    ranks, rail_R = case.degrees.stage_ranks, case.cluster.rail_G[slots_of(case, node_R)]
    domain_R = case.cluster.tiers[0].group_N[node_R]
    forwards, sends, nobody = Counter[int](), Counter[int](), list[int]()
    for a, b in pairs:
        here, there = np.arange(ranks) + a * ranks, np.arange(ranks) + b * ranks
        away, same = domain_R[here] != domain_R[there], rail_R[here] == rail_R[there]
        sends.update(here[away & same].tolist())
        for r, peer in zip(here[away & ~same].tolist(), there[away & ~same].tolist(), strict=True):
            line = np.arange(r % ranks, case.degrees.world, ranks)
            able = line[(node_R[line] == node_R[r]) & (rail_R[line] == rail_R[peer])]
            forwards.update(able[:1].tolist())
            nobody += [] if len(able) else [r]
    return max(forwards.values(), default=0), max((n + sends[r] for r, n in forwards.items()), default=0), nobody
