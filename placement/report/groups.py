# SPDX-License-Identifier: Apache-2.0
# R rank   G communicator of an axis   M member   T tier
"""Communicators of a plan: how many, how large, and how far apart their members are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placement.ir import AXES, Cluster, Strategy
from placement.ir._array import Floats, Ints
from placement.report.strategy import clip
from placement.report.text import ranges, seconds, table

MEMBERS_WIDTH = 40


def group_facts(cluster: Cluster, strategy: Strategy, gpu_R: Ints) -> list[dict[str, Any]]:
    """One record for each axis with more than one member: size, number, stride and `meets`: tier -> communicators.

    A communicator meets at the lowest tier at which all its members share a group.
    """
    return [_facts(cluster, strategy, gpu_R, axis) for axis in AXES if strategy.size(axis) > 1]


def _facts(cluster: Cluster, strategy: Strategy, gpu_R: Ints, axis: str) -> dict[str, Any]:
    return row_facts(cluster, gpu_R, axis, strategy.groups(axis), strategy.stride(axis))


def row_facts(cluster: Cluster, gpu_R: Ints, name: str, rank_GM: Ints, stride: int | None) -> dict[str, Any]:
    """One record of `group_facts`, of groups that are given as rows of ranks."""
    tier_G = meeting_tier(cluster, gpu_R[rank_GM] // cluster.gpus_per_node)
    counts = np.bincount(tier_G, minlength=len(cluster.tiers) + 1)
    names = [*(t.name for t in cluster.tiers), "nowhere"]
    return {
        "axis": name,
        "size": rank_GM.shape[1],
        "groups": len(rank_GM),
        "stride": stride,
        "meets": {name: int(n) for name, n in zip(names, counts, strict=True) if n},
        "first": ranges(rank_GM[0].tolist()),
    }


def meeting_tier(cluster: Cluster, node_GM: Ints) -> Ints:
    """Index of the lowest tier that holds all nodes of each row; the number of tiers if none does. Shape (G,)."""
    tier_G = np.full(len(node_GM), len(cluster.tiers))
    for t in reversed(range(len(cluster.tiers))):
        group_GM = cluster.tiers[t].group_N[node_GM]
        tier_G[(group_GM == group_GM[:, :1]).all(axis=1)] = t
    return tier_G


def member_facts(cluster: Cluster, gpu_R: Ints, member_M: Ints, busy_T: Sequence[Floats]) -> dict[str, Any]:
    """How far some ranks are apart, and the uplink between them that is busy longest in a step.

    `busy_T`: seconds a step of each uplink, by tier. Uplinks at and above the tier where they meet carry nothing of theirs.
    """
    node_M = gpu_R[member_M] // cluster.gpus_per_node
    tier = int(meeting_tier(cluster, node_M[None, :])[0])
    busiest = max(
        ((float(busy_T[t][j]), -t, -j) for t in range(min(tier, len(cluster.tiers)))
         for j in np.unique(cluster.tiers[t].group_N[node_M]).tolist()), default=None,
    )  # fmt: skip
    return {
        "members": member_M.tolist(),
        "hosts": len(np.unique(node_M)),
        "domains": len(np.unique(cluster.tiers[0].group_N[node_M])),
        "tier": cluster.tiers[tier].name if tier < len(cluster.tiers) else "nowhere",
        "link": None if busiest is None else link_name(cluster, -busiest[1], -busiest[2]),
        "busy_s": None if busiest is None else busiest[0],
    }


def span_cells(f: Mapping[str, Any]) -> list[str]:
    """Cells of `SPAN` for one record of `member_facts`."""
    link = f"{f['link']} {seconds(f['busy_s'])}" if f["link"] else "-"
    return [f"{len(f['members']):,}", ranges(f["members"][:4096]), f"{f['hosts']:,}", f"{f['domains']:,}", f["tier"], link]


SPAN = ("members", "ranks", "hosts", "domains", "meets at", "busiest uplink between")
SPAN_ALIGN = "><>><<"


def link_name(cluster: Cluster, tier: int, group: int) -> str:
    """A rack by its name, other groups by tier and number."""
    return str(cluster.domain_name_J[group]) if tier == 0 else f"{cluster.tiers[tier].name} {group}"


def groups_text(facts: list[dict[str, Any]]) -> str:
    """The screen of `show groups`."""
    rows = [
        [f["axis"], f"{f['size']:,}", f"{f['groups']:,}", "-" if f["stride"] is None else f"{f['stride']:,}",
         meets_text(f["meets"]), clip(f["first"], MEMBERS_WIDTH)] for f in facts
    ]  # fmt: skip
    return "\n".join(table([["axis", "members", "groups", "stride", "meet at", "ranks of the first"], *rows], "<>>><<"))


def meets_text(meets: dict[str, int]) -> str:
    """`nvlink` if all meet there, else `nvlink 98.2 %, leaf 1.8 %` by count."""
    total = sum(meets.values())
    return next(iter(meets)) if len(meets) == 1 else ", ".join(f"{name} {n:,}" for name, n in meets.items() if total)
