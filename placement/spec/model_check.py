# SPDX-License-Identifier: Apache-2.0
"""Counts that contradict each other in a model file. Every check reads plain numbers, so that all errors show at once.

A check takes the mapping as typed (text or numbers) and gives (path, name, message, help) for each finding; a value that
is missing or is no number is left to the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from placement.diag import Diagnostic


@dataclass(frozen=True)
class Finding:
    """A contradiction at a key of the document."""

    path: tuple[str | int, ...]
    diagnostic: Diagnostic


def finding(path: tuple[str | int, ...], name: str, message: str, advice: str = "") -> Finding:
    return Finding(path, Diagnostic(f"model/{name}", message, help=advice))


def check_transformer(tree: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Finding]:
    """Findings of the short form."""
    yield from check_layer(tree, path)
    yield from _check_feed_forward(tree, path)
    yield from _check_attention_pattern(tree, path)
    yield from _check_letters(tree, path)
    vision = tree.get("vision")
    if isinstance(vision, Mapping):
        yield from check_heads(vision, (*path, "vision"))
        yield from _check_vision(vision, (*path, "vision"))


def check_layer(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Findings of one layer's shapes: heads and experts."""
    yield from check_heads(tree, path)
    yield from _check_experts(tree, path)


def check_heads(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Findings of the shapes of attention."""
    heads, kv_heads, hidden = number(tree, "heads"), number(tree, "kv_heads"), number(tree, "hidden")
    if heads and kv_heads and heads % kv_heads:
        message = f"{heads} heads cannot share {kv_heads} kv_heads evenly"
        yield finding((*path, "kv_heads"), "heads", message, "kv_heads must divide heads")
    if heads and hidden and hidden % heads and not given(tree, "head_dim") and not given(tree, "mla"):
        message = f"hidden {hidden} is no multiple of {heads} heads, and head_dim is not given"
        yield finding((*path, "heads"), "head-dim", message, "write `head_dim: 128`, or heads that divide hidden")
    yield from _check_latent(tree, path)


def number(tree: Mapping[str, Any], key: str) -> int | None:
    """The integer at a key, or None where it is absent or no integer."""
    value = tree.get(key)
    try:
        return int(str(value).replace(",", "")) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except ValueError:
        return None


def given(tree: Mapping[str, Any], key: str) -> bool:
    return tree.get(key) is not None


def _check_latent(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    mla, head_dim = tree.get("mla"), number(tree, "head_dim")
    if not isinstance(mla, Mapping):
        return
    nope, rope = number(mla, "qk_nope_head_dim"), number(mla, "qk_rope_head_dim")
    if head_dim and nope and rope and head_dim != nope + rope:
        message = f"head_dim {head_dim} contradicts mla: qk_nope_head_dim + qk_rope_head_dim = {nope + rope}"
        yield finding((*path, "head_dim"), "mla-head-dim", message, "leave out head_dim, mla gives it")
    if given(tree, "sliding_window"):
        message = "a sliding window of latent attention is not supported"
        yield finding((*path, "sliding_window"), "attention-kinds", message, "leave out sliding_window or mla")


def _check_experts(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    experts, topk = number(tree, "experts"), number(tree, "topk")
    if experts and topk and topk > experts:
        yield finding(
            (*path, "topk"), "topk", f"topk {topk} is more than the {experts} experts", f"topk must be at most {experts}"
        )
    if given(tree, "experts"):
        for key in ("topk", "moe_ffn"):
            if not given(tree, key):
                message = f"a model with experts needs {key}"
                yield finding(
                    (*path, "experts"), "experts-incomplete", message, f"write `{key}: {8 if key == 'topk' else 2048}`"
                )
        return
    for key in ("topk", "moe_ffn", "shared_experts", "shared_ffn", "groups_limit", "dense_first_layers", "moe_every"):
        if given(tree, key) and number(tree, key) != _NEUTRAL.get(key):
            yield finding(
                (*path, key), "no-experts", f"{key} is given, but no experts", "write `experts: 256`, or leave it out"
            )


_NEUTRAL = {"shared_experts": 0, "dense_first_layers": 0, "moe_every": 1, "mtp_layers": 0}


def _check_letters(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    """A pattern of half layers: its length, and what each letter needs."""
    pattern, layers = tree.get("pattern"), number(tree, "layers")
    if not isinstance(pattern, str):
        if given(tree, "mamba"):
            message = "mamba is given, but no pattern says which layers it mixes"
            yield finding((*path, "mamba"), "pattern", message, "write `pattern: M-M*-`, one letter a layer")
        return
    if layers and layers != len(pattern):
        message = f"the pattern has {len(pattern)} letters, the model {layers} layers"
        yield finding((*path, "pattern"), "pattern", message, f"write `layers: {len(pattern)}`")
    for letter, key, example in (("M", "mamba", "{heads: 64, head_dim: 64}"), ("-", "ffn", "16384"), ("E", "experts", "128")):
        if letter in pattern and not given(tree, key):
            message = f"the pattern has `{letter}`, but {key} is not given"
            yield finding((*path, "pattern"), "pattern", message, f"write `{key}: {example}`")
    for key in ("sliding_window", "linear_attention", "full_attention_every", "mtp_layers", "dense_first_layers", "moe_every"):
        if given(tree, key) and number(tree, key) != _NEUTRAL.get(key):
            message = f"{key} and a pattern exclude each other"
            yield finding((*path, key), "pattern", message, "say it in letters, or leave the pattern out")


def _check_feed_forward(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    if given(tree, "pattern"):
        return
    layers, dense_first = number(tree, "layers"), number(tree, "dense_first_layers") or 0
    if layers and dense_first > layers:
        message = f"dense_first_layers {dense_first} is more than the {layers} layers"
        yield finding((*path, "dense_first_layers"), "dense-layers", message)
    every = number(tree, "moe_every") or 1
    if given(tree, "experts") and layers and every > 0 and layers // every * every <= dense_first:
        message = f"no layer is routed: {layers} layers, dense_first_layers {dense_first}, moe_every {every}"
        yield finding((*path, "experts"), "no-routed-layer", message, "leave out experts, or make fewer layers dense")
    some_dense = not given(tree, "experts") or dense_first or every > 1
    if some_dense and not given(tree, "ffn"):
        message = "dense layers need ffn, the inner width of their feed-forward network"
        yield finding((*path, "layers"), "ffn-missing", message, "write `ffn: 28672`")


def _check_attention_pattern(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    if given(tree, "sliding_window") and given(tree, "linear_attention"):
        message = "sliding_window and linear_attention exclude each other"
        yield finding((*path, "linear_attention"), "attention-kinds", message, "keep one of them")
    if given(tree, "sliding_window_every") and given(tree, "full_attention_every"):
        message = "sliding_window_every and full_attention_every exclude each other"
        yield finding((*path, "full_attention_every"), "attention-kinds", message, "keep one of them")
    for key, needs in (
        ("sliding_window_every", ("sliding_window",)),
        ("full_attention_every", ("sliding_window", "linear_attention")),
    ):
        if given(tree, key) and not any(given(tree, need) for need in needs):
            message = f"{key} is given, but no {' or '.join(needs)}"
            yield finding((*path, key), "attention-kinds", message, f"write `{needs[0]}: 4096`, or leave it out")


def _check_vision(tree: Mapping[str, Any], path: tuple[str | int, ...]) -> Iterator[Finding]:
    if not given(tree, "ffn"):
        yield finding((*path, "layers"), "ffn-missing", "a vision tower needs ffn", "write `ffn: 4096`")
    tokens, merge = number(tree, "tokens_per_image"), number(tree, "merge")
    if tokens and merge and tokens % merge:
        message = f"{tokens} tokens_per_image cannot be joined {merge} at a time"
        yield finding((*path, "merge"), "vision-merge", message, "merge must divide tokens_per_image")
