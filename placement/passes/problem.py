# SPDX-License-Identifier: Apache-2.0
"""The fixed part of a compilation, and what one strategy costs: at best, and under an exact placement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placement.cost.hardware import Hardware, hardware
from placement.cost.ideal import ideal_spans
from placement.cost.layers import LayerCost, layer_cost
from placement.cost.shards import shards_of
from placement.cost.spans import spans_of
from placement.cost.step import step_cost
from placement.cost.traffic import tier_bytes, traffic
from placement.ir import AXES, RECOMPUTE, Candidate, Cluster, Efficiency, Job, ModelGraph, Placement, Spans, Stages, StepCost, Strategy, Traffic
from placement.passes.partition import partition


@dataclass(frozen=True)
class Problem:
    """Everything that is given. `hw`: facts of the GPUs that the job may use."""

    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency
    hw: Hardware


@dataclass(frozen=True)
class Relaxed:
    """A strategy with its stages, priced as if every communicator lay as compactly as any placement could make it.

    `cost.step_s` is a lower bound of the step under every placement of these stages.
    """

    strategy: Strategy
    stages: Stages
    traffic: Traffic
    cost: StepCost


def problem(cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency) -> Problem:
    return Problem(cluster, model, job, efficiency, hardware(cluster))


def relax(task: Problem, strategy: Strategy, layer: LayerCost | None = None, k: int = 0) -> Relaxed | str:
    """Cut the model into stages and price the step on ideal spans; the reason if no stages fit the memory.

    `layer` row `k`: prices of the strategy's shard on ideal spans, where the search has them already.
    """
    spans = _first(ideal_spans(task.cluster, {a: np.array([strategy.size(a)]) for a in AXES}, ragged=task.job.ragged))
    if layer is None:
        layer = _layer(task, strategy, spans)
    stages = partition(task.model, task.job, task.hw, strategy, layer, k)
    if isinstance(stages, str):
        return stages
    strategy = replace(strategy, recompute=max(stages.recompute_P, key=RECOMPUTE.index))
    moved = traffic(task.model, task.job, strategy, stages, layer, k)
    cost = step_cost(task.model, task.job, task.hw, task.efficiency, strategy, stages, spans, layer, k=k)
    return Relaxed(strategy, stages, moved, cost)


def realise(task: Problem, strategy: Strategy, stages: Stages, placement: Placement) -> Candidate:
    """Price a strategy under an exact placement."""
    spans = spans_of(task.cluster, strategy, placement)
    layer = _layer(task, strategy, spans)
    moved = traffic(task.model, task.job, strategy, stages, layer)
    crossing = tier_bytes(task.cluster, strategy, placement, moved)
    cost = step_cost(task.model, task.job, task.hw, task.efficiency, strategy, stages, spans, layer, bytes_tier=crossing)
    return Candidate(strategy, stages, placement, moved, cost)


def _layer(task: Problem, strategy: Strategy, spans: Spans) -> LayerCost:
    return layer_cost(task.model, task.job, task.hw, task.efficiency, shards_of(strategy), spans)


def _first(spans: Spans) -> Spans:
    return Spans(spans.members[0], spans.ring_spB[0], spans.a2a_spB[0])
