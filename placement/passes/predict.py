# SPDX-License-Identifier: Apache-2.0
"""Predict one published run by the same functions that price a plan: layer cost, simulated pipeline, whole step."""

from __future__ import annotations

from placement.cost.hardware import contiguous_spans, hardware
from placement.cost.layers import layer_cost
from placement.cost.shards import shards_of
from placement.cost.step import step_cost
from placement.ir import Efficiency, Run, Stages, StepCost
from placement.passes.layout import usual_stages


def predict_run(run: Run, eff: Efficiency, stages: Stages | None = None) -> StepCost:
    """Cost of a step of a run that can be expressed (`run.reason` is None), ranks laid on GPUs in order."""
    assert run.cluster is not None and run.model is not None and run.job is not None and run.strategy is not None
    hw = hardware(run.cluster)
    spans = contiguous_spans(hw, run.strategy)
    layer = layer_cost(run.model, run.job, hw, eff, shards_of(run.strategy), spans)
    cut = stages or usual_stages(run.model, run.strategy, run.job.seq_len)
    return step_cost(run.model, run.job, hw, eff, run.strategy, cut, spans, layer, recompute_share=run.recompute_share)
