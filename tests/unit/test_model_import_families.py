# SPDX-License-Identifier: Apache-2.0
"""Configurations of many families, in the keys of their classes, become models with the parameters of the checkpoints."""

from __future__ import annotations

from typing import Any

import pytest

from placement.cost.flops import active_params, total_params
from placement.diag import InputError
from placement.ir import ModelGraph
from placement.spec.hf import BEYOND, READERS, model_text
from placement.spec.model import check_model, lower_model
from placement.spec.source import parse

Tree = dict[str, Any]


def usual(kind: str, layers: int, hidden: int, heads: int, kv: int | None, ffn: int | None, vocab: int, **more: Any) -> Tree:
    """Keys that most classes share."""
    shape = {"model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads}
    rest = {"num_key_value_heads": kv, "intermediate_size": ffn, "vocab_size": vocab}
    return shape | {k: v for k, v in rest.items() if v is not None} | more


def slides(layers: int, every: int) -> list[str]:
    return ["full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(layers)]


# (configuration, parameters of the checkpoint, tolerance: 0 where every parameter is known to the short form)
DENSE: dict[str, tuple[Tree, float, float]] = {
    "gemma-7b": (usual("gemma", 28, 3072, 16, 16, 24576, 256000, head_dim=256), 8_537_680_896, 0),
    "gemma-2-9b": (usual("gemma2", 42, 3584, 16, 8, 14336, 256000, head_dim=256, sliding_window=4096), 9_241_705_984, 0),
    "gemma-2-27b": (usual("gemma2", 46, 4608, 32, 16, 36864, 256000, head_dim=128, sliding_window=4096), 27_227_128_320, 0),
    "gemma-3-1b": (usual("gemma3_text", 26, 1152, 4, 1, 6912, 262144, head_dim=256, sliding_window=512), 999_885_952, 0),
    "phi-2": (usual("phi", 32, 2560, 32, 32, 10240, 51200), 2_779_683_840, 1e-4),
    "Phi-3-mini": (usual("phi3", 32, 3072, 32, 32, 8192, 32064, sliding_window=2047), 3_821_079_552, 0),
    "phi-4": (usual("phi3", 40, 5120, 40, 10, 17920, 100352), 14_659_507_200, 0),
    "Nemotron-4-340B": (usual("nemotron", 96, 18432, 96, 8, 73728, 256000), 341e9, 0.001),
    "command-r": (usual("cohere", 40, 8192, 64, 64, 22528, 256000), 34_980_831_232, 1e-4),
    "c4ai-command-r7b": (
        usual("cohere2", 32, 4096, 32, 8, 14336, 256000, sliding_window=4096, sliding_window_pattern=4), 8_027_901_952, 1e-4,
    ),
    "OLMo-2-7B": (usual("olmo2", 32, 4096, 32, 32, 11008, 100352), 7_298_617_344, 1e-4),
    "OLMo-3-7B": (
        usual("olmo3", 32, 4096, 32, 32, 11008, 100278, sliding_window=4096, layer_types=slides(32, 4)), 7.3e9, 0.002,
    ),
    "starcoder2-7b": (usual("starcoder2", 32, 4608, 36, 4, 18432, 49152, sliding_window=4096), 7_173_923_840, 0),
    "starcoder2-15b": (usual("starcoder2", 40, 6144, 48, 4, 24576, 49152, tie_word_embeddings=False), 15_957_889_024, 0),
    "starcoder": (
        {"model_type": "gpt_bigcode", "n_layer": 40, "n_embd": 6144, "n_head": 48, "n_inner": 24576, "vocab_size": 49152}
        | {"n_positions": 8192, "multi_query": True}, 15_517_456_384, 0,
    ),
    "chatglm3-6b": (
        {"model_type": "chatglm", "num_layers": 28, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128}
        | {"ffn_hidden_size": 13696, "padded_vocab_size": 65024, "add_qkv_bias": True, "add_bias_linear": False}
        | {"multi_query_attention": True, "multi_query_group_num": 2}, 6_243_584_000, 0,
    ),
    "glm-4-9b": (
        {"model_type": "chatglm", "num_layers": 40, "hidden_size": 4096, "num_attention_heads": 32, "kv_channels": 128}
        | {"ffn_hidden_size": 13696, "padded_vocab_size": 151552, "add_qkv_bias": True, "multi_query_attention": True}
        | {"multi_query_group_num": 2}, 9_399_951_360, 0,
    ),
    "glm-4-32b-0414": (usual("glm4", 61, 6144, 48, 2, 23040, 151552, head_dim=128), 32.6e9, 0.005),
    "internlm2-20b": (usual("internlm2", 48, 6144, 48, 8, 16384, 92544, bias=False), 19_861_149_696, 0),
    "internlm-7b": (usual("internlm", 32, 4096, 32, None, 11008, 103168, bias=True), 7_321_292_800, 1e-4),
    "Baichuan2-13B": (usual("baichuan", 40, 5120, 40, None, 13696, 125696), 13_896_668_160, 0),
    "Qwen-7B": (usual("qwen", 32, 4096, 32, None, 22016, 151936), 7_721_324_544, 0),
    "Qwen2-VL-72B": (usual("qwen2_vl", 80, 8192, 64, 8, 29568, 152064), 72_706_203_648, 0),
    "Llama-2-70b": (usual("llama", 80, 8192, 64, 8, 28672, 32000), 68_976_648_192, 0),
    "Seed-OSS-36B": (usual("seed_oss", 64, 5120, 80, 8, 27648, 155136, head_dim=128, attention_bias=True), 36_151_104_512, 0),
    "SmolLM3-3B": (usual("smollm3", 36, 2048, 16, 4, 11008, 128256, tie_word_embeddings=True), 3_075_098_624, 0),
    "granite-3.1-8b": (usual("granite", 40, 4096, 32, 8, 12800, 49155, tie_word_embeddings=True), 8_170_848_256, 1e-4),
    "gpt-j-6b": (
        {"model_type": "gptj", "n_layer": 28, "n_embd": 4096, "n_head": 16, "n_inner": None, "vocab_size": 50400}, 6.05e9, 1e-3,
    ),
    "gpt-neox-20b": (usual("gpt_neox", 44, 6144, 64, None, 24576, 50432), 20_554_567_680, 0),
    "opt-66b": (
        usual("opt", 64, 9216, 72, None, None, 50272, ffn_dim=36864, max_position_embeddings=2048, word_embed_proj_dim=9216),
        65_718_681_600, 1e-3,
    ),
    "bloom": (
        {"model_type": "bloom", "n_layer": 70, "n_embed": 14336, "num_attention_heads": 112, "vocab_size": 250880},
        176_247_271_424, 1e-6,
    ),
    "falcon-7b": (
        usual("falcon", 32, 4544, 71, None, None, 65024, multi_query=True, new_decoder_architecture=False),
        6_921_720_704, 1e-4,
    ),
    "falcon-180B": (
        usual("falcon", 80, 14848, 232, None, None, 65024, num_kv_heads=8, new_decoder_architecture=True)
        | {"tie_word_embeddings": False}, 179_522_565_120, 1e-4,
    ),
    "mpt-7b": (
        {"model_type": "mpt", "d_model": 4096, "n_layers": 32, "n_heads": 32, "expansion_ratio": 4, "vocab_size": 50432}
        | {"no_bias": True, "attn_config": {"alibi": True}}, 6_649_286_656, 0,
    ),
}  # fmt: skip

MLA = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
MIXER = {"mamba_num_heads": 128, "mamba_head_dim": 64, "n_groups": 8, "ssm_state_size": 128, "conv_kernel": 4}
PATTERN_8B = "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-"
PATTERN_NANO = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"

# (configuration, parameters, active ones, tolerance)
ROUTED: dict[str, tuple[Tree, float, float, float]] = {
    "gpt-oss-120b": (
        usual("gpt_oss", 36, 2880, 64, 8, 2880, 201088, head_dim=64, num_local_experts=128, num_experts_per_tok=4)
        | {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 18}, 116.83e9, 5.71e9, 0.002,
    ),
    "Llama-4-Maverick": (
        usual("llama4_text", 48, 5120, 40, 8, 8192, 202048, head_dim=128, intermediate_size_mlp=16384, num_local_experts=128)
        | {"num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "attention_chunk_size": 8192}, 400e9, 17e9, 0.03,
    ),
    "Llama-4-Scout": (
        usual("llama4_text", 48, 5120, 40, 8, 8192, 202048, head_dim=128, intermediate_size_mlp=16384, num_local_experts=16)
        | {"num_experts_per_tok": 1, "interleave_moe_layer_step": 1}, 109e9, 17e9, 0.02,
    ),
    "dbrx": (
        {"model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40, "vocab_size": 100352}
        | {"ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4}, "attn_config": {"kv_n_heads": 8}},
        131_596_523_520, 36.5e9, 0.01,
    ),
    "DeepSeek-V3.2-Exp": (
        usual("deepseek_v32", 61, 7168, 128, 128, 18432, 129280, **MLA, n_routed_experts=256, num_experts_per_tok=8)
        | {"moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 3, "index_n_heads": 64},
        671e9, 37.5e9, 0.002,
    ),
    "dots.llm1": (
        usual("dots1", 62, 4096, 32, 32, 10944, 152064, n_routed_experts=128, num_experts_per_tok=6, n_shared_experts=2)
        | {"moe_intermediate_size": 1408, "first_k_dense_replace": 1}, 142e9, 14e9, 0.03,
    ),
    "Phi-3.5-MoE": (
        usual("phimoe", 32, 4096, 32, 8, 6400, 32064, num_local_experts=16, num_experts_per_tok=2, attention_bias=True),
        41.87e9, 6.6e9, 0.01,
    ),
    "granite-3.1-3b-a800m": (
        usual("granitemoe", 32, 1536, 24, 8, 512, 49155, num_local_experts=40, num_experts_per_tok=8, tie_word_embeddings=True),
        3.3e9, 0.88e9, 0.02,
    ),
    "OLMoE-1B-7B": (
        usual("olmoe", 16, 2048, 16, 16, 1024, 50304, num_experts=64, num_experts_per_tok=8), 6_919_161_856, 1.28e9, 0.01,
    ),
    "MiniMax-M2": (
        usual("minimax_m2", 62, 3072, 48, 8, 1536, 200064, head_dim=128, num_local_experts=256, num_experts_per_tok=8)
        | {"use_qk_norm": True}, 230e9, 10e9, 0.03,
    ),
    "Hunyuan-A13B": (
        usual("hunyuan_v1_moe", 32, 4096, 32, 8, 3072, 128167, head_dim=128, num_experts=64, moe_topk=[8] * 32)
        | {"moe_intermediate_size": [3072] * 32, "num_shared_expert": [1] * 32, "use_qk_norm": True}
        | {"tie_word_embeddings": True},
        80.4e9, 13e9, 0.03,
    ),
    "ERNIE-4.5-300B-A47B": (
        usual("ernie4_5_moe", 54, 8192, 64, 8, 28672, 103424, moe_num_experts=64, moe_k=8, moe_intermediate_size=3584)
        | {"moe_num_shared_experts": 0, "moe_layer_start_index": 3, "tie_word_embeddings": False}, 300e9, 47e9, 0.02,
    ),
    "ERNIE-4.5-21B-A3B": (
        usual("ernie4_5_moe", 28, 2560, 20, 4, 12288, 103424, moe_num_experts=64, moe_k=6, moe_intermediate_size=1536)
        | {"moe_num_shared_experts": 2, "moe_layer_start_index": 1, "tie_word_embeddings": True}, 21.8e9, 3e9, 0.02,
    ),
    "Nemotron-H-8B": (
        usual("nemotron_h", 52, 4096, 32, 8, 21504, 131072, hybrid_override_pattern=PATTERN_8B, head_dim=128) | MIXER,
        8.1e9, 8.1e9, 0.01,
    ),
    "Nemotron-3-Nano-30B-A3B": (
        usual("nemotron_h", 52, 2688, 32, 2, 1856, 131072, hybrid_override_pattern=PATTERN_NANO, head_dim=128)
        | MIXER | {"mamba_num_heads": 64, "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1856}
        | {"n_shared_experts": 1, "moe_shared_expert_intermediate_size": 3712}, 31.6e9, 3.6e9, 0.02,
    ),
    "Mamba-Codestral-7B": (
        {"model_type": "mamba2", "num_hidden_layers": 64, "hidden_size": 4096, "num_heads": 128, "head_dim": 64, "n_groups": 8}
        | {"state_size": 128, "conv_kernel": 4, "vocab_size": 32768}, 7_285_403_648, 7_285_403_648, 0,
    ),
    "Bamba-9B": (
        usual("bamba", 32, 4096, 32, 8, 14336, 128256, attn_layer_indices=[9, 18, 27], mamba_n_heads=128, mamba_d_head=64)
        | {"mamba_n_groups": 1, "mamba_d_state": 128, "mamba_d_conv": 4}, 9.78e9, 9.78e9, 0.01,
    ),
    "granite-4.0-h-small": (
        usual("granitemoehybrid", 40, 4096, 32, 8, 768, 100352, num_local_experts=72, num_experts_per_tok=10)
        | {"shared_intermediate_size": 1536, "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_n_groups": 1}
        | {"mamba_d_state": 128, "mamba_d_conv": 4}
        | {"layer_types": ["attention" if i % 10 == 5 else "mamba" for i in range(40)]}, 32.2e9, 9e9, 0.03,
    ),
    "MiniMax-Text-01": (
        usual("minimax_text_01", 80, 6144, 64, 8, 9216, 200064, head_dim=128, num_local_experts=32, num_experts_per_tok=2)
        | {"attn_type_list": ([0] * 7 + [1]) * 10}, 456e9, 45.9e9, 0.005,
    ),
}  # fmt: skip


def imported(tree: Tree, name: str) -> ModelGraph:
    """The model of the text that a configuration becomes."""
    return lower_model(check_model(parse(model_text(tree, name), "m.yaml", "model")))


@pytest.mark.parametrize("name", DENSE)
def test_dense_families_have_the_parameters_of_their_checkpoints(name: str) -> None:
    """Exactly, but for what the docstring of the reader says is left out."""
    tree, published, tolerance = DENSE[name]
    assert total_params(imported(tree, name)) == pytest.approx(published, rel=tolerance, abs=0)


@pytest.mark.parametrize("name", ROUTED)
def test_routed_and_hybrid_families_have_the_published_totals(name: str) -> None:
    """Total and active parameters, as rounded in the announcements (some leave the embeddings out of the active ones)."""
    tree, published, active, tolerance = ROUTED[name]
    model = imported(tree, name)
    assert total_params(model, mtp=False) == pytest.approx(published, rel=tolerance, abs=0)
    assert active_params(model, mtp=False) == pytest.approx(active, rel=0.12)


def test_windows_follow_the_kinds_of_layers() -> None:
    """Gemma 3 has one layer of six without a window, GPT-OSS one of two; `layer_types` wins over the class."""
    gemma = model_text(DENSE["gemma-3-1b"][0] | {"layer_types": slides(26, 6)}, "x")
    assert "  full_attention_every: 6" in gemma.splitlines()
    assert "  full_attention_every: 2" in model_text(ROUTED["gpt-oss-120b"][0], "x").splitlines()
    assert "window" not in model_text(DENSE["gemma-3-1b"][0] | {"layer_types": ["full_attention"] * 26}, "x")


def test_a_nested_configuration_may_leave_out_what_its_class_has_by_default() -> None:
    """LLaVA 1.5 names a Vicuna and its vocabulary, Gemma 3 leaves out heads and vocabulary."""
    llava = imported({"model_type": "llava", "text_config": {"model_type": "llama", "vocab_size": 32064}}, "llava")
    assert total_params(llava) == 6_738_939_904
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    assert (
        total_params(imported({"model_type": "gemma3", "text_config": text | {"sliding_window": 1024}}, "g")) == 3_880_263_168
    )


@pytest.mark.parametrize(
    ("tree", "word"),
    [
        (DENSE["gemma-3-1b"][0] | {"layer_types": slides(24, 6) + ["full_attention"] * 2}, "no period"),
        (ROUTED["Hunyuan-A13B"][0] | {"moe_topk": [8] * 31 + [4]}, "differs from layer to layer"),
        (ROUTED["Hunyuan-A13B"][0] | {"use_cla": True}, "shares keys across layers"),
        (ROUTED["Nemotron-H-8B"][0] | {"hybrid_override_pattern": "M-X"}, "hybrid_override_pattern"),
        (ROUTED["MiniMax-Text-01"][0] | {"attn_type_list": [0, 1, 1]}, "no period"),
        (ROUTED["granite-4.0-h-small"][0] | {"layer_types": ["mamba"]}, "does not name every layer"),
        (DENSE["opt-66b"][0] | {"word_embed_proj_dim": 512}, "narrower than the layers"),
        ({"model_type": "dbrx", "ffn_config": 3}, "no `moe_num_experts`"),
    ],
)  # fmt: skip
def test_what_the_short_form_cannot_say_is_refused(tree: Tree, word: str) -> None:
    """No layer is guessed: the finding says what is beyond the short form."""
    with pytest.raises(InputError) as caught:
        model_text(tree, "x")
    assert any(word in d.message for d in caught.value.diagnostics)


def test_types_beyond_the_model_say_why() -> None:
    """A type that is known not to fit names the reason; none of them has a reader."""
    assert not set(BEYOND) & set(READERS)
    for kind, reason in BEYOND.items():
        with pytest.raises(InputError) as caught:
            model_text({"model_type": kind}, "x")
        assert caught.value.diagnostics[0].message == f"model type `{kind}` cannot be imported: {reason}"
