# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   K group of the tier inside it
"""`topology show`: the hierarchy as an indented tree with host lists, and who meets whom at which tier (`topo -m`).

Both stay short at any size: of many alike groups the first is opened, the others are counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from placement.hostlist import fold
from placement.ir import Cluster, State
from placement.ir._array import Ints
from placement.report.text import table

OPEN = 24  # groups of the innermost tier up to which all are listed
SHOWN = 4  # groups of one parent beyond that
LIST = 72  # characters of a host list
SIDE = 10  # rows and columns of the matrix


def tree_lines(cluster: Cluster) -> list[str]:
    """The tree from the outermost tier to the hosts."""
    levels = _levels(cluster)
    rows = [_row(cluster, depth, level, j, more) for depth, level, j, more in _walk(cluster, levels)]
    return table(rows, "<><")


def tree_json(cluster: Cluster) -> list[dict[str, Any]]:
    """Every group of the outermost tier with the groups in it, hosts as host lists."""
    levels = _levels(cluster)

    def node(depth: int, j: int) -> dict[str, Any]:
        level = levels[depth]
        hosts_N = _members(cluster, level, j)
        told = {"tier": cluster.tiers[level].name, "name": group_name(cluster, level, j), "nodes": len(hosts_N)}
        if depth + 1 < len(levels):
            return told | {"groups": [node(depth + 1, k) for k in _inside(cluster, level, levels[depth + 1], j).tolist()]}
        return told | {"hosts": fold(cluster.host_N[hosts_N])}

    return [node(0, j) for j in np.unique(cluster.tiers[levels[0]].group_N[_present(cluster)]).tolist()]


def group_name(cluster: Cluster, tier: int, j: int) -> str:
    """What the source calls a group; its tier and number where it does not say."""
    if tier == 0:
        return str(cluster.domain_name_J[j])
    names = cluster.tiers[tier].names
    return names[j] if j < len(names) and names[j] else f"{cluster.tiers[tier].name}{j + 1}"


def _present(cluster: Cluster) -> np.ndarray:
    return np.flatnonzero(cluster.state_N != State.ABSENT)


def _levels(cluster: Cluster) -> list[int]:
    """Tiers from the outside in, without those in which each host, or each inner group, is alone."""
    here = _present(cluster)
    out: list[int] = []
    for level in reversed(range(len(cluster.tiers))):
        groups = len(np.unique(cluster.tiers[level].group_N[here]))
        inner = len(np.unique(cluster.tiers[level - 1].group_N[here])) if level else len(here)
        if groups < inner or not (out or level):
            out.append(level)
    return out


def _members(cluster: Cluster, level: int, j: int) -> Ints:
    here = _present(cluster)
    return np.asarray(here[cluster.tiers[level].group_N[here] == j])


def _inside(cluster: Cluster, level: int, inner: int, j: int) -> Ints:
    return np.asarray(np.unique(cluster.tiers[inner].group_N[_members(cluster, level, j)]))


def _walk(cluster: Cluster, levels: list[int]) -> Iterator[tuple[int, int, int, int]]:
    """(depth, tier, group, 0) of each group that is shown; (depth, tier, first hidden group, how many) of the others."""
    small = len(np.unique(cluster.tiers[levels[-1]].group_N[_present(cluster)])) <= OPEN

    def below(depth: int, groups: list[int], opened: bool) -> Iterator[tuple[int, int, int, int]]:
        shown = groups if small else groups[:SHOWN] if opened else []
        for nth, j in enumerate(shown):
            yield depth, levels[depth], j, 0
            if depth + 1 < len(levels) and (small or nth == 0):
                yield from below(depth + 1, _inside(cluster, levels[depth], levels[depth + 1], j).tolist(), True)
        if len(groups) > len(shown):
            yield depth, levels[depth], groups[len(shown)], len(groups) - len(shown)

    yield from below(0, np.unique(cluster.tiers[levels[0]].group_N[_present(cluster)]).tolist(), True)


def _row(cluster: Cluster, depth: int, level: int, j: int, more: int) -> list[str]:
    indent = "  " * depth
    if more:
        return [f"{indent}… and {more:,} more", "", ""]
    hosts_N = _members(cluster, level, j)
    bad = int((cluster.state_N[hosts_N] != State.OK).sum())
    size = f"{len(hosts_N):,} node{'s' if len(hosts_N) != 1 else ''}" + (f", {bad:,} out of service" if bad else "")
    name, hosts = group_name(cluster, level, j), fold(cluster.host_N[hosts_N])
    called = name if name.startswith(cluster.tiers[level].name) else f"{cluster.tiers[level].name} {name}"
    return [f"{indent}{called}", size, hosts if len(hosts) <= LIST else f"{hosts[: LIST - 1]}…"]


def matrix_lines(cluster: Cluster) -> list[str]:
    """At which tier the groups of the innermost tier meet: all of them, or some of each kind where there are many."""
    levels = _levels(cluster)
    inner = levels[-1] if cluster.tiers[levels[-1]].num_groups > 1 else 0
    first = _samples(cluster, inner)
    if len(first) < 2:
        return []
    meet = np.full((len(first), len(first)), len(cluster.tiers) - 1)
    for level in reversed(range(len(cluster.tiers))):
        group = cluster.tiers[level].group_N[first]
        meet[group[:, None] == group[None, :]] = level
    names = [group_name(cluster, inner, int(cluster.tiers[inner].group_N[n])) for n in first.tolist()]
    words = [t.name.upper()[:8] for t in cluster.tiers]
    rows = [[n, *("X" if i == k else words[meet[i, k]] for k in range(len(first)))] for i, n in enumerate(names)]
    return table([["", *names], *rows], "<" + ">" * len(names))


def _samples(cluster: Cluster, inner: int) -> Ints:
    """First node of each group of a tier; where there are many: two that meet at each tier, and the last."""
    here = _present(cluster)
    _, at = np.unique(cluster.tiers[inner].group_N[here], return_index=True)
    first = here[np.sort(at)]
    if len(first) <= SIDE:
        return np.asarray(first)
    picked = {int(first[0]), int(first[-1])}
    for level in range(inner + 1, len(cluster.tiers)):
        group = cluster.tiers[level].group_N[first]
        lower = cluster.tiers[level - 1].group_N[first]
        together = first[(group == group[0]) & (lower != lower[0])]
        picked |= {int(n) for n in together[:2]}
    return np.array(sorted(picked))
