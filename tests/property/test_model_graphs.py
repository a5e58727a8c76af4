# SPDX-License-Identifier: Apache-2.0
"""Any model: topological order, additive counts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from placement.cost.flops import active_params, block_flops, flops_per_token
from placement.spec.model import lower_long, lower_short
from placement.spec.model_graph import topological


@st.composite
def transformers(draw: st.DrawFn) -> dict[str, Any]:
    """Short forms of every kind."""
    kv_heads, share, dim = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.sampled_from([4, 8]))
    spec: dict[str, Any] = {
        "layers": draw(st.integers(1, 12)), "hidden": draw(st.sampled_from([16, 24, 64])), "heads": kv_heads * share,
        "kv_heads": kv_heads, "head_dim": dim, "ffn": draw(st.integers(1, 64)), "vocab": draw(st.integers(1, 99)),
        "gated_mlp": draw(st.booleans()), "tied_embeddings": draw(st.booleans()), "mtp_layers": draw(st.integers(0, 2)),
        "biases": draw(st.sampled_from(["none", "qkv", "all"])), "learned_positions": draw(st.integers(0, 9)),
    }  # fmt: skip
    if draw(st.booleans()):
        experts = draw(st.integers(1, 9))
        spec |= {
            "experts": experts,
            "topk": draw(st.integers(1, experts)),
            "moe_ffn": 8,
            "shared_experts": draw(st.integers(0, 2)),
        }
        spec["dense_first_layers"] = draw(st.integers(0, spec["layers"] - 1))
    if draw(st.booleans()):
        spec |= {"sliding_window": draw(st.integers(1, 64)), "full_attention_every": draw(st.integers(1, 4))}
    return spec


@given(transformers(), st.integers(1, 512))
def test_counts_are_sums_over_blocks(spec: dict[str, Any], seq_len: int) -> None:
    """Parameters (ties once) and FLOPs of a model are the sums over its blocks; active parameters are at most all."""
    model = lower_short(spec)
    blocks = [model.types[i] for i in model.type_B]
    assert model.num_params == sum(b.dense_params + b.expert_params for b in blocks) - sum(model.tied_params)
    assert np.isclose(flops_per_token(model, seq_len), sum(block_flops(b, seq_len) for b in blocks), rtol=1e-12)
    assert 0 < active_params(model) <= model.num_params


@given(transformers())
def test_every_transformer_is_a_chain_in_order(spec: dict[str, Any]) -> None:
    """Every edge of a transformer leads to the next block."""
    model = lower_short(spec)
    assert np.array_equal(model.dst_E, model.src_E + 1)
    assert len(model.src_E) == model.num_blocks - 1


@given(transformers(), st.integers(1, 5))
def test_layers_add_up(spec: dict[str, Any], more: int) -> None:
    """Layers of one kind add the same parameters each: doubling them doubles their share."""
    plain = {k: v for k, v in spec.items() if k not in ("dense_first_layers", "full_attention_every", "sliding_window")}
    counts = [lower_short(plain | {"layers": n}).num_params for n in (more, 2 * more, 3 * more)]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0


@given(st.integers(1, 12), st.data())
def test_any_acyclic_graph_is_sorted(count: int, data: st.DataObject) -> None:
    """Nodes in any order of the file, joined without cycles, come out with every edge forward and nothing lost."""
    order = data.draw(st.permutations(range(count)))
    pairs = [(a, b) for i, a in enumerate(order) for b in order[i + 1 :]]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    chain = [e for e in pairwise(order) if e not in chosen]
    edges = [{"source": f"n{a}", "target": f"n{b}"} for a, b in (*chosen, *chain)]
    nodes = {f"n{i}": {"forward": "1 FLOP", "params": str(i)} for i in range(count)}
    model = lower_long({"hidden": 4, "vocab": 4, "nodes": nodes, "edges": edges})
    assert bool((model.src_E < model.dst_E).all())
    assert model.block_names == tuple(f"n{i}" for i in order)
    assert model.num_params == sum(range(count))


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_order_and_leftover_split_the_blocks(count: int, pairs: list[tuple[int, int]]) -> None:
    """Sorting places every block once or leaves it behind a cycle; what it places respects the edges."""
    edges = [(a % count, b % count) for a, b in pairs]
    order, left = topological(count, edges)
    assert sorted([*order, *left]) == list(range(count))
    rank = {b: i for i, b in enumerate(order)}
    assert all(rank[a] < rank[b] for a, b in edges if b in rank)
