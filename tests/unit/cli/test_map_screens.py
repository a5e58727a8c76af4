# SPDX-License-Identifier: Apache-2.0
"""What commands that read plans say of a map of several towers: screens as golden text, numbers checked by hand."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.cli.maps import read_map
from placement.cost.comms import loads
from placement.passes.comms_trades import trades

# tiny: two leaf groups of two nodes of two GPUs; adapters of 50 GB/s, a leaf group has one uplink of 50 GB/s
FOUR = """\
name: four
towers:
  front: {axes: {tp: 2}, bytes: {tp: 9 GB}}
  back: {axes: {pp: 2, dp: 2}, bytes: {pp: 3 GB, dp: 1 GB}}
bridges:
  - {source: front, target: back, bytes: 2 GB}
groups:
  - {ranks: 0-3, bytes: 5 GB}
"""
SIDES = ("plan", "ranks", "traffic", "groups", "tree")
QUESTIONS = (("rank", "0"), ("rank", "4"), ("node", "n0-0"), ("node", "n1-1"), ("link", "leaf 0"))


@pytest.fixture
def four(tmp_path: Path, run: Callable[..., Any]) -> Path:
    """The map of FOUR on six of the eight GPUs of the tiny cluster."""
    (tmp_path / "four.yaml").write_text(FOUR, encoding="utf-8")
    assert run("map", tmp_path / "four.yaml", "tiny", "-q", "-o", tmp_path / "mapped").code == 0
    return tmp_path / "mapped"


@pytest.mark.parametrize("side", SIDES)
def test_show(run: Callable[..., Any], golden: Callable[..., None], four: Path, side: str) -> None:
    code, out, err = run("show", four, side)
    assert (code, err) == (0, "")
    golden(f"cli/map-show-{side}.txt", out)


@pytest.mark.parametrize(("kind", "name"), QUESTIONS)
def test_why(run: Callable[..., Any], golden: Callable[..., None], four: Path, kind: str, name: str) -> None:
    code, out, err = run("why", four, kind, *name.split())
    assert (code, err) == (0, "")
    golden(f"cli/map-why-{kind}-{name}.txt".replace(" ", "-"), out.replace(str(four), "MAP"))


def test_traffic_adds_up(run: Callable[..., Any], four: Path) -> None:
    """Bytes of parts add up to those of map.json, and the hottest links are those of all parts together."""
    told = json.loads(run("show", four, "traffic", "--format", "json").out)
    tree = json.loads((four / "map.json").read_text())
    for tier, facts in tree["tiers"].items():
        assert sum(r["bytes"] for r in told["traffic"] if r["tier"] == tier) == pytest.approx(facts["bytes"])
        assert sum(r["default_bytes"] for r in told["traffic"] if r["tier"] == tier) == pytest.approx(facts["launcher_bytes"])
        sent = sum(link["bytes"] for link in told["links"] if link["tier"] == tier)
        assert sent == pytest.approx(facts["bytes"])  # all uplinks of the tiny cluster are among the ten
    assert all(a["busy_s"] >= b["busy_s"] for a, b in pairwise(told["links"]))
    assert told["links"][0]["share"] <= 1 + 1e-9


def test_ranks_are_those_of_the_file(run: Callable[..., Any], four: Path) -> None:
    out = run("show", four, "ranks", "--format", "csv").out
    assert out == (four / "ranks.csv").read_text()
    rows = json.loads(run("show", four, "ranks", "--format", "json").out)["ranks"]
    assert [(r["tower"], r["pp"]) for r in rows] == [("front", 0)] * 2 + [("back", 0)] * 2 + [("back", 1)] * 2
    assert [r["host"] for r in rows] == [r["host"] for r in csv.DictReader(io.StringIO(out))]


def test_a_stage_sends_both_ways(run: Callable[..., Any], four: Path) -> None:
    """Rank 4 is the last stage of replica 0: 3 GB of activations come, 3 GB of gradients go back. The ring of ranks 0-3 is a
    group of the file; rank 4 is not in it.
    """
    groups = {g["part"]: g for g in json.loads(run("why", four, "rank", "4", "--format", "json").out)["groups"]}
    assert (groups["back.pp"]["sends_bytes"], groups["back.pp"]["receives_bytes"]) == (3e9, 3e9)
    assert groups["back.pp"]["members"] == [2, 4]
    assert "groups[0]" not in groups
    groups = {g["part"]: g for g in json.loads(run("why", four, "rank", "0", "--format", "json").out)["groups"]}
    assert (groups["groups[0]"]["members"], groups["groups[0]"]["sends_bytes"]) == ([0, 1, 2, 3], 5e9)
    assert groups["front -> back"]["members"] == [0, 2, 3]  # the leader of the only replica, those of both replicas


@pytest.mark.parametrize("question", [("show", "memory"), ("show", "stages"), ("why", "stage", "0"), ("why", "axis", "tp")])
def test_what_a_map_has_not(run: Callable[..., Any], four: Path, question: tuple[str, ...]) -> None:
    code, out, err = run(question[0], four, *question[1:])
    assert (code, out) == (4, "")
    assert "error[plan/towers]" in err


@pytest.mark.parametrize("command", [("simulate",), ("spares",), ("drill",), ("compare",)])
def test_commands_of_plans_say_what_a_map_is(run: Callable[..., Any], four: Path, command: tuple[str, ...]) -> None:
    code, out, err = run(*command, four)
    assert (code, out) == (4, "")
    assert "this is a map of several towers" in err


def test_diff(run: Callable[..., Any], golden: Callable[..., None], four: Path) -> None:
    """Another tower of one name, and one that is gone: ranks are compared tower by tower, whatever their number is."""
    text = FOUR.replace("  front: {axes: {tp: 2}, bytes: {tp: 9 GB}}\n", "").replace(
        "groups:\n  - {ranks: 0-3, bytes: 5 GB}\n", ""
    )
    text = text.replace("bridges:\n  - {source: front, target: back, bytes: 2 GB}\n", "  last: {ranks: 2}\n")
    (four.parent / "other.yaml").write_text(text, encoding="utf-8")
    assert run("map", four.parent / "other.yaml", "tiny", "-q", "-o", four.parent / "other").code == 0
    code, out, err = run("diff", four, four.parent / "other", "--exit-code")
    assert (code, err) == (5, "")
    golden("cli/map-diff.txt", re.sub(r"\b[0-9a-f]{8}\b", "DIGEST", out.replace(str(four.parent), "DIR")))
    facts = json.loads(run("diff", four, four.parent / "other", "--format", "json").out)
    assert facts["towers"] == {"front": [{"ranks": 2, "tp": 2}, None], "last": [None, {"ranks": 2}]}
    before, after = (read_map(str(four.parent / name)).gpu_R for name in ("mapped", "other"))
    assert facts["mapping"]["ranks_compared"] == 4
    assert facts["mapping"]["ranks_moved"] == int((before[2:6] != after[0:4]).sum())
    assert run("diff", four, four, "--exit-code").out.startswith("same map")


def test_diff_of_a_map_and_a_plan(run: Callable[..., Any], four: Path, plan_dir: Path) -> None:
    code, _, err = run("diff", four, plan_dir)
    assert code == 4
    assert "error[plan/towers]: a plan has no towers to compare with" in err
    assert "is it a plan directory?" in run("diff", four, four / "nothing").err


def test_a_job_that_sends_nothing(run: Callable[..., Any], tmp_path: Path) -> None:
    """Bare ranks without groups or pairs: every place is as good, and every screen says so."""
    (tmp_path / "quiet.yaml").write_text("name: quiet\ntowers: {all: {ranks: 4}}\n", encoding="utf-8")
    assert run("map", tmp_path / "quiet.yaml", "tiny", "-q", "-o", tmp_path / "mapped").code == 0
    told = json.loads(run("why", tmp_path / "mapped", "rank", "1", "--format", "json").out)
    assert told["groups"] == []
    assert told["elsewhere"]
    assert all(set(a["adds_bytes"].values()) == {0.0} and a["busiest_s"] == 0.0 for a in told["elsewhere"])
    assert "talks to nobody" in run("why", tmp_path / "mapped", "rank", "1").out
    for command in (("show", "traffic"), ("show", "groups"), ("show", "tree"), ("report",)):
        more = ("-o", tmp_path / "r.html") if command == ("report",) else ()
        assert run(command[0], tmp_path / "mapped", *command[1:], *more).code == 0


@pytest.mark.parametrize("question", [("rank", "6"), ("node", "n9-9"), ("link", "leaf 7")])
def test_questions_about_nothing(run: Callable[..., Any], four: Path, question: tuple[str, ...]) -> None:
    assert run("why", four, *question).code == 2


def moved(gpu_R: Any, slots: int, mine: Any, other: Any) -> Any:
    """Two sets of nodes in each other's place."""
    to = {**dict(zip(mine.tolist(), other.tolist(), strict=True)), **dict(zip(other.tolist(), mine.tolist(), strict=True))}
    return np.array([to.get(g // slots, g // slots) * slots + g % slots for g in gpu_R.tolist()])


def test_next_best_is_best_of_all(tmp_path: Path, run: Callable[..., Any]) -> None:
    """Every other place of every host tried one by one: none at its distance has a better sum over evenly loaded uplinks than
    the one that is told, and what is told is exact.
    """
    (tmp_path / "pairs.csv").write_text("".join(f"{a},{(a * 5 + 3) % 64},{a + 1}e6\n" for a in range(64)), encoding="utf-8")
    (tmp_path / "g.yaml").write_text("name: g\ntowers: {all: {ranks: 64}}\npairs_file: pairs.csv\n", encoding="utf-8")
    assert run("map", tmp_path / "g.yaml", "gb200-su", "-q", "-o", tmp_path / "out").code == 0
    view = read_map(str(tmp_path / "out"))
    cluster, slots = view.cluster, view.cluster.gpus_per_node
    node_R = view.gpu_R // slots
    able = np.flatnonzero(cluster.whole_N)
    total_T = [float(t.uplink_Bps_J[np.isfinite(t.uplink_Bps_J)].sum()) for t in cluster.tiers]

    def even(found: Any) -> float:
        return sum(b / t for b, t in zip(found.bytes_T.tolist(), total_T, strict=True) if t > 0)

    seen = 0
    for node in np.unique(node_R).tolist():
        found = trades(cluster, view.comms, view.cell_K, view.gpu_R, node)
        assert found is not None
        assert found.nodes.tolist() == [node]
        for trade in found.found:
            again = loads(cluster, view.comms, moved(view.gpu_R, slots, found.nodes, trade.nodes))
            assert again.bytes_T == pytest.approx(trade.loads.bytes_T)
        best: dict[tuple[int, bool], float] = {}
        for other in able[able != node].tolist():
            tier = next(t for t, x in enumerate(cluster.tiers) if x.group_N[node] == x.group_N[other])
            idle = other not in node_R
            if tier or idle:
                cost = even(loads(cluster, view.comms, moved(view.gpu_R, slots, np.array([node]), np.array([other]))))
                best[tier, idle] = min(cost, best.get((tier, idle), np.inf))
        assert {(t.tier, t.idle): even(t.loads) for t in found.found} == pytest.approx(best)
        seen += len(best)
    assert seen >= 16


@pytest.mark.parametrize("command", [("show", "traffic"), ("show", "ranks"), ("why", "rank", "0"), ("report",), ("repair",)])
@pytest.mark.parametrize("damage", ["comms.yaml", "strategy", "tiers"])
def test_damage_is_refused(run: Callable[..., Any], four: Path, command: tuple[str, ...], damage: str) -> None:
    """A copy that was edited, a tower of other degrees, a key that is gone: exit code 4 and what to do."""
    tree = json.loads((four / "map.json").read_text())
    if damage == "comms.yaml":
        path = four / "inputs" / "comms.yaml"
        path.write_text(path.read_text().replace("dp: 2", "dp: 1"), encoding="utf-8")
    elif damage == "tiers":
        del tree["cluster"]["tiers"]
    else:
        tree["towers"][1]["source"] = "model.yaml"
        tree["towers"][1]["strategy"]["dp"] = 4
        text = (four / "inputs" / "comms.yaml").read_text()
        text = text.replace("{axes: {pp: 2, dp: 2}, bytes: {pp: 3 GB, dp: 1 GB}}", "{model: model.yaml}")
        (four / "inputs" / "comms.yaml").write_text(text, encoding="utf-8")
        tree["inputs"]["comms.yaml"] = sha256(text.encode()).hexdigest()
    (four / "map.json").write_text(json.dumps(tree), encoding="utf-8")
    more = ("--failed", "n0-0") if command == ("repair",) else ()
    code, out, err = run(command[0], four, *command[1:], *more)
    assert (code, out) == (4, ""), err
    assert "error[plan/damaged]" in err


def test_report(run: Callable[..., Any], four: Path, tmp_path: Path) -> None:
    """One page without a word of what only plans have, the same twice; pictures are well formed."""
    for name in ("a.html", "b.html"):
        assert run("report", four, "-o", tmp_path / name).code == 0
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert all(f'id="{name}"' in text for name in ("summary", "map", "traffic", "links", "certificate", "groups", "tree"))
    assert not any(f'id="{name}"' in text for name in ("steps", "timeline", "memory", "landscape", "stages"))
    assert run("report", four, "--svg", tmp_path / "svg").code == 0
    drawn = {p.stem: ET.fromstring(p.read_text(encoding="utf-8")) for p in (tmp_path / "svg").iterdir()}
    assert set(drawn) == {"map", "traffic", "links", "certificate"}
    assert all(root.get("aria-label") for root in drawn.values())


def test_flows_add_up(four: Path) -> None:
    """What a part sends in a step meets at some tier, all of it, and no tier carries more than map.json says leaves groups."""
    from placement.cli.report import read_map as read
    from placement.report.html.facts import flows

    found = read(str(four))
    told = flows(found)
    assert {part: sum(n for p, _, n in told if p == part) for part in found.sent} == pytest.approx(dict(found.sent))
    beyond = sum(n for _, tier, n in told if tier != "nvlink")
    assert beyond == pytest.approx(found.tree["tiers"]["nvlink"]["bytes"])


def test_names_of_towers_cannot_become_markup(four: Path) -> None:
    from placement.cli.report import read_map as read
    from placement.report.html import map_page

    found, evil = read(str(four)), "</script><script>alert(1)</script>"
    found.tree["model"]["name"] = found.tree["towers"][0]["name"] = evil
    object.__setattr__(found, "names", (evil, *found.names[1:]))
    text = map_page(found)
    assert evil not in text
    assert text.count("<script") == 2
