# SPDX-License-Identifier: Apache-2.0
# S strategy row   K shard   H head: one (tp, cp, micro_batch)
"""The search tree: outer rows with an optimistic bound, opened into leaves that carry tighter ones.

Nothing is cut without a reason that is counted: `rejected` says how many strategies (leaves) each rule removed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import capacity, cell_sizes, largest_domain
from placement.cost.memory import memory_bound
from placement.cost.schedules import misfit
from placement.ir import SCHEDULES, SHARDING, Job
from placement.ir._array import Bools, Floats, Ints
from placement.passes.optimistic import Prices, prices, step_bound
from placement.passes.problem import Problem
from placement.passes.strategies import Rows, Space, cross, domain_gpus, length, outer_rows, shard_rows, take

DIVISIBILITY = "divisibility: batch, sequence or experts do not split evenly"
SIZE = "more GPUs than are usable"
CELLS = "tensor and expert groups do not fit the NVLink domains"
SCHEDULE = "the schedule does not run at these degrees"
MEMORY = "memory"
BOUND = "slower than the plan, by bound"


@dataclass(frozen=True)
class Tree:
    """Outer rows by ascending bound, and the shards they open into, sorted by head and then by cost.

    `start_H`, `stop_H` slices of the shards of each head; `head_S` head of each outer row; `leaves_S` strategies below each.
    """

    outer: Rows
    bound_S: Floats
    head_S: Ints
    leaves_S: Ints
    shards: Rows
    prices: Prices
    start_H: Ints
    stop_H: Ints
    leaf_table: Rows
    enumerated: int
    rejected: Counter[str]


def grow(task: Problem, space: Space) -> Tree:
    """Every outer row that divides and fits the cluster, bounded by its cheapest shard without bubble or gradients."""
    job = task.job
    rows, even_S = outer_rows(space, job)
    leaf_table = _leaf_table(space)
    per_pp = np.array([_fitting(leaf_table, pp, task.model.num_blocks).sum() for pp in space.pp])
    shards = shard_rows(space, job, domain_gpus(task.cluster))
    heads = len(space.tp) * len(space.cp) * len(space.micro_batch)
    head_K, head_S = _head_code(space, shards), _head_code(space, rows)
    num_K = np.bincount(head_K, minlength=heads)
    leaves_S = per_pp[np.searchsorted(np.array(space.pp), rows["pp"])] * num_K[head_S]
    world_S = rows["tp"] * rows["cp"] * rows["dp"] * rows["pp"]
    fits_S = world_S <= usable_gpus(task)
    rejected = Counter({
        DIVISIBILITY: int(leaves_S[~even_S].sum()), SIZE: int(leaves_S[even_S & ~fits_S].sum()),
    })  # fmt: skip
    keep = np.flatnonzero(even_S & fits_S & (leaves_S > 0))
    rows, head_S = take(rows, keep), head_S[keep]
    useful = np.isin(head_K, np.unique(head_S))
    shards, head_K = take(shards, useful), head_K[useful]
    priced = prices(task, shards)
    order = np.lexsort((priced.total_K, head_K))
    shards, head_K = take(shards, order), head_K[order]
    priced = Prices(**{f: getattr(priced, f)[order] for f in Prices.__dataclass_fields__})
    start_H = np.searchsorted(head_K, np.arange(heads), "left")
    stop_H = np.searchsorted(head_K, np.arange(heads), "right")
    micro_S = job.global_batch // (rows["dp"] * rows["micro_batch"])
    bound_S = micro_S * priced.total_K[start_H[head_S]] / rows["pp"]
    order = np.argsort(bound_S, kind="stable")
    return Tree(
        take(rows, order), bound_S[order], head_S[order], leaves_S[keep][order], shards, priced, start_H, stop_H, leaf_table,
        int(leaves_S.sum()), rejected,
    )  # fmt: skip


def usable_gpus(task: Problem) -> int:
    """GPUs that ranks may take: usable, on whole nodes, within `max_gpus`, less the spares asked for."""
    total = int(capacity(task.cluster, 1, task.job.ragged, task.job.spares))
    return min(total, task.job.max_gpus or total)


def open_rows(task: Problem, tree: Tree, lo: int, hi: int, upper_s: float) -> tuple[Rows, Floats, Counter[str]]:
    """Leaves below the outer rows lo..hi whose bound is under `upper_s`: rows, bounds, and what was rejected and why."""
    rejected: Counter[str] = Counter()
    rows = _open_inner(task, tree, lo, hi, upper_s, rejected)
    rows = _fold(task, rows, tree, rejected)
    rows = _open_leaves(task, rows, tree, rejected)
    return _bounded(task, rows, tree, upper_s, rejected)


def _open_inner(task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, rejected: Counter[str]) -> Rows:
    """Outer rows joined with the shards of their head that could still beat `upper_s`: a prefix, since shards ascend in cost."""
    outer = {k: v[lo:hi] for k, v in tree.outer.items()}
    head = tree.head_S[lo:hi]
    m = task.job.global_batch // (outer["dp"] * outer["micro_batch"])
    most = np.full(len(m), np.inf) if np.isinf(upper_s) else upper_s * outer["pp"] / m
    stop = tree.stop_H[head].copy()
    for h in np.unique(head):
        cost = tree.prices.total_K[tree.start_H[h] : tree.stop_H[h]]
        stop[head == h] = tree.start_H[h] + np.searchsorted(cost, most[head == h], "left")
    num = stop - tree.start_H[head]
    per_shard = tree.leaves_S[lo:hi] // np.maximum(tree.stop_H[head] - tree.start_H[head], 1)
    rejected[BOUND] += int((tree.leaves_S[lo:hi] - per_shard * num).sum())
    row = np.repeat(np.arange(hi - lo), num)
    k = np.arange(len(row)) - np.repeat(np.cumsum(num) - num, num) + np.repeat(tree.start_H[head], num)
    rows = {name: v[row] for name, v in outer.items()} | {n: tree.shards[n][k] for n in ("ep", "etp", "gtp", "egtp")}
    return rows | {"k": k, "num_microbatches": m[row], "below": per_shard[row]}


def _fold(task: Problem, rows: Rows, tree: Tree, rejected: Counter[str]) -> Rows:
    """Keep rows whose experts and weight shards fold the ranks of a stage, and whose cells fit the domains."""
    stage, expert = rows["tp"] * rows["cp"] * rows["dp"], rows["etp"] * rows["ep"]
    edp = stage // expert
    even = (stage % expert == 0) & (rows["dp"] % rows["gtp"] == 0) & (edp % rows["egtp"] == 0)
    rejected[DIVISIBILITY] += int(rows["below"][~even].sum())
    rows = take(rows, even)
    rows["edp"] = edp[even]
    cell = cell_sizes(rows, largest_domain(task.cluster, task.job.ragged)) if length(rows) else rows["k"]
    sizes, which = np.unique(cell, return_inverse=True)
    room = capacity(task.cluster, sizes, task.job.ragged, task.job.spares) if len(sizes) else sizes
    world = stage[even] * rows["pp"]
    fits = (world % np.maximum(cell, 1) == 0) & (world // np.maximum(cell, 1) <= room[which])
    rejected[CELLS] += int(rows["below"][~fits].sum())
    return take(rows, fits)


def _open_leaves(task: Problem, rows: Rows, tree: Tree, rejected: Counter[str]) -> Rows:
    """Join with (schedule, vpp, sharding); drop what the schedule cannot run."""
    parts = []
    for pp, m in np.unique(np.stack([rows["pp"], rows["num_microbatches"]], -1), axis=0).tolist():
        here = take(rows, (rows["pp"] == pp) & (rows["num_microbatches"] == m))
        table = take(tree.leaf_table, _fitting(tree.leaf_table, pp, task.model.num_blocks))
        runs = np.array([not misfit(SCHEDULES[s], pp, v, m) for s, v in zip(table["schedule"], table["vpp"], strict=True)], bool)
        rejected[SCHEDULE] += int((~runs).sum()) * length(here)
        parts.append(cross(here, take(table, runs)))
    if not parts:
        return rows | {name: rows["k"] for name in ("schedule", "vpp", "sharding")}
    return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def _bounded(task: Problem, rows: Rows, tree: Tree, upper_s: float, rejected: Counter[str]) -> tuple[Rows, Floats, Counter[str]]:
    """Leaves that may fit memory and may beat `upper_s`, with their step bound, ascending."""
    if not length(rows):
        return rows, np.zeros(0), rejected
    bound = step_bound(task, tree.prices, rows)
    quick = bound < upper_s
    rejected[BOUND] += int((~quick).sum())
    rows, bound = take(rows, quick), bound[quick]
    if length(rows):
        limit = task.hw.chip.hbm_bytes * (1.0 - task.job.memory_margin)
        fits = memory_least(task, tree.prices, rows) <= limit
        rejected[MEMORY] += int((~fits).sum())
        rows, bound = take(rows, fits), bound[fits]
    order = np.argsort(bound, kind="stable")
    return take(rows, order), bound[order], rejected


def memory_least(task: Problem, prices: Prices, rows: Rows) -> Floats:
    """Least bytes on the fullest GPU of each leaf, under any stages and any recompute the job allows."""
    names = ("schedule", "sharding", "pp", "num_microbatches", "dp", "cp", "edp", "gtp", "egtp", "tp", "micro_batch")
    modes = allowed_recompute(task.job)
    return memory_bound(task.model, task.job, prices, rows["k"], **{f"{n}_S": rows[n] for n in names}, modes=modes)


def allowed_recompute(job: Job) -> tuple[str, ...]:
    """Recompute modes of the job, narrowed by its pin."""
    return tuple(m for m in job.recompute if str(job.pins.get("recompute", m)) == m)


def _leaf_table(space: Space) -> Rows:
    """Every (schedule, vpp, sharding) as indices: what may hang below an outer row."""
    table = [(SCHEDULES.index(s), v, SHARDING.index(h)) for s, v in space.leaves for h in space.sharding]
    columns = np.array(table, dtype=np.int64).reshape(-1, 3).T
    return dict(zip(("schedule", "vpp", "sharding"), columns, strict=True))


def _fitting(table: Rows, pp: int, blocks: int) -> Bools:
    """Leaves that make sense for pp stages: no empty chunk, and a single stage needs no schedule but the plainest."""
    fits = table["vpp"] * pp <= blocks
    if pp == 1 and length(table):
        fits = fits & (table["schedule"] == table["schedule"].min()) & (table["vpp"] == 1)
    return np.asarray(fits)


def _head_code(space: Space, rows: Rows) -> Ints:
    """Number of the (tp, cp, micro_batch) of each row, in the order of the shards."""
    code = np.zeros(length(rows), dtype=np.int64)
    for name, values in (("tp", space.tp), ("cp", space.cp), ("micro_batch", space.micro_batch)):
        code = code * len(values) + np.searchsorted(np.array(values), rows[name])
    return code
