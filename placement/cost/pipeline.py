# SPDX-License-Identifier: Apache-2.0
# C chunk   P stage   V chunk of a stage   N node, piece or batch member (said where)   L level
"""Time of one pipelined step: the exact longest path of a schedule, and a bound that holds for any split of the layers.

What is modelled: every stage runs its nodes in the fixed order of `cost/schedules.py`, one at a time; a node starts when the
previous node of its stage has ended and its inputs have arrived; a message from chunk c to c+1 or back takes `p2p_C[c]`
seconds, of which a stage feels only the waiting (sends do not block). Messages between two chunks of one stage take none.
DualPipe's forward-and-backward pair is one node: it needs both inputs, lasts F + B, and hands on both results at its end
(that its parts hide each other's communication is for the caller's times to say). DualPipe keeps two copies of the weights;
its first ceil(m/2) microbatches enter at stage 0, the others at the last stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from placement.cost.pipeline_bound import makespan_bound
from placement.cost.schedules import BACKWARD, DGRAD, FORWARD, Lane, first_half, lanes, misfit, stage_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

__all__ = ["Timeline", "held", "in_flight", "makespan_bound", "makespans", "misfit", "simulate"]


@dataclass(frozen=True)
class Timeline:
    """A simulated step. Arrays have one entry a piece of work (a DualPipe pair is two), in no particular order.

    `kind` indexes `schedules.KINDS`. `busy_s_P` seconds that each stage computes; `makespan_s` start of the first to end of
    the last piece.
    """

    makespan_s: float
    busy_s_P: Floats
    kind: Ints
    stage: Ints
    chunk: Ints
    microbatch: Ints
    start_s: Floats
    end_s: Floats


@dataclass(frozen=True)
class _Graph:
    """Nodes in topological order, numbered from 1; node 0 is the source, which ends at time 0.

    `before`, `left`, `right`: node before on the stage, and the nodes whose results come in (forward from the chunk to the
    left, gradient from the chunk to the right), 0 for none. `left_c`, `right_c`: boundary that the result crosses, the number
    of chunks where it crosses none. `work` (node, 2): index into the concatenation of fwd_C, dgrad_C, wgrad_C, their sum of
    the last two, and a zero. `level_L`: nodes level_L[i]..level_L[i+1] do not depend on each other.
    """

    before: Ints
    left: Ints
    right: Ints
    left_c: Ints
    right_c: Ints
    work: Ints
    level_L: Ints
    node: Ints  # of each piece
    second: npt.NDArray[np.bool_]  # the piece is the later half of a pair
    kind: Ints
    stage: Ints
    chunk: Ints
    microbatch: Ints


def simulate(
    schedule: str, pp: int, vpp: int, num_microbatches: int, fwd_C: Floats, dgrad_C: Floats, wgrad_C: Floats, p2p_C: Floats
) -> Timeline:
    """Timeline of one step. Times in seconds per chunk and microbatch, C = pp * vpp in the order of the model.

    `p2p_C[c]` is the time of a message over the boundary c, c+1; a last entry may stand there and is not used.
    Raises ValueError where the schedule does not fit the degrees (`schedules.misfit`).
    """
    graph = _graph(schedule, pp, vpp, num_microbatches)
    table, lag = _tables(schedule, pp, vpp, fwd_C, dgrad_C, wgrad_C, p2p_C)
    work_s = table[graph.work]
    end_s = _longest_path(graph, work_s.sum(axis=1), lag)
    first = (end_s[1:] - work_s.sum(axis=1))[graph.node - 1] + np.where(graph.second, work_s[graph.node - 1, 0], 0.0)
    last = first + np.where(graph.second, work_s[graph.node - 1, 1], work_s[graph.node - 1, 0])
    busy: Floats = np.bincount(graph.stage, weights=last - first, minlength=pp).astype(np.float64)
    return Timeline(float(end_s.max()), busy, graph.kind, graph.stage, graph.chunk, graph.microbatch, first, last)


def makespans(
    schedule: str, pp: int, vpp: int, num_microbatches: int, fwd_NC: Floats, dgrad_NC: Floats, wgrad_NC: Floats, p2p_NC: Floats
) -> Floats:
    """`simulate(...).makespan_s` of many time tables at once, shape (N,): one vector operation a level of the graph."""
    graph = _graph(schedule, pp, vpp, num_microbatches)
    table, lag = _tables(schedule, pp, vpp, fwd_NC, dgrad_NC, wgrad_NC, p2p_NC)
    work_s = (table.T[graph.work[:, 0]] + table.T[graph.work[:, 1]]) if _paired(graph) else table.T[graph.work[:, 0]]
    left_s, right_s = lag.T[graph.left_c], lag.T[graph.right_c]
    end = np.zeros((len(graph.before) + 1, table.shape[0]))
    for lo, hi in zip(graph.level_L[:-1].tolist(), graph.level_L[1:].tolist(), strict=True):
        at = slice(lo, hi)
        start = np.maximum(end[graph.before[at]], end[graph.left[at]] + left_s[at])
        np.maximum(start, end[graph.right[at]] + right_s[at], out=start)
        np.add(start, work_s[at], out=end[lo + 1 : hi + 1])
    return np.asarray(end.max(axis=0))


def _paired(graph: _Graph) -> bool:
    return len(graph.node) > len(graph.before)


def _tables(schedule: str, pp: int, vpp: int, fwd: Floats, dgrad: Floats, wgrad: Floats, p2p: Floats) -> tuple[Floats, Floats]:
    """Durations by index of `_Graph.work`, and waiting by boundary; leading dimensions are kept."""
    chunks = pp * vpp
    fwd, dgrad, wgrad, p2p = (np.asarray(x, dtype=float) for x in (fwd, dgrad, wgrad, p2p))
    if any(x.shape[-1] != chunks for x in (fwd, dgrad, wgrad)) or p2p.shape[-1] not in (chunks - 1, chunks):
        raise ValueError(f"times must have {chunks} chunks")
    zero = np.zeros((*fwd.shape[:-1], 1))
    table = np.concatenate([fwd, dgrad + wgrad, dgrad, wgrad, zero], axis=-1)  # the order of the kinds of schedules.py
    stage = [stage_of(schedule, pp, c, 0, 1) for c in range(chunks)]
    crosses = np.array([a != b for a, b in pairwise(stage)] + [False])
    wide = np.concatenate([p2p[..., : chunks - 1], np.zeros((*p2p.shape[:-1], 1))], axis=-1)
    lag = np.concatenate([np.where(crosses, wide, 0.0), np.zeros((*p2p.shape[:-1], 1))], axis=-1)
    return table, np.broadcast_to(lag, (*fwd.shape[:-1], chunks + 1))


def _longest_path(graph: _Graph, work_s: Floats, lag_C: Floats) -> Floats:
    """End of every node (0: the source). A plain loop: the graph is a chain of small steps, 0.2 us each."""
    end = [0.0]
    add = end.append
    rows = zip(
        graph.before.tolist(), graph.left.tolist(), lag_C[graph.left_c].tolist(),
        graph.right.tolist(), lag_C[graph.right_c].tolist(), work_s.tolist(), strict=True,
    )  # fmt: skip
    for before, left, left_s, right, right_s, work in rows:
        start = end[before]
        arrives = end[left] + left_s
        start = max(start, arrives)
        arrives = end[right] + right_s
        start = max(start, arrives)
        add(start + work)
    return np.array(end)


@lru_cache(maxsize=64)
def _graph(schedule: str, pp: int, vpp: int, m: int) -> _Graph:
    """The graph of a schedule. Raises ValueError where it does not fit; asserts that its orders do not deadlock."""
    stages = lanes(schedule, pp, vpp, m)
    chunks = pp * vpp
    made_f, made_b = [-1] * (chunks * m), [-1] * (chunks * m)  # node that makes a result
    flat = [node for lane in stages for node in lane]
    for i, node in enumerate(flat):
        for kind, chunk, k in node:
            if kind == FORWARD:
                made_f[chunk * m + k] = i
            elif kind in (BACKWARD, DGRAD):
                made_b[chunk * m + k] = i
    left, right = [-1] * len(flat), [-1] * len(flat)
    left_c, right_c = [chunks] * len(flat), [chunks] * len(flat)
    for i, node in enumerate(flat):
        for kind, chunk, k in node:
            if kind == FORWARD and chunk > 0:
                left[i], left_c[i] = made_f[(chunk - 1) * m + k], chunk - 1
            elif kind in (BACKWARD, DGRAD) and chunk < chunks - 1:
                right[i], right_c[i] = made_b[(chunk + 1) * m + k], chunk
    before, level = _levels(stages, left, right)
    return _sorted_graph(flat, before, level, left, right, left_c, right_c, chunks, schedule, pp, m)


def _levels(stages: Sequence[Lane], left: list[int], right: list[int]) -> tuple[list[int], list[int]]:
    """Node before each node on its stage (-1: none), and longest number of nodes on the way to it."""
    before = [-1] * len(left)
    level = [-1] * len(left)
    first = np.cumsum([0] + [len(lane) for lane in stages]).tolist()
    at = first[:-1].copy()
    waits: dict[int, list[int]] = {}
    ready = list(range(len(stages)))
    while ready:
        p = ready.pop()
        while at[p] < first[p + 1]:
            i = at[p]
            missing = next((d for d in (left[i], right[i]) if d >= 0 and level[d] < 0), -1)
            if missing >= 0:
                waits.setdefault(missing, []).append(p)
                break
            before[i] = i - 1 if i > first[p] else -1
            level[i] = 1 + max((level[d] for d in (before[i], left[i], right[i]) if d >= 0), default=-1)
            at[p] += 1
            ready += waits.pop(i, [])
    assert all(a == b for a, b in zip(at, first[1:], strict=True)), "the orders of the stages wait for each other"
    return before, level


def _sorted_graph(
    flat: Lane, before: list[int], level: list[int], left: list[int], right: list[int], left_c: list[int],
    right_c: list[int], chunks: int, schedule: str, pp: int, m: int,
) -> _Graph:  # fmt: skip
    order = np.argsort(np.array(level), kind="stable")
    rank = np.zeros(len(flat) + 1, dtype=np.int64)  # new number of an old node; entry -1 is the source
    rank[order] = np.arange(1, len(flat) + 1)
    pieces = np.array([(i, j, *piece) for i, node in enumerate(flat) for j, piece in enumerate(node)])
    node, second, kind, chunk, microbatch = pieces.T
    work = np.full((len(flat), 2), 4 * chunks)
    work[rank[node] - 1, second] = kind * chunks + chunk
    chunk_stage = np.array([[stage_of(schedule, pp, c, k, m) for k in (0, m - 1)] for c in range(chunks)])
    late = microbatch >= first_half(m) if m > 1 else np.zeros(len(microbatch), dtype=bool)
    sizes = np.bincount(np.array(level))
    return _Graph(
        rank[np.array(before)[order]], rank[np.array(left)[order]], rank[np.array(right)[order]],
        np.array(left_c)[order], np.array(right_c)[order], work, np.concatenate([[0], np.cumsum(sizes)]), rank[node],
        second.astype(bool), kind, chunk_stage[chunk, late.astype(int)], chunk, microbatch,
    )  # fmt: skip


@lru_cache(maxsize=256)
def held(schedule: str, pp: int, vpp: int, num_microbatches: int) -> Floats:
    """Microbatches whose activations a stage holds, at every moment that can be its fullest: shape (P, R, V).

    Columns are the chunks of the stage in order; DualPipe has two, its own chunk and the mirrored one. Row 0 is the moment
    with most microbatches. Activations are kept from the forward to the end of the weight gradient. Rows that another row
    covers are left out, so the memory of a stage is the maximum over R of the dot product with the bytes of its chunks.
    """
    m = _settled(schedule, pp, num_microbatches)
    rows = [_held_rows(lane, _own(schedule, pp, vpp, p)) for p, lane in enumerate(lanes(schedule, pp, vpp, m))]
    out = np.zeros((pp, max(len(r) for r in rows), rows[0].shape[1]))
    for p, r in enumerate(rows):
        out[p, : len(r)] = r
    out.setflags(write=False)
    return out


def _settled(schedule: str, pp: int, m: int) -> int:
    """A batch as full of activations as `m`: what is held repeats with a period of at most `pp` microbatches."""
    enough = 4 * pp
    if m <= 2 * enough or (schedule == "interleaved" and m % pp):
        return m
    return enough + m % pp + (pp if (m % pp + enough) % 2 != m % 2 else 0)


def _own(schedule: str, pp: int, vpp: int, p: int) -> list[int]:
    if schedule == "dualpipe":
        return [p, pp - 1 - p]
    if schedule in ("zb-v", "dualpipev"):
        return [p, 2 * pp - 1 - p]
    return [v * pp + p for v in range(vpp)]


def _held_rows(lane: Lane, own: list[int]) -> Floats:
    """Counts by chunk after each forward of a lane, without dominated rows, fullest first."""
    column = {c: i for i, c in enumerate(own)}
    late = {(chunk, k) for node in lane for kind, chunk, k in node if kind == DGRAD}
    now = [0] * len(own)
    seen: dict[tuple[int, ...], None] = {}
    for node in lane:
        for kind, chunk, k in node:
            if kind == FORWARD:
                now[column[chunk]] += 1
                seen[tuple(now)] = None
            elif kind != DGRAD or (chunk, k) not in late:
                now[column[chunk]] -= 1
    rows: Floats = np.array(list(seen), dtype=np.float64).reshape(-1, len(own))
    rows = rows[np.argsort(-rows.sum(axis=1), kind="stable")]
    below = np.all(rows[:, None, :] <= rows[None, :, :], axis=2) & np.any(rows[:, None, :] < rows[None, :, :], axis=2)
    return np.asarray(rows[~np.any(below, axis=1)])


def in_flight(schedule: str, pp: int, vpp: int, num_microbatches: int) -> Floats:
    """Microbatches that stage p holds of its v-th chunk when it holds most, shape (P, V); see `held`."""
    return np.asarray(held(schedule, pp, vpp, num_microbatches)[:, 0, :])
