# SPDX-License-Identifier: Apache-2.0
# R rank   G communicator of an axis   M member   T tier
"""Communicators of a plan: how many, how large, and how far apart their members are."""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.ir import AXES, Cluster, Strategy
from placement.ir._array import Ints
from placement.report.text import ranges, table

MEMBERS_WIDTH = 40


def group_facts(cluster: Cluster, strategy: Strategy, gpu_R: Ints) -> list[dict[str, Any]]:
    """One record for each axis with more than one member: size, number, stride and `meets`: tier -> communicators.

    A communicator meets at the lowest tier at which all its members share a group.
    """
    return [_facts(cluster, strategy, gpu_R, axis) for axis in AXES if strategy.size(axis) > 1]


def _facts(cluster: Cluster, strategy: Strategy, gpu_R: Ints, axis: str) -> dict[str, Any]:
    rank_GM = strategy.groups(axis)
    tier_G = meeting_tier(cluster, gpu_R[rank_GM] // cluster.gpus_per_node)
    counts = np.bincount(tier_G, minlength=len(cluster.tiers) + 1)
    names = [*(t.name for t in cluster.tiers), "nowhere"]
    return {
        "axis": axis,
        "size": strategy.size(axis),
        "groups": len(rank_GM),
        "stride": strategy.stride(axis),
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


def groups_text(facts: list[dict[str, Any]]) -> str:
    """The screen of `show groups`."""
    rows = [
        [f["axis"], f"{f['size']:,}", f"{f['groups']:,}", f"{f['stride']:,}", meets_text(f["meets"]), f["first"]] for f in facts
    ]
    return "\n".join(table([["axis", "members", "groups", "stride", "meet at", "ranks of the first"], *rows], "<>>><<"))


def meets_text(meets: dict[str, int]) -> str:
    """`nvlink` if all meet there, else `nvlink 98.2 %, leaf 1.8 %` by count."""
    total = sum(meets.values())
    return next(iter(meets)) if len(meets) == 1 else ", ".join(f"{name} {n:,}" for name, n in meets.items() if total)
