# SPDX-License-Identifier: Apache-2.0
# A replica: one (tp, cp, micro_batch, dp)   S outer row = replica x pp   H head: one (tp, cp, micro_batch)   P depth: one pp
"""The top of the search tree: every world size and number of microbatches, with an optimistic bound of all below it.

Nothing is cut without a reason that is counted: `rejected` says how many strategies (leaves) each rule removed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import TENSORS, capacity
from placement.cost.memory import limit_bytes
from placement.cost.pipeline_bound import makespan_bound
from placement.ir import SCHEDULES, SHARDING, Job
from placement.ir._array import Bools, Floats
from placement.passes.leaves import MEMORY
from placement.passes.optimistic import fullest, lead, prices
from placement.passes.problem import Problem
from placement.passes.strategies import (
    Rows,
    Space,
    Whole,
    cross,
    domain_gpus,
    expert_rows,
    heads,
    length,
    product,
    replicas,
    shard_rows,
    take,
)  # fmt: skip

DIVISIBILITY = "divisibility: batch, sequence or experts do not split evenly"
SIZE = "more GPUs than are usable"
SCHEDULE = "the schedule does not run at these degrees"


@dataclass(frozen=True)
class Tree:
    """Outer rows by ascending bound. `head_S` head of each; `leaves_S` strategies below each."""

    space: Space
    outer: Rows
    bound_S: Floats
    head_S: Whole
    leaves_S: Whole
    head: Rows
    experts: Rows
    leaf_table: Rows
    enumerated: int
    rejected: Counter[str]


def grow(task: Problem, space: Space) -> Tree:
    """Every outer row that divides, fits the cluster and may fit the memory, bounded by its cheapest shard."""
    domain, pps = domain_gpus(task.cluster), np.array(space.pp, dtype=np.int64)
    head, experts, table = heads(space, task.job), expert_rows(space, domain), leaf_table(space)
    if task.keep == TENSORS:  # nothing but expert groups is parted there
        experts = take(experts, experts["ep"] > 1)
    per_P = np.array([fitting(table, pp, task.model.num_blocks).sum() for pp in space.pp], dtype=np.int64)
    rows, even_A = replicas(space, task.job)
    shards_A = _num_shards(space, rows, experts, domain)
    below_P = np.concatenate([[0], np.cumsum(per_P)])  # leaves below the shallowest pp of a shard
    rejected = Counter({DIVISIBILITY: int(shards_A[~even_A].sum() * below_P[-1])})
    enumerated = int(shards_A.sum() * below_P[-1])
    rows, shards_A = take(rows, even_A), shards_A[even_A]
    depths_A = np.searchsorted(pps, usable_gpus(task) // (rows["tp"] * rows["cp"] * rows["dp"]), "right")
    rejected[SIZE] = int((shards_A * (below_P[-1] - below_P[depths_A])).sum())
    replica_S = np.repeat(np.arange(len(depths_A)), depths_A)
    depth_S = np.arange(len(replica_S)) - np.repeat(np.cumsum(depths_A) - depths_A, depths_A)
    leaves_S = shards_A[replica_S] * per_P[depth_S]
    head_A = _head_index(space, head, rows)
    m_A = task.job.global_batch // (rows["dp"] * rows["micro_batch"])
    bound_S, holds_S = _outer_bound(task, space, head, experts, head_A[replica_S], depth_S, m_A[replica_S])
    rejected[MEMORY] = int(leaves_S[~holds_S].sum())
    rejected[SCHEDULE] = int(leaves_S[holds_S & (bound_S == np.inf)].sum())
    keep = np.flatnonzero((bound_S < np.inf) & (leaves_S > 0))
    keep = keep[np.argsort(bound_S[keep], kind="stable")]
    outer = take(rows, replica_S[keep]) | {"pp": pps[depth_S[keep]]}
    return Tree(
        space, outer, bound_S[keep], head_A[replica_S[keep]], leaves_S[keep], head, experts, table, enumerated, rejected
    )  # fmt: skip


def usable_gpus(task: Problem) -> int:
    """GPUs that ranks may take: usable, on whole nodes, within `max_gpus`, less the spares asked for."""
    total = int(capacity(task.cluster, 1, task.job.ragged, task.job.spares))
    return min(total, task.job.max_gpus or total)


@dataclass(frozen=True)
class _Least:
    """What no shard of a head goes below, for one microbatch: all blocks (infinite where no shard's experts fit the memory of
    so many stages), forward, the less of forward and backward, the fullest stage, the head, `optimistic.lead`.
    """

    total_HP: Floats
    fwd_H: Floats
    half_H: Floats
    load_HP: Floats
    last_H: Floats
    lead_HP: Floats


def _least(task: Problem, space: Space, head: Rows, experts: Rows) -> _Least:
    """Weight gathers of dense layers are left out, those of experts count from their cheapest form (egtp 2, or a pin) on."""
    plain = take(experts, experts["egtp"] <= max(2, int(experts["egtp"].min())))
    per_head, pps = length(plain), np.array(space.pp, dtype=np.int64)
    priced, _ = prices(task, cross(cross(head, product(gtp=(1,))), plain))
    share = np.where(plain["egtp"] > 1, domain_gpus(task.cluster) / (plain["ep"] * plain["etp"]), 1.0)
    held_HK = priced.expert_K.reshape(-1, per_head) * np.where(share > 1.0, plain["egtp"], 1.0) / np.maximum(share, 1.0)
    limit = limit_bytes(task.job, task.hw)
    room_P = np.array([limit * pp / max(least_bytes(task.job, space, pp), 1e-9) for pp in space.pp])
    total_HP = np.full((length(head), len(pps)), np.inf)
    for h, (held_K, total_K) in enumerate(zip(held_HK, priced.total_K.reshape(-1, per_head), strict=True)):
        order = np.argsort(held_K, kind="stable")
        best = np.concatenate([[np.inf], np.minimum.accumulate(total_K[order])])
        total_HP[h] = best[np.searchsorted(held_K[order], room_P, "right")]
    block_HY = priced.block_KY.reshape(length(head), per_head, -1).min(axis=1)
    block_SY, pp_S = np.repeat(block_HY, len(pps), axis=0), np.tile(pps, length(head))
    load_HP, lead_HP = (least(task, block_SY, pp_S).reshape(total_HP.shape) for least in (fullest, lead))
    fwd_H, bwd_H, last_H = (x.reshape(-1, per_head).min(axis=1) for x in (priced.fwd_K, priced.bwd_K, priced.last_K))
    return _Least(total_HP, fwd_H, np.minimum(fwd_H, bwd_H), load_HP, last_H, lead_HP)


def _outer_bound(
    task: Problem, space: Space, head: Rows, experts: Rows, head_S: Whole, depth_S: Whole, m_S: Whole
) -> tuple[Floats, Bools]:
    """Least step seconds below each outer row, the pipeline alone (infinite: nothing runs), and whether the memory may do."""
    if not len(head_S) or not length(experts):
        return np.full(len(head_S), np.inf), np.zeros(len(head_S), bool)
    of = _least(task, space, head, experts)
    total_S = of.total_HP[head_S, depth_S]
    holds_S = np.isfinite(total_S)
    bound_S = np.full(len(total_S), np.inf)
    h, p = head_S[holds_S], depth_S[holds_S]
    pp = np.array(space.pp, dtype=np.int64)[p]
    bound_S[holds_S] = _least_makespan(
        task, space, pp, m_S[holds_S], of.half_H[h], of.fwd_H[h], total_S[holds_S], of.load_HP[h, p], of.last_H[h],
        of.lead_HP[h, p],
    )  # fmt: skip
    return bound_S, holds_S


def _least_makespan(
    task: Problem, space: Space, pp: Whole, m: Whole, half: Floats, fwd: Floats, total: Floats, load: Floats, last: Floats,
    before: Floats,
) -> Floats:  # fmt: skip
    """Makespan bound of the best schedule of the space, interleaved as finely as the blocks allow. (S,)

    `fwd` and `half` are least forward seconds and the least of forward and backward over all shards. A short batch under 1F1B
    is bounded by the larger of forward and backward, which `half` cannot overstate.
    """
    best, fwd = np.full(len(pp), np.inf), np.minimum(fwd, total)
    for name in sorted({schedule for schedule, _ in space.leaves}):
        finest = max(v for s, v in space.leaves if s == name)
        vpp = np.clip(task.model.num_blocks // pp, 1, finest) if name == "interleaved" else np.full(len(pp), finest)
        runs = m >= pp if name == "interleaved" else np.ones(len(pp), bool)
        seconds = makespan_bound(name, pp, vpp, m, fwd, total - fwd, load, last, before)
        if name == "1f1b":
            short = np.maximum(total + (m - 1) * np.maximum(half / pp, last), m * total / pp)
            seconds = np.where(m <= pp, short, seconds)
        best = np.where(runs, np.minimum(best, seconds), best)
    return np.asarray(np.where(pp == 1, m * total, best))


def least_bytes(job: Job, space: Space, pp: int) -> float:
    """Bytes that a held parameter takes at least, under the mildest sharding allowed at this depth."""
    weights = {"none": 2.0 + job.optimizer.grad_bytes, "zero1": 2.0 + job.optimizer.grad_bytes, "zero2": 2.0, "fsdp": 0.0}
    return min((weights[s] for s in space.sharding if s != "fsdp" or pp == 1), default=0.0)


def leaf_table(space: Space) -> Rows:
    """Every (schedule, vpp, sharding) as indices: what may hang below an outer row."""
    table = [(SCHEDULES.index(s), v, SHARDING.index(h)) for s, v in space.leaves for h in space.sharding]
    columns = np.array(table, dtype=np.int64).reshape(-1, 3).T
    return dict(zip(("schedule", "vpp", "sharding"), columns, strict=True))


def fitting(table: Rows, pp: int, blocks: int) -> Bools:
    """Leaves that make sense for pp stages: no empty chunk; a single stage needs no schedule but the plainest.

    fsdp under a pipeline keeps its weights gathered (torchtitan `reshard_after_forward`, Megatron likewise), which is zero2.
    """
    fits = table["vpp"] * pp <= blocks
    if pp == 1 and length(table):
        return np.asarray(fits & (table["schedule"] == table["schedule"].min()) & (table["vpp"] == 1))
    return np.asarray(fits & (table["sharding"] != SHARDING.index("fsdp")))


def _num_shards(space: Space, rows: Rows, experts: Rows, domain: int) -> Whole:
    """Ways to cut a layer below each row, (A,): weight shards that fit beside tp and cp, times the expert rows."""
    one = {"tp": np.ones(1, np.int64), "cp": np.ones(1, np.int64)}
    gtp_G = shard_rows(one, space, 10**9, take(experts, slice(0, 1)))["gtp"]
    width, which_A = np.unique(rows["tp"] * rows["cp"], return_inverse=True)
    fits_WG = (gtp_G == 1) | (width[:, None] * gtp_G <= domain)
    return np.asarray(fits_WG.sum(axis=1)[which_A] * length(experts), np.int64)


def _head_index(space: Space, head: Rows, rows: Rows) -> Whole:
    """Position of the (tp, cp, micro_batch) of each row among the heads; every row must have one."""
    values = (("tp", space.tp), ("cp", space.cp), ("micro_batch", space.micro_batch))

    def code(table: Rows) -> Whole:
        out = np.zeros(length(table), dtype=np.int64)
        for name, known in values:
            out = out * len(known) + np.searchsorted(np.array(known), table[name])
        return out

    place = np.full(len(space.tp) * len(space.cp) * len(space.micro_batch), -1)
    place[code(head)] = np.arange(length(head))
    return np.asarray(place[code(rows)], np.int64)
