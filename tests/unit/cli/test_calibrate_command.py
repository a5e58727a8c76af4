# SPDX-License-Identifier: Apache-2.0
"""`placement calibrate` with a user's own measurements, up to a plan that is made with them and verified."""

from __future__ import annotations

import json

import pytest

LOG = """# Collective test starting: all_gather_perf
#  Rank  0 Group  0 Pid   1 on  node-1 device  0 [0000:1b:00] NVIDIA B200
#  Rank  1 Group  0 Pid   2 on  node-1 device  1 [0000:43:00] NVIDIA B200
#       size         count      type   redop    root     time   algbw   busbw #wrong
  4294967296     134217728     float    none      -1   5000.0  858.99  429.50      0
"""


@pytest.fixture
def measured(tmp_path):
    """A log, a sweep, and options that name both."""
    (tmp_path / "gather.log").write_text(LOG, encoding="utf-8")
    (tmp_path / "matmul.csv").write_text("m,n,k,dtype,us\n8192,8192,8192,bf16,800\n", encoding="utf-8")
    return ["--nccl", tmp_path / "gather.log", "--matmul", tmp_path / "matmul.csv", "--topology", "tiny"]


def test_a_plan_is_made_with_what_was_measured_and_verified(run, model_file, measured, tmp_path):
    """The plan names the measurements, carries the constants, and passes the referee without the user's files."""
    found = run("calibrate", *measured, "-o", tmp_path / "mine.yaml", "--format", "json")
    assert found.code == 0, found.err
    errors = json.loads(found.out)["errors"]
    assert errors["collectives"]["after"] < errors["collectives"]["before"]
    assert errors["matmuls"]["after"] < errors["matmuls"]["before"]
    (tmp_path / "job.yaml").write_text("calibration: mine.yaml\n", encoding="utf-8")
    assert run("plan", model_file, "tiny", "--job", tmp_path / "job.yaml", "-o", tmp_path / "out").code == 0
    (tmp_path / "mine.yaml").unlink()
    plan = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    assert plan["efficiency"]["provenance"].endswith("calibrated to gather.log, matmul.csv")
    assert run("verify", tmp_path / "out").code == 0


def test_times_of_a_host_are_taken_as_measured(run, tmp_path):
    """The median of two; an empty step is that of the stack that was measured; what a host is slow at makes a step longer."""
    from placement.spec.catalog import efficiency

    (tmp_path / "host.csv").write_text("what,seconds\nempty_step,0.002\nempty_step,0.004\ndense_layer,0.5\n", encoding="utf-8")
    found = run("calibrate", "--host", tmp_path / "host.csv", "-o", tmp_path / "mine.yaml", "--format", "json")
    assert found.code == 0, found.err
    mine = efficiency(str(tmp_path / "mine.yaml"))
    after = {"step_s": 0.003, "step_mlperf": 1.0, "step_torch": 1.0, "host_dense_s": 0.5}
    assert {name: moved["after"] for name, moved in json.loads(found.out)["constants"].items()} == after
    assert {name: mine[name] for name in after} == after


def test_a_slow_host_shows_in_the_step(run, model_file, tmp_path):
    """Half a second to launch each of four layers, for every microbatch."""
    (tmp_path / "host.csv").write_text("what,seconds\ndense_layer,0.5\n", encoding="utf-8")
    assert run("calibrate", "--host", tmp_path / "host.csv", "-o", tmp_path / "mine.yaml").code == 0
    slow = "calibration: mine.yaml\nsoftware: {year: 2025.0}\n"
    (tmp_path / "job.yaml").write_text(slow, encoding="utf-8")
    found = run("plan", model_file, "tiny", "--job", tmp_path / "job.yaml", "--format", "json", "--effort", "0")
    assert found.code == 0, found.err
    plan = json.loads(found.out)
    layers = 4 / plan["strategy"]["pp"]
    assert plan["predicted"]["step_time_s"] > 0.5 * layers * plan["strategy"]["num_microbatches"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n", 1), ("what,seconds\n", 1), ("what,seconds\nempty_step,0.1\nlunch,3\n", 3),
        ("what,seconds\nempty_step,x\n", 2),
    ],
)  # fmt: skip
def test_what_is_no_time_of_a_host_is_refused(run, tmp_path, text, line):
    """Other columns, no rows, unknown things, words for numbers."""
    (tmp_path / "host.csv").write_text(text, encoding="utf-8")
    found = run("calibrate", "--host", tmp_path / "host.csv", "-o", tmp_path / "mine.yaml")
    assert found.code == 1
    assert f"host.csv:{line}:1" in found.err


def test_everything_wrong_in_any_file_is_told_at_once(run, measured, tmp_path):
    """Lines of two files, and a file that is missing; nothing is written."""
    (tmp_path / "gather.log").write_text(LOG.replace("5000.0", "500.0"), encoding="utf-8")
    (tmp_path / "matmul.csv").write_text("m,n,k,us\n1,1,1,0\n", encoding="utf-8")
    found = run("calibrate", *measured, "--nccl", tmp_path / "none.log", "-o", tmp_path / "mine.yaml")
    assert found.code == 1
    assert all(place in found.err for place in ("gather.log:5:1", "matmul.csv:2:1", "none.log:1:1", "3 errors"))
    assert not (tmp_path / "mine.yaml").exists()


def test_a_sweep_of_other_gpus_is_refused(run, tmp_path):
    """nvfp4 on a Hopper: the topology is another's."""
    (tmp_path / "matmul.csv").write_text("m,n,k,dtype,us\n8192,8192,8192,nvfp4,800\n", encoding="utf-8")
    found = run("calibrate", "--matmul", tmp_path / "matmul.csv", "--topology", "h200-2", "-o", tmp_path / "mine.yaml")
    assert found.code == 1
    assert "nvfp4 was measured, which H200 has no tensor cores for" in found.err
