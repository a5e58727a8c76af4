# SPDX-License-Identifier: Apache-2.0
"""`placement model import`: a Hugging Face `config.json` -> the text of a model file.

Field names are those of the configuration classes of transformers 4.57 (`LlamaConfig`, `MixtralConfig`, `Qwen3MoeConfig` ...).
What a configuration class fixes without a field (biases of Qwen2, query norms of Qwen3) is stated here with the class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from placement.cost.flops import active_params, total_params
from placement.diag import Diagnostic, InputError, Label, Span
from placement.spec.model import lower_short

MAX_BYTES = 4 << 20  # real ones are a few kB

Facts = dict[str, Any]


@dataclass
class Config:
    """A configuration that is being read: collects what is missing, and remarks for the head comment."""

    tree: Mapping[str, Any]
    file: str
    found: list[Diagnostic] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def need(self, *keys: str) -> int:
        """The whole number at the first of `keys` that is given; a finding if there is none."""
        value = self.get(*keys)
        if value is None:
            self.fail("config-missing", f"the configuration has no `{keys[0]}`", f"add `{keys[0]}`, a whole number")
        return value or 1

    def get(self, *keys: str) -> int | None:
        """The whole number at the first of `keys` that is given, or None."""
        for key in keys:
            value = self.tree.get(key)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
            if value is not None:
                self.fail("config-number", f"`{key}` is not a whole number: {str(value)[:40]}", "")
                return 1
        return None

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.tree.get(key)
        return default if value is None else bool(value)

    def fail(self, name: str, message: str, advice: str) -> None:
        self.found.append(Diagnostic(f"model/{name}", message, primary=Label(Span(self.file)), help=advice))


def import_config(path: str | Path, name: str = "") -> str:
    """Text of a model file for a Hugging Face `config.json`. Raises InputError with every finding."""
    file = Path(path)
    tree = _read(file)
    return model_text(tree, name or _name(tree, file), str(file))


def model_text(tree: Mapping[str, Any], name: str, file: str = "config.json") -> str:
    """Text of a model file for a parsed configuration. Raises InputError with every finding."""
    config = Config(_language(tree), file)
    if "vision_config" in tree:
        config.remarks.append("The vision tower of the configuration is not here: add it as `vision:`.")
    kind = str(config.tree.get("model_type", ""))
    if kind not in READERS:
        known = ", ".join(f"`{k}`" for k in sorted(READERS))
        message = f"model type `{kind[:40]}` cannot be imported" if kind else "the configuration has no `model_type`"
        config.fail("config-type", message, f"known: {known}; others can be written by hand as `transformer:`")
        raise InputError(config.found)
    facts = READERS[kind](config)
    if config.found:
        raise InputError(config.found)
    return _text(facts, name, kind, config)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refuse(file, "no-such-file", "there is no such file") from None
    except OSError as error:
        raise _refuse(file, "unreadable-file", f"the file cannot be read: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_BYTES:
        raise _refuse(file, "file-too-large", f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        tree = json.loads(data)
    except json.JSONDecodeError as error:
        message = f"not valid JSON: {error.msg[:1].lower()}{error.msg[1:]}"
        raise _refuse(file, "json-syntax", message, error.lineno, error.colno) from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise _refuse(file, "json-syntax", "not valid JSON: bad encoding, nesting or number") from None
    if not isinstance(tree, dict):
        raise _refuse(file, "not-a-mapping", "a configuration is a JSON object")
    return tree


def _refuse(file: Path, name: str, message: str, line: int = 1, column: int = 1) -> InputError:
    return InputError([Diagnostic(f"input/{name}", message, primary=Label(Span(str(file), line, column, column + 1)))])


def _name(tree: Mapping[str, Any], file: Path) -> str:
    """Last part of the name that the configuration gives itself, else its folder, else its file name."""
    given = str(tree.get("_name_or_path") or "").rstrip("/").rsplit("/", 1)[-1]
    folder = file.resolve().parent.name
    return (given or (folder if file.name == "config.json" else file.stem) or "model").lower()


def _language(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's part of a multimodal configuration."""
    text = tree.get("text_config")
    return text if isinstance(text, Mapping) else tree


# ----------------------------------------------------------------------------------------------- families


def _llama(c: Config) -> Facts:
    """LlamaConfig, MistralConfig: RMSNorm, gated MLP, rotary positions; biases only where the fields say so."""
    facts = _common(c) | {"ffn": c.need("intermediate_size")}
    if c.flag("attention_bias"):
        facts["biases"] = "all" if c.flag("mlp_bias") else "qkv"
    if c.get("sliding_window"):
        facts["sliding_window"] = c.get("sliding_window")
    return facts


def _qwen2(c: Config) -> Facts:
    """Qwen2Config: query, key and value have biases; the sliding window is off unless `use_sliding_window`."""
    facts = _common(c) | {"ffn": c.need("intermediate_size"), "biases": "qkv"}
    return facts | _qwen_window(c)


def _qwen3(c: Config) -> Facts:
    """Qwen3Config: normalised queries and keys, no biases unless `attention_bias`."""
    facts = _common(c) | {"ffn": c.need("intermediate_size"), "qk_norm": True}
    return facts | ({"biases": "qkv"} if c.flag("attention_bias") else {}) | _qwen_window(c)


def _qwen_window(c: Config) -> Facts:
    if c.flag("use_sliding_window"):
        c.remarks.append("use_sliding_window with max_window_layers is not here: every layer sees the whole sequence.")
    return {}


def _mixtral(c: Config) -> Facts:
    """MixtralConfig: every layer is routed, `intermediate_size` is that of one expert."""
    window = {"sliding_window": c.get("sliding_window")} if c.get("sliding_window") else {}
    experts = {"experts": c.need("num_local_experts"), "topk": c.need("num_experts_per_tok")}
    return _common(c) | experts | {"moe_ffn": c.need("intermediate_size")} | window


def _qwen2_moe(c: Config) -> Facts:
    """Qwen2MoeConfig: one gated shared expert of its own width beside the routed ones."""
    shared = {"shared_ffn": c.need("shared_expert_intermediate_size"), "shared_gate": True}
    return _common(c) | {"biases": "qkv"} | _qwen_experts(c) | shared


def _qwen3_moe(c: Config) -> Facts:
    """Qwen3MoeConfig: normalised queries and keys, no shared expert."""
    return _common(c) | {"qk_norm": True} | _qwen_experts(c)


def _qwen3_next(c: Config) -> Facts:
    """Qwen3NextConfig: gated DeltaNet in three layers of four, a gate after softmax attention, a gated shared expert."""
    linear = {
        "key_heads": c.need("linear_num_key_heads"),
        "value_heads": c.need("linear_num_value_heads"),
        "key_dim": c.need("linear_key_head_dim"),
        "value_dim": c.need("linear_value_head_dim"),
    }
    shared = {"shared_ffn": c.need("shared_expert_intermediate_size"), "shared_gate": True}
    hybrid = {"full_attention_every": c.get("full_attention_interval") or 4, "linear_attention": linear, "attention_gate": True}
    return _common(c) | {"qk_norm": True} | _qwen_experts(c) | shared | hybrid


def _qwen_experts(c: Config) -> Facts:
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


def _deepseek(c: Config) -> Facts:
    """DeepseekV2Config, DeepseekV3Config: latent attention, dense first layers, shared experts, prediction modules."""
    query = {"q_lora_rank": c.get("q_lora_rank")} if c.get("q_lora_rank") else {}
    widths = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    facts = _common(c) | {"mla": query | {key: c.need(key) for key in widths}} | _deepseek_experts(c)
    return {key: value for key, value in facts.items() if key not in ("kv_heads", "head_dim")}


def _glm4_moe(c: Config) -> Facts:
    """Glm4MoeConfig: the experts of DeepSeek-V3 with grouped-query attention."""
    facts = _common(c) | _deepseek_experts(c) | {"biases": "qkv" if c.flag("attention_bias") else "none"}
    return facts | ({"qk_norm": True} if c.flag("use_qk_norm") else {})


def _deepseek_experts(c: Config) -> Facts:
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


def _gpt2(c: Config) -> Facts:
    """GPT2Config: LayerNorm, GELU MLP of four times the width, biases everywhere, learned positions, tied embeddings."""
    hidden = c.need("n_embd", "hidden_size")
    return {
        "layers": c.need("n_layer", "num_hidden_layers"),
        "hidden": hidden,
        "heads": c.need("n_head", "num_attention_heads"),
        "ffn": c.get("n_inner") or 4 * hidden,
        "gated_mlp": False,
        "biases": "all",
        "norm": "layernorm",
        "rotary": False,
        "learned_positions": c.need("n_positions", "max_position_embeddings"),
        "tied_embeddings": c.flag("tie_word_embeddings", default=True),
        "vocab": c.need("vocab_size"),
    }


def _grok(c: Config) -> Facts:
    """Grok-1 as converted for transformers: norms before and after each half of a layer, tied embeddings."""
    experts = {"experts": c.need("num_experts"), "topk": c.need("num_experts_per_token", "num_experts_per_tok")}
    facts = _common(c) | experts | {"moe_ffn": c.need("intermediate_size"), "post_norms": True}
    return facts | {"tied_embeddings": c.flag("tie_word_embeddings", default=True)}


def _common(c: Config) -> Facts:
    """Fields that most configuration classes share."""
    facts = {"layers": c.need("num_hidden_layers"), "hidden": c.need("hidden_size"), "heads": c.need("num_attention_heads")}
    if c.get("num_key_value_heads"):
        facts["kv_heads"] = c.need("num_key_value_heads")
    if c.get("head_dim"):
        facts["head_dim"] = c.need("head_dim")
    return facts | {"vocab": c.need("vocab_size"), "tied_embeddings": c.flag("tie_word_embeddings")}


READERS: Mapping[str, Callable[[Config], Facts]] = MappingProxyType({
    "llama": _llama, "mistral": _llama, "mixtral": _mixtral, "qwen2": _qwen2, "qwen2_moe": _qwen2_moe, "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe, "qwen3_next": _qwen3_next, "deepseek_v2": _deepseek, "deepseek_v3": _deepseek,
    "kimi_k2": _deepseek, "glm4_moe": _glm4_moe, "gpt2": _gpt2, "grok-1": _grok,
})  # fmt: skip


# --------------------------------------------------------------------------------------------------- text


def _text(facts: Facts, name: str, kind: str, config: Config) -> str:
    model = lower_short({key: value for key, value in facts.items() if value is not None}, name)
    count = f"# {total_params(model, mtp=False):,} parameters, {active_params(model, mtp=False):,} active for a token"
    modules = (
        f"; prediction modules have {model.num_params - total_params(model, mtp=False):,} more"
        if facts.get("mtp_layers")
        else ""
    )
    head = [
        f"# Imported from a Hugging Face configuration of type {kind}.",
        f"{count}{modules}.",
        *(f"# {remark}" for remark in config.remarks),
    ]
    body = [f"name: {_scalar(name)}", "", "transformer:", *_lines(facts, "  ")]
    job = ["", "# job:", "#   sequence_length: 4096", "#   global_batch: 1024", "#   precision: bf16", ""]
    return "\n".join([*head, *body, *job])


def _lines(facts: Facts, indent: str) -> list[str]:
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        elif value is not None and value != _DEFAULTS.get(key):
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


_DEFAULTS = MappingProxyType({
    "tied_embeddings": False, "dense_first_layers": 0, "shared_experts": 0, "mtp_layers": 0, "biases": "none", "moe_every": 1,
})  # fmt: skip


def _scalar(value: Any) -> str:
    """A YAML scalar: plain where that is safe, else in double quotes (JSON strings are YAML)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text) and text.lower() not in ("null", "~") else json.dumps(text)
