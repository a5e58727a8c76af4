# SPDX-License-Identifier: Apache-2.0
# K shard   S strategy   D = (forward, backward-input, backward-weight)
"""Prices that no stages and no placement can beat, for many strategies at once: what the search prunes with.

Every bound here is admissible: never above the `step_s` that `problem.realise` would find for the same strategy (a property
test holds it to that). It follows the parts of `cost/step.py`: pipeline, exposed gradient traffic, optimizer, overhead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import kept_sizes
from placement.cost.context import context
from placement.cost.ideal import kept_spans
from placement.cost.layers import LayerCost, edge_bytes, join_layers, layer_cost
from placement.cost.memory_bound import Held, held_of, join_held
from placement.cost.pipeline_bound import lead_weights, makespan_bound
from placement.cost.shards import Shards
from placement.cost.step import all_params_s, message_s, overhead_s
from placement.cost.thin import Way, ways
from placement.ir import AXES, SCHEDULES, Job, Spans
from placement.ir._array import Bools, Floats, Ints
from placement.passes.problem import Problem
from placement.passes.strategies import Rows, Whole, length, take


@dataclass(frozen=True)
class Prices:
    """What bounds read of shards priced on ideal spans: totals over all blocks for one microbatch, and memory.

    `block_KY` a block of each type, `last_K` the last block (the head), forward and backward; `dense_K`, `expert_K`
    parameters that one rank would hold if there were a single stage. Seconds and counts.
    """

    held: Held
    fwd_K: Floats
    bwd_K: Floats
    block_KY: Floats
    last_K: Floats
    dense_K: Floats
    expert_K: Floats

    @property
    def total_K(self) -> Floats:
        return self.fwd_K + self.bwd_K

    def at(self, index: Ints) -> Prices:
        """Rows by index."""
        return Prices(self.held.at(np.asarray(index, np.int64)), *(getattr(self, f)[index] for f in _TOTALS))


_TOTALS = ("fwd_K", "bwd_K", "block_KY", "last_K", "dense_K", "expert_K")


def join_prices(parts: Sequence[Prices]) -> Prices:
    """Prices one after the other."""
    if len(parts) == 1:
        return parts[0]
    return Prices(join_held([p.held for p in parts]), *(np.concatenate([getattr(p, f) for p in parts]) for f in _TOTALS))


SHARD = ("tp", "cp", "ep", "etp", "gtp", "egtp", "micro_batch")
CHUNK = 16_384  # shards priced at a time, so that the tables of a chunk stay small


def prices(task: Problem, shards: Rows) -> tuple[Prices, LayerCost]:
    """Price shards (columns tp, cp, ep, etp, gtp, egtp, micro_batch), chunk by chunk."""
    parts = []
    for i in range(0, length(shards), CHUNK):
        rows = take(shards, slice(i, i + CHUNK))
        some = Shards(*(rows[n] for n in SHARD))
        layer = layer_cost(task.model, task.job, task.hw, task.efficiency, some, shard_spans(task, rows))
        parts.append((_totals(task, rows, layer), layer))
    return join_prices([p for p, _ in parts]), join_layers([layer for _, layer in parts])


def _totals(task: Problem, rows: Rows, layer: LayerCost) -> Prices:
    model, count_Y = task.model, task.model.count_Y
    total_KYD = layer.total_KYD
    block_KY = total_KYD.sum(axis=2)
    tied = sum((np.minimum(layer.dense_KY[:, model.type_B[a]], layer.dense_KY[:, model.type_B[b]]) for a, b in model.tied), 0.0)
    sequences_K = rows["micro_batch"] / rows["cp"] / rows["tp"]
    return Prices(
        held_of(model, task.job, layer, sequences_K, allowed_recompute(task.job)),
        fwd_K=total_KYD[:, :, 0] @ count_Y, bwd_K=total_KYD[:, :, 1:].sum(axis=2) @ count_Y, block_KY=block_KY,
        last_K=block_KY[:, model.type_B[-1]], dense_K=layer.dense_KY @ count_Y - tied, expert_K=layer.expert_KY @ count_Y,
    )  # fmt: skip


def allowed_recompute(job: Job) -> tuple[str, ...]:
    """Recompute modes of the job, narrowed by its pin."""
    return tuple(m for m in job.recompute if str(job.pins.get("recompute", m)) == m)


def shard_spans(task: Problem, rows: Rows) -> Spans:
    """Ideal spans of the axes inside a layer, whatever the outer degrees will be: (K, A, T)."""
    one = np.ones_like(rows["tp"])
    degrees = {a: rows.get(a, one) for a in AXES}
    return kept_spans(task.cluster, degrees | {"dp": rows["gtp"], "pp": one, "edp": rows["egtp"]}, task.keep)


def fullest(task: Problem, value_SY: Floats, pp_S: Ints) -> Floats:
    """Least load of the fullest stage where blocks cannot be cut: n blocks of a type put ceil(n / pp) on some stage. (S,)"""
    load_S = np.zeros(len(pp_S))
    for y, n in enumerate(task.model.count_Y.tolist()):
        np.maximum(load_S, -(-n // pp_S) * value_SY[:, y], out=load_S)
    return load_S


def lead(task: Problem, value_SY: Floats, pp_S: Ints) -> Floats:
    """Mean over stages of the load of as many blocks as there are stages before it (`makespan_bound`). (S,)"""
    weight_PY = lead_weights(task.model.type_B, len(task.model.types))
    return np.asarray((weight_PY[pp_S] * value_SY).sum(axis=1))


def fullest_params(task: Problem, prices: Prices, rows: Rows) -> tuple[Floats, Floats]:
    """Dense and expert parameters that some stage holds at least: the mean, or the whole blocks of one type. (S,) each."""
    k, pp = rows["k"], rows["pp"]
    dense, expert = prices.dense_K[k] / pp, prices.expert_K[k] / pp
    for y, n in enumerate(task.model.count_Y.tolist()):
        most = -(-n // pp)
        dense_y, expert_y = most * prices.held.dense_KY[k, y], most * prices.held.expert_KY[k, y]
        more = dense_y + expert_y > dense + expert
        dense, expert = np.where(more, dense_y, dense), np.where(more, expert_y, expert)
    return dense, expert


@dataclass(frozen=True)
class Across:
    """A way to lie across a thin tier (`thin.Way`), (I,) each: `reduce_I`, `gather_I` as in `Facts`, `spB_I` of a boundary."""

    reduce_I: Floats
    gather_I: Floats
    spB_I: Floats
    never_I: Bools


@dataclass(frozen=True)
class Facts:
    """What all whole strategies of an inner row share, (I,) each.

    `fwd_I`, `bwd_I` one microbatch through all blocks; `full_I` the fullest stage, `last_I` the head, `lead_I` see `lead`;
    `dense_I`, `expert_I` parameters that some stage holds at least; `reduce_I`, `gather_I` their scatter and gather alone on
    the network, over `dp_cp_I` and `edp_I` ranks. A step takes `fixed_I` + `drag_I` x its busy seconds more. `across`: the ways
    across each thin tier; `edge_I` bytes of a message between stages.
    """

    task: Problem
    pp_I: Whole
    batch_I: Whole  # microbatches
    fwd_I: Floats
    bwd_I: Floats
    full_I: Floats
    last_I: Floats
    lead_I: Floats
    dense_I: Floats
    expert_I: Floats
    dp_cp_I: Whole
    edp_I: Whole
    reduce_I: Floats
    gather_I: Floats
    fixed_I: Floats
    drag_I: Floats
    edge_I: Floats
    across: Sequence[Sequence[Across]]

    def pipeline_s(
        self, i: Whole, schedule: Whole, vpp: Whole, again_s: Floats | float = 0.0, lag_s: Floats | float = 0.0
    ) -> Floats:
        """Least seconds of the pipelines of rows `i`; `again_s` of recompute that a microbatch costs at least, `lag_s` of a
        message over some boundary.
        """
        out, again, lag = np.empty(len(i)), np.broadcast_to(again_s, i.shape), np.broadcast_to(lag_s, i.shape)
        for s in np.flatnonzero(np.bincount(schedule)).tolist():
            here = np.flatnonzero(schedule == s)
            at = i[here]
            out[here] = makespan_bound(
                SCHEDULES[s], self.pp_I[at], vpp[here], self.batch_I[at], self.fwd_I[at], self.bwd_I[at] + again[here],
                self.full_I[at], self.last_I[at], self.lead_I[at], lag[here],
            )  # fmt: skip
        return out

    def lag_s(self, way: Across, i: Whole, wraps: Bools) -> Floats:
        """Seconds of a message over a boundary that rows `i` have to cross; one that `wraps` carries all of a column."""
        spB_S, task = way.spB_I[i] * np.where(wraps, 2.0, 1.0), self.task
        seconds_S = message_s(context(task.job, task.hw), task.efficiency, spB_S[:, None], self.edge_I[i], np.zeros(1))
        return np.where(spB_S > 0, seconds_S, 0.0)


def facts(task: Problem, prices: Prices, rows: Rows) -> Facts:
    """Facts of inner rows (columns of outer and inner degrees, num_microbatches, and `k`: a row of `prices`).

    Some stage holds at least as many parameters as `fullest_params`; what it cannot hide is convex in them. Overheads are
    linear in the busy seconds, so two points tell them.
    """
    job, hw, eff, k = task.job, task.hw, task.efficiency, rows["k"]
    dense, expert = fullest_params(task, prices, rows)
    dp_cp, edp = rows["dp"] * rows["cp"] // rows["gtp"], rows["edp"] // rows["egtp"]
    known = None if job.ragged else rows["cell"]
    spans = kept_spans(
        task.cluster, rows, task.keep, axes=("cp", "gtp", "dp", "egtp", "edp"), cell_S=known
    )  # those that gradients travel along

    def alone_s(lie: Spans) -> tuple[Floats, Floats]:
        sizes, o = (np.asarray(dp_cp, float), np.asarray(edp, float)), job.optimizer
        reduce_s = all_params_s(context(job, hw), eff, o.grad_reduce_bytes, dense, expert, *sizes, lie)
        if o.param_gather_bytes == o.grad_reduce_bytes:
            return reduce_s, reduce_s
        return reduce_s, all_params_s(context(job, hw), eff, o.param_gather_bytes, dense, expert, *sizes, lie)

    def across(way: Way) -> Across:
        (reduce_s, gather_s), (apart_s, spread_s) = map(alone_s, way.rings(spans))
        return Across(np.minimum(reduce_s, apart_s), np.minimum(gather_s, spread_s), way.pp_S, way.never_S)

    open_S = np.zeros(len(k), bool)  # boundaries that close no ring carry no more than those that do
    cell = kept_sizes(task.cluster, rows, task.keep, True) if known is None else known
    tiers = ways(task.cluster, rows, open_S, cell, ragged=job.ragged)
    edge = edge_bytes(task.model, job, Shards(*(rows[n] for n in SHARD)))
    world, m = rows["tp"] * rows["cp"] * rows["dp"] * rows["pp"], rows["num_microbatches"]
    fixed, with_one = (overhead_s(job, hw, eff, world_size=world, num_microbatches=m, busy_s=busy) for busy in (0.0, 1.0))
    pp, block = rows["pp"], prices.block_KY[k]
    return Facts(
        task, pp, m, prices.fwd_K[k], prices.bwd_K[k], fullest(task, block, pp), prices.last_K[k], lead(task, block, pp),
        dense, expert, dp_cp, edp, *alone_s(spans), fixed, with_one - fixed, edge,
        [[across(way) for way in tier] for tier in tiers],
    )  # fmt: skip
