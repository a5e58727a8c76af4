# SPDX-License-Identifier: Apache-2.0
# P stage   V chunk of a stage   Y block type   C recompute mode (RECOMPUTE order)   R held row   S strategy
# ... any leading shape
"""Memory of one GPU of every pipeline stage.

Everything is a function of how many blocks of each type a chunk has, so that the partitioner asks about thousands at once.

Counted (Korthikanti et al. 2022; Rajbhandari et al. 2020; Megatron-LM `theoretical_memory_usage.py` and GTP document):
- weights: 2 bytes a parameter, and for fp8, mxfp8, nvfp4 two more copies of every quantised matrix (one an orientation: 1,
  1.03125, 0.5625 bytes); embedding, head, norms and routers are not quantised. fsdp keeps its shard in 2 bytes and no copy.
- gradients `Optimizer.grad_bytes`, optimizer `Optimizer.state_bytes`; sharded over dp*cp/gtp (experts edp/egtp): states from
  zero1 on, gradients from zero2 on, weights under fsdp. DualPipe's two copies share the states where they are sharded.
- activations: microbatches held x bytes kept, at the fullest moment, and what one block needs beside that while it is
  recomputed. Logits live from a head's forward to its backward, which follows at once: one microbatch of them, never more.
- buffers: send and receive of both directions at each boundary; two gathered blocks (one in use, one arriving) and one block
  of whole bf16 gradients where weights are sharded (fsdp, gtp, egtp).
A matrix tied between two blocks of one stage counts once; between two stages each has its own.
`Job.memory_margin` is not in here: it lowers the limit (`limit_bytes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from placement.cost.context import logit_bytes
from placement.cost.pipeline import held
from placement.ir import MEMORY, RECOMPUTE, SHARDING, Job, Matmul, ModelGraph, Stages, Strategy, Vocab

if TYPE_CHECKING:
    from placement.cost.hardware import Hardware
    from placement.cost.layers import LayerCost

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

WEIGHT_BYTES = 2.0
QUANTISED_BYTES = {"bf16": 0.0, "fp8": 2 * 1.0, "mxfp8": 2 * 1.03125, "nvfp4": 2 * 0.5625}  # two orientations, with scales


def limit_bytes(job: Job, hw: Hardware) -> float:
    """Bytes of a GPU that a plan may use."""
    return hw.chip.hbm_bytes * (1.0 - job.memory_margin)


@dataclass(frozen=True)
class MemoryTable:
    """Bytes by block type for one strategy, and how many microbatches its stages hold.

    `static_YM` weights, gradients, optimizer of one block; `kept_YC` activations a microbatch held; `scratch_YC` needed once by
    the block at work; `gather_Y` buffers of a block whose weights are gathered; `tied_bytes` what each tied pair saves in one
    stage.
    """

    static_YM: Floats
    kept_YC: Floats
    scratch_YC: Floats
    gather_Y: Floats
    edge_bytes: float
    held_PRV: Floats
    tied_M: tuple[tuple[int, int, Floats], ...]

    def activations(self, count_PVY: Floats, held_PRV: Floats | None = None) -> Floats:
        """Bytes of activations of each stage and recompute mode, (..., P, C), from block counts (..., P, V, Y)."""
        held_PRV = self.held_PRV if held_PRV is None else held_PRV
        kept = np.swapaxes(count_PVY @ self.kept_YC, -1, -2)  # (..., P, C, V)
        if held_PRV.shape[-2] == 1:
            most = (kept * held_PRV[:, 0, None, :]).sum(axis=-1)
        else:
            most = (kept @ np.swapaxes(held_PRV, -1, -2)).max(axis=-1)
        return np.asarray(most + largest(count_PVY, self.scratch_YC))

    def buffers(self, count_PVY: Floats, width_P: Floats) -> Floats:
        """Bytes of communication buffers, (..., P); `width_P` tensors of one hidden width that cross the ends of its chunks."""
        return np.asarray(2.0 * self.edge_bytes * width_P + largest(count_PVY, self.gather_Y[:, None])[..., 0])


def largest(count_PVY: Floats, bytes_YX: Floats) -> Floats:
    """Largest row of `bytes_YX` among the types that a stage has, (..., P, X)."""
    if not bytes_YX.any():
        return np.zeros((*count_PVY.shape[:-2], bytes_YX.shape[1]))
    has = np.asarray(count_PVY.any(axis=-2))
    out = np.zeros((*has.shape[:-1], bytes_YX.shape[1]))
    for y in np.flatnonzero(bytes_YX.any(axis=1)).tolist():
        np.maximum(out, has[..., y, None] * bytes_YX[y], out=out)
    return out


def memory_table(model: ModelGraph, job: Job, strategy: Strategy, layer: LayerCost, k: int = 0) -> MemoryTable:
    """Bytes by block type under row `k` of `layer`."""
    s = strategy
    static_YM, gather_Y = _static(
        model, job, layer.dense_KY[k], layer.expert_KY[k], SHARDING.index(s.sharding), s.dp * s.cp / s.gtp, s.edp / s.egtp,
        s.gtp, s.egtp, s.schedule == "dualpipe" and s.pp > 1,
    )  # fmt: skip
    kept_YC = np.maximum(layer.act_KYC[k] - logits_YC(model, job, np.array(s.micro_batch / s.cp / s.tp)), 0.0)
    scratch_YC = layer.act_KYC[k][:, :1] - kept_YC
    scratch_YC = np.where(scratch_YC > 1e-9 * layer.act_KYC[k][:, :1], scratch_YC, 0.0)
    tied = []
    for a, b in model.tied:
        smaller = min(a, b, key=lambda i: layer.dense_KY[k, model.type_B[i]])
        tied.append((a, b, static_YM[model.type_B[smaller]]))
    held_PRV = held(s.schedule, s.pp, s.vpp, s.num_microbatches)
    edge = float(layer.edge_K[k]) if s.pp > 1 else 0.0
    return MemoryTable(static_YM, kept_YC, scratch_YC, gather_Y, edge, held_PRV, tuple(tied))


def _static(
    model: ModelGraph, job: Job, dense_Y: Floats, expert_Y: Floats, sharding: int, shard: float, shard_expert: float,
    gtp: int, egtp: int, twice: bool,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Bytes of weights, gradients and optimizer states of one block, (Y, 3), and of its gather buffers, (Y,)."""
    dense_M, expert_M = (parameter_bytes(job, np.array(sharding), np.array(n), np.array(twice)) for n in (shard, shard_expert))
    static_YM = dense_Y[:, None] * dense_M + expert_Y[:, None] * expert_M
    static_YM[:, 0] += copy_bytes(job, np.array(sharding)) * (dense_Y * dense_quantised_Y(model) + expert_Y)
    fsdp = sharding == SHARDING.index("fsdp")
    whole_Y = dense_Y * gtp * (gtp > 1 or fsdp) + expert_Y * egtp * (egtp > 1 or fsdp)
    gathered = 2 * (QUANTISED_BYTES[job.precision] / 2 or WEIGHT_BYTES) + job.optimizer.grad_reduce_bytes
    return static_YM, gathered * whole_Y


def parameter_bytes(job: Job, sharding: Ints, shard: Floats, twice: Bools) -> tuple[Floats, Floats, Floats]:
    """Bytes of weight, gradient and optimizer states of one parameter that a GPU holds, without quantised copies."""
    weight = WEIGHT_BYTES / np.where(sharding >= SHARDING.index("fsdp"), shard, 1.0)
    gradient = job.optimizer.grad_bytes / np.where(sharding >= SHARDING.index("zero2"), shard, 1.0)
    states = job.optimizer.state_bytes / np.where(sharding >= SHARDING.index("zero1"), shard * np.where(twice, 2.0, 1.0), 1.0)
    return weight, gradient, states


def copy_bytes(job: Job, sharding: Ints) -> Floats:
    """Bytes of the quantised copies of one quantised parameter."""
    return np.where(sharding == SHARDING.index("fsdp"), 0.0, QUANTISED_BYTES[job.precision])


def dense_quantised_Y(model: ModelGraph) -> Floats:
    """Share of a block's dense parameters that a low-precision recipe quantises: its matrices, without head and embedding."""
    inside = [sum(op.params for op in t.ops if isinstance(op, Matmul)) for t in model.types]
    return np.array([n / max(t.dense_params, 1) for n, t in zip(inside, model.types, strict=True)])


def logits_YC(model: ModelGraph, job: Job, sequences: Floats) -> Floats:
    """Bytes of logits of one microbatch, (..., Y, C), as `LayerCost.act_KYC` has them; `sequences` is micro_batch/cp/tp."""
    heads = [[op.vocab for op in t.ops if isinstance(op, Vocab) and not op.lookup] for t in model.types]
    vocab_Y = np.array([sum(found) * t.tokens_ratio for found, t in zip(heads, model.types, strict=True)])
    bytes_Y = logit_bytes(job) * job.seq_len * sequences[..., None] * vocab_Y
    return np.asarray(bytes_Y[..., None] * np.array([mode != "full" for mode in RECOMPUTE]))


def stage_memory(
    model: ModelGraph, job: Job, strategy: Strategy, stages: Stages, layer: LayerCost, k: int = 0, *, reserve_bytes: float = 0.0
) -> Floats:
    """Bytes on the fullest GPU of each stage, (P, len(MEMORY)); the columns are those of MEMORY."""
    table = memory_table(model, job, strategy, layer, k)
    count_PVY = block_counts(model, strategy, stages.chunk_B)
    static_PM = count_PVY.sum(axis=1) @ table.static_YM - _tied_savings(strategy, stages.chunk_B, table)
    modes = [RECOMPUTE.index(mode) for mode in stages.recompute_P]
    activations = table.activations(count_PVY)[np.arange(strategy.pp), modes]
    first_C = np.searchsorted(stages.chunk_B, np.arange(strategy.num_chunks + 1))
    buffers = table.buffers(count_PVY, end_widths(strategy, cut_widths(model)[first_C]))
    out = np.column_stack([static_PM, activations, buffers, np.full(strategy.pp, reserve_bytes)])
    assert out.shape[1] == len(MEMORY)
    return out


def stage_chunks(strategy: Strategy) -> Ints:
    """Chunks that each stage holds, (P, V), ascending; under DualPipe its own and the mirrored one."""
    p = np.arange(strategy.pp)
    if strategy.schedule == "dualpipe" and strategy.pp > 1:
        return np.stack([p, strategy.pp - 1 - p], axis=1)
    if strategy.schedule in ("zb-v", "dualpipev"):
        return np.stack([p, 2 * strategy.pp - 1 - p], axis=1)
    return p[:, None] + strategy.pp * np.arange(strategy.vpp)


def block_counts(model: ModelGraph, strategy: Strategy, chunk_B: npt.NDArray[np.integer]) -> Floats:
    """How many blocks of each type the chunks of a stage hold, (P, V, Y)."""
    types = len(model.types)
    flat = np.bincount(np.asarray(chunk_B) * types + model.type_B, minlength=strategy.num_chunks * types)
    return np.asarray(flat.reshape(strategy.num_chunks, types)[stage_chunks(strategy)].astype(float))


def cut_widths(model: ModelGraph) -> Floats:
    """Tensors of one hidden width that cross a cut before block i, (B + 1,): an output travels once, to its last reader."""
    last_B, width_B = np.zeros(model.num_blocks, dtype=np.int64), np.zeros(model.num_blocks)
    np.maximum.at(last_B, model.src_E, model.dst_E)
    np.maximum.at(width_B, model.src_E, model.width_E / model.hidden)
    sources = np.flatnonzero(last_B)
    change = np.zeros(model.num_blocks + 2)
    np.add.at(change, sources + 1, width_B[sources])
    np.add.at(change, last_B[sources] + 1, -width_B[sources])
    return np.cumsum(change)[:-1]


def boundary_widths(model: ModelGraph, strategy: Strategy, stages: Stages) -> Floats:
    """Tensors of one hidden width in a message from each chunk to the next, (C - 1,).

    Stages talk to their neighbours alone (Megatron's p2p), so what skips stages passes through each of them on its way.
    """
    first_C = np.searchsorted(stages.chunk_B, np.arange(1, strategy.num_chunks))
    return cut_widths(model)[first_C]


def end_widths(strategy: Strategy, width_C: Floats) -> Floats:
    """Widths at both ends of the chunks of each stage, from those at the C + 1 cuts of the chunks, (..., P)."""
    chunks = stage_chunks(strategy)
    return np.asarray((width_C[..., chunks] + width_C[..., chunks + 1]).sum(axis=-1))


def _tied_savings(strategy: Strategy, chunk_B: npt.NDArray[np.integer], table: MemoryTable) -> Floats:
    out = np.zeros((strategy.pp, table.static_YM.shape[1]))
    chunks = stage_chunks(strategy)
    for a, b, bytes_M in table.tied_M:
        both = (chunks == chunk_B[a]).any(axis=1) & (chunks == chunk_B[b]).any(axis=1)
        out += both[:, None] * bytes_M
    return out
