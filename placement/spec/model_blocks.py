# SPDX-License-Identifier: Apache-2.0
"""Block types of a transformer: each layer as the operations it runs, in order, by their shapes.

`Pointwise.width` counts the elements that an operation reads: a gated activation reads twice the inner width. Fused
matrices (query-key-value, gate-up) are one `Matmul`, as Megatron-LM runs them.
"""

from __future__ import annotations

from placement.ir import Attention, BlockType, Experts, Matmul, Op, Pointwise, Vocab
from placement.spec.model_types import DenseLayer, Layer, LinearAttention, Mamba, Mla, Transformer, Vision


def head_dim(spec: DenseLayer) -> int:
    return spec.head_dim or spec.hidden // spec.heads


def norm_params(spec: DenseLayer, width: int) -> int:
    """Scale, and for layernorm a shift."""
    return width * (2 if spec.norm == "layernorm" else 1)


def layer_type(
    spec: DenseLayer,
    name: str,
    *,
    routed: bool,
    causal: bool = True,
    window: int | None = None,
    linear: LinearAttention | None = None,
) -> BlockType:
    """A layer: attention (softmax, windowed, latent or linear), then a dense or routed feed-forward network."""
    attention, attention_norms = attention_ops(spec, causal=causal, window=window, linear=linear)
    feed_forward, ffn_norms = routed_ops(spec) if routed and isinstance(spec, Layer) else dense_ops(spec)
    return BlockType(name, (*attention, *feed_forward), spec.hidden, attention_norms + ffn_norms)


def attention_ops(
    spec: DenseLayer, *, causal: bool, window: int | None = None, linear: LinearAttention | None = None
) -> tuple[tuple[Op, ...], int]:
    """Operations of the attention half of a layer, and parameters of its norms."""
    if linear:
        core, out, norms = _linear_core(spec, linear)
    elif spec.mla:
        core, out, norms = _latent_core(spec, spec.mla, causal)
    else:
        core, out, norms = _softmax_core(spec, causal, window)
    gate: tuple[Op, ...] = ()
    if spec.attention_gate:
        gate = (Matmul(spec.hidden, out, "col"), Pointwise(2 * out, "act", "tp"))
    project = Matmul(out, spec.hidden, "row", spec.biases == "all")
    return (*_enter(spec), *core, *gate, project, *_leave(spec)), norms + _around(spec)


def dense_ops(spec: DenseLayer) -> tuple[tuple[Op, ...], int]:
    """Operations of a dense feed-forward network, and parameters of its norms."""
    assert spec.ffn is not None
    return (*_enter(spec), *_mlp(spec, spec.ffn), *_leave(spec)), _around(spec)


def routed_ops(spec: Layer) -> tuple[tuple[Op, ...], int]:
    """Operations of a mixture-of-experts network: shared experts as plain matmuls, then the routed ones."""
    assert spec.experts
    assert spec.topk
    assert spec.moe_ffn
    width = spec.shared_ffn or spec.shared_experts * spec.moe_ffn
    shared = _mlp(spec, width) if width else ()
    gate = (Matmul(spec.hidden, 1, "none"), Pointwise(spec.hidden, "act", "sp")) if spec.shared_gate else ()
    routed = Experts(spec.experts, spec.topk, spec.hidden, spec.moe_ffn, spec.gated_mlp, spec.groups_limit)
    return (*_enter(spec), *shared, *gate, routed, *_leave(spec)), _around(spec)


def half_types(spec: Transformer) -> dict[str, BlockType]:
    """Block types of the letters of a pattern: each is one half of a usual layer, with its own norm and residual."""
    made: dict[str, BlockType] = {}
    for letter in dict.fromkeys(spec.pattern or ""):
        ops, norms = _half(spec, letter)
        made[letter] = BlockType(HALVES[letter], ops, spec.hidden, norms)
    return made


HALVES = {"M": "mamba", "*": "attention", "-": "feed-forward", "E": "moe"}


def _half(spec: Transformer, letter: str) -> tuple[tuple[Op, ...], int]:
    if letter == "M":
        assert spec.mamba
        core, out, norms = _mamba_core(spec, spec.mamba)
        return (*_enter(spec), *core, Matmul(out, spec.hidden, "row"), *_leave(spec)), norms + _around(spec)
    if letter == "*":
        return attention_ops(spec, causal=True)
    return dense_ops(spec) if letter == "-" else routed_ops(spec)


def embedding_type(spec: Transformer) -> BlockType:
    """Token table, and the learned position table where there is one (replicated over tp, like norms)."""
    ops = (Vocab(spec.vocab, spec.hidden, lookup=True), Pointwise(spec.hidden, "embed", "sp"))
    return BlockType("embedding", ops, spec.hidden, spec.learned_positions * spec.hidden)


def head_type(spec: Transformer) -> BlockType:
    """Final norm, logits and loss. It serves every multi-token-prediction module too: more tokens, one matrix."""
    ops = (Pointwise(spec.hidden, "norm", "sp"), Vocab(spec.vocab, spec.hidden, lookup=False))
    return BlockType("head", ops, spec.hidden, norm_params(spec, spec.hidden), tokens_ratio=1.0 + spec.mtp_layers)


def mtp_type(spec: Transformer, layer: BlockType) -> BlockType:
    """A multi-token-prediction module (DeepSeek-V3, arXiv 2412.19437, section 2.2).

    It embeds the next token with the shared table, joins that with the hidden state by a 2h x h projection, and runs one
    layer; its logits are computed by the head block. Three norms: of the embedding, of the state, before the head.
    """
    h = spec.hidden
    join = (Vocab(spec.vocab, h, lookup=True), Pointwise(2 * h, "norm", "sp"), Matmul(2 * h, h, "col"))
    ops = (*join, *layer.ops, Pointwise(h, "norm", "sp"))
    return BlockType("mtp", ops, h, layer.norm_params + 3 * norm_params(spec, h))


def vision_types(spec: Vision, hidden: int) -> tuple[BlockType, BlockType, BlockType]:
    """Patch embedding, layer and projector of a vision tower (ViT, arXiv 2010.11929); attention is not causal."""
    h, ratio, span = spec.hidden, spec.tokens_ratio, spec.tokens_per_image
    patches = (Matmul(3 * spec.patch**2, h, "none", bias=True), Pointwise(h, "embed", "sp"))
    embed = BlockType("vision-embedding", patches, h, span * h, ratio, span)
    layer = layer_type(spec, "vision", routed=False, causal=False)
    joined = h * spec.merge
    project: tuple[Op, ...] = (
        Pointwise(joined, "norm", "sp"),
        Matmul(joined, hidden, "col", bias=True),
        Pointwise(hidden, "act", "tp"),
        Matmul(hidden, hidden, "row", bias=True),
    )
    projector = BlockType("projector", project, hidden, norm_params(spec, h), ratio / spec.merge, max(1, span // spec.merge))
    return embed, BlockType("vision", layer.ops, h, layer.norm_params, ratio, span), projector


def _enter(spec: DenseLayer) -> tuple[Op, ...]:
    return (Pointwise(spec.hidden, "norm", "sp"),)


def _leave(spec: DenseLayer) -> tuple[Op, ...]:
    after: tuple[Op, ...] = (Pointwise(spec.hidden, "norm", "sp"),) if spec.post_norms else ()
    return (*after, Pointwise(spec.hidden, "residual", "sp"))


def _around(spec: DenseLayer) -> int:
    """Parameters of the norms before (and after) one half of a layer."""
    return norm_params(spec, spec.hidden) * (2 if spec.post_norms else 1)


def _mlp(spec: DenseLayer, width: int) -> tuple[Op, ...]:
    bias, up = spec.biases == "all", width * (2 if spec.gated_mlp else 1)
    return Matmul(spec.hidden, up, "col", bias), Pointwise(up, "act", "tp"), Matmul(width, spec.hidden, "row", bias)


def _softmax_core(spec: DenseLayer, causal: bool, window: int | None) -> tuple[tuple[Op, ...], int, int]:
    dim, kv_heads = head_dim(spec), spec.kv_heads or spec.heads
    rotated = (spec.heads + kv_heads) * dim
    norms: tuple[Op, ...] = (Pointwise(rotated, "norm", "tp"),) if spec.qk_norm else ()
    rope: tuple[Op, ...] = (Pointwise(rotated, "rope", "tp"),) if spec.rotary else ()
    ops = (
        Matmul(spec.hidden, (spec.heads + 2 * kv_heads) * dim, "col", spec.biases != "none"),
        *norms,
        *rope,
        Attention(spec.heads, kv_heads, dim, dim, causal, window),
    )
    return ops, spec.heads * dim, 2 * norm_params(spec, dim) if spec.qk_norm else 0


def _latent_core(spec: DenseLayer, mla: Mla, causal: bool) -> tuple[tuple[Op, ...], int, int]:
    """The down-projections are small and replicated over tp; the up-projections are split by head."""
    qk, out = mla.qk_nope_head_dim + mla.qk_rope_head_dim, spec.heads * mla.v_head_dim
    latent = mla.kv_lora_rank + mla.qk_rope_head_dim
    query: tuple[Op, ...] = (Matmul(spec.hidden, spec.heads * qk, "col"),)
    if mla.q_lora_rank:
        narrow = mla.q_lora_rank
        query = (Matmul(spec.hidden, narrow, "none"), Pointwise(narrow, "norm", "sp"), Matmul(narrow, spec.heads * qk, "col"))
    ops = (
        *query,
        Matmul(spec.hidden, latent, "none"),
        Pointwise(mla.kv_lora_rank, "norm", "sp"),
        Matmul(mla.kv_lora_rank, spec.heads * (mla.qk_nope_head_dim + mla.v_head_dim), "col"),
        Pointwise(2 * spec.heads * mla.qk_rope_head_dim, "rope", "tp"),
        Attention(spec.heads, spec.heads, qk, mla.v_head_dim, causal, latent_dim=latent),
    )
    return ops, out, norm_params(spec, mla.kv_lora_rank) + (norm_params(spec, mla.q_lora_rank) if mla.q_lora_rank else 0)


def _linear_core(spec: DenseLayer, linear: LinearAttention) -> tuple[tuple[Op, ...], int, int]:
    """Gated DeltaNet (arXiv 2412.06464): queries, keys, values and an output gate; two gates a value head; a norm."""
    keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
    ops = (
        Matmul(spec.hidden, 2 * keys + 2 * values + 2 * linear.value_heads, "col", spec.biases != "none"),
        Pointwise(2 * keys + values, "act", "tp"),
        Attention(linear.value_heads, linear.key_heads, linear.key_dim, linear.value_dim, linear=True),
        Pointwise(2 * values, "norm", "tp"),
    )
    return ops, values, norm_params(spec, linear.value_dim)


def _mamba_core(spec: DenseLayer, mamba: Mamba) -> tuple[tuple[Op, ...], int, int]:
    """Mamba-2 (arXiv 2405.21060, section 7): one projection to gate, values, state reads and writes, and a step for each head.

    The state of a head is updated and read like that of linear attention. Three scalars a head (step bias, decay, skip), the
    taps of the convolution with their bias, and the norm are not matmuls: they count with the norms.
    """
    values, mixed = mamba.heads * mamba.head_dim, mamba.heads * mamba.head_dim + 2 * mamba.groups * mamba.state
    ops = (
        Matmul(spec.hidden, values + mixed + mamba.heads, "col"),
        Pointwise(mixed, "act", "tp"),
        Attention(mamba.heads, mamba.groups, mamba.state, mamba.head_dim, linear=True),
        Pointwise(2 * values, "norm", "tp"),
    )
    return ops, values, values + mixed * (mamba.conv + 1) + 3 * mamba.heads
