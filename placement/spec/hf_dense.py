# SPDX-License-Identifier: Apache-2.0
"""Dense models: a Hugging Face configuration -> fields of `transformer:`.

What a configuration class fixes without a field (biases of Qwen2, norms of Gemma) is stated here with the class. Blocks whose
halves run side by side (Falcon, GPT-NeoX, Cohere) have the work and the parameters of blocks in a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from placement.spec.hf_config import Config, Facts, common, windows

LAYERNORM = {"norm": "layernorm"}
PLAIN = {"gated_mlp": False}


def llama(c: Config) -> Facts:
    """LlamaConfig, MistralConfig and kin: RMSNorm, gated MLP, rotary positions; biases only where the fields say so."""
    if c.nested:
        c = Config({**_LLAMA_7B, **c.tree}, c.file, True, c.found, c.remarks)
    facts = common(c) | {"ffn": c.need("intermediate_size")}
    if c.flag("attention_bias") or c.flag("qkv_bias"):
        facts["biases"] = "all" if c.flag("mlp_bias") else "qkv"
    return facts | windows(c)


_LLAMA_7B = {  # what LlamaConfig has by default: LLaVA 1.5 leaves it out
    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32000,
}  # fmt: skip


def internlm(c: Config) -> Facts:
    """InternLMConfig, InternLM2Config: Llama with biases of attention where `bias` is set."""
    return llama(c) | ({"biases": "qkv"} if c.flag("bias") else {})


def baichuan(c: Config) -> Facts:
    """BaichuanConfig: Llama with one matrix for query, key and value; the 13 B models have ALiBi instead of rotation."""
    return llama(c) | {
        "rotary": c.tree.get("position_embedding", "rotary").lower() != "alibi" and c.need("hidden_size") <= 4096
    }


def qwen(c: Config) -> Facts:
    """QWenConfig of the first generation: `intermediate_size` is that of gate and up projection together."""
    return common(c) | {"ffn": c.need("intermediate_size") // 2, "biases": "qkv"}


def qwen2(c: Config) -> Facts:
    """Qwen2Config: query, key and value have biases; the sliding window is off unless `use_sliding_window`."""
    return common(c) | {"ffn": c.need("intermediate_size"), "biases": "qkv"} | _qwen_window(c)


def qwen3(c: Config) -> Facts:
    """Qwen3Config: normalised queries and keys, no biases unless `attention_bias`."""
    facts = common(c) | {"ffn": c.need("intermediate_size"), "qk_norm": True}
    return facts | ({"biases": "qkv"} if c.flag("attention_bias") else {}) | _qwen_window(c)


def _qwen_window(c: Config) -> Facts:
    if c.flag("use_sliding_window"):
        c.remarks.append("use_sliding_window with max_window_layers is not here: every layer sees the whole sequence.")
    return {}


def gemma(c: Config) -> Facts:
    """GemmaConfig: tied embeddings, heads wider than hidden / heads."""
    return common(c, tied=True) | {"ffn": c.need("intermediate_size")}


def gemma2(c: Config) -> Facts:
    """Gemma2Config: norms before and after each half; every second layer has a window, the first one included."""
    return gemma(c) | {"post_norms": True} | windows(c, 2)


def gemma3(c: Config) -> Facts:
    """Gemma3TextConfig: as Gemma 2 with normalised queries and keys; five layers of six have a window."""
    shape = {
        "vocab": c.need("vocab_size", default=262208), "heads": c.need("num_attention_heads", default=8),
        "kv_heads": c.need("num_key_value_heads", default=4), "head_dim": c.need("head_dim", default=256),
        "layers": c.need("num_hidden_layers", default=26), "hidden": c.need("hidden_size", default=2304),
        "ffn": c.need("intermediate_size", default=9216), "tied_embeddings": c.flag("tie_word_embeddings", default=True),
    }  # fmt: skip
    return shape | {"post_norms": True, "qk_norm": True} | windows(c, c.get("sliding_window_pattern") or 6)


def phi(c: Config) -> Facts:
    """PhiConfig (1, 1.5, 2): biases everywhere, LayerNorm, one norm for both halves (counted twice here)."""
    return common(c) | {"ffn": c.need("intermediate_size"), "biases": "all"} | LAYERNORM | PLAIN


def phi3(c: Config) -> Facts:
    """Phi3Config: Llama with fused matrices."""
    return common(c) | {"ffn": c.need("intermediate_size")} | windows(c)


def nemotron(c: Config) -> Facts:
    """NemotronConfig (Nemotron-4, Minitron): LayerNorm, squared ReLU without a gate."""
    return common(c) | {"ffn": c.need("intermediate_size")} | LAYERNORM | PLAIN


def cohere(c: Config) -> Facts:
    """CohereConfig, Cohere2Config: LayerNorm without bias before both halves at once, tied embeddings."""
    facts = common(c, tied=True) | {"ffn": c.need("intermediate_size"), "qk_norm": c.flag("use_qk_norm")}
    return facts | windows(c, c.get("sliding_window_pattern"))


def olmo2(c: Config) -> Facts:
    """Olmo2Config, Olmo3Config: norms after each half instead of before, over all heads of queries and keys."""
    return common(c) | {"ffn": c.need("intermediate_size"), "qk_norm": True} | windows(c)


def starcoder2(c: Config) -> Facts:
    """Starcoder2Config: LayerNorm, plain MLP, biases with `use_bias`, tied embeddings."""
    biases = {"biases": "all" if c.flag("use_bias", default=True) else "none"}
    return common(c, tied=True) | {"ffn": c.need("intermediate_size")} | biases | LAYERNORM | PLAIN | windows(c)


def chatglm(c: Config) -> Facts:
    """ChatGLMConfig (ChatGLM2 and later): gated MLP, biases of query, key and value, grouped queries."""
    facts: Facts = {
        "layers": c.need("num_layers"), "hidden": c.need("hidden_size"), "heads": c.need("num_attention_heads"),
        "head_dim": c.get("kv_channels"), "ffn": c.need("ffn_hidden_size"), "vocab": c.need("padded_vocab_size", "vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings"),
        "biases": "all" if c.flag("add_bias_linear") else "qkv" if c.flag("add_qkv_bias") else "none",
    }  # fmt: skip
    return facts | ({"kv_heads": c.need("multi_query_group_num")} if c.flag("multi_query_attention") else {})


def glm4(c: Config) -> Facts:
    """GlmConfig, Glm4Config: Llama with biases of query, key and value; GLM-4 has norms after each half too."""
    return llama(c) | {"post_norms": c.tree.get("model_type") == "glm4"}


def gpt2(c: Config) -> Facts:
    """GPT2Config: LayerNorm, GELU MLP of four times the width, biases everywhere, learned positions, tied embeddings."""
    positions = {"rotary": False, "learned_positions": c.need("n_positions", "max_position_embeddings")}
    return _gpt(c, tied=True) | {"biases": "all"} | positions


def gpt_bigcode(c: Config) -> Facts:
    """GPTBigCodeConfig (StarCoder): GPT-2 with one key and value head."""
    return gpt2(c) | ({"kv_heads": 1} if c.flag("multi_query", default=True) else {})


def gptj(c: Config) -> Facts:
    """GPTJConfig: one norm for both halves (counted twice here), biases of the MLP alone (left out here)."""
    return _gpt(c, tied=False)


def _gpt(c: Config, tied: bool) -> Facts:
    hidden = c.need("n_embd", "hidden_size")
    return {
        "layers": c.need("n_layer", "num_hidden_layers"), "hidden": hidden, "heads": c.need("n_head", "num_attention_heads"),
        "ffn": c.get("n_inner", "intermediate_size") or 4 * hidden, "vocab": c.need("vocab_size"),
        "tied_embeddings": c.flag("tie_word_embeddings", default=tied),
    } | LAYERNORM | PLAIN  # fmt: skip


def gpt_neox(c: Config) -> Facts:
    """GPTNeoXConfig (GPT-NeoX-20B, Pythia): biases everywhere, LayerNorm, plain MLP."""
    return common(c) | {"ffn": c.need("intermediate_size"), "biases": "all"} | LAYERNORM | PLAIN


def opt(c: Config) -> Facts:
    """OPTConfig: biases everywhere, learned positions with two rows of padding, tied embeddings."""
    if c.get("word_embed_proj_dim") not in (None, c.get("hidden_size")):
        c.fail("config-layers", "embeddings narrower than the layers are not known", "write the model as `graph:`")
    positions = {"rotary": False, "learned_positions": c.need("max_position_embeddings") + 2}
    return common(c, tied=True) | {"ffn": c.need("ffn_dim"), "biases": "all"} | LAYERNORM | PLAIN | positions


def bloom(c: Config) -> Facts:
    """BloomConfig: biases everywhere, ALiBi, tied embeddings; the norm of the embeddings is left out."""
    hidden = c.need("hidden_size", "n_embed")
    return {
        "layers": c.need("n_layer", "num_hidden_layers"), "hidden": hidden, "heads": c.need("n_head", "num_attention_heads"),
        "ffn": 4 * hidden, "vocab": c.need("vocab_size"), "biases": "all", "rotary": False,
        "tied_embeddings": c.flag("tie_word_embeddings", default=True),
    } | LAYERNORM | PLAIN  # fmt: skip


def falcon(c: Config) -> Facts:
    """FalconConfig: one key and value head, or `num_kv_heads` in the new architecture; plain MLP, tied embeddings."""
    hidden, heads = c.need("hidden_size"), c.need("num_attention_heads", "n_head")
    grouped = c.get("num_kv_heads", "n_head_kv") if c.flag("new_decoder_architecture") else None
    return {
        "layers": c.need("num_hidden_layers", "n_layer"), "hidden": hidden, "heads": heads,
        "kv_heads": grouped or (1 if c.flag("multi_query", default=True) else heads), "vocab": c.need("vocab_size"),
        "ffn": c.get("ffn_hidden_size") or 4 * hidden, "biases": "all" if c.flag("bias") else "none",
        "rotary": not c.flag("alibi"), "tied_embeddings": c.flag("tie_word_embeddings", default=True),
    } | LAYERNORM | PLAIN  # fmt: skip


def mpt(c: Config) -> Facts:
    """MPTConfig: LayerNorm without bias, plain MLP, ALiBi, tied embeddings."""
    hidden, attention = c.need("d_model"), c.part("attn_config")
    facts: Facts = {
        "layers": c.need("n_layers"), "hidden": hidden, "heads": c.need("n_heads"), "kv_heads": attention.get("kv_n_heads"),
        "ffn": (c.get("expansion_ratio") or 4) * hidden, "vocab": c.need("vocab_size"), "rotary": False,
        "biases": "none" if c.flag("no_bias", default=True) else "all",
        "tied_embeddings": c.flag("tie_word_embeddings", default=True),
    }  # fmt: skip
    return facts | PLAIN


READERS: Mapping[str, Callable[[Config], Facts]] = MappingProxyType({
    "llama": llama, "mistral": llama, "ministral": llama, "granite": llama, "smollm3": llama, "seed_oss": llama,
    "internlm": internlm, "internlm2": internlm, "internlm3": llama, "baichuan": baichuan, "ernie4_5": llama,
    "qwen": qwen, "qwen2": qwen2, "qwen3": qwen3, "gemma": gemma, "gemma2": gemma2, "gemma3": gemma3, "gemma3_text": gemma3,
    "qwen2_vl": qwen2, "qwen2_vl_text": qwen2, "qwen2_5_vl": qwen2, "qwen2_5_vl_text": qwen2, "qwen3_vl_text": qwen3,
    "phi": phi, "phi3": phi3, "nemotron": nemotron, "cohere": cohere, "cohere2": cohere, "olmo2": olmo2, "olmo3": olmo2,
    "starcoder2": starcoder2, "chatglm": chatglm, "glm": glm4, "glm4": glm4, "gpt2": gpt2, "gpt_bigcode": gpt_bigcode,
    "gptj": gptj, "gpt_neox": gpt_neox, "opt": opt, "bloom": bloom, "falcon": falcon, "mpt": mpt,
})  # fmt: skip
