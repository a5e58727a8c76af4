# SPDX-License-Identifier: Apache-2.0
"""`placement plan` from files to a plan directory, and everything that can go wrong on the way."""

import dataclasses
import json
import re

import pytest

from placement.cli import plan as command
from placement.cli.inputs import pins, spare_policy
from placement.ir import Spares
from placement.spec.catalog import CATALOG

KEYS = {
    "world_size": int, "spare_gpus": int, "strategy": dict, "predicted": dict, "baseline": dict, "bound": dict, "search": dict,
    "digest": str, "format_version": str,
}  # fmt: skip
STRATEGY = {
    "tp", "cp", "ep", "etp", "dp", "pp", "vpp", "micro_batch", "num_microbatches", "schedule", "recompute", "sharding",
}  # fmt: skip


@pytest.fixture
def planned(run, model_file, tmp_path):
    """A plan of the toy model on the tiny cluster: how the command ended, and where the plan is."""
    out = tmp_path / "out" / "plan"
    return run("plan", model_file, "tiny", "-o", out), out


def test_plan_writes_a_directory_and_one_screen(planned):
    """stdout is the screen, stderr says what was done, the directory holds plan.json, plan.bin and its inputs."""
    (code, out, err), folder = planned
    assert code == 0
    assert out.startswith("Plan   tp ")
    for text in ("8 of 8 GPUs work", "launcher default", "Where a step goes", "How far from the best", "Search  "):
        assert text in out
    assert [line.split()[0] for line in err.splitlines()] == ["Loaded", "Loaded", "Searched", "Verified", "Wrote", "next:"]
    assert sorted(p.name for p in folder.iterdir()) == ["inputs", "plan.bin", "plan.json"]
    assert sorted(p.name for p in (folder / "inputs").iterdir()) == ["efficiency.yaml", "model.yaml", "topology.yaml"]


def test_show_prints_what_plan_printed(run, planned):
    """The screen comes from the plan directory alone."""
    (_, out, _), folder = planned
    assert run("show", folder).out == out


def test_json_contract(run, model_file):
    """`--format json` has the published keys with their types; nothing else is on stdout; nothing is written without -o."""
    code, out, _ = run("plan", model_file, "tiny", "--format", "json")
    tree = json.loads(out)
    assert code == 0
    assert {k: type(tree[k]) for k in KEYS} == KEYS
    assert set(tree["strategy"]) >= STRATEGY
    assert {"step_time_s", "tokens_per_s_per_gpu", "mfu", "breakdown_s", "memory_bytes"} <= set(tree["predicted"])
    assert {"step_time_s", "gap", "proven"} <= set(tree["bound"])
    assert {"enumerated", "feasible", "scored", "rejected"} <= set(tree["search"])
    assert tree["baseline"]["step_time_s"] >= tree["predicted"]["step_time_s"]
    assert sum(tree["predicted"]["breakdown_s"].values()) == pytest.approx(tree["predicted"]["step_time_s"])


def test_quiet_says_nothing_and_verbose_says_seconds(run, model_file):
    """-q leaves stderr empty; -v adds seconds; --no-progress is accepted."""
    assert run("plan", model_file, "tiny", "-q").err == ""
    assert re.search(r"Loaded tiny .* \d+\.\d s\n", run("plan", model_file, "tiny", "-v", "--no-progress").err)


def test_pins_and_options_reach_the_job(run, model_file):
    """--pin, --gpus, --spares, --effort and --seed are in the plan."""
    words = ("--pin", "tp=2", "--pin", "pp=1", "--gpus", "4", "--spares", "gpus=4", "--effort", "1", "--seed", "7")
    code, out, _ = run("plan", model_file, "tiny", *words, "--format", "json")
    tree = json.loads(out)
    assert code == 0
    assert (tree["strategy"]["tp"], tree["strategy"]["pp"], tree["world_size"]) == (2, 1, 4)
    job = tree["job"]
    assert (job["pins"], job["max_gpus"], job["effort"], job["seed"]) == ({"tp": 2, "pp": 1}, 4, 1, 7)
    assert (job["spares"]["policy"], job["spares"]["count"]) == ("gpus", 4)


def test_the_job_file_is_copied(run, model_file, tmp_path):
    """A job file is read, and kept with the plan."""
    job = tmp_path / "job.yaml"
    job.write_text("global_batch: 16\n", encoding="utf-8")
    assert run("plan", model_file, "tiny", "--job", job, "-o", tmp_path / "p").code == 0
    assert (tmp_path / "p" / "inputs" / "job.yaml").read_text(encoding="utf-8") == "global_batch: 16\n"
    assert json.loads((tmp_path / "p" / "plan.json").read_text(encoding="utf-8"))["job"]["global_batch"] == 16


@pytest.mark.parametrize(
    "words",
    [
        ("--pin", "tp"), ("--pin", "=2"), ("--pin", "tp=2", "--pin", "tp=4"), ("--spares", "racks"), ("--spares", "many=2"),
        ("--effort", "9"), ("--format", "xml"), ("--nonsense",),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(run, model_file, words):
    """A malformed or contradicting option is named on stderr; stdout stays empty."""
    code, out, err = run("plan", model_file, "tiny", *words)
    assert (code, out) == (2, "")
    assert "Error" in err


def test_errors_of_all_inputs_come_together(run, tmp_path):
    """A bad model and a bad topology are reported in one go, by file, exit code 1."""
    model, topology = tmp_path / "m.yaml", tmp_path / "t.yaml"
    model.write_text("name: x\ntransfomer: {}\n", encoding="utf-8")
    topology.write_text("name: x\ngpus: H100\n", encoding="utf-8")
    code, out, err = run("plan", model, topology)
    assert (code, out) == (1, "")
    assert str(model) in err
    assert str(topology) in err
    assert "did you mean `transformer`?" in err


def test_infeasible_is_exit_code_3_with_the_histogram(run, tmp_path):
    """A model that fits no GPU: the reasons by count on stderr; with --format json they are the result."""
    model = tmp_path / "huge.yaml"
    text = "name: huge\ntransformer: {layers: 64, hidden: 16384, heads: 128, ffn: 65536, vocab: 128000}\n"
    model.write_text(text + "job: {sequence_length: 4096, global_batch: 64}\n", encoding="utf-8")
    code, out, err = run("plan", model, "tiny", "-o", tmp_path / "p")
    assert (code, out) == (3, "")
    assert "error[plan/infeasible]" in err
    assert re.search(r"0 feasible of [\d,]+", err)
    assert "memory" in err
    assert not (tmp_path / "p").exists()
    code, out, _ = run("plan", model, "tiny", "--format", "json")
    assert code == 3
    assert json.loads(out)["rejected"]["memory"] > 0


def test_a_degree_that_no_strategy_has_is_infeasible_too(run, model_file):
    """A pin outside of the space leaves no strategy at all: exit code 3 and what to change, not a bug."""
    code, out, err = run("plan", model_file, "tiny", "--pin", "tp=8", "--format", "json")
    assert (code, json.loads(out)["rejected"]) == (3, {})
    assert "`tp` is pinned to 8, which is no degree here" in err


def test_a_target_that_cannot_be_written_is_refused_before_the_search(run, model_file, monkeypatch, tmp_path):
    """A path below a file is an input error at once: the compiler is never called."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr(command, "_compile", lambda *_: pytest.fail("searched for nothing"))
    code, out, err = run("plan", model_file, "tiny", "-o", tmp_path / "file" / "plan")
    assert (code, out) == (1, "")
    assert "error[plan/not-writable]" in err


def test_a_foreign_directory_is_left_alone(run, model_file, tmp_path):
    """A directory with other files in it is not replaced."""
    (tmp_path / "precious.txt").write_text("mine", encoding="utf-8")
    code, out, err = run("plan", model_file, "tiny", "-o", tmp_path)
    assert (code, out) == (1, "")
    assert "precious.txt" in err
    assert (tmp_path / "precious.txt").read_text(encoding="utf-8") == "mine"


def test_interrupt_is_exit_code_130_and_leaves_the_old_plan(run, planned, model_file, monkeypatch):
    """Ctrl-C during the search: no traceback, and the plan that was there is whole."""
    _, folder = planned
    before = (folder / "plan.json").read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "_compile", interrupted)
    code, out, err = run("plan", model_file, "tiny", "-o", folder)
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted"
    assert (folder / "plan.json").read_bytes() == before


def test_a_bug_asks_for_a_report(run, model_file, monkeypatch, tmp_path):
    """An unexpected exception is exit code 70: one line, a file with the traceback, no traceback on the screen."""

    def broken(*_):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_compile", broken)
    code, out, err = run("plan", model_file, "tiny")
    assert (code, out) == (70, "")
    assert "internal error: ZeroDivisionError: two\n" in err
    assert "Traceback" not in err
    (bundle,) = tmp_path.glob("placement-error-*.txt")
    assert str(bundle) in err
    assert "Traceback" in bundle.read_text(encoding="utf-8")


def test_a_calibration_file_must_be_whole(run, model_file, tmp_path):
    """Constants that are missing are named, instead of failing in the middle of the search."""
    (tmp_path / "eff.yaml").write_text("provenance: mine\nvalues: {power: 1.0}\n", encoding="utf-8")
    (tmp_path / "job.yaml").write_text("calibration: eff.yaml\n", encoding="utf-8")
    code, out, err = run("plan", model_file, "tiny", "--job", tmp_path / "job.yaml")
    assert (code, out) == (1, "")
    assert "error[catalog/missing-constant]" in err
    (tmp_path / "eff.yaml").write_bytes((CATALOG / "efficiency.yaml").read_bytes())
    assert run("plan", model_file, "tiny", "--job", tmp_path / "job.yaml", "-o", tmp_path / "p").code == 0
    assert run("verify", tmp_path / "p").code == 0


def test_pins_and_spares_are_read_strictly():
    """Pins are key and value; spare policies know which of them take a count."""
    assert pins(["tp=8", " schedule = 1f1b "]) == {"tp": "8", "schedule": "1f1b"}
    assert spare_policy("racks=8") == Spares("racks", 8)
    assert spare_policy("none") == Spares("none", 0)
    assert spare_policy(None) is None


def test_a_plan_that_the_referee_refuses_is_not_written(run, model_file, monkeypatch, tmp_path):
    """A plan that fails verification is exit code 4 with the broken rules, and leaves no directory."""
    real = command._compile

    def lying(inputs, voice):
        plan = real(inputs, voice)
        return dataclasses.replace(plan, baseline=dataclasses.replace(plan.baseline, mfu=plan.baseline.mfu / 2))

    monkeypatch.setattr(command, "_compile", lying)
    code, out, err = run("plan", model_file, "tiny", "-o", tmp_path / "p")
    assert (code, out) == (4, "")
    assert "error[verify/" in err
    assert not (tmp_path / "p").exists()
    assert run("plan", model_file, "tiny", "-o", tmp_path / "p", "--no-verify").code == 0


def test_verify_command_passes_a_good_plan_and_names_what_is_broken(run, planned):
    """`placement verify DIR` lists its checks; after an edit of plan.json it exits with 4, in text and in JSON."""
    _, folder = planned
    code, out, err = run("verify", folder)
    assert (code, err) == (0, "")
    assert out.rstrip().endswith("checks, all passed")
    path = folder / "plan.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"spare_gpus": 0', '"spare_gpus": 1'), encoding="utf-8")
    code, out, _ = run("verify", folder)
    assert code == 4
    assert "FAILED" in out
    assert "error[verify/plan-digest]" in out
    code, out, _ = run("verify", folder, "--format", "json")
    tree = json.loads(out)
    assert (code, tree["ok"]) == (4, False)
    assert {c["name"] for c in tree["checks"] if not c["ok"]} >= {"plan-digest"}


def test_verify_against_another_topology_is_stale(run, planned, tmp_path):
    """With a node drained since, the plan is stale: exit code 4, and the node is named."""
    _, folder = planned
    now = tmp_path / "now.yaml"
    text = (folder / "inputs" / "topology.yaml").read_text(encoding="utf-8")
    now.write_text(text + "exceptions:\n  - {state: drained, nodes: n1-0}\n", encoding="utf-8")
    code, out, _ = run("verify", folder, "--topology", now)
    assert code == 4
    assert "n1-0" in out
