# SPDX-License-Identifier: Apache-2.0
# B block   E edge   Y block type
"""The model: a graph of blocks. Each block points at a block type, which lists operations by their shapes.

Everything is counted per token and per layer, for the whole (unsharded) model; `cost/` divides by the strategy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from placement.ir._array import Floats, Ints, digest, freeze


@dataclass(frozen=True)
class Matmul:
    """y[tokens, out] = x[tokens, inp] W. `shard`: `col` splits `out` over tp, `row` splits `inp`, `none` replicates W."""

    inp: int
    out: int
    shard: str
    bias: bool = False

    @property
    def params(self) -> int:
        return self.inp * self.out + (self.out if self.bias else 0)


@dataclass(frozen=True)
class Attention:
    """Softmax attention core (no projections). Heads are split over tp; the sequence over cp.

    `window` keys are visible to a query at most (None: all). `linear` attention costs tokens * heads * qk * v instead.
    """

    heads: int
    kv_heads: int
    qk_dim: int
    v_dim: int
    causal: bool = True
    window: int | None = None
    linear: bool = False
    latent_dim: int | None = None  # MLA: width of the compressed KV that CP exchanges and the cache keeps


@dataclass(frozen=True)
class Experts:
    """Routed experts of one MoE layer: router, dispatch, grouped matmuls (up, [gate], down), combine."""

    num: int
    topk: int
    hidden: int
    ffn: int
    gated: bool
    groups_limit: int | None = None  # group-limited routing: a token visits at most so many groups (nodes)

    @property
    def params(self) -> int:
        """Parameters of all routed experts, without the router."""
        return self.num * (3 if self.gated else 2) * self.hidden * self.ffn


@dataclass(frozen=True)
class Pointwise:
    """Memory-bound element-wise work over `width` elements a token.

    `kind`: norm, residual, rope, act (activation function), embed. `shard`: `tp` (split with the heads or the ffn) or `sp`
    (split over tp by sequence parallelism).
    """

    width: int
    kind: str
    shard: str


@dataclass(frozen=True)
class Vocab:
    """Embedding (`lookup=True`) or output head with cross entropy; split over tp along the vocabulary."""

    vocab: int
    hidden: int
    lookup: bool


@dataclass(frozen=True)
class Opaque:
    """A node of the long graph form: given by numbers instead of shapes. All per token of the text sequence."""

    forward_flop: float
    params: int
    act_bytes: float
    moved_bytes: float  # memory traffic of the forward pass
    tp_shardable: bool = True


Op = Matmul | Attention | Experts | Pointwise | Vocab | Opaque


@dataclass(frozen=True)
class BlockType:
    """A kind of layer. `tokens_ratio`: tokens it sees for each text token; `span`: own sequence length (vision) if fixed."""

    name: str  # embedding, dense, moe, mtp, head, vision ...
    ops: tuple[Op, ...]
    hidden: int
    norm_params: int = 0
    tokens_ratio: float = 1.0
    span: int | None = None

    @property
    def expert_params(self) -> int:
        return sum(op.params for op in self.ops if isinstance(op, Experts))

    @property
    def dense_params(self) -> int:
        """Every parameter that is not in a routed expert; the router's matrix counts here."""
        total = self.norm_params
        for op in self.ops:
            if isinstance(op, Matmul | Opaque):
                total += op.params
            elif isinstance(op, Vocab):
                total += op.vocab * op.hidden
            elif isinstance(op, Experts):
                total += op.hidden * op.num
        return total

    @property
    def vocab_params(self) -> int:
        """Parameters of the embedding or head matrix of this block: what a tie shares. 0 without one."""
        return sum(op.vocab * op.hidden for op in self.ops if isinstance(op, Vocab))

    @property
    def experts(self) -> Experts | None:
        return next((op for op in self.ops if isinstance(op, Experts)), None)


@dataclass(frozen=True)
class ModelGraph:
    """Blocks in topological order, edges between them (elements a token), and weights that are tied.

    Invariant: src_E < dst_E; a chain has edges (i, i+1). `tied` lists (block, block) that share one matrix: it is counted
    once, and when the two blocks sit in different stages its gradient is reduced between them every step.
    """

    name: str
    types: tuple[BlockType, ...]
    type_B: Ints
    src_E: Ints
    dst_E: Ints
    width_E: Floats
    hidden: int
    vocab: int
    block_names: tuple[str, ...]
    tied: tuple[tuple[int, int], ...] = ()
    hypothetical: bool = False
    source: dict[str, tuple[str, int, int]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        freeze(self)
        assert len(self.type_B) == len(self.block_names)
        assert bool(np.all(self.src_E < self.dst_E))

    @property
    def num_blocks(self) -> int:
        return len(self.type_B)

    @property
    def count_Y(self) -> Ints:
        """How many blocks there are of each type."""
        return np.bincount(self.type_B, minlength=len(self.types))

    @property
    def is_moe(self) -> bool:
        return any(t.experts for t in self.types)

    @property
    def experts(self) -> Experts | None:
        """The widest routed layer of the model, or None for a dense model."""
        found = [t.experts for t in self.types if t.experts]
        return max(found, key=lambda e: e.num) if found else None

    @property
    def num_params(self) -> int:
        """Parameters, tied matrices counted once, as model cards count them (MTP modules included)."""
        total = sum(int(n) * (t.dense_params + t.expert_params) for n, t in zip(self.count_Y, self.types, strict=True))
        return total - sum(self.tied_params)

    @property
    def tied_params(self) -> tuple[int, ...]:
        """Parameters that each pair of `tied` shares: their vocabulary matrix, else the smaller of the two blocks."""
        pairs = [(self.types[self.type_B[i]], self.types[self.type_B[j]]) for i, j in self.tied]
        return tuple(min(a.vocab_params, b.vocab_params) or min(a.dense_params, b.dense_params) for a, b in pairs)

    def digest(self) -> str:
        return digest(self)
