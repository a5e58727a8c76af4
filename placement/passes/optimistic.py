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

from placement.cost.ideal import ideal_spans
from placement.cost.layers import LayerCost, layer_cost
from placement.cost.pipeline_bound import makespan_bound
from placement.cost.shards import Shards
from placement.cost.step import dp_s, dp_windows, optimizer_s, overhead_s
from placement.ir import AXES, SCHEDULES, SHARDING, Cluster, Spans
from placement.ir._array import Bools, Floats, Ints
from placement.passes.problem import Problem
from placement.passes.strategies import Rows, length


@dataclass(frozen=True)
class Prices:
    """Shards priced on ideal spans: `layer` as `layer_cost` gives it, and totals over all blocks for one microbatch.

    `block_KY` a block of each type, `last_K` the last block (the head), forward and backward; `dense_K`, `expert_K`
    parameters that one rank would hold if there were a single stage. Seconds and counts.
    """

    layer: LayerCost
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
        rest = {f: getattr(self, f)[index] for f in _TOTALS}
        return Prices(LayerCost(**{f: getattr(self.layer, f)[index] for f in _LAYER}), **rest)


_LAYER = tuple(LayerCost.__dataclass_fields__)
_TOTALS = ("fwd_K", "bwd_K", "block_KY", "last_K", "dense_K", "expert_K")


def join_prices(parts: Sequence[Prices]) -> Prices:
    """Prices one after the other."""
    if len(parts) == 1:
        return parts[0]
    rest = {f: np.concatenate([getattr(p, f) for p in parts]) for f in _TOTALS}
    return Prices(LayerCost(**{f: np.concatenate([getattr(p.layer, f) for p in parts]) for f in _LAYER}), **rest)


WIDE_S = 1e6  # a window in which every reduction hides
CHUNK = 4096  # shards priced at a time: the tables of a chunk stay in cache


def prices(task: Problem, shards: Rows) -> Prices:
    """Price shards (columns tp, cp, ep, etp, gtp, egtp, micro_batch), chunk by chunk."""
    return join_prices([
        _prices(task, {k: v[i : i + CHUNK] for k, v in shards.items()}) for i in range(0, length(shards), CHUNK)
    ])  # fmt: skip


def _prices(task: Problem, rows: Rows) -> Prices:
    model = task.model
    names = ("tp", "cp", "ep", "etp", "gtp", "egtp", "micro_batch")
    layer = layer_cost(
        model, task.job, task.hw, task.efficiency, Shards(*(rows[n] for n in names)), shard_spans(task.cluster, rows)
    )
    count_Y = model.count_Y
    total_KYD = layer.total_KYD
    block_KY = total_KYD.sum(axis=2)
    tied = sum((np.minimum(layer.dense_KY[:, model.type_B[a]], layer.dense_KY[:, model.type_B[b]]) for a, b in model.tied), 0.0)
    return Prices(
        layer, fwd_K=total_KYD[:, :, 0] @ count_Y, bwd_K=total_KYD[:, :, 1:].sum(axis=2) @ count_Y, block_KY=block_KY,
        last_K=block_KY[:, model.type_B[-1]], dense_K=layer.dense_KY @ count_Y - tied, expert_K=layer.expert_KY @ count_Y,
    )  # fmt: skip


def shard_spans(cluster: Cluster, rows: Rows) -> Spans:
    """Ideal spans of the axes inside a layer, whatever the outer degrees will be: (K, A, T)."""
    one = np.ones_like(rows["tp"])
    degrees = {a: rows.get(a, one) for a in AXES}
    return ideal_spans(cluster, degrees | {"dp": rows["gtp"], "pp": one, "edp": rows["egtp"]})


def fullest(task: Problem, value_SY: Floats, pp_S: Ints) -> Floats:
    """Least load of the fullest stage where blocks cannot be cut: n blocks of a type put ceil(n / pp) on some stage. (S,)"""
    load_S = np.zeros(len(pp_S))
    for y, n in enumerate(task.model.count_Y.tolist()):
        np.maximum(load_S, -(-n // pp_S) * value_SY[:, y], out=load_S)
    return load_S


def fullest_params(task: Problem, prices: Prices, rows: Rows) -> tuple[Floats, Floats]:
    """Dense and expert parameters that some stage holds at least: the mean, or the whole blocks of one type. (S,) each."""
    k, pp = rows["k"], rows["pp"]
    dense, expert = prices.dense_K[k] / pp, prices.expert_K[k] / pp
    for y, n in enumerate(task.model.count_Y.tolist()):
        most = -(-n // pp)
        dense_y, expert_y = most * prices.layer.dense_KY[k, y], most * prices.layer.expert_KY[k, y]
        more = dense_y + expert_y > dense + expert
        dense, expert = np.where(more, dense_y, dense), np.where(more, expert_y, expert)
    return dense, expert


def pipeline_s(task: Problem, prices: Prices, rows: Rows, again_s: Floats | float = 0.0) -> Floats:
    """Least seconds of the pipeline of each row (columns k, pp, vpp, schedule, num_microbatches).

    `again_s`: seconds of recompute that a microbatch costs at least.
    """
    k = rows["k"]
    return makespan_bound(
        rows["schedule"], rows["pp"], rows["vpp"], rows["num_microbatches"], prices.fwd_K[k], prices.bwd_K[k] + again_s,
        fullest(task, prices.block_KY[k], rows["pp"]), prices.last_K[k],
    )  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """Least step seconds of leaves, the pipeline's share, and what of the gradients a wider window could still hide. (S,)"""

    step_S: Floats
    pipeline_S: Floats
    hideable_S: Floats

    def at(self, index: Ints | Bools) -> Bounds:
        """Rows by index."""
        return Bounds(self.step_S[index], self.pipeline_S[index], self.hideable_S[index])


def step_bound(task: Problem, prices: Prices, rows: Rows, again_s: Floats | float = 0.0) -> Bounds:
    """Bounds of each row (every column of a leaf); `again_s` as in `pipeline_s`.

    Some stage holds at least as many parameters as `fullest_params`; what it cannot hide is convex in them. A stage that
    is busier than the mean hides more, but every second more in its microbatch costs `num_microbatches` seconds of pipeline,
    and gradients never hide behind more than the microbatches of the step, so a wider window saves no more than it costs.
    """
    job, hw, eff = task.job, task.hw, task.efficiency
    pipeline = pipeline_s(task, prices, rows, again_s)
    dense, expert = fullest_params(task, prices, rows)
    dp_cp, edp = rows["dp"] * rows["cp"] // rows["gtp"], rows["edp"] // rows["egtp"]
    m = rows["num_microbatches"]
    wide = dp_windows(rows["pp"], rows["vpp"])  # interleaving hides more: the drain of a stage's other chunks
    once = {"dense_params": dense, "expert_params": expert}
    spans = outer_spans(task.cluster, rows)
    shown, always = (
        dp_s(
            job,
            hw,
            eff,
            **once,
            dp_cp=dp_cp,
            edp=edp,
            sharding=rows["sharding"],
            spans=spans,
            busy_s=busy,
            windows=wide,
            num_microbatches=m,
        )
        for busy in (pipeline / m, np.full(len(m), WIDE_S))
    )
    sharded = rows["sharding"] >= SHARDING.index("zero1")
    copies = np.where((rows["schedule"] == SCHEDULES.index("dualpipe")) & (rows["pp"] > 1), 2, 1)
    shards = (np.where(sharded, copies * n, 1) for n in (dp_cp, edp))
    update = optimizer_s(job, hw, eff, **once, shard_dense=next(shards), shard_expert=next(shards))
    busy = pipeline + shown + update
    world = rows["tp"] * rows["cp"] * rows["dp"] * rows["pp"]
    step = np.asarray(busy + overhead_s(job, hw, eff, world_size=world, num_microbatches=m, busy_s=busy))
    return Bounds(step, pipeline, np.maximum(shown - always, 0.0))


def outer_spans(cluster: Cluster, rows: Rows) -> Spans:
    """Ideal spans of whole strategies, computed once for rows of equal degrees: (S, A, T)."""
    code_S = np.zeros(length(rows), dtype=np.int64)
    for axis in AXES:  # mixed radix code: one integer a row is quicker to make unique than nine columns
        values, inverse = np.unique(rows[axis], return_inverse=True)
        code_S = code_S * len(values) + inverse
    _, first, inverse = np.unique(code_S, return_index=True, return_inverse=True)
    spans = ideal_spans(cluster, {a: rows[a][first] for a in AXES})
    return Spans(spans.members[inverse], spans.ring_spB[inverse], spans.a2a_spB[inverse])
