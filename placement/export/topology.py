# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   D device   C cable
"""A cluster, or a fabric as wired, in the formats of others: schedulers, topograph, Kubernetes, graph tools.

Layouts: topology.conf(5) and topology.yaml(5) of Slurm; NVIDIA/topograph, pkg/models/model.go and the labels of release 1.0;
GraphML as networkx reads it. What is absent is left out; what is failed or drained stays, because that is the scheduler's to
say. `placement topology import` reads each of them back as the same groups.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from placement.export import slurm_topology
from placement.export.text import slurm_lists
from placement.hostlist import expand
from placement.ir import Cluster, Kind, Wired
from placement.ir._array import Ints

_LABEL = re.compile(r"[^A-Za-z0-9_.\-]")
DOMAIN = "accelerator.topograph.run/domain"


def topograph(cluster: Cluster) -> str:
    """A topograph model: `switches` from the root down, `blocks` of hosts, the NVLink domain as an annotation."""
    lines = ["switches:"]
    for name, kind, members in reversed(slurm_topology.switches(cluster, leaf=1)):
        children = expand(members).tolist() if kind == "switches" else []
        lines.append(f"  {name}: {{switches: [{', '.join(children)}]}}" if children else f"  {name}: {{}}")
    return "\n".join([*lines, "blocks:", *_topograph_blocks(cluster)]) + "\n"


def _topograph_blocks(cluster: Cluster) -> Iterator[str]:
    """One block an NVLink domain, or a leaf group where each host is a domain of its own."""
    present_N = slurm_topology.present(cluster)
    spans = cluster.tiers[0].num_groups < cluster.num_nodes
    tier = 1 if len(cluster.tiers) > 1 else 0
    inner_N = cluster.tiers[0 if spans else tier].group_N[present_N]
    groups, first = np.unique(inner_N, return_index=True)
    lists = slurm_lists(cluster.host_N[present_N].astype(np.bytes_), inner_N)
    domains, leafs = slurm_topology.group_names(cluster, 0), slurm_topology.group_names(cluster, tier)
    above = cluster.tiers[tier].group_N[present_N][first].tolist()
    for j, leaf, members in zip(groups.tolist(), above, lists, strict=True):
        yield f"- switch: {leafs[leaf] if len(cluster.tiers) > 1 else 'all'}"
        yield f"  nodes: [{', '.join(_quoted(members))}]"
        if spans:
            yield f"  annotations: {{{DOMAIN}: {domains[j]}}}"


def _quoted(members: str) -> list[str]:
    """Items of a host list, each in quotes: commas outside of brackets part them."""
    return [f"'{m}'" for m in re.split(r",(?![^\[]*\])", members)]


def kubernetes(cluster: Cluster) -> str:
    """A List of Node objects that have only labels, for `kubectl apply --server-side`: domain and tiers, innermost first."""
    names = [np.array([_label(n) for n in slurm_topology.group_names(cluster, t)]) for t in range(len(cluster.tiers))]
    spans = cluster.tiers[0].num_groups < cluster.num_nodes
    columns = [(DOMAIN, names[0][cluster.tiers[0].group_N])] if spans else []
    columns += [(f"fabric.topograph.run/tier-{t}", names[t][cluster.tiers[t].group_N]) for t in range(1, len(cluster.tiers))]
    hosts = cluster.host_N.tolist()
    items = [
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": hosts[n], "labels": {key: str(column[n]) for key, column in columns}},
            }
        )
        for n in np.flatnonzero(slurm_topology.present(cluster)).tolist()
    ]
    return '{"apiVersion": "v1", "kind": "List", "items": [\n' + ",\n".join(items) + "\n]}\n"


def _label(text: str) -> str:
    """A label value: at most 63 letters, digits, `-`, `_` and `.`, the first and last a letter or digit."""
    return _LABEL.sub("_", text)[:63].strip("-_.") or "unnamed"


def graphml(wired: Wired) -> str:
    """Every device and cable with names, ports and speeds; hosts of a fabric that names no cables hang on their groups."""
    device, cable = wired.device, wired.cable
    kept_D = device.kind_D != Kind.SERVICE
    kept_C = kept_D[cable.device_CE].all(axis=1) if len(cable) else np.zeros(0, bool)
    domain = dict(zip(wired.host.name_H.tolist(), wired.host.domain_H.tolist(), strict=True))
    gpus = dict(zip(wired.host.name_H.tolist(), wired.host.gpus_H.tolist(), strict=True))
    out = ['<?xml version="1.0" encoding="UTF-8"?>', '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">']
    out += [f'  <key id="{k}" for="node" attr.name="{k}" attr.type="string"/>' for k in _NODE]
    out += [f'  <key id="{k}" for="edge" attr.name="{k}" attr.type="string"/>' for k in _EDGE]
    out.append('  <graph edgedefault="undirected">')
    for d in np.flatnonzero(kept_D).tolist():
        name = str(device.name_D[d])
        host = device.kind_D[d] == Kind.ADAPTER
        facts = {
            "name": name or str(device.text_D[d]), "kind": "adapter" if host else "switch", "unit": str(device.unit_D[d]),
            "model": str(device.model_D[d]), "rack": str(device.rack_D[d]), "hall": str(device.hall_D[d]),
            "domain": domain.get(name, "") if host else "", "gpus": str(gpus[name]) if host and gpus.get(name, -1) > 0 else "",
        }  # fmt: skip
        out.append(f'    <node id="d{d}">{_data(facts)}</node>')
    ends, ports = cable.device_CE[kept_C].tolist(), _ports(wired, np.flatnonzero(kept_C))
    for (a, b), (p, q), Bps in zip(ends, ports, cable.Bps_C[kept_C].tolist(), strict=True):
        facts = {"port_a": p, "port_b": q, "speed": f"{Bps * 8e-9:.12g} Gb/s" if Bps else ""}
        out.append(f'    <edge source="d{a}" target="d{b}">{_data(facts)}</edge>')
    return "\n".join([*out, "  </graph>", "</graphml>"]) + "\n"


_NODE = ("name", "kind", "unit", "model", "rack", "hall", "domain", "gpus")
_EDGE = ("port_a", "port_b", "speed")


def _data(facts: Mapping[str, str]) -> str:
    return "".join(f"<data key={quoteattr(k)}>{escape(v)}</data>" for k, v in facts.items() if v)


def _ports(wired: Wired, rows: Ints) -> list[tuple[str, str]]:
    texts = [["" if p < 0 else str(p) for p in pair] for pair in wired.cable.port_CE[rows].tolist()]
    return [(a, b) for a, b in texts]


CLUSTER_TARGETS: Mapping[str, tuple[str, Callable[[Cluster], str]]] = {
    "slurm-tree": ("topology.conf for topology/tree", slurm_topology.topology_conf),
    "slurm-block": ("topology.conf for topology/block", slurm_topology.block_conf),
    "slurm-yaml": ("topology.yaml, tree and block (Slurm 25.05 and later)", slurm_topology.topology_yaml),
    "topograph": ("topograph model", topograph),
    "kubernetes": ("node labels, for kubectl apply --server-side", kubernetes),
}
WIRED_TARGETS: Mapping[str, tuple[str, Callable[[Wired], str]]] = {"graphml": ("GraphML, cable by cable", graphml)}
TARGETS = (*CLUSTER_TARGETS, *WIRED_TARGETS, "yaml")
