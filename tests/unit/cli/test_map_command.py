# SPDX-License-Identifier: Apache-2.0
"""`placement map`: numbers checked by hand on the tiny cluster, mistakes at their lines, and a referee that sees damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.runtime.layout import NONE, Section
from placement.runtime.mapfile import assemble_map, load_map
from placement.spec.comms_file import load_comms

# tiny: two leaf groups of two nodes of two GPUs; adapters of 50 GB/s, a leaf group has one uplink of 50 GB/s
TWO = """\
name: two
towers:
  front: {axes: {tp: 2, dp: 2}, bytes: {tp: 9 GB, dp: 1 GB}}
  back: {axes: {tp: 2, dp: 2}, bytes: {tp: 9 GB, dp: 1 GB}}
bridges:
  - {source: front, target: back, bytes: 20 GB}
"""
GRAPH = """\
name: graph
towers:
  all: {ranks: 8}
groups:
  - {tower: all, ranks: "0,4", bytes: 8 GB, together: true}
pairs:
  - {source: 1, target: 5, bytes: 6 GB}
  - {source: 5, target: 1, bytes: 6 GB}
pairs_file: more.csv
"""
MORE = "source,target,bytes\n2,6,4e9\n3,7,2e9  # small\n0,1,1e9\n"


@pytest.fixture
def two(tmp_path: Path, run: Callable[..., Any]) -> Path:
    """The map of TWO on the tiny cluster."""
    (tmp_path / "two.yaml").write_text(TWO, encoding="utf-8")
    assert run("map", tmp_path / "two.yaml", "tiny", "-q", "-o", tmp_path / "mapped").code == 0
    return tmp_path / "mapped"


def test_two_towers_by_hand(two: Path) -> None:
    """Tensor pairs fill the four nodes. 10 GB each way cross between each pair of replicas, data-parallel rings send 2 ranks x
    1 GB each way between the replicas of a tower: replicas that a bridge joins share a leaf group, and rings cross the spine.
    """
    tree = json.loads((two / "map.json").read_text())
    assert {name: part["bytes"] for name, part in tree["parts"].items()} == {
        "front.tp": {"nvlink": 0.0, "leaf": 0.0, "spine": 0.0},
        "front.dp": {"nvlink": 4e9, "leaf": 4e9, "spine": 0.0},
        "back.tp": {"nvlink": 0.0, "leaf": 0.0, "spine": 0.0},
        "back.dp": {"nvlink": 4e9, "leaf": 4e9, "spine": 0.0},
        "front -> back": {"nvlink": 40e9, "leaf": 0.0, "spine": 0.0},
    }
    # rings: 4 GB leave a leaf group over 50 GB/s; bridges: 10 GB leave a node over 100 GB/s
    assert tree["busiest_s"] == pytest.approx(4 / 50 + 10 / 100)
    assert tree["tiers"]["nvlink"]["launcher_bytes"] == 48e9
    assert tree["tiers"]["leaf"]["launcher_bytes"] == 40e9
    assert 0 < tree["joint_lower_bytes"] <= 56e9
    assert tree["gap"] == pytest.approx(56e9 / tree["joint_lower_bytes"] - 1)


def test_tables_of_the_runtime(two: Path) -> None:
    """plan.bin has the groups of each tower, and ranks.csv says the same as plan.bin."""
    loaded = load_map(two)
    rows = loaded.bin[Section.COMMUNICATORS]
    names = [loaded.bin.names(int(r["name"]), int(r["name_size"])) for r in rows]
    assert names == ["world", "front", "front.tp", "front.dp", "front.edp", "back", "back.tp", "back.dp", "back.edp"]
    member, row = loaded.bin[Section.MEMBERS], rows[names.index("back.dp")]
    at, index = int(row["members"]), int(row["index"])
    assert member[at : at + 4].tolist() == [4, 6, 5, 7]
    assert member[index : index + 8].tolist() == [NONE] * 4 + [0, 1, 0, 1]
    lines = (two / "ranks.csv").read_text().splitlines()
    assert lines[0] == "rank,host,gpu,rack,rail,tower,tp,cp,dp,pp,etp,ep,edp,local_rank"
    host = loaded.bin.name_column(loaded.bin[Section.HOSTS])[loaded.bin[Section.RANKS]["host"]]
    assert [line.split(",")[1] for line in lines[1:]] == [h.decode() for h in host.tolist()]
    assert lines[7].split(",")[5:9] == ["back", "0", "0", "1"]


def test_any_communication(tmp_path: Path, run: Callable[..., Any]) -> None:
    """No product at all: heavy pairs share a node, each of which holds two, and one light pair is cut."""
    (tmp_path / "graph.yaml").write_text(GRAPH, encoding="utf-8")
    (tmp_path / "more.csv").write_text(MORE, encoding="utf-8")
    ran = run("map", tmp_path / "graph.yaml", "tiny", "-q", "--format", "json", "-o", tmp_path / "out")
    assert ran.code == 0, ran.err
    tree = json.loads(ran.out)
    assert tree["tiers"]["nvlink"]["bytes"] == 1e9
    assert tree["tiers"]["leaf"]["bytes"] == 0
    assert tree["tiers"]["nvlink"]["lower_bytes"] <= 1e9
    assert run("verify", tmp_path / "out").code == 0
    gpu_R = load_map(tmp_path / "out").placement.gpu_R
    assert all(gpu_R[a] // 2 == gpu_R[b] // 2 for a, b in ((0, 4), (1, 5), (2, 6), (3, 7)))


def test_the_screen_says_what_has_no_certificate(two: Path, run: Callable[..., Any]) -> None:
    ran = run("map", two.parent / "two.yaml", "tiny", "-q")
    assert ran.code == 0
    assert "no certificate for front -> back: each rank of a bridge has fewer partners" in ran.out
    assert "launcher's order" in ran.out


def test_same_bytes(two: Path, run: Callable[..., Any]) -> None:
    """Twice the same input: every file alike."""
    assert run("map", two.parent / "two.yaml", "tiny", "-q", "-o", two.parent / "again").code == 0
    files = [p.relative_to(two) for p in sorted(two.rglob("*")) if p.is_file()]
    assert [f for f in files if (two / f).read_bytes() != (two.parent / "again" / f).read_bytes()] == []


def test_mistakes_are_told_together(tmp_path: Path, run: Callable[..., Any]) -> None:
    """Every finding with its line, of the file and of the pairs beside it."""
    (tmp_path / "bad.yaml").write_text(
        "name: bad\n"
        "towers:\n"
        "  a: {axes: {tp: 2, ep: 3}}\n"
        "  b: {ranks: 4, axes: {tp: 2}}\n"
        "  c: {axes: {tp: 2}, bytes: {dp: 1 GB}}\n"
        "  d: {ranks: 4, pins: {tp: 2}}\n"
        "bridges:\n"
        "  - {source: a, target: bb, bytes: 1 GB}\n"
        "  - {source: a, target: a, hidden: 4}\n"
        "pairs_file: bad.csv\n",
        encoding="utf-8",
    )
    (tmp_path / "bad.csv").write_text("0,1,1e9\n0,1\n0,x,3\n-1,2,3\n", encoding="utf-8")
    ran = run("map", tmp_path / "bad.yaml", "tiny", "--format", "json")
    assert ran.code == 1
    found = [(Path(d["where"]["file"]).name, d["where"]["line"], d["name"]) for d in json.loads(ran.out)["diagnostics"]]
    assert found == [
        ("bad.csv", 2, "comms/pair"), ("bad.csv", 3, "comms/pair"), ("bad.csv", 4, "comms/pair"),
        ("bad.yaml", 3, "comms/tower"), ("bad.yaml", 4, "comms/tower"), ("bad.yaml", 5, "comms/tower"),
        ("bad.yaml", 6, "comms/tower"), ("bad.yaml", 8, "comms/bridge"), ("bad.yaml", 9, "comms/bridge"),
        ("bad.yaml", 9, "comms/bridge"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("{tower: x, ranks: 0-7, bytes: 1 GB}", "there is no tower `x`"),
        ("{tower: all, ranks: 0-8, bytes: 1 GB}", "rank 8 is not among the 8 of tower `all`"),
        ("{ranks: 0-7, size: 3, bytes: 1 GB}", "8 ranks cannot be cut into groups of 3 at stride 1"),
        ("{ranks: '0,0', bytes: 1 GB}", "a rank is named twice"),
        ("{ranks: 7-0, bytes: 1 GB}", "`7-0` is no list of ranks"),
        ("{ranks: 0-7}", "a group has `bytes`, or is `together`, or both"),
    ],
)
def test_mistakes_in_groups(tmp_path: Path, run: Callable[..., Any], group: str, said: str) -> None:
    """Ranks are known only once all towers are: these are told after everything else."""
    (tmp_path / "g.yaml").write_text(f"name: g\ntowers: {{all: {{ranks: 8}}}}\ngroups:\n  - {group}\n", encoding="utf-8")
    ran = run("map", tmp_path / "g.yaml", "tiny")
    assert ran.code == 1
    assert said in ran.err
    assert "g.yaml:4:" in ran.err


def test_what_does_not_fit(tmp_path: Path, run: Callable[..., Any]) -> None:
    """Exit code 3 and a way out: too many ranks, cells larger than a domain, nodes that stay partly filled."""
    for text, said in (
        ("all: {ranks: 10}", "10 ranks, but 8 GPUs are usable"),
        ("all: {ranks: 7}", "do not fill whole nodes of 2"),
        ("all: {axes: {tp: 4}}", "1 towers"),
    ):
        (tmp_path / "f.yaml").write_text(f"name: f\ntowers: {{{text}}}\n", encoding="utf-8")
        ran = run("map", tmp_path / "f.yaml", "tiny")
        assert (ran.code, said in ran.err) == ((0, True) if "tp: 4" in text else (3, True)), ran.err
    group = "groups: [{ranks: 0-2, together: true}]"
    (tmp_path / "f.yaml").write_text(f"name: f\ntowers: {{all: {{ranks: 8}}}}\n{group}\n", encoding="utf-8")
    ran = run("map", tmp_path / "f.yaml", "tiny")
    assert ran.code == 3
    assert "3 ranks have to share an NVLink domain, and the largest one gives 2" in ran.err


def test_bridges_reshard_samples(tmp_path: Path) -> None:
    """Three replicas send to two: each hands over what the even cuts of the batch have in common; gradients come back."""
    (tmp_path / "b.yaml").write_text(
        "name: b\ntowers:\n  s: {axes: {tp: 2, dp: 3, pp: 2}}\n  t: {axes: {tp: 4, dp: 2}}\n"
        "bridges: [{source: s, target: t, bytes: 6 GB}]\n",
        encoding="utf-8",
    )
    wires = load_comms(str(tmp_path / "b.yaml")).lower({}).wires[0]
    forward = sorted(zip(wires.src_E[:4].tolist(), wires.dst_E[:4].tolist(), wires.bytes_E[:4].tolist(), strict=True))
    assert forward == [(6, 12, 2e9), (8, 12, 1e9), (8, 16, 1e9), (10, 16, 2e9)]  # leaders of the last stage, of the first
    assert wires.bytes_E.sum() == pytest.approx(12e9)
    assert np.array_equal(wires.src_E[4:], wires.dst_E[:4])


def swap(tree: dict[str, Any], path: str, value: Any) -> None:
    """Replace a value of map.json."""
    *inner, last = path.split("/")
    for key in inner:
        tree = tree[int(key) if key.isdigit() else key]
    tree[last] = value


@pytest.mark.parametrize(
    ("path", "value", "check"),
    [
        ("parts/front.dp/bytes/leaf", 3e9, "traffic"),
        ("busiest_s", 0.1, "traffic"),
        ("launcher/busiest_s", 0.1, "traffic"),
        ("tiers/leaf/lower_bytes", 9e9, "certificate"),
        ("joint_lower_bytes", 60e9, "certificate"),
        ("gap", 0.0, "certificate"),
        ("world_size", 7, "facts"),
        ("towers/0/ranks", 6, "facts"),
        ("cluster/digest", "0", "input-digests"),
    ],
)
def test_the_referee_sees_a_wrong_claim(two: Path, run: Callable[..., Any], path: str, value: Any, check: str) -> None:
    """One number changed in map.json: the check that derives it fails, and the digest with it."""
    tree = json.loads((two / "map.json").read_text())
    swap(tree, path, value)
    (two / "map.json").write_text(json.dumps(tree, indent=2, sort_keys=True) + "\n")
    ran = run("verify", two, "--format", "json")
    assert ran.code == 4
    failed = {c["name"] for c in json.loads(ran.out)["checks"] if not c["ok"]}
    assert failed == {check, "plan-digest"}


@pytest.mark.parametrize(
    ("gpus", "failed"),
    [
        ([0, 0, 2, 3, 4, 5, 6, 7], {"bijection"}),
        ([0, 2, 1, 3, 4, 5, 6, 7], {"domains"}),
        ([0, 1, 2, 3, 4, 5, 7, 6], set()),
    ],
)
def test_the_referee_sees_a_wrong_place(two: Path, run: Callable[..., Any], gpus: list[int], failed: set[str]) -> None:
    """Ranks moved in the files of a map, everything else as the compiler says: places are checked against the cluster."""
    from dataclasses import replace

    from placement.comms import compile_comms
    from placement.ir import Placement
    from placement.runtime.mapfile import write_map
    from placement.spec import load_cluster

    given, cluster = load_comms(str(two / "inputs" / "comms.yaml"), copy=True), load_cluster("tiny")
    plan = replace(compile_comms(cluster, given.lower({})), placement=Placement(np.array(gpus)))
    inputs = {p.name: p.read_bytes() for p in (two / "inputs").iterdir()}
    shutil.rmtree(two)
    write_map(assemble_map(plan, inputs), two)
    ran = run("verify", two, "--format", "json")
    found = {c["name"] for c in json.loads(ran.out)["checks"] if not c["ok"]}
    assert failed <= found
    assert bool(found - {"traffic", "certificate", "hosts"}) == bool(failed)


def test_a_sick_cluster_of_today(two: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    """`--topology`: a node that has failed since."""
    text = (two / "inputs" / "topology.yaml").read_text() + "exceptions: [{state: failed, nodes: n0-1, reason: dead}]\n"
    (tmp_path / "today.yaml").write_text(text)
    ran = run("verify", two, "--topology", tmp_path / "today.yaml")
    assert ran.code == 4
    assert "ranks sit on failed nodes: n0-1" in ran.out


def test_damage(two: Path, run: Callable[..., Any]) -> None:
    """A file that is cut, or missing, is refused before anything is believed."""
    data = (two / "plan.bin").read_bytes()
    (two / "plan.bin").write_bytes(data[:-64])
    assert run("verify", two).code == 4
    (two / "plan.bin").write_bytes(data)
    (two / "inputs" / "comms.yaml").unlink()
    assert run("verify", two).code == 4


@pytest.mark.parametrize(("target", "code"), [("env", 0), ("openmpi", 0), ("slurm", 0), ("megatron", 1), ("nccl", 1)])
def test_exports(two: Path, run: Callable[..., Any], target: str, code: int) -> None:
    """Launchers take a map; what needs one strategy refuses it."""
    ran = run("export", two, "--to", target, "-o", two.parent / target)
    assert ran.code == code
    assert ("export/towers" in ran.err) == bool(code)
