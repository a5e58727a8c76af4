# SPDX-License-Identifier: Apache-2.0
# N candidate   C chunk   P stage   I, J block positions
"""Candidate cuts of any model: exact where a stage has one chunk, local search where it has several."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from placement.passes.cuts import Problem, score, score_counts
from placement.solve.chain import min_max_chain, min_sum_chain

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MAX_STEPS = 40


def irregular_candidates(task: Problem) -> Ints:
    """Cuts (N, C + 1) worth simulating; N = 0 where none was found that fits."""
    if task.chunk_PV.shape[1] == 1:
        return _exact(task)
    return _searched(task)


def _exact(task: Problem) -> Ints:
    total_B, stages = task.count_BY @ _least_seconds_Y(task), task.strategy.pp
    cap = 2 * total_B[-1] / stages + float(np.diff(total_B).max())  # longer spans are not looked at unless that is needed
    cost_PIJ = span_costs(task, cap)
    found = min_max_chain(cost_PIJ)
    if found is None or found[0] > cap:
        cost_PIJ = span_costs(task, np.inf)
        found = min_max_chain(cost_PIJ)
    if found is None:
        return np.zeros((0, task.strategy.num_chunks + 1), dtype=np.int64)
    load, cuts = found
    parts = len(cost_PIJ)
    tilt = np.linspace(0.0, 1.0, parts)[:, None, None] + 0.1
    weights = (cost_PIJ**2, cost_PIJ**2 * tilt, cost_PIJ**2 * tilt[::-1])
    return np.unique(np.stack([cuts, *(min_sum_chain(cost_PIJ, load * (1 + 1e-9), w) for w in weights)]), axis=0)


def _least_seconds_Y(task: Problem) -> Floats:
    """Seconds of a block on the fastest stage in the fastest mode."""
    work, comm = (t[:, task.modes].min(axis=1) for t in task.time_YM)
    return np.asarray(work * task.slow_P.min() + comm)


def span_costs(task: Problem, cap_s: float) -> Floats:
    """Seconds of blocks i..j-1 as stage p in the cheapest mode that fits, (P, B + 1, B + 1), infinite where none does.

    Also infinite where even the fastest stage would take more than `cap_s`, or too few blocks are left for the other stages.
    """
    blocks = task.model.num_blocks
    i, j = np.triu_indices(blocks + 1, 1)
    total_B = task.count_BY @ _least_seconds_Y(task)
    short = total_B[j] - total_B[i] <= cap_s
    i, j = i[short], j[short]
    count_NY = task.count_BY[j] - task.count_BY[i]
    width_N = np.where(i > 0, task.width_B[i], 0.0) + np.where(j < blocks, task.width_B[j], 0.0)
    stages = task.strategy.pp
    inside = [(i <= a) & (a < j) & (i <= b) & (b < j) for a, b in task.model.tied]
    tied = [np.where(both[:, None], 0, -1) * np.ones((1, 2), dtype=np.int64) for both in inside]
    out = np.full((stages, blocks + 1, blocks + 1), np.inf)
    for p in range(stages):
        at = np.flatnonzero((i >= p) & (blocks - j >= stages - 1 - p))
        some = [t[at] for t in tied]
        out[p, i[at], j[at]] = score_counts(task.stage(p), count_NY[at, None, None, :], width_N[at, None], some).load_NP[:, 0]
    return out


def _searched(task: Problem) -> Ints:
    """Give single blocks of the worst stage away while that lowers the sorted loads; from cuts at equal shares of the work."""
    cut_C = _proportional(task)
    best = _key(task, cut_C[None])[0]
    seen = [cut_C]
    for _ in range(MAX_STEPS):
        moves = _moves(task, cut_C)
        if not len(moves):
            break
        keys = _key(task, moves)
        order = np.lexsort(keys.T[::-1])
        if tuple(keys[order[0]]) >= tuple(best):
            break
        cut_C, best = moves[order[0]], keys[order[0]]
        seen.append(cut_C)
    return np.stack(seen[::-1][:8])


def _key(task: Problem, cut_NC: Ints) -> Floats:
    """What is minimised, most important first: bytes over the limit, then the loads of the stages, fullest first."""
    scores = score(task, cut_NC)
    loads = np.where(np.isfinite(scores.load_NP), scores.load_NP, 0.0)
    scale = loads.max() or 1.0
    return np.column_stack([np.round(scores.over_NP.sum(axis=1), 0), np.round(-np.sort(-loads, axis=1) / scale, 9) * scale])


def _moves(task: Problem, cut_C: Ints) -> Ints:
    scores = score(task, cut_C[None])
    over = scores.over_NP[0]
    worst = int(np.argmax(over)) if over.any() else int(np.argmax(scores.load_NP[0]))
    size_C, chunks = np.diff(cut_C), task.strategy.num_chunks
    give = np.repeat([c for c in task.chunk_PV[worst].tolist() if size_C[c] > 1], chunks).astype(np.int64)
    take = np.tile(np.arange(chunks), len(give) // chunks)
    unit = np.eye(chunks, dtype=np.int64)
    size_NC = (size_C - unit[give] + unit[take])[give != take]
    return np.concatenate([np.zeros((len(size_NC), 1), dtype=np.int64), np.cumsum(size_NC, axis=1)], axis=1)


def _proportional(task: Problem) -> Ints:
    """Cuts at equal shares of the work, every chunk with at least one block."""
    seconds_Y = task.first_mode_Y
    chunks, blocks = task.strategy.num_chunks, task.model.num_blocks
    done_B = task.count_BY @ seconds_Y
    targets = done_B[-1] * np.arange(1, chunks) / chunks
    inner = np.searchsorted((done_B[1:] + done_B[:-1]) / 2, targets)
    at = np.arange(1, chunks)
    inner = np.maximum.accumulate(inner - at) + at
    inner = np.minimum(np.maximum(inner, at), blocks - chunks + at)
    return np.concatenate([[0], inner, [blocks]])
