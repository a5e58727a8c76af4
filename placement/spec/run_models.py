# SPDX-License-Identifier: Apache-2.0
"""The model of a row of measured runs: the fields of the short form under their many names, checked against its own count."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from placement.cost.flops import active_params, total_params
from placement.ir import ModelGraph, Pointwise
from placement.spec.fields import Schema
from placement.spec.model import RUN_KEYS, lower_short
from placement.spec.model_types import LinearAttention, Mamba, Mla, Transformer
from placement.spec.run_fields import CannotExpressError, mapping, positive

ALIASES = MappingProxyType({  # names of Megatron-LM and of Hugging Face configurations
    "route_groups_limit": "groups_limit", "moe_layer_freq": "moe_every", "moe_layer_frequency": "moe_every",
    "interleave_moe_layer_step": "moe_every", "num_experts": "experts", "moe_topk": "topk", "top_k": "topk",
    "shared_expert_ffn": "shared_ffn", "hybrid_override_pattern": "pattern", "hybrid_pattern": "pattern",
    "hybrid_layer_pattern": "pattern", "layer_pattern": "pattern",
})  # fmt: skip
ROUTED = (
    "experts", "topk", "moe_ffn", "shared_experts", "shared_ffn", "dense_first_layers", "moe_every", "groups_limit",
    "shared_gate",
)  # fmt: skip
PARTS: Mapping[str, type[Schema]] = MappingProxyType({"mla": Mla, "linear_attention": LinearAttention, "mamba": Mamba})
MIXER = MappingProxyType({  # shapes of Mamba-2 under the names of Megatron-LM and of Nemotron-H
    "heads": ("mamba_num_heads", "mamba_heads", "num_heads", "nheads"), "head_dim": ("mamba_head_dim", "headdim"),
    "groups": ("mamba_num_groups", "mamba_n_groups", "n_groups", "num_groups"),
    "state": ("mamba_state_dim", "ssm_state_size", "state_dim", "state_size", "d_state"), "conv": ("conv_kernel", "d_conv"),
})  # fmt: skip
FAR, ROUGH = 0.10, 0.02  # the counted parameters of a model are not those of the row; are only roughly those


def model_of(spec: Mapping[str, Any], row: Mapping[str, Any], models: dict[str, ModelGraph]) -> tuple[ModelGraph, bool]:
    """The graph, and whether its parameters are only roughly those that the row gives.

    Raises CannotExpressError where they are far off: then the row describes what its fields, as known here, do not say.
    """
    fields = _fields(spec, row)
    key = repr(sorted(fields.items(), key=lambda kv: kv[0]))
    if key not in models:
        text = {k: ({a: _text(b) for a, b in v.items()} if isinstance(v, Mapping) else _text(v)) for k, v in fields.items()}
        graph = lower_short(text, str(spec.get("key") or "model"))
        models[key] = graph if spec.get("gated_mlp", True) or not spec.get("tied_embeddings") else without_rotation(graph)
    return models[key], _checked(models[key], spec) > ROUGH


def without_rotation(model: ModelGraph) -> ModelGraph:
    """GPT-3 and its kin (plain MLP, tied embeddings) have learned positions or ALiBi: no rotary kernels."""
    types = tuple(
        dataclasses.replace(t, ops=tuple(o for o in t.ops if not (isinstance(o, Pointwise) and o.kind == "rope")))
        for t in model.types
    )
    return dataclasses.replace(model, types=types)


def _fields(spec: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    known = {ALIASES.get(k, k): v for k, v in spec.items() if v is not None}
    known |= {k: v for k, v in spec.items() if k in Transformer.model_fields and v is not None}
    fields = {k: v for k, v in known.items() if k in Transformer.model_fields}
    for key, schema in PARTS.items():
        if isinstance(fields.get(key), Mapping):
            fields[key] = {k: v for k, v in fields[key].items() if k in schema.model_fields and v is not None}
    if spec.get("kind") == "dense":
        fields = {k: v for k, v in fields.items() if k not in ROUTED}
    if fields.get("experts") and "ffn" in fields:
        fields.setdefault("moe_ffn", fields["ffn"])  # where all layers are routed, some tables give one width
    if "w/o MTP" in str(row.get("notes")):
        fields.pop("mtp_layers", None)
    return fields | _hybrid(spec, fields)


def _hybrid(spec: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A pattern of half layers with the shapes of its mixers, under whatever names the row has for them."""
    pattern = fields.get("pattern")
    if not isinstance(pattern, str):
        return {}
    given = mapping(spec.get("mamba"))
    mixer = {own: next((g[n] for g in (given, spec) for n in (own, *names) if _is_shape(g, n, own, given)), None)
             for own, names in MIXER.items()}  # fmt: skip
    mamba = {"mamba": {k: v for k, v in mixer.items() if v is not None}} if "M" in pattern else {}
    return {"pattern": re.sub(r"[^M*E-]", "", pattern), "layers": len(pattern), **mamba}


def _is_shape(source: Mapping[str, Any], name: str, own: str, given: Mapping[str, Any]) -> bool:
    """Whether a source has a shape of a mixer: outside of `mamba:`, `heads` and `head_dim` are those of attention."""
    return positive(source.get(name)) and (source is given or name != own)


def _checked(model: ModelGraph, spec: Mapping[str, Any]) -> float:
    """How far the parameters of a model are from those that its row gives, total or active, as a fraction."""
    off = 0.0
    for key, count in (("params_total_b", total_params), ("params_active_b", active_params)):
        said = spec.get(key)
        if not positive(said):
            continue
        found = count(model, mtp=False) / 1e9
        # authors round, and count active parameters with or without embeddings
        slack = 0.05 + (2 * model.vocab * model.hidden / 1e9 if key == "params_active_b" else 0.0)
        off = max(off, max(0.0, abs(found - said) - slack) / said)
        if off > FAR:
            raise CannotExpressError(
                f"its fields give {found:.1f} B {key[7:-2]} parameters, the row says {said:g} B{_unread(spec)}"
            )
    return off


def _unread(spec: Mapping[str, Any]) -> str:
    known = {*Transformer.model_fields, *RUN_KEYS, *ALIASES, "gated_mlp"}
    left = [k for k, v in spec.items() if k not in known and v is not None]
    return f"; not read: {', '.join(left[:6])}" if left else ""


def _text(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
