# SPDX-License-Identifier: Apache-2.0
# B block   E edge   Y block type
"""Short form: a transformer as its authors describe it -> ModelGraph.

vision-embedding -> vision.0 ... -> projector --+
embedding --------------------------------------+-> layer.0 -> layer.1 ... -> mtp.0 ... -> head
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from placement.ir import BlockType, ModelGraph
from placement.spec.model_blocks import embedding_type, half_types, head_type, layer_type, mtp_type, vision_types
from placement.spec.model_types import Transformer


@dataclass
class Builder:
    """Collects blocks and edges in topological order; a block type is stored once."""

    types: dict[BlockType, int] = field(default_factory=dict)
    type_B: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    edges: list[tuple[int, int, float]] = field(default_factory=list)
    tied: list[tuple[int, int]] = field(default_factory=list)

    def block(self, name: str, kind: BlockType) -> int:
        """Add a block; returns its index."""
        self.type_B.append(self.types.setdefault(kind, len(self.types)))
        self.names.append(name)
        return len(self.names) - 1

    def edge(self, source: int, target: int, width: float) -> None:
        """Add a tensor of `width` elements for each token of the sequence."""
        self.edges.append((source, target, width))

    def chain(self, names: list[str], kinds: list[BlockType], width: float) -> tuple[int, int]:
        """Add blocks in a row; returns the first and the last."""
        indices = [self.block(name, kind) for name, kind in zip(names, kinds, strict=True)]
        for source, target in pairwise(indices):
            self.edge(source, target, width)
        return indices[0], indices[-1]

    def build(self, name: str, hidden: int, vocab: int, hypothetical: bool) -> ModelGraph:
        edges = sorted(set(self.edges))
        src, dst, width = zip(*edges, strict=True) if edges else ((), (), ())
        return ModelGraph(
            name=name,
            types=tuple(self.types),
            type_B=np.array(self.type_B, dtype=np.int64),
            src_E=np.array(src, dtype=np.int64),
            dst_E=np.array(dst, dtype=np.int64),
            width_E=np.array(width, dtype=np.float64),
            hidden=hidden,
            vocab=vocab,
            block_names=tuple(self.names),
            tied=tuple(self.tied),
            hypothetical=hypothetical,
        )


def lower_transformer(spec: Transformer, name: str, hypothetical: bool) -> ModelGraph:
    """The graph of a checked transformer."""
    graph, h = Builder(), spec.hidden
    picture = _vision(graph, spec)
    embedding = graph.block("embedding", embedding_type(spec))
    kinds = layer_types(spec)
    first, last = graph.chain([f"layer.{i}" for i in range(spec.layers)], kinds, h)
    graph.edge(embedding, first, h)
    if picture is not None and spec.vision is not None:
        graph.edge(picture, first, h * spec.vision.tokens_ratio / spec.vision.merge)
    last = _mtp(graph, spec, kinds[-1], embedding, last)
    head = graph.block("head", head_type(spec))
    graph.edge(last, head, h * (1 + spec.mtp_layers))
    if spec.tied_embeddings:
        graph.tied.append((embedding, head))
    return graph.build(name, h, spec.vocab, hypothetical)


def layer_types(spec: Transformer) -> list[BlockType]:
    """Block type of each decoder layer, in order."""
    if spec.pattern:
        halves = half_types(spec)
        return [halves[letter] for letter in spec.pattern]
    made: dict[tuple[bool, bool], BlockType] = {}
    kinds = []
    for i in range(spec.layers):
        key = (is_routed(spec, i), is_special(spec, i))
        if key not in made:
            made[key] = _layer_type(spec, *key)
        kinds.append(made[key])
    return kinds


def is_routed(spec: Transformer, layer: int) -> bool:
    """Whether a layer is a mixture of experts."""
    return bool(spec.experts) and layer >= spec.dense_first_layers and (layer + 1) % spec.moe_every == 0


def is_special(spec: Transformer, layer: int) -> bool:
    """Whether a layer is windowed or linear: all but every n-th (Gemma 3, Qwen3-Next), or every n-th (gpt-oss)."""
    if not (spec.sliding_window or spec.linear_attention):
        return False
    if spec.full_attention_every:
        return (layer + 1) % spec.full_attention_every != 0
    return layer % (spec.sliding_window_every or 1) == 0


def _layer_type(spec: Transformer, routed: bool, special: bool) -> BlockType:
    name = "moe" if routed else "dense"
    if not special:
        return layer_type(spec, name, routed=routed)
    suffix = "linear" if spec.linear_attention else "window"
    window = None if spec.linear_attention else spec.sliding_window
    return layer_type(spec, f"{name}-{suffix}", routed=routed, window=window, linear=spec.linear_attention)


def _vision(graph: Builder, spec: Transformer) -> int | None:
    """Add the vision tower; returns its projector."""
    if spec.vision is None:
        return None
    embed, layer, projector = vision_types(spec.vision, spec.hidden)
    names = ["vision-embedding", *(f"vision.{i}" for i in range(spec.vision.layers)), "projector"]
    width = spec.vision.hidden * spec.vision.tokens_ratio
    return graph.chain(names, [embed, *[layer] * spec.vision.layers, projector], width)[1]


def _mtp(graph: Builder, spec: Transformer, layer: BlockType, embedding: int, last: int) -> int:
    """Add the multi-token-prediction modules after the last layer; each passes on the states before it for the head."""
    for i in range(spec.mtp_layers):
        module = graph.block(f"mtp.{i}", mtp_type(spec, layer))
        graph.edge(last, module, spec.hidden * (1 + i))
        graph.tied.append((embedding, module))
        last = module
    return last
