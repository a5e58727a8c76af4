# SPDX-License-Identifier: Apache-2.0
"""Captures whose numbers fit together in ways that no sample has: what is imported is a topology that can be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from placement import ingest
from placement.ingest.build import guids, whole
from placement.ingest.cluster import cluster_of
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
