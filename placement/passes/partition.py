# SPDX-License-Identifier: Apache-2.0
# N candidate   C chunk   P stage   B block
"""Blocks into pp x vpp chunks, least simulated step under the memory of every stage, recompute chosen stage by stage."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from placement.cost.schedules import misfit
from placement.ir import RECOMPUTE, Job, ModelGraph, Stages, Strategy
from placement.passes.cuts import Problem, problem, score, step_seconds
from placement.passes.irregular import irregular_candidates
from placement.passes.runs import is_run, run_candidates

if TYPE_CHECKING:
    from placement.cost.hardware import Hardware
    from placement.cost.layers import LayerCost

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
FEW = 300  # ways to cut that are all tried
REFINE = 60_000  # candidates x chunks x microbatches that refinement may simulate


def partition(
    model: ModelGraph, job: Job, hw: Hardware, strategy: Strategy, layer: LayerCost, k: int = 0, *,
    slow_P: Floats | None = None, refine: int = REFINE,
) -> Stages | str:  # fmt: skip
    """Stages of a strategy (row `k` of `layer`), or why there are none: "schedule", "layers", "memory".

    Every chunk has at least one block. `slow_P` stretches the compute of a stage (degraded or older hardware).
    `strategy.recompute` "auto" gives every stage the cheapest mode of `job.recompute` that fits.

    The fullest stage is least exactly where a stage has one chunk. Among cuts near that, and the moves that `refine` allows
    (candidates x chunks x microbatches simulated; 100 times the default takes about a second), the fastest is taken.
    """
    if misfit(strategy.schedule, strategy.pp, strategy.vpp, strategy.num_microbatches):
        return "schedule"
    if model.num_blocks < strategy.num_chunks:
        return "layers"
    task = problem(model, job, hw, strategy, layer, k, slow_P)
    if comb(model.num_blocks - 1, strategy.num_chunks - 1) <= FEW:
        return _stages(_best(task, every_cut(model.num_blocks, strategy.num_chunks)))
    cuts = run_candidates(task) if is_run(task) else irregular_candidates(task)
    if strategy.vpp > 1 and len(cuts):
        cuts = np.concatenate([cuts, lightest(task, window_cuts(model.num_blocks, strategy.num_chunks))])
    best = _best(task, cuts)
    if best is None and is_run(task) and len(run_candidates(task, narrow=True)):
        best = _best(task, irregular_candidates(task))  # skip edges alone decide whether it fits
    return _stages(None if best is None else _refined(task, *best, refine))


def _stages(found: tuple[Ints, Ints, float] | None) -> Stages | str:
    if found is None:
        return "memory"
    cut_C, mode_P, _ = found
    return Stages(np.repeat(np.arange(len(cut_C) - 1), np.diff(cut_C)), tuple(RECOMPUTE[m] for m in mode_P.tolist()))


@lru_cache(maxsize=256)
def window_cuts(blocks: int, chunks: int) -> Ints:
    """Even cuts whose larger chunks lie side by side, (N, C + 1): the window of larger chunks starts anywhere, the first chunk
    (it has the embedding) may have one block more, the last (it has the head) one less.

    Interleaved stages feel a large chunk where a wave of microbatches enters and leaves: one window meets each wave once.
    """
    found: dict[bytes, Ints] = {}
    for first, last in ((0, 0), (1, 0), (0, -1), (1, -1)):
        each, wide = divmod(blocks - first - last, chunks)
        for start in range(chunks - wide + 1):
            size_C = np.full(chunks, each)
            size_C[start : start + wide] += 1
            size_C[0] += first
            size_C[-1] += last
            if size_C.min() > 0:
                found.setdefault(size_C.tobytes(), size_C)
    sizes = np.array(list(found.values()), dtype=np.int64).reshape(-1, chunks)
    return np.concatenate([np.zeros((len(sizes), 1), np.int64), np.cumsum(sizes, axis=1)], axis=1)


LATE, EARLY = 8, 3  # windows that are worth simulating
NEAR = 1.01  # loads that count as equal


def lightest(task: Problem, cut_NC: Ints) -> Ints:
    """The few cuts whose fullest stage has least to do: of many equals the latest windows, where waves drain, and earliest."""
    load_N = score(task, cut_NC).load_NP.max(axis=1, initial=0.0)
    least = float(load_N.min(initial=np.inf))
    if not np.isfinite(least):
        return cut_NC[:0]
    equal = np.flatnonzero(load_N <= least * NEAR)
    late = equal[np.argsort(cut_NC[equal].sum(axis=1), kind="stable")]
    return np.asarray(cut_NC[np.concatenate([late[:LATE], late[LATE:][-EARLY:]])])


def every_cut(blocks: int, chunks: int) -> Ints:
    """All ways to cut a row of blocks into non-empty chunks, (N, C + 1)."""
    return np.array([(0, *inner, blocks) for inner in combinations(range(1, blocks), chunks - 1)], dtype=np.int64)


def _best(task: Problem, cut_NC: Ints) -> tuple[Ints, Ints, float] | None:
    """Fastest candidate that fits, its recompute modes and seconds; the first of equals."""
    if not len(cut_NC):
        return None
    scores = score(task, cut_NC)
    fits = np.isfinite(scores.load_NP).all(axis=1)
    if not fits.any():
        return None
    cut_NC, mode_NP = cut_NC[fits], scores.mode_NP[fits]
    seconds = step_seconds(task, cut_NC, mode_NP, scores.load_NP[fits])
    winner = int(np.argmin(np.round(seconds / max(float(seconds.min()), 1e-300), 9)))
    return cut_NC[winner], mode_NP[winner], float(seconds[winner])


def _refined(task: Problem, cut_C: Ints, mode_P: Ints, seconds: float, budget: int) -> tuple[Ints, Ints, float]:
    """Move one or two blocks between any two chunks while that helps; only where all such moves are cheap to simulate."""
    s = task.strategy
    while True:
        size_C = np.diff(cut_C)
        moves = int((size_C > 1).sum() + (size_C > 2).sum()) * (s.num_chunks - 1)
        budget -= moves * s.num_chunks * min(s.num_microbatches, 6 * s.pp)
        found = _best(task, moved(cut_C)) if budget > 0 and moves else None
        if found is None or found[2] >= seconds * (1 - 1e-9):
            return cut_C, mode_P, seconds
        cut_C, mode_P, seconds = found


def moved(cut_C: Ints) -> Ints:
    """Every cut that gives one or two blocks of a chunk to another chunk (those between shift along), (N, C + 1)."""
    size_C = np.diff(cut_C)
    chunks = len(size_C)
    give, take, more = (x.ravel() for x in np.meshgrid(np.arange(chunks), np.arange(chunks), (1, 2), indexing="ij"))
    able = (give != take) & (size_C[give] > more)
    unit = np.eye(chunks, dtype=np.int64)
    size_NC = size_C + more[able, None] * (unit[take[able]] - unit[give[able]])
    return np.concatenate([np.zeros((len(size_NC), 1), dtype=np.int64), np.cumsum(size_NC, axis=1)], axis=1)
