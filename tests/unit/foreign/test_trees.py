# SPDX-License-Identifier: Apache-2.0
"""Schedulers' trees and blocks: every class of mistake is one finding at its line, and the rest is used."""

from __future__ import annotations

import pytest

from placement.diag import Severity
from placement.ingest import read as read_file
from placement.ingest.hierarchy import cluster_of_groups
from tests.unit.foreign.conftest import said

TREE = """SwitchName=core Switches=spine[1-2]
SwitchName=spine1 Switches=leaf[1-2]
SwitchName=spine2 Switches=leaf[3-4]
SwitchName=leaf1 Nodes=n[01-04]
SwitchName=leaf2 Nodes=n[05-08]
SwitchName=leaf3 Nodes=n[09-12]
SwitchName=leaf4 Nodes=n[13-16]
"""


def test_a_good_tree_has_no_findings(read):
    """Sixteen hosts under four leafs, two spines, one core."""
    reading = read(TREE)
    assert said(reading) == []
    cluster = cluster_of_groups(reading[0])
    assert cluster.host_N.tolist() == [f"n{k:02}" for k in range(1, 17)]
    assert [(t.name, t.num_groups) for t in cluster.tiers] == [("nvlink", 16), ("leaf", 4), ("spine", 2), ("core", 1)]


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("spine2 Switches=leaf[3-4]", "spine2 Switches=leaf[3-5]", ("unknown-child", 3)),
        ("spine2 Switches=leaf[3-4]", "spine2 Switches=leaf[2-4]", ("two-parents", 3)),
        ("leaf4 Nodes=n[13-16]", "leaf4 Nodes=n[12-16]", ("several-leafs", 7)),
        ("leaf4 Nodes=n[13-16]", "leaf4 Nodes=n[13-16],n13", ("duplicate-name", 7)),
        ("core Switches=spine[1-2]", "core Switches=spine1", ("islands", 3)),
        ("leaf4 Nodes=n[13-16]", "leaf4 Nodes=n[13-", ("bad-hostlist", 7)),
        ("leaf4 Nodes=n[13-16]", "leaf4 Nodes=n[13-16] Colour=red", ("bad-record", 7)),
        ("leaf4 Nodes", "leaf4 nodes", None),
        ("SwitchName=leaf4", "# a comment\nSwitchName=leaf4", None),
        ("leaf4 Nodes=", "leaf4 \\\n  Nodes=", None),
        ("leaf1 Nodes=n[01-04]", "leaf1 Nodes=n[01-04]\nSwitchName=leaf1 Nodes=n17", ("duplicate-name", 5)),
        ("leaf1 Nodes=n[01-04]", "leaf1 Nodes=n[01-04]\nnonsense here", ("bad-record", 5)),
    ],
)  # fmt: skip
def test_each_mistake_is_one_finding(old, new, finding, read):
    """One mistake, one finding at its line, and all sixteen hosts but those of an unreadable list."""
    assert old in TREE
    reading = read(TREE.replace(old, new))
    names = [s for s in said(reading) if s[0] != "empty-switch"]
    assert names == ([finding] if finding else [])
    assert len(reading[0].host) >= 12


def test_a_ring_is_cut_and_named(read):
    """Three switches in a ring: one finding, no endless walk, every host kept."""
    ring = TREE + "SwitchName=leaf1 Switches=core\n"
    reading = read(ring)
    assert [n for n, _ in said(reading) if n == "cycle"] == ["cycle"]
    assert len(reading[0].host) == 16
    assert cluster_of_groups(reading[0]).num_nodes == 16


def test_long_switch_names_are_refused_by_slurm(read):
    """Names above 64 characters are used, and reported."""
    reading = read(TREE.replace("leaf4", "leaf4" * 14).replace("Switches=leaf[3-4]", "Switches=leaf3," + "leaf4" * 14))
    assert [n for n, _ in said(reading)] == ["switch-name"]


@pytest.mark.parametrize(
    ("sizes", "names"),
    [("4,8,16", []), ("4,12", ["block-sizes"]), ("8,4", ["block-sizes", "partial-block"]), ("4,x", ["block-sizes"]), ("5", ["partial-block"])],
)  # fmt: skip
def test_block_sizes_are_powers_of_two_times_the_first(sizes, names, read):
    """Slurm's rule of BlockSizes; a base size above the blocks leaves them unused."""
    text = f"BlockName=b1 Nodes=n[1-4]\nBlockName=b2 Nodes=n[5-8]\nBlockSizes={sizes}\n"
    assert sorted(n for n, _ in said(read(text))) == names


def test_blocks_are_nvlink_domains(read):
    """Blocks become the innermost tier; a host in two of them stays in the first."""
    reading = read("BlockName=b1 Nodes=n[1-4]\nBlockName=b2 Nodes=n[4-8]\nBlockSizes=4\n")
    assert said(reading) == [("several-leafs", 2)]
    assert cluster_of_groups(reading[0]).domain_name_J.tolist() == ["b1", "b2"]


def test_several_topologies_in_one_file(read):
    """The default tree and the first blocks are used; a second tree and other kinds are named as not used."""
    text = """
- topology: old
  tree: {switches: [{switch: s9, nodes: "n[1-4]"}]}
- topology: now
  cluster_default: true
  tree:
    switches:
      - {switch: top, children: "s[1-2]"}
      - {switch: s1, nodes: "n[1-2]"}
      - {switch: s2, nodes: "n[3-4]"}
- topology: nvl
  block:
    block_sizes: [2, 6]
    blocks:
      - {block: b1, nodes: "n[1-2]"}
      - {nodes: "n[3-4]"}
- topology: odd
  hypercube: true
"""
    reading = read(text, name="topology.yaml")
    assert reading[0].format == "slurm-yaml"
    assert said(reading) == [("block-sizes", 13), ("bad-record", 16), ("bad-record", 17)]
    assert [d.message for d in reading[1] if d.name == "ingest/not-used"] == ["topology `old` is a second tree; `now` is used"]
    assert sorted(set(reading[0].device.name_D.tolist()) - {"n1", "n2", "n3", "n4"}) == ["s1", "s2", "top"]


def test_topograph_models(read):
    """Switches by name, blocks of hosts, the NVLink domain as an annotation."""
    text = """
switches:
  core: {switches: [leaf1, leaf2, leaf9]}
blocks:
  - switch: leaf1
    nodes: ["n[1-2]", "x5"]
    annotations: {accelerator.topology.test/domain: nvl1}
  - switch: leaf2
    nodes: ["n[2-3]"]
  - switch: leaf2
    nodes: []
"""
    reading = read(text, name="model.yaml")
    assert reading[0].format == "topograph"
    assert said(reading) == [("unknown-child", 3), ("several-leafs", 8), ("bad-record", 10)]
    assert cluster_of_groups(reading[0]).domain_name_J.tolist() == ["nvl1", "n3"]


def test_topograph_graphs(read):
    """Instances with their switches, leaf first."""
    text = '{"instances": [{"id": "a", "network_layers": ["l1", "s1"]}, {"id": "b", "network_layers": ["l2", "s1"]},\n {"id": "c"}]}'
    reading = read(text, name="graph.json")
    assert (reading[0].format, said(reading)) == ("topograph-graph", [("no-leaf", 2)])
    assert cluster_of_groups(reading[0]).tiers[1].num_groups == 3


def test_three_thousand_leafs_of_eighteen(read):
    """55,008 hosts: names with two numbers keep their order, and the topology that is written stays small."""
    from placement.ingest.grouped import topology_text

    leafs = "".join(f"SwitchName=leaf{r:04} Nodes=rack{r:04}-tray[01-18]\n" for r in range(1, 3057))
    reading = read("SwitchName=core Switches=leaf[0001-3056]\n" + leafs)
    assert said(reading) == []
    cluster = cluster_of_groups(reading[0])
    assert cluster.num_nodes == 55_008
    assert len(topology_text(cluster)) < 2_000


@pytest.mark.parametrize("line", ["SwitchName=top Switches=a,b,gone", "SwitchName=top Switches=a,b\nSwitchName=two Switches=b"])
def test_what_stops_slurmctld_is_an_error(line, tmp_path):
    """ "Switch configuration is not a tree" and "has invalid child" are fatal there: errors here, and the file is still read."""
    path = tmp_path / "topology.conf"
    path.write_text(f"SwitchName=a Nodes=n[1-4]\nSwitchName=b Nodes=n[5-8]\n{line}\n", encoding="utf-8")
    wired, found = read_file(str(path))
    assert len(wired.host) == 8
    assert [d.severity for d in found if d.name in ("ingest/unknown-child", "ingest/two-parents")] == [Severity.ERROR]
