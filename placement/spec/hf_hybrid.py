# SPDX-License-Identifier: Apache-2.0
"""Models with layers of fixed state (Mamba-2, linear attention): a Hugging Face configuration -> fields of `transformer:`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from placement.spec.hf_config import Config, Facts, common


def nemotron_h(c: Config) -> Facts:
    """NemotronHConfig: a letter for each layer, which is a mixer, attention, a plain MLP or experts."""
    pattern = str(c.tree.get("hybrid_override_pattern") or "")
    if not pattern or set(pattern) - set("M*-E"):
        c.fail("config-layers", "`hybrid_override_pattern` is no text of `M`, `*`, `-`, `E`", "write the model as `graph:`")
    facts = common(c) | {"pattern": pattern, "layers": len(pattern), "gated_mlp": False, "rotary": False}
    if c.get("attention_head_dim"):
        facts["head_dim"] = c.need("attention_head_dim")
    mixer = _mixer(c, "mamba_num_heads", "mamba_head_dim", "n_groups", "ssm_state_size", "conv_kernel")
    dense = {"ffn": c.need("intermediate_size")} if "-" in pattern else {}
    return facts | mixer | dense | (_nemotron_experts(c) if "E" in pattern else {})


def _nemotron_experts(c: Config) -> Facts:
    routed = {"experts": c.need("n_routed_experts"), "topk": c.need("num_experts_per_tok")}
    shared = (c.get("n_shared_experts") or 0) * (
        c.get("moe_shared_expert_intermediate_size") or c.need("moe_intermediate_size")
    )
    return routed | {"moe_ffn": c.need("moe_intermediate_size")} | ({"shared_ffn": shared} if shared else {})


def mamba2(c: Config) -> Facts:
    """Mamba2Config: mixers alone."""
    layers, heads = c.need("num_hidden_layers"), c.need("num_heads")
    shape = {"layers": layers, "hidden": c.need("hidden_size"), "heads": heads, "head_dim": c.need("head_dim")}
    mixer = _mixer(c, "num_heads", "head_dim", "n_groups", "state_size", "conv_kernel")
    return (
        shape
        | {"vocab": c.need("vocab_size"), "tied_embeddings": c.flag("tie_word_embeddings"), "pattern": "M" * layers}
        | mixer
    )


def bamba(c: Config) -> Facts:
    """BambaConfig: a gated MLP after each mixer or attention."""
    at = c.tree.get("attn_layer_indices") or []
    layers = c.need("num_hidden_layers")
    pattern = "".join("*-" if i in at else "M-" for i in range(layers))
    return common(c) | {"layers": 2 * layers, "pattern": pattern, "ffn": c.need("intermediate_size")} | _mamba_mixer(c)


def granite_hybrid(c: Config) -> Facts:
    """GraniteMoeHybridConfig: experts and a shared MLP, or that alone, after each mixer or attention."""
    kinds, experts = c.tree.get("layer_types") or [], c.get("num_local_experts") or 0
    if not isinstance(kinds, list) or len(kinds) != c.need("num_hidden_layers"):
        c.fail("config-layers", "`layer_types` does not name every layer", "write the model as `graph:`")
    pattern = "".join(("*" if kind == "attention" else "M") + ("E" if experts else "-") for kind in kinds)
    shared = c.need("shared_intermediate_size")
    wide = {"shared_ffn": shared, "experts": experts, "moe_ffn": c.need("intermediate_size")} if experts else {"ffn": shared}
    if experts:
        wide["topk"] = c.need("num_experts_per_tok")
    mixer = _mamba_mixer(c) if "M" in pattern else {}
    return common(c, tied=True) | {"layers": len(pattern), "pattern": pattern} | wide | mixer


def minimax(c: Config) -> Facts:
    """MiniMaxConfig (Text-01, M1): lightning attention with an output gate, but softmax in every n-th layer; routed."""
    kinds = c.tree.get("attn_type_list") or [int(k == "full_attention") for k in c.tree.get("layer_types") or []]
    every = (kinds.index(1) + 1) if isinstance(kinds, list) and 1 in kinds else 0
    if not every or kinds != [int((i + 1) % every == 0) for i in range(len(kinds))]:
        c.fail("config-layers", "the kinds of attention have no period", "write the model as `graph:`")
    heads, width = c.need("num_attention_heads"), c.need("head_dim")
    linear = {"key_heads": heads, "value_heads": heads, "key_dim": width, "value_dim": width}
    routed = {
        "experts": c.need("num_local_experts"),
        "topk": c.need("num_experts_per_tok"),
        "moe_ffn": c.need("intermediate_size"),
    }
    kind = {"full_attention_every": every, "linear_attention": linear} if every > 1 else {}
    return common(c) | routed | kind


def _mamba_mixer(c: Config) -> Facts:
    return _mixer(c, "mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv")


def _mixer(c: Config, heads: str, width: str, groups: str, state: str, conv: str) -> Facts:
    names = {"heads": heads, "head_dim": width, "groups": groups, "state": state, "conv": conv}
    return {"mamba": {key: c.need(name) for key, name in names.items()}}


READERS: Mapping[str, Callable[[Config], Facts]] = MappingProxyType({
    "nemotron_h": nemotron_h, "mamba2": mamba2, "bamba": bamba, "granitemoehybrid": granite_hybrid, "minimax": minimax,
    "minimax_text_01": minimax,
})  # fmt: skip
