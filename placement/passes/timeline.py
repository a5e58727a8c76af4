# SPDX-License-Identifier: Apache-2.0
# P stage   C chunk   E event   I piece of work (forward, backward, input or weight gradient of a chunk and microbatch)
"""A step as events on lanes: what one rank of every pipeline stage computes and sends, and when.

The pipeline is the simulation that prices a plan, and what follows it are the other parts of the same prediction, so the last
event ends when the predicted step does. A stage has one NIC: messages of gradients and weights queue on it as
they become ready, beside the compute that hides them. What no compute hides stands after the pipeline, as it is predicted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from placement.cost.context import context
from placement.cost.schedules import BACKWARD, DGRAD, FORWARD, KINDS, WGRAD
from placement.cost.step import BUCKET_PARAMS, Steps, all_params_s, steps_of
from placement.ir import SHARDING, Placement, Spans, Stages, Strategy
from placement.ir._array import Floats, Ints, freeze
from placement.passes.problem import Problem, priced

LANES = ("compute", "tensor and context", "experts", "stage to stage", "data parallel")
COMPUTE, TENSOR, EXPERT, BETWEEN, DATA = range(len(LANES))
MORE = ("tp", "cp", "dispatch", "combine", "send forward", "send gradient", "reduce-scatter", "all-gather",
        "gradients that show", "optimizer", "host, gradient norm, stragglers")  # fmt: skip
NAMES = (*KINDS, *MORE)
TP, CP, DISPATCH, COMBINE, SEND, BACK, REDUCE, GATHER, SHOWN, UPDATE, HOST = range(len(KINDS), len(NAMES))
_TWO_GRADIENTS, _LAST = ("dgrad", "wgrad"), (BACKWARD, WGRAD)
_DIRECTIONS = {FORWARD: ("forward",), BACKWARD: _TWO_GRADIENTS, DGRAD: ("dgrad",), WGRAD: ("wgrad",)}


@dataclass(frozen=True)
class Events:
    """Events of one step by stage, lane and start. `name` indexes NAMES, `lane` LANES; chunk and microbatch -1: of none."""

    step_s: float
    stage: Ints
    lane: Ints
    name: Ints
    chunk: Ints
    microbatch: Ints
    start_s: Floats
    seconds: Floats

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True)
class _Some:
    """Events of one lane and name; everything else broadcasts."""

    lane: int
    name: int
    stage: Ints | int
    start_s: Floats
    seconds: Floats | float
    chunk: Ints | int = -1
    microbatch: Ints | int = -1


def events_of(task: Problem, strategy: Strategy, stages: Stages, placement: Placement) -> Events:
    """Every event of the step of a placed plan."""
    spans, layer = priced(task, strategy, placement)
    found = steps_of(task.model, task.job, task.hw, task.efficiency, strategy, stages, spans, layer)
    hidden = task.efficiency["ep_hidden"] if task.job.software.ep_overlap else 0.0
    parts = [*_pieces(found, hidden), *_messages(found, strategy), *_tail(found), *_gradients(task, strategy, found, spans)]
    return _sorted(parts, float(found.timeline.makespan_s + (found.shown_P + found.update_P).max() + found.fixed_s))


def _sorted(parts: list[_Some], step_s: float) -> Events:
    def column(name: str, kind: type) -> np.ndarray:
        return np.concatenate([np.broadcast_to(np.asarray(getattr(p, name), kind), p.start_s.shape) for p in parts])

    start_s, seconds = column("start_s", float), column("seconds", float)
    ints = {name: column(name, np.int64) for name in ("stage", "lane", "name", "chunk", "microbatch")}
    kept = np.flatnonzero(seconds > 0)
    order = kept[np.lexsort((start_s[kept], ints["lane"][kept], ints["stage"][kept]))]
    return Events(
        step_s, **{name: values[order] for name, values in ints.items()}, start_s=start_s[order], seconds=seconds[order]
    )


def _pieces(found: Steps, ep_hidden: float) -> Iterator[_Some]:
    """Compute of every piece, and inside it communication that shows; expert traffic also runs behind other microbatches."""
    t = found.timeline
    for kind, directions in _DIRECTIONS.items():
        at = np.flatnonzero(t.kind == kind)
        chunk, start = t.chunk[at], t.start_s[at]
        columns = sum((found.parts_CX[d] for d in directions), np.zeros_like(found.parts_CX["forward"]))
        tp, cp, ep = (columns[chunk, i] for i in (1, 2, 3))
        where = {"stage": t.stage[at], "chunk": chunk, "microbatch": t.microbatch[at]}
        yield _Some(COMPUTE, kind, start_s=start, seconds=t.end_s[at] - start, **where)
        yield _Some(TENSOR, TP, start_s=start, seconds=tp, **where)
        yield _Some(TENSOR, CP, start_s=start + tp, seconds=cp, **where)
        busy = np.minimum(ep / (1.0 - ep_hidden), t.end_s[at] - start) / 2.0  # half to the experts, half back
        yield _Some(EXPERT, DISPATCH, start_s=start, seconds=busy, **where)
        yield _Some(EXPERT, COMBINE, start_s=t.end_s[at] - busy, seconds=busy, **where)


def _messages(found: Steps, strategy: Strategy) -> Iterator[_Some]:
    """What a stage hands on: activations after a forward, gradients after an input gradient."""
    t, chunks = found.timeline, strategy.num_chunks
    for kinds, name, last, way in (((FORWARD,), SEND, chunks - 1, 0), ((BACKWARD, DGRAD), BACK, 0, -1)):
        at = np.flatnonzero(np.isin(t.kind, kinds) & (t.chunk != last))
        yield _Some(BETWEEN, name, t.stage[at], t.end_s[at], found.message_C[t.chunk[at] + way], t.chunk[at], t.microbatch[at])


def _tail(found: Steps) -> Iterator[_Some]:
    """What follows the pipeline: gradients that nothing hides, the optimizer, and the rest of a step."""
    stage_P, start = np.arange(len(found.shown_P)), np.full(len(found.shown_P), found.timeline.makespan_s)
    last_s = (found.shown_P + found.update_P).max()
    yield _Some(DATA, SHOWN, stage_P, start, found.shown_P)
    yield _Some(COMPUTE, UPDATE, stage_P, start + found.shown_P, found.update_P)
    yield _Some(COMPUTE, HOST, stage_P, start + last_s, found.fixed_s)


def _gradients(task: Problem, strategy: Strategy, found: Steps, spans: Spans) -> Iterator[_Some]:
    """The part of gradient scatters and weight gathers that compute hides, in buckets, one at a time on each stage's NIC."""
    s, o = strategy, task.job.optimizer
    sizes = np.array(float(s.dp * s.cp // s.gtp)), np.array(float(s.edp // s.egtp))
    c = context(task.job, task.hw)
    reduce_P, gather_P = (
        all_params_s(c, task.efficiency, b, found.dense_P, found.expert_P, *sizes, spans)
        for b in (o.grad_reduce_bytes, o.param_gather_bytes)
    )
    again = s.num_microbatches if SHARDING.index(s.sharding) >= SHARDING.index("zero2") else 1
    gathers = 2 * again if s.sharding == "fsdp" else 1
    for p in range(s.pp):
        busy = again * reduce_P[p] + gathers * gather_P[p]
        share = max(0.0, 1.0 - found.shown_P[p] / busy) if busy > 0 else 0.0
        chunks = np.flatnonzero(found.load_PC[p])
        for name, seconds, repeats in ((GATHER, gather_P[p], gathers), (REDUCE, reduce_P[p], again)):
            ready = _ready(found, p, chunks, name, repeats)
            buckets = max(1, round((found.dense_P[p] + found.expert_P[p]) / max(BUCKET_PARAMS, 1e6 * s.dp) / len(chunks)))
            many = buckets if repeats == 1 else 1
            each = share * seconds * repeats / max(1, len(ready) * many)
            wait = np.sort(np.repeat(ready, many))
            start = _queue(wait, each, float(found.timeline.makespan_s))
            yield _Some(DATA, name, p, start, np.full(len(start), each))


def _ready(found: Steps, stage: int, chunks: Ints, name: int, repeats: int) -> Floats:
    """When the messages of a stage may start: weights before a piece, gradients after the last piece that adds to them."""
    t = found.timeline
    here = t.stage == stage
    if repeats > 1:
        return np.sort(t.start_s[here & (t.kind != WGRAD)] if name == GATHER else t.end_s[here & np.isin(t.kind, _LAST)])
    if name == GATHER:
        return np.zeros(len(chunks))
    return np.array([t.start_s[here & (t.chunk == c) & np.isin(t.kind, _LAST)].max() for c in chunks.tolist()])


def _queue(ready: Floats, each: float, end_s: float) -> Floats:
    """Start of messages of equal length that pass one after the other; moved forward where the last would end too late."""
    i = np.arange(len(ready))
    start = np.maximum.accumulate(ready - each * i) + each * i
    late = max(0.0, float(start[-1]) + each - end_s) if len(start) else 0.0
    return np.asarray(np.maximum(start - late, 0.0))
