# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   D NVLink domain
"""`show tree`: the cluster as an indented tree, with the stages, or towers, that live in each part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.hostlist import fold
from placement.ir import Cluster, State, Strategy
from placement.ir._array import Ints
from placement.report.strategy import clip
from placement.report.text import counted, ranges

CHILDREN = 24  # lines below one parent; the rest are counted


@dataclass(frozen=True)
class Occupancy:
    """What each node does: ranks and spare GPUs on it, and the pipeline stage, or tower, of its first rank (-1: none).

    `towers`: their names; empty where parts are stages.
    """

    ranks_N: Ints
    spare_N: Ints
    part_N: Ints
    towers: tuple[str, ...] = ()

    def told(self, nodes: Ints) -> dict[str, Any]:
        """`{"stages": [0, 1]}` or `{"towers": ["vision"]}` of some nodes."""
        parts = [p for p in np.unique(self.part_N[nodes]).tolist() if p >= 0]
        return {"towers": [self.towers[p] for p in parts]} if self.towers else {"stages": parts}


def occupancy(cluster: Cluster, part_R: Ints, gpu_R: Ints, towers: tuple[str, ...] = ()) -> Occupancy:
    """Occupancy of every node under a placement. `part_R`: stage or tower of each rank."""
    node_R = gpu_R // cluster.gpus_per_node
    ranks_N = np.bincount(node_R, minlength=cluster.num_nodes)
    part_N = np.full(cluster.num_nodes, -1)
    part_N[node_R[::-1]] = part_R[::-1]
    return Occupancy(ranks_N, cluster.usable_NG.sum(axis=1) - ranks_N, part_N, towers)


def stage_occupancy(cluster: Cluster, strategy: Strategy, gpu_R: Ints) -> Occupancy:
    return occupancy(cluster, np.arange(len(gpu_R)) // strategy.stage_ranks, gpu_R)


def tree_facts(cluster: Cluster, use: Occupancy) -> dict[str, Any]:
    """The tree as nested records, equal groups folded: `{name, count, nodes, ranks, spare, stages, children}`."""
    everyone = np.arange(cluster.num_nodes)
    top = len(cluster.tiers) - 1
    return {"cluster": cluster.name, "children": list(_children(cluster, use, everyone, top))}


def _children(cluster: Cluster, use: Occupancy, inside: Ints, tier: int) -> Iterator[dict[str, Any]]:
    """Groups of `tier` among the nodes `inside`, equal ones as one record, in fabric order of their first."""
    if tier < 0:
        return
    group = cluster.tiers[tier].group_N[inside]
    order = np.argsort(group, kind="stable")
    parts: list[Ints] = list(np.split(inside[order], np.flatnonzero(np.diff(group[order])) + 1))  # type: ignore[arg-type]
    alike: dict[tuple[Any, ...], list[Ints]] = {}
    for nodes in parts:
        alike.setdefault(_signature(cluster, use, nodes), []).append(nodes)
    for key, members in alike.items():
        yield _record(cluster, use, tier, members) | {"kind": cluster.tiers[tier].name, "nodes": key[0]}


def _record(cluster: Cluster, use: Occupancy, tier: int, members: list[Ints]) -> dict[str, Any]:
    nodes: Ints = np.concatenate(members).astype(np.int64)
    state_S = np.bincount(cluster.state_N[nodes], minlength=len(State))
    return {
        "count": len(members),
        "name": _names(cluster, tier, members),
        "ranks": int(use.ranks_N[nodes].sum()),
        "spare_gpus": int(use.spare_N[nodes].sum()),
        "out": {s.name.lower(): int(state_S[s]) for s in State if s != State.OK and state_S[s]},
        **use.told(nodes),
        "children": list(_children(cluster, use, nodes, tier - 1)),
    }


def _signature(cluster: Cluster, use: Occupancy, nodes: Ints) -> tuple[Any, ...]:
    """What makes two groups look alike: nodes, their states, ranks, spare GPUs, stages or towers."""
    states = np.bincount(cluster.state_N[nodes], minlength=len(State)).tolist()
    return (
        len(nodes),
        *states,
        int(use.ranks_N[nodes].sum()),
        int(use.spare_N[nodes].sum()),
        *np.unique(use.part_N[nodes]).tolist(),
    )


def _names(cluster: Cluster, tier: int, members: list[Ints]) -> str:
    if tier == 0:
        domain = np.array([cluster.tiers[0].group_N[m[0]] for m in members])
        return fold(cluster.domain_name_J[domain])
    groups = [int(cluster.tiers[tier].group_N[m[0]]) for m in members]
    return f"{cluster.tiers[tier].name} {ranges(groups)}"


def tree_text(facts: dict[str, Any]) -> str:
    """The screen of `show tree`."""
    return "\n".join([facts["cluster"], *_lines(facts["children"], "")])


def _lines(children: list[dict[str, Any]], indent: str) -> Iterator[str]:
    shown = children[:CHILDREN]
    rest = len(children) - len(shown)
    for i, child in enumerate(shown):
        last = i == len(shown) - 1 and not rest
        yield f"{indent}{'└─ ' if last else '├─ '}{_line(child)}"
        yield from _lines(child["children"], indent + ("   " if last else "│  "))
    if rest:
        yield f"{indent}└─ … {rest:,} more"


def _line(child: dict[str, Any]) -> str:
    """One line; the numbers are those of each group, which are equal in a folded run."""
    n = child["count"]
    parts = child["towers"] if "towers" in child else child["stages"]
    what = clip(", ".join(parts), 48) if "towers" in child else f"stage{'s' if len(parts) > 1 else ''} {ranges(parts)}"
    facts = [
        counted(child["nodes"], "node") + (" each" if n > 1 else ""),
        counted(child["ranks"] // n, "rank"),
        *([what] if parts else []),
        *([counted(child["spare_gpus"] // n, "GPU") + " spare"] if child["spare_gpus"] else []),
        *(f"{nodes // n:,} {state}" for state, nodes in child["out"].items()),
    ]
    times = f" ({n:,})" if n > 1 else ""
    return f"{clip(child['name'], 48)}{times}   {' · '.join(facts)}"
