# SPDX-License-Identifier: Apache-2.0
"""The fixed part of a compilation, and what one strategy costs: at best, and under an exact placement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placement.cost.cells import WHOLE, cell_size, kept_cell
from placement.cost.hardware import Hardware, hardware
from placement.cost.ideal import ideal_spans, kept_spans
from placement.cost.layers import LayerCost, layer_cost
from placement.cost.shards import shards_of
from placement.cost.spans import spans_of
from placement.cost.step import step_cost
from placement.cost.thin import least_edges, lying
from placement.cost.traffic import tier_bytes, traffic
from placement.diag import Infeasible
from placement.ir import (
    AXES,
    RECOMPUTE,
    Candidate,
    Cluster,
    Efficiency,
    Job,
    ModelGraph,
    Placement,
    Spans,
    Stages,
    StepCost,
    Strategy,
    Traffic,
)
from placement.ir._array import Floats, Ints
from placement.passes.choice import TIE, Price
from placement.passes.partition import partition
from placement.passes.place import place


@dataclass(frozen=True)
class Problem:
    """Everything that is given. `hw`: facts of the GPUs that the job may use.

    `keep`: what the strategies looked at keep in one NVLink domain (`cells.cell_sizes`), and no more than that.
    """

    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency
    hw: Hardware
    keep: int = WHOLE


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


def relax(
    task: Problem, strategy: Strategy, layer: LayerCost | None = None, k: int = 0, *, across: bool = True
) -> Relaxed | str:  # fmt: skip
    """Cut the model into stages and price the step on ideal spans; the reason if no stages fit the memory.

    `layer` row `k`: prices of the strategy's shard on ideal spans, where the search has them already. Without `across` thin
    tiers count as if the job fitted any of their groups, and every stage boundary as the cheapest.
    """
    spans = _ideal(task, strategy) if across else _alike(_ideal(task, strategy))
    if layer is None:
        layer = _layer(task, strategy, spans)
    stages = partition(task.model, task.job, task.hw, strategy, layer, k)
    if isinstance(stages, str):
        return stages
    strategy = replace(strategy, recompute=max(stages.recompute_P, key=RECOMPUTE.index))
    moved = traffic(task.model, task.job, strategy, stages, layer, k)
    return Relaxed(strategy, stages, moved, _least_cost(task, strategy, stages, spans, layer, k, across))


def _ideal(task: Problem, strategy: Strategy) -> Spans:
    """Spans that no placement can beat that keeps cells as the search does."""
    degrees, ragged = {a: np.array([strategy.size(a)]) for a in AXES}, task.job.ragged
    cell = cell_size(task.cluster, strategy, ragged, task.keep)
    return _one(kept_spans(task.cluster, degrees, task.keep, ragged=ragged), least_edges(task.cluster, strategy, cell, ragged))


def _one(spans: Spans, edges: Floats) -> Spans:
    return Spans(spans.members[0], spans.ring_spB[0], spans.a2a_spB[0], some_spB=edges)


def _alike(spans: Spans) -> Spans:
    """Ideal spans with every stage boundary at the price of the cheapest."""
    assert spans.some_spB is not None
    return replace(spans, some_spB=np.full(len(spans.some_spB), spans.some_spB.min(initial=np.inf)))


def _least_cost(
    task: Problem, strategy: Strategy, stages: Stages, spans: Spans, layer: LayerCost, k: int, across: bool
) -> StepCost:  # fmt: skip
    """The step on ideal spans; `across` the thinnest tier in the way that costs least there."""

    def cost(lie: Spans) -> StepCost:
        return step_cost(task.model, task.job, task.hw, task.efficiency, strategy, stages, lie, layer, k=k)

    cell = cell_size(task.cluster, strategy, task.job.ragged, task.keep)
    tiers = lying(task.cluster, strategy, spans, cell, ragged=task.job.ragged) if across else []
    return max((min(map(cost, lies), key=_step_s) for lies in [[spans], *tiers]), key=_step_s)


def _step_s(cost: StepCost) -> float:
    return cost.step_s


@dataclass(frozen=True)
class Pace:
    """A pipeline of one shape (schedule, pp, vpp, microbatches), cut for one set of block times.

    A makespan is the longest path, so it grows with every time and scales with all of them: block times that are nowhere
    less than `a` times these cannot be cut into a pipeline that is shorter than `a` times this one. Where some blocks are
    quicker than that, a path loses no more than what they lack, once a microbatch.
    """

    seconds: float
    num_microbatches: int
    time_YD: Floats
    again_YC: Floats
    count_Y: Ints
    edge_bytes: float

    def least_s(self, layer: LayerCost, k: int) -> float:
        """Least pipeline seconds of row `k` of `layer`: the best of taking any block type for the measure."""
        if np.isinf(self.seconds):
            return np.inf
        time_YD, edge = layer.total_KYD[k], float(layer.edge_K[k]) / self.edge_bytes
        alpha_A = np.minimum((time_YD / np.maximum(self.time_YD, 1e-30)).min(axis=1), edge)
        lack_AYD = np.maximum(alpha_A[:, None, None] * self.time_YD - time_YD, 0.0)
        lack_AYC = np.maximum(alpha_A[:, None, None] * self.again_YC - layer.recompute_KYC[k], 0.0)
        lack_AY = lack_AYD.sum(axis=2) + lack_AYC.max(axis=2)
        return float((alpha_A * self.seconds - self.num_microbatches * lack_AY @ self.count_Y).max())


def pace(task: Problem, strategy: Strategy, layer: LayerCost, k: int) -> Pace:
    """The pace of a strategy's shape without a memory limit, at the block times of row `k`."""
    roomy = replace(task, hw=replace(task.hw, chip=replace(task.hw.chip, hbm_bytes=np.inf)))
    return _pace_of(task, relax(roomy, replace(strategy, recompute="none"), layer, k, across=False), layer, k)


def lean_pace(task: Problem, strategy: Strategy, layer: LayerCost, k: int) -> Pace:
    """The pace of a strategy under the memory limit if its dense weights were sharded over a whole domain for nothing.

    It bounds every strategy that differs in gtp, or in how its slices of tokens come about (cp or micro_batch): none of
    those needs less memory or less time.
    """
    row = layer.row(k)
    share = strategy.gtp / max(task.hw.domain_gpus, strategy.gtp)
    lean = replace(row, dense_KY=row.dense_KY * share, gtp_KYD=np.zeros_like(row.gtp_KYD))
    return _pace_of(task, relax(task, replace(strategy, gtp=1), lean, across=False), lean, 0)


def _pace_of(task: Problem, found: Relaxed | str, layer: LayerCost, k: int) -> Pace:
    """The pace that was found, infinite where no stages fit the memory."""
    seconds, num_microbatches = np.inf, 1
    if isinstance(found, Relaxed):
        parts = found.cost.parts_s
        seconds = found.cost.step_s - parts["dp"] - parts["optimizer"] - parts["overhead"]
        num_microbatches = found.strategy.num_microbatches
    edge = float(layer.edge_K[k])
    return Pace(seconds, num_microbatches, layer.total_KYD[k], layer.recompute_KYC[k], task.model.count_Y, edge)


def realise(task: Problem, strategy: Strategy, stages: Stages, placement: Placement) -> Candidate:
    """Price a strategy under an exact placement."""
    task = replace(task, hw=paced(task.cluster, task.hw, placement))
    spans = spans_of(task.cluster, strategy, placement)
    layer = _layer(task, strategy, spans)
    moved = traffic(task.model, task.job, strategy, stages, layer)
    crossing = tier_bytes(task.cluster, strategy, placement, moved)
    cost = step_cost(
        task.model, task.job, task.hw, task.efficiency, strategy, stages, spans, layer,
        slow_P=slowness(task.cluster, strategy, placement), bytes_tier=crossing,
    )  # fmt: skip
    return Candidate(strategy, stages, placement, moved, cost)


def price_of(task: Problem, strategy: Strategy, stages: Stages, enough: float = 0.0) -> Price:
    """Prices placements of a strategy by its whole step; one that takes `enough` seconds or less ends the search for others."""

    def step_s(placement: Placement) -> float:
        own = replace(task, hw=paced(task.cluster, task.hw, placement))
        spans, layer = priced(own, strategy, placement)
        slow_P = slowness(task.cluster, strategy, placement)
        return step_cost(task.model, task.job, own.hw, task.efficiency, strategy, stages, spans, layer, slow_P=slow_P).step_s

    return Price(step_s, enough)


def placement_floor_s(task: Problem, strategy: Strategy, stages: Stages, cell: int) -> float:
    """Seconds that a step of these stages takes under every placement (that keeps cells of so many ranks, if any): on spans
    that none can beat, with every stage boundary at the price of the cheapest, as the referee derives it again.
    """
    degrees, ragged = {a: np.array([strategy.size(a)]) for a in AXES}, task.job.ragged
    known_S = np.array([cell]) if cell else None
    found = ideal_spans(task.cluster, degrees, cells=cell > 0, ragged=ragged, cell_S=known_S)
    edges = least_edges(task.cluster, strategy, max(cell, 1), ragged or not cell)
    spans = _alike(_one(found, edges))
    return _least_cost(task, strategy, stages, spans, _layer(task, strategy, spans), 0, across=False).step_s


def paced(cluster: Cluster, hw: Hardware, placement: Placement) -> Hardware:
    """Hardware at the NVLink bandwidth of the weakest domain in use: a step waits for it."""
    if cluster.nvlink_J is None:
        return hw
    left = float(cluster.nvlink_J[cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node]].min())
    return hw if left == 1.0 else replace(hw, chip=replace(hw.chip, nvlink_Bps=hw.chip.nvlink_Bps * left))


def slowness(cluster: Cluster, strategy: Strategy, placement: Placement) -> Floats:
    """How much longer each stage computes: it waits for the slowest of its nodes. (P,)"""
    speed_PR = cluster.speed_N[placement.gpu_R // cluster.gpus_per_node].reshape(strategy.pp, -1)
    return np.asarray(1.0 / np.maximum(speed_PR.min(axis=1), 1e-9))


def priced(task: Problem, strategy: Strategy, placement: Placement) -> tuple[Spans, LayerCost]:
    """Spans of an exact placement, and the layers on them."""
    spans = spans_of(task.cluster, strategy, placement)
    return spans, _layer(task, strategy, spans)


def _layer(task: Problem, strategy: Strategy, spans: Spans) -> LayerCost:
    return layer_cost(task.model, task.job, task.hw, task.efficiency, shards_of(strategy), spans)


NEAR = 1e-4  # what another placement could still gain, when it is not worth looking at
DEEP = 5_000_000  # candidate x node steps that polishing may simulate: about a second


def polish(task: Problem, found: Candidate) -> Candidate:
    """The same strategy, placed by structure and with stages cut more carefully than the search had time for; never slower."""
    enough = placement_floor_s(task, found.strategy, found.stages, kept_cell(task.cluster, found.strategy, task.job))
    price = price_of(task, found.strategy, found.stages, enough * (1.0 + NEAR))
    try:
        placement = place(task.cluster, found.strategy, found.traffic, task.job, price=price)
    except Infeasible:  # structure crosses rails that are apart; the order that was found does not
        return _recut(task, found)
    placed = realise(task, found.strategy, found.stages, placement)
    parted = kept_cell(task.cluster, found.strategy, task.job) < cell_size(task.cluster, found.strategy, task.job.ragged)
    return _recut(task, placed if parted or placed.cost.step_s <= found.cost.step_s * (1.0 + TIE) else found)


def _recut(task: Problem, found: Candidate) -> Candidate:
    """Stages from a deeper search around the same placement, if they are faster."""
    layer = _layer(task, found.strategy, spans_of(task.cluster, found.strategy, found.placement))
    choice = len(task.job.recompute) > 1 and "recompute" not in task.job.pins
    free = replace(found.strategy, recompute="auto" if choice else found.strategy.recompute)
    stages = partition(task.model, task.job, task.hw, free, layer, refine=DEEP)
    if isinstance(stages, str):
        return found
    strategy = replace(found.strategy, recompute=max(stages.recompute_P, key=RECOMPUTE.index))
    better = realise(task, strategy, stages, found.placement)
    return better if better.cost.step_s < found.cost.step_s else found
