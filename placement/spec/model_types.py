# SPDX-License-Identifier: Apache-2.0
"""What a model file may say. Field descriptions are the documentation: they go into `schemas/model.json`.

A model is either a `transformer`, described the way its authors do, or a `graph` of nodes and edges.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from placement.spec.fields import Bytes, Count, Flag, Positive, Schema, Text, Whole, problem
from placement.spec.model_units import Amount, Flop


def _at_most(limit: int) -> AfterValidator:
    """Refuse absurd counts: they are typing errors, and would cost memory before they are noticed."""

    def check(value: int) -> int:
        if value > limit:
            raise problem("absurd-number", f"{value:,} is impossibly large here", f"at most {limit:,}")
        return value

    return AfterValidator(check)


Width = Annotated[Count, _at_most(2**24)]
Number = Annotated[Count, _at_most(2**20)]
Layers = Annotated[Count, _at_most(20_000)]
Some = Annotated[Whole, _at_most(20_000)]
LayerPattern = Annotated[str, Field(pattern=r"^[M*E-]+$", max_length=20_000)]
Ratio = Annotated[Positive, _at_most(10**6)]


class Mla(Schema):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries and keys go through a narrow bottleneck."""

    model_config = ConfigDict(title="mla")

    q_lora_rank: Width | None = Field(None, description="Width of the query bottleneck; absent: queries are projected directly")
    kv_lora_rank: Width = Field(description="Width of the compressed keys and values")
    qk_nope_head_dim: Width = Field(description="Query and key width of a head that carries no position")
    qk_rope_head_dim: Width = Field(description="Query and key width of a head that carries rotary positions")
    v_head_dim: Width = Field(description="Value width of a head")


class LinearAttention(Schema):
    """Linear attention with a state of fixed size (gated DeltaNet, arXiv 2412.06464), unless `full_attention_every`."""

    model_config = ConfigDict(title="linear_attention")

    key_heads: Number = Field(description="Heads of queries and keys")
    value_heads: Number = Field(description="Heads of values; each has its own state")
    key_dim: Width = Field(description="Width of a query or key head")
    value_dim: Width = Field(description="Width of a value head")


class Mamba(Schema):
    """A Mamba-2 mixer (state-space duality, arXiv 2405.21060): a state of fixed size, a short convolution and a gate."""

    model_config = ConfigDict(title="mamba")

    heads: Number = Field(description="Heads, each with its own state")
    head_dim: Width = Field(description="Width of a head; heads * head_dim is the inner width")
    groups: Number = Field(1, description="Groups of heads that share what is written to and read from their states")
    state: Width = Field(128, description="Size of the state for each element of a head")
    conv: Number = Field(4, description="Taps of the convolution along the sequence")


class DenseLayer(Schema):
    """Shapes of attention and of a dense feed-forward network."""

    model_config = ConfigDict(title="a layer")

    hidden: Width = Field(description="Width of the residual stream")
    heads: Number = Field(description="Query heads")
    kv_heads: Number | None = Field(None, description="Key and value heads (grouped-query attention); absent: as many as heads")
    head_dim: Width | None = Field(None, description="Width of a head; absent: hidden / heads")
    mla: Mla | None = Field(None, description="Multi-head latent attention, instead of kv_heads and head_dim")
    ffn: Width | None = Field(None, description="Inner width of the dense feed-forward network")
    gated_mlp: Flag = Field(True, description="Gated activation (SwiGLU): three matrices instead of two")
    biases: Literal["none", "qkv", "all"] = Field("none", description="Which linear layers have biases")
    norm: Literal["rmsnorm", "layernorm"] = Field("rmsnorm", description="Normalisation: layernorm has a bias too")
    rotary: Flag = Field(True, description="Rotary position embedding of queries and keys")
    post_norms: Flag = Field(False, description="Normalise the output of attention and of the feed-forward network too")
    qk_norm: Flag = Field(False, description="Normalise query and key heads")
    attention_gate: Flag = Field(False, description="Gate the attention output by a projection of the input")


class Layer(DenseLayer):
    """One transformer layer: attention, then a dense or routed feed-forward network."""

    model_config = ConfigDict(title="a layer")

    experts: Number | None = Field(None, description="Routed experts of a mixture-of-experts layer")
    topk: Number | None = Field(None, description="Routed experts that each token visits")
    moe_ffn: Width | None = Field(None, description="Inner width of one expert")
    shared_experts: Some = Field(0, description="Experts that every token visits")
    shared_ffn: Width | None = Field(
        None, description="Inner width of all shared experts together; absent: shared_experts * moe_ffn"
    )
    groups_limit: Number | None = Field(
        None, description="Groups of experts (nodes) that a token visits at most; absent: no limit"
    )
    shared_gate: Flag = Field(False, description="Gate the output of the shared experts by a scalar of the input")


class Vision(DenseLayer):
    """A vision tower (ViT) before the language model: patches, layers, projector."""

    model_config = ConfigDict(title="a vision tower")

    biases: Literal["none", "qkv", "all"] = Field("all", description="Which linear layers have biases")
    norm: Literal["rmsnorm", "layernorm"] = Field("layernorm", description="Normalisation: layernorm has a bias too")
    gated_mlp: Flag = Field(False, description="Gated activation (SwiGLU): three matrices instead of two")
    rotary: Flag = Field(False, description="Rotary position embedding of queries and keys")
    layers: Layers = Field(description="Layers of the tower")
    patch: Width = Field(14, description="Side of a patch in pixels; three colours")
    tokens_per_image: Number = Field(description="Patches of one image: the sequence length of the tower")
    tokens_ratio: Ratio = Field(description="Patches for each token of the language model's sequence, on average")
    merge: Number = Field(1, description="Neighbouring patches that the projector joins into one token of the language model")


class Transformer(Layer):
    """A decoder-only transformer, the way its authors describe it."""

    model_config = ConfigDict(title="a transformer")

    layers: Layers = Field(description="Decoder layers, without multi-token-prediction modules")
    vocab: Width = Field(description="Rows of the embedding, padding included")
    tied_embeddings: Flag = Field(False, description="Input embedding and output head share one matrix")
    learned_positions: Annotated[Whole, _at_most(2**24)] = Field(0, description="Rows of a learned position table; 0: none")
    dense_first_layers: Some = Field(0, description="Leading layers that are dense in a MoE model")
    moe_every: Number = Field(1, description="Every n-th layer is routed (the n-th, 2n-th ...), the others are dense")
    mtp_layers: Some = Field(0, description="Multi-token-prediction modules (DeepSeek-V3)")
    sliding_window: Width | None = Field(None, description="Keys that a query of a windowed layer sees")
    sliding_window_every: Number | None = Field(
        None, description="Layers 0, n, 2n ... are windowed; absent: see full_attention_every"
    )
    full_attention_every: Number | None = Field(
        None, description="Every n-th layer sees the whole sequence, the others are windowed or linear; absent: none does"
    )
    linear_attention: LinearAttention | None = Field(None, description="Linear attention of hybrid models")
    mamba: Mamba | None = Field(None, description="Mamba-2 mixers, for the `M` of a pattern")
    pattern: LayerPattern | None = Field(
        None,
        description="Layers that are half of a usual one, a letter each, as Megatron-LM's hybrid models: `M` Mamba-2, "
        "`*` attention, `-` dense feed-forward, `E` experts. As many letters as layers",
    )
    vision: Vision | None = Field(None, description="Vision tower in front of the language model")


class Node(Schema):
    """A node of the long form: numbers, or one of `layer`, `embedding`, `head`. All numbers per token of the node."""

    model_config = ConfigDict(title="a node")

    forward: Flop | None = Field(None, description="FLOPs of the forward pass for one token, with its unit: `3.1 GFLOP`")
    params: Amount | None = Field(None, description="Parameters: `304M`")
    weights: Bytes | None = Field(None, description="Size of the parameters in bf16, instead of params: `608 MB`")
    activations: Bytes = Field(0.0, description="Bytes kept for the backward pass for one token: `96 KiB`")
    moved: Bytes = Field(0.0, description="Bytes read and written by the forward pass for one token: `288 KiB`")
    tensor_parallel: Flag = Field(True, description="Whether tensor parallelism can split it")
    layer: Layer | None = Field(None, description="A transformer layer by its shapes")
    causal: Flag = Field(True, description="For a layer: whether a token sees only earlier ones")
    sliding_window: Width | None = Field(None, description="For a layer: keys that a query sees")
    embedding: Flag = Field(False, description="The token embedding: a table of the graph's vocab by hidden")
    head: Flag = Field(False, description="The output head with cross entropy: a matrix of hidden by vocab")
    hidden: Width | None = Field(None, description="Width of its output; absent: the graph's hidden, or the layer's")
    repeat: Layers = Field(1, description="How many in a row: node.0, node.1 ...")
    tokens_ratio: Ratio = Field(1.0, description="Tokens it sees for each token of the sequence")
    span: Number | None = Field(None, description="Its own sequence length (patches of an image); absent: the job's")


class Edge(Schema):
    """A tensor that one node hands to another; a cut between them sends it."""

    model_config = ConfigDict(title="an edge")

    source: Text = Field(description="Node that makes it (the last of its repeats), or node.i for one of them")
    target: Text = Field(description="Node that takes it (the first of its repeats), or node.i for one of them")
    width: Width | None = Field(None, description="Elements for one token of the source; absent: the source's hidden")


class Graph(Schema):
    """A model as a directed acyclic graph. Skip connections are edges; tied nodes share their matrix."""

    model_config = ConfigDict(title="a graph")

    hidden: Width = Field(description="Width of the main stream")
    vocab: Width = Field(description="Rows of the embedding")
    nodes: dict[str, Node] = Field(description="Nodes by name", min_length=1, max_length=20_000)
    edges: list[Edge] = Field(description="Tensors between nodes", max_length=100_000)
    tied: list[Annotated[list[Text], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list, description="Pairs of nodes that share their weights"
    )


class ModelSpec(Schema):
    """A model file of the placement compiler: a `transformer` or a `graph`, and defaults of the job that trains it."""

    model_config = ConfigDict(title="a model")

    name: Text = Field(description="Name of the model")
    hypothetical: Flag = Field(False, description="The model is made up; nobody has published it")
    transformer: Transformer | None = Field(None, description="Short form: a transformer by its shapes")
    graph: Graph | None = Field(None, description="Long form: nodes and edges")
    job: dict[str, Any] = Field(default_factory=dict, description="Defaults of the job, as in a job file")
