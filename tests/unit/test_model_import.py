# SPDX-License-Identifier: Apache-2.0
"""Hugging Face configurations become model files with the parameters of the published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from placement.cost.flops import active_params, total_params
from placement.diag import InputError
from placement.spec.hf import import_config, model_text
from placement.spec.model import check_model, lower_model
from placement.spec.source import parse


def llama(layers: int, hidden: int, heads: int, kv_heads: int, ffn: int, vocab: int, **more: Any) -> dict[str, Any]:
    """The fields that most configurations share, written by hand from model cards."""
    shape = {"num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": ffn, "vocab_size": vocab}
    return shape | {"num_attention_heads": heads, "num_key_value_heads": kv_heads} | more  # fmt: skip


def latent(q_lora_rank: int | None, nope: int = 128, rope: int = 64, value: int = 128) -> dict[str, Any]:
    heads = {"qk_nope_head_dim": nope, "qk_rope_head_dim": rope, "v_head_dim": value}
    return heads | {"q_lora_rank": q_lora_rank, "kv_lora_rank": 512}


def experts(num: int, topk: int, ffn: int, shared: int, dense: int, **more: Any) -> dict[str, Any]:
    return {
        "n_routed_experts": num, "num_experts_per_tok": topk, "moe_intermediate_size": ffn, "n_shared_experts": shared,
        "first_k_dense_replace": dense,
    } | more  # fmt: skip


QWEN_MOE = {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632}
QWEN3_MOE = {
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
}
GPT2 = {"model_type": "gpt2", "n_positions": 1024, "vocab_size": 50257}
NEXT = {
    "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
    "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
    "full_attention_interval": 4, "head_dim": 256,
}  # fmt: skip

# (configuration, parameters of the checkpoint as its page on huggingface.co counts them, tolerance)
PUBLISHED: dict[str, tuple[dict[str, Any], float, float]] = {
    "Llama-3.1-8B": (llama(32, 4096, 32, 8, 14336, 128256) | {"model_type": "llama"}, 8_030_261_248, 0),
    "Mistral-7B-v0.1": (
        llama(32, 4096, 32, 8, 14336, 32000) | {"model_type": "mistral", "sliding_window": 4096}, 7_241_732_096, 0,
    ),
    "Mixtral-8x7B-v0.1": (
        llama(32, 4096, 32, 8, 14336, 32000) | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2},
        46_702_792_704, 0,
    ),
    "Qwen2.5-7B": (llama(28, 3584, 28, 4, 18944, 152064) | {"model_type": "qwen2", "sliding_window": 131072}, 7_615_616_512, 0),
    "Qwen3-8B": (llama(36, 4096, 32, 8, 12288, 151936) | {"model_type": "qwen3", "head_dim": 128}, 8_190_735_360, 0),
    "Qwen1.5-MoE-A2.7B": (llama(24, 2048, 16, 16, 5632, 151936) | QWEN_MOE | {"model_type": "qwen2_moe"}, 14_315_784_192, 0),
    "Qwen3-30B-A3B": (
        llama(48, 2048, 32, 4, 6144, 151936) | QWEN3_MOE | {"model_type": "qwen3_moe", "head_dim": 128}, 30_532_122_624, 0,
    ),
    "Qwen3-Next-80B-A3B": (llama(48, 2048, 16, 2, 5120, 151936) | NEXT | {"model_type": "qwen3_next"}, 80e9, 0.01),
    "DeepSeek-V2-Lite": (
        llama(27, 2048, 16, 16, 10944, 102400) | latent(None) | experts(64, 6, 1408, 2, 1) | {"model_type": "deepseek_v2"},
        15_706_484_224, 0,
    ),
    "DeepSeek-V2": (
        llama(60, 5120, 128, 128, 12288, 102400) | latent(1536) | experts(160, 6, 1536, 2, 1) | {"model_type": "deepseek_v2"},
        235_741_434_880, 0,
    ),
    "DeepSeek-V3": (
        llama(61, 7168, 128, 128, 18432, 129280) | latent(1536)
        | experts(256, 8, 2048, 1, 3, n_group=8, topk_group=4, num_nextn_predict_layers=1, head_dim=64)
        | {"model_type": "deepseek_v3"},
        671_026_419_200 - 58 * 256, 0,
    ),
    "Kimi-K2": (
        llama(61, 7168, 64, 64, 18432, 163840) | latent(1536) | experts(384, 8, 2048, 1, 1) | {"model_type": "kimi_k2"},
        1.03e12, 0.01,
    ),
    "GLM-4.5": (
        llama(92, 5120, 96, 8, 12288, 151552) | experts(160, 8, 1536, 1, 3)
        | {"model_type": "glm4_moe", "head_dim": 128, "attention_bias": True, "use_qk_norm": True},
        355e9, 0.01,
    ),
    "gpt2": (GPT2 | {"n_layer": 12, "n_embd": 768, "n_head": 12}, 124_439_808, 0),
    "gpt2-xl": (GPT2 | {"n_layer": 48, "n_embd": 1600, "n_head": 25}, 1_557_611_200, 0),
    "grok-1": (
        llama(64, 6144, 48, 8, 32768, 131072) | {"model_type": "grok-1", "num_experts": 8, "num_experts_per_token": 2},
        314e9, 0.006,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_imported_parameters_are_those_published(name: str) -> None:
    """The text that a configuration becomes is a valid model file with the parameters of the published checkpoint."""
    tree, published, tolerance = PUBLISHED[name]
    model = lower_model(check_model(parse(model_text(tree, name), "m.yaml", "model")))
    assert model.name == name
    assert total_params(model, mtp=False) == pytest.approx(published, rel=tolerance, abs=0)


def test_active_parameters_of_an_import() -> None:
    """Mixtral 8x7B uses 12.9 B parameters for a token (arXiv 2401.04088), and the head comment says so."""
    text = model_text(PUBLISHED["Mixtral-8x7B-v0.1"][0], "mixtral")
    model = lower_model(check_model(parse(text, "m.yaml", "model")))
    assert active_params(model) == pytest.approx(12.9e9, rel=0.005)
    assert "# 46,702,792,704 parameters, 12,879,925,248 active for a token." in text.splitlines()


def test_text_of_an_import() -> None:
    """The whole text: counts, fields in the order of a model card, and a job to fill in."""
    tree, _, _ = PUBLISHED["DeepSeek-V3"]
    assert (
        model_text(tree, "deepseek-v3")
        == """\
# Imported from a Hugging Face configuration of type deepseek_v3.
# 671,026,404,352 parameters, 37,552,282,624 active for a token; prediction modules have 11,610,067,968 more.
name: deepseek-v3

transformer:
  layers: 61
  hidden: 7168
  heads: 128
  vocab: 129280
  mla:
    q_lora_rank: 1536
    kv_lora_rank: 512
    qk_nope_head_dim: 128
    qk_rope_head_dim: 64
    v_head_dim: 128
  ffn: 18432
  dense_first_layers: 3
  experts: 256
  topk: 8
  moe_ffn: 2048
  shared_experts: 1
  mtp_layers: 1
  groups_limit: 4

# job:
#   sequence_length: 4096
#   global_batch: 1024
#   precision: bf16
"""
    )


def test_language_model_of_a_multimodal_configuration() -> None:
    """The language model is imported, and the head comment says that the vision tower is not."""
    text = model_text({"model_type": "llava", "text_config": PUBLISHED["Qwen3-8B"][0], "vision_config": {}}, "x")
    assert "# The vision tower of the configuration is not here: add it as `vision:`." in text.splitlines()


def refusal(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(InputError) as caught:
        model_text(tree, "x")
    return [f"{d.name} | {d.message} | {d.help}" for d in caught.value.diagnostics]


def test_unknown_types_are_refused_with_the_known_ones() -> None:
    """A model type that is not known names those that are."""
    (line,) = refusal({"model_type": "elmo"})
    assert line.startswith("model/config-type | model type `elmo` cannot be imported | known: `baichuan`, `bamba`, ")
    assert refusal({})[0].startswith("model/config-type | the configuration has no `model_type` | known: ")


def test_missing_and_wrong_fields_show_at_once() -> None:
    """Every missing field and every value of the wrong kind is reported."""
    tree = llama(2, 64, 4, 4, 128, 100, model_type="llama") | {"hidden_size": "64"}
    del tree["vocab_size"]
    assert refusal(tree) == [
        "model/config-number | `hidden_size` is not a whole number: 64 | ",
        "model/config-missing | the configuration has no `vocab_size` | add `vocab_size`, a whole number",
    ]


def test_contradictions_of_a_configuration_are_those_of_a_model() -> None:
    """A configuration is checked like a model file: heads must share key and value heads evenly."""
    assert refusal(llama(2, 64, 4, 3, 128, 100, model_type="llama")) == [
        "model/heads | 4 heads cannot share 3 kv_heads evenly | kv_heads must divide heads"
    ]


def test_a_file_names_the_model(tmp_path: Path) -> None:
    """The name is the configuration's own, else that of its folder."""
    folder = tmp_path / "My-Model"
    folder.mkdir()
    file = folder / "config.json"
    file.write_text(json.dumps(PUBLISHED["gpt2"][0]), encoding="utf-8")
    assert "name: my-model" in import_config(file).splitlines()
    file.write_text(json.dumps(PUBLISHED["gpt2"][0] | {"_name_or_path": "openai-community/GPT2"}), encoding="utf-8")
    assert "name: gpt2" in import_config(file).splitlines()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"{", "1:2 input/json-syntax | not valid JSON: expecting property name enclosed in double quotes"),
        (b"[" * 100_000, "1:1 input/json-syntax | not valid JSON: bad encoding, nesting or number"),
        (b"\xff\xfe\xff", "1:1 input/json-syntax | not valid JSON: bad encoding, nesting or number"),
        (b"[]", "1:1 input/not-a-mapping | a configuration is a JSON object"),
        (b" " * (5 << 20), "1:1 input/file-too-large | the file is larger than 4 MiB"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, expected: str) -> None:
    """A damaged, hostile or gigantic file is an input error with its place."""
    file = tmp_path / "config.json"
    file.write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_config(file)
    (d,) = caught.value.diagnostics
    assert d.primary is not None
    assert f"{d.primary.span.line}:{d.primary.span.column} {d.name} | {d.message}" == expected
