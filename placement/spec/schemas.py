# SPDX-License-Identifier: Apache-2.0
"""JSON Schema, draft-07, of the input files and of plan.json, for editors and for other programs.

Draft-07 because the YAML language server reads up to that: no `prefixItems`, definitions under `definitions`.
"""

from __future__ import annotations

from typing import Any

KINDS = ("topology", "model", "job", "comms", "plan")
DRAFT = "http://json-schema.org/draft-07/schema#"


def schema(kind: str) -> dict[str, Any]:
    """The schema of one kind of file: topology, model, job, comms or plan. Raises KeyError for another kind."""
    made = {"topology": _topology, "model": _model, "job": _job, "comms": _comms, "plan": _plan}[kind]()
    body = _draft07(made)
    assert isinstance(body, dict)
    return {"$schema": DRAFT, "title": f"placement {kind}"} | {k: v for k, v in body.items() if k != "title"}


def _topology() -> dict[str, Any]:
    from placement.spec.topology import Topology

    return Topology.model_json_schema()


def _job() -> dict[str, Any]:
    from placement.spec.job import JobSchema

    return JobSchema.model_json_schema()


def _comms() -> dict[str, Any]:
    from placement.spec.comms import CommsSchema

    return CommsSchema.model_json_schema()


def _model() -> dict[str, Any]:
    """A model file; its `job:` block is a job, whose definitions move in."""
    from placement.spec.model import ModelSpec

    out, job = ModelSpec.model_json_schema(), _job()
    inner = job.pop("$defs", {})
    out["$defs"] = out.get("$defs", {}) | inner | {"JobDefaults": job}
    about = out["properties"]["job"].get("description", "")
    out["properties"]["job"] = {"allOf": [{"$ref": "#/$defs/JobDefaults"}], "description": about}
    return out


def _plan() -> dict[str, Any]:
    from placement.spec.plan_schema import plan_schema

    return plan_schema()


def _draft07(value: Any) -> Any:
    """`$defs` becomes `definitions`; keywords that draft-07 does not know are dropped, generated titles too."""
    if isinstance(value, list):
        return [_draft07(v) for v in value]
    if not isinstance(value, dict):
        return value.replace("#/$defs/", "#/definitions/") if isinstance(value, str) else value
    out = {}
    for key, item in _plain(value).items():
        if key in ("discriminator", "prefixItems") or (key == "title" and isinstance(item, str)):
            continue
        if key == "properties":
            out[key] = {name: _draft07(v) for name, v in item.items()}
        else:
            out["definitions" if key == "$defs" else key] = _draft07(item)
    return out


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """An optional key is one that may be left out: `anyOf: [X, null]` with the default null says just X."""
    choices = value.get("anyOf", [])
    kept = [c for c in choices if c != {"type": "null"}]
    if len(kept) == len(choices) or value.get("default", ...) is not None:
        return value
    rest = {k: v for k, v in value.items() if k not in ("anyOf", "default")}
    return rest | (kept[0] if len(kept) == 1 and "$ref" not in kept[0] else {"anyOf": kept})
