# SPDX-License-Identifier: Apache-2.0
"""Parameters and model FLOPs of a training step, on the convention of published throughput figures.

FLOPs per token (forward + backward) = 6 * (parameters of matmuls that a token visits) + 3 * attention, where a multiply-add
is two FLOPs and the backward pass costs twice the forward pass (Narayanan et al. 2021, arXiv 2104.04473, appendix; Chowdhery
et al. 2022, arXiv 2204.02311, appendix B). Logits count, input embeddings are lookups and do not; recomputation never counts;
causal attention counts half; multi-token-prediction modules count, with their logits (Megatron-Bridge's own convention).
"""

from __future__ import annotations

from collections.abc import Mapping

from placement.ir import Attention, BlockType, Experts, Matmul, ModelGraph, Op, Opaque, Pointwise, Vocab

FORWARD_AND_BACKWARD = 3.0  # the backward pass multiplies by the weights and by the inputs: two matmuls for each of the forward


def total_params(model: ModelGraph, *, mtp: bool = True) -> int:
    """Parameters, tied matrices counted once. `mtp=False` leaves multi-token-prediction modules out, as model cards do."""
    return model.num_params - (0 if mtp else _mtp_params(model, active=False))


def active_params(model: ModelGraph, *, mtp: bool = True) -> int:
    """Parameters that one token visits: `total_params` without the routed experts that it is not sent to."""
    idle = sum(int(n) * idle_params(t) for n, t in zip(model.count_Y, model.types, strict=True))
    return model.num_params - idle - (0 if mtp else _mtp_params(model, active=True))


def idle_params(block: BlockType) -> int:
    """Parameters of the routed experts of a block that a token does not visit."""
    return sum(op.params - op.params * op.topk // op.num for op in block.ops if isinstance(op, Experts))


def flops_per_token(model: ModelGraph, seq_len: int, causal: bool = True) -> float:
    """Model FLOPs of training on one token of a sequence of `seq_len`. `causal=False`: full attention, as in older papers."""
    return sum(flops_by_type(model, seq_len, causal).values())


def flops_by_type(model: ModelGraph, seq_len: int, causal: bool = True) -> Mapping[str, float]:
    """`flops_per_token` split by the name of the block type."""
    total: dict[str, float] = {}
    for count, block in zip(model.count_Y, model.types, strict=True):
        total[block.name] = total.get(block.name, 0.0) + int(count) * block_flops(block, seq_len, causal)
    return total


def block_flops(block: BlockType, seq_len: int, causal: bool = True) -> float:
    """Training FLOPs of one block of a type for one token of the sequence."""
    forward = sum(forward_flops(op, block.span or seq_len, causal) for op in block.ops)
    return FORWARD_AND_BACKWARD * block.tokens_ratio * forward


def forward_flops(op: Op, seq_len: int, causal: bool) -> float:
    """FLOPs of the forward pass of one operation for one token that it sees.

    Attention: scores and weighted values, 2 * heads * (qk + v) for each visible key; linear attention updates and reads a
    qk x v state of each head. Experts: the router, and `topk` experts. Element-wise work is not counted as model FLOPs.
    """
    match op:
        case Matmul():
            return 2.0 * op.inp * op.out
        case Attention(linear=True):
            return 4.0 * op.heads * op.qk_dim * op.v_dim
        case Attention():
            return 2.0 * op.heads * (op.qk_dim + op.v_dim) * visible_keys(op, seq_len, causal)
        case Experts():
            return 2.0 * op.hidden * op.num + 2.0 * op.topk * (op.params // op.num)
        case Vocab():
            return 0.0 if op.lookup else 2.0 * op.vocab * op.hidden
        case Opaque():
            return op.forward_flop
        case Pointwise():
            return 0.0


def visible_keys(op: Attention, seq_len: int, causal: bool = True) -> float:
    """Mean number of keys that a query sees: s/2 where attention is causal; window * (1 - window/2s) in a causal window.

    The window formula is the mean of min(i, window) over positions i, in the continuous form that gives s/2 at window = s.
    """
    window = min(op.window or seq_len, seq_len)
    return window * (1.0 - window / (2.0 * seq_len)) if op.causal and causal else float(window)


def _mtp_params(model: ModelGraph, *, active: bool) -> int:
    """Parameters of the multi-token-prediction modules, without the embedding table that they share."""
    total = 0
    for count, block in zip(model.count_Y, model.types, strict=True):
        if block.name == "mtp":
            one = block.dense_params - block.vocab_params + block.expert_params - (idle_params(block) if active else 0)
            total += int(count) * one
    return total
