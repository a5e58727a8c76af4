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

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from placement.cost.pipeline_bound import makespan_bound
from placement.cost.schedules import BACKWARD, DGRAD, FORWARD, WGRAD, lanes, misfit, stage_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

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
    second: Bools  # the piece is the later half of a pair
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
    return _timeline(graph, pp, work_s, _longest_path(graph, work_s.sum(axis=1), lag))


def _timeline(graph: _Graph, pp: int, work_s: Floats, end_s: Floats) -> Timeline:
    first = (end_s[1:] - work_s.sum(axis=1))[graph.node - 1] + np.where(graph.second, work_s[graph.node - 1, 0], 0.0)
    last = first + np.where(graph.second, work_s[graph.node - 1, 1], work_s[graph.node - 1, 0])
    busy: Floats = np.bincount(graph.stage, weights=last - first, minlength=pp).astype(np.float64)
    return Timeline(float(end_s.max()), busy, graph.kind, graph.stage, graph.chunk, graph.microbatch, first, last)


def least_timeline(
    schedule: str, pp: int, vpp: int, num_microbatches: int, fwd_C: Floats, dgrad_C: Floats, wgrad_C: Floats, lag_P: Floats,
    boundary_C: Ints,
) -> Timeline:  # fmt: skip
    """A step whose stage boundaries take `lag_P` a message, in whatever order: no order has a shorter makespan.

    `boundary_C` the boundary between each chunk and the next. The makespan is the longest of many paths, so it is convex in the
    lags, and a longest path at some lags gives a tangent plane below it: its length, changed by as much as each boundary that
    it crosses costs more or less. The least change meets the largest lags where it crosses least (rearrangement inequality).
    Tangents are taken where all boundaries cost the mean, which is the timeline returned, and where they cost the least.
    """
    high_P, times = np.sort(lag_P)[::-1], (fwd_C.tobytes(), dgrad_C.tobytes(), wgrad_C.tobytes())

    def tangent(lag: float) -> tuple[float, Timeline]:
        timeline, crossed_C = _even(schedule, pp, vpp, num_microbatches, *times, lag)
        crossed_P = np.sort(np.bincount(boundary_C, crossed_C, pp)[: len(lag_P)])
        return timeline.makespan_s + float(crossed_P @ (high_P - lag)), timeline

    least_s, timeline = tangent(float(lag_P.mean()))
    return replace(timeline, makespan_s=max(least_s, tangent(float(lag_P.min()))[0]))


@lru_cache(maxsize=8)
def _even(
    schedule: str, pp: int, vpp: int, num_microbatches: int, fwd: bytes, dgrad: bytes, wgrad: bytes, lag: float
) -> tuple[Timeline, Floats]:  # fmt: skip
    """The step whose boundaries all take `lag`, and how often a longest path crosses each (C - 1,).

    Kept for a while: the ways across thin tiers ask again and again for the same.
    """
    graph, chunks = _graph(schedule, pp, vpp, num_microbatches), pp * vpp
    fwd_C, dgrad_C, wgrad_C = (np.frombuffer(t) for t in (fwd, dgrad, wgrad))
    table, lag_C = _tables(schedule, pp, vpp, fwd_C, dgrad_C, wgrad_C, np.full(chunks - 1, lag))
    work_s = table[graph.work]
    end_s = _longest_path(graph, work_s.sum(axis=1), lag_C)
    crossed_C = _crossed(graph, end_s, lag_C)[:-1] * _crosses(schedule, pp, chunks)
    return _timeline(graph, pp, work_s, end_s), crossed_C[:-1]


def _crossed(graph: _Graph, end_s: Floats, lag_C: Floats) -> Floats:
    """How often a longest path crosses each boundary between chunks, (C + 1,); the last entry means nothing."""
    end, count = end_s.tolist(), np.zeros(len(lag_C))
    inputs = ((graph.left.tolist(), graph.left_c.tolist()), (graph.right.tolist(), graph.right_c.tolist()))
    before, lag = graph.before.tolist(), lag_C.tolist()
    node = int(np.argmax(end_s))
    while node > 0:
        ways = [(end[before[node - 1]], before[node - 1], -1)]
        ways += [(end[source[node - 1]] + lag[c[node - 1]], source[node - 1], c[node - 1]) for source, c in inputs]
        _, node, crossed = max(ways)
        if crossed >= 0:
            count[crossed] += 1.0
    return count


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
    crosses = _crosses(schedule, pp, chunks)
    wide = np.concatenate([p2p[..., : chunks - 1], np.zeros((*p2p.shape[:-1], 1))], axis=-1)
    lag = np.concatenate([np.where(crosses, wide, 0.0), np.zeros((*p2p.shape[:-1], 1))], axis=-1)
    return table, np.broadcast_to(lag, (*fwd.shape[:-1], chunks + 1))


def _crosses(schedule: str, pp: int, chunks: int) -> Bools:
    """Whether a chunk and the next lie on different stages; False for the last one. (C,)"""
    stage = [stage_of(schedule, pp, c, 0, 1) for c in range(chunks)]
    return np.array([a != b for a, b in pairwise(stage)] + [False])


def _longest_path(graph: _Graph, work_s: Floats, lag_C: Floats) -> Floats:
    """End of every node (0: the source). A plain loop: the graph is a chain of small steps, 0.2 us each."""
    end = [0.0]
    add = end.append
    rows = zip(
        graph.before.tolist(), graph.left.tolist(), lag_C[graph.left_c].tolist(),
        graph.right.tolist(), lag_C[graph.right_c].tolist(), work_s.tolist(), strict=True,
    )  # fmt: skip
    for before, left, left_s, right, right_s, work in rows:
        start, from_left, from_right = end[before], end[left] + left_s, end[right] + right_s
        if from_left > start:  # noqa: PLR1730 -- calls of max() would take half of the time
            start = from_left
        if from_right > start:  # noqa: PLR1730
            start = from_right
        add(start + work)
    return np.array(end)


@lru_cache(maxsize=64)
def _graph(schedule: str, pp: int, vpp: int, m: int) -> _Graph:
    """The graph of a schedule. Raises ValueError where it does not fit; asserts that its orders do not deadlock."""
    stages, chunks = lanes(schedule, pp, vpp, m), pp * vpp
    first = np.concatenate([[0], np.cumsum([lane[-1, 0] + 1 for lane in stages])])
    node = np.concatenate([lane[:, 0] + start for lane, start in zip(stages, first[:-1], strict=True)])
    kind, chunk, microbatch = np.concatenate([lane[:, 1:] for lane in stages]).T
    second = np.concatenate([[False], node[1:] == node[:-1]])
    left, left_c = _inputs(node, kind == FORWARD, chunk, microbatch, m, chunks, -1)
    right, right_c = _inputs(node, np.isin(kind, (BACKWARD, DGRAD)), chunk, microbatch, m, chunks, 1)
    before = np.arange(first[-1]) - 1
    before[first[:-1]] = -1
    level = np.array(_levels(first.tolist(), left.tolist(), right.tolist()))
    order = np.argsort(level, kind="stable")
    rank = np.zeros(len(order) + 1, dtype=np.int64)  # new number of an old node; entry -1 is the source
    rank[order] = np.arange(1, len(order) + 1)
    work = np.full((len(order), 2), 4 * chunks)
    work[rank[node] - 1, second.astype(int)] = kind * chunks + chunk
    return _Graph(
        before=rank[before[order]], left=rank[left[order]], right=rank[right[order]],
        left_c=left_c[order], right_c=right_c[order], work=work,
        level_L=np.concatenate([[0], np.cumsum(np.bincount(level))]), node=rank[node], second=second, kind=kind,
        stage=np.repeat(np.arange(pp), [len(lane) for lane in stages]), chunk=chunk, microbatch=microbatch,
    )  # fmt: skip


def _inputs(node: Ints, some: Bools, chunk: Ints, microbatch: Ints, m: int, chunks: int, side: int) -> tuple[Ints, Ints]:
    """For each node, the node that makes the input of its piece in `some`, in the chunk at `side`, and the boundary crossed."""
    maker = np.full((chunks + 2, m), -1)  # one row more at either end: nothing comes from outside the model
    maker[chunk[some] + 1, microbatch[some]] = node[some]
    source, boundary = np.full(node[-1] + 1, -1), np.full(node[-1] + 1, chunks)
    source[node[some]] = maker[chunk[some] + 1 + side, microbatch[some]]
    boundary[node[some]] = chunk[some] + min(side, 0)
    return source, np.where(source < 0, chunks, boundary)


def _levels(first: list[int], left: list[int], right: list[int]) -> list[int]:
    """Longest number of nodes on the way to each node; nodes of stage p are first[p]..first[p+1]-1, run in that order."""
    level = [-1] * (len(left) + 1)  # the last entry stands for "no input"
    at = first[:-1]
    waits: dict[int, list[int]] = {}
    ready = list(range(len(at)))
    while ready:
        p = ready.pop()
        last = level[at[p] - 1] if at[p] > first[p] else -1
        for i in range(at[p], first[p + 1]):
            a, b = left[i], right[i]
            if (a >= 0 and level[a] < 0) or (b >= 0 and level[b] < 0):
                waits.setdefault(a if a >= 0 and level[a] < 0 else b, []).append(p)
                break
            last = level[i] = 1 + max(last, level[a], level[b])
            at[p] = i + 1
            if i in waits:
                ready += waits.pop(i)
    assert at == first[1:], "the orders of the stages wait for each other"
    return level[:-1]


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


def _held_rows(lane: Ints, own: list[int]) -> Floats:
    """Counts by chunk after each forward of a lane, without dominated rows, fullest first."""
    _, kind, chunk, _ = lane.T
    change = (kind == FORWARD).astype(int) - np.isin(kind, (BACKWARD, WGRAD))  # an input gradient frees nothing
    rows = np.cumsum(change[:, None] * (chunk[:, None] == own), axis=0)[kind == FORWARD]
    rows = np.unique(rows, axis=0)[::-1].astype(np.float64)
    rows = rows[np.argsort(-rows.sum(axis=1), kind="stable")]
    below = np.all(rows[:, None, :] <= rows[None, :, :], axis=2) & np.any(rows[:, None, :] < rows[None, :, :], axis=2)
    return np.asarray(rows[~np.any(below, axis=1)])


def in_flight(schedule: str, pp: int, vpp: int, num_microbatches: int) -> Floats:
    """Microbatches that stage p holds of its v-th chunk when it holds most, shape (P, V); see `held`."""
    return np.asarray(held(schedule, pp, vpp, num_microbatches)[:, 0, :])
