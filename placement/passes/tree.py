# SPDX-License-Identifier: Apache-2.0
# S strategy row   K shard   H head: one (tp, cp, micro_batch)
"""The search tree: outer rows with an optimistic bound, opened into leaves that carry tighter ones.

Nothing is cut without a reason that is counted: `rejected` says how many strategies (leaves) each rule removed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.cost.cells import capacity, cell_sizes, largest_domain
from placement.cost.memory import limit_bytes, memory_bound, recompute_bound_s
from placement.cost.pipeline_bound import makespan_bound
from placement.cost.schedules import misfit
from placement.ir import SCHEDULES, SHARDING, Job
from placement.ir._array import Bools, Floats, Ints
from placement.passes.optimistic import Bounds, Prices, fullest, join_prices, prices, step_bound
from placement.passes.problem import Problem
from placement.passes.strategies import (
    Rows,
    Space,
    cross,
    domain_gpus,
    expert_rows,
    heads,
    length,
    outer_rows,
    product,
    shard_rows,
    take,
)  # fmt: skip

DIVISIBILITY = "divisibility: batch, sequence or experts do not split evenly"
SIZE = "more GPUs than are usable"
CELLS = "groups do not fit NVLink domains and whole nodes"
SCHEDULE = "the schedule does not run at these degrees"
MEMORY = "memory"
BOUND = "slower than the plan, by bound"


@dataclass(frozen=True)
class Tree:
    """Outer rows by ascending bound. `head_S` head of each; `leaves_S` strategies below each; `num_shards` of a head."""

    space: Space
    outer: Rows
    bound_S: Floats
    head_S: Ints
    leaves_S: Ints
    head: Rows
    experts: Rows
    num_shards_H: Ints
    leaf_table: Rows
    enumerated: int
    rejected: Counter[str]


@dataclass(frozen=True)
class Shelf:
    """Priced shards of one head, by ascending cost of a microbatch."""

    shards: Rows
    prices: Prices


def grow(task: Problem, space: Space) -> Tree:
    """Every outer row that divides and fits the cluster, bounded by the cheapest shard that its memory could hold."""
    job, domain = task.job, domain_gpus(task.cluster)
    rows, even_S = outer_rows(space, job)
    head, experts = heads(space, job), expert_rows(space, domain)
    head_S = _head_index(space, head, rows)
    even_S &= head_S >= 0
    num_shards_H = _num_shards(space, head, experts, domain)
    table = _leaf_table(space)
    per_pp = np.array([_fitting(table, pp, task.model.num_blocks).sum() for pp in space.pp])
    leaves_S = per_pp[np.searchsorted(np.array(space.pp), rows["pp"])] * num_shards_H[head_S]
    fits_S = rows["tp"] * rows["cp"] * rows["dp"] * rows["pp"] <= usable_gpus(task)
    rejected = Counter({DIVISIBILITY: int(leaves_S[~even_S].sum()), SIZE: int(leaves_S[even_S & ~fits_S].sum())})
    keep = np.flatnonzero(even_S & fits_S & (leaves_S > 0))
    rows, head_S = take(rows, keep), head_S[keep]
    bound_S = _outer_bound(task, space, head, experts, rows, head_S)
    order = np.argsort(bound_S, kind="stable")
    return Tree(
        space, take(rows, order), bound_S[order], head_S[order], leaves_S[keep][order], head, experts, num_shards_H, table,
        int(leaves_S.sum()), rejected,
    )  # fmt: skip


def usable_gpus(task: Problem) -> int:
    """GPUs that ranks may take: usable, on whole nodes, within `max_gpus`, less the spares asked for."""
    total = int(capacity(task.cluster, 1, task.job.ragged, task.job.spares))
    return min(total, task.job.max_gpus or total)


def _outer_bound(task: Problem, space: Space, head: Rows, experts: Rows, rows: Rows, head_S: Ints) -> Floats:
    """Least step seconds below each outer row: the pipeline alone, with the cheapest shard whose experts can fit the memory.

    Weight gathers of dense layers are left out, those of experts count from their cheapest form (egtp 2) on.
    """
    if not length(rows):
        return np.zeros(0)
    plain = take(experts, experts["egtp"] <= 2)
    shards = cross(cross(head, product(gtp=(1,))), plain)
    priced = prices(task, shards)
    share = np.where(plain["egtp"] > 1, domain_gpus(task.cluster) / (plain["ep"] * plain["etp"]), 1.0)
    share_K = np.tile(share, length(head))
    held_K = priced.expert_K * np.where(share_K > 1.0, 2.0, 1.0) / np.maximum(share_K, 1.0)
    per_head = len(share)
    limit = limit_bytes(task.job, task.hw)
    pps = np.array(space.pp)
    room_P = np.array([limit * pp / max(_least_bytes(task.job, space, int(pp)), 1e-9) for pp in pps])
    cost_HP = np.full((length(head), len(pps)), np.inf)
    for h in range(length(head)):
        at = slice(h * per_head, (h + 1) * per_head)
        order = np.argsort(held_K[at], kind="stable")
        best = np.concatenate([[np.inf], np.minimum.accumulate(priced.total_K[at][order])])
        cost_HP[h] = best[np.searchsorted(held_K[at][order], room_P, "right")]
    block_HY = priced.block_KY.reshape(length(head), per_head, -1).min(axis=1)
    fwd_H, bwd_H = (x.reshape(-1, per_head).min(axis=1) for x in (priced.fwd_K, priced.bwd_K))
    last_H = priced.last_K.reshape(-1, per_head).min(axis=1)
    m = task.job.global_batch // (rows["dp"] * rows["micro_batch"])
    total = cost_HP[head_S, np.searchsorted(pps, rows["pp"])]
    load = fullest(task, block_HY[head_S], rows["pp"])
    return _least_makespan(
        task, space, rows["pp"], m, np.minimum(fwd_H, bwd_H)[head_S], fwd_H[head_S], total, load, last_H[head_S]
    )


def _least_makespan(
    task: Problem, space: Space, pp: Ints, m: Ints, half: Floats, fwd: Floats, total: Floats, load: Floats, last: Floats
) -> Floats:
    """Makespan bound of the best schedule of the space, interleaved as finely as the blocks allow. (S,)

    `fwd` and `half` are least forward seconds and the least of forward and backward over all shards; `total` is infinite where
    no shard fits. A short batch under 1F1B is bounded by the larger of forward and backward, which `half` cannot overstate.
    """
    best = np.full(len(pp), np.inf)
    known = np.isfinite(total)
    total = np.where(known, total, 0.0)
    fwd = np.minimum(fwd, total)
    for name in sorted({schedule for schedule, _ in space.leaves}):
        finest = max(v for s, v in space.leaves if s == name)
        vpp = np.clip(task.model.num_blocks // pp, 1, finest) if name == "interleaved" else np.full(len(pp), finest)
        runs = m >= pp if name == "interleaved" else np.ones(len(pp), bool)
        seconds = makespan_bound(name, pp, vpp, m, fwd, total - fwd, load, last)
        if name == "1f1b":
            short = np.maximum(total + (m - 1) * np.maximum(half / pp, last), m * total / pp)
            seconds = np.where(m <= pp, short, seconds)
        best = np.where(runs, np.minimum(best, seconds), best)
    single = m * total
    return np.asarray(np.where(known, np.where(pp == 1, single, best), np.inf))


def _least_bytes(job: Job, space: Space, pp: int) -> float:
    """Bytes that a held parameter takes at least, under the mildest sharding allowed at this depth."""
    weights = {"none": 2.0 + job.optimizer.grad_bytes, "zero1": 2.0 + job.optimizer.grad_bytes, "zero2": 2.0, "fsdp": 0.0}
    return min((weights[s] for s in space.sharding if s != "fsdp" or pp == 1), default=0.0)


def shelf(task: Problem, tree: Tree, h: int) -> Shelf:
    """Price every shard of a head."""
    one = {k: v[h : h + 1] for k, v in tree.head.items()}
    shards = shard_rows(one, tree.space, domain_gpus(task.cluster), tree.experts)
    priced = prices(task, shards)
    order = np.argsort(priced.total_K, kind="stable")
    return Shelf(take(shards, order), priced.at(order))


def open_rows(
    task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, shelves: dict[int, Shelf]
) -> tuple[Rows, Bounds, Counter[str], int]:
    """Leaves below the outer rows lo..hi whose bound is under `upper_s`, with their bounds, ascending.

    Also what was rejected and why, and how many leaves were scored. `shelves` keeps the priced shards of heads: columns `head`
    and `k` of a leaf point into them.
    """
    rejected: Counter[str] = Counter()
    wanted = np.unique(tree.head_S[lo:hi]).tolist()
    for h in wanted:
        if h not in shelves:
            shelves[h] = shelf(task, tree, h)
    priced = join_prices([shelves[h].prices for h in wanted])
    rows = _open_inner(task, tree, lo, hi, upper_s, {h: shelves[h] for h in wanted}, rejected)
    rows = _fold(task, rows, rejected)
    rows = _hold(task, tree, rows, priced, rejected)
    rows = _open_leaves(task, rows, tree, rejected)
    return _bounded(task, rows, priced, upper_s, rejected)


def _open_inner(
    task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, shelves: dict[int, Shelf], rejected: Counter[str]
) -> Rows:
    """Outer rows joined with the shards of their head that could still beat `upper_s`: a prefix, as shards ascend in cost."""
    parts, offset = [], 0
    for h, shelf in shelves.items():
        at = lo + np.flatnonzero(tree.head_S[lo:hi] == h)
        outer = {k: v[at] for k, v in tree.outer.items()}
        m = task.job.global_batch // (outer["dp"] * outer["micro_batch"])
        cost, size = shelf.prices.total_K, length(shelf.shards)
        num = np.searchsorted(cost, upper_s * outer["pp"] / m, "left")
        below = np.asarray(tree.leaves_S[at] // size, np.int64)
        rejected[BOUND] += int((below * (size - num)).sum())
        row = np.repeat(np.arange(len(at)), num)
        k = np.arange(len(row)) - np.repeat(np.cumsum(num) - num, num)
        inner = {n: shelf.shards[n][k] for n in ("ep", "etp", "gtp", "egtp")}
        parts.append(
            {n: v[row] for n, v in outer.items()} | inner
            | {"k": k + offset, "shelf_k": k, "num_microbatches": m[row], "below": below[row], "head": np.full(len(k), h)}
        )  # fmt: skip
        offset += size
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _fold(task: Problem, rows: Rows, rejected: Counter[str]) -> Rows:
    """Keep rows whose experts and weight shards fold the ranks of a stage, and whose cells fit the domains."""
    stage, expert = rows["tp"] * rows["cp"] * rows["dp"], rows["etp"] * rows["ep"]
    edp = stage // expert
    even = (stage % expert == 0) & (rows["dp"] % rows["gtp"] == 0) & (edp % rows["egtp"] == 0)
    rejected[DIVISIBILITY] += int(rows["below"][~even].sum())
    rows = take(rows, even) | {"edp": edp[even]}
    if not length(rows):
        return rows
    cell = cell_sizes(rows, largest_domain(task.cluster, task.job.ragged))
    sizes, which = np.unique(cell, return_inverse=True)
    room = capacity(task.cluster, np.asarray(sizes, np.int64), task.job.ragged, task.job.spares)[which]
    world, node = stage[even] * rows["pp"], task.cluster.gpus_per_node
    whole = (world % node == 0) | (world < node) | task.job.ragged
    fits = (world % cell == 0) & (world // cell <= room) & whole
    rejected[CELLS] += int(rows["below"][~fits].sum())
    return take(rows, fits)


def _hold(task: Problem, tree: Tree, rows: Rows, priced: Prices, rejected: Counter[str]) -> Rows:
    """Drop rows whose weights alone are too much for the mean stage."""
    least = np.array([_least_bytes(task.job, tree.space, int(pp)) for pp in tree.space.pp])
    bytes_S = least[np.searchsorted(np.array(tree.space.pp), rows["pp"])]
    held = (priced.dense_K + priced.expert_K)[rows["k"]] / rows["pp"] * bytes_S
    fits = held <= limit_bytes(task.job, task.hw)
    rejected[MEMORY] += int(rows["below"][~fits].sum())
    return take(rows, fits)


def _open_leaves(task: Problem, rows: Rows, tree: Tree, rejected: Counter[str]) -> Rows:
    """Join with (schedule, vpp, sharding); drop what the schedule cannot run."""
    parts = []
    code = rows["pp"] * (task.job.global_batch + 1) + rows["num_microbatches"]
    for value in np.unique(code).tolist():
        here = take(rows, code == value)
        pp, m = divmod(value, task.job.global_batch + 1)
        table = take(tree.leaf_table, _fitting(tree.leaf_table, pp, task.model.num_blocks))
        runs = np.array(
            [not misfit(SCHEDULES[s], pp, v, m) for s, v in zip(table["schedule"], table["vpp"], strict=True)], bool
        )
        rejected[SCHEDULE] += int((~runs).sum()) * length(here)
        parts.append(cross(here, take(table, runs)))
    if not parts:
        return rows | dict.fromkeys(("schedule", "vpp", "sharding"), rows["k"])
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _bounded(
    task: Problem, rows: Rows, priced: Prices, upper_s: float, rejected: Counter[str]
) -> tuple[Rows, Bounds, Counter[str], int]:
    """Leaves that may beat `upper_s` and may fit memory, with their step bound, ascending."""
    scored = length(rows)
    if not scored:
        return rows, Bounds(np.zeros(0), np.zeros(0), np.zeros(0)), rejected, 0
    bound = step_bound(task, priced, rows)
    rows, bound = _below(rows, bound, upper_s, rejected)
    limit = limit_bytes(task.job, task.hw)
    if length(rows):
        fits = memory_bound(task.model, task.job, priced.layer, rows["k"], **_columns(task, rows)) <= limit
        rejected[MEMORY] += int((~fits).sum())
        rows, bound = take(rows, fits), bound.at(fits)
    if length(rows):
        again_s = recompute_bound_s(task.model, task.job, priced.layer, rows["k"], limit, **_columns(task, rows))
        rows, bound = _below(rows, step_bound(task, priced, rows, again_s), upper_s, rejected)
    order = np.argsort(bound.step_S, kind="stable")
    kept = {n: v[order] for n, v in rows.items() if n not in ("k", "below")}
    kept["k"] = kept.pop("shelf_k")
    return kept, bound.at(order), rejected, scored


def _below(rows: Rows, bound: Bounds, upper_s: float, rejected: Counter[str]) -> tuple[Rows, Bounds]:
    quick = bound.step_S < upper_s
    rejected[BOUND] += int((~quick).sum())
    return take(rows, quick), bound.at(quick)


def _columns(task: Problem, rows: Rows) -> dict[str, Any]:
    """Leaves as the memory bounds take them."""
    names = ("schedule", "sharding", "pp", "num_microbatches", "dp", "cp", "edp", "gtp", "egtp", "tp", "micro_batch")
    return {f"{n}_S": rows[n] for n in names} | {"modes": allowed_recompute(task.job)}


def allowed_recompute(job: Job) -> tuple[str, ...]:
    """Recompute modes of the job, narrowed by its pin."""
    return tuple(m for m in job.recompute if str(job.pins.get("recompute", m)) == m)


def _leaf_table(space: Space) -> Rows:
    """Every (schedule, vpp, sharding) as indices: what may hang below an outer row."""
    table = [(SCHEDULES.index(s), v, SHARDING.index(h)) for s, v in space.leaves for h in space.sharding]
    columns = np.array(table, dtype=np.int64).reshape(-1, 3).T
    return dict(zip(("schedule", "vpp", "sharding"), columns, strict=True))


def _fitting(table: Rows, pp: int, blocks: int) -> Bools:
    """Leaves that make sense for pp stages: no empty chunk; a single stage needs no schedule but the plainest.

    fsdp under a pipeline keeps its weights gathered (torchtitan `reshard_after_forward`, Megatron likewise), which is zero2.
    """
    fits = table["vpp"] * pp <= blocks
    if pp == 1 and length(table):
        return np.asarray(fits & (table["schedule"] == table["schedule"].min()) & (table["vpp"] == 1))
    return np.asarray(fits & (table["sharding"] != SHARDING.index("fsdp")))


def _num_shards(space: Space, head: Rows, experts: Rows, domain: int) -> Ints:
    """Shards of each head, (H,): weight shards that fit beside tp and cp, times the expert rows."""
    width_H = head["tp"] * head["cp"]
    one = {k: v[:1] for k, v in head.items()}
    values = np.array([int(g) for g in shard_rows(one, space, 10**9, take(experts, slice(0, 1)))["gtp"]], dtype=np.int64)
    fits_HG = (values == 1) | (width_H[:, None] * values <= domain)
    return np.asarray(fits_HG.sum(axis=1) * length(experts))


def _head_index(space: Space, head: Rows, rows: Rows) -> Ints:
    """Position of the (tp, cp, micro_batch) of each row among the heads, -1 where its sequence does not split."""
    values = (("tp", space.tp), ("cp", space.cp), ("micro_batch", space.micro_batch))

    def code(table: Rows) -> Ints:
        out = np.zeros(length(table), dtype=np.int64)
        for name, known in values:
            out = out * len(known) + np.searchsorted(np.array(known), table[name])
        return out

    place = np.full(len(space.tp) * len(space.cp) * len(space.micro_batch), -1)
    place[code(head)] = np.arange(length(head))
    return np.asarray(place[code(rows)])
