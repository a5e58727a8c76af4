# SPDX-License-Identifier: Apache-2.0
# P exchange
"""The model against what was measured on two H200: whole steps, host-bound ones among them, and the exchange of keys."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.compare import host_bound, measured
from placement.cost.context import context
from placement.cost.hardware import Hardware, contiguous_spans
from placement.cost.layers import layer_cost
from placement.cost.shards import shards_of
from placement.ir import Job, Strategy
from placement.passes.accuracy import kendall_tau, report
from placement.passes.predict import predict_run
from placement.spec.catalog import chip, efficiency
from placement.spec.model import lower_short
from placement.spec.nccl_tests import nccl_log

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu" / "results" / "h200-x2-2026-11-28"
TOPOLOGY = "h200-2"


@pytest.fixture(scope="module")
def constants():
    """Calibrated to microbenchmarks of that host; no step was fitted."""
    return efficiency(RESULTS / "constants.yaml")


@pytest.fixture(scope="module")
def steps(constants):
    runs, stages, _ = measured(RESULTS, TOPOLOGY)
    return runs, report(runs, [predict_run(r, constants, s) for r, s in zip(runs, stages, strict=True)])["runs"]


def test_steps_are_as_long_as_measured(steps):
    _, rows = steps
    assert len(rows) == 39
    assert np.median([abs(r["error"]) for r in rows]) < 0.10
    for model in ("dense-1b", "moe-2b"):
        assert kendall_tau([r for r in rows if r["model"] == model]) > 0.7


def test_strategies_that_wait_for_their_host_are_known(steps):
    """Fifteen strategies of small microbatches took up to three times what their kernels take; none is off by half."""
    runs, rows = steps
    waiting = host_bound(runs)
    assert len(waiting) == 15
    assert max(abs(rows[i]["error"]) for i in waiting) < 0.5


MODEL = lower_short({"layers": 2, "hidden": 8192, "heads": 64, "kv_heads": 64, "ffn": 8192, "vocab": 1024})


def exchange_s(tokens: int, cp: int, eff) -> tuple[float, float, float, float]:
    """Of one layer, forward and backward: bytes of keys and values of a rank, seconds of the attention that hides their
    exchange, of what shows of it, and of one hop of the ring.
    """
    hw = Hardware(chip("H200"), 50e9, 8, 8, np.array([1e-6, 5e-6]))
    job, strategy = Job(tokens, 8), Strategy(1, cp, 1, 1, 1, 1, 1, 1, 8, "1f1b", "none", "none")
    spans = contiguous_spans(hw, strategy)
    layer = layer_cost(MODEL, job, hw, eff, shards_of(strategy), spans)
    kind = MODEL.type_B[1]
    held = 2.0 * tokens / cp * 64 * 256
    rate = context(job, hw).peak_bf16[0] * eff["attention_hopper"]
    core = 3.5 * tokens / cp * tokens * 64 * 256 * (1.0 + eff["attention_span"] / tokens) / rate
    return held, core, float(layer.cp_KYD[0, kind].sum()), held / (hw.chip.nvlink_Bps * eff["nvlink_ring"])


def test_keys_and_values_take_as_long_as_the_measured_exchange(constants):
    """Two ranks, attention too short to hide anything: three exchanges, forward once and backward with gradients.

    Each costs what sendrecv of two H200 took for as many bytes, to a quarter.
    """
    log = {p.payload_bytes: p.seconds for p in nccl_log(str(RESULTS / "sendrecv.log"))}
    for bytes_P, seconds in ((b, s) for b, s in log.items() if b >= 1 << 24):
        tokens = int(bytes_P / (2.0 * 64 * 256) * 2)
        held, core, shown, _ = exchange_s(tokens, 2, constants)
        assert held == bytes_P
        assert 3.0 * seconds - core < 1.25 * shown + 1e-4
        assert shown < 1.25 * 3.0 * seconds


def ring_s(ranks: int, core_s: float, hop_s: float) -> float:
    """Ring attention (arXiv 2310.01889), step by step: what attention does not hide, forward and backward.

    Forward, a rank works on one block while the next arrives. Backward, 2.5 times as long, blocks travel with their gradients,
    which go on only when a rank has added its share, and come home after the last one.
    """
    forward, backward = core_s / 3.5 / ranks, core_s * 2.5 / 3.5 / ranks
    clock = forward
    for _ in range(ranks - 1):
        clock += max(forward, hop_s)
    clock += backward
    for _ in range(ranks - 1):
        clock += max(backward, 2.0 * hop_s)
    return clock + hop_s - core_s


@pytest.mark.parametrize("tokens", [1 << 15, 1 << 17])
def test_what_shows_of_the_exchange_is_what_a_ring_shows(tokens):
    """Two to eight ranks on long sequences: within 40 % of the simulated ring each, on average within 15 %."""
    eff = efficiency()
    ratios = []
    for ranks in (2, 4, 8):
        _, core, shown, hop = exchange_s(tokens, ranks, eff)
        ratios.append(np.log(shown / ring_s(ranks, core, hop)))
    assert np.max(np.abs(ratios)) < np.log(1.4)
    assert abs(np.mean(ratios)) < np.log(1.15)
