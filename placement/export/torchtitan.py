# SPDX-License-Identifier: Apache-2.0
"""torchtitan: degrees and the module names of every stage.

Its mesh is an arange: rank = tp + TP*(cp + CP*(batch + B*pp)), and in routed layers rank = ep + EP*(efsdp + ...) (0.3.0,
parallel_dims.py), which is the plan's order with etp=1.
"""

from __future__ import annotations

import json
from typing import Any

from placement.diag import Diagnostic, InputError, Severity
from placement.export.case import Case, Export
from placement.export.stage_map import Part, parts, recompute_modes
from placement.export.text import listed

_SCHEDULES = {"1f1b": "1F1B", "interleaved": "Interleaved1F1B", "zb-v": "ZBVZeroBubble", "dualpipev": "DualPipeV"}
_MODULES = {Part.EMBEDDING: ["tok_embeddings"], Part.HEAD: ["norm", "lm_head"]}


def export(case: Case) -> Export:
    """`placement_config.py` (sets a torchtitan config) and `torchtitan.json` (the same for programs)."""
    _refuse(case)
    degrees, modules = _degrees(case), modules_of(case)
    tree = {"plan": case.digest, "parallelism": degrees, "training": _training(case), "module_fqns_per_model_part": modules}
    return Export({
        "README": case.readme(
            "ranks as `placement export --to env` (slurm, torchrun) says; in your config: placement_config.apply(config).",
            "for torchtitan 0.3.0; module names are those of its decoders (tok_embeddings, layers.N, norm, lm_head).",
        ),
        "torchtitan.json": (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode(),
        "placement_config.py": _python(case, degrees, modules),
    }, tuple(_warnings(case)))  # fmt: skip


def modules_of(case: Case) -> list[list[str]]:
    """Module names of every chunk; decoder layers are numbered in the order of the model."""
    found, layer = [], 0
    for chunk in parts(case, "torchtitan"):
        names: list[str] = []
        for part, name in chunk:
            names += _MODULES.get(part) or [f"layers.{layer}" if part is Part.LAYER else name]
            layer += part is Part.LAYER
        found.append(names)
    return found


def _refuse(case: Case) -> None:
    s, found = case.strategy, []
    if s.schedule not in _SCHEDULES:
        found.append(Diagnostic("export/unsupported-schedule", f"torchtitan does not run the schedule {s.schedule}",
                                help=f"allow some of {', '.join(_SCHEDULES)} in the job's `schedules`"))  # fmt: skip
    found += [
        Diagnostic("export/unsupported-axis", f"torchtitan 0.3.0 has no {axis}", help=f"`--pin {axis}=1`")
        for axis in ("etp", "gtp", "egtp")
        if s.size(axis) > 1
    ]
    if s.sharding == "none" and s.cp * s.tp % s.ep:
        found.append(Diagnostic("export/unsupported-axis", "torchtitan folds experts over tp, cp and sharded replicas, and "
                                "this plan shards nothing", help="`--pin sharding=fsdp`"))  # fmt: skip
    if found:
        raise InputError(found)


def _warnings(case: Case) -> list[Diagnostic]:
    found, s, modes = [], case.strategy, recompute_modes(case)
    if s.sharding in ("zero1", "zero2"):
        found.append(Diagnostic("export/sharding-differs", f"torchtitan shards weights too where the plan says {s.sharding}; "
                                "`fsdp_reshard_after_forward: never` gathers them once a step", Severity.WARNING,
                                help="`--pin sharding=fsdp` predicts what runs"))  # fmt: skip
    if len(modes) > 1 or modes[-1] == "selective":
        found.append(Diagnostic("export/recompute-differs", f"the plan recomputes {' and '.join(modes)}; torchtitan has one "
                                "mode for all stages, and its selective mode repeats every second matmul", Severity.WARNING,
                                help="`--pin recompute=full` or `none`"))  # fmt: skip
    names = [name for chunk in parts(case, "torchtitan") for part, name in chunk if part is Part.MTP]
    if names:
        found.append(Diagnostic("export/version", "torchtitan's own models have no multi-token prediction", Severity.WARNING,
                                help=f"your model needs modules of these names: {', '.join(names)}"))  # fmt: skip
    return found


def _degrees(case: Case) -> dict[str, Any]:
    s, sharded = case.strategy, case.strategy.sharding != "none"
    return {
        "data_parallel_replicate_degree": 1 if sharded else s.dp,
        "data_parallel_shard_degree": s.dp if sharded else 1,
        "fsdp_reshard_after_forward": "always" if s.sharding == "fsdp" else "never",
        "tensor_parallel_degree": s.tp,
        "context_parallel_degree": s.cp,
        "pipeline_parallel_degree": s.pp,
        "expert_parallel_degree": s.ep,
        "pipeline_parallel_schedule": _SCHEDULES[s.schedule],
        "pipeline_parallel_microbatch_size": s.micro_batch,
    }


def _training(case: Case) -> dict[str, int]:
    s, job = case.strategy, case.plan.json["job"]
    local = s.micro_batch * (s.num_microbatches if s.pp > 1 else 1)
    return {"local_batch_size": local, "global_batch_size": job["global_batch"], "seq_len": job["seq_len"]}


def _python(case: Case, degrees: dict[str, Any], modules: list[list[str]]) -> bytes:
    lines = [f"    config.parallelism.{k} = {v!r}" for k, v in degrees.items()]
    if case.strategy.pp > 1:
        lines.append("    config.parallelism.module_fqns_per_model_part = MODULES")
    lines += [f"    config.training.{k} = {v!r}" for k, v in _training(case).items()]
    lines.append(f'    config.activation_checkpoint.mode = "{recompute_modes(case)[-1]}"')
    chunks = "MODULES = [  # one list a virtual stage\n" + listed([json.dumps(m) for m in modules]) + "\n]\n"
    text = f"# placement plan {case.digest}\n{chunks}\n\ndef apply(config):\n"
    return (text + "\n".join(lines) + "\n    return config\n").encode()
