# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier
"""The whole cluster, spares included, as Slurm's topology.yaml (25.05 and later) and topology.conf (tree, any version)."""

from __future__ import annotations

import re

import numpy as np

from placement.export.text import slurm_lists
from placement.ir import Cluster, State
from placement.ir._array import Bools

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")  # longer switch names stop slurmctld
Switch = tuple[str, str, str]  # name, `nodes` or `switches`, host list of them


def topology_yaml(cluster: Cluster) -> str:
    """Block topology where NVLink domains span hosts, and the tree of all tiers; the first one is the default."""
    parts = [_block(cluster)] if cluster.tiers[0].num_groups < cluster.num_nodes else []
    return "---\n" + "".join([*parts, _tree(cluster, default=not parts)])


def topology_conf(cluster: Cluster) -> str:
    """`SwitchName` lines for topology/tree."""
    words = {"nodes": "Nodes", "switches": "Switches"}
    return "".join(f"SwitchName={name} {words[kind]}={members}\n" for name, kind, members in switches(cluster))


def block_conf(cluster: Cluster) -> str:
    """`BlockName` lines for topology/block: NVLink domains, or leaf groups where each host is a domain of its own."""
    tier = 0 if cluster.tiers[0].num_groups < cluster.num_nodes or len(cluster.tiers) < 2 else 1
    lines = "".join(f"BlockName={name} Nodes={members}\n" for name, _, members in _leaves(cluster, tier))
    return f"{lines}BlockSizes={','.join(str(s) for s in block_sizes(cluster, tier))}\n"


def _block(cluster: Cluster) -> str:
    blocks = [(name, members) for name, _, members in _leaves(cluster, 0)]
    sizes = ", ".join(str(s) for s in block_sizes(cluster))
    lines = "".join(f"      - {{block: {name}, nodes: '{members}'}}\n" for name, members in blocks)
    return f"- topology: nvlink\n  cluster_default: true\n  block:\n    block_sizes: [{sizes}]\n    blocks:\n{lines}"


def _tree(cluster: Cluster, *, default: bool) -> str:
    words = {"nodes": "nodes", "switches": "children"}
    lines = "".join(f"      - {{switch: {name}, {words[kind]}: '{members}'}}\n" for name, kind, members in switches(cluster))
    return f"- topology: fabric\n  cluster_default: {str(default).lower()}\n  tree:\n    switches:\n{lines}"


def block_sizes(cluster: Cluster, block: int = 0) -> list[int]:
    """Nodes of the smallest block, and the tiers that hold that times a power of two in consecutive, equal groups."""
    present_N = present(cluster)
    blocks = np.bincount(cluster.tiers[block].group_N[present_N])
    base = int(blocks[blocks > 0].min())
    sizes = [base]
    for tier in cluster.tiers[block + 1 : -1]:
        group_J = np.unique(np.stack([tier.group_N, cluster.tiers[block].group_N], axis=1)[present_N], axis=0)[:, 0]
        many = np.bincount(group_J)
        many = many[many > 0]
        equal = bool((many[:-1] == many[0]).all()) and int(many[-1]) <= int(many[0])
        if equal and int(many[0]) & (int(many[0]) - 1) == 0 and base * int(many[0]) > sizes[-1]:
            sizes.append(base * int(many[0]))
    return sizes


def switches(cluster: Cluster, leaf: int | None = None) -> list[Switch]:
    """Every group of every tier from the hosts up. Tiers without a choice are left out: one host, or one inner group, a group.

    `leaf`: the innermost tier that is listed; default: NVLink domains where they span hosts, else the tier above.
    """
    if leaf is None:
        leaf = 0 if cluster.tiers[0].num_groups < cluster.num_nodes else 1
    if leaf >= len(cluster.tiers):
        return _all(cluster)
    found, lower = _leaves(cluster, leaf), leaf
    for t in range(leaf + 1, len(cluster.tiers)):
        pair = np.unique(np.stack([cluster.tiers[t].group_N, cluster.tiers[lower].group_N], axis=1)[present(cluster)], axis=0)
        if len(np.unique(pair[:, 0])) == len(pair):
            continue
        parents, children = group_names(cluster, t), np.array(group_names(cluster, lower), dtype=np.bytes_)
        lists = slurm_lists(children[pair[:, 1]], pair[:, 0])
        found += [(parents[j], "switches", members) for j, members in zip(np.unique(pair[:, 0]), lists, strict=True)]
        lower = t
    return found


def _leaves(cluster: Cluster, tier: int) -> list[Switch]:
    present_N, names = present(cluster), group_names(cluster, tier)
    group_N = cluster.tiers[tier].group_N[present_N]
    lists = slurm_lists(cluster.host_N[present_N].astype(np.bytes_), group_N)
    return [(names[j], "nodes", members) for j, members in zip(np.unique(group_N), lists, strict=True)]


def _all(cluster: Cluster) -> list[Switch]:
    present_N = present(cluster)
    return [("all", "nodes", slurm_lists(cluster.host_N[present_N].astype(np.bytes_), np.zeros(int(present_N.sum()), int))[0])]


def group_names(cluster: Cluster, tier: int) -> list[str]:
    """Names of a tier's groups: the racks have theirs, the others are numbered from 1 with leading zeros."""
    if tier == 0:
        return [str(name) for name in cluster.domain_name_J]
    count, names = cluster.tiers[tier].num_groups, cluster.tiers[tier].names
    inner = {n for t in cluster.tiers[:tier] for n in t.names}
    if len(set(names)) == count and not inner & set(names) and all(_NAME.fullmatch(n) for n in names):
        return list(names)
    return [f"{cluster.tiers[tier].name}{j + 1:0{len(str(count))}}" for j in range(count)]


def present(cluster: Cluster) -> Bools:
    """Nodes that are there: failed and drained ones are, because that is the scheduler's to say."""
    return np.asarray(cluster.state_N != State.ABSENT)
