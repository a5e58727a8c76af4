# SPDX-License-Identifier: Apache-2.0
"""The long form: nodes, edges, skip connections, ties, order."""

from __future__ import annotations

from typing import Any

import pytest

from placement.cost.flops import flops_per_token
from placement.ir import ModelGraph, Opaque
from placement.spec.model import load_model, lower_long, lower_short


def node(**more: Any) -> dict[str, Any]:
    return {"forward": "1 MFLOP", "params": "10"} | more


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], **more: Any) -> dict[str, Any]:
    return {"hidden": 8, "vocab": 10, "nodes": nodes, "edges": [{"source": a, "target": b} for a, b in edges]} | more


def edges(model: ModelGraph) -> set[tuple[str, str, float]]:
    names = model.block_names
    return {(names[a], names[b], float(w)) for a, b, w in zip(model.src_E, model.dst_E, model.width_E, strict=True)}


def test_nodes_are_sorted_by_the_edges() -> None:
    """Nodes may stand in any order in the file; data flows forward in the graph."""
    model = lower_long(graph({"c": node(), "a": node(), "b": node()}, [("a", "b"), ("b", "c")]))
    assert model.block_names == ("a", "b", "c")


def test_order_of_the_file_breaks_ties() -> None:
    """Among nodes that could go next, the one that the file names first goes."""
    model = lower_long(
        graph({"a": node(), "z": node(), "b": node(), "end": node()}, [("a", "end"), ("z", "end"), ("b", "end")])
    )
    assert model.block_names == ("a", "z", "b", "end")


def test_repeats_are_a_chain_with_named_links() -> None:
    """A repeated node is a chain; edges enter its first and leave its last, or name one of them (a skip connection)."""
    model = lower_long(
        graph({"in": node(), "mid": node(repeat=3, hidden=4), "out": node()}, [("in", "mid"), ("mid", "out"), ("mid.1", "out")])
    )
    assert edges(model) == {
        ("in", "mid.0", 8.0), ("mid.0", "mid.1", 4.0), ("mid.1", "mid.2", 4.0), ("mid.2", "out", 4.0), ("mid.1", "out", 4.0),
    }  # fmt: skip


def test_numbers_of_a_node_become_numbers_of_a_text_token() -> None:
    """Numbers are given for a token of the node and kept for a token of the sequence."""
    nodes = {"v": node(tokens_ratio=0.5, activations="4 KiB", moved="8 kB", span=64), "w": node()}
    model = lower_long(graph(nodes, [("v", "w")]))
    assert model.types[0].ops == (Opaque(5e5, 10, 2048.0, 4000.0),)
    assert (model.types[0].tokens_ratio, model.types[0].span) == (1.0, 64)
    assert edges(model) == {("v", "w", 4.0)}
    assert flops_per_token(model, 128) == 3 * 1.5e6


def test_weights_are_parameters_in_bf16() -> None:
    """`weights: 20 B` are ten parameters of two bytes."""
    model = lower_long(graph({"a": {"forward": "1 FLOP", "weights": "20 B"}}, []))
    assert model.num_params == 10


def test_ties_count_once() -> None:
    """Tied nodes share their weights: the sum counts them once."""
    nodes = {"embedding": {"embedding": True}, "body": node(), "head": {"head": True}}
    chain = [("embedding", "body"), ("body", "head")]
    loose, tied = lower_long(graph(nodes, chain)), lower_long(graph(nodes, chain, tied=[["head", "embedding"]]))
    assert tied.tied == ((0, 2),)
    assert loose.num_params - tied.num_params == 80


def test_layers_of_both_forms_agree() -> None:
    """A transformer written out as a graph has the parameters, FLOPs and edges of its short form."""
    layer = {"hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 128}
    nodes = {"embedding": {"embedding": True}, "layer": {"repeat": 3, "layer": layer}, "head": {"head": True}}
    spec = graph(nodes, [("embedding", "layer"), ("layer", "head")]) | {"hidden": 64, "vocab": 100}
    long, short = lower_long(spec), lower_short(layer | {"layers": 3, "vocab": 100})
    assert long.num_params == short.num_params
    assert flops_per_token(long, 256) == flops_per_token(short, 256)
    assert edges(long) == edges(short)


def test_routed_layers_in_a_graph() -> None:
    """A layer node with experts is a mixture of experts."""
    layer = {"hidden": 8, "heads": 2, "experts": 4, "topk": 1, "moe_ffn": 16}
    model = lower_long(graph({"moe": {"layer": layer}}, []))
    assert model.experts is not None
    assert model.experts.num == 4


def test_the_example_is_a_graph_with_everything() -> None:
    """The long-form example has a vision tower, skip connections and tied embeddings, and its language model is Llama 3 8B."""
    model, _ = load_model("multimodal-graph")
    names = model.block_names
    assert ("vit.7", "deepstack-8", 1024 * 0.28125) in edges(model)
    assert ("deepstack-8", "lm.1", 4096 * 0.28125) in edges(model)
    assert [(names[a], names[b]) for a, b in model.tied] == [("embedding", "head")]
    language = sum(
        t.dense_params * int(n)
        for t, n in zip(model.types, model.count_Y, strict=True)
        if t.name in ("embedding", "lm", "head")
    )
    assert language == 8_030_261_248  # meta-llama/Meta-Llama-3-8B
    tower = sum(
        t.dense_params * int(n) for t, n in zip(model.types, model.count_Y, strict=True) if t.name in ("patches", "vit")
    )
    assert tower == pytest.approx(304e6, rel=0.01)  # CLIP ViT-L/14 at 336 pixels
