# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: a Hugging Face configuration -> fields of `transformer:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from placement.spec.hf_config import Config, Facts, common, windows


def mixtral(c: Config) -> Facts:
    """MixtralConfig: every layer is routed, `intermediate_size` is that of one expert."""
    window = {"sliding_window": c.get("sliding_window")} if c.get("sliding_window") else {}
    experts = {"experts": c.need("num_local_experts"), "topk": c.need("num_experts_per_tok")}
    return common(c) | experts | {"moe_ffn": c.need("intermediate_size")} | window


def qwen2_moe(c: Config) -> Facts:
    """Qwen2MoeConfig: one gated shared expert of its own width beside the routed ones."""
    shared = {"shared_ffn": c.need("shared_expert_intermediate_size"), "shared_gate": True}
    return common(c) | {"biases": "qkv"} | qwen_experts(c) | shared


def qwen3_moe(c: Config) -> Facts:
    """Qwen3MoeConfig: normalised queries and keys, no shared expert."""
    return common(c) | {"qk_norm": True} | qwen_experts(c)


def qwen3_next(c: Config) -> Facts:
    """Qwen3NextConfig: gated DeltaNet in three layers of four, a gate after softmax attention, a gated shared expert."""
    linear = {
        "key_heads": c.need("linear_num_key_heads"),
        "value_heads": c.need("linear_num_value_heads"),
        "key_dim": c.need("linear_key_head_dim"),
        "value_dim": c.need("linear_value_head_dim"),
    }
    shared = {"shared_ffn": c.need("shared_expert_intermediate_size"), "shared_gate": True}
    hybrid = {"full_attention_every": c.get("full_attention_interval") or 4, "linear_attention": linear, "attention_gate": True}
    return common(c) | {"qk_norm": True} | qwen_experts(c) | shared | hybrid


def qwen_experts(c: Config) -> Facts:
    facts = {
        "experts": c.need("num_experts"),
        "topk": c.need("num_experts_per_tok"),
        "moe_ffn": c.need("moe_intermediate_size"),
    }
    step, dense = c.get("decoder_sparse_step") or 1, c.tree.get("mlp_only_layers") or []
    if dense != list(range(len(dense))):
        c.fail("config-layers", "`mlp_only_layers` are not the first layers", "write the model as `graph:`")
    if step > 1 or dense:
        facts |= {"moe_every": step, "dense_first_layers": len(dense), "ffn": c.need("intermediate_size")}
    return facts


def deepseek(c: Config) -> Facts:
    """DeepseekV2Config, DeepseekV3Config: latent attention, dense first layers, shared experts, prediction modules."""
    query = {"q_lora_rank": c.get("q_lora_rank")} if c.get("q_lora_rank") else {}
    widths = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    facts = common(c) | {"mla": query | {key: c.need(key) for key in widths}} | deepseek_experts(c)
    return {key: value for key, value in facts.items() if key not in ("kv_heads", "head_dim")}


def glm4_moe(c: Config) -> Facts:
    """Glm4MoeConfig: the experts of DeepSeek-V3 with grouped-query attention."""
    facts = common(c) | deepseek_experts(c) | {"biases": "qkv" if c.flag("attention_bias") else "none"}
    return facts | ({"qk_norm": True} if c.flag("use_qk_norm") else {})


def deepseek_experts(c: Config) -> Facts:
    facts: Facts = {
        "ffn": c.need("intermediate_size"),
        "dense_first_layers": c.get("first_k_dense_replace") or 0,
        "experts": c.need("n_routed_experts"),
        "topk": c.need("num_experts_per_tok"),
        "moe_ffn": c.need("moe_intermediate_size"),
        "shared_experts": c.get("n_shared_experts") or 0,
        "mtp_layers": c.get("num_nextn_predict_layers") or 0,
    }
    if (c.get("moe_layer_freq") or 1) > 1:
        facts["moe_every"] = c.get("moe_layer_freq")
    groups, limit = c.get("n_group") or 1, c.get("topk_group")
    return facts | ({"groups_limit": limit} if limit and groups > limit else {})


def grok(c: Config) -> Facts:
    """Grok-1 as converted for transformers: norms before and after each half of a layer, tied embeddings."""
    experts = {"experts": c.need("num_experts"), "topk": c.need("num_experts_per_token", "num_experts_per_tok")}
    facts = common(c) | experts | {"moe_ffn": c.need("intermediate_size"), "post_norms": True}
    return facts | {"tied_embeddings": c.flag("tie_word_embeddings", default=True)}


def deepseek_v32(c: Config) -> Facts:
    """DeepseekV32Config: DeepSeek-V3 with a sparse attention whose indexer is left out."""
    c.remarks.append("The sparse attention and its indexer are not here: every token sees the whole sequence.")
    return deepseek(c)


def dots1(c: Config) -> Facts:
    """Dots1Config: the experts of DeepSeek-V3 with normalised queries and keys."""
    return common(c) | deepseek_experts(c) | {"qk_norm": True}


def gpt_oss(c: Config) -> Facts:
    """GptOssConfig: every second layer has a window; biases of attention (those of experts and sinks are left out)."""
    routed = {"experts": c.need("num_local_experts"), "topk": c.need("num_experts_per_tok", "experts_per_token")}
    return common(c) | routed | {"moe_ffn": c.need("intermediate_size"), "biases": "all"} | windows(c, 2)


def phimoe(c: Config) -> Facts:
    """PhimoeConfig: Mixtral with LayerNorm and biases of attention."""
    return mixtral(c) | {"biases": "all" if c.flag("attention_bias") else "none", "norm": "layernorm"}


def granitemoe(c: Config) -> Facts:
    """GraniteMoeConfig, GraniteMoeSharedConfig: Mixtral with tied embeddings and one shared expert of its own width."""
    return mixtral(c) | ({"shared_ffn": c.need("shared_intermediate_size")} if c.get("shared_intermediate_size") else {})


def olmoe(c: Config) -> Facts:
    """OlmoeConfig: `intermediate_size` is that of one expert; norms over all heads of queries and keys."""
    routed = {"experts": c.need("num_experts"), "topk": c.need("num_experts_per_tok")}
    return common(c) | routed | {"moe_ffn": c.need("intermediate_size"), "qk_norm": True}


def minimax_m2(c: Config) -> Facts:
    """MiniMaxM2Config: `intermediate_size` is that of one expert; prediction modules beside."""
    modules = {"mtp_layers": c.get("num_mtp_modules") or 0} if c.flag("use_mtp") else {}
    return mixtral(c) | {"qk_norm": c.flag("use_qk_norm")} | modules


def dbrx(c: Config) -> Facts:
    """DbrxConfig: LayerNorm without bias, widths in `ffn_config` and `attn_config`."""
    routed, attention = c.part("ffn_config"), c.part("attn_config")
    return {
        "layers": c.need("n_layers"), "hidden": c.need("d_model"), "heads": c.need("n_heads"),
        "kv_heads": attention.need("kv_n_heads"), "vocab": c.need("vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings"), "experts": routed.need("moe_num_experts"),
        "topk": routed.need("moe_top_k"), "moe_ffn": routed.need("ffn_hidden_size"),
    }  # fmt: skip


def llama4(c: Config) -> Facts:
    """Llama4TextConfig: one shared expert of the width of the others; dense layers, where there are some, have their own."""
    if c.get("attention_chunk_size"):
        c.remarks.append("Attention in chunks is not here: every layer sees the whole sequence.")
    every = c.get("interleave_moe_layer_step") or 1
    dense = {"moe_every": every, "ffn": c.need("intermediate_size_mlp")} if every > 1 else {}
    routed = {"experts": c.need("num_local_experts"), "topk": c.need("num_experts_per_tok"), "shared_experts": 1}
    return common(c) | routed | {"moe_ffn": c.need("intermediate_size")} | dense


def hunyuan(c: Config) -> Facts:
    """HunYuanMoEV1Config: numbers may be given layer by layer; every layer is routed."""
    if c.flag("use_cla"):
        c.fail("config-layers", "attention that shares keys across layers is not known", "write the model as `graph:`")
    return common(c) | {
        "experts": c.each("num_experts"), "topk": c.each("moe_topk"), "moe_ffn": c.each("moe_intermediate_size"),
        "shared_experts": c.each("num_shared_expert"), "qk_norm": c.flag("use_qk_norm"),
    }  # fmt: skip


def ernie(c: Config) -> Facts:
    """Ernie4_5_MoeConfig: dense first layers, shared experts of the experts' width, tied embeddings."""
    return common(c, tied=True) | {
        "ffn": c.need("intermediate_size"), "dense_first_layers": c.each("moe_layer_start_index"),
        "experts": c.each("moe_num_experts"), "topk": c.need("moe_k"), "moe_ffn": c.each("moe_intermediate_size"),
        "shared_experts": c.get("moe_num_shared_experts") or 0,
    }  # fmt: skip


READERS: Mapping[str, Callable[[Config], Facts]] = MappingProxyType({
    "mixtral": mixtral, "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe, "qwen3_vl_moe_text": qwen3_moe,
    "qwen3_next": qwen3_next,
    "deepseek_v2": deepseek, "deepseek_v3": deepseek, "deepseek_v32": deepseek_v32, "kimi_k2": deepseek, "dots1": dots1,
    "glm4_moe": glm4_moe, "glm4v_moe_text": glm4_moe, "grok-1": grok, "gpt_oss": gpt_oss, "phimoe": phimoe, "dbrx": dbrx,
    "granitemoe": granitemoe, "granitemoeshared": granitemoe, "olmoe": olmoe, "minimax_m2": minimax_m2, "llama4_text": llama4,
    "llama4": llama4, "hunyuan_v1_moe": hunyuan, "ernie4_5_moe": ernie,
})  # fmt: skip
