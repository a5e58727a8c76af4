# SPDX-License-Identifier: Apache-2.0
# K shard   Y block type   N cell = (shard, block type), n = k * Y + y   R row: one operation of one cell
# D = (forward, backward-input, backward-weight)   C recompute mode
"""Counting without constants: what one GPU computes, moves, sends and keeps for one microbatch of one layer.

Flat tables, so that pricing is a few array operations whether there are 5,000 shards of one model or 237 runs of many.
FLOPs and bytes are those of the algorithm: 2mnk a matmul, three such a training step; attention 1 forward and 2.5 backward
(FlashAttention-2, arXiv 2307.08691); element-wise work by elements read and written in bf16. What a kernel really reaches
is the business of `price.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.context import UNFUSED_BEFORE, WEIGHT_BYTES, generation_of, logit_bytes, precision_of, torch_stack
from placement.cost.hardware import Hardware
from placement.cost.shards import Shards
from placement.ir import Attention, BlockType, Experts, Job, Matmul, ModelGraph, Op, Opaque, Pointwise, Vocab
from placement.ir._array import Bools, Floats, Ints

MATMUL, GROUPED, ATTENTION, HEAD, MOVE, PERMUTE, SCORES = range(7)
# bytes per element read and written, forward and backward, bf16
MOVED = {"norm": (4.0, 6.0), "residual": (6.0, 2.0), "rope": (6.0, 6.0), "act": (4.0, 5.0), "embed": (4.0, 8.0)}


@dataclass(frozen=True)
class Work:
    """Rows of computation. `flop_R` forward FLOPs; `byte_RD` memory traffic; `cast_RD` traffic of quantisation.

    `span_R` keys a query of an attention row sees, counted twice if causal; `head_R` its qk + v width; `thin_R` 1 / narrower
    side of an expert's matrices; `few_R` 1 / tokens that one expert sees; `ragged_R` 1 where a side is no
    multiple of 128; `cheap_R` selective recompute repeats it.
    """

    cell_R: Ints
    kind_R: Ints
    flop_R: Floats
    byte_RD: Floats
    cast_RD: Floats
    span_R: Floats
    head_R: Floats
    thin_R: Floats
    few_R: Floats
    ragged_R: Floats
    cheap_R: Bools


@dataclass(frozen=True)
class Cells:
    """What each cell sends, keeps and holds. Bytes are payloads of one GPU: the whole gathered tensor for gathers and scatters.

    `ep_byte_ND` bytes of the tokens themselves, before top-k copies. `*_call_ND` number of collectives.
    """

    shard_N: Ints
    tp_byte_ND: Floats
    tp_call_ND: Floats
    etp_byte_ND: Floats
    etp_call_ND: Floats
    cp_byte_ND: Floats
    cp_call_ND: Floats
    ep_byte_ND: Floats
    ep_call_ND: Floats
    topk_N: Floats
    experts_N: Floats
    limit_N: Floats  # inf: no limit
    gtp_byte_ND: Floats
    egtp_byte_ND: Floats
    layers_N: Floats  # 1 where the block is a layer with launches of its own
    routed_N: Floats  # 1 where it routes to experts
    local_N: Floats  # routed experts on one GPU
    dense_N: Floats
    expert_N: Floats
    act_NC: Floats
    edge_N: Floats


@dataclass(frozen=True)
class Tables:
    """Work and cells of K shards x Y block types."""

    work: Work
    cells: Cells
    num_shards: int


def count(model: ModelGraph, job: Job, hw: Hardware, shards: Shards) -> Tables:
    """Count every block type of a model under every shard."""
    counters = [_Counter(job, hw, shards, block) for block in model.types]
    for counter in counters:
        counter.run()
    return Tables(_rows(counters, shards.num), _cells(counters, shards), shards.num)


def stack_tables(tables: Sequence[Tables]) -> Tables:
    """Tables of several models side by side; shards and cells are renumbered."""
    cell_offset = np.cumsum([0, *(len(t.cells.shard_N) for t in tables)])
    shard_offset = np.cumsum([0, *(t.num_shards for t in tables)])
    work = {f.name: np.concatenate([getattr(t.work, f.name) for t in tables]) for f in dataclasses.fields(Work)}
    cells = {f.name: np.concatenate([getattr(t.cells, f.name) for t in tables]) for f in dataclasses.fields(Cells)}
    work["cell_R"] = np.concatenate([t.work.cell_R + o for t, o in zip(tables, cell_offset, strict=False)])
    cells["shard_N"] = np.concatenate([t.cells.shard_N + o for t, o in zip(tables, shard_offset, strict=False)])
    return Tables(Work(**work), Cells(**cells), int(shard_offset[-1]))


class _Counter:
    """Counts one block type under all shards; every quantity is an array (K,)."""

    def __init__(self, job: Job, hw: Hardware, shards: Shards, block: BlockType) -> None:
        self.job, self.block = job, block
        self.precision = precision_of(job, hw)
        self.unfused = generation_of(hw) == "ampere" and job.software.year < UNFUSED_BEFORE
        self.tp, self.cp = shards.tp_K.astype(float), shards.cp_K.astype(float)
        self.ep, self.etp = shards.ep_K.astype(float), shards.etp_K.astype(float)
        self.gtp, self.egtp = shards.gtp_K.astype(float), shards.egtp_K.astype(float)
        self.seq = float(block.span or job.seq_len)
        self.tokens = shards.micro_batch_K * job.seq_len / self.cp * block.tokens_ratio
        # without sequence parallelism the norms and residuals are repeated on every tp rank (Korthikanti et al. 2022)
        self.local = self.tokens if self.unfused else self.tokens / self.tp
        zero = np.zeros(shards.num)
        self.rows: list[dict[str, object]] = []
        self.sums: dict[str, Floats] = {}
        self.acts = [zero.copy(), zero.copy(), 2.0 * self.local * block.hidden]
        self.dense, self.expert = np.full(shards.num, float(block.norm_params)), zero.copy()
        self.zero = zero
        self.entered = False  # the input of the current column-parallel matmuls is gathered already
        self.saved: object = None

    def run(self) -> None:
        for op in self.block.ops:
            self.count(op)
        if torch_stack(self.job):  # its selective mode keeps every second matmul and its input, not what is costly to repeat
            self.acts[1] = (self.acts[0] + self.acts[2]) / 2.0

    def count(self, op: Op) -> None:
        match op:
            case Matmul():
                self.matmul(op)
            case Attention():
                self.attention(op)
            case Experts():
                self.experts(op)
            case Pointwise():
                self.pointwise(op)
            case Vocab():
                self.vocab(op)
            case Opaque():
                self.opaque(op)

    def row(
        self,
        kind: int,
        *,
        flop: Floats | float = 0.0,
        moved: Sequence[Floats | float],
        cast: Sequence[Floats | float] = (0.0, 0.0, 0.0),
        span: float = 1.0,
        head: float = 1.0,
        thin: Floats | float = 0.0,
        few: Floats | float = 0.0,
        ragged: float = 0.0,
        cheap: bool = False,
    ) -> None:
        quantised = self.precision != "bf16" and kind in (MATMUL, GROUPED)
        self.rows.append({
            "kind": kind, "flop": self.zero + flop, "byte": np.stack([self.zero + b for b in moved], -1),
            "cast": np.stack([self.zero + (b if quantised else 0.0) for b in cast], -1),
            "span": span, "head": head, "thin": self.zero + thin, "few": self.zero + few, "ragged": ragged, "cheap": cheap,
        })  # fmt: skip

    def add(self, name: str, *by_direction: Floats | float) -> None:
        extra = np.stack([self.zero + b for b in by_direction], -1)
        self.sums[name] = self.sums.get(name, np.zeros_like(extra)) + extra

    def keep(self, saved: Floats | float, selective: Floats | float | None = None) -> None:
        """Bytes kept for the backward pass without recompute, and under selective recompute."""
        self.acts[0] = self.acts[0] + saved
        self.acts[1] = self.acts[1] + (saved if selective is None else selective)

    def matmul(self, op: Matmul) -> None:
        inp, out, tokens = self.zero + op.inp, self.zero + op.out, self.tokens
        if op.shard == "col":
            out = out / self.tp
        elif op.shard == "row":
            inp = inp / self.tp
        else:
            tokens = self.local
        cheap = op.shard == "col" and op.inp < self.block.hidden  # the up-projection of MLA
        self.gemm(MATMUL, tokens, inp, out, 1.0, cheap=cheap)
        self.dense = self.dense + inp * out
        full = 2.0 * self.tokens * (op.inp if op.shard == "col" else op.out)
        gathered = full * WEIGHT_BYTES[self.precision] / 2.0
        if op.shard == "col" and not self.entered:
            # gather; scatter of the input gradient, gather again for the weight's. Quantised tensors are gathered as such.
            self.add("tp_byte", gathered, full + gathered, 0.0)
            self.add("tp_call", 1.0, 2.0, 0.0)
        if op.shard == "row":
            self.add("tp_byte", full, gathered, 0.0)
            self.add("tp_call", 1.0, 1.0, 0.0)
        stored = WEIGHT_BYTES[self.precision] * inp * (self.tokens if op.shard == "row" else self.local)
        if self.saved != (op.inp, "in") or op.shard == "row":
            after_act = isinstance(self.saved, Pointwise) and self.saved.kind == "act"
            recomputed = op.shard == "row" and after_act and not self.unfused
            self.keep(stored, 0.0 if recomputed or cheap else stored)
        self.saved, self.entered = (op.inp, "in"), op.shard == "col"

    def gemm(self, kind: int, m: Floats, k: Floats, n: Floats, groups: Floats | float, *, cheap: bool = False,
             thin: Floats | float = 0.0, ragged: float = 0.0) -> None:  # fmt: skip
        """Forward, input gradient and weight gradient of y = x W; the last accumulates into fp32, read and written."""
        w = WEIGHT_BYTES[self.precision]
        x, y, weight = m * k, m * n, k * n
        moved = (w * (x + weight) + 2 * y, w * (y + weight) + 2 * x, w * (x + y) + 8 * weight)
        # quantise the input going forward and the output gradient going back, in both orientations: read 2, write 1 + 1
        few = 1.0 / m if kind == GROUPED else 0.0
        self.row(kind, flop=groups * 2.0 * x * n, moved=[groups * b for b in moved],
                 cast=(groups * 4 * x, groups * 4 * y, 0.0), thin=thin, few=few, ragged=ragged, cheap=cheap)  # fmt: skip

    def attention(self, op: Attention) -> None:
        heads = op.heads / self.tp
        width = op.qk_dim + op.v_dim
        if op.linear:
            flop = 4.0 * self.tokens * heads * op.qk_dim * op.v_dim
            self.row(ATTENTION, flop=flop, moved=(0, 0, 0), span=1e9, head=width)
        else:
            span = self.seq if op.causal else 2 * self.seq
            if op.window is not None:
                span = min(span, 2.0 * op.window)
            flop = self.tokens * span * heads * width  # causal: half of 2 s (qk + v)
            if op.causal and self.job.software.stack == "torchtitan":
                flop = (
                    flop * 2.0 * self.cp / (self.cp + 1.0)
                )  # its ring gives the last rank most keys; Megatron pairs both ends
            self.row(
                ATTENTION,
                flop=flop * (2.0 if self.unfused else 1.0),
                moved=(0, 0, 0),
                span=span,
                head=width,
                cheap=self.unfused,
            )
        kv = op.latent_dim or op.kv_heads * width / np.minimum(self.tp, op.kv_heads)
        gathered = 2.0 * self.tokens * self.cp * kv
        self.add("cp_byte", gathered, 2.0 * gathered, 0.0)
        self.add("cp_call", self.cp - 1, 2.0 * (self.cp - 1), 0.0)
        self.keep(2.0 * self.tokens * (heads * op.qk_dim + np.maximum(1.0, op.kv_heads / self.tp) * width))
        if self.unfused:
            scores = self.tokens * self.seq * heads
            self.row(SCORES, moved=(8.0 * scores, 20.0 * scores, 0.0), cheap=True)  # fp16 softmax, mask, dropout: 14 passes
            self.keep(5.0 * scores, 0.0)
        self.saved, self.entered = None, False

    def experts(self, op: Experts) -> None:
        up = (2 if op.gated else 1) * op.ffn / self.etp
        here = op.num / self.ep
        busiest = self.job.expert_imbalance
        # tokens that one expert sees: those of all ranks of its ep x etp group
        rows = self.tokens / self.tp * self.ep * self.etp * op.topk / op.num * busiest
        ragged = float(op.hidden % 128 > 0 or op.ffn % 128 > 0)
        thin = 1.0 / np.minimum(op.hidden, op.ffn / self.etp)
        self.gemm(GROUPED, rows, self.zero + op.hidden, up, here, thin=thin, ragged=ragged)
        self.gemm(GROUPED, rows, op.ffn / self.etp, self.zero + op.hidden, here, thin=thin, ragged=ragged)
        visits = self.tokens / self.tp * op.topk * busiest
        moved = visits * (16.0 * op.hidden + (3 if op.gated else 2) * 6.0 * op.ffn)
        self.row(PERMUTE, moved=(moved / 2, moved / 2, 0.0), ragged=ragged)
        self.dense = self.dense + op.hidden * op.num
        self.expert = self.expert + here * op.hidden * (up + op.ffn / self.etp)
        tokens_B = 2.0 * self.tokens / self.tp * op.hidden * np.sqrt(busiest)
        self.add("ep_byte", 2.0 * tokens_B, 2.0 * tokens_B, 0.0)
        self.add("ep_call", 2.0, 2.0, 0.0)
        gathered = 2.0 * visits * op.hidden * self.etp
        self.add("etp_byte", 2.0 * gathered, 3.0 * gathered, 0.0)
        self.add("etp_call", 2.0, 3.0, 0.0)
        w = WEIGHT_BYTES[self.precision]
        inner = visits * self.etp
        self.keep(inner * (w * op.hidden + 2.0 * up + w * op.ffn / self.etp), inner * (w * op.hidden + 2.0 * up))
        self.saved, self.entered = None, False

    def pointwise(self, op: Pointwise) -> None:
        elements = self.local * op.width if op.shard == "sp" else self.tokens * op.width / self.tp
        forward, backward = MOVED[op.kind]
        # before fused attention, selective recompute meant the attention core alone (Korthikanti et al. 2022)
        self.row(
            MOVE, moved=(forward * elements, backward * elements, 0.0), cheap=op.kind in ("norm", "act") and not self.unfused
        )
        if op.kind in ("norm", "act"):
            self.keep(2.0 * elements)
        elif op.kind == "residual" and self.unfused:
            self.keep(elements)  # the mask of the dropout, a byte each; later models train without
        self.saved, self.entered = op, False

    def vocab(self, op: Vocab) -> None:
        weight = op.vocab * op.hidden / self.tp
        self.dense = self.dense + weight
        if op.lookup:
            full = 2.0 * self.tokens * op.hidden
            self.row(MOVE, moved=(4.0 * self.local * op.hidden, 8.0 * self.local * op.hidden, 0.0))
            self.add("tp_byte", full, full, 0.0)
            self.add("tp_call", 1.0, 1.0, 0.0)
            return
        logits = self.tokens * op.vocab / self.tp
        loss = (6.0 * logits, 8.0 * logits, 0.0)  # fp32 softmax and its gradient, in the vocabulary-parallel cross entropy
        self.row(HEAD, flop=2.0 * self.tokens * weight, moved=loss)
        full = 2.0 * self.tokens * op.hidden
        self.add("tp_byte", full, 2.0 * full, 0.0)
        self.add("tp_call", 1.0, 2.0, 0.0)
        self.keep(logit_bytes(self.job) * logits)

    def opaque(self, op: Opaque) -> None:
        cut = self.tp if op.tp_shardable else 1.0
        flop, moved = op.forward_flop * self.tokens / cut, op.moved_bytes * self.tokens / cut
        self.row(MATMUL, flop=flop, moved=(moved, 2.0 * moved, moved))
        self.dense = self.dense + op.params / cut
        self.keep(op.act_bytes * self.tokens / cut)


def _rows(counters: Sequence[_Counter], num: int) -> Work:
    flat = [(y, row) for y, counter in enumerate(counters) for row in counter.rows]
    shard = np.arange(num) * len(counters)

    def spread(name: str) -> Floats:
        return np.concatenate([np.broadcast_to(np.asarray(row[name], float), (num,)) for _, row in flat])

    return Work(
        cell_R=np.concatenate([shard + y for y, _ in flat]),
        kind_R=spread("kind").astype(np.int64), flop_R=spread("flop"),
        byte_RD=np.concatenate([row["byte"] for _, row in flat]), cast_RD=np.concatenate([row["cast"] for _, row in flat]),
        span_R=spread("span"), head_R=spread("head"), thin_R=spread("thin"), few_R=spread("few"), ragged_R=spread("ragged"),
        cheap_R=spread("cheap").astype(bool),
    )  # fmt: skip


def _cells(counters: Sequence[_Counter], shards: Shards) -> Cells:
    num = shards.num

    def flat(columns: Sequence[Floats]) -> Floats:
        """(Y arrays of (K, ...)) -> (N, ...)"""
        joined = np.stack(columns, 1)
        return joined.reshape(num * len(counters), *joined.shape[2:])

    def total(name: str) -> Floats:
        return flat([c.sums.get(name, np.zeros((num, 3))) for c in counters])

    def fact(*values: float) -> Floats:
        return flat([np.full(num, v) for v in values])

    routed = [c.block.experts for c in counters]
    w = WEIGHT_BYTES[counters[0].precision]
    gathers = np.array([w, w, 2.0])  # weights forward and backward, bf16 gradient scatter (Megatron GTP document)
    return Cells(
        shard_N=np.repeat(np.arange(num), len(counters)),
        tp_byte_ND=total("tp_byte"), tp_call_ND=total("tp_call"), etp_byte_ND=total("etp_byte"), etp_call_ND=total("etp_call"),
        cp_byte_ND=total("cp_byte"), cp_call_ND=total("cp_call"), ep_byte_ND=total("ep_byte"), ep_call_ND=total("ep_call"),
        topk_N=fact(*(float(e.topk) if e else 1.0 for e in routed)),
        experts_N=fact(*(float(e.num) if e else 1.0 for e in routed)),
        limit_N=fact(*(float(e.groups_limit or np.inf) if e else np.inf for e in routed)),
        gtp_byte_ND=flat([c.dense[:, None] * gathers for c in counters]),
        egtp_byte_ND=flat([c.expert[:, None] * gathers for c in counters]),
        layers_N=fact(*(float(any(isinstance(o, Attention | Experts) for o in c.block.ops)) for c in counters)),
        routed_N=fact(*(float(e is not None) for e in routed)),
        local_N=flat([(float(e.num) if e else 0.0) / c.ep for e, c in zip(routed, counters, strict=True)]),
        dense_N=flat([c.dense / c.gtp for c in counters]), expert_N=flat([c.expert / c.egtp for c in counters]),
        act_NC=flat([np.stack([c.acts[0], np.minimum(c.acts[0], c.acts[1]), c.acts[2]], -1) for c in counters]),
        edge_N=flat([2.0 * c.tokens / c.block.tokens_ratio * c.block.hidden / c.tp for c in counters]),
    )  # fmt: skip
