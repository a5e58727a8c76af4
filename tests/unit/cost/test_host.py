# SPDX-License-Identifier: Apache-2.0
"""A GPU waits for a host that launches more slowly than it works, and for no other."""

import dataclasses

import numpy as np
import pytest

from placement.cost.hardware import Hardware, contiguous_spans
from placement.cost.host import later
from placement.cost.layers import layer_cost
from placement.cost.shards import shards_of
from placement.cost.step import step_cost
from placement.ir import Job, Software, Strategy
from placement.passes.layout import usual_stages
from placement.spec.catalog import chip, efficiency
from placement.spec.model import lower_short

EFF = efficiency()
SHAPE = {"layers": 4, "hidden": 1024, "heads": 8, "ffn": 4096, "vocab": 1024}
DENSE = lower_short(SHAPE)
ROUTED = lower_short(SHAPE | {"experts": 32, "topk": 2, "moe_ffn": 512})
ONE = Strategy(1, 1, 1, 1, 1, 1, 1, 1, 8, "1f1b", "none", "none")


def hw(name: str = "H100") -> Hardware:
    return Hardware(chip(name), 50e9, 8, 8, np.array([1e-6, 5e-6]))


def job(
    tokens: int, stack: str = "megatron", year: float = 2026.0, precision: str = "bf16", graphs: bool = False
) -> Job:  # fmt: skip
    return Job(tokens, 8, precision, software=Software(stack, year, graphs=graphs))


def layer_s(model, tokens: int, strategy: Strategy = ONE, name: str = "H100", **software) -> float:
    """Seconds of the first layer, forward and backward."""
    given, hardware = job(tokens, **software), hw(name)
    cost = layer_cost(model, given, hardware, EFF, shards_of(strategy), contiguous_spans(hardware, strategy))
    return float(cost.total_KYD[0, model.type_B[1]].sum())


def step_s(tokens: int, strategy: Strategy, **software) -> float:
    given, hardware = job(tokens, **software), hw()
    given = dataclasses.replace(given, global_batch=8 * strategy.dp)
    spans = contiguous_spans(hardware, strategy)
    layer = layer_cost(DENSE, given, hardware, EFF, shards_of(strategy), spans)
    return step_cost(DENSE, given, hardware, EFF, strategy, usual_stages(DENSE, strategy, tokens), spans, layer).step_s


def test_the_longer_of_both_sets_the_pace():
    pace = later(np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.5, 3.0, 2.0]))
    assert pace == pytest.approx([1.0, 1.0, 3.0, 2.0], rel=1e-3)
    assert later(np.array(1.0), np.array(1.0)) == pytest.approx(2.0**0.125)


def test_a_short_microbatch_takes_what_its_host_takes():
    """Twice the tokens cost nothing while the host is behind; later they cost twice as much."""
    assert layer_s(DENSE, 128) == pytest.approx(EFF["host_dense_s"], rel=1e-3)
    assert layer_s(DENSE, 256) == pytest.approx(layer_s(DENSE, 128), rel=1e-2)
    assert layer_s(DENSE, 1 << 17) > 1.9 * layer_s(DENSE, 1 << 16)


def test_graphs_launch_whole_layers():
    """MLPerf's stacks, those of Blackwell since the spring of 2026, and any that says so: as short as their kernels."""
    assert layer_s(ROUTED, 128, stack="mlperf") < 0.5 * layer_s(ROUTED, 128)
    assert layer_s(ROUTED, 128, graphs=True) < 0.5 * layer_s(ROUTED, 128)
    assert layer_s(DENSE, 128, name="GB300", year=2026.9) < 0.2 * layer_s(DENSE, 128, name="GB300", year=2025.9)


def test_experts_are_launched_one_by_one_and_more_often_below_bf16():
    eight = dataclasses.replace(ONE, ep=8, dp=8)
    saved = layer_s(ROUTED, 128) - layer_s(ROUTED, 128, eight)
    assert saved == pytest.approx(28 * EFF["host_expert_s"], rel=0.05)
    assert layer_s(ROUTED, 128, precision="fp8") > 1.5 * layer_s(ROUTED, 128)


def test_hooks_of_fsdp_and_dtensor_take_time_of_the_host():
    """Eight microbatches of four layers, each layer with its hooks; graphs do not spare them."""
    two = dataclasses.replace(ONE, dp=2)
    gathered = dataclasses.replace(two, sharding="fsdp")
    more = step_s(128, gathered, stack="torchtitan") - step_s(128, two, stack="torchtitan")
    assert more == pytest.approx(8 * 4 * EFF["host_fsdp_s"], rel=0.1)
    assert step_s(128, gathered, stack="mlperf") > 8 * 4 * EFF["host_fsdp_s"]
    assert step_s(1 << 17, gathered) == pytest.approx(step_s(1 << 17, two), rel=0.02)
    split = dataclasses.replace(ONE, tp=2)
    plain = layer_s(DENSE, 128, stack="torchtitan")
    assert layer_s(DENSE, 128, split, stack="torchtitan") == pytest.approx(EFF["host_dtensor"] * plain, rel=0.05)
