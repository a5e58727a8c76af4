# SPDX-License-Identifier: Apache-2.0
"""Model files with errors: every finding at once, each with its place, whole message and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from placement.diag import InputError
from placement.spec.model import check_model, load_model, lower_long, lower_short
from placement.spec.source import parse

GOOD = {"layers": 4, "hidden": 64, "heads": 4, "ffn": 128, "vocab": 100}


def findings(text: str) -> list[str]:
    """`line:column name | message | help` of each finding in a model file."""
    with pytest.raises(InputError) as caught:
        check_model(parse(text, "m.yaml", "model"))
    return [
        f"{d.primary.span.line}:{d.primary.span.column} {d.name} | {d.message} | {d.help}"
        for d in caught.value.diagnostics
        if d.primary
    ]


def of_short(**more: Any) -> list[str]:
    """`name | message | help` of each finding in a short form."""
    with pytest.raises(InputError) as caught:
        lower_short({k: v for k, v in (GOOD | more).items() if v != "absent"})
    return [f"{d.name} | {d.message} | {d.help}" for d in caught.value.diagnostics]


def of_long(nodes: dict[str, Any], edges: list[tuple[str, str]], **more: Any) -> list[str]:
    """`name | message | help` of each finding in a long form."""
    with pytest.raises(InputError) as caught:
        lower_long({"hidden": 8, "vocab": 10, "nodes": nodes, "edges": [{"source": a, "target": b} for a, b in edges]} | more)
    return [f"{d.name} | {d.message} | {d.help}" for d in caught.value.diagnostics]


def test_all_errors_at_once_in_order_of_place() -> None:
    """Spelling, types and contradictions are reported together, sorted by where they stand."""
    text = """\
name: bad
hypothetical: no
transformer:
  layers: 4
  hidden: 4096
  heads: 32
  kv_heads: 5
  experts: 8
  topk: 9
  moe_ffn: 64
  shard_experts: 1
  vocab: ten
sequence_length: 4096
job:
  sequence_lenght: 4096
  global_batch: 12.5
"""
    assert findings(text) == [
        "2:15 model/not-a-flag | `no` is neither true nor false | write `true` or `false`",
        "7:13 model/heads | 32 heads cannot share 5 kv_heads evenly | kv_heads must divide heads",
        "9:9 model/topk | topk 9 is more than the 8 experts | topk must be at most 8",
        "11:3 model/unknown-key | unknown key `shard_experts` | did you mean `shared_experts`?",
        "12:10 model/not-a-whole-number | `ten` is not a whole number | ",
        "13:1 model/unknown-key | unknown key `sequence_length` | known: `graph`",
        "15:3 model/unknown-key | unknown key `sequence_lenght` | did you mean `sequence_length`?",
        "16:17 model/not-a-whole-number | `12.5` is not a whole number | ",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: x\n",
            (
                "1:1 model/which-form | the model has no transformer and no graph"
                " | add `transformer:` with layers, hidden, heads, ffn and vocab"
            ),
        ),
        ("- 1\n", "1:1 model/not-a-mapping | the file must be a mapping of keys to values | "),
        ("text\n", "1:1 model/not-a-mapping | the file must be a mapping of keys to values | "),
        ("name: x\ntransformer: 5\n", "2:14 model/not-a-mapping | `transformer` must be a mapping of keys to values | "),
    ],
)
def test_files_that_are_no_model(text: str, expected: str) -> None:
    """A file that is something else says so, never with a traceback."""
    assert expected in findings(text)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"kv_heads": 3}, "model/heads | 4 heads cannot share 3 kv_heads evenly | kv_heads must divide heads"),
        (
            {"hidden": 66},
            (
                "model/head-dim | hidden 66 is no multiple of 4 heads, and head_dim is not given"
                " | write `head_dim: 128`, or heads that divide hidden"
            ),
        ),
        ({"experts": 8, "topk": 9, "moe_ffn": 8}, "model/topk | topk 9 is more than the 8 experts | topk must be at most 8"),
        ({"experts": 8, "moe_ffn": 8}, "model/experts-incomplete | a model with experts needs topk | write `topk: 8`"),
        ({"experts": 8, "topk": 2}, "model/experts-incomplete | a model with experts needs moe_ffn | write `moe_ffn: 2048`"),
        ({"topk": 2}, "model/no-experts | topk is given, but no experts | write `experts: 256`, or leave it out"),
        (
            {"ffn": "absent"},
            "model/ffn-missing | dense layers need ffn, the inner width of their feed-forward network | write `ffn: 28672`",
        ),
        (
            {"experts": 8, "topk": 2, "moe_ffn": 8, "dense_first_layers": 5},
            "model/dense-layers | dense_first_layers 5 is more than the 4 layers | ",
        ),
        (
            {"experts": 8, "topk": 2, "moe_ffn": 8, "dense_first_layers": 4},
            (
                "model/no-routed-layer | no layer is routed: 4 layers, dense_first_layers 4, moe_every 1"
                " | leave out experts, or make fewer layers dense"
            ),
        ),
        (
            {"sliding_window_every": 2},
            (
                "model/attention-kinds | sliding_window_every is given, but no sliding_window"
                " | write `sliding_window: 4096`, or leave it out"
            ),
        ),
        (
            {"sliding_window": 8, "sliding_window_every": 2, "full_attention_every": 2},
            "model/attention-kinds | sliding_window_every and full_attention_every exclude each other | keep one of them",
        ),
        ({"pattern": "-*-"}, "model/pattern | the pattern has 3 letters, the model 4 layers | write `layers: 3`"),
        (
            {"pattern": "M-M-"},
            "model/pattern | the pattern has `M`, but mamba is not given | write `mamba: {heads: 64, head_dim: 64}`",
        ),
        (
            {"pattern": "*-*-", "sliding_window": 8},
            "model/pattern | sliding_window and a pattern exclude each other | say it in letters, or leave the pattern out",
        ),
        (
            {"mamba": {"heads": 4, "head_dim": 32}},
            (
                "model/pattern | mamba is given, but no pattern says which layers it mixes"
                " | write `pattern: M-M*-`, one letter a layer"
            ),
        ),
        ({"layers": 0}, "model/not-positive | a count must be at least 1, found 0 | "),
        ({"layers": -4}, "model/not-positive | a count must be at least 1, found -4 | "),
        ({"layers": 10**9}, "model/absurd-number | 1,000,000,000 is impossibly large here | at most 20,000"),
        ({"hidden": "1e4"}, "model/not-a-whole-number | `1e4` is not a whole number | "),
        ({"gated_mlp": "yes"}, "model/not-a-flag | `yes` is neither true nor false | write `true` or `false`"),
        ({"biases": "some"}, "model/unknown-choice | `some` is not a choice of `biases` | "),
        ({"layrs": 3}, "model/unknown-key | unknown key `layrs` | "),
    ],
)
def test_impossible_transformers(more: dict[str, Any], expected: str) -> None:
    """Counts that contradict each other, and values of the wrong kind, are refused with the numbers involved."""
    assert any(line.startswith(expected) for line in of_short(**more)), of_short(**more)


def test_latent_attention_contradictions() -> None:
    """In a file, a head_dim beside mla must agree with it, and windows of latent attention are refused."""
    text = """\
name: x
transformer:
  layers: 1
  hidden: 64
  heads: 4
  head_dim: 16
  mla: {kv_lora_rank: 8, qk_nope_head_dim: 16, qk_rope_head_dim: 8, v_head_dim: 16}
  ffn: 64
  vocab: 10
  sliding_window: 4
"""
    assert findings(text) == [
        (
            "6:13 model/mla-head-dim | head_dim 16 contradicts mla: qk_nope_head_dim + qk_rope_head_dim = 24"
            " | leave out head_dim, mla gives it"
        ),
        "10:19 model/attention-kinds | a sliding window of latent attention is not supported | leave out sliding_window or mla",
    ]


A = {"forward": "1 FLOP"}


@pytest.mark.parametrize(
    ("nodes", "edges", "expected"),
    [
        ({"a": A, "b": A}, [("a", "bb")], "model/unknown-node | there is no node `bb` | did you mean `b`?"),
        ({"encoder": A, "b": A}, [("encodr", "b")], "model/unknown-node | there is no node `encodr` | did you mean `encoder`?"),
        ({"a": A | {"repeat": 2}, "b": A}, [("a.2", "b")], "model/unknown-node | there is no node `a.2` | did you mean `a.1`?"),
        (
            {"a": A, "b": A, "c": A},
            [("a", "b"), ("b", "c"), ("c", "a")],
            "model/cycle | the graph has a cycle: `a` -> `b` -> `c` -> `a` | remove one of these edges: data flows one way",
        ),
        (
            {"a": A, "b": A},
            [("a", "a"), ("a", "b")],
            "model/cycle | the graph has a cycle: `a` -> `a` | remove one of these edges: data flows one way",
        ),
        (
            {"a": A | {"repeat": 3}, "b": A},
            [("a", "b"), ("a.2", "a.0")],
            (
                "model/cycle | the graph has a cycle: `a.0` -> `a.1` -> `a.2` -> `a.0`"
                " | remove one of these edges: data flows one way"
            ),
        ),
        (
            {"a": A, "b": A},
            [("a", "b")] * 2,
            "model/edge-twice | the edge from `a` to `b` is given twice | add the widths and keep one edge",
        ),
        (
            {"a": A | {"repeat": 2}},
            [("a.0", "a.1")],
            "model/edge-twice | the edge from `a.0` to `a.1` is given twice | add the widths and keep one edge",
        ),
        ({"a": A, "b": A, "c": A}, [("a", "b")], "model/isolated-node | node `c` has no edge | add an edge to or from it"),
        ({"a.b": A}, [], "model/node-name | the name `a.b` has a dot, as repeats have | use a dash"),
        (
            {"a": {}},
            [],
            (
                "model/node-kind | node `a` must be one of forward (numbers), layer, embedding, head; it has none of them"
                " | write `forward: 3.1 GFLOP`, or `layer: {...}`"
            ),
        ),
        ({"a": {"forward": 5}}, [], "model/flop-unit | work has no unit | write `3.1 GFLOP`; a multiply-add is two"),
        (
            {"a": {"forward": "3 GFLOP/s"}},
            [],
            "model/bad-quantity | `3 GFLOP/s` is not an amount of work | write `3.1 GFLOP`; a multiply-add is two",
        ),
        ({"a": A | {"activations": "5"}}, [], "model/bytes-unit | size has no unit | write `288 GB` or `268 GiB`"),
        ({"a": A | {"params": "5 apples"}}, [], "model/bad-count | `5 apples` is not a count | write `304M` or `304000000`"),
        (
            {"a": A | {"params": "5", "weights": "5 B"}},
            [],
            "model/params-twice | node `a` gives params and weights | keep one of them",
        ),
        (
            {"a": A | {"causal": "false"}},
            [],
            (
                "model/no-effect | `causal` has no effect on node `a`, which is given by `forward`"
                " | leave it out, it belongs to nodes with `layer`"
            ),
        ),
        ({"a": {"layer": {"hidden": 8, "heads": 2}}}, [], "model/ffn-missing | a dense layer needs ffn | write `ffn: 28672`"),
        ({"a": A | {"repeat": "20001"}}, [], "model/absurd-number | 20,001 is impossibly large here | at most 20,000"),
        ({}, [], "model/empty-list | `nodes` must not be empty | "),
    ],
)
def test_impossible_graphs(nodes: dict[str, Any], edges: list[tuple[str, str]], expected: str) -> None:
    """Graphs that cannot be run are refused, with the nodes involved."""
    assert expected in of_long(nodes, edges)


def test_ties_need_two_known_nodes() -> None:
    """A tie names two different nodes of the graph."""
    assert of_long({"a": A, "b": A}, [("a", "b")], tied=[["a", "a"], ["a", "x"]]) == [
        "model/unknown-node | there is no node `x` | known: `a`, `b`",
        "model/tied-to-itself | `a` is tied to itself | name two different nodes",
    ]


def test_a_hostile_graph_is_refused_in_bounded_work() -> None:
    """Too many blocks, and tens of thousands of unknown names, give a short list of findings."""
    many = {f"n{i}": A | {"repeat": "20000"} for i in range(11)}
    assert of_long(many, []) == ["model/too-many-blocks | the graph has more than 200,000 blocks, repeats counted | "]
    assert len(of_long({"a": A, "b": A}, [("a", "b"), *((f"x{i}", f"y{i}") for i in range(20_000))])) == 50


def test_a_long_cycle_is_abridged() -> None:
    """A cycle of thousands of blocks is found and named by its ends."""
    (line,) = of_long({"a": A | {"repeat": "5000"}}, [("a.4999", "a.0")])
    assert line.startswith("model/cycle | the graph has a cycle: `a.0` -> `a.1` -> ")
    assert len(line) < 300


def test_missing_file(tmp_path: Path) -> None:
    """A path to nothing is an input error that names the path."""
    with pytest.raises(InputError, match="no-such-file"):
        load_model(tmp_path / "nothing.yaml")
