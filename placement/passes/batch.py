# SPDX-License-Identifier: Apache-2.0
# R run   N cell = (run, block type)   G stage = (run, pipeline stage)   E entry = (stage, cell): blocks of a type in a stage
"""Many runs priced at once, for fitting: the arithmetic of `cost/` on stacked tables, the pipeline in closed form.

The closed form is scaled, run by run, to the simulated pipeline at the last constants, so that the fit stands on simulation and
still takes milliseconds an evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from placement.cost.context import Context, context, stack_contexts, take
from placement.cost.count import Tables, count, stack_tables
from placement.cost.hardware import contiguous_spans, hardware
from placement.cost.layers import edge_bytes, sizes_of
from placement.cost.price import Sizes, price
from placement.cost.shards import shards_of
from placement.cost.step import (
    boundary_s,
    chunk_counts,
    dp_seconds,
    dp_windows,
    load,
    overhead_seconds,
    update_bytes,
    weight_copies,
)
from placement.ir import RECOMPUTE, SHARDING, Efficiency, Run, Spans, Stages
from placement.ir._array import Floats, Ints
from placement.passes.layout import usual_stages

Known = TypeVar("Known")


@dataclass(frozen=True)
class Batch:
    """Runs as flat tables. `ratio_R`: simulated over closed-form pipeline; set by `with_simulation`."""

    runs: tuple[Run, ...]
    stages: tuple[Stages, ...]
    tables: Tables
    context: Context
    sizes: Sizes
    spans: Spans
    entry_cell_E: Ints
    entry_stage_E: Ints
    blocks_E: Floats
    mode_N: Ints
    share_N: Floats
    first_G: Ints  # first stage of each run, for reduceat
    run_G: Ints
    dense_G: Floats
    expert_G: Floats
    fact_R: dict[str, Floats] = field(default_factory=dict)
    ratio_R: Floats = field(default_factory=lambda: np.ones(0))


def batch_of(runs: Sequence[Run]) -> Batch:
    """Count every run once. All of them must be expressible."""
    hws = [hardware(_known(r.cluster)) for r in runs]
    stages = [usual_stages(_known(r.model), _known(r.strategy), _known(r.job).seq_len) for r in runs]
    shards = [shards_of(_known(r.strategy)) for r in runs]
    tables = [count(_known(r.model), _known(r.job), hw, s) for r, hw, s in zip(runs, hws, shards, strict=True)]
    spans = [contiguous_spans(hw, _known(r.strategy)) for r, hw in zip(runs, hws, strict=True)]
    every = shards_of(*(_known(r.strategy) for r in runs))
    entries = _entries(runs, stages)
    stacked = stack_tables(tables)
    cell, stage, blocks, first = entries
    held = [_sum(stage, blocks * held_N[cell], int(first[-1])) for held_N in (stacked.cells.dense_N, stacked.cells.expert_N)]
    held[0] -= _twice(runs, stages, stacked.cells.dense_N)
    modes = np.array([RECOMPUTE.index(_known(r.strategy).recompute) for r in runs])
    shares = np.array([r.recompute_share for r in runs])
    run_N = stacked.cells.shard_N
    return Batch(
        runs=tuple(runs), stages=tuple(stages), tables=stacked,
        context=stack_contexts([context(_known(r.job), hw) for r, hw in zip(runs, hws, strict=True)]), sizes=sizes_of(every),
        spans=Spans(*(np.stack([getattr(s, n) for s in spans]) for n in ("members", "ring_spB", "a2a_spB"))),
        entry_cell_E=cell, entry_stage_E=stage, blocks_E=blocks, mode_N=modes[run_N], share_N=shares[run_N], first_G=first[:-1],
        run_G=np.repeat(np.arange(len(runs)), np.diff(first)), dense_G=held[0], expert_G=held[1], fact_R=_facts(runs),
        ratio_R=np.ones(len(runs)),
    )  # fmt: skip


def _known(value: Known | None) -> Known:
    assert value is not None, "only runs without a reason are priced"
    return value


def _entries(runs: Sequence[Run], stages: Sequence[Stages]) -> tuple[Ints, Ints, Floats, Ints]:
    """(cell, stage, blocks) of every non-zero count, and where each run's stages begin."""
    cells, rows, blocks, first, cell = [], [], [], [0], 0
    for run, cut in zip(runs, stages, strict=True):
        model, strategy = _known(run.model), _known(run.strategy)
        count_PY = load(strategy) @ chunk_counts(model, strategy, cut)
        p, y = np.nonzero(count_PY)
        cells.append(y + cell)
        rows.append(p + first[-1])
        blocks.append(count_PY[p, y])
        cell += len(model.types)
        first.append(first[-1] + strategy.pp)
    return np.concatenate(cells), np.concatenate(rows), np.concatenate(blocks), np.array(first)


def _twice(runs: Sequence[Run], stages: Sequence[Stages], dense_N: Floats) -> Floats:
    """Parameters of matrices that are tied inside a stage, which holds them once, (G,)."""
    out, cell = [], 0
    for run, cut in zip(runs, stages, strict=True):
        model, strategy = _known(run.model), _known(run.strategy)
        holds_PC, twice_P = load(strategy) > 0, np.zeros(strategy.pp)
        for pair in model.tied:
            smaller = min(dense_N[cell + int(model.type_B[b])] for b in pair)
            twice_P += smaller * (holds_PC[:, cut.chunk_B[pair[0]]] & holds_PC[:, cut.chunk_B[pair[1]]])
        out.append(twice_P)
        cell += len(model.types)
    return np.concatenate(out)


def _facts(runs: Sequence[Run]) -> dict[str, Floats]:
    """Numbers of each run that the step needs beside its layers, (R,) each."""
    strategies, jobs = [_known(r.strategy) for r in runs], [_known(r.job) for r in runs]
    edges = [edge_bytes(_known(r.model), j, shards_of(s)) for r, j, s in zip(runs, jobs, strategies, strict=True)]
    columns: dict[str, list[float]] = {
        "m": [s.num_microbatches for s in strategies],
        "pp": [s.pp for s in strategies],
        "vpp": [s.vpp for s in strategies],
        "copies": [weight_copies(s.schedule, s.pp) for s in strategies],
        "dp_cp": [s.dp * s.cp // s.gtp for s in strategies],
        "edp": [s.edp // s.egtp for s in strategies],
        "world": [s.world_size for s in strategies],
        "sharding": [SHARDING.index(s.sharding) for s in strategies],
        "groups": [s.edp if s.ep > 1 else 1 for s in strategies],
        "imbalance": [j.expert_imbalance for j in jobs],
        "grad": [j.optimizer.grad_reduce_bytes for j in jobs],
        "gather": [j.optimizer.param_gather_bytes for j in jobs],
        "update": [update_bytes(j.optimizer) for j in jobs],
        "edge": [float(e[0]) for e in edges],
        "measured": [r.measured_step_s or np.nan for r in runs],
    }
    return {name: np.array(values, dtype=float) for name, values in columns.items()}


def _sum(index: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(index, values, size), dtype=float)


def pipeline_s(b: Batch, eff: Efficiency) -> tuple[Floats, Floats, Floats]:
    """(closed-form makespan (R,), seconds of each stage for one microbatch: busy (G,), of its host under FSDP (G,))."""
    seconds = price(b.tables, b.context, eff, b.sizes, b.spans)
    total_N = (seconds.compute_ND + seconds.tp_ND + seconds.cp_ND + seconds.ep_ND + seconds.gtp_ND).sum(axis=1)
    total_N = total_N + b.share_N * np.take_along_axis(seconds.recompute_NC, b.mode_N[:, None], 1)[:, 0]
    busy_G = _sum(b.entry_stage_E, b.blocks_E * total_N[b.entry_cell_E], len(b.run_G))
    worst_R, sum_R = np.maximum.reduceat(busy_G, b.first_G), np.add.reduceat(busy_G, b.first_G)
    f = b.fact_R
    edge_R = np.where(f["pp"] > 1, boundary_s(b.context, eff, b.spans, f["edge"]), 0.0)
    fill_R = (sum_R - worst_R) / f["vpp"] + 2.0 * (f["pp"] - 1.0) * edge_R
    host_G = _sum(b.entry_stage_E, b.blocks_E * seconds.hooked_N[b.entry_cell_E], len(b.run_G))
    return f["m"] * worst_R + fill_R, busy_G, host_G


def predict(b: Batch, eff: Efficiency) -> Floats:
    """Seconds of a step of every run, (R,)."""
    f = b.fact_R
    makespan_R, busy_G, host_G = pipeline_s(b, eff)
    g = b.run_G
    here = take(b.context, g)
    spans = Spans(b.spans.members[g], b.spans.ring_spB[g], b.spans.a2a_spB[g])
    dp_G = dp_seconds(
        here, eff, f["grad"][g], f["gather"][g], f["copies"][g] * b.dense_G, f["copies"][g] * b.expert_G,
        f["dp_cp"][g], f["edp"][g], f["sharding"][g].astype(np.int64), spans,
        busy_G, dp_windows(f["pp"][g], f["vpp"][g]), f["m"][g], host_G,
    )  # fmt: skip
    sharded = f["sharding"][g] >= 1
    whole = 1.0 / f["copies"][g]  # each copy of the weights updates its share of what is sharded
    updated = b.dense_G / np.where(sharded, f["dp_cp"][g], whole) + b.expert_G / np.where(sharded, f["edp"][g], whole)
    update_G = eff["optimizer"] * updated * f["update"][g] / here.hbm_Bps
    tail_R = makespan_R * b.ratio_R + np.maximum.reduceat(dp_G + update_G, b.first_G)
    return tail_R + overhead_seconds(b.context, eff, f["world"], f["m"], tail_R, f["groups"], f["imbalance"])
