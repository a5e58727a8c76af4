# SPDX-License-Identifier: Apache-2.0
"""The cost model against published training runs. Skipped where the collection is not beside the checkout."""

from pathlib import Path

import numpy as np
import pytest

from placement.ir import RECOMPUTE
from placement.passes.accuracy import accuracy
from placement.passes.batch import batch_of, predict
from placement.passes.calibrate import with_simulation
from placement.spec.catalog import efficiency
from placement.spec.runs import load_runs

PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "measured_runs" / "public.yaml"
pytestmark = pytest.mark.skipif(not PUBLIC.exists(), reason=f"no published runs at {PUBLIC}")


@pytest.fixture(scope="module")
def runs():
    return load_runs(PUBLIC)


@pytest.fixture(scope="module")
def report(runs):
    return accuracy(runs, efficiency())


def test_every_run_of_the_public_set_is_predicted(report):
    """No row is dropped and none lacks a prediction; each has the keys that other programs read."""
    assert report["total"] == len(report["runs"]) == 237
    assert all(r["predicted_step_time_s"] is not None and r["reason"] is None for r in report["runs"])
    assert {"id", "model", "hardware", "core", "measured_step_time_s", "predicted_step_time_s", "reason"} <= set(
        report["runs"][0]
    )


def test_errors_over_pairs_are_as_small_as_the_fit_left_them(report):
    """Mean absolute error of a (model, hardware) pair: median and 90th percentile, core and everything."""
    core, everything = report["summary"]["core"], report["summary"]["all"]
    assert core["pairs"] == 49
    assert core["median"] <= 0.04
    assert core["p90"] <= 0.12
    assert everything["pairs"] == 62
    assert everything["median"] <= 0.05


def test_layouts_of_one_model_are_ranked_as_measured(report):
    """Kendall's tau of throughput where a pair has four configurations or more."""
    by_kind = report["summary"]["core_by_kind"]
    assert by_kind["dense"]["kendall_tau"] >= 0.9
    assert by_kind["moe"]["kendall_tau"] >= 0.6


def test_the_breakdown_of_every_run_is_its_step(report):
    """Parts sum to the predicted step."""
    for run in report["runs"]:
        assert sum(run["breakdown_s"].values()) == pytest.approx(run["predicted_step_time_s"])


def test_the_fast_path_of_the_fit_is_the_path_of_a_plan(runs, report):
    """Runs priced together, their pipelines scaled to simulation, agree with runs priced one by one like plans."""
    batch = with_simulation(batch_of(runs), efficiency())
    one_by_one = np.array([r["predicted_step_time_s"] for r in report["runs"]])
    assert np.allclose(predict(batch, efficiency()), one_by_one, rtol=0.005)
    assert {r.strategy.recompute for r in runs} <= set(RECOMPUTE)


def test_hiding_expert_communication_helps_as_much_as_published(report):
    """Qwen3-30B-A3B on 16 H100: 24.71 s without overlap of experts, 20.99 s with it (Megatron-Bridge skill page)."""
    step = {r["id"]: r["predicted_step_time_s"] for r in report["runs"] if r["id"].startswith("skill-ep-overlap")}
    off = next(v for k, v in step.items() if "overlap-off" in k)
    on = next(v for k, v in step.items() if "overlap-on" in k)
    assert 0.5 < (1 - on / off) / (1 - 20.992 / 24.7138) < 2.0
