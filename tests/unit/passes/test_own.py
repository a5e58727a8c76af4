# SPDX-License-Identifier: Apache-2.0
"""A user's own measurements: read, fitted near the constants in force, and told."""

import dataclasses

import numpy as np
import pytest

from placement.cost.hardware import hardware
from placement.diag import InputError
from placement.ir import CollectivePoint, MatmulPoint
from placement.passes.own import collective_s, fit_collectives, fit_matmuls, fit_steps, matmul_s, own_report
from placement.passes.predict import predict_run
from placement.report.calibration import own_screen, own_text
from placement.spec.catalog import chip, efficiency, priors, to_efficiency
from placement.spec.measurements import matmul_sweep
from placement.spec.nccl_tests import nccl_log
from placement.spec.runs import read_run
from placement.spec.source import parse
from placement.spec.synthetic import synthetic_cluster

LOG = """# nThread 1 nGpus 1 minBytes 8 maxBytes 17179869184 step: 2(factor) warmup iters: 5 iters: 20
# Using devices
#  Rank  0 Group  0 Pid   1 on  node-1 device  0 [0000:1b:00] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid   2 on  node-1 device  1 [0000:43:00] NVIDIA H100 80GB HBM3
#  Rank  2 Group  0 Pid   3 on  node-2 device  0 [0000:1b:00] NVIDIA H100 80GB HBM3
#  Rank  3 Group  0 Pid   4 on  node-2 device  1 [0000:43:00] NVIDIA H100 80GB HBM3
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
   536870912     134217728     float     sum      -1   5000.0  107.4  161.1      0   5001.0  107.3  161.0      0
  1073741824     268435456     float     sum      -1   9900.5  108.5  162.7      0   9901.0  108.4  162.6      0
# Avg bus bandwidth    : 161.9
"""


@pytest.fixture
def hw():
    return hardware(synthetic_cluster(chip("H100"), 64, 8, 50e9))


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv"])
def test_a_log_is_read_by_what_it_or_its_name_says(tmp_path, name):
    """Bytes, out-of-place seconds, ranks and hosts of every row."""
    (tmp_path / f"{name}_perf.log").write_text(LOG)
    points = nccl_log(str(tmp_path / f"{name}_perf.log"))
    assert points == [
        CollectivePoint(name, 536870912.0, pytest.approx(5e-3), 4, 2),
        CollectivePoint(name, 1073741824.0, pytest.approx(9.9005e-3), 4, 2),
    ]


@pytest.mark.parametrize("text", ["", "nothing here", LOG.partition("#       size")[0], LOG.replace("# ", "")])
def test_what_is_no_log_is_refused(tmp_path, text):
    """An error with the file's name, not a traceback and not an empty fit."""
    (tmp_path / "all_reduce.log").write_text(text)
    with pytest.raises(InputError) as caught:
        nccl_log(str(tmp_path / "all_reduce.log"))
    assert caught.value.diagnostics[0].name == "calibrate/unreadable"


def test_a_sweep_is_read_in_any_of_three_units(tmp_path):
    """Seconds, microseconds or TFLOP/s; the precision by its common names."""
    (tmp_path / "a.csv").write_text("m,n,k,precision,seconds\n4096,4096,4096,bf16,0.001\n")
    (tmp_path / "b.csv").write_text("M, N, K, dtype, us\n4096,4096,4096,bfloat16,1000\n")
    (tmp_path / "c.csv").write_text(f"m,n,k,tflops\n4096,4096,4096,{2 * 4096**3 / 1e-3 / 1e12}\n")
    found = [matmul_sweep(str(tmp_path / f))[0] for f in ("a.csv", "b.csv", "c.csv")]
    assert all(p.seconds == pytest.approx(1e-3) and p.precision == "bf16" and p.m == 4096 for p in found)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [1]), ("a,b\n1,2\n", [1]), ("m,n,k,seconds\n", [1]), ("m,n,k,seconds\n1,2,x,3\n1,2,3,4\n1,2,3,0\n", [2, 4]),
        ("m,n,k,precision,us\n1,1,1,int3,4\n", [2]), ("m,n,k,precision,us\n1,1,1,bf16\n", [2]), ("m,n,k,us\n1,1,1,inf\n", [2]),
    ],
)  # fmt: skip
def test_what_is_no_sweep_is_refused(tmp_path, text, lines):
    """Missing columns, no rows, words for numbers, zeros, unknown precisions: each with its line, all at once."""
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        matmul_sweep(str(tmp_path / "s.csv"))
    assert [d.primary.span.line for d in caught.value.diagnostics] == lines


def test_collectives_move_the_bandwidths_that_they_measure(hw):
    """Points made with a slower ring and NIC are fitted to 2 %, and constants of other hardware stay."""
    eff = efficiency()
    truth = dataclasses.replace(eff, values={**eff.values, "nvlink_ring": 0.6, "nic_ring": 0.7})
    ask = [
        CollectivePoint(kind, size, 1.0, n, max(1, n // 8))
        for kind in ("all_gather", "reduce_scatter")
        for size in (2**28, 2**32)
        for n in (8, 64)
    ]
    points = [dataclasses.replace(p, seconds=float(s)) for p, s in zip(ask, collective_s(ask, hw, truth), strict=True)]
    found = fit_collectives(points, hw, eff)
    assert np.allclose(collective_s(points, hw, found), [p.seconds for p in points], rtol=0.02)
    assert found["nvls_blackwell"] == pytest.approx(eff["nvls_blackwell"], rel=1e-3)


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "alltoall", "sendrecv"])
def test_every_collective_takes_longer_across_hosts(hw, kind):
    """The same payload a rank, eight ranks of one host against 64 of eight."""
    inside, outside = collective_s(
        [CollectivePoint(kind, 1e9, 1.0, 8, 1), CollectivePoint(kind, 1e9, 1.0, 64, 8)], hw, efficiency()
    )
    assert 0 < inside < outside


def test_matmuls_move_their_precision_only(hw):
    """A sweep made 10 % faster in bf16 is found, and fp8 stays."""
    eff = efficiency()
    truth = dataclasses.replace(eff, values={**eff.values, "matmul_hopper_bf16": eff["matmul_hopper_bf16"] * 1.1})
    ask = [MatmulPoint(m, 8192, 8192, "bf16", 1.0) for m in (2048, 8192, 32768)]
    points = [dataclasses.replace(p, seconds=float(s)) for p, s in zip(ask, matmul_s(ask, hw, truth), strict=True)]
    found = fit_matmuls(points, hw, eff)
    assert np.allclose(matmul_s(points, hw, found), [p.seconds for p in points], rtol=0.01)
    assert found["matmul_hopper_fp8"] == eff["matmul_hopper_fp8"]


def test_own_steps_move_predictions_of_the_same_cluster(tmp_path):
    """Three steps that are 8 % slower than predicted: a fourth configuration is predicted better than before."""
    eff = efficiency()
    model = {
        "key": "m",
        "kind": "dense",
        "seq_len": 4096,
        "heads": 32,
        "vocab": 32000,
        "layers": 32,
        "hidden": 4096,
        "ffn": 16384,
    }
    row = {"model": model, "hardware": "H100", "n_gpus": 64, "gbs": 512, "precision": "bf16", "software_date": "2026-03"}
    made = [read_run(row | {"id": str(tp), "tp": tp, "pp": pp}, 0) for tp, pp in ((1, 1), (2, 1), (4, 2), (8, 1))]
    mine = [dataclasses.replace(r, measured_step_s=1.08 * predict_run(r, eff).step_s) for r in made]
    found = fit_steps(mine[:3], priors(), eff)

    def error(e) -> float:
        return abs(predict_run(mine[3], e).step_s / mine[3].measured_step_s - 1)

    assert error(found) < 0.6 * error(eff)
    report = own_report(eff, found, None, [], [], mine[:3])
    assert report["errors"]["steps"]["after"] < report["errors"]["steps"]["before"]
    assert "steps" in own_screen(report)
    back = to_efficiency(parse(own_text(found, ["mine.yaml"]), room="catalog"))
    assert back.provenance.endswith("calibrated to mine.yaml")
    assert back.scope == eff.scope
    assert all(back[name] == pytest.approx(value, rel=1e-4) for name, value in found.values.items())


def test_nothing_measured_changes_nothing(hw):
    """No points, no rows, no runs: the constants that are in force."""
    eff = efficiency()
    assert fit_collectives([], hw, eff) is fit_matmuls([], hw, eff) is fit_steps([], priors(), eff) is eff
