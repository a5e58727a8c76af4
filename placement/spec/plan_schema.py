# SPDX-License-Identifier: Apache-2.0
"""JSON Schema (draft-07) of plan.json. Readers must ignore properties that they do not know: minor versions add some."""

from __future__ import annotations

from typing import Any

from placement.ir import MEMORY, PARTS, RECOMPUTE, SCHEDULES, SHARDING, State

Schema = dict[str, Any]

_COUNT: Schema = {"type": "integer", "minimum": 0}
_DEGREE: Schema = {"type": "integer", "minimum": 1}
_REAL: Schema = {"type": "number"}
_AMOUNT: Schema = {"type": "number", "minimum": 0}
_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}


def plan_schema() -> Schema:
    """The schema of plan.json and of `placement plan --format json`."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "placement plan",
        "description": "A placement plan: what was decided, what it is predicted to cost, and how far it is from the bound.",
    } | _object(
        format_version={"type": "string", "pattern": r"^1\.[0-9]+$"},
        tool=_object(name=_TEXT, version=_TEXT),
        digest=_SHA256 | {"description": "SHA-256 of this file without `digest` and `files`, and of the tables of plan.bin."},
        files=_map(_object(bytes=_COUNT, sha256=_SHA256)),
        inputs=_map(_SHA256) | {"description": "SHA-256 of each file in `inputs/`."},
        cluster=_object(
            name=_TEXT, digest=_SHA256, gpus=_COUNT, usable_gpus=_COUNT, gpus_per_node=_DEGREE, tiers=_list(_TEXT),
            hbm_bytes=_AMOUNT,
            nodes=_object(**{s.name.lower(): _COUNT for s in State}),
        ),
        model=_object(name=_TEXT, digest=_SHA256, layers=_DEGREE, parameters=_COUNT),
        job={"type": "object", "description": "The job as it was compiled, every default written out."},
        efficiency=_object(digest=_SHA256, provenance=_TEXT),
        strategy=_strategy(),
        world_size=_DEGREE | {"description": "Ranks of the job: GPUs at work."},
        spare_gpus=_COUNT | {"description": "Usable GPUs without a rank."},
        local_rank_is_slot=_FLAG | {"description": "On every host, local rank = GPU slot: launchers need no shim for it."},
        whole_nodes=_FLAG | {"description": "Every host of the plan gives all its GPUs."},
        predicted=_cost(),
        uncertainty=_uncertainty(),
        baseline=_cost() | {"description": "The same strategy in the launcher's default order."},
        bound=_object(step_time_s=_AMOUNT, gap={"type": ["number", "null"]}, proven=_FLAG),
        certificate=_object(tiers=_map(_bounded()), gap={"type": "number"},
            joint_bytes=_AMOUNT | {"description": "Lower bound of the bytes of all tiers together; 0: none."},
            joint_method=_TEXT | {"description": "What gave it: each tier, coupled sizes, shifted weights, joint entropy."},
            step_time_s=_AMOUNT | {"description": "No placement of these stages takes less, by prediction."},
            step_gap={"type": "number"}, kept_gap={"type": "number"}, kept_joint_bytes=_AMOUNT,
            cell=_COUNT | {"description": "Ranks that share an NVLink domain, as `kept_bytes` has it."},
            whole_cell=_COUNT | {"description": "Ranks whose groups would all like to share an NVLink domain."},
            parted_cells=_COUNT | {"description": "Blocks of `whole_cell` ranks that leave their NVLink domain."},
        ),
        search=_object(
            enumerated=_COUNT, feasible=_COUNT, scored=_COUNT, stopped_by=_TEXT, rejected=_map(_COUNT),
            runners_up=_list(_object(strategy=_strategy(), step_time_s=_AMOUNT)),
        ),
        stages=_list(
            _object(
                stage=_COUNT, recompute={"enum": list(RECOMPUTE)}, busy_s=_AMOUNT, memory_bytes=_memory(), hosts=_TEXT,
                chunks=_list(_object(chunk=_COUNT, layers=_list(_TEXT))),
            )
        ),
        traffic=_list(_object(axis=_TEXT, kind={"enum": ["ring", "path", "clique"]}, bytes_P=_list(_AMOUNT)))
        | {"description": "Bytes that one rank of each stage sends along an axis in a step, one direction."},
        spares=_object(
            gpus=_COUNT, reserved_gpus=_COUNT, hosts=_TEXT, reserved_hosts=_TEXT, domains_by_spare_gpus=_map(_COUNT),
        ),
        warnings=_list(_TEXT),
    )  # fmt: skip


def _strategy() -> Schema:
    degrees = ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "pp", "vpp", "micro_batch", "num_microbatches")
    choices = {"schedule": SCHEDULES, "recompute": RECOMPUTE, "sharding": SHARDING}
    return _object(**dict.fromkeys(degrees, _DEGREE), **{name: {"enum": list(values)} for name, values in choices.items()})


def _uncertainty() -> Schema:
    body = _object(low_s=_AMOUNT, high_s=_AMOUNT, extrapolates=_list(_TEXT))
    told = "Eight measured steps of ten lie between; in which respects nobody measured. Null: constants without intervals."
    return body | {"type": ["object", "null"], "description": told}


def _cost() -> Schema:
    return _object(
        step_time_s=_AMOUNT, tokens_per_s_per_gpu=_AMOUNT,
        mfu=_AMOUNT | {"description": "Model FLOPs a second over the dense bf16 peak."},
        breakdown_s=_object(**dict.fromkeys(PARTS, _AMOUNT)),
        memory_bytes=_memory() | {"description": "Of the fullest GPU."}, peak_memory_bytes=_AMOUNT, fullest_stage=_COUNT,
        bytes_tier=_map(_map(_AMOUNT)) | {"description": "Axis -> tier -> bytes a step that leave groups of the tier, summed."},
    )  # fmt: skip


def _memory() -> Schema:
    return _object(**dict.fromkeys(MEMORY, _AMOUNT))


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


def _bounded() -> Schema:
    """A tier of the certificate; `witness` where a profile gave the bound."""
    tier = _object(lower_bytes=_AMOUNT, plan_bytes=_AMOUNT, method=_TEXT)
    tier["properties"]["kept_bytes"] = _AMOUNT
    witness = _object(marks=_list(_COUNT), price_at=_COUNT)
    witness["properties"] |= {"unit": _COUNT, "share": _AMOUNT, "tolls": _list(_REAL), "prices": _list(_REAL)}
    tier["properties"]["witness"] = witness | {"description": "How the profile was made, for whoever derives it again."}
    return tier


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}
