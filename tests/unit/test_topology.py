# SPDX-License-Identifier: Apache-2.0
"""Topology files become clusters: the tiny one by hand, names, groups, counts of the reference fabrics."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from placement.fabric import TierSpec, build, design
from placement.fabric.pattern import groups
from placement.ir import Cluster, State
from placement.spec import check_topology, load_cluster
from placement.spec.source import parse
from placement.spec.topology import lower_document

ROOT = Path(__file__).parents[2]
TOPOLOGIES = sorted((ROOT / "topologies").glob("*.yaml"))


def cluster_of(text: str) -> Cluster:
    return lower_document(parse(text, "t.yaml", "topology"))


def test_tiny_by_hand() -> None:
    """2 leafs x 2 nodes x 2 GPUs: every number of the sketch in the file."""
    tiny = load_cluster(str(ROOT / "topologies" / "tiny.yaml"))
    assert (tiny.name, tiny.num_nodes, tiny.num_gpus, tiny.gpus_per_node) == ("tiny", 4, 8, 2)
    assert tiny.host_N.tolist() == ["n0-0", "n0-1", "n1-0", "n1-1"] == tiny.domain_name_J.tolist()
    assert [t.name for t in tiny.tiers] == ["nvlink", "leaf", "spine"]
    assert [t.group_N.tolist() for t in tiny.tiers] == [[0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert [t.uplink_Bps_J.tolist() for t in tiny.tiers] == [[100e9] * 4, [50e9] * 2, [np.inf]]
    assert [t.latency_s for t in tiny.tiers] == [1e-6, 2e-6, 3e-6]
    assert tiny.nic_Bps_N.tolist() == [50e9] * 4
    assert tiny.rail_G.tolist() == [0, 1]
    assert tiny.whole_N.all()
    assert dict(tiny.design.switches) == {"leaf": 2, "spine": 1}
    assert dict(tiny.design.cables) == {"nic-leaf": 8, "leaf-spine": 2}
    assert tiny.design.facts["leaf taper"] == "4:1"
    assert [c.name for c in tiny.chips] == ["H100"]
    assert tiny.findings == ()


def test_source_places() -> None:
    """A cluster remembers where its file says what: GPU, node, every tier, every exception."""
    su = load_cluster(str(ROOT / "topologies" / "gb200-su.yaml"))
    lines = (ROOT / "topologies" / "gb200-su.yaml").read_text().split("\n")
    for key, text in {"gpu": "gpu:", "node": "node:", "tiers.leaf": "name: leaf", "tiers.nvlink": "nvlink:"}.items():
        _, line, column = su.source[key]
        assert lines[line - 1][column - 1 :].startswith(text)
    assert [su.source[f"exceptions.{i}"][1] - su.source["exceptions.0"][1] for i in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda p: p.stem)
def test_examples(path: Path) -> None:
    """Every example is short, starts with its schema, cites sources, has groups that nest, and loads without errors."""
    text = path.read_text()
    assert text.startswith("# yaml-language-server: $schema=../schemas/topology.json\n")
    assert len(text.split("\n")) < 150
    assert "Sources" in text or "Invented" in text
    cluster, found = check_topology(str(path))
    assert cluster is not None
    assert {d.severity.value for d in found} <= {"info"}
    assert cluster.name == path.stem
    assert len(set(cluster.host_N.tolist())) == cluster.num_nodes
    assert len(set(cluster.domain_name_J.tolist())) == cluster.tiers[0].num_groups
    for inner, outer in zip(cluster.tiers, cluster.tiers[1:], strict=False):
        pairs = np.unique(np.stack([inner.group_N, outer.group_N]), axis=1)
        assert pairs.shape[1] == inner.num_groups
    assert cluster.tiers[-1].num_groups == 1


def test_examples_by_name() -> None:
    """A bare name finds the example that comes with the tool."""
    assert load_cluster("tiny").digest() == load_cluster("tiny.yaml").digest() == load_cluster("topologies/tiny.yaml").digest()


SIZES = {
    "gb300-220k": (220_032, 220_032, 3056),
    "gb300-220k-tapered": (220_032, 220_032, 3056),
    "gb300-220k-multiplane": (220_032, 220_032, 3056),
    "gb200-su": (576, 544, 8),
    "h100-16k": (16_384, 16_384, 2048),
    "a100-selene": (4_480, 4_480, 560),
    "h100-4": (4, 4, 1),
    "h100-8": (8, 8, 1),
    "h200-2": (2, 2, 1),
    "mixed-gb200-gb300": (2_304, 2_232, 32),
    "two-halls-gb200": (1_152, 1_152, 16),
    "tiny": (8, 8, 4),
}


def test_sizes() -> None:
    """GPUs, usable GPUs and NVLink domains of every example."""
    assert {p.stem for p in TOPOLOGIES} == set(SIZES)
    for name, expected in SIZES.items():
        c = load_cluster(name)
        assert (c.num_gpus, int(c.usable_NG.sum()), c.tiers[0].num_groups) == expected, name


COUNTS = {
    "gb300-220k": ({"leaf": 3056, "spine": 3056, "core": 1728}, [220_032, 220_032, 220_032]),
    "gb300-220k-tapered": ({"leaf": 3056, "spine": 1728, "core": 288}, [220_032, 220_032, 27_648]),
    "gb300-220k-multiplane": ({"leaf": 6112, "spine": 3584}, [1_760_256, 1_369_088]),
    "gb200-su": ({"leaf": 32, "spine": 9}, [576, 576]),
    "h100-16k": ({"rtsw": 1024, "ctsw": 96, "atsw": 16}, [16_384, 16_384, 2_592]),
    "a100-selene": ({"leaf": 224, "spine": 320, "core": 140}, [4_480, 4_480, 4_480]),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    """Switches and cables of the examples: 7,840 and 660,096 for A1, 5,072 for A3, 9,696 for B2."""
    made = load_cluster(name).design
    assert (dict(made.switches), list(made.cables.values())) == COUNTS[name]


def test_facts_of_the_reference_fabric() -> None:
    """A1: pods, tapers, ports and cables per pair as its designers print them."""
    facts = load_cluster("gb300-220k").design.facts
    assert facts["pod groups"] == "42 x 72 racks + 1 x 32"
    assert (facts["leaf taper"], facts["spine taper"]) == ("1:1", "1:1")
    assert facts["cables per leaf-spine pair"] == "1, and 2 or 3 in a partial group"
    assert (facts["cables per spine-core pair"], facts["core ports used"]) == ("3", "129 of 144")
    assert load_cluster("gb300-220k-tapered").design.facts["spine taper"] == "8:1"
    assert load_cluster("gb300-220k-multiplane").design.facts["leaf taper"] == "1.286:1"


def _reference() -> ModuleType:
    """The independent calculator of the reference fabrics, where this checkout has it beside it."""
    path = ROOT.parent / "shared" / "data" / "fabric_counts.py"
    if not path.exists():
        pytest.skip("no independent fabric calculator beside this checkout")
    spec = importlib.util.spec_from_file_location("fabric_counts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fabric_counts"] = module
    spec.loader.exec_module(module)
    return module


def _tier(name: str, kind: str, sizes: tuple[int, ...], ports: int, **more: object) -> TierSpec:
    return TierSpec(name, kind, sizes, 1e-6, ports, 1e11, **more)  # type: ignore[arg-type]


FABRICS: dict[str, tuple[int, list[TierSpec]]] = {
    "A1": (1, [_tier("leaf", "leaf", (4,), 144, per_rail=True, uplinks=72),
               _tier("pod", "spine", (72,), 144, uplinks=72, scaled=True), _tier("core", "core", (), 144)]),
    "A2": (1, [_tier("leaf", "leaf", (4,), 144, per_rail=True, uplinks=72),
               _tier("pod", "spine", (72,), 144, uplinks=48, switches=54, scaled=True), _tier("core", "core", (), 144)]),
    "A3": (1, [_tier("leaf", "leaf", (4,), 144, per_rail=True, uplinks=72),
               _tier("pod", "spine", (128,), 144, uplinks=16), _tier("core", "core", (), 144)]),
    "B1": (8, [_tier("leaf", "leaf", (14,), 512, per_rail=True, uplinks=252), _tier("spine", "spine", (), 512, per_rail=True)]),
    "B2": (8, [_tier("leaf", "leaf", (16,), 512, per_rail=True, uplinks=224), _tier("spine", "spine", (), 512, per_rail=True)]),
    "B3": (8, [_tier("leaf", "leaf", (6,), 512, uplinks=80), _tier("spine", "spine", (), 512)]),
    "B5": (8, [_tier("leaf", "leaf", (3,), 512, uplinks=216), _tier("spine", "spine", (1528,), 512)]),
    "C": (2, [_tier("leaf", "leaf", (3,), 128, per_rail=True, uplinks=54), _tier("pod", "spine", (48,), 128, uplinks=64),
              _tier("core", "core", (), 128)]),
}  # fmt: skip


@pytest.mark.parametrize("key", FABRICS)
def test_against_the_independent_calculator(key: str) -> None:
    """All eight reference fabrics: counts derived from ports equal those of a calculator written apart from this one."""
    expected = {f.key: f for f in _reference().reference_fabrics()}[key]
    planes, tiers = FABRICS[key]
    made = design(build(tiers, np.full(3056, 72), rails=4, planes=planes, rails_connected=True))
    assert dict(made.switches) == expected.switches
    assert list(made.cables.values()) == list(expected.links.values())


def test_inner_groups_start_anew_in_every_outer_group() -> None:
    """Partial groups stand at the end of each outer group, as racks are wired."""
    tiers = [_tier("leaf", "leaf", (4,), 144), _tier("pod", "spine", (10,), 144), _tier("hall", "core", (15, 8), 144)]
    leaf_X, pod_X, hall_X = groups(tiers, 23)
    assert hall_X.tolist() == [0] * 15 + [1] * 8
    assert pod_X.tolist() == [0] * 10 + [1] * 5 + [2] * 8
    assert np.bincount(leaf_X).tolist() == [4, 4, 2, 4, 1, 4, 4]


def test_a_million_gpus_by_one_number() -> None:
    """Changing the number of racks is all it takes; the fabric says that its core has become too small."""
    text = (ROOT / "topologies" / "gb300-220k.yaml").read_text()
    big = cluster_of(text.replace("count: 3056", "count: 13889"))
    assert big.num_gpus == 1_000_008
    assert big.tiers[2].num_groups == 193
    (warning,) = [d for d in big.findings if d.severity == "warning"]
    assert warning.message == "a core of 144 ports cannot reach every group of tier `pod` (193 groups)"


@pytest.mark.parametrize("racks", [1, 8, 64, 71, 72, 73, 256, 1024])
def test_the_real_fabric_at_other_sizes_by_one_number(racks: int, tmp_path: Path) -> None:
    """The file of the real size is accepted at any number of racks, also where no group of a tier is full."""
    text = (ROOT / "topologies" / "gb300-220k.yaml").read_text(encoding="utf-8")
    path = tmp_path / "other.yaml"
    path.write_text(text.replace("count: 3056", f"count: {racks}"), encoding="utf-8")
    assert load_cluster(str(path)).usable_NG.sum() == 72 * racks


def test_mixed_generations_and_halls() -> None:
    """Runs of racks with other GPUs keep one numbering of nodes; a hall's long-haul link is its uplink."""
    mixed = load_cluster("mixed-gb200-gb300")
    assert [c.name for c in mixed.chips] == ["GB200", "GB300"]
    assert mixed.chip_N.tolist() == [0] * 288 + [1] * 288
    hall = mixed.tiers[2]
    assert (hall.name, hall.uplink_Bps_J.tolist()) == ("hall", [6.4e12, 6.4e12])
    assert (mixed.state_N[6 * 18 : 7 * 18] == State.DRAINED).all()
    assert mixed.speed_N.min() == 0.9


def test_domains_smaller_than_a_rack() -> None:
    """Racks may hold several NVLink domains, named after the rack; hosts of one are named themselves."""
    text = (ROOT / "topologies" / "gb200-su.yaml").read_text().split("exceptions:")[0]
    half = cluster_of(text.replace("nvlink: {latency", "nvlink: {nodes: 9, latency"))
    assert half.tiers[0].num_groups == 16
    assert half.domain_name_J[:3].tolist() == ["su1-r1-d0", "su1-r1-d1", "su1-r2-d0"]


def test_gpu_described_in_place() -> None:
    """A GPU that the catalogue lacks can be written out."""
    text = (ROOT / "topologies" / "h100-4.yaml").read_text()
    inline = (
        "gpu: {name: X1, generation: hopper, peak: {bf16: 1 PFLOP/s}, memory: 96 GB, memory_bandwidth: 4 TB/s, nvlink: 1 TB/s}"
    )
    chip = cluster_of(text.replace("gpu: H100", inline)).chips[0]
    assert (chip.name, chip.hbm_bytes, chip.nvlink_Bps, dict(chip.peak_flops)) == ("X1", 96e9, 1e12, {"bf16": 1e15})


def test_adapters_shared_by_gpus() -> None:
    """Fewer adapters than GPUs: neighbours share a rail, and each has its part of the speed."""
    text = (ROOT / "topologies" / "h100-4.yaml").read_text().replace("nics: 4", "nics: 2")
    shared = cluster_of(text)
    assert shared.rail_G.tolist() == [0, 0, 1, 1]
    assert shared.nic_Bps_N.tolist() == [25e9]


def test_arrays_cannot_be_changed() -> None:
    """A cluster is a value."""
    with pytest.raises(ValueError, match="read-only"):
        load_cluster("tiny").state_N[0] = 1
