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

    length = seq_len or int(job.get("seq_len") or DEFAULT_SEQ_LEN)
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
        "block_types": [
            {
                "name": t.name,
                "count": int(n),
                "parameters": t.dense_params + t.expert_params,
                "expert_parameters": t.expert_params,
            }
            for t, n in zip(model.types, model.count_Y, strict=True)
        ],
    }


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
    blocks = [[t["name"], f"{t['count']:,}", amount(t["parameters"]), amount(t["expert_parameters"])] for t in s["block_types"]]
    tied = [f"  tied: {' = '.join(pair)}" for pair in s["tied"]]
    return "\n".join(
        [
            s["name"] + ("   hypothetical" if s["hypothetical"] else ""),
            "",
            *table(rows, "<><"),
            "",
            *table([["block", "count", "parameters", "in experts"], *blocks], "<>>>"),
            *tied,
        ]
    )
