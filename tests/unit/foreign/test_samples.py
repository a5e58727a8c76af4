# SPDX-License-Identifier: Apache-2.0
"""Public samples: each is recognised, read whole, and becomes a topology of ours that reads back the same."""

from __future__ import annotations

from collections import Counter

import pytest

from placement import ingest
from placement.diag import InputError, Severity
from placement.ingest.cluster import cluster_of
from placement.ingest.grouped import topology_text
from placement.ingest.hierarchy import Assume, cluster_of_groups, is_grouped
from placement.spec.source import parse
from placement.spec.topology import lower_document

# sample: format, devices, cables, hosts, GPUs one by one
READ = {
    "slurm/tree_testcase1.topology.conf": ("slurm", 10_529, 10_528, 10_000, 0),
    "slurm/tree_testcase2.topology.conf": ("slurm", 10_528, 10_527, 10_000, 0),
    "slurm/tree_testcase3.topology.conf": ("slurm", 423, 422, 400, 0),
    "slurm/block_32nodes.topology.conf": ("slurm", 0, 0, 32, 0),
    "slurm/manpage_multi.topology.yaml": ("slurm-yaml", 7, 6, 16, 0),
    "topograph/small-tree.yaml": ("topograph", 9, 8, 6, 0),
    "topograph/medium.yaml": ("topograph", 15, 14, 8, 0),
    "topograph/nvl72.yaml": ("topograph", 79, 78, 72, 0),
    "topograph/computeNodes.json": ("nmx", 0, 0, 2, 0),
    "topograph/topologyGraph.json": ("netq", 35, 79, 8, 0),
    "nccl_xml/gb300_nvl72_1tray_healthy.nccl_topo.xml": ("nccl-topo", 1, 0, 1, 4),
    "nccl_xml/azure_ndv5_h100.nccl_topo.xml": ("nccl-topo", 0, 0, 1, 0),
    "nccl_xml/rccl_topo_8p_940.xml": ("nccl-topo", 8, 0, 1, 8),
    "hwloc/nvidiaDGX2.lstopo.xml": ("lstopo", 0, 0, 1, 16),
    "netbox/supermicro_gb300_nvl72_compute_tray.devicetype.yaml": ("netbox-devicetype", 7, 0, 1, 0),
    "k8s_cloud/aws_describe_instance_topology_2xp4de.json": ("aws", 0, 0, 2, 0),
    "k8s_cloud/oke_gb300_node_labels_excerpt.txt": ("kubernetes", 0, 0, 1, 0),
    "simai/Spectrum-X_128g_8gps_100Gbps_A100": ("simai", 200, 640, 16, 0),
    "simai/astra_sim_HGX-H100-validated.yml": ("astra-sim", 0, 0, 1, 0),
}
ALSO = {
    "k8s_cloud/kueue_topology_sample.yaml": "kubernetes",
    "ibnetdiscover/dgx_gb200_1su.ibnetdiscover.txt": "ibnetdiscover",
    "ibnetdiscover/director_ndt_actual.ibnetdiscover.txt": "ibnetdiscover",
    "ibnetdiscover/ufm_small_lab.ibnetdiscover.txt": "ibnetdiscover",
    "ibnetdiscover/single_node_no_link.ibnetdiscover.txt": "ibnetdiscover",
    "ndt_cabling/switch_to_host_topo1.ndt": "cabling",
    "ndt_cabling/switch_to_switch_topo2.ndt": "cabling",
    "ndt_cabling/p2p_host_switch_with_racks.csv": "cabling",
    "ndt_cabling/p2p_switch_switch_with_racks.csv": "cabling",
}


@pytest.mark.parametrize("name", [*READ, *ALSO])
def test_each_sample_is_recognised(name, sample):
    """Detection names the format of every sample by its content."""
    assert ingest.detect(sample(name)) == (READ[name][0] if name in READ else ALSO[name])


@pytest.mark.parametrize("name", READ)
def test_each_sample_is_read_whole(name, sample):
    """Counts of devices, cables, hosts and GPUs; nothing in a sample is an error of reading."""
    wired, found = ingest.read(sample(name))
    assert (wired.format, len(wired.device), len(wired.cable), len(wired.host), len(wired.gpu)) == READ[name]
    assert not [d for d in found if d.severity is Severity.ERROR]


@pytest.mark.parametrize("name", [n for n in READ if "DGX2" not in n and "rccl" not in n])
def test_import_reads_back_the_same(name, sample):
    """The topology that is written has the nodes and tiers of the cluster, and writing it again changes nothing."""
    wired, _ = ingest.read(sample(name))
    cluster = cluster_of(wired) if not is_grouped(wired) else cluster_of_groups(wired)
    text = topology_text(cluster)
    again = lower_document(parse(text, "again.yaml", "topology"))
    assert sorted(again.host_N.tolist()) == sorted(cluster.host_N.tolist())
    assert [(t.name, t.num_groups) for t in again.tiers] == [(t.name, t.num_groups) for t in cluster.tiers]
    assert again.chips == cluster.chips
    assert topology_text(again) == text


def test_what_the_samples_say(sample):
    """Faults that are in the samples, by name and line; the others have none."""
    found = {}
    for name in READ:
        _, diagnostics = ingest.read(sample(name))
        notes = ("ingest/unsaid", "ingest/not-used")
        if names := Counter(d.name for d in diagnostics if d.name not in notes):
            found[name] = dict(names)
    assert found == {
        "slurm/tree_testcase2.topology.conf": {"ingest/unbalanced": 1},
        "nccl_xml/gb300_nvl72_1tray_healthy.nccl_topo.xml": {"ingest/few-adapters": 1},
        "hwloc/nvidiaDGX2.lstopo.xml": {"ingest/assumed": 1},
        "netbox/supermicro_gb300_nvl72_compute_tray.devicetype.yaml": {"ingest/assumed": 1},
        "k8s_cloud/oke_gb300_node_labels_excerpt.txt": {"ingest/assumed": 1},
    }


def test_labels_without_nodes_say_what_is_missing(sample):
    """Kueue's Topology names labels only: the levels are told, and what to give."""
    with pytest.raises(InputError, match=r"cloud\.provider\.com/topology-rack"):
        ingest.read(sample("k8s_cloud/kueue_topology_sample.yaml"))


def test_gpus_that_the_catalogue_lacks_need_a_word(sample):
    """A V100 is not planned as something else unless somebody says so."""
    wired, _ = ingest.read(sample("hwloc/nvidiaDGX2.lstopo.xml"))
    with pytest.raises(InputError, match="V100"):
        cluster_of_groups(wired)
    assert cluster_of_groups(wired, Assume("A100-40GB")).gpus_per_node == 16
