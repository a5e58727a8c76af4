# SPDX-License-Identifier: Apache-2.0
"""JSON Schema of plan.json: what other programs may rely on. Keys that are not listed may appear within a major version."""

from __future__ import annotations

from typing import Any

from placement.ir import MEMORY, PARTS, RECOMPUTE, SCHEDULES, SHARDING

_COUNT = {"type": "integer", "minimum": 0}
_SIZE = {"type": "integer", "minimum": 1}
_SECONDS = {"type": "number", "minimum": 0}
_TEXT = {"type": "string"}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def _record(properties: dict[str, Any], *, optional: tuple[str, ...] = (), about: str = "") -> dict[str, Any]:
    required = sorted(k for k in properties if k not in optional)
    out: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return out | ({"description": about} if about else {})


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values}


def _strategy() -> dict[str, Any]:
    degrees = ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "pp", "vpp", "micro_batch", "num_microbatches")
    choices = {"schedule": SCHEDULES, "recompute": RECOMPUTE, "sharding": SHARDING}
    return _record(dict.fromkeys(degrees, _SIZE) | {k: {"enum": list(v)} for k, v in choices.items()})


def _cost() -> dict[str, Any]:
    return _record(
        {
            "step_time_s": _SECONDS,
            "tokens_per_s_per_gpu": _SECONDS,
            "mfu": {"type": "number", "minimum": 0, "description": "Model FLOPs over dense peak of the matmul precision"},
            "breakdown_s": _record(
                {part: {"type": "number"} for part in PARTS}, about="Parts of the step; they sum to step_time_s"
            ),
            "memory_bytes": _record(dict.fromkeys(MEMORY, _SECONDS), about="Fullest GPU, by kind"),
            "bytes_tier": _map(_map(_SECONDS)),
        },
        optional=("bytes_tier",),
    )


def plan_schema() -> dict[str, Any]:
    """The schema, in the order in which people read a plan."""
    tier = _record({"lower_bytes": _SECONDS, "plan_bytes": _SECONDS, "method": _TEXT})
    chunk = _record({"chunk": _COUNT, "layers": {"type": "array", "items": _TEXT}})
    stage = _record(
        {
            "stage": _COUNT, "chunks": {"type": "array", "items": chunk}, "recompute": {"enum": list(RECOMPUTE)},
            "busy_s": _SECONDS, "memory_bytes": _map(_SECONDS), "hosts": _TEXT,
        }
    )  # fmt: skip
    search = _record({"enumerated": _COUNT, "feasible": _COUNT, "scored": _COUNT, "rejected": _map(_COUNT)})
    return _record(
        {
            "format_version": {
                "type": "string",
                "pattern": r"^[0-9]+\.[0-9]+$",
                "description": "Readers refuse a major version they do not know",
            },
            "tool": _record({"name": _TEXT, "version": _TEXT}),
            "digest": _DIGEST,
            "inputs": _map(_DIGEST),
            "cluster": _record(
                {
                    "name": _TEXT,
                    "digest": _DIGEST,
                    "gpus": _COUNT,
                    "usable_gpus": _COUNT,
                    "tiers": {"type": "array", "items": _TEXT},
                }
            ),
            "model": _record({"name": _TEXT, "digest": _DIGEST, "layers": _SIZE, "parameters": _COUNT}),
            "job": {"type": "object"},
            "efficiency": _record({"digest": _DIGEST, "provenance": _TEXT}),
            "strategy": _strategy(),
            "world_size": _SIZE,
            "spare_gpus": _COUNT,
            "predicted": _cost(),
            "baseline": _cost(),
            "bound": _record({"step_time_s": _SECONDS, "gap": {"type": ["number", "null"]}, "proven": {"type": "boolean"}}),
            "certificate": _record({"tiers": _map(tier), "gap": {"type": "number"}}),
            "search": search,
            "stages": {"type": "array", "items": stage, "minItems": 1},
            "spares": {"type": "object"},
            "warnings": {"type": "array", "items": _TEXT},
        },
        about="A placement plan",
    )
