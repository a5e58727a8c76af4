# SPDX-License-Identifier: Apache-2.0
"""Captures whose numbers fit together in ways that no sample has: what is imported is a topology that can be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from placement import ingest
from placement.ingest.build import guids, whole
from placement.ingest.cluster import cluster_of
from placement.ingest.hierarchy import Assume, cluster_of_groups
from placement.ingest.native import as_yaml
from placement.spec.expand import load_wired
from placement.spec.source import parse
from placement.spec.topology import lower_document
from tests import ibnetdiscover

DESIGN = """\
name: design
gpu: H100
node: {{gpus: {lanes}, nics: {lanes}, nic: ConnectX-7}}
nvlink: {{nodes: 1, latency: 1 us}}
racks: [{{count: 2, nodes: 2, name: "r{{rack}}", host: "n{{rack}}-{{node}}"}}]
fabric:
  tiers:
    - {{name: leaf, latency: 2 us, racks: 1, switch: {{ports: 64, speed: 400 Gb/s, uplinks: {lanes}}}}}
    - {{name: spine, latency: 3 us, switch: {{ports: 64, speed: 400 Gb/s}}}}
"""
LINE_BPS = 50e9  # 400 Gb/s


def capture(lanes, wrote):
    """ibnetdiscover of four hosts under two leafs."""
    return wrote(ibnetdiscover.plain(load_wired(wrote(DESIGN.format(lanes=lanes), "design.yaml"))), "capture.txt")


def labels(gpus, wrote):
    """Kubernetes nodes that say how many GPUs a host has."""
    items = [
        {"kind": "Node", "metadata": {"name": f"n{r}-{n}"}, "status": {"capacity": {"nvidia.com/gpu": str(gpus)}}}
        for r in (1, 2) for n in (1, 2)
    ]  # fmt: skip
    return wrote(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}), "nodes.json")


@pytest.mark.parametrize(("lanes", "gpus"), [(8, 8), (4, 8), (2, 8), (8, 4), (7, 8), (3, 8)])
def test_a_node_has_the_bandwidth_of_its_adapters(lanes, gpus, wrote):
    """However many GPUs share them: read directly, and through the topology that is written."""
    wired, _ = ingest.read_all([capture(lanes, wrote), labels(gpus, wrote)])
    direct = cluster_of(wired, "H100")
    text, notes = as_yaml(wired, "H100")
    written = lower_document(parse(text, "imported.yaml", "topology"))
    for cluster in (direct, written):
        assert (cluster.num_gpus, cluster.gpus_per_node) == (4 * gpus, gpus)
        assert cluster.nic_Bps_N * gpus == pytest.approx([lanes * LINE_BPS] * 4, rel=1e-4)
    uneven = [d for d in notes if d.name == "ingest/adapters-uneven"]
    assert len(uneven) == (1 if lanes in (3, 7) else 0)


def test_absurd_numbers_of_a_capture_are_unknown(wrote):
    """A local identifier of forty digits costs itself alone, an identifier keeps its last 64 bits."""
    text = Path(capture(4, wrote)).read_text(encoding="utf-8")
    wired, _ = ingest.read(wrote(text.replace(" lid 3 ", f" lid {'9' * 40} "), "absurd.txt"))
    assert (wired.device.lid_D == -1).sum() == 1
    assert len(wired.cable) == len(ingest.read(wrote(text, "plain.txt"))[0].cable)
    assert whole([1, 2**70, -(2**70), float("inf")]).tolist() == [1, -1, -1, -1]
    assert guids([2**64 + 5, 7]).tolist() == [5, 7]


def place(k):
    """Where an instance of GCP stands: two sub-blocks of two hosts."""
    return {"cluster": "c", "block": "b", "subblock": f"s{k // 2}", "host": f"h{k}"}


def instances(kind):
    return json.dumps(
        [{"name": f"vm-{k}", "machineType": kind, "resourceStatus": {"physicalHostTopology": place(k)}} for k in range(4)]
    )


@pytest.mark.parametrize(("kind", "domains"), [("a4x-highgpu-4g", 2), ("a4-highgpu-8g", 4)])
def test_a_sub_block_of_racks_is_an_nvlink_domain(kind, domains, wrote):
    """Instances of A4X share the NVLink of their sub-block; those of A4 are alone."""
    cluster = cluster_of_groups(ingest.read(wrote(instances(kind), "gcp.json"))[0])
    assert cluster.tiers[0].num_groups == domains
    assert not any("share an NVLink domain" in d.message for d in cluster.findings)


def test_racks_without_domains_are_told(wrote):
    """AWS names network nodes of GB200 instances and no UltraServer: hosts are taken alone, and the finding says so."""
    nodes = [{"InstanceId": f"i-{k}", "InstanceType": "p6e-gb200.36xlarge", "NetworkNodes": ["a", "b", "c"]} for k in range(2)]
    cluster = cluster_of_groups(ingest.read(wrote(json.dumps({"Instances": nodes}), "aws.json"))[0])
    assert any("2 hosts of GB200 are taken alone" in d.message for d in cluster.findings)
    for node in nodes:
        node["UltraServerId"] = "u"
    told = cluster_of_groups(ingest.read(wrote(json.dumps({"Instances": nodes}), "aws.json"))[0])
    assert told.tiers[0].num_groups == 1
    assert not any("taken alone" in d.message for d in told.findings)


def test_a_gpu_that_contradicts_the_files_is_told(wrote):
    """`--gpu` wins, and a finding says what the files say."""
    wired = ingest.read(wrote(instances("a4-highgpu-8g"), "gcp.json"))[0]
    (found,) = [d for d in cluster_of_groups(wired, Assume("H100")).findings if d.name == "ingest/contradiction"]
    assert found.message == "the files say B200, `--gpu` says H100, which is taken"
    assert not [d for d in cluster_of_groups(wired, Assume("B200")).findings if d.name == "ingest/contradiction"]


def test_a_host_of_oci_out_of_life_is_out_of_service(wrote):
    """`lifecycle-state` counts beside `health`."""
    hosts = [
        {"id": f"h{k}", "shape": "BM.GPU.H100.8", "hpc-island-id": "i", "network-block-id": "n", "local-block-id": "l"}
        | {"lifecycle-state": state}
        for k, state in enumerate(("ACTIVE", "OCCUPIED", "REPAIR"))
    ]
    wired, _ = ingest.read(wrote(json.dumps({"data": {"items": hosts}}), "oci.json"))
    assert wired.host.state_H.tolist() == ["", "", "REPAIR"]


LEAFS = "".join(f"{g} {8 + g % 4} 100Gbps 0.0005ms 0\n" for g in range(8))
SPINES = "".join(f"{leaf} {spine} 100Gbps 0.0005ms 0\n" for leaf in range(8, 12) for spine in (12, 13))
SIMAI = "14 4 0 6 16 {gpu}\n8 9 10 11 12 13 \n" + LEAFS + SPINES


@pytest.mark.parametrize(("gpu", "chip"), [("A100", "A100-40GB"), ("H800", "H800"), ("H20", "H20")])
def test_hosts_under_one_group_of_leafs_have_a_network(gpu, chip, wrote):
    """Two hosts on four leafs, one a rail, and spines: there is a tier above NVLink; the GPU is that of the header."""
    cluster = cluster_of(ingest.read(wrote(SIMAI.format(gpu=gpu), "simai.txt"))[0])
    assert [(t.name, t.num_groups) for t in cluster.tiers] == [("nvlink", 2), ("leaf", 1)]
    assert cluster.tiers[0].uplink_Bps_J == pytest.approx([50e9, 50e9])
    assert cluster.chips[0].name == chip


@pytest.mark.parametrize("hosts", [1, 3])
def test_hosts_on_one_switch(hosts, wrote):
    """One switch is a tier where it joins hosts, and none for a host alone."""
    design = DESIGN.format(lanes=4).replace("count: 2, nodes: 2", f"count: 1, nodes: {hosts}")
    design = design[: design.index("    - {name: spine")].replace(", uplinks: 4", "").replace("racks: 1, ", "")
    wired = ingest.read(wrote(ibnetdiscover.plain(load_wired(wrote(design, "design.yaml"))), "capture.txt"))[0]
    tiers = cluster_of(wired, "H100").tiers
    assert tiers[0].num_groups == hosts
    assert tiers[-1].num_groups == 1
    assert np.isinf(tiers[-1].uplink_Bps_J).all()
