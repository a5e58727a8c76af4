# SPDX-License-Identifier: Apache-2.0
"""`placement repair`, `spares`, `drill` and `fleet`: every plan passes the referee, nothing stale or parallel, nothing lost."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from placement.cli.main import main
from placement.ingest.anyfile import load_wired
from placement.passes.drill import Run
from placement.runtime import Section, load_plan, succession
from placement.spec.events import Event, after, amend
from placement.spec.source import load, parse
from tests.ibnetdiscover import plain

TOPOLOGY = """\
name: six-racks
gpu: H100
node: {gpus: 2, nic_speed: 50 Gb/s, nic_name: "nic{rail}"}
nvlink: {latency: 1 us}
racks:
  - {count: 6, nodes: 5, name: "r{rack}", host: "r{rack}-n{node}"}
fabric:
  tiers:
    - {name: leaf, racks: 2, latency: 2 us, switch: {ports: 64, speed: 50 Gb/s, per_rail: true, uplinks: 10}}
    - {name: core, latency: 3 us, switch: {ports: 64, speed: 50 Gb/s}}
# a comment that stays
exceptions:
  - {state: failed, nodes: r6-n5, reason: does not boot}
"""
MODEL = """\
name: toy
transformer: {layers: 8, hidden: 1024, heads: 8, kv_heads: 8, ffn: 4096, vocab: 32000}
job: {sequence_length: 1024, global_batch: 80, precision: bf16}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of 40 ranks on 58 GPUs: tp 8 in racks of 10 GPUs, so that a rack has one spare node and one rack stays free."""
    folder = tmp_path_factory.mktemp("repair")
    (folder / "topology.yaml").write_text(TOPOLOGY, encoding="utf-8")
    (folder / "model.yaml").write_text(MODEL, encoding="utf-8")
    pins = [w for p in ("tp=8", "pp=1", "cp=1", "vpp=1", "micro_batch=1") for w in ("--pin", p)]
    files = [str(folder / "model.yaml"), str(folder / "topology.yaml")]
    assert main(["plan", *files, *pins, "--gpus", "40", "--effort", "0", "-q", "-o", str(folder / "plan")]) == 0
    return folder / "plan"


@pytest.fixture
def plan(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "plan"))


def hosts(folder: Path) -> list[str]:
    """Host of each rank."""
    loaded = load_plan(folder)
    names = np.char.decode(loaded.bin.name_column(loaded.bin[Section.HOSTS]), "utf-8")
    return names[loaded.bin[Section.RANKS]["host"]].tolist()


def repaired(run, plan: Path, *words: object) -> dict:
    code, out, err = run("repair", plan, *words, "--verify", "--format", "json")
    assert code == 0, out + err
    return json.loads(out)


def test_a_node_is_replaced_from_its_rack(run, plan, tmp_path):
    """One dead node moves its two ranks and no other; the new plan verifies, and says where they went and what to fetch."""
    before = hosts(plan)
    dead = before[0]
    new = tmp_path / "new"
    record = repaired(run, plan, "--failed", dead, "-o", new)
    assert (record["moved"], record["least_moves"], record["proven_least"], record["cells_moved"]) == (2, 2, True, 0)
    assert record["moved_within"]["nvlink"] == 2
    assert (record["spare_gpus"], record["spare_cells"]) == (16, 1)  # six racks, five of them with a cell; r6-n5 is dead
    after = hosts(new)
    assert dead not in after
    assert [a for a, b in zip(after, before, strict=True) if a == b] == [b for b in before if b != dead]
    assert run("verify", new).code == 0
    rows = list(csv.DictReader(io.StringIO((new / "moves.csv").read_text())))
    assert [r["from_host"] for r in rows] == [dead, dead]
    assert [r["to_host"] for r in rows] == [after[int(r["rank"])] for r in rows]
    assert {r["why"] for r in rows} == {"lost"}
    for row in rows:  # the same shard of another replica
        assert int(row["weights_from"]) % 8 == int(row["rank"]) % 8
        assert int(row["weights_from"]) != int(row["rank"])
        assert row["optimizer_from"] == "checkpoint"
    moves = json.loads((new / "moves.json").read_text())
    assert (moves["repairs"], moves["digest"]) == (load_plan(plan).digest, load_plan(new).digest)
    assert len(moves["moves"]) == 2
    assert load_plan(new).json["strategy"] == load_plan(plan).json["strategy"]


def test_a_rack_moves_whole(run, plan, tmp_path):
    """Two dead nodes of a rack take its whole tensor group to the free rack: 8 moves, and the certificate says no fewer do."""
    rack = hosts(plan)[0].split("-")[0]
    record = repaired(run, plan, "--failed", f"{rack}-n[1-2]", "-o", tmp_path / "new")
    assert (record["moved"], record["least_moves"], record["cells_moved"], record["cell_ranks"]) == (8, 8, 1, 8)
    assert run("diff", plan, tmp_path / "new", "--exit-code").code == 5


def test_drained_parts_give_their_state_themselves(run, plan, tmp_path):
    """A drained node can still be read; a list may come from a file with comments."""
    dead = hosts(plan)[0]
    names = tmp_path / "names.txt"
    names.write_text(f"# tonight\n{dead}  # memory errors\n")
    record = repaired(run, plan, "--drained", f"@{names}")
    assert [row[5:] for row in record["moves"]] == [["drained", "itself", "itself", "itself"]] * 2


def test_events_add_up_and_are_taken_back(run, plan, tmp_path):
    """Fail, repair the repaired plan again, restore: the topology tells the whole story, and its other text stays."""
    used = list(dict.fromkeys(hosts(plan)))
    repaired(run, plan, "--failed", used[0], "-o", tmp_path / "a")
    repaired(run, tmp_path / "a", "--failed", used[-1], "-o", tmp_path / "b")
    text = (tmp_path / "b" / "inputs" / "topology.yaml").read_text()
    assert "# a comment that stays" in text
    assert "does not boot" in text
    assert used[0].split("-")[0] in text
    record = repaired(run, tmp_path / "b", "--restored", f"{used[0]},{used[-1]},r6-n5", "-o", tmp_path / "c")
    assert record["moved"] == 0
    assert "exceptions" not in (tmp_path / "c" / "inputs" / "topology.yaml").read_text()
    assert load_plan(tmp_path / "c").json["cluster"]["nodes"]["failed"] == 0


def test_parts_of_every_kind(run, plan):
    """Racks, GPUs, adapters, rails of a rack, switches and cables are understood, and each repaired plan verifies."""
    host = hosts(plan)[0]
    rack = host.split("-")[0]
    assert repaired(run, plan, "--failed", rack)["moved"] == 8
    assert repaired(run, plan, "--failed", f"{host}:1")["moved"] == 2  # the node is out as a whole
    events = repaired(run, plan, "--failed", "leaf-0-r1", "--degraded", f"{host}:rail0=50%,{rack}:rail1=75%")["events"]
    assert {"failed switches", "degraded nics"} <= set(events)
    slow = repaired(run, plan, "--failed", f"{host}:rail0")  # the other adapter carries the load of both
    assert (slow["moved"], slow["slow_nodes"]["left"]) == (2, True)
    assert repaired(run, plan, "--failed", "leaf-0-r0 -- core")["moved"] == 0


def test_slow_nodes_are_left_where_that_pays(run, plan):
    """A node at half speed slows the step; its ranks leave it within the rack, and stay if they may not move."""
    slow = hosts(plan)[0]
    left = repaired(run, plan, "--degraded", f"{slow}=50%")
    assert (left["moved"], left["slow_nodes"]["left"]) == (2, True)
    assert left["slow_nodes"]["break_even_steps"] > 0
    stays = repaired(run, plan, "--degraded", f"{slow}=50%", "--extra-moves", "0")
    assert stays["moved"] == 0
    assert stays["step_time_s"][1] > left["step_time_s"][1]
    dear = repaired(run, plan, "--degraded", f"{slow}=50%", "--pays-within", "0")
    assert (dear["moved"], dear["slow_nodes"]["left"]) == (0, False)


def test_a_weak_nvlink_domain_is_left(run, plan):
    """NVLink of a rack at a tenth of its bandwidth slows the step; its cells go to the free rack, and it may come back."""
    rack = hosts(plan)[0].split("-")[0]
    left = repaired(run, plan, "--degraded", f"{rack}=10%")
    assert (left["moved"], left["cells_moved"], left["slow_nodes"]["left"]) == (8, 1, True)
    assert left["events"] == {"degraded nvlink": rack}
    assert repaired(run, plan, "--degraded", f"{rack}=10%", "--extra-moves", "7")["moved"] == 0


def test_no_repair_says_what_must_shrink_and_does_it(run, plan, tmp_path):
    """Without room for all tensor groups there is no repair (exit 3); `--shrink` drops replicas and the batch with them."""
    free = sorted({f"r{i}" for i in range(1, 7)} - {h.split("-")[0] for h in hosts(plan)})
    rack = hosts(plan)[0].split("-")[0]
    words = ("--failed", ",".join([*free, f"{rack}-n[1-2]"]))
    code, _, err = run("repair", plan, *words, "-o", tmp_path / "new")
    assert code == 3
    assert "`--shrink` runs 4 of 5 replicas" in err
    assert not (tmp_path / "new").exists()
    record = repaired(run, plan, *words, "--shrink", "-o", tmp_path / "new")
    assert (record["replicas"], record["global_batch"]) == ([5, 4], [80, 64])
    assert run("verify", tmp_path / "new").code == 0
    assert load_plan(tmp_path / "new").json["strategy"]["tp"] == 8


def test_reserved_spares_are_taken_when_told(run, made, tmp_path):
    """Racks that the topology reserves are no room for a repair, until the on-call engineer says so."""
    topology = tmp_path / "reserved.yaml"
    topology.write_text(TOPOLOGY + '  - {state: reserved, racks: "r[5-6]"}\n')
    pins = [w for p in ("tp=8", "pp=1", "cp=1", "vpp=1", "micro_batch=1") for w in ("--pin", p)]
    plan = tmp_path / "plan"
    words = (made.parent / "model.yaml", topology, *pins, "--gpus", "32", "--effort", "0", "-q", "-o", plan)
    assert run("plan", *words).code == 0
    rack = hosts(plan)[0].split("-")[0]
    assert run("repair", plan, "--failed", f"{rack}-n[1-2]").code == 3
    record = repaired(run, plan, "--failed", f"{rack}-n[1-2]", "--use-reserved", "-o", tmp_path / "new")
    assert (record["moved"], record["cells_moved"]) == (8, 1)
    assert {host.split("-")[0] for host in hosts(tmp_path / "new")} & {"r5", "r6"}


def test_a_plan_of_another_version(run, plan):
    """A plan.json that lacks what a repair needs is said to, not stumbled over."""
    tree = json.loads((plan / "plan.json").read_text())
    del tree["certificate"]["joint_bytes"]
    (plan / "plan.json").write_text(json.dumps(tree))
    code, _, err = run("repair", plan, "--failed", "r1-n1")
    assert (code, "plan/damaged" in err, "joint_bytes" in err) == (4, True, True)


def test_a_plan_is_repaired_once(run, plan, tmp_path):
    """A plan that has a successor is refused (exit 4), whatever the order; `--again` makes a branch."""
    dead = hosts(plan)[0]
    repaired(run, plan, "--failed", dead, "-o", tmp_path / "a")
    code, _, err = run("repair", plan, "--failed", dead, "-o", tmp_path / "b")
    assert (code, "repair/superseded" in err, (tmp_path / "b").exists()) == (4, True, False)
    assert run("repair", plan, "--failed", dead, "-o", tmp_path / "b", "--again").code == 0
    assert run("repair", tmp_path / "a", "--failed", "r1-n1", "--expect", "0" * 8).code == 4
    assert run("verify", plan).code == 0  # the old plan is whole


def test_two_repairs_at_once(run, plan):
    """While one process holds the plan another is refused; its lock goes with it."""
    handle = os.open(plan, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    code, _, err = run("repair", plan, "--failed", "r1-n1")
    assert (code, "repair/locked" in err) == (4, True)
    os.close(handle)
    assert run("repair", plan, "--failed", "r1-n1").code == 0


def test_a_crash_leaves_the_old_plan(run, plan, tmp_path, monkeypatch):
    """Killed before the swap, or between the swap and the mark: the old plan is whole, and the repair can be made again."""
    before = {p.name: p.read_bytes() for p in plan.iterdir() if p.is_file()}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("placement.runtime.atomic._swap", die)
    assert run("repair", plan, "--failed", "r1-n1", "-o", tmp_path / "new").code == 130
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in plan.iterdir() if p.is_file()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan"]
    monkeypatch.setattr(succession, "mark_superseded", die)
    assert run("repair", plan, "--failed", "r1-n1", "-o", tmp_path / "new").code == 130
    monkeypatch.undo()
    assert run("repair", plan, "--failed", "r1-n1", "-o", tmp_path / "new").code == 0
    assert run("verify", tmp_path / "new").code == 0


def test_in_place_and_over_other_plans(run, plan, made, tmp_path):
    """A repair may replace the plan that it repairs, never another one, and not one that changed meanwhile."""
    other = Path(shutil.copytree(made, tmp_path / "other"))
    code, _, err = run("repair", plan, "--failed", "r1-n1", "-o", other)
    assert (code, "repair/other-plan" in err) == (4, True)
    assert run("repair", plan, "--failed", "r1-n1", "-o", plan).code == 0
    assert run("verify", plan).code == 0
    code, _, err = run("repair", other, "--topology", tmp_path / "nowhere.yaml")
    assert code == 1
    (other / "inputs" / "topology.yaml").write_text(TOPOLOGY.replace("r6-n5", "r6-n4"))
    code, _, err = run("repair", other, "--failed", "r1-n1")
    assert (code, "repair/stale" in err) == (4, True)


def test_a_new_capture(run, plan, tmp_path):
    """`--topology` takes the cluster as it is now, and refuses one with other nodes."""
    now = tmp_path / "now.yaml"
    now.write_text(TOPOLOGY.replace("nodes: r6-n5", f'nodes: "r6-n5,{hosts(plan)[0]}"'))
    assert repaired(run, plan, "--topology", now)["moved"] == 2
    now.write_text(TOPOLOGY.replace("r{rack}-n{node}", "x{rack}-n{node}").replace("r6-n5", "x6-n5"))
    code, _, err = run("repair", plan, "--topology", now)
    assert (code, "repair/other-cluster" in err) == (1, True)
    last_first = '  - {count: 1, nodes: 5, first_rack: 6, name: "r{rack}", host: "r{rack}-n{node}"}\n'
    now.write_text(TOPOLOGY.replace("racks:\n", "racks:\n" + last_first, 1).replace("count: 6", "count: 5, first_rack: 1"))
    assert repaired(run, plan, "--topology", now, "-o", tmp_path / "new")["moved"] == 0  # nodes are found by name
    assert hosts(tmp_path / "new") == hosts(plan)


def test_a_capture_of_cables(run, plan, tmp_path):
    """What `ibnetdiscover` sees takes the place of the topology as it is; events are then written as a topology of ours."""
    now = tmp_path / "now.yaml"
    now.write_text(TOPOLOGY[: TOPOLOGY.index("exceptions")])
    wired, _ = load_wired([str(now)])
    capture = tmp_path / "fabric.ibnetdiscover"
    capture.write_text(plain(wired))
    code, out, err = run("repair", plan, "--topology", capture, "-o", tmp_path / "new", "--format", "json")
    assert code == 0, out + err
    assert json.loads(out)["moved"] == 0
    assert hosts(tmp_path / "new") == hosts(plan)
    assert (tmp_path / "new" / "inputs" / "topology.yaml").read_text() == capture.read_text()
    dead = hosts(plan)[0]
    record = repaired(run, tmp_path / "new", "--failed", dead, "-o", tmp_path / "next")
    assert record["moved"] >= 2
    assert any("written as a topology of ours" in note for note in record["notes"])
    assert dead not in hosts(tmp_path / "next")


def test_names_that_are_nothing(run, plan):
    """Unknown names and shares are input errors, all at once; nothing to do is a usage error."""
    code, _, err = run("repair", plan, "--failed", "r9-n1,sw7", "--degraded", "r1-n1=fast")
    assert (code, err.count("error[repair/unknown-part]")) == (1, 3)
    assert run("repair", plan).code == 2
    words = ("rail9", "r1-n1:7", "r1-n1:nic7", "plane1", "leaf-0-r0 -- leaf-1-r0", "leaf-00-r1", "r[1-")
    code, _, err = run("repair", plan, "--failed", ",".join(words))
    assert (code, err.count("error[repair/unknown-part]")) == (1, len(words))
    assert "did you mean `leaf-0-r1`?" in err
    code, _, err = run("repair", plan, "--failed", "r1,r2-n1", "--restored", "r1,r2-n2", "--drained", "r2-n2")
    assert (code, err.count("error[repair/contradiction]")) == (1, 2)


def test_a_plane_is_lost_and_back():
    """Every adapter loses an eighth of its speed with one of eight planes, every leaf an eighth of its uplinks; and back."""
    doc = load("topologies/gb300-220k-multiplane.yaml", "topology")
    whole, lost = after(doc.text, doc.file), amend(doc, [Event("failed", "plane3")])
    cluster = after(lost.text, doc.file)
    assert set((cluster.nic_Bps_N / whole.nic_Bps_N).tolist()) == {7 / 8}
    assert set((cluster.tiers[1].uplink_Bps_J / whole.tiers[1].uplink_Bps_J).tolist()) == {7 / 8}
    assert amend(parse(lost.text, doc.file, "topology"), [Event("restored", "plane3")]).text == doc.text


def test_named_twice(run, plan, tmp_path):
    """A part that is named twice, or is out already with its rack, is out once; of two states the worse counts."""
    rack = hosts(plan)[0].split("-")[0]
    record = repaired(run, plan, "--failed", f"{rack},{rack}", "--drained", f"{rack}-n1", "-o", tmp_path / "a")
    assert record["moved"] == 8
    assert record["notes"] == [f"{rack}-n1: drained already"]
    again = repaired(run, tmp_path / "a", "--failed", f"{rack}-n1", "-o", tmp_path / "b")
    assert again["notes"] == [f"{rack}-n1: failed already", "no part is named that was not out already"]
    files = [(tmp_path / name / "inputs" / "topology.yaml").read_text() for name in "ab"]
    assert files[0] == files[1]
    assert repaired(run, tmp_path / "b", "--failed", "")["moved"] == 0
    worse = repaired(run, plan, "--drained", rack, "--failed", f"{rack}-n1", "-o", tmp_path / "c", "--again")
    assert {row[5] for row in worse["moves"] if row[1] != f"{rack}-n1"} == {"drained"}
    assert {row[5] for row in worse["moves"] if row[1] == f"{rack}-n1"} == {"lost"}


def test_spares_table_and_plot(run, plan, tmp_path):
    """Fewer replicas cost time and survive more; the plot is an SVG, and the same seed gives the same numbers."""
    words = ("spares", plan, "--hours", "48", "--trials", "50", "--format", "json", "--plot", tmp_path / "s.svg")
    first = json.loads(run(*words).out)
    assert first == json.loads(run(*words).out)
    rows = first["policies"]
    assert rows[0]["name"] == "this plan"
    assert [r["replicas"] for r in rows[1:]] == sorted((r["replicas"] for r in rows[1:]), reverse=True)
    assert all(a["survival"][-1] <= b["survival"][-1] for a, b in pairwise(rows[1:]))
    assert all(r["survival"][0] == 1.0 for r in rows)
    assert rows[0]["throughput"] == 1.0
    for row in rows[1:]:  # 80 sequences deal over 1, 2, 4, 5, 8 … replicas; the plan has 5
        assert row["throughput"] == pytest.approx(row["replicas"] / rows[0]["replicas"])
        assert (row["step_time_s"] > rows[0]["step_time_s"]) == (row["replicas"] < rows[0]["replicas"])
    assert (tmp_path / "s.svg").read_text().startswith("<svg")
    assert "survives 24 h" in run("spares", plan, "--trials", "20").out


def test_drill_of_a_year(run, plan, tmp_path):
    """Every repaired placement keeps the rules, moves are the least possible, and spares beat doing without."""
    words = ("drill", plan, "--days", "3000", "--seed", "3", "--format", "json", "--plot", tmp_path / "d.svg")
    found = json.loads(run(*words).out)["drills"][0]
    assert found["checked"] == found["repairs"] > 10
    assert found["broken"] == []
    assert found["audited"] == 3
    assert found["moves"] == found["least_moves"] > 0
    assert found["effective"]["repair"] > found["effective"]["no_spares_waiting"]
    assert 0 < found["effective"]["repair"] < 1
    again = json.loads(run(*words).out)["drills"][0]
    assert {k: v for k, v in again.items() if k != "repair_s"} == {k: v for k, v in found.items() if k != "repair_s"}
    assert (tmp_path / "d.svg").read_text().startswith("<svg")


def test_a_restart_that_is_interrupted_starts_over():
    """Failures at 100, 150 and 1,000 s, restarts of 120 s, a checkpoint every 50 s: trained 100 s, 700 s and 880 s."""
    run = Run(restart_s=120.0, checkpoint_s=50.0)
    for at_s in (100.0, 150.0, 1000.0):
        run.stop(at_s)
    run.until(2000.0, keep=True)
    assert run.done_s == 100.0 + 700.0 + 880.0


def test_drills_of_several_seeds(run, plan):
    """Several seeds run in processes and give what each gives alone."""
    words = ("drill", plan, "--days", "400", "--format", "json")
    both = json.loads(run(*words, "--seeds", "2", "--jobs", "1").out)["drills"]
    alone = json.loads(run(*words, "--seed", "1").out)["drills"][0]
    assert [d["seed"] for d in both] == [0, 1]
    assert {k: v for k, v in both[1].items() if k != "repair_s"} == {k: v for k, v in alone.items() if k != "repair_s"}
    assert run(*words, "--backend", "slurm").code == 2


FLEET = """\
name: pair
topology: topology.yaml
jobs:
  - {name: a, model: model.yaml, racks: 2, priority: 1}
  - {name: b, model: model.yaml, racks: 2, min_racks: 1}
"""


def test_a_fleet_and_its_changes(run, made, tmp_path):
    """Jobs share no rack; a job that stays keeps its plan byte by byte while others come, grow and go."""
    folder = made.parent
    (folder / "fleet.yaml").write_text(FLEET)
    words = ("--effort", "0", "--format", "json")
    first = json.loads(run("fleet", "plan", folder / "fleet.yaml", "-o", tmp_path / "f", *words).out)
    assert {n: j["racks"] for n, j in first["jobs"].items()} == {"a": 2, "b": 2}
    assert first["shared_groups"] == {"leaf": 0}
    ranks = {n: set(hosts(tmp_path / "f" / "jobs" / n)) for n in "ab"}
    assert {h.split("-")[0] for h in ranks["a"]}.isdisjoint({h.split("-")[0] for h in ranks["b"]})
    (folder / "next.yaml").write_text(
        FLEET.replace("racks: 2, min_racks", "racks: 3, min_racks") + "  - {name: c, model: model.yaml, racks: 1}\n"
    )
    second = json.loads(run("fleet", "plan", folder / "next.yaml", "--from", tmp_path / "f", "-o", tmp_path / "g", *words).out)
    assert second["jobs"]["a"]["change"] == "kept"
    assert second["racks_kept"] == {"kept": 4, "had": 4}
    assert (tmp_path / "g/jobs/a/plan.bin").read_bytes() == (tmp_path / "f/jobs/a/plan.bin").read_bytes()
    assert {n: j["racks"] for n, j in second["jobs"].items()} == {"a": 2, "b": 3, "c": 1}
    assert run("fleet", "show", tmp_path / "g").code == 0
    assert run("repair", tmp_path / "g/jobs/b", "--failed", min(hosts(tmp_path / "g/jobs/b")), "--verify").code in (0, 3)
    (folder / "wrong.yaml").write_text(FLEET.replace("name: b", "name: a").replace("racks: 2, priority", "priority"))
    code, _, err = run("fleet", "plan", folder / "wrong.yaml", "-o", tmp_path / "h")
    assert (code, err.count("error[fleet/")) == (1, 2)
    assert run("fleet", "show", tmp_path).code == 4


def test_a_repaired_job_of_a_fleet_stays(run, made, tmp_path):
    """A job that was repaired keeps the repaired plan when the fleet is planned again, also once the cluster file knows."""
    folder = made.parent
    (folder / "sixteen.yaml").write_text("gpus: 16\n")
    (folder / "one.yaml").write_text(FLEET.replace("racks: 2, priority: 1", "racks: 2, job: sixteen.yaml"))
    words = ("--effort", "0", "--format", "json")
    assert run("fleet", "plan", folder / "one.yaml", "-o", tmp_path / "f", *words).code == 0
    dead = min(hosts(tmp_path / "f/jobs/a"))
    assert run("repair", tmp_path / "f/jobs/a", "--failed", dead, "-o", tmp_path / "a-2").code == 0
    told = folder / "told.yaml"
    told.write_text(TOPOLOGY.replace("nodes: r6-n5", f'nodes: "r6-n5,{dead}"'))
    for number, topology in enumerate(("topology.yaml", "told.yaml")):
        (folder / "next.yaml").write_text((folder / "one.yaml").read_text().replace("topology.yaml", topology))
        out = tmp_path / f"g{number}"
        code, said, err = run("fleet", "plan", folder / "next.yaml", "--from", tmp_path / "f", "-o", out, *words)
        assert (code, json.loads(said)["jobs"]["a"]["change"]) == (0, "kept"), err
        assert (out / "jobs/a/plan.bin").read_bytes() == (tmp_path / "a-2/plan.bin").read_bytes()
