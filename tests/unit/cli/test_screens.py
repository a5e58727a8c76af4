# SPDX-License-Identifier: Apache-2.0
"""Screens of a plan directory, as golden text: look at tests/golden/cli after `pytest --bless`."""

import csv
import io
import json
import re

import pytest

from placement.runtime import write_plan
from tests.unit.cli.conftest import toy_plan, write

SIDES = ("plan", "ranks", "stages", "traffic", "memory", "groups", "tree")
BROKEN = """\
name: broken
gpu: H1000
node: {gpus: 2, nics: 2, nic_speed: 400}
nvlink: {nodes: 1, latency: 1 us}
racks:
  - {count: 0, nodes: 2}
fabric:
  tier: []
"""
PRICED = "step time\n"  # numbers below it follow the constants of the cost model
QUESTIONS = (
    ("rank", "5"),
    ("stage", "0"),
    ("stage", "1"),
    ("node", "n1-0"),
    ("link", "n1-0"),
    ("link", "leaf 1"),
    ("axis", "dp"),
    ("axis", "ep"),
)


@pytest.mark.parametrize("side", SIDES)
def test_show_text(run, golden, plan_dir, side):
    """Each side of a plan prints on stdout, nothing on stderr, exit code 0."""
    code, out, err = run("show", plan_dir, side)
    assert (code, err) == (0, "")
    golden(f"cli/show-{side}.txt", out)


@pytest.mark.parametrize(("kind", "name"), QUESTIONS)
def test_why_text(run, golden, plan_dir, kind, name):
    """Each question has an answer that ends at a line of the topology file."""
    code, out, err = run("why", plan_dir, kind, *name.split())
    assert (code, err) == (0, "")
    told, _, rest = out.replace(str(plan_dir), "PLAN").partition(PRICED)
    golden(f"cli/why-{kind}-{name}.txt".replace(" ", "-"), told + PRICED + rest[rest.index("  -->") :] if rest else told)


def test_why_stage_compares_with_other_cuts(run, plan_dir):
    """Below a stage stand the cuts that differ in one block, with their steps, and the launcher's default order."""
    out = run("why", plan_dir, "stage", "0").out
    assert re.search(r"  chosen +1\.00 s\n", out)
    assert re.search(r"  layer\.1 to stage 1 instead +[\d.]+ m?s +[+-][\d.]+ % +stage [01] is slowest\n", out)
    assert re.search(r"  launcher default +1\.25 s +\+25\.0 %\n", out)
    found = json.loads(run("why", plan_dir, "stage", "0", "--format", "json").out)["alternatives"]
    assert [(a["block"], a["move"], a["stage"]) for a in sorted(found, key=lambda a: a["block"])] == [
        ("layer.1", "to", 1), ("layer.2", "from", 1),
    ]  # fmt: skip


def test_why_stage_says_what_other_hosts_would_cost(run, plan_dir):
    """The hosts of the other stage in this one's place are priced, and the dearest transfer names its two ends and its link."""
    found = json.loads(run("why", plan_dir, "stage", "0", "--format", "json").out)
    assert [(e["name"], e["slower_s"]) for e in found["elsewhere"]] == [
        ("1", pytest.approx(found["elsewhere"][0]["step_time_s"] - 1.0))
    ]
    moved = found["transfer"]
    assert (moved["axis"], moved["exposed_s"], moved["meets"]) == ("tp", 0.25, "nvlink")
    assert moved["hosts"][0].startswith("n0-")
    out = run("why", plan_dir, "stage", "0").out
    assert "  hosts of stage 1 instead " in out
    assert out.rstrip().endswith(moved["where"])


def test_a_host_trades_places_only_with_one_of_another_stage(run, plan_dir):
    """The alternatives of a rank and of its host are the same; every one is priced beside the plan."""
    of_rank = json.loads(run("why", plan_dir, "rank", "5", "--format", "json").out)
    of_node = json.loads(run("why", plan_dir, "node", "n1-0", "--format", "json").out)
    assert of_rank["elsewhere"] == of_node["elsewhere"]
    assert [(e["name"][:2], e["same"], e["idle"]) for e in of_rank["elsewhere"]] == [("n0", "spine", False)]


def test_links_are_found_by_every_name_the_screens_use(run, plan_dir):
    """A group is the same link by its number and by its name in `topology show`; its axes are all that is sent over it."""
    asked = [
        json.loads(run("why", plan_dir, "link", *n, "--format", "json").out) for n in (["leaf", "1"], ["leaf2"], ["leaf:1"])
    ]
    assert asked[0] == asked[1] == asked[2]
    assert asked[0]["bytes_axis"] == {"pp": 1.2e6}
    assert asked[0]["busy_s"] == pytest.approx(1.2e6 / asked[0]["uplink_Bps"])


@pytest.mark.parametrize("side", SIDES)
def test_show_json(run, plan_dir, side):
    """Each side is one JSON document with a format version."""
    code, out, _ = run("show", plan_dir, side, "--format", "json")
    assert code == 0
    assert json.loads(out)["format_version"] == "1.0"


@pytest.mark.parametrize(("kind", "name"), QUESTIONS)
def test_why_json(run, plan_dir, kind, name):
    """Each answer is one JSON document with a format version."""
    code, out, _ = run("why", plan_dir, kind, *name.split(), "--format", "json")
    assert code == 0
    assert json.loads(out)["format_version"] == "1.0"


def test_rank_table_has_the_published_columns(run, plan_dir):
    """`show DIR ranks --format csv` starts with the ten published columns, and has one row a rank."""
    rows = list(csv.DictReader(io.StringIO(run("show", plan_dir, "ranks", "--format", "csv").out)))
    assert list(rows[0])[:10] == ["rank", "host", "gpu", "rack", "rail", "tp", "cp", "dp", "pp", "ep"]
    assert [int(r["rank"]) for r in rows] == list(range(8))
    assert len({(r["host"], r["gpu"]) for r in rows}) == 8


def test_ranks_are_the_same_in_csv_and_json(run, plan_dir):
    """Both formats tell the same story."""
    table = list(csv.DictReader(io.StringIO(run("show", plan_dir, "ranks", "--format", "csv").out)))
    ranks = json.loads(run("show", plan_dir, "ranks", "--format", "json").out)["ranks"]
    assert [{k: str(v) for k, v in r.items()} for r in ranks] == table


@pytest.mark.parametrize("side", ["stages", "traffic", "memory", "groups"])
def test_tables_are_csv_too(run, plan_dir, side):
    """Tables have as many CSV rows as JSON records."""
    rows = list(csv.DictReader(io.StringIO(run("show", plan_dir, side, "--format", "csv").out)))
    assert len(rows) == len(json.loads(run("show", plan_dir, side, "--format", "json").out)[side])


def test_top_lists_runners_up(run, plan_dir):
    """`--top` adds runners-up below the search; without it there are none."""
    assert "1.   1.00 s   same   tp 2 " in run("show", plan_dir, "--top", "3").out
    assert "1.   1.00 s" not in run("show", plan_dir).out


def test_plan_is_no_table(run, plan_dir):
    """Asking for the plan as CSV is a usage error."""
    assert run("show", plan_dir, "plan", "--format", "csv").code == 2


def test_screen_parts_sum_to_the_step(run, plan_dir):
    """The seconds under `Where a step goes` add up to the step time that stands above."""
    out = run("show", plan_dir).out
    section = out.split("Where a step goes (predicted)\n")[1].split("\n\n")[0]
    found = [float(n) * {"s": 1, "ms": 1e-3, "us": 1e-6}[unit] for n, unit in re.findall(r"([\d.]+) (s|ms|us) ", section)]
    *parts, total = found
    assert len(parts) >= 2
    assert sum(parts) == pytest.approx(total, rel=5e-3)
    assert f"step time{total:.2f} s".replace(" ", "") in out.replace(" ", "")


def test_what_a_rank_sends_comes_from_the_plan(run, plan_dir):
    """Bytes in `why rank` are those of the plan's traffic, for the rank's own stage."""
    groups = json.loads(run("why", plan_dir, "rank", "5", "--format", "json").out)["groups"]
    sent = {g["axis"]: g["bytes_per_step"] for g in groups}
    assert (sent["tp"], sent["dp"], sent["pp"]) == (5e6, 2e6, 0.0)
    members = {g["axis"]: g["members"] for g in groups}
    assert (members["tp"], members["dp"], members["pp"]) == ([4, 5], [5, 7], [1, 5])


@pytest.mark.parametrize(
    "question",
    [
        ("rank", "8"),
        ("rank", "-1"),
        ("rank", "x"),
        ("stage", "2"),
        ("node", "n9-9"),
        ("axis", "zz"),
        ("color", "1"),
        ("link", "leaf9"),
    ],
)
def test_questions_about_nothing(run, plan_dir, question):
    """A rank, stage, node or axis that does not exist is a usage error that says what there is."""
    code, out, err = run("why", plan_dir, *question)
    assert (code, out) == (2, "")
    assert "Error" in err


def test_diff_of_a_plan_with_itself(run, plan_dir):
    """The same plan twice differs in nothing: exit code 0 also with --exit-code."""
    code, out, _ = run("diff", plan_dir, plan_dir, "--exit-code")
    assert code == 0
    assert out.startswith("same plan")


def test_diff_names_moved_ranks(run, golden, plan_dir, tmp_path):
    """Two placements of one strategy: all ranks move, no group is reshaped, exit code 5 only if asked for."""
    other = write(tmp_path / "other", toy_plan(reverse=True))
    assert run("diff", plan_dir, other).code == 0
    code, out, _ = run("diff", plan_dir, other, "--exit-code")
    assert code == 5
    golden("cli/diff.txt", re.sub(r"\b[0-9a-f]{8}\b", "DIGEST", out))
    facts = json.loads(run("diff", plan_dir, other, "--format", "json").out)
    assert facts["different"] is True
    assert facts["strategy"] == {}
    assert facts["mapping"]["ranks_moved"] == 8


def test_diff_ends_at_the_lines_that_changed(run, plan_dir, tmp_path):
    """A key that changed, one that is new and an item that is gone, each with its file, line and column."""
    before = (plan_dir / "inputs" / "topology.yaml").read_text(encoding="utf-8")
    assert "    latency: 1 us" not in before
    after = before.replace("node: {gpus: 2", "node: {cpus: 1, gpus: 2") + "exceptions:\n  - {nodes: n0-0, state: failed}\n"
    other = write_plan(toy_plan(reverse=True), tmp_path / "other", {"topology.yaml": after.encode(), "model.yaml": b"a: 1\n"})
    assert other
    found = json.loads(run("diff", plan_dir, tmp_path / "other", "--format", "json").out)["changes"]
    line = before.count("\n") + 1
    assert [(c["key"], c["before"], c["after"]) for c in found["topology.yaml"]] == [
        ("node.cpus", None, "1"), ("exceptions", None, "[{nodes: n0-0, state: failed}]"),
    ]  # fmt: skip
    assert found["topology.yaml"][1]["where"] == f"{tmp_path / 'other'}/inputs/topology.yaml:{line}:1"
    assert {c["key"] for c in found["model.yaml"]} == {"name", "transformer", "job", "a"}
    told = " ".join(run("diff", plan_dir, tmp_path / "other").out.split())
    assert f"+ exceptions [{{nodes: n0-0, state: failed}}] {tmp_path / 'other'}/inputs/topology.yaml:{line}:1 " in told


def test_damaged_plan_is_exit_code_4(run, plan_dir):
    """A flipped byte in plan.bin is refused with a diagnostic, in text on stderr and in JSON on stdout."""
    path = plan_dir / "plan.bin"
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    code, out, err = run("show", plan_dir)
    assert (code, out) == (4, "")
    assert err.startswith("error[plan/")
    code, out, _ = run("show", plan_dir, "--format", "json")
    assert code == 4
    assert json.loads(out)["summary"]["errors"] == 1


def test_no_plan_there(run, tmp_path):
    """A folder without a plan is named with what to do."""
    code, _, err = run("show", tmp_path / "nothing")
    assert code == 4
    assert "is it a plan directory?" in err


def test_topology_screen(run, golden):
    """`topology show tiny`: counts that can be checked by hand in the sketch of its file."""
    code, out, err = run("topology", "show", "tiny")
    assert (code, err) == (0, "")
    golden("cli/topology-show.txt", out)


def test_model_screen(run, golden):
    """`model show llama3-70b`: the published 70.6 B parameters."""
    code, out, err = run("model", "show", "llama3-70b", "--seq-len", "8192")
    assert (code, err) == (0, "")
    golden("cli/model-show.txt", out)


def test_validate_contract(run, tmp_path, golden):
    """Findings of a broken topology: all at once, in text with carets and as JSON with the published keys; exit code 1."""
    path = tmp_path / "broken.yaml"
    path.write_text(BROKEN, encoding="utf-8")
    code, out, err = run("topology", "validate", path)
    assert (code, err) == (1, "")
    golden("cli/topology-validate.txt", out.replace(str(path), "broken.yaml"))
    code, out, _ = run("topology", "validate", path, "--format", "json")
    tree = json.loads(out)
    assert code == 1
    assert tree["summary"]["errors"] == len(tree["diagnostics"])
    first = tree["diagnostics"][0]
    assert {"severity", "name", "message", "objects", "where", "help"} <= set(first)
    assert set(first["where"]) == {"file", "line", "column"}


def test_validate_of_good_files(run):
    """A good file is one line and exit code 0; as JSON it has the counts."""
    assert run("topology", "validate", "tiny").out == "ok: tiny, 4 nodes, 8 GPUs, 8 usable\n"
    tree = json.loads(run("topology", "validate", "tiny", "--format", "json").out)
    assert (tree["diagnostics"], tree["summary"]["errors"], tree["summary"]["gpus"]) == ([], 0, 8)
    assert run("model", "validate", "llama3-70b").out.startswith("ok: llama3-70b, ")
    assert json.loads(run("model", "validate", "llama3-70b", "--format", "json").out)["diagnostics"] == []


@pytest.mark.parametrize("kind", ["topology", "model", "job", "plan", "why-rank", "infeasible"])
def test_schema_is_json_schema(run, kind):
    """`placement schema KIND` prints a JSON Schema document."""
    code, out, _ = run("schema", kind)
    assert code == 0
    assert json.loads(out)["$schema"].startswith("http://json-schema.org/draft-07")


def test_schemas_are_listed_and_written(run, tmp_path):
    """Every kind stands in the list with what it describes, and has a file; an unknown one gets the nearest."""
    names = [line.split()[0] for line in run("schema", "--list").out.splitlines()]
    assert run("schema", "--all", tmp_path / "schemas").code == 0
    assert sorted(names) == sorted(p.stem for p in (tmp_path / "schemas").rglob("*.json"))
    code, _, err = run("schema", "why-ranks")
    assert code == 2
    assert "did you mean `why-rank`" in " ".join(err.split())
