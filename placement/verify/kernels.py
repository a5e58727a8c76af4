# SPDX-License-Identifier: Apache-2.0
"""What one GPU does for one microbatch of one block, counted operation by operation with scalars.

The formulas are the published ones that docs/cost-model.md states, written a second time: 2mnk FLOPs a matmul and three such a
training step; attention 1 forward and 2.5 backward (FlashAttention-2, arXiv 2307.08691); sequence parallelism and what is
kept for the backward pass after Korthikanti et al. 2022. Lists of three are (forward, input gradient, weight gradient).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from placement.ir import Attention, BlockType, Chip, Experts, Job, Matmul, Opaque, Pointwise, Vocab
from placement.verify.case import Degrees

ELEMENT = {"bf16": 2.0, "fp8": 1.0, "mxfp8": 1.03125, "nvfp4": 0.5625}  # bytes with block scales: Megatron GTP document
FLASH_SINCE = 2022.9  # before it, Ampere stacks wrote the score matrix and had no sequence parallelism
# bytes read and written per element, (forward, backward)
TRAFFIC = {"norm": (4.0, 6.0), "residual": (6.0, 2.0), "rope": (6.0, 6.0), "act": (4.0, 5.0), "embed": (4.0, 8.0)}


@dataclass
class Kernel:
    """One kernel. `flop` of its forward pass; `moved`, `cast` bytes of memory traffic by direction."""

    kind: str  # matmul, grouped, attention, head, move, permute, scores
    flop: float = 0.0
    moved: tuple[float, float, float] = (0.0, 0.0, 0.0)
    cast: tuple[float, float] = (0.0, 0.0)
    span: float = 1.0
    width: float = 1.0
    thin: float = 0.0  # 1 / narrower side of an expert's matrices
    few: float = 0.0  # 1 / tokens of an expert
    ragged: bool = False
    cheap: bool = False  # selective recompute repeats it


def _three() -> list[float]:
    return [0.0, 0.0, 0.0]


@dataclass
class Layer:
    """Sums over the operations of a block: payloads and calls of collectives, parameters held, bytes kept by recompute mode."""

    block: BlockType
    kernels: list[Kernel] = field(default_factory=list)
    tp_bytes: list[float] = field(default_factory=_three)
    tp_calls: list[float] = field(default_factory=_three)
    etp_bytes: list[float] = field(default_factory=_three)
    etp_calls: list[float] = field(default_factory=_three)
    cp_bytes: list[float] = field(default_factory=_three)
    ep_bytes: list[float] = field(default_factory=_three)
    ep_calls: list[float] = field(default_factory=_three)
    dense: float = 0.0  # parameters of a tensor-parallel rank, before weight shards
    expert: float = 0.0
    kept: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("none", "selective", "full"), 0.0))

    @property
    def is_layer(self) -> bool:
        return any(isinstance(op, Attention | Experts) for op in self.block.ops)

    @property
    def experts(self) -> Experts | None:
        return next((op for op in self.block.ops if isinstance(op, Experts)), None)


def pytorch(job: Job) -> bool:
    """Plain PyTorch runs the job."""
    return job.software.stack in ("torchtitan", "automodel")


def logit_bytes(job: Job) -> float:
    """Kept for a logit: bf16 and fp32 softmax; PyTorch's loss keeps an fp32 copy and its gradient as well."""
    return 2.0 + 4.0 + (4.0 + 4.0 if pytorch(job) else 0.0)


def precision_run(job: Job, chip: Chip) -> str:
    """Matmul precision that the silicon runs: Ampere has bf16 alone, Hopper one fp8."""
    if chip.generation == "ampere" or job.precision == "bf16":
        return "bf16"
    return "fp8" if chip.generation == "hopper" else job.precision


def layer_of(block: BlockType, job: Job, chip: Chip, d: Degrees) -> Layer:
    """Count a block type."""
    return _Count(block, job, chip, d).done()


class _Count:
    """Walks the operations of a block in order: what is kept depends on what stands before."""

    def __init__(self, block: BlockType, job: Job, chip: Chip, d: Degrees) -> None:
        self.job, self.d, self.layer = job, d, Layer(block, dense=float(block.norm_params))
        self.precision = precision_run(job, chip)
        self.element = ELEMENT[self.precision]
        self.old = chip.generation == "ampere" and job.software.year < FLASH_SINCE
        self.tokens = d.micro_batch * job.seq_len / d.cp * block.tokens_ratio
        self.local = self.tokens if self.old else self.tokens / d.tp
        self.layer.kept["full"] = 2.0 * self.local * block.hidden
        self.before: object = None
        self.gathered = False

    def done(self) -> Layer:
        for op in self.layer.block.ops:
            if isinstance(op, Matmul):
                self.matmul(op)
            elif isinstance(op, Attention):
                self.attention(op)
            elif isinstance(op, Experts):
                self.experts(op)
            elif isinstance(op, Pointwise):
                self.pointwise(op)
            elif isinstance(op, Vocab):
                self.vocab(op)
            else:
                self.opaque(op)
        kept = self.layer.kept
        if pytorch(self.job):  # keeps every second matmul
            kept["selective"] = (kept["none"] + kept["full"]) / 2.0
        kept["selective"] = min(kept["none"], kept["selective"])
        return self.layer

    def keep(self, always: float, selective: float | None = None) -> None:
        self.layer.kept["none"] += always
        self.layer.kept["selective"] += always if selective is None else selective

    def gemm(self, kind: str, m: float, k: float, n: float, copies: float = 1.0, **facts: float | bool) -> None:
        """Y (m, n) = x (m, k) W (k, n) and its two gradients; the weight gradient is read and written in fp32."""
        e = self.element
        moved = (e * (m * k + k * n) + 2 * m * n, e * (m * n + k * n) + 2 * m * k, e * (m * k + m * n) + 8 * k * n)
        cast = (4.0 * m * k * copies, 4.0 * m * n * copies) if self.precision != "bf16" else (0.0, 0.0)
        scaled = (copies * moved[0], copies * moved[1], copies * moved[2])
        self.layer.kernels.append(Kernel(kind, copies * 2.0 * m * k * n, scaled, cast, **facts))  # type: ignore[arg-type]

    def tensor(self, forward: tuple[float, ...], backward: tuple[float, ...]) -> None:
        """Payloads of the collectives of sequence parallelism."""
        for direction, payloads in enumerate((forward, backward)):
            self.layer.tp_bytes[direction] += sum(payloads)
            self.layer.tp_calls[direction] += len(payloads)

    def matmul(self, op: Matmul) -> None:
        tp, layer = self.d.tp, self.layer
        column, row = op.shard == "col", op.shard == "row"
        m = self.tokens if column or row else self.local
        k, n = (op.inp / tp if row else float(op.inp)), (op.out / tp if column else float(op.out))
        cheap = column and op.inp < layer.block.hidden  # up-projection of MLA from its latent
        self.gemm("matmul", m, k, n, cheap=cheap)
        layer.dense += k * n
        if column and not self.gathered:  # gather; scatter of the input gradient, gather again for the weight's
            scattered, gathered = 2.0 * self.tokens * op.inp, self.element * self.tokens * op.inp
            self.tensor((gathered,), (scattered, gathered))
        if row:
            self.tensor((2.0 * self.tokens * op.out,), (self.element * self.tokens * op.out,))
        if row or self.before != ("matmul", op.inp):  # matmuls that read one input keep it once
            stored = self.element * k * (self.tokens if row else self.local)
            after_activation = row and not self.old and isinstance(self.before, Pointwise) and self.before.kind == "act"
            self.keep(stored, 0.0 if after_activation or cheap else stored)
        self.before, self.gathered = ("matmul", op.inp), column

    def attention(self, op: Attention) -> None:
        d, tokens, heads = self.d, self.tokens, op.heads / self.d.tp
        width = op.qk_dim + op.v_dim
        sequence = float(self.layer.block.span or self.job.seq_len)
        if op.linear:
            kernel = Kernel("attention", 4.0 * tokens * heads * op.qk_dim * op.v_dim, span=1e9, width=width)
        else:
            keys = sequence if op.causal else 2.0 * sequence  # doubled: a causal query sees half of it on average
            keys = min(keys, 2.0 * op.window) if op.window is not None else keys
            flop = tokens * keys * heads * width * (2 if self.old else 1)
            if op.causal and self.job.software.stack == "torchtitan":  # its last rank has most keys; Megatron pairs both ends
                flop *= 2.0 * d.cp / (d.cp + 1)
            kernel = Kernel("attention", flop, span=keys, width=width, cheap=self.old)
        self.layer.kernels.append(kernel)
        exchanged = op.latent_dim or op.kv_heads * width / min(d.tp, op.kv_heads)
        self.layer.cp_bytes[0] += 2.0 * tokens * d.cp * exchanged
        self.layer.cp_bytes[1] += 4.0 * tokens * d.cp * exchanged
        self.keep(2.0 * tokens * (heads * op.qk_dim + max(1.0, op.kv_heads / d.tp) * width))
        if self.old:
            scores = tokens * sequence * heads
            self.layer.kernels.append(Kernel("scores", moved=(8.0 * scores, 20.0 * scores, 0.0), cheap=True))
            self.keep(5.0 * scores, 0.0)
        self.before, self.gathered = None, False

    def experts(self, op: Experts) -> None:
        d, layer, busiest = self.d, self.layer, self.job.expert_imbalance
        mine = self.tokens / d.tp
        up, down, here = (2 if op.gated else 1) * op.ffn / d.etp, op.ffn / d.etp, op.num / d.ep
        each = mine * d.ep * d.etp * op.topk / op.num * busiest  # tokens of one expert, from all ranks of its group
        ragged, thin = op.hidden % 128 > 0 or op.ffn % 128 > 0, 1.0 / min(op.hidden, down)
        self.gemm("grouped", each, op.hidden, up, here, thin=thin, few=1.0 / each, ragged=ragged)
        self.gemm("grouped", each, down, op.hidden, here, thin=thin, few=1.0 / each, ragged=ragged)
        visits = mine * op.topk * busiest
        moved = visits * (16.0 * op.hidden + (18.0 if op.gated else 12.0) * op.ffn) / 2.0
        layer.kernels.append(Kernel("permute", moved=(moved, moved, 0.0), ragged=ragged))
        layer.dense += op.hidden * op.num
        layer.expert += here * op.hidden * (up + down)
        sent = 2.0 * mine * op.hidden * busiest**0.5
        for direction in (0, 1):  # dispatch and combine
            layer.ep_bytes[direction] += 2.0 * sent
            layer.ep_calls[direction] += 2.0
        payload = 2.0 * visits * op.hidden * d.etp
        for direction, times in ((0, 2.0), (1, 3.0)):
            layer.etp_bytes[direction] += times * payload
            layer.etp_calls[direction] += times
        inside = visits * d.etp
        self.keep(inside * (self.element * (op.hidden + down) + 2.0 * up), inside * (self.element * op.hidden + 2.0 * up))
        self.before, self.gathered = None, False

    def pointwise(self, op: Pointwise) -> None:
        elements = op.width * (self.local if op.shard == "sp" else self.tokens / self.d.tp)
        forward, backward = TRAFFIC[op.kind]
        stored = op.kind in ("norm", "act")
        moved = (forward * elements, backward * elements, 0.0)
        self.layer.kernels.append(Kernel("move", moved=moved, cheap=stored and not self.old))
        if stored:
            self.keep(2.0 * elements)
        elif op.kind == "residual" and self.old:
            self.keep(elements)  # dropout masks
        self.before, self.gathered = op, False

    def vocab(self, op: Vocab) -> None:
        part = op.vocab * op.hidden / self.d.tp
        self.layer.dense += part
        payload = 2.0 * self.tokens * op.hidden
        if op.lookup:
            moved = self.local * op.hidden
            self.layer.kernels.append(Kernel("move", moved=(4.0 * moved, 8.0 * moved, 0.0)))
            self.tensor((payload,), (payload,))
            return
        logits = self.tokens * op.vocab / self.d.tp
        self.layer.kernels.append(Kernel("head", 2.0 * self.tokens * part, (6.0 * logits, 8.0 * logits, 0.0)))
        self.tensor((payload,), (payload, payload))
        self.keep(logit_bytes(self.job) * logits)

    def opaque(self, op: Opaque) -> None:
        cut = self.d.tp if op.tp_shardable else 1
        flop, moved = op.forward_flop * self.tokens / cut, op.moved_bytes * self.tokens / cut
        self.layer.kernels.append(Kernel("matmul", flop, (moved, 2.0 * moved, moved)))
        self.layer.dense += op.params / cut
        self.keep(op.act_bytes * self.tokens / cut)


def model_flops_per_token(types: tuple[BlockType, ...], counts: list[int], seq_len: int) -> float:
    """FLOPs of training on a token as papers count them (Narayanan et al. 2021, arXiv 2104.04473).

    Six a matmul parameter visited, causal attention; no lookups, no recompute.
    """
    total = 0.0
    for block, count in zip(types, counts, strict=True):
        forward = sum(_forward(op, block.span or seq_len) for op in block.ops)
        total += 3.0 * count * block.tokens_ratio * forward
    return total


def _forward(op: object, sequence: int) -> float:
    if isinstance(op, Matmul):
        return 2.0 * op.inp * op.out
    if isinstance(op, Experts):
        return 2.0 * op.hidden * op.num + 2.0 * op.topk * (3 if op.gated else 2) * op.hidden * op.ffn
    if isinstance(op, Vocab):
        return 0.0 if op.lookup else 2.0 * op.vocab * op.hidden
    if isinstance(op, Opaque):
        return op.forward_flop
    if not isinstance(op, Attention):
        return 0.0
    if op.linear:
        return 4.0 * op.heads * op.qk_dim * op.v_dim
    window = min(op.window or sequence, sequence)
    keys = window * (1.0 - window / (2.0 * sequence)) if op.causal else float(window)
    return 2.0 * op.heads * (op.qk_dim + op.v_dim) * keys
