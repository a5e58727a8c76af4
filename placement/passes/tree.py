# SPDX-License-Identifier: Apache-2.0
# S strategy row   K shard   H head: one (tp, cp, micro_batch)
"""Outer rows opened into inner rows, priced and folded, and those into leaves that carry tighter bounds.

Nothing is cut without a reason that is counted: `rejected` says how many strategies (leaves) each rule removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from placement.cost.cells import capacity, kept_sizes
from placement.cost.layers import LayerCost
from placement.cost.memory import limit_bytes
from placement.ir import Spares
from placement.ir._array import Bools, Floats, distinct
from placement.passes.leaves import BOUND, MEMORY, Fan, Leaves, bounded, fan_of, no_leaves
from placement.passes.optimistic import Prices, join_prices, prices
from placement.passes.outer import DIVISIBILITY, SCHEDULE, Tree, fitting, least_bytes
from placement.passes.problem import Problem
from placement.passes.strategies import INNER, OUTER, Rows, Whole, domain_gpus, length, shard_rows, take

CELLS = "groups do not fit NVLink domains and whole nodes"
AHEAD = 512  # outer rows whose heads are priced together


@dataclass(frozen=True)
class Shelf:
    """Shards of one head by ascending cost of a microbatch, forward and backward: rows `first`, `first` + 1 ... of the prices
    that all heads share.
    """

    first: int
    cost_K: Floats
    layer: LayerCost


@dataclass
class Known:
    """What opening rows has worked out so far: fans by (pp, whether a microbatch fills it), and priced shards by head.

    `shards`: columns ep, etp, gtp, egtp, `cell` (ranks of one), `room` (cells that the cluster holds) and `above` (ranks up to
    which larger cells fit, and are searched apart), beside `prices`.
    """

    fans: dict[tuple[int, bool], Fan] = field(default_factory=dict)
    shelves: dict[int, Shelf] = field(default_factory=dict)
    shards: Rows = field(default_factory=dict)
    prices: Prices | None = None

    def layer(self, head: int, k: int) -> LayerCost:
        """The cost of shard `k`, one of a head that is priced."""
        shelf = self.shelves[head]
        return shelf.layer.row(k - shelf.first)

    def add(self, shards: Rows, priced: Prices, layer: LayerCost, heads: Sequence[int], size: Sequence[int]) -> None:
        """Shelve shards of heads, `size` of each, in order."""
        start = length(self.shards) if self.shards else 0
        self.shards = {n: np.concatenate([self.shards[n], v]) for n, v in shards.items()} if self.shards else shards
        self.prices = join_prices([self.prices, priced] if self.prices else [priced])
        last = np.cumsum(size).tolist()
        for h, a, b in zip(heads, [0, *last[:-1]], last, strict=True):
            self.shelves[h] = Shelf(start + a, priced.total_K[a:b], layer.at(slice(a, b)))


def price_heads(task: Problem, tree: Tree, some: Sequence[int], known: Known) -> None:
    """Price every shard of some heads (at least one), all in one go."""
    domain = domain_gpus(task.cluster)
    shards = [shard_rows(take(tree.head, slice(h, h + 1)), tree.space, domain, tree.experts) for h in some]
    size = [length(s) for s in shards]
    together = {n: np.concatenate([s[n] for s in shards]) for n in shards[0]}
    priced, layer = prices(task, together)
    order = np.lexsort((priced.total_K, np.repeat(np.arange(len(some)), size)))
    together = take(together, order)
    columns = {n: together[n] for n in INNER} | _cells(task, together)
    known.add(columns, priced.at(order), layer.at(order), some, size)


def _cells(task: Problem, shards: Rows) -> Rows:
    """Columns of `Known`: of the cells that the task keeps, and of those that keep more."""
    cluster, job = task.cluster, task.job
    cell = np.asarray(kept_sizes(cluster, shards, task.keep, job.ragged), np.int64)
    above = np.zeros_like(cell)
    for more in range(task.keep):
        larger = np.asarray(kept_sizes(cluster, shards, more, job.ragged), np.int64)
        room = _rooms(task, larger, job.spares if more else Spares())
        above = np.maximum(above, room * larger)
    return {"cell": cell, "room": _rooms(task, cell, job.spares), "above": above}


def _rooms(task: Problem, cell: Whole, spares: Spares) -> Whole:
    sizes, which = distinct(cell)
    return np.asarray(capacity(task.cluster, sizes, task.job.ragged, spares), np.int64)[which]


def open_rows(task: Problem, tree: Tree, lo: int, hi: int, upper_s: float, known: Known) -> tuple[Leaves, Counter[str], int]:
    """Leaves below the outer rows lo..hi whose bound is under `upper_s`, with their bounds, ascending.

    Also what was rejected and why, and how many leaves were scored. Columns `head` and `k` of a leaf are for `known.layer`.
    """
    rejected: Counter[str] = Counter()
    _stock(task, tree, lo, hi, known)
    assert known.prices is not None, "the tree has rows, and rows have heads"
    outer = _outer(task, tree, lo, hi, known)
    inner = _fold(outer, _open_inner(outer, upper_s, known, rejected), known, rejected)
    inner = _hold(task, tree, outer, inner, known, rejected)
    rows = _joined(outer, inner, known)
    if not length(rows):
        return no_leaves(rows), rejected, 0
    fans, fan_I = _fans(task, tree, rows, known, rejected)
    found, scored = bounded(task, rows, fans, fan_I, known.prices, upper_s, rejected)
    return found, rejected, scored


def _stock(task: Problem, tree: Tree, lo: int, hi: int, known: Known) -> None:
    """Price the heads of the outer rows lo..hi; where some are missing, those of the next rows with them."""
    if all(h in known.shelves for h in np.unique(tree.head_S[lo:hi]).tolist()):
        return
    wanted = np.unique(tree.head_S[lo : max(hi, lo + AHEAD)]).tolist()
    price_heads(task, tree, [h for h in wanted if h not in known.shelves], known)


def _outer(task: Problem, tree: Tree, lo: int, hi: int, known: Known) -> Rows:
    """Columns of outer rows, by head; `stage` ranks of a stage, `below` leaves below a shard, `whole` fills its nodes."""
    at = lo + np.argsort(tree.head_S[lo:hi], kind="stable")
    out = take(tree.outer, at) | {"head": tree.head_S[at]}
    size = np.array([len(known.shelves[h].cost_K) for h in out["head"].tolist()], dtype=np.int64)
    out["num_microbatches"] = task.job.global_batch // (out["dp"] * out["micro_batch"])
    out["below"] = np.asarray(tree.leaves_S[at] // size, np.int64)
    out["stage"] = out["tp"] * out["cp"] * out["dp"]
    world, node = out["stage"] * out["pp"], task.cluster.gpus_per_node
    out["whole"] = ((world % node == 0) | (world < node) | task.job.ragged).astype(np.int64)
    return out


@dataclass(frozen=True)
class _Inner:
    """Inner rows: an outer row and a shard of `Known` each. (I,)"""

    row: Whole
    k: Whole

    def keep(self, fits: Bools, below_S: Whole, rejected: Counter[str], reason: str) -> _Inner:
        """Those that fit; the leaves below the others are counted."""
        if fits.all():
            return self
        rejected[reason] += int(below_S[self.row[~fits]].sum())
        return _Inner(self.row[fits], self.k[fits])


def _open_inner(outer: Rows, upper_s: float, known: Known, rejected: Counter[str]) -> _Inner:
    """Outer rows joined with the shards of their head that could still beat `upper_s`: a prefix, as shards ascend in cost."""
    shelves = [known.shelves[h] for h in outer["head"].tolist()]
    most_s = (upper_s * outer["pp"] / outer["num_microbatches"]).tolist()
    num = np.array([shelf.cost_K.searchsorted(s, "left") for shelf, s in zip(shelves, most_s, strict=True)], dtype=np.int64)
    size = np.array([len(shelf.cost_K) for shelf in shelves], dtype=np.int64)
    rejected[BOUND] += int((outer["below"] * (size - num)).sum())
    first = np.array([shelf.first for shelf in shelves], dtype=np.int64)
    row = np.repeat(np.arange(len(num)), num)
    return _Inner(row, np.arange(len(row)) + np.repeat(first - (np.cumsum(num) - num), num))


def _fold(outer: Rows, inner: _Inner, known: Known, rejected: Counter[str]) -> _Inner:
    """Keep rows whose experts and weight shards fold the ranks of a stage, and whose cells fit the domains."""
    shards, below = known.shards, outer["below"]
    expert, stage = (shards["etp"] * shards["ep"])[inner.k], outer["stage"][inner.row]
    edp = stage // expert
    even = (edp * expert == stage) & (outer["dp"][inner.row] % shards["gtp"][inner.k] == 0)
    inner = inner.keep(even & (edp % shards["egtp"][inner.k] == 0), below, rejected, DIVISIBILITY)
    cell, world = shards["cell"][inner.k], (outer["stage"] * outer["pp"])[inner.row]
    cells = world // cell
    fits = (cells * cell == world) & (cells <= shards["room"][inner.k]) & (outer["whole"][inner.row] > 0)
    fits &= world > shards["above"][inner.k]
    return inner.keep(fits, below, rejected, CELLS)


def _hold(task: Problem, tree: Tree, outer: Rows, inner: _Inner, known: Known, rejected: Counter[str]) -> _Inner:
    """Drop rows whose weights alone are too much for the mean stage."""
    assert known.prices is not None
    least = {pp: least_bytes(task.job, tree.space, pp) for pp in np.unique(outer["pp"]).tolist()}
    bytes_S = np.array([least[pp] for pp in outer["pp"].tolist()])
    held = (known.prices.dense_K + known.prices.expert_K)[inner.k] / outer["pp"][inner.row] * bytes_S[inner.row]
    return inner.keep(held <= limit_bytes(task.job, task.hw), outer["below"], rejected, MEMORY)


def _joined(outer: Rows, inner: _Inner, known: Known) -> Rows:
    """Every column of inner rows."""
    rows = {n: outer[n][inner.row] for n in (*OUTER, "num_microbatches", "head")}
    rows |= {n: known.shards[n][inner.k] for n in (*INNER, "cell")} | {"k": inner.k}
    return rows | {"edp": outer["stage"][inner.row] // (rows["etp"] * rows["ep"])}


def _fans(task: Problem, tree: Tree, rows: Rows, known: Known, rejected: Counter[str]) -> tuple[list[Fan], Whole]:
    """What hangs below each row; how many stages and whether the batch fills them decides what runs (`schedules.misfit`)."""
    filled = rows["num_microbatches"] >= rows["pp"]
    codes, fan_I = distinct(2 * rows["pp"] + filled)
    for code in codes.tolist():
        pp, enough = divmod(code, 2)
        if (pp, bool(enough)) not in known.fans:
            table = take(tree.leaf_table, fitting(tree.leaf_table, pp, task.model.num_blocks))
            known.fans[pp, bool(enough)] = fan_of(table, pp, pp if enough else pp - 1)
    fans = [known.fans[code // 2, bool(code % 2)] for code in codes.tolist()]
    rejected[SCHEDULE] += int(np.array([f.misfits for f in fans])[fan_I].sum())
    return fans, fan_I
