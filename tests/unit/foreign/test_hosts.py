# SPDX-License-Identifier: Apache-2.0
"""Labels, clouds, host dumps, simulators and inventories, by hand-written fixtures."""

from __future__ import annotations

import json

import networkx as nx
import pytest

from placement.fabric.wiring import analyse
from placement.ingest.hierarchy import cluster_of_groups
from tests.unit.foreign.conftest import said

UUID = "11111111-2222-3333-4444-555555555555"


def kinds(wired):
    return sorted(f.kind for f in analyse(wired).faults)


def node(name, clique="", block="b1", spine="s1", **more):
    labels = {"network.topology.nvidia.com/block": block, "network.topology.nvidia.com/spine": spine}
    labels |= {"nvidia.com/gpu.clique": clique} if clique else {}
    return {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels | more},
        "status": {"capacity": {"nvidia.com/gpu": "4"}},
    }


def listed(nodes):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}, indent=1)


def racks(n=3, trays=4):
    return [node(f"n{r}-{t}", f"{UUID}.{r}", f"b{r}") for r in range(n) for t in range(trays)]


def test_kubernetes_nodes(read):
    """Cliques are NVLink domains, labels tiers; the clusters that follow have racks of four under one spine."""
    reading = read(listed(racks()))
    assert (reading[0].format, said(reading)) == ("kubernetes", [])
    cluster = cluster_of_groups(reading[0])
    assert [t.num_groups for t in cluster.tiers] == [3, 3, 1]
    assert (cluster.chips[0].name, cluster.gpus_per_node) == ("GB300", 4)
    assert kinds(reading[0]) == []


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda n: n[5]["metadata"]["labels"].pop("nvidia.com/gpu.clique"), ["no-clique", "partial-domain"]),
        (lambda n: n.pop(5), ["partial-domain"]),
        (lambda n: n[5]["metadata"]["labels"].update({"network.topology.nvidia.com/block": "b2"}), ["clique-across-leafs"]),
        (lambda n: n[5]["metadata"]["labels"].update({"network.topology.nvidia.com/spine": "s2"}), ["two-parents"]),
        (lambda n: n[5]["metadata"]["labels"].update({"nvidia.com/gpu.clique": f"{UUID}.2"}), ["clique-across-leafs", "partial-domain", "partial-domain"]),
        (lambda n: n[5]["status"]["capacity"].update({"nvidia.com/gpu": "3"}), ["gpu-count"]),
        (lambda n: n[5]["status"].update({"conditions": [{"type": "Ready", "status": "False"}]}), ["host-unhealthy"]),
    ],
)  # fmt: skip
def test_each_fault_of_labels_is_found(change, kind, read):
    """One wrong label, one root cause with its hosts."""
    nodes = racks()
    change(nodes)
    found = kinds(read(listed(nodes))[0])
    assert [k for k in found if k in kind] == found and set(kind) <= {*found, "partial-domain"}


def test_kubernetes_as_yaml_table_and_excerpt(read):
    """The same nodes as YAML, as a table with labels, and as bare labels."""
    label = "nvidia.com/gpu.clique"
    yaml = f"apiVersion: v1\nkind: Node\nmetadata:\n  name: a\n  labels:\n    {label}: {UUID}.1\n"
    table = f"NAME STATUS ROLES AGE VERSION LABELS\na Ready <none> 1d v1.30 x=y,{label}={UUID}.1\nb NotReady <none> 1d v1.30 {label}={UUID}.1\nc\n"
    excerpt = f"Name: a\n{label}={UUID}.1\n\nName: b\n{label}={UUID}.1\nwhat is this\n"
    assert read(yaml)[0].host.domain_H.tolist() == [f"{UUID}.1"]
    wired = read(table)[0]
    assert (wired.host.name_H.tolist(), wired.host.state_H.tolist()) == (["a", "b"], ["", "NotReady"])
    reading = read(excerpt)
    assert reading[0].host.name_H.tolist() == ["a", "b"]
    assert said(reading) == [("bad-record", 6)]


@pytest.mark.parametrize(
    ("labels", "tiers"),
    [
        ({"fabric.topograph.run/tier-1": "l", "fabric.topograph.run/tier-2": "s"}, ("tier-1", "tier-2")),
        ({"oci.oraclecloud.com/rdma.local_block_id": "l", "oci.oraclecloud.com/rdma.hpc_island_id": "i"}, ("local-block", "hpc-island")),
        ({"cloud.google.com/gce-topology-subblock": "l", "cloud.google.com/gce-topology-block": "b"}, ("subblock", "block")),
        ({"topology.k8s.aws/network-node-layer-1": "a", "topology.k8s.aws/network-node-layer-3": "c"}, ("layer-3", "layer-1")),
        ({"backend.coreweave.cloud/leafgroup": "l", "ds.coreweave.com/nvlink.domain": "d"}, ("leafgroup",)),
    ],
)  # fmt: skip
def test_families_of_labels(labels, tiers, read):
    """Each vendor's labels give its tiers from the inside out."""
    wired, _ = read(listed([{"kind": "Node", "metadata": {"name": "a", "labels": labels}}]))
    assert wired.host.tiers == tiers


def test_clouds(read):
    """AWS, GCP and OCI: places, instance types, health, and records that lack their place."""
    aws = {"Instances": [{"InstanceId": "i-1", "InstanceType": "p6e-gb200.36xlarge", "NetworkNodes": ["a", "b", "c"]},
                         {"InstanceId": "i-2", "InstanceType": "p9.huge", "NetworkNodes": ["a", "b", "d"]}, {"InstanceId": "i-3"}]}  # fmt: skip
    reading = read(json.dumps(aws))
    assert reading[0].format == "aws"
    assert [n for n, _ in said(reading)] == ["assumed", "no-leaf"]
    assert reading[0].host.tiers == ("layer-3", "layer-2", "layer-1")
    cluster = cluster_of_groups(reading[0])
    assert (cluster.chips[0].name, cluster.gpus_per_node, cluster.nic_Bps_N[0]) == ("GB200", 4, 50e9)
    gcp = [{"name": "g1", "machineType": "zones/x/machineTypes/a4x-highgpu-4g", "status": "RUNNING",
            "resourceStatus": {"physicalHostTopology": {"cluster": "c", "block": "b", "subblock": "s", "host": "h"}}},
           {"name": "g2", "status": "TERMINATED", "resourceStatus": {"physicalHost": "/b/s/h2"}}]  # fmt: skip
    wired, _ = read(json.dumps(gcp))
    assert (wired.format, wired.host.group_HL[0].tolist()) == ("gcp", ["s", "b", "c"])
    assert (wired.host.state_H[1], wired.host.group_HL[1].tolist()) == ("TERMINATED", ["s", "b", ""])
    oci = {"data": {"items": [{"hpc-island-id": "ocid1.x.i", "network-block-id": "n", "local-block-id": "l", "gpu-memory-fabric-id": "f",
                               "display-name": "o1", "shape": "BM.GPU.GB300.4", "health": "UNHEALTHY"}]}}  # fmt: skip
    wired, _ = read(json.dumps(oci))
    assert (wired.format, wired.host.domain_H[0], wired.host.state_H[0]) == ("oci", "f", "UNHEALTHY")
    assert not cluster_of_groups(wired).gpu_ok_NG.any()


def test_nmx(read):
    """Two hosts in one slot, a GPU listed twice, and ill health are found."""

    def one(name, slot, health="HEALTHY", gpus="abcd"):
        place = {"ChassisSerialNumber": "X", "SlotID": slot, "TrayIndex": slot}
        return {"Name": name, "DomainUUID": UUID, "GpuIDList": list(gpus), "Health": health, "LocationInfo": place}

    reading = read(json.dumps([one("a", 1), one("b", 1), one("c", 3, "DEGRADED"), one("d", 4, gpus="aacd")]))
    assert [n for n, _ in said(reading)] == ["duplicate-name"]
    assert kinds(reading[0]) == ["host-unhealthy", "place-twice"]
    assert cluster_of_groups(reading[0]).whole_N.tolist() == [True, True, False, True]


def test_netq(read):
    """Links by interface are cables; sizes that do not match and unknown ends are found."""

    def cable(a, b):
        return {"id": f"{a}-{b}", "interfaces": [{"node": a, "interface": "swp1"}, {"node": b, "interface": "eth0"}]}

    def device(id, kind):
        return {"id": id, "name": id.upper(), "device_type": kind}

    links = [
        {"id": "x", "size": 2, "compounded_links": [cable("s", "h1")]},
        {"id": "y", "compounded_links": [cable("s", "h9")]},
    ]
    graph = [{"nodes": [device("s", "switch"), device("h1", "discovered_via_lldp")], "links": links}]
    reading = read(json.dumps(graph))
    assert reading[0].format == "netq"
    assert sorted(n for n, _ in said(reading)) == ["ends-disagree", "unknown-child"]
    assert len(reading[0].cable) == 2


NCCL = """<system version="1">
<cpu host_hash="0x1" arch="arm64">
{}
<pci busid="0"><nic><net name="mlx5_0" dev="0" speed="{}" guid="0x1f"/></nic></pci>
<pci busid="0"><nic><net name="mlx5_1" dev="1" speed="400000" guid="0x2f"/></nic></pci>
</cpu></system>
"""


def gpus(counts):
    return "".join(
        f'<pci class="0x030200"><gpu dev="{i}" sm="100"><nvlink target="s" count="{c}"/></gpu></pci>'
        for i, c in enumerate(counts)
    )


@pytest.mark.parametrize(("counts", "found"), [([18, 18], []), ([18, 16], ["nvlink-count"]), ([16, 16], ["nvlink-count"])])
def test_nvlink_counts(counts, found, read):
    """A GPU with fewer NVLinks than its kind has is found, also where all have too few; it takes no ranks."""
    reading = read(NCCL.format(gpus(counts), 400000))
    assert (reading[0].format, said(reading)) == ("nccl-topo", [])
    assert kinds(reading[0]) == found
    cluster = cluster_of_groups(reading[0])
    assert (cluster.chips[0].name, cluster.gpu_ok_NG[0].tolist()) == ("GB200", [c == 18 for c in counts])


def test_nccl_adapters_and_graphs(read):
    """A speed that is none, and channels that leave out a GPU."""
    assert [n for n, _ in said(read(NCCL.format(gpus([18, 18]), "fast")))] == ["no-speed"]
    channel = "<channel><gpu dev='0'/>{}</channel>"
    graph = "<graphs version='1'><graph id='0'>" + channel.format("<gpu dev='1'/>") + channel.format("") + "</graph></graphs>"
    reading = read(graph)
    assert (reading[0].format, said(reading)) == ("nccl-graph", [("uneven-channels", 1)])


TOPO = """\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\x1b[0m
GPU0\t X \tNV18\tNODE\t0-71
GPU1\tNV{}\t X \tSYS\t0-71
NIC0\tNODE\tSYS\t X

NIC Legend:

  NIC0: mlx5_0
"""


def test_nvidia_smi_matrix(read):
    """GPUs, NVLinks and adapters of `topo -m`, of one host or of several with their names in front."""
    wired, _ = read(TOPO.format(18), name="tray01.txt")
    assert (wired.format, wired.host.name_H.tolist(), wired.gpu.nvlinks_U.tolist()) == ("nvidia-smi-topo", ["tray01"], [18, 18])
    assert wired.device.unit_D.tolist() == ["mlx5_0"]
    many = "".join(f"h{k}: {line}\n" for k in (1, 2) for line in TOPO.format(18 - k).split("\n") if line)
    wired, _ = read(many, "nvidia-smi-topo")
    assert (wired.host.name_H.tolist(), wired.gpu.nvlinks_U.tolist()) == (["h1", "h2"], [18, 17, 18, 16])
    assert kinds(wired) == ["nvlink-count", "nvlink-count"]


def smi(clique, state="Completed", attached=1):
    return f"""==============NVSMI LOG==============
Attached GPUs                             : {attached}
GPU 00000008:06:00.0
    Product Name                          : NVIDIA GB300
    Fabric
        State                             : {state}
        Status                            : Success
        CliqueId                          : {clique}
        ClusterUUID                       : {UUID}
        Health
            Bandwidth                     : Full
GPU 00000009:06:00.0
    Product Name                          : NVIDIA GB300
    Fabric
        State                             : Completed
        Status                            : Success
        CliqueId                          : 7
        ClusterUUID                       : {UUID}
"""


def test_nvidia_smi_fabric(read):
    """Clique, health, and GPUs of one host in two cliques."""
    reading = read(smi(7, attached=2))
    assert (reading[0].format, said(reading), kinds(reading[0])) == ("nvidia-smi-q", [], [])
    assert (reading[0].host.domain_H.tolist(), reading[0].host.gpu_name_H.tolist()) == ([f"{UUID}.7"], ["NVIDIA GB300"])
    reading = read(smi(8, "In Progress", attached=4))
    assert [n for n, _ in said(reading)] == ["incomplete", "split-host"]
    assert kinds(reading[0]) == ["clique-split", "degraded-domain"]


def test_lstopo(read):
    """GPUs, adapters and the host's name."""
    gpu = '<object type="PCIDev" pci_type="0302 [10de:2330]"><object type="OSDev" name="nvml0"><info name="GPUModel" value="NVIDIA H100 80GB"/></object></object>'
    nic = '<object type="PCIDev" pci_type="0207 [15b3:1021]"><object type="OSDev" name="mlx5_0" osdev_type="3"/></object>'
    text = (
        f'<topology version="2.0"><object type="Machine"><info name="HostName" value="h7"/>{gpu}{gpu}{nic}</object></topology>'
    )
    reading = read(text)
    assert (reading[0].format, said(reading)) == ("lstopo", [])
    assert (reading[0].host.name_H.tolist(), reading[0].host.gpus_H.tolist(), reading[0].host.nics_H.tolist()) == (
        ["h7"],
        [2],
        [1],
    )
    assert cluster_of_groups(reading[0]).chips[0].name == "H100"


def test_netbox(read):
    """Device types: compute adapters are the fastest; cable exports: used ports, planned cables, unreadable rows."""
    kind = "manufacturer: X\nmodel: GB300 tray\nslug: tray\ninterfaces:\n  - {name: bmc, type: 1000base-t, mgmt_only: true}\n"
    kind += "  - {name: ib0, type: infiniband-xdr}\n  - {name: ib0, type: infiniband-xdr}\n  - {name: odd, type: lasso}\n"
    reading = read(kind, name="tray.yaml")
    assert (reading[0].format, said(reading)) == ("netbox-devicetype", [("duplicate-name", 7), ("no-speed", 8)])
    assert (reading[0].host.nic_Bps_H.tolist(), reading[0].host.gpu_name_H.tolist()) == ([100e9], ["GB300"])
    rows = "side_a_device,side_a_name,side_b_device,side_b_name,status\nleaf1,swp1,h1,eth0,Connected\nleaf1,swp1,h2,eth0,Connected\n"
    reading = read(rows + "leaf1,,h3,eth0,Connected\nleaf1,swp4,h4,eth0,Planned\n", name="cables.csv")
    assert (reading[0].format, said(reading)) == ("netbox-cables", [("port-twice", 3), ("bad-record", 4)])
    assert len(reading[0].cable) == 2


SIMAI = """10 2 2 4 12 H100
4 5 6 7 8 9
0 4 2400Gbps 0.00001ms 0
1 4 2400Gbps 0.00001ms 0
2 5 2400Gbps 0.00001ms 0
3 5 2400Gbps 0.00001ms 0
0 6 400Gbps 0.0005ms 0
1 7 400Gbps 0.0005ms 0
2 6 400Gbps 0.0005ms 0
3 7 400Gbps 0.0005ms 0
6 8 400Gbps 0.0005ms 0
7 8 400Gbps 0.0005ms 0
6 9 400Gbps 0.0005ms 0
7 9 400Gbps 0.0005ms 0
"""


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", []),
        ("7 9 400Gbps 0.0005ms 0\n", "", [("incomplete", 1)]),
        ("3 7 400Gbps", "3 7 -400Gbps", [("no-speed", 10)]),
        ("3 7 400Gbps", "3 77 400Gbps", [("unknown-child", 10)]),
        ("3 7 400Gbps 0.0005ms 0", "hello", [("bad-record", 10)]),
        ("4 5 6 7 8 9", "4 5 6", [("incomplete", 2)]),
    ],
)
def test_simai(old, new, found, read):
    """Servers, leafs and spines of SimAI; each damage is one finding."""
    reading = read(SIMAI.replace(old, new), "simai")
    assert said(reading) == found
    assert reading[0].host.gpus_H.tolist() == [2, 2]
    names = reading[0].device.name_D[reading[0].device.kind_D == 0].tolist()
    assert sorted(names) == ["leaf6", "leaf7", "spine8", "spine9"]


def test_astra_sim(read):
    """The first dimension is the host, each further one a tier."""
    reading = read("topology: [ Switch, Ring ]\nnpus_count: [ 8, 4 ]\nbandwidth: [ 400.0, 50.0 ]\nlatency: [ 900 ]\n")
    assert (reading[0].format, said(reading)) == ("astra-sim", [("bad-record", 4)])
    cluster = cluster_of_groups(reading[0])
    assert (cluster.num_nodes, cluster.gpus_per_node, cluster.nic_Bps_N[0]) == (4, 8, 50e9)


def test_graphml_of_networkx(read, tmp_path):
    """What networkx writes is read: nodes, parallel cables with ports and speed."""
    graph = nx.MultiGraph()
    graph.add_node("s1", kind="switch")
    graph.add_node("h1", kind="host", gpus=4, colour="red")
    graph.add_edge("s1", "h1", port_a=1, port_b=1, speed="400G")
    graph.add_edge("s1", "h1", port_a=2, port_b=2, speed="slow")
    nx.write_graphml(graph, tmp_path / "g.graphml")
    reading = read((tmp_path / "g.graphml").read_text())
    assert reading[0].format == "graphml"
    assert [n for n, _ in said(reading)] == ["no-speed"]
    assert (reading[0].cable.Bps_C.tolist(), reading[0].cable.port_CE.tolist()) == ([50e9, 0.0], [[1, 1], [2, 2]])
    assert "`colour`" in next(d.message for d in reading[1] if d.name == "ingest/not-used")
