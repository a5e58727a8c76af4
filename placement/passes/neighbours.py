# SPDX-License-Identifier: Apache-2.0
# B block   C chunk
"""Plans that differ in one block of one stage: what each other cut would have cost, under the same placement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placement.cost.layers import layer_cost
from placement.cost.memory import limit_bytes
from placement.cost.shards import shards_of
from placement.cost.spans import spans_of
from placement.cost.step import step_cost
from placement.ir import Placement, Stages, Strategy
from placement.ir._array import Ints
from placement.passes.problem import Problem


@dataclass(frozen=True)
class Neighbour:
    """One block moved from `giver` to `taker` (pipeline stages). `step_s` is None where the memory does not suffice."""

    block: int
    giver: int
    taker: int
    step_s: float | None
    slowest: int


def neighbours(task: Problem, strategy: Strategy, stages: Stages, placement: Placement, stage: int) -> list[Neighbour]:
    """Every cut that gives one block of `stage` to the chunk next to it, or takes one from there; fastest first."""
    spans = spans_of(task.cluster, strategy, placement)
    layer = layer_cost(task.model, task.job, task.hw, task.efficiency, shards_of(strategy), spans)
    limit = limit_bytes(task.job, task.hw)
    found = []
    for block, giver, taker, chunk_B in _moves(strategy, stages, stage):
        moved = replace(stages, chunk_B=chunk_B)
        cost = step_cost(task.model, task.job, task.hw, task.efficiency, strategy, moved, spans, layer)
        fits = cost.peak_memory_bytes <= limit
        found.append(Neighbour(block, giver, taker, cost.step_s if fits else None, int(np.argmax(cost.stage_s_P))))
    return sorted(found, key=lambda n: (n.step_s is None, n.step_s or 0.0, n.block, n.taker))


def _moves(strategy: Strategy, stages: Stages, stage: int) -> list[tuple[int, int, int, Ints]]:
    """(block, giver, taker, new cut) for both ways over every boundary of the stage's chunks; no chunk is emptied."""
    stage_C, chunk_B = strategy.chunk_stage, np.asarray(stages.chunk_B, np.int64)
    size_C = np.bincount(chunk_B, minlength=strategy.num_chunks)
    out: list[tuple[int, int, int, Ints]] = []
    for c in range(1, strategy.num_chunks):
        if stage not in (stage_C[c - 1], stage_C[c]) or stage_C[c - 1] == stage_C[c]:
            continue
        first = int(np.searchsorted(chunk_B, c))
        for block, giver, taker in ((first - 1, c - 1, c), (first, c, c - 1)):
            if size_C[giver] > 1:
                cut = chunk_B.copy()
                cut[block] = taker
                out.append((block, int(stage_C[giver]), int(stage_C[taker]), cut))
    return out
