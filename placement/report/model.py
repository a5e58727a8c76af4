# SPDX-License-Identifier: Apache-2.0
# Y block type
"""`model show`: what a model consists of, as numbers and as a screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.ir import ModelGraph
from placement.report.text import amount, si, table

DEFAULT_SEQ_LEN = 4096


def summary(model: ModelGraph, job: Mapping[str, Any], seq_len: int | None = None) -> dict[str, Any]:
    """Parameters, active parameters, FLOPs a trained token and the blocks by type."""
    from placement.cost.flops import active_params, flops_per_token

    length = seq_len or sequence_length(job)
    return {
        "name": model.name,
        "hypothetical": model.hypothetical,
        "parameters": model.num_params,
        "active_parameters": int(active_params(model)),
        "flop_per_token": float(flops_per_token(model, length)),
        "seq_len": length,
        "hidden": model.hidden,
        "vocab": model.vocab,
        "blocks": model.num_blocks,
        "edges": len(model.src_E),
        "tied": [[model.block_names[i] for i in pair] for pair in model.tied],
        "block_types": block_types(model, length),
    }


def sequence_length(job: Mapping[str, Any]) -> int:
    """The model file's own sequence length; job defaults are text, and errors in them are reported where a job is read."""
    text = str(job.get("sequence_length", "")).replace(",", "").replace("_", "")
    return int(text) if text.isdecimal() and 0 < len(text) < 10 and int(text) else DEFAULT_SEQ_LEN


def block_types(model: ModelGraph, seq_len: int) -> list[dict[str, Any]]:
    """Each kind of block: how many and which, parameters of one, and training FLOPs of one for a token of the sequence."""
    from placement.cost.flops import block_flops, idle_params
    from placement.hostlist import fold

    blocks: list[list[str]] = [[] for _ in model.types]
    for kind, name in zip(model.type_B.tolist(), model.block_names, strict=True):
        blocks[kind].append(name)
    return [
        {
            "name": t.name,
            "count": len(names),
            "blocks": fold(names),
            "parameters": t.dense_params + t.expert_params,
            "expert_parameters": t.expert_params,
            "active_parameters": t.dense_params + t.expert_params - idle_params(t),
            "flop_per_token": block_flops(t, seq_len),
        }
        for t, names in zip(model.types, blocks, strict=True)
    ]


def screen(model: ModelGraph, s: Mapping[str, Any]) -> str:
    """The text of `model show`."""
    experts = model.experts
    rows = [
        ["parameters", amount(s["parameters"]), f"{s['parameters']:,}"],
        ["active", amount(s["active_parameters"]), f"{s['active_parameters']:,} a token"],
        ["training", si(s["flop_per_token"], "FLOP"), f"a token, at sequences of {s['seq_len']:,}"],
        ["hidden", f"{s['hidden']:,}", f"vocabulary {s['vocab']:,}"],
    ]
    if experts:
        rows.append(["experts", f"{experts.num:,}", f"{experts.topk} a token, ffn {experts.ffn:,}"])
    blocks = [[t["name"], f"{t['count']:,}", *_amounts(t), t["blocks"]] for t in s["block_types"]]
    tied = [f"  tied: {' = '.join(pair)}" for pair in s["tied"]]
    return "\n".join(
        [
            s["name"] + ("   hypothetical" if s["hypothetical"] else ""),
            "",
            *table(rows, "<><"),
            "",
            *table([["block", "count", "parameters", "active", "FLOP a token", "blocks"], *blocks], "<>>>><"),
            *tied,
        ]
    )


def _amounts(block: Mapping[str, Any]) -> list[str]:
    """Parameters, active parameters and FLOPs of one block."""
    return [amount(block["parameters"]), amount(block["active_parameters"]), si(block["flop_per_token"], "").strip()]
