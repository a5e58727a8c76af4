# SPDX-License-Identifier: Apache-2.0
"""The short form: which layers a transformer gets, and how they hang together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.ir import Attention, Experts, ModelGraph
from placement.spec.model import load_model, lower_short

SMALL: dict[str, Any] = {"layers": 4, "hidden": 64, "heads": 4, "ffn": 128, "vocab": 100}
ROUTED: dict[str, Any] = SMALL | {"experts": 8, "topk": 2, "moe_ffn": 32}
LINEAR = {"key_heads": 2, "value_heads": 4, "key_dim": 16, "value_dim": 16}
VISION = {"layers": 2, "hidden": 32, "heads": 2, "ffn": 64, "tokens_per_image": 16, "tokens_ratio": 0.5, "merge": 4}


def kinds(model: ModelGraph) -> list[str]:
    return [model.types[i].name for i in model.type_B]


def edges(model: ModelGraph) -> list[tuple[str, str, float]]:
    names = model.block_names
    return [(names[a], names[b], float(w)) for a, b, w in zip(model.src_E, model.dst_E, model.width_E, strict=True)]


def test_a_dense_transformer_is_a_chain() -> None:
    """Embedding, layers and head follow each other, each passing on the hidden state."""
    model = lower_short(SMALL)
    assert kinds(model) == ["embedding", "dense", "dense", "dense", "dense", "head"]
    assert list(model.src_E) == [0, 1, 2, 3, 4]
    assert list(model.dst_E) == [1, 2, 3, 4, 5]
    assert set(model.width_E) == {64.0}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "moe moe moe moe"),
        ({"dense_first_layers": 1}, "dense moe moe moe"),
        ({"moe_every": 2}, "dense moe dense moe"),
        ({"moe_every": 2, "dense_first_layers": 2}, "dense dense dense moe"),
        ({"sliding_window": 8, "sliding_window_every": 2}, "moe-window moe moe-window moe"),
        ({"sliding_window": 8}, "moe-window moe-window moe-window moe-window"),
        ({"sliding_window": 8, "full_attention_every": 3}, "moe-window moe-window moe moe-window"),
        ({"linear_attention": LINEAR, "full_attention_every": 4}, "moe-linear moe-linear moe-linear moe"),
    ],
)
def test_layer_patterns(more: dict[str, Any], expected: str) -> None:
    """Dense-first layers, every n-th routed layer, windows and linear attention fall on the layers their authors mean."""
    assert kinds(lower_short(ROUTED | more))[1:-1] == expected.split()


def test_gpt_oss_windows_every_other_layer() -> None:
    """`sliding_window_every: 2` windows layers 0, 2, 4 ... as gpt-oss does."""
    model = lower_short(SMALL | {"sliding_window": 128, "sliding_window_every": 2})
    windows = [next(op.window for op in model.types[i].ops if isinstance(op, Attention)) for i in model.type_B[1:-1]]
    assert windows == [128, None, 128, None]


MAMBA = {"heads": 4, "head_dim": 32, "groups": 2, "state": 16}


def test_a_pattern_makes_half_layers() -> None:
    """Letters name mixers, attention, feed-forward networks and experts; each has its own norm."""
    model = lower_short(ROUTED | {"pattern": "M*-E", "mamba": MAMBA})
    assert kinds(model)[1:-1] == ["mamba", "attention", "feed-forward", "moe"]
    whole = lower_short(ROUTED | {"layers": 1})
    halves = {t.name: t for t in model.types}
    moe = next(t for t in whole.types if t.name == "moe")
    assert halves["attention"].ops + halves["moe"].ops == moe.ops
    assert halves["attention"].norm_params + halves["moe"].norm_params == moe.norm_params


def test_parameters_of_a_mixer() -> None:
    """Mamba-2 by hand: projections in and out, a convolution of four taps with bias, three scalars a head, two norms."""
    model = lower_short(SMALL | {"layers": 1, "pattern": "M", "mamba": MAMBA})
    inner, mixed = 4 * 32, 4 * 32 + 2 * 2 * 16
    by_hand = 64 * (inner + mixed + 4) + inner * 64 + mixed * (4 + 1) + 3 * 4 + inner + 64
    (mixer,) = (t for t in model.types if t.name == "mamba")
    assert mixer.dense_params == by_hand
    (core,) = (op for op in mixer.ops if isinstance(op, Attention))
    assert (core.heads, core.qk_dim, core.v_dim, core.linear) == (4, 16, 32, True)


def test_prediction_module_takes_and_passes_on_the_states() -> None:
    """Each prediction module hands the states of all depths so far to the head, and shares the embedding."""
    model = lower_short(SMALL | {"mtp_layers": 2})
    assert edges(model)[-3:] == [("layer.3", "mtp.0", 64.0), ("mtp.0", "mtp.1", 128.0), ("mtp.1", "head", 192.0)]
    assert model.tied == ((0, 5), (0, 6))
    assert model.types[model.type_B[-1]].tokens_ratio == 3.0


def test_prediction_module_runs_a_layer_of_the_last_kind() -> None:
    """The module of a mixture of experts is routed too."""
    model = lower_short(ROUTED | {"mtp_layers": 1})
    mtp = next(t for t in model.types if t.name == "mtp")
    assert mtp.experts == Experts(8, 2, 64, 32, gated=True)


def test_vision_tower_joins_at_the_first_layer() -> None:
    """The tower runs before the language model and enters its first layer; widths count elements for a token of the text."""
    model = lower_short(SMALL | {"vision": VISION})
    assert kinds(model)[:5] == ["vision-embedding", "vision", "vision", "projector", "embedding"]
    joins = [e for e in edges(model) if e[1] == "layer.0"]
    assert joins == [("projector", "layer.0", 64 * 0.5 / 4), ("embedding", "layer.0", 64.0)]
    tower = model.types[model.type_B[1]]
    assert (tower.tokens_ratio, tower.span) == (0.5, 16)
    assert not any(op.causal for op in tower.ops if isinstance(op, Attention))


def test_latent_attention_keeps_the_compressed_width() -> None:
    """Latent attention has 128 + 64 wide queries, 128 wide values, and 576 wide compressed keys and values."""
    model, _ = load_model("deepseek-v3")
    attention = next(op for t in model.types for op in t.ops if isinstance(op, Attention))
    assert attention == Attention(128, 128, 192, 128, latent_dim=576)


def test_types_are_shared() -> None:
    """A model of 118 blocks has five block types, not 118."""
    model, _ = load_model("moe-10t")
    assert [t.name for t in model.types] == ["embedding", "dense", "moe", "mtp", "head"]
    assert list(model.count_Y) == [1, 3, 113, 1, 1]
    assert model.num_blocks == 119


def test_hypothetical_models_say_so() -> None:
    """Models that nobody published are marked; published ones are not."""
    assert all(load_model(name)[0].hypothetical for name in ("moe-10t", "moe-6t", "moe-1.5t", "moe-1t", "multimodal-graph"))
    assert not any(load_model(name)[0].hypothetical for name in ("llama3.1-405b", "deepseek-v3", "grok-1", "megatron-1t"))


def test_keys_know_their_place_in_the_file() -> None:
    """Facts of the model lead back to the line of the file that states them."""
    model, _ = load_model("llama3-70b")
    file, line, column = model.source["transformer.layers"]
    text = Path(file).read_text(encoding="utf-8").splitlines()
    assert text[line - 1][column - 1 :].startswith("layers: 80")


def test_job_defaults_come_along() -> None:
    """The job block of a model file is handed on as typed."""
    _, job = load_model("moe-10t")
    assert job == {"sequence_length": "8192", "global_batch": "36864", "precision": "mxfp8"}


def test_a_measured_run_is_taken_as_it_is() -> None:
    """The model of a measured run carries its name, published counts and a head_dim beside mla; none of that disturbs."""
    run = SMALL | {"key": "toy", "name": "Toy", "seq_len": 128, "kind": "dense", "params_total_b": 0.1, "params_active_b": 0.1}
    model = lower_short(run | {"kv_heads": 2, "head_dim": 16, "experts": 0, "topk": None})
    assert model.name == "toy"
    assert kinds(model) == kinds(lower_short(SMALL))


def test_same_file_same_graph() -> None:
    """Reading a file twice gives equal digests; another width gives another."""
    a, b = lower_short(SMALL), lower_short(SMALL)
    assert a.digest() == b.digest() != lower_short(SMALL | {"ffn": 256}).digest()


def test_arrays_are_read_only() -> None:
    """The graph is a value: its arrays cannot be written."""
    model = lower_short(SMALL)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(model.type_B)[0] = 1


def test_vision_tower_has_the_parameters_of_the_published_one() -> None:
    """CLIP ViT-L/14 at 336 pixels (arXiv 2103.00020) has 303.5 M parameters; all but a few are its layers."""
    clip = {"layers": 24, "hidden": 1024, "heads": 16, "ffn": 4096, "patch": 14, "tokens_per_image": 576, "tokens_ratio": 0.25}
    model = lower_short(SMALL | {"vision": clip})
    tower = sum(t.dense_params * int(n) for t, n in zip(model.types, model.count_Y, strict=True) if t.name.startswith("vision"))
    assert tower == pytest.approx(303_507_456, rel=1e-4)
