# SPDX-License-Identifier: Apache-2.0
"""`placement accuracy` and `placement calibrate` on a few invented runs."""

import json

import pytest

from placement.ir import Efficiency
from placement.report.calibration import efficiency_text, residuals
from placement.spec.catalog import efficiency

RUN = """\
- id: {id}
  model: {{key: toy, name: Toy, seq_len: 4096, kind: dense, layers: 8, hidden: 4096, ffn: 16384, heads: 32,
    kv_heads: 8, head_dim: 128, vocab: 32000, gated_mlp: true, tied_embeddings: false, params_total_b: 2.2}}
  task: pretrain
  hardware: {hardware}
  nvlink_domain: 8
  n_gpus: 8
  precision: bf16
  tp: {tp}
  pp: 1
  cp: 1
  gbs: 64
  mbs: 1
  recompute: none
  software: Megatron-LM
  release: '2025-06'
  core: true
  measured: {{step_time_s: {step_s}, tokens_per_s_per_gpu: null, tflops_per_gpu: null, mfu: null}}
"""


@pytest.fixture
def runs_file(tmp_path):
    """Three runs: one to compare, one without a step time, one on hardware that nobody knows."""
    path = tmp_path / "runs.yaml"
    texts = [
        RUN.format(id=i, hardware=h, tp=2, step_s=s)
        for i, h, s in (("good", "H100", 2.0), ("mute", "H100", "null"), ("odd", "Z9", 1.0))
    ]
    path.write_text("".join(texts), encoding="utf-8")
    return path


def test_accuracy_json_contract(run, runs_file):
    """Every run is listed, in order, with a prediction or a reason; pairs and a summary follow."""
    code, out, _ = run("accuracy", runs_file, "--format", "json")
    tree = json.loads(out)
    assert code == 0
    assert {"total", "runs", "pairs", "summary", "format_version"} <= set(tree)
    assert (tree["total"], [r["id"] for r in tree["runs"]]) == (3, ["good", "mute", "odd"])
    keys = {"id", "model", "hardware", "core", "measured_step_time_s", "predicted_step_time_s", "reason"}
    assert all(keys <= set(r) for r in tree["runs"])
    good, mute, odd = tree["runs"]
    assert good["predicted_step_time_s"] > 0
    assert mute["measured_step_time_s"] is None
    assert odd["predicted_step_time_s"] is None
    assert odd["reason"]
    assert [(p["model"], p["hardware"]) for p in tree["pairs"]] == [("toy", "H100")]


def test_accuracy_text_drops_nothing(run, runs_file):
    """On the screen each run is either compared or listed with its reason."""
    code, out, err = run("accuracy", runs_file)
    assert (code, err) == (0, "")
    compared, rest = out.split("2 runs of 3 not compared:")
    assert "good" in compared
    assert "mute" in rest
    assert "odd" in rest
    assert "error over pairs" in rest


def test_calibrate_needs_runs_that_it_can_use(run, tmp_path):
    """Runs without steps can't be fitted: exit code 1, nothing written."""
    path, out = tmp_path / "runs.yaml", tmp_path / "eff.yaml"
    path.write_text(RUN.format(id="mute", hardware="H100", tp=2, step_s="null"), encoding="utf-8")
    code, _, err = run("calibrate", "--runs", path, "-o", out)
    assert code == 1
    assert "error[runs/nothing-to-fit]" in err
    assert not out.exists()


def test_a_calibration_file_reads_back(tmp_path):
    """Constants survive writing and reading to five digits; residuals are kept for readers only."""
    score = {"pairs": 1, "runs": 2, "median": 0.05, "mean": 0.06, "p90": None}
    report = {"fit": {"core": score, "all": score}, "left_out": {"pair": {"core": score}}}
    values = {name: value * 1.000001234 for name, value in efficiency().values.items()}
    path = tmp_path / "eff.yaml"
    path.write_text(efficiency_text(Efficiency(values, 'a "quoted" name'), report), encoding="utf-8")
    back = efficiency(path)
    assert back.provenance == 'a "quoted" name'
    assert back.values == pytest.approx(values, rel=1e-4)
    assert residuals(report) == {
        "fitted_core_median": 0.05, "fitted_core_mean": 0.06, "fitted_all_median": 0.05, "fitted_all_mean": 0.06,
        "pair_left_out_core_median": 0.05, "pair_left_out_core_mean": 0.06,
    }  # fmt: skip
