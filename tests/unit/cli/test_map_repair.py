# SPDX-License-Identifier: Apache-2.0
"""`placement repair` of a map: who moves, what is written, who may repair what."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.runtime.mapfile import load_map

# tiny: four nodes of two GPUs in two leaf groups, each an NVLink domain; one node is left over
THREE = """\
name: three
towers:
  front: {axes: {tp: 2}, bytes: {tp: 9 GB}}
  back: {axes: {pp: 2, dp: 2}, bytes: {pp: 3 GB, dp: 1 GB}}
bridges:
  - {source: front, target: back, bytes: 2 GB}
"""
# gb200-su: racks of 18 nodes of 4 GPUs, a node reserved in each
RACKS = """\
name: racks
towers:
  wide: {axes: {tp: 4, dp: 15, ep: 60}, bytes: {tp: 9 GB, ep: 1 GB}}
  bare: {ranks: 16}
pairs:
  - {source: 60, target: 75, bytes: 1 GB}
"""


def made(folder: Path, run: Callable[..., Any], text: str, topology: str) -> Path:
    (folder / "file.yaml").write_text(text, encoding="utf-8")
    assert run("map", folder / "file.yaml", topology, "-q", "-o", folder / "mapped").code == 0
    return folder / "mapped"


@pytest.fixture
def three(tmp_path: Path, run: Callable[..., Any]) -> Path:
    return made(tmp_path, run, THREE, "tiny")


@pytest.fixture
def racks(tmp_path: Path, run: Callable[..., Any]) -> Path:
    return made(tmp_path, run, RACKS, "gb200-su")


def host_of(path: Path, rank: int) -> str:
    rows = list(csv.DictReader(io.StringIO((path / "ranks.csv").read_text())))
    return str(rows[rank]["host"])


def test_the_spare_node_takes_over(three: Path, run: Callable[..., Any], golden: Callable[..., None]) -> None:
    """The two ranks of a dead node move to the one that is left, nobody else; the referee agrees with all of it."""
    before = load_map(three).placement.gpu_R
    out = three.parent / "fixed"
    ran = run("repair", three, "--failed", host_of(three, 2), "--verify", "-o", out)
    assert (ran.code, ran.err) == (0, "")
    golden("cli/map-repair.txt", ran.out)
    assert run("verify", out).code == 0
    after, moves = load_map(out).placement.gpu_R, json.loads((out / "moves.json").read_text())
    moved = np.flatnonzero(before != after).tolist()
    assert [m[0] for m in moves["moves"]] == moved
    assert (moves["moved"], moves["least_moves"], moves["proven_least"], moves["lost_ranks"]) == (2, 2, True, 2)
    assert moves["repairs"] == load_map(three).digest
    assert moves["digest"] == load_map(out).digest
    assert all(m[5] == "lost" and m[6] in (*range(6), "checkpoint") for m in moves["moves"])
    assert run("diff", three, out, "--exit-code").code == 5
    facts = json.loads(run("diff", three, out, "--format", "json").out)
    assert (facts["mapping"]["ranks_moved"], facts["towers"]) == (2, {})


def test_weights_come_from_a_living_replica(three: Path, run: Callable[..., Any]) -> None:
    """Ranks 2 and 4 share a node: replica 0 of both stages of `back`. Replica 1 has their weights; `front` has no replica."""
    ran = run("repair", three, "--failed", f"{host_of(three, 2)},{host_of(three, 0)}", "--format", "json")
    assert ran.code == 3  # one spare node for two
    for rank, sources in ((2, {2: 3, 4: 5}), (0, {0: "checkpoint", 1: "checkpoint"})):
        told = json.loads(run("repair", three, "--failed", host_of(three, rank), "--format", "json").out)
        assert {move[0]: move[6] for move in told["moves"]} == sources


def test_a_large_cell_stays_in_its_rack(racks: Path, run: Callable[..., Any]) -> None:
    """Sixty ranks on fifteen of the usable nodes of a rack, singles on others: a spare of the rack takes over as long as there
    is one, then single nodes make room or the sixty leave; rules hold and the file says whether moves are the fewest.
    """
    folder, lost = racks, []
    for step in range(4):
        gpu_R = load_map(folder).placement.gpu_R
        node = int(gpu_R[0]) // 4
        lost.append(host_of(folder, 0))
        told = json.loads(
            run("repair", folder, "--failed", lost[-1], "--verify", "-o", racks.parent / f"r{step}", "--format", "json").out
        )
        folder = racks.parent / f"r{step}"
        after = load_map(folder).placement.gpu_R
        assert not (after // 4 == node).any()
        assert len(set((after[:60] // 72).tolist())) == 1
        assert told["moved"] >= told["least_moves"] >= 4
        assert told["moved"] == int((gpu_R != after).sum())
        assert told["proven_least"] == (told["moved"] == told["least_moves"])
    assert run("verify", folder).code == 0


def test_one_repair_after_the_other(three: Path, run: Callable[..., Any]) -> None:
    """A map that was repaired says so and is not repaired again by mistake; over itself and with `--again` it is."""
    host = host_of(three, 0)
    assert run("repair", three, "--failed", host, "-o", three.parent / "a").code == 0
    ran = run("repair", three, "--failed", host, "-o", three.parent / "b")
    assert ran.code == 4
    assert "repair/superseded" in ran.err
    assert run("repair", three, "--failed", host, "-o", three.parent / "b", "--again").code == 0
    assert (three.parent / "a" / "plan.bin").read_bytes() == (three.parent / "b" / "plan.bin").read_bytes()
    assert run("repair", three.parent / "a", "--restored", host, "-o", three.parent / "a").code == 0
    assert run("verify", three.parent / "a").code == 0
    other = run("repair", three, "--failed", host, "-o", three.parent / "a", "--again")
    assert other.code == 4
    assert "repair/other-plan" in other.err
    assert run("repair", three.parent / "b", "--failed", host, "--expect", "0123").code == 4


def test_bounds_are_derived_anew_when_parts_return(three: Path, run: Callable[..., Any]) -> None:
    """A node that comes back widens what placements can do: the certificate is that of the cluster as it is now."""
    host = host_of(three, 0)
    assert run("repair", three, "--failed", host, "-o", three.parent / "a").code == 0
    assert run("repair", three.parent / "a", "--restored", host, "-o", three.parent / "b").code == 0
    first, last = (json.loads((three.parent / n / "map.json").read_text()) for n in ("mapped", "b"))
    assert last["joint_lower_bytes"] == first["joint_lower_bytes"]
    assert last["cluster"]["digest"] == first["cluster"]["digest"]
    assert run("verify", three.parent / "b").code == 0


def test_a_topology_of_today(three: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    """`--topology`: nodes are found by name."""
    host = host_of(three, 0)
    text = (three / "inputs" / "topology.yaml").read_text() + f"exceptions: [{{state: failed, nodes: {host}, reason: dead}}]\n"
    (tmp_path / "today.yaml").write_text(text, encoding="utf-8")
    assert run("repair", three, "--topology", tmp_path / "today.yaml", "--verify", "-o", three.parent / "out").code == 0
    assert run("verify", three.parent / "out", "--topology", tmp_path / "today.yaml").code == 0


def test_reserved_spares_are_taken_when_asked(racks: Path, run: Callable[..., Any]) -> None:
    """gb200-su reserves a node in racks: without `--use-reserved` nobody sits there, with it the nearest spare may be one."""
    host = host_of(racks, 0)
    told = json.loads(run("repair", racks, "--failed", host, "--use-reserved", "--format", "json").out)
    assert any(key.startswith("restored") for key in told["events"])
    assert told["spare_gpus"] > json.loads(run("repair", racks, "--failed", host, "--format", "json").out)["spare_gpus"]


@pytest.mark.parametrize("option", [("--shrink",), ("--extra-moves", "3")])
def test_options_of_plans(three: Path, run: Callable[..., Any], option: tuple[str, ...]) -> None:
    code, out, err = run("repair", three, "--failed", "n0-0", *option)
    assert (code, out) == (2, "")
    assert "a map has several strategies" in " ".join(err.split())


def test_slow_parts_stay(three: Path, run: Callable[..., Any]) -> None:
    """A degraded node keeps its ranks, and the reason is said."""
    ran = run("repair", three, "--degraded", f"{host_of(three, 0)}:rail0")
    assert ran.code == 0
    assert "no rank has to move" in ran.out
    assert "note: ranks stay on slow parts" in ran.out
