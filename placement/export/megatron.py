# SPDX-License-Identifier: Apache-2.0
"""Megatron-LM, Megatron-Core and Megatron-Bridge: sizes, order, pipeline layout.

Megatron computes every group from the rank (order `tp-cp-ep-dp-pp`), so these settings and the plan's RANK are all it needs;
which hosts form a pipeline stage is decided by the ranks alone. Facts: Megatron-LM d98e8a6 (core 0.20), and core 0.16.1 run.
"""

from __future__ import annotations

import json
from itertools import groupby, pairwise
from typing import Any

from placement.diag import Diagnostic, InputError, Severity
from placement.export.case import Case, Export
from placement.export.stage_map import Part, chunks_of, parts, recompute_modes

ORDER = "tp-cp-ep-dp-pp"
_RECOMPUTE = {  # Megatron's words for the modes of a plan
    "none": [],
    "selective": ["--recompute-granularity", "selective"],
    "full": ["--recompute-granularity", "full", "--recompute-method", "uniform", "--recompute-num-layers", "1"],
}
_SHARDING = {
    "none": [],
    "zero1": ["--use-distributed-optimizer"],
    "zero2": ["--use-megatron-fsdp", "--data-parallel-sharding-strategy", "optim_grads"],
    "fsdp": ["--use-megatron-fsdp", "--data-parallel-sharding-strategy", "optim_grads_params"],
}
_BRIDGE = {  # flag -> field of Megatron-Bridge's config.model
    "--tensor-model-parallel-size": "tensor_model_parallel_size",
    "--context-parallel-size": "context_parallel_size",
    "--expert-model-parallel-size": "expert_model_parallel_size",
    "--expert-tensor-parallel-size": "expert_tensor_parallel_size",
    "--pipeline-model-parallel-size": "pipeline_model_parallel_size",
}


def export(case: Case) -> Export:
    """`megatron.args` (one word a line), `layout.txt`, `megatron.json`, `bridge.py`. Raises InputError if it cannot run."""
    _refuse(case)
    layout = layout_text(case)
    warnings = _warnings(case, layout)
    flags = _flags(case, layout)
    files = {
        "README": case.readme(
            "ranks as `placement export --to slurm` (env, torchrun) says; program: pretrain_gpt.py $(cat megatron.args) ...",
            f"rank order {ORDER}: never `--use-tp-pp-dp-mapping`; needs pipeline-model-parallel-layout (core 0.13 or later).",
        ),
        "megatron.args": "".join(f"{word}\n" for word in flags).encode(),
        "megatron.json": _json(case, layout),
        "bridge.py": _bridge(case, flags, layout),
    }
    if layout:
        files["layout.txt"] = f"{layout}\n".encode()
    return Export(files, tuple(warnings))


def layout_text(case: Case) -> str:
    """Every virtual stage in order, `|` between them; empty where there is one stage.

    Virtual stage s runs on pipeline rank s mod PP, which is the plan's round robin of chunks.
    """
    chunks = parts(case, "Megatron")
    if len(chunks) == 1:
        return ""
    return "|".join("".join(_run(part, len(list(same))) for part, same in groupby(p for p, _ in chunk)) for chunk in chunks)


def _run(part: Part, count: int) -> str:
    return part.value if count == 1 else f"{part.value}*{count}"


def _refuse(case: Case) -> None:
    s = case.strategy
    found = []
    if s.schedule not in ("1f1b", "interleaved"):
        found.append(Diagnostic("export/unsupported-schedule", f"Megatron does not run the schedule {s.schedule}",
                                help="set `schedules: [1f1b, interleaved]` in the job, or `--to torchtitan`"))  # fmt: skip
    chunks = parts(case, "Megatron")
    order = "".join(p.value for chunk in chunks for p, _ in chunk)
    if not order.startswith("E") or not order.endswith("L") or "E" in order[1:] or "L" in order[:-1]:
        found.append(Diagnostic("export/unsupported-layer", "Megatron's layout needs one embedding first and one head last",
                                help="describe the model as a `transformer`"))  # fmt: skip
    with_mtp = {c for c, chunk in enumerate(chunks) if any(p is Part.MTP for p, _ in chunk)}
    last = {c[-1] for c in chunks_of(case)[1:]} if s.pp > 1 else {s.num_chunks - 1}
    if len(with_mtp) > 1 or not with_mtp <= last:
        found.append(Diagnostic("export/unsupported-layer", "Megatron wants all prediction modules in one chunk, the last one "
                                "of a pipeline rank other than 0", help="pin another `pp` or `vpp`"))  # fmt: skip
    if found:
        raise InputError(found)


def _warnings(case: Case, layout: str) -> list[Diagnostic]:
    found, s = [], case.strategy
    modes = recompute_modes(case)
    if len(modes) > 1:
        found.append(Diagnostic(
            "export/recompute-differs", f"the plan recomputes {' and '.join(modes)} by stage; Megatron has one setting, here "
            f"{modes[-1]} for all", Severity.WARNING, help=f"for the predicted time, pin it: `--pin recompute={modes[-1]}`",
        ))  # fmt: skip
    if "selective" in modes:
        found.append(Diagnostic(
            "export/recompute-differs", "which modules selective recompute repeats depends on the model and the version",
            Severity.WARNING, help="add `--recompute-modules`, such as layernorm, moe_act, mla_up_proj",
        ))  # fmt: skip
    if "||" in layout or layout.startswith("|") or layout.endswith("|"):
        found.append(Diagnostic("export/empty-stage", "a virtual stage has no layer, and Megatron deadlocked on those (issue "
                                "1852)", Severity.WARNING, help="pin a smaller `vpp`"))  # fmt: skip
    if max(s.gtp, s.egtp) > 1:
        found.append(Diagnostic(
            "export/version", "the axis of generalised tensor parallelism moved in Megatron-LM pull request 6868: before it "
            "the ranks of a gtp group are neighbours in tp, after it in cp as in this plan", Severity.WARNING,
            help="use a commit after 2026-08-26, or pin gtp=1 and egtp=1",
        ))  # fmt: skip
    if case.world > 65_536:
        found.append(Diagnostic("export/slow-at-this-size", f"Megatron makes its groups for {case.world} ranks in about half "
                                "a minute of Python on every rank (36 s at 220,032)", Severity.WARNING,
                                help="allow for it in timeouts: `--distributed-timeout-minutes`"))  # fmt: skip
    return found


def _flags(case: Case, layout: str) -> list[str]:
    s, job = case.strategy, case.plan.json["job"]
    sizes = [
        ("--tensor-model-parallel-size", s.tp), ("--context-parallel-size", s.cp), ("--expert-model-parallel-size", s.ep),
        ("--expert-tensor-parallel-size", s.etp), ("--pipeline-model-parallel-size", s.pp),
        ("--micro-batch-size", s.micro_batch), ("--global-batch-size", job["global_batch"]), ("--seq-length", job["seq_len"]),
    ]  # fmt: skip
    if s.gtp > 1:
        sizes.append(("--generalized-tensor-parallel-remat-size", s.gtp))
    if s.egtp > 1:
        sizes.append(("--expert-generalized-tensor-parallel-remat-size", s.egtp))
    words = [word for name, value in sizes for word in (name, str(value))]
    words += ["--sequence-parallel"] if s.tp > 1 else []
    words += ["--pipeline-model-parallel-layout", layout] if layout else []
    return words + _SHARDING[s.sharding] + _RECOMPUTE[recompute_modes(case)[-1]]


def _json(case: Case, layout: str) -> bytes:
    """For programs: RankGenerator's sizes and order, the layout, the first rank of each pipeline rank."""
    s = case.strategy
    tree: dict[str, Any] = {
        "plan": case.digest,
        "order": ORDER,
        "world_size": s.world_size,
        "decoder": {"tp": s.tp, "cp": s.cp, "dp": s.dp, "pp": s.pp},
        "expert": {"tp": s.etp, "ep": s.ep, "dp": s.edp, "pp": s.pp},
        "virtual_pipeline_model_parallel_size": s.vpp if s.vpp > 1 else None,
        "pipeline_model_parallel_layout": layout or None,
        "recompute_by_stage": list(case.plan.stages.recompute_P),
        "sharding": s.sharding,
        "num_microbatches": s.num_microbatches,
    }
    return (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode()


def _bridge(case: Case, flags: list[str], layout: str) -> bytes:
    value = dict(pairwise(flags))
    lines = [f"    cfg.model.{field} = {value[flag]}" for flag, field in _BRIDGE.items()]
    s, job = case.strategy, case.plan.json["job"]
    if layout:
        lines.append(f'    cfg.model.pipeline_model_parallel_layout = "{layout}"')
    if s.vpp > 1:
        lines.append(f"    cfg.model.virtual_pipeline_model_parallel_size = {s.vpp}")
    lines += [
        f"    cfg.model.sequence_parallel = {s.tp > 1}",
        f"    cfg.train.micro_batch_size = {s.micro_batch}",
        f"    cfg.train.global_batch_size = {job['global_batch']}",
        "    cfg.dist.use_tp_pp_dp_mapping = False",
        f"    cfg.ddp.use_distributed_optimizer = {s.sharding != 'none'}",
    ]
    text = f'# placement plan {case.digest}\n"""Megatron-Bridge: `bridge.apply(cfg)` sets what the plan decides."""\n\n\n'
    return (text + "def apply(cfg):\n" + "\n".join(lines) + "\n    return cfg\n").encode()
