# SPDX-License-Identifier: Apache-2.0
# S strategy row   K shard   H head: one (tp, cp, micro_batch)
"""Outer rows opened into inner rows, priced and folded, and those into leaves that carry tighter bounds.

Nothing is cut without a reason that is counted: `rejected` says how many strategies (leaves) each rule removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from placement.cost.cells import capacity, cell_sizes, largest_domain
from placement.cost.memory import limit_bytes
from placement.ir import Job
from placement.ir._array import Floats
from placement.passes.leaves import BOUND, MEMORY, Fan, Leaves, bounded, fan_of, no_leaves
from placement.passes.optimistic import Prices, join_prices, prices
from placement.passes.outer import DIVISIBILITY, SCHEDULE, Tree, fitting, least_bytes
from placement.passes.problem import Problem
from placement.passes.strategies import Rows, Whole, domain_gpus, length, shard_rows, take

CELLS = "groups do not fit NVLink domains and whole nodes"
AHEAD = 512  # outer rows whose heads are priced together


@dataclass(frozen=True)
class Shelf:
    """Priced shards of one head, by ascending cost of a microbatch: rows `first`, `first` + 1 ... of `prices`, which several
    heads share.
    """

    shards: Rows
    prices: Prices
    first: int

    @property
    def cost_K(self) -> Floats:
        """Seconds of a microbatch, forward and backward, of each shard."""
        return self.prices.total_K[self.first : self.first + length(self.shards)]


def price_heads(task: Problem, tree: Tree, some: Sequence[int]) -> dict[int, Shelf]:
    """Price every shard of some heads (at least one), all in one go."""
    domain = domain_gpus(task.cluster)
    shards = [shard_rows(take(tree.head, slice(h, h + 1)), tree.space, domain, tree.experts) for h in some]
    together = {n: np.concatenate([s[n] for s in shards]) for n in shards[0]}
    head_K = np.repeat(np.arange(len(some)), [length(s) for s in shards])
    priced = prices(task, together)
    order = np.lexsort((priced.total_K, head_K))
    together, priced = take(together, order), priced.at(order)
    last = np.cumsum([length(s) for s in shards]).tolist()
    return {h: Shelf(take(together, slice(a, b)), priced, a) for h, a, b in zip(some, [0, *last[:-1]], last, strict=True)}


@dataclass
class Known:
    """What opening rows has worked out so far: priced shards by head, and fans by (pp, whether a microbatch fills it)."""

    shelves: dict[int, Shelf] = field(default_factory=dict)
    fans: dict[tuple[int, bool], Fan] = field(default_factory=dict)


def open_rows(task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, known: Known) -> tuple[Leaves, Counter[str], int]:
    """Leaves below the outer rows lo..hi whose bound is under `upper_s`, with their bounds, ascending.

    Also what was rejected and why, and how many leaves were scored. Columns `head` and `k` of a leaf point into the shelves of
    `known`.
    """
    rejected: Counter[str] = Counter()
    _stock(task, tree, lo, hi, known)
    rows = _fold(task, _open_inner(task, tree, lo, hi, upper_s, known.shelves, rejected), rejected)
    if not length(rows):
        return no_leaves(rows), rejected, 0
    rows, priced = _priced(rows | {"shelf_k": rows["k"]}, known.shelves)
    rows = _hold(task, tree, rows, priced, rejected)
    if not length(rows):
        return no_leaves(rows), rejected, 0
    fans, fan_I = _fans(task, tree, rows, known, rejected)
    found, scored = bounded(task, rows, fans, fan_I, priced, allowed_recompute(task.job), upper_s, rejected)
    columns = {n: v for n, v in found.rows.items() if n not in ("shelf_k", "below")} | {"k": found.rows["shelf_k"]}
    return replace(found, rows=columns), rejected, scored


def _stock(task: Problem, tree: Tree, lo: int, hi: int, known: Known) -> None:
    """Price the heads of the outer rows lo..hi; where some are missing, those of the next rows with them."""
    if all(h in known.shelves for h in np.unique(tree.head_S[lo:hi]).tolist()):
        return
    wanted = np.unique(tree.head_S[lo : max(hi, lo + AHEAD)]).tolist()
    known.shelves.update(price_heads(task, tree, [h for h in wanted if h not in known.shelves]))


def _priced(rows: Rows, shelves: Mapping[int, Shelf]) -> tuple[Rows, Prices]:
    """Prices of the shards that rows use, and the rows with `k` pointing into them rather than into their shelf."""
    heads, which = np.unique(rows["head"], return_inverse=True)
    blocks = {id(shelves[h].prices): shelves[h].prices for h in heads.tolist()}
    of_head = np.array([list(blocks).index(id(shelves[h].prices)) for h in heads.tolist()])
    k, parts, offset = np.zeros(length(rows), dtype=np.int64), [], 0
    for b, block in enumerate(blocks.values()):
        here = np.flatnonzero(of_head[which] == b)
        used, place = np.unique(rows["k"][here], return_inverse=True)
        parts.append(block.at(used))
        k[here] = offset + place
        offset += len(used)
    return rows | {"k": k}, join_prices(parts)


def _open_inner(
    task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, shelves: Mapping[int, Shelf], rejected: Counter[str]
) -> Rows:
    """Outer rows joined with the shards of their head that could still beat `upper_s`: a prefix, as shards ascend in cost."""
    parts = []
    for h in np.unique(tree.head_S[lo:hi]).tolist():
        shelf = shelves[h]
        at = lo + np.flatnonzero(tree.head_S[lo:hi] == h)
        outer = {k: v[at] for k, v in tree.outer.items()}
        m = task.job.global_batch // (outer["dp"] * outer["micro_batch"])
        cost, size = shelf.cost_K, length(shelf.shards)
        num = np.searchsorted(cost, upper_s * outer["pp"] / m, "left")
        below = np.asarray(tree.leaves_S[at] // size, np.int64)
        rejected[BOUND] += int((below * (size - num)).sum())
        row = np.repeat(np.arange(len(at)), num)
        k = np.arange(len(row)) - np.repeat(np.cumsum(num) - num, num)
        inner = {n: shelf.shards[n][k] for n in ("ep", "etp", "gtp", "egtp")}
        parts.append(
            {n: v[row] for n, v in outer.items()} | inner
            | {"k": shelf.first + k, "num_microbatches": m[row], "below": below[row], "head": np.full(len(k), h)}
        )  # fmt: skip
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
    least = np.array([least_bytes(task.job, tree.space, int(pp)) for pp in tree.space.pp])
    bytes_S = least[np.searchsorted(np.array(tree.space.pp), rows["pp"])]
    held = (priced.dense_K + priced.expert_K)[rows["k"]] / rows["pp"] * bytes_S
    fits = held <= limit_bytes(task.job, task.hw)
    rejected[MEMORY] += int(rows["below"][~fits].sum())
    return take(rows, fits)


def _fans(task: Problem, tree: Tree, rows: Rows, known: Known, rejected: Counter[str]) -> tuple[list[Fan], Whole]:
    """What hangs below each row; how many stages and whether the batch fills them decides what runs (`schedules.misfit`)."""
    filled = rows["num_microbatches"] >= rows["pp"]
    codes, fan_I = np.unique(2 * rows["pp"] + filled, return_inverse=True)
    for code in codes.tolist():
        pp, enough = divmod(code, 2)
        if (pp, bool(enough)) not in known.fans:
            table = take(tree.leaf_table, fitting(tree.leaf_table, pp, task.model.num_blocks))
            known.fans[pp, bool(enough)] = fan_of(table, pp, pp if enough else pp - 1)
    fans = [known.fans[code // 2, bool(code % 2)] for code in codes.tolist()]
    rejected[SCHEDULE] += int(np.array([f.misfits for f in fans])[fan_I].sum())
    return fans, fan_I


def allowed_recompute(job: Job) -> tuple[str, ...]:
    """Recompute modes of the job, narrowed by its pin."""
    return tuple(m for m in job.recompute if str(job.pins.get("recompute", m)) == m)
