# SPDX-License-Identifier: Apache-2.0
"""Calibration recovers constants from steps that were made with them, and says what the fit leaves."""

import dataclasses

import numpy as np
import pytest

from placement.ir import Efficiency
from placement.passes.calibrate import calibrate, descend
from placement.passes.predict import predict_run
from placement.report.calibration import efficiency_text
from placement.spec.catalog import priors, to_efficiency
from placement.spec.runs import read_run
from placement.spec.source import parse

BASE = {"kind": "dense", "seq_len": 4096, "heads": 32, "vocab": 32000}
SHAPES = [(16, 2048, 8192), (24, 4096, 16384), (32, 8192, 28672)]


def rows():
    """Three sizes on two generations, some with stages."""
    for layers, hidden, ffn in SHAPES:
        model = BASE | {"key": f"m{hidden}", "layers": layers, "hidden": hidden, "ffn": ffn}
        for hardware in ("H100", "GB200"):
            for pp in (1, 4):
                yield {
                    "id": f"{hidden}-{hardware}-{pp}",
                    "model": model,
                    "hardware": hardware,
                    "n_gpus": 64,
                    "gbs": 512,
                    "tp": 4,
                    "pp": pp,
                    "precision": "bf16",
                    "software_date": "2026-03",
                    "core": True,
                }


def measured(truth: Efficiency):
    runs = [read_run(row, i) for i, row in enumerate(rows())]
    return [dataclasses.replace(r, measured_step_s=predict_run(r, truth).step_s) for r in runs]


def test_calibration_recovers_the_constants_that_made_the_steps():
    """Matmuls of Hopper 12 % faster, of Blackwell 12 % slower than the priors: found within 4 %, steps within 2 %."""
    prior = priors()
    changed = {"matmul_hopper_bf16": 1.12, "matmul_blackwell_bf16": 0.88}
    truth = Efficiency({k: p.value * changed.get(k, 1.0) for k, p in prior.items()}, "made up")
    found, report = calibrate(measured(truth), prior, crossed=False)
    for name in changed:
        assert found[name] == pytest.approx(truth[name], rel=0.04)
    assert report["fit"]["core"]["p90"] < 0.02
    assert report["constants"]["matmul_hopper_bf16"]["moved"] > 0


def test_a_calibration_file_is_read_back_as_it_was_written():
    """Text of an efficiency file: the same constants to five digits, with provenance."""
    prior = priors()
    truth = Efficiency({k: p.value for k, p in prior.items()}, "made up")
    found, report = calibrate(measured(truth)[:2], prior, crossed=False, provenance="two made-up runs")
    back = to_efficiency(parse(efficiency_text(found, report), room="catalog"))
    assert back.provenance == "two made-up runs"
    assert all(back[k] == pytest.approx(found[k], rel=1e-4) for k in prior)


def test_nothing_to_fit_is_an_error():
    """No run with a measured step: a clear error instead of constants that mean nothing."""
    with pytest.raises(ValueError, match="no run"):
        calibrate([read_run({"id": "x"}, 0)], priors())


def test_descent_finds_the_minimum_of_a_small_problem():
    """Least squares of two residuals with known zero."""
    x, cost = descend(lambda x: np.array([x[0] - 1.0, 10.0 * (x[1] - x[0] ** 2)]), np.array([0.5, 0.0]), np.ones(2), 60)
    assert cost < 1e-8
    assert np.allclose(x, 1.0, atol=1e-3)
