# SPDX-License-Identifier: Apache-2.0
"""Topologies written for others come back as the same groups, and as the same text when they are written again."""

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from placement.export.topology import CLUSTER_TARGETS, graphml
from placement.fabric.wiring import analyse
from placement.ingest.anyfile import load_cluster, load_clusters, load_wired
from placement.ingest.grouped import topology_text
from placement.ir import State

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "topology_samples"
SUFFIX = {"slurm-tree": "conf", "slurm-block": "conf", "slurm-yaml": "yaml", "topograph": "yaml", "kubernetes": "json"}
NATIVE = ["tiny", "gb200-su", "h100-16k", "mixed-gb200-gb300"]
FOREIGN = [
    "topograph/medium.yaml", "topograph/nvl72.yaml", "slurm/tree_testcase3.topology.conf",
    "slurm/block_32nodes.topology.conf", "k8s_cloud/aws_describe_instance_topology_2xp4de.json",
    "ibnetdiscover/dgx_gb200_1su.ibnetdiscover.txt",
]  # fmt: skip


def cluster_named(name):
    if "/" in name and not SAMPLES.is_dir():
        pytest.skip("third-party samples are not here; they are never copied")
    return load_cluster(str(SAMPLES / name) if "/" in name else name)


def groups(cluster, tier):
    """Sets of hosts that are together at a tier."""
    present = cluster.state_N != State.ABSENT
    names, of = cluster.host_N[present].tolist(), cluster.tiers[tier].group_N[present]
    return {frozenset(n for n, g in zip(names, of.tolist(), strict=True) if g == j) for j in np.unique(of).tolist()}


def levels(cluster):
    """Every way in which the tiers part the hosts, singles and the whole left out."""
    hosts = int((cluster.state_N != State.ABSENT).sum())
    found = [frozenset(groups(cluster, t)) for t in range(len(cluster.tiers))]
    return {f for f in found if 1 < len(f) < hosts}


@pytest.mark.parametrize("target", CLUSTER_TARGETS)
@pytest.mark.parametrize("name", [*NATIVE, *FOREIGN])
def test_import_export_import_is_stable(name, target, tmp_path):
    """The same groups at every tier, and the same bytes from the second export on."""
    cluster = cluster_named(name)
    write = CLUSTER_TARGETS[target][1]
    path = tmp_path / f"topology.{SUFFIX[target]}"
    path.write_text(write(cluster), encoding="utf-8")
    again = load_cluster(str(path))
    assert set(again.host_N.tolist()) == set(cluster.host_N[cluster.state_N != State.ABSENT].tolist())
    kept = levels(again)
    assert kept <= levels(cluster)
    if target != "slurm-block":  # blocks know no tiers
        assert kept == levels(cluster) or (target == "slurm-yaml" and len(kept) == len(levels(cluster)))
    path.write_text(write(again), encoding="utf-8")
    assert write(load_cluster(str(path))) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["gb200-su", "h100-16k"])
def test_graphml_keeps_every_cable(name, tmp_path):
    """Names, ports and speeds: networkx reads as many edges, and our import finds the same pattern."""
    wired = load_wired([name])[0]
    path = tmp_path / "fabric.graphml"
    path.write_text(graphml(wired), encoding="utf-8")
    assert nx.read_graphml(path, force_multigraph=True).number_of_edges() == len(wired.cable)
    again = load_wired([str(path)])[0]
    assert (len(again.device), len(again.cable)) == (len(wired.device), len(wired.cable))
    assert again.cable.port_CE.tolist() == wired.cable.port_CE.tolist()
    assert again.cable.Bps_C == pytest.approx(wired.cable.Bps_C)
    assert analyse(again).faults == ()
    assert graphml(again) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NATIVE)
def test_our_own_yaml_is_a_fixed_point(name, tmp_path):
    """Written out and read back, a cluster is the same, states and tiers included."""
    cluster = load_clusters([name])
    path = tmp_path / "cluster.yaml"
    path.write_text(topology_text(cluster), encoding="utf-8")
    again = load_clusters([str(path)])
    assert again.host_N.tolist() == cluster.host_N.tolist()
    assert (again.state_N == cluster.state_N).all()
    assert topology_text(again) == path.read_text(encoding="utf-8")
