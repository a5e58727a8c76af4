# SPDX-License-Identifier: Apache-2.0
# I inner row   F shape: (inner row, schedule, vpp)   G store: (inner row, sharding, schedules that hold memory alike)
# S leaf = shape x store
"""Whole strategies below inner rows, bounded in step time and memory all at once, with nothing worked out twice.

What a bound is made of depends on few of a strategy's degrees: gradient traffic alone on the network on the inner row, the
pipeline on the shape, memory and optimizer on the store. Only what shows of the gradients, and the sum, is a leaf's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.context import context
from placement.cost.memory import limit_bytes
from placement.cost.memory_bound import Stores, memory_bounds
from placement.cost.schedules import misfit
from placement.cost.step import dp_windows, optimizer_s, shown_s
from placement.ir import SCHEDULES, SHARDING
from placement.ir._array import Bools, Floats
from placement.passes.optimistic import Across, Facts, Prices, facts
from placement.passes.problem import Problem
from placement.passes.strategies import Rows, Whole, length, take

MEMORY = "memory"
BOUND = "slower than the plan, by bound"
WIDE_S = 1e6  # a window in which every reduction hides
APART = tuple(SCHEDULES.index(s) for s in ("dualpipe", "zb-h1"))  # schedules that hold more microbatches or weights


@dataclass(frozen=True)
class Fan:
    """What hangs below an inner row. `shape`: columns schedule, vpp; `store`: schedule (one that holds memory alike), sharding.

    `leaf`: columns shape and store, a row for each leaf. `misfits`: leaves whose schedule does not run.
    """

    shape: Rows
    store: Rows
    leaf: Rows
    misfits: int


def fan_of(table: Rows, pp: int, num_microbatches: int) -> Fan:
    """The leaves of `table` (columns schedule, vpp, sharding) that run at these degrees."""
    shape, shape_S = _distinct({n: table[n] for n in ("schedule", "vpp")})
    pairs = zip(shape["schedule"].tolist(), shape["vpp"].tolist(), strict=True)
    runs = np.array([not misfit(SCHEDULES[s], pp, v, num_microbatches) for s, v in pairs], dtype=bool)[shape_S]
    kept = take(table, runs)
    alike = np.where(np.isin(kept["schedule"], APART), kept["schedule"], SCHEDULES.index("1f1b"))
    shape, shape_S = _distinct({n: kept[n] for n in ("schedule", "vpp")})
    store, store_S = _distinct({"schedule": alike, "sharding": kept["sharding"]})
    return Fan(shape, store, {"shape": shape_S, "store": store_S}, int((~runs).sum()))


def _distinct(rows: Rows) -> tuple[Rows, Whole]:
    table, place = np.unique(np.stack(list(rows.values()), axis=1), axis=0, return_inverse=True)
    return dict(zip(rows, table.T, strict=True)), place.reshape(-1)


@dataclass(frozen=True)
class Spread:
    """Inner rows fanned out: the inner row of each shape, store and leaf, and the shape and the store of each leaf."""

    row_F: Whole
    schedule_F: Whole
    vpp_F: Whole
    row_G: Whole
    schedule_G: Whole
    sharding_G: Whole
    row_S: Whole
    shape_S: Whole
    store_S: Whole


def spread(fans: Sequence[Fan], fan_I: Whole) -> Spread:
    """Fan out inner rows; `fan_I` the fan of each."""

    def level(tables: list[Rows]) -> tuple[Whole, Whole, Rows]:
        """Inner row of each entry, first entry of each inner row, columns."""
        size = np.array([length(t) for t in tables], dtype=np.int64)
        count_I, start_I = size[fan_I], (np.cumsum(size) - size)[fan_I]
        first_I = np.cumsum(count_I) - count_I
        row = np.repeat(np.arange(len(fan_I)), count_I)
        at = np.arange(len(row)) + np.repeat(start_I - first_I, count_I)
        return row, first_I, {n: np.concatenate([t[n] for t in tables])[at] for n in tables[0]}

    row_F, shape_I, shape = level([f.shape for f in fans])
    row_G, store_I, store = level([f.store for f in fans])
    row_S, _, leaf = level([f.leaf for f in fans])
    return Spread(
        row_F, shape["schedule"], shape["vpp"], row_G, store["schedule"], store["sharding"],
        row_S, shape_I[row_S] + leaf["shape"], store_I[row_S] + leaf["store"],
    )  # fmt: skip


@dataclass(frozen=True)
class Bounds:
    """Least step seconds of leaves, the pipeline's share, and what of the gradients a wider window could still hide. (S,)"""

    step_S: Floats
    pipeline_S: Floats
    hideable_S: Floats

    def at(self, index: Whole) -> Bounds:
        """Rows by index."""
        return Bounds(self.step_S[index], self.pipeline_S[index], self.hideable_S[index])


@dataclass(frozen=True)
class Leaves:
    """Whole strategies by ascending bound: an inner row and what is below it. `rows` are the inner rows that they share."""

    rows: Rows
    row_S: Whole
    schedule_S: Whole
    vpp_S: Whole
    sharding_S: Whole
    bounds: Bounds

    def __len__(self) -> int:
        return len(self.row_S)

    def column(self, name: str) -> Whole:
        """One degree (or `head`, `k`, `num_microbatches`; schedule and sharding as indices) of all leaves. (S,)"""
        own = {"schedule": self.schedule_S, "vpp": self.vpp_S, "sharding": self.sharding_S}
        return own[name] if name in own else self.rows[name][self.row_S]

    def degrees(self, i: int) -> dict[str, int]:
        """Every column of leaf `i`."""
        own = {"schedule": self.schedule_S, "vpp": self.vpp_S, "sharding": self.sharding_S}
        return {n: int(v[self.row_S[i]]) for n, v in self.rows.items()} | {n: int(v[i]) for n, v in own.items()}


def no_leaves(rows: Rows) -> Leaves:
    """Nothing below rows of which none is left."""
    none, nothing = np.zeros(0), np.zeros(0, dtype=np.int64)
    return Leaves(rows, nothing, nothing, nothing, nothing, Bounds(none, none, none))


@dataclass(frozen=True)
class _Below:
    """Inner rows, how they fan out, and what is known of rows and stores. `always_G`: gradient seconds that no window hides."""

    task: Problem
    rows: Rows
    prices: Prices
    spread: Spread
    facts: Facts
    update_G: Floats
    always_G: Floats


def bounded(
    task: Problem, rows: Rows, fans: Sequence[Fan], fan_I: Whole, prices: Prices, upper_s: float, rejected: Counter[str]
) -> tuple[Leaves, int]:  # fmt: skip
    """Leaves below inner rows (every column of one, `k` a row of `prices`) that may beat `upper_s` and may fit the memory.

    Also how many leaves were bounded; `rejected` counts those that fell.
    """
    below = _below(task, rows, prices, spread(fans, fan_I))
    out = below.spread
    pipeline_F = below.facts.pipeline_s(out.row_F, out.schedule_F, out.vpp_F)
    pipeline_S = pipeline_F[out.shape_S]
    windows_S = dp_windows(below.facts.pp_I[out.row_F], out.vpp_F)[out.shape_S]
    leaf = np.arange(len(out.row_S))
    step_S, shown_S = _steps(below, leaf, pipeline_S, windows_S)
    leaf = _quick(leaf, step_S, upper_s, rejected)
    leaf, again_S = _holding(below, leaf, rejected)
    more = leaf[again_S > 0]
    pipeline_S[more] = below.facts.pipeline_s(
        out.row_S[more], out.schedule_F[out.shape_S[more]], out.vpp_F[out.shape_S[more]], again_S[again_S > 0]
    )
    step_S[more], shown_S[more] = _steps(below, more, pipeline_S[more], windows_S[more])
    leaf = _quick(leaf, step_S, upper_s, rejected)
    if below.facts.across:
        again = np.zeros(len(out.row_S))
        again[more] = again_S[again_S > 0]
        _raise(below, leaf, again[leaf], upper_s, (step_S, pipeline_S, shown_S, windows_S))
        leaf = _quick(leaf, step_S, upper_s, rejected)
    leaf = leaf[np.argsort(step_S[leaf], kind="stable")]
    hideable_S = np.maximum(shown_S[leaf] - below.always_G[out.store_S[leaf]], 0.0)
    return Leaves(
        rows, out.row_S[leaf], out.schedule_F[out.shape_S[leaf]], out.vpp_F[out.shape_S[leaf]],
        out.sharding_G[out.store_S[leaf]], Bounds(step_S[leaf], pipeline_S[leaf], hideable_S),
    ), len(out.row_S)  # fmt: skip


def _below(task: Problem, rows: Rows, prices: Prices, out: Spread) -> _Below:
    """What all leaves of a store share: the optimizer, and the gradient traffic that shows in the widest window."""
    job, hw, eff, of, g = task.job, task.hw, task.efficiency, facts(task, prices, rows), out.row_G
    sharded = out.sharding_G >= SHARDING.index("zero1")
    copies = np.where((out.schedule_G == SCHEDULES.index("dualpipe")) & (of.pp_I[g] > 1), 2, 1)
    dense, expert = (np.where(sharded, copies * n[g], 1) for n in (of.dp_cp_I, of.edp_I))
    update_G = optimizer_s(
        job, hw, eff, dense_params=of.dense_I[g], expert_params=of.expert_I[g], shard_dense=dense, shard_expert=expert
    )
    always_G = shown_s(
        context(job, hw), eff, of.reduce_I[g], of.gather_I[g], out.sharding_G, np.full(len(g), WIDE_S), np.ones(len(g)),
        of.batch_I[g],
    )  # fmt: skip
    return _Below(task, rows, prices, out, of, update_G, always_G)


def _raise(below: _Below, leaf: Whole, again_S: Floats, upper_s: float, known: tuple[Floats, Floats, Floats, Floats]) -> None:
    """Raise what is known of leaves (step, pipeline and gradients that show; windows) to the ways across thin tiers.

    Every placement takes one of the ways: the least step bounds all. What is said of the pipeline and the gradients holds for
    every way that may beat `upper_s`.
    """
    out, of, (step_S, pipeline_S, shown_S, windows_S) = below.spread, below.facts, known
    i, schedule, vpp = out.row_S[leaf], out.schedule_F[out.shape_S[leaf]], out.vpp_F[out.shape_S[leaf]]
    wraps = (schedule == SCHEDULES.index("interleaved")) & (vpp > 1)
    plain_S = pipeline_S[leaf]
    for tier in of.across:
        least = np.full(len(leaf), np.inf)
        for way in tier:
            pipeline = np.maximum(of.pipeline_s(i, schedule, vpp, again_S, of.lag_s(way, i, wraps)), plain_S)
            step, shown = _steps(below, leaf, pipeline, windows_S[leaf], way)
            np.minimum(least, np.where(way.never_I[i], np.inf, step), out=least)
            some = ~way.never_I[i] & (step < upper_s)
            np.maximum.at(pipeline_S, leaf[some], pipeline[some])
            np.maximum.at(shown_S, leaf[some], shown[some])
        step_S[leaf] = np.maximum(step_S[leaf], least)


def _steps(
    below: _Below, leaf: Whole, pipeline_S: Floats, windows_S: Floats, way: Across | None = None
) -> tuple[Floats, Floats]:
    """Least step seconds of some leaves, and what of their gradients shows.

    A stage that is busier than the mean hides more, but every second more in its microbatch costs `num_microbatches` seconds of
    pipeline, and gradients never hide behind more than the microbatches of the step, so a wider window saves no more than it
    costs. Interleaving hides more: the drain of a stage's other chunks.
    """
    out, of, task = below.spread, below.facts, below.task
    i, g, net = out.row_S[leaf], out.store_S[leaf], way or of
    shown_S = shown_s(
        context(task.job, task.hw), task.efficiency, net.reduce_I[i], net.gather_I[i], out.sharding_G[g],
        pipeline_S / of.batch_I[i], windows_S, of.batch_I[i],
    )  # fmt: skip
    busy_S = pipeline_S + shown_S + below.update_G[g]
    return busy_S + (of.fixed_I[i] + of.drag_I[i] * busy_S), shown_S


def _quick(leaf: Whole, step_S: Floats, upper_s: float, rejected: Counter[str]) -> Whole:
    quick = leaf[step_S[leaf] < upper_s]
    rejected[BOUND] += len(leaf) - len(quick)
    return quick


def _holding(below: _Below, leaf: Whole, rejected: Counter[str]) -> tuple[Whole, Floats]:
    """Leaves that may fit the memory, and the seconds of recompute that a microbatch of each costs at least."""
    out, of, task = below.spread, below.facts, below.task
    store = np.flatnonzero(np.bincount(out.store_S[leaf], minlength=len(out.row_G)))
    i, limit = out.row_G[store], limit_bytes(task.job, task.hw)
    stores = Stores(
        below.rows["k"][i], out.schedule_G[store], out.sharding_G[store], of.pp_I[i], of.batch_I[i], of.dp_cp_I[i], of.edp_I[i]
    )
    bytes_G, again_s = memory_bounds(task.model, task.job, below.prices.held, stores, limit)
    again_G = np.full(len(out.row_G), np.inf)
    again_G[store] = np.where(bytes_G <= limit, again_s, np.inf)
    again_S = again_G[out.store_S[leaf]]
    fits_S: Bools = again_S < np.inf
    rejected[MEMORY] += int((~fits_S).sum())
    return leaf[fits_S], again_S[fits_S]
