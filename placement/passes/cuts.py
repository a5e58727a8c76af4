# SPDX-License-Identifier: Apache-2.0
# N candidate   C chunk (cuts: C + 1)   P stage   V chunk of a stage   Y block type   M recompute mode
# D = (forward, dgrad, wgrad)
"""What a cut of the model into chunks costs: load of every stage, cheapest recompute that fits, simulated step.

Many at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from placement.cost.memory import MemoryTable, cut_widths, end_widths, limit_bytes, memory_table, stage_chunks
from placement.cost.pipeline import makespans
from placement.ir import RECOMPUTE, Job, ModelGraph, Strategy

if TYPE_CHECKING:
    from placement.cost.hardware import Hardware
    from placement.cost.layers import LayerCost

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """One strategy to be partitioned.

    `update_Y`, `reduce_Y` seconds that the optimizer and the data-parallel reduction take for a block after the pipeline.
    `count_BY[i]` blocks of each type before block i. A block takes `slow_P` x `work_YD` (+ `again_YM` in the backward pass) +
    `comm_YD` seconds. `width_B` tensors that cross a cut before block i. `modes` allowed, indices into RECOMPUTE.
    """

    model: ModelGraph
    strategy: Strategy
    table: MemoryTable
    count_BY: Floats
    work_YD: Floats
    again_YM: Floats
    comm_YD: Floats
    slow_P: Floats
    width_B: Floats
    chunk_PV: Ints
    limit_bytes: float
    modes: tuple[int, ...]
    edge_s: float
    update_Y: Floats
    reduce_Y: Floats

    @property
    def mirrored(self) -> bool:
        """DualPipe: stages p and pp-1-p hold the same two chunks, and each runs half of the batch through either."""
        return self.strategy.schedule == "dualpipe" and self.strategy.pp > 1

    def stage(self, p: int) -> Problem:
        """The problem of stage p alone, for schedules with one chunk a stage."""
        table = replace(self.table, held_PRV=self.table.held_PRV[p : p + 1])
        return replace(self, table=table, slow_P=self.slow_P[p : p + 1], chunk_PV=np.zeros((1, 1), dtype=np.int64))

    @property
    def time_YM(self) -> tuple[Floats, Floats]:
        """Seconds of a block, forward and backward, under each mode: what a slow stage stretches, and what it does not."""
        work = self.work_YD.sum(axis=1)[:, None] + self.again_YM
        return work, np.broadcast_to(self.comm_YD.sum(axis=1)[:, None], work.shape)

    @property
    def first_mode_Y(self) -> Floats:
        """Seconds of a block, forward and backward, under the first mode allowed."""
        return np.asarray(self.work_YD.sum(axis=1) + self.comm_YD.sum(axis=1) + self.again_YM[:, self.modes[0]])


def problem(
    model: ModelGraph, job: Job, hw: Hardware, strategy: Strategy, layer: LayerCost, k: int, slow_P: Floats | None
) -> Problem:
    """The partition problem of a strategy; `strategy.recompute` may be "auto": any of `job.recompute`, stage by stage."""
    names = job.recompute if strategy.recompute == "auto" else (strategy.recompute,)
    slow = np.ones(strategy.pp) if slow_P is None else np.asarray(slow_P, dtype=float)
    one_hot = np.eye(len(model.types))[np.asarray(model.type_B)]
    comm = layer.tp_KYD[k] + layer.cp_KYD[k] + layer.ep_KYD[k] + layer.gtp_KYD[k]
    if strategy.schedule == "dualpipe":
        slow = np.maximum(slow, slow[::-1])
    return Problem(
        model=model, strategy=strategy, table=memory_table(model, job, strategy, layer, k),
        count_BY=np.vstack([np.zeros(len(model.types)), np.cumsum(one_hot, axis=0)]), work_YD=layer.compute_KYD[k],
        again_YM=layer.recompute_KYC[k], comm_YD=comm, slow_P=slow, width_B=cut_widths(model), chunk_PV=stage_chunks(strategy),
        limit_bytes=limit_bytes(job, hw), modes=tuple(RECOMPUTE.index(n) for n in names),
        edge_s=float(layer.edge_K[k]) / hw.nic_Bps, **_after(job, hw, strategy, layer, k),
    )  # fmt: skip


def _after(job: Job, hw: Hardware, s: Strategy, layer: LayerCost, k: int) -> dict[str, Floats]:
    """Optimizer: states and gradient read and written, weight written (memory-bound). Reduction: bytes over the NIC."""
    replicas, expert_replicas = s.dp * s.cp / s.gtp, s.edp / s.egtp
    shard, expert_shard = (replicas, expert_replicas) if s.sharding != "none" else (1.0, 1.0)
    optimizer = job.optimizer
    moved = 2 * optimizer.state_bytes + 2 * optimizer.grad_bytes + 2.0
    updated_Y = layer.dense_KY[k] / shard + layer.expert_KY[k] / expert_shard
    reduced_Y = layer.dense_KY[k] * (replicas > 1) + layer.expert_KY[k] * (expert_replicas > 1)
    sent = optimizer.grad_reduce_bytes + optimizer.param_gather_bytes
    return {"update_Y": updated_Y * moved / hw.chip.hbm_Bps, "reduce_Y": reduced_Y * sent / hw.nic_Bps}


@dataclass(frozen=True)
class Scores:
    """Load (seconds of a microbatch, infinite where no mode fits) and recompute mode of every stage, (N, P) each.

    `over_NP` bytes above the limit in the thriftiest mode, 0 where it fits.
    """

    load_NP: Floats
    mode_NP: Ints
    over_NP: Floats


def score(task: Problem, cut_NC: Ints) -> Scores:
    """Scores of candidate cuts, ascending block indices 0 .. num_blocks of shape (N, C + 1)."""
    count_NCY = task.count_BY[cut_NC[:, 1:]] - task.count_BY[cut_NC[:, :-1]]
    width_NP = end_widths(task.strategy, task.width_B[cut_NC])
    tied = [np.stack([(cut_NC[:, 1:] <= i).sum(axis=1) for i in pair], axis=1) for pair in task.model.tied]
    return score_counts(task, count_NCY[:, task.chunk_PV], width_NP, tied)


def score_counts(task: Problem, count_NPVY: Floats, width_NP: Floats, tied: list[Ints]) -> Scores:
    """Scores from block counts; `tied`: chunks of the two blocks of each tied pair, (N or 1, 2)."""
    table = task.table
    held_NPY = count_NPVY.sum(axis=2)
    fixed_NP = held_NPY @ table.static_YM.sum(axis=1) + table.buffers(count_NPVY, width_NP)
    for (_, _, bytes_M), chunks in zip(table.tied_M, tied, strict=True):
        both = np.logical_and(*((task.chunk_PV == chunks[:, i, None, None]).any(axis=-1) for i in (0, 1)))
        fixed_NP = fixed_NP - both * bytes_M.sum()
    total_NPM = fixed_NP[..., None] + table.activations(count_NPVY)
    work, comm = task.time_YM
    time_NPM = task.slow_P[:, None] * (held_NPY @ work) + held_NPY @ comm
    if task.mirrored:
        total_NPM, time_NPM = np.maximum(total_NPM, total_NPM[:, ::-1]), time_NPM / 2
    over_NPM = total_NPM - task.limit_bytes
    modes = np.array(task.modes)
    open_NPM = np.where(over_NPM[..., modes] <= 0, time_NPM[..., modes], np.inf)
    return Scores(open_NPM.min(axis=-1), modes[open_NPM.argmin(axis=-1)], np.maximum(over_NPM[..., modes].min(axis=-1), 0.0))


def step_seconds(task: Problem, cut_NC: Ints, mode_NP: Ints, load_NP: Floats) -> Floats:
    """Estimated step of each candidate, (N,): simulated pipeline, then optimizer and reduction of the stage that has most of
    it.

    Long batches repeat: beyond `_short` microbatches the fullest stage sets the pace. The reduction hides behind one microbatch
    of the stage's work.
    """
    s = task.strategy
    short = _short(s)
    times = chunk_seconds(task, cut_NC, mode_NP)
    p2p_NC = task.edge_s * task.width_B[cut_NC[:, 1:-1]]
    made = makespans(s.schedule, s.pp, s.vpp, short, *times, p2p_NC)
    count_NPY = (task.count_BY[cut_NC[:, 1:]] - task.count_BY[cut_NC[:, :-1]])[:, task.chunk_PV].sum(axis=2)
    after_NP = count_NPY @ task.update_Y + np.maximum(count_NPY @ task.reduce_Y - load_NP, 0.0)
    return np.asarray(made + (s.num_microbatches - short) * load_NP.max(axis=1) + after_NP.max(axis=1))


def _short(s: Strategy) -> int:
    """Microbatches enough to tell candidates apart: fill, some steady state, drain, the same remainder."""
    enough = min(2 * s.pp, s.num_microbatches)
    return enough + (s.num_microbatches - enough) % (s.pp if s.schedule == "interleaved" else 2)


def chunk_seconds(task: Problem, cut_NC: Ints, mode_NP: Ints) -> tuple[Floats, Floats, Floats]:
    """Forward, input gradient (recompute included) and weight gradient of every chunk, (N, C) each."""
    count_NCY = task.count_BY[cut_NC[:, 1:]] - task.count_BY[cut_NC[:, :-1]]
    stage_C = task.strategy.chunk_stage
    slow_C = task.slow_P[stage_C]
    again = np.take_along_axis(count_NCY @ task.again_YM, mode_NP[:, stage_C, None], axis=2)[..., 0]
    work = count_NCY @ task.work_YD
    work[..., 1] += again
    times = slow_C[:, None] * work + count_NCY @ task.comm_YD
    return times[..., 0], times[..., 1], times[..., 2]
