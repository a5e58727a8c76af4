# SPDX-License-Identifier: Apache-2.0
"""Published training runs -> what the cost model predicts: a synthetic cluster, a model, a job and a strategy each.

A row that cannot be expressed keeps its place with a reason; nothing is dropped. Missing degrees are inferred: a degree that is
not given is 1, `dp` follows from the others, and the micro-batch is 1 sequence.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from placement.cost.schedules import misfit
from placement.diag import Diagnostic, InputError, Label
from placement.ir import (
    SHARDING,
    Chip,
    Job,
    ModelGraph,
    Optimizer,
    Pointwise,
    Run,
    Software,
    Strategy,
)
from placement.spec.catalog import chips
from placement.spec.model import lower_short
from placement.spec.model_types import Mla, Transformer
from placement.spec.source import Document, load
from placement.spec.synthetic import synthetic_cluster

NIC_GBITS = {"ampere": 200.0, "hopper": 400.0, "blackwell": 400.0, "blackwell_ultra": 800.0}  # hardware.yaml, one GPU
DOMAIN = {"ampere": 8, "hopper": 8}  # GPUs of an NVLink domain where a row does not say
STACKS = {
    "mlperf": ("mlperf",), "torchtitan": ("titan",), "automodel": ("automodel",), "composer": ("composer", "foundry", "mosaic"),
    "deepspeed": ("deepspeed", "sagemaker"),
}  # fmt: skip
SCHEDULE_NAMES = ("dualpipev", "dualpipe", "zb-v", "zb-h1", "interleaved", "1f1b")
OVERLAPPED_EXPERTS_SINCE = 2026.0  # Megatron-Bridge performance recipes: moe_a2a_overlap where experts span hosts
REAL_ROUTER = 1.1  # busiest expert group over the mean where routing is not forced to balance (measured_runs.md, anomaly 8)
NEAREST = {  # parts of the same silicon under other names; a row that says more is matched by its own name first
    "A100": "A100-80GB", "A800": "A100-80GB", "H100": "H100", "H200": "H200", "H800": "H800", "H20": "H100", "GH200": "GH200",
    "B200": "B200", "GB200": "GB200", "B300": "B300", "GB300": "GB300",
}  # fmt: skip
_NULL = {"", "~", "null", "none", "n/a", "na", "unknown"}


class _CannotExpressError(Exception):
    """Why a row has no prediction; only inside this module."""


def load_runs(path: str | Path) -> list[Run]:
    """Every row of a file of measured runs, in order. Raises InputError where the file itself is no list of runs."""
    doc = load(path, "runs")
    rows = doc.tree if isinstance(doc.tree, list) else doc.tree.get("runs") if isinstance(doc.tree, Mapping) else None
    if not isinstance(rows, list):
        raise InputError([Diagnostic("runs/not-a-list", "a file of measured runs is a list of mappings", primary=_top(doc))])
    models: dict[str, ModelGraph] = {}
    return [read_run(typed(row), i, models) for i, row in enumerate(rows)]


def _top(doc: Document) -> Label:
    return Label(doc.span(()), "expected `- id: ...`")


def typed(value: Any) -> Any:
    """Text scalars of a document as numbers, booleans and None, where they look like one."""
    if isinstance(value, Mapping):
        return {str(k): typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    return _scalar(value) if isinstance(value, str) else value


def _scalar(text: str) -> Any:
    plain = text.strip()
    if plain.lower() in _NULL:
        return None if plain.lower() != "none" else "none"
    if plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    if re.fullmatch(r"[-+]?\d{1,18}", plain):
        return int(plain)
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?", plain):
        return float(plain)
    return plain


def read_run(row: Any, index: int, models: dict[str, ModelGraph] | None = None) -> Run:
    """One row. Never raises for what a row says."""
    if not isinstance(row, Mapping):
        return Run(f"row {index}", "?", "?", "?", False, None, "the row is no mapping")
    spec = _mapping(row.get("model"))
    derived, measured = _mapping(row.get("derived")), _mapping(row.get("measured"))
    step_s = next((float(v) for v in (derived.get("step_time_s"), measured.get("step_time_s")) if _positive(v)), None)
    kind = "moe" if spec.get("kind") == "moe" or _positive(spec.get("experts")) else "dense"
    head = Run(
        id=str(row.get("id", f"row {index}")), model_key=str(spec.get("key") or spec.get("name") or "?"), kind=kind,
        hardware=str(row.get("hardware") or "?"),
        core=row.get("core") is True, measured_step_s=step_s, reason=None, peak_bytes=_peak_bytes(measured),
    )  # fmt: skip
    try:
        return _expressed(head, row, spec, {} if models is None else models)
    except _CannotExpressError as e:
        return dataclasses.replace(head, reason=str(e))
    except InputError as e:
        return dataclasses.replace(head, reason="model: " + "; ".join(d.message for d in e.diagnostics))
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError, ZeroDivisionError) as e:
        return dataclasses.replace(head, reason=f"a field has an unusable value: {e}")


def _peak_bytes(measured: Mapping[str, Any]) -> float | None:
    peak = measured.get("peak_mem_gib")
    return float(peak) * 2.0**30 if _positive(peak) else None


def _expressed(head: Run, row: Mapping[str, Any], spec: Mapping[str, Any], models: dict[str, ModelGraph]) -> Run:
    chip = find_chip(head.hardware, str(row.get("notes") or ""))
    world = _world(row)
    seq_len = _whole(spec.get("seq_len") or row.get("seq_len"), "seq_len")
    year, stack = release_year(row, chip), stack_of(str(row.get("software") or ""))
    sharding = _sharding(row, stack)
    job = Job(
        seq_len=seq_len, global_batch=_batch(row, seq_len), precision=precision_name(str(row.get("precision") or "bf16")),
        optimizer=_optimizer(chip, year, sharding),
        software=Software(stack, year, _overlaps_experts(row, year, _domain(row, chip, world))),
        expert_imbalance=REAL_ROUTER if "real router" in str(row.get("moe_routing")).lower() else 1.0,
    )  # fmt: skip
    model = _model(spec, row, models)
    mode, share = _recompute(row, model)
    strategy, assumed = _strategy(row, model, job, world, mode, sharding, chip.hbm_bytes)
    cluster = synthetic_cluster(chip, strategy.world_size, _domain(row, chip, world), _nic_Bps(row, chip))
    return dataclasses.replace(
        head, cluster=cluster, model=model, job=job, strategy=strategy, recompute_share=share, num_gpus=strategy.world_size,
        assumed=assumed,
    )  # fmt: skip


def find_chip(hardware: str, notes: str = "") -> Chip:
    """The catalogue's part for a row: by name, then by the silicon in the name. Raises for what it does not know."""
    known = chips()
    if hardware == "H100" and "HBM2e" in notes:
        return known["H100-96GB-HBM2e"]
    by_name = {name.lower(): chip for name, chip in known.items()}
    exact = by_name.get(hardware.lower().replace("_", "-").replace(" ", "-"))
    if exact is not None:
        return exact
    found = re.search(r"(GB300|GB200|GH200|B300|B200|H800|H200|H100|H20|A100|A800)", hardware.upper())
    if found is None:
        raise _CannotExpressError(f"no GPU like `{hardware}` in the catalogue")
    if found[1] == "A100" and "40" in hardware:
        return known["A100-40GB"]
    return known[NEAREST[found[1]]]


def precision_name(text: str) -> str:
    """`bf16`, `fp8`, `mxfp8` or `nvfp4` for the many names of recipes (fp8_cs, fp8_delayed, nvfp4 ...)."""
    lower = text.lower()
    return "nvfp4" if "fp4" in lower else "mxfp8" if "mx" in lower else "fp8" if "fp8" in lower or "int8" in lower else "bf16"


def stack_of(software: str) -> str:
    """Which stack the name of a release belongs to; `megatron` for NeMo, Megatron and everything unknown."""
    lower = software.lower()
    return next((stack for stack, marks in STACKS.items() if any(m in lower for m in marks)), "megatron")


def release_year(row: Mapping[str, Any], chip: Chip) -> float:
    """Decimal year of the software: of its month, else the middle of its year, else a typical one of the hardware."""
    found = re.match(r"(\d{4})(?:-(\d{1,2}))?", str(row.get("software_date") or ""))
    if found:
        return int(found[1]) + ((int(found[2]) - 0.5) / 12 if found[2] else 0.5)
    return {"ampere": 2023.0, "hopper": 2025.0}.get(chip.generation, 2026.0)


def _model(spec: Mapping[str, Any], row: Mapping[str, Any], models: dict[str, ModelGraph]) -> ModelGraph:
    fields = {k: v for k, v in spec.items() if k in Transformer.model_fields and v is not None}
    if isinstance(fields.get("mla"), Mapping):
        fields["mla"] = {k: v for k, v in fields["mla"].items() if k in Mla.model_fields and v is not None}
    if spec.get("route_groups_limit"):
        fields["groups_limit"] = spec["route_groups_limit"]
    if spec.get("kind") == "dense":
        fields = {k: v for k, v in fields.items() if k not in _ROUTED}
    if "w/o MTP" in str(row.get("notes")):
        fields.pop("mtp_layers", None)
    key = repr(sorted(fields.items(), key=lambda kv: kv[0]))
    if key not in models:
        text = {k: ({a: str(b) for a, b in v.items()} if isinstance(v, Mapping) else _text(v)) for k, v in fields.items()}
        graph = lower_short(text, str(spec.get("key") or "model"))
        models[key] = graph if spec.get("gated_mlp", True) or not spec.get("tied_embeddings") else without_rotation(graph)
    return models[key]


def without_rotation(model: ModelGraph) -> ModelGraph:
    """GPT-3 and its kin (plain MLP, tied embeddings) have learned positions or ALiBi: no rotary kernels."""
    types = tuple(
        dataclasses.replace(t, ops=tuple(o for o in t.ops if not (isinstance(o, Pointwise) and o.kind == "rope")))
        for t in model.types
    )
    return dataclasses.replace(model, types=types)


_ROUTED = (
    "experts",
    "topk",
    "moe_ffn",
    "shared_experts",
    "shared_ffn",
    "dense_first_layers",
    "moe_every",
    "groups_limit",
    "shared_gate",
)


def _text(value: Any) -> Any:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _strategy(
    row: Mapping[str, Any], model: ModelGraph, job: Job, world: int, mode: str, sharding: str, hbm_bytes: float
) -> tuple[Strategy, tuple[str, ...]]:
    """Degrees of a row; those it leaves open become 1, and what does not divide becomes the next that does."""
    assumed = tuple(n for n in ("tp", "pp", "cp", "mbs", "vpp", "recompute") if row.get(n) is None)
    tp, pp, cp = (_degree(row, n) for n in ("tp", "pp", "cp"))
    dp = _degree(row, "dp", max(1, world // (tp * pp * cp)))
    if tp * pp * cp * dp != world:
        dp = max(1, world // (tp * pp * cp))
    ep = _degree(row, "ep") if model.is_moe else 1
    etp = _expert_tp(row, model, tp, ep, tp * cp * dp)
    if tp * cp * dp % (etp * ep):  # a table that counts ep over two stages: the largest group that fits one
        ep, assumed = math.gcd(ep, tp * cp * dp // etp), (*assumed, "ep")
    micro_batch, m = _micro_batches(row, job.global_batch, dp)
    vpp = _degree(row, "vpp")
    schedule, vpp = _schedule(str(row.get("schedule") or ""), pp, min(vpp, max(1, model.num_blocks // pp)), m)
    if pp > model.num_blocks:
        raise _CannotExpressError(f"{pp} stages for {model.num_blocks} blocks")
    if sharding == "zero1" and pp == 1 and _unsharded_bytes(model, job, tp, ep * etp) > hbm_bytes:
        sharding, assumed = "fsdp", (*assumed, "fsdp")  # weights and gradients alone overflow a GPU: they must be sharded
    sharding = "zero1" if sharding == "fsdp" and pp > 1 else sharding  # with stages nothing is resharded between microbatches
    return Strategy(tp, cp, ep, etp, dp, pp, vpp, micro_batch, m, schedule, mode, sharding), assumed


def _unsharded_bytes(model: ModelGraph, job: Job, tp: int, expert_ranks: int) -> float:
    """Bytes of bf16 weights and main gradients of one GPU when data parallelism shards only the optimizer."""
    routed = sum(int(n) * t.expert_params for n, t in zip(model.count_Y, model.types, strict=True))
    return ((model.num_params - routed) / tp + routed / expert_ranks) * (2.0 + job.optimizer.grad_bytes)


def _expert_tp(row: Mapping[str, Any], model: ModelGraph, tp: int, ep: int, stage_ranks: int) -> int:
    if not model.is_moe:
        return 1
    given = row.get("etp") or row.get("expert_tp")
    etp = int(given) if _positive(given) else (1 if ep > 1 else tp)
    return etp if stage_ranks % (etp * ep) == 0 else 1


def _micro_batches(row: Mapping[str, Any], batch: int, dp: int) -> tuple[int, int]:
    """(sequences of a microbatch, microbatches of a step and replica)."""
    each = max(1, round(batch / dp))
    wanted = int(row["mbs"]) if _positive(row.get("mbs")) else 1
    micro = next(b for b in range(min(wanted, each), 0, -1) if each % b == 0)
    return micro, each // micro


def _schedule(name: str, pp: int, vpp: int, m: int) -> tuple[str, int]:
    """The schedule of a row, or the nearest one that runs at its degrees."""
    if pp == 1:
        return "1f1b", 1
    lower = name.lower().replace("_", "-").replace("zbv", "zb-v").replace("zbh1", "zb-h1")
    wanted = next((s for s in SCHEDULE_NAMES if s in lower), "interleaved" if vpp > 1 else "1f1b")
    if wanted in ("zb-v", "dualpipev"):
        vpp = 2
    for schedule, chunks in ((wanted, vpp), ("interleaved", vpp), ("1f1b", 1)):
        if not (schedule == "interleaved" and chunks == 1) and not misfit(schedule, pp, chunks, m):
            return schedule, chunks
    raise _CannotExpressError(f"no schedule runs {m} microbatches on {pp} stages")


def _recompute(row: Mapping[str, Any], model: ModelGraph) -> tuple[str, float]:
    """Mode, and the share of layers that `full:block:n` recomputes."""
    text = str(row.get("recompute") or "none").lower()
    if text.startswith("full"):
        found = re.search(r":(\d+)", text)
        layers = sum(name.startswith("layer") for name in model.block_names)
        return "full", min(1.0, int(found[1]) / max(1, layers)) if found else 1.0
    return ("selective", 1.0) if "selective" in text or "core_attn" in text else ("none", 1.0)


def _sharding(row: Mapping[str, Any], stack: str) -> str:
    given = str(row.get("sharding") or "")
    if given in SHARDING:
        return given
    fsdp = row.get("fsdp")
    if (
        stack in ("composer", "torchtitan")
        or "sagemaker" in str(row.get("software")).lower()
        or (_positive(fsdp) and int(fsdp) > 1)
        or fsdp is True
    ):
        return "fsdp"
    return "zero1"


def _optimizer(chip: Chip, year: float, sharding: str) -> Optimizer:
    """Recipes of the Blackwell age and FSDP reduce gradients in bf16, older ones in fp32 (Megatron-Bridge recipes)."""
    narrow = chip.generation.startswith("blackwell") or year > 2025.8 or sharding == "fsdp"
    return Optimizer(grad_reduce_bytes=2.0 if narrow else 4.0)


def _overlaps_experts(row: Mapping[str, Any], year: float, domain: int) -> bool:
    """What the row says; else DualPipe always, and recipes of 2026 where experts span hosts and the schedule allows it."""
    text = f"{row.get('moe_dispatcher')} {row.get('id')} {_mapping(row.get('source')).get('row')}".lower()
    if "ep overlap o" in text or "1f1b ep overlap" in text or "canonical recipe" in text:
        return "ep overlap off" not in text
    if "dualpipe" in str(row.get("schedule")).lower():
        return True
    crosses = domain <= 8 and _degree(row, "ep") * _degree(row, "tp") > domain
    return crosses and year > OVERLAPPED_EXPERTS_SINCE and (_degree(row, "pp") == 1 or _degree(row, "vpp") > 1)


def _world(row: Mapping[str, Any]) -> int:
    given = row.get("n_gpus")
    if _positive(given):
        return int(given)
    degrees = [row.get(n) for n in ("tp", "pp", "cp", "dp")]
    if not _positive(degrees[-1]):
        raise _CannotExpressError("the row gives neither n_gpus nor dp")
    return math.prod(int(d) if _positive(d) else 1 for d in degrees)


def _batch(row: Mapping[str, Any], seq_len: int) -> int:
    given = row.get("gbs")
    if _positive(given):
        return int(given)
    if _positive(row.get("global_batch_tokens")):
        return max(1, round(float(row["global_batch_tokens"]) / seq_len))
    raise _CannotExpressError("the row gives no global batch (gbs)")


def _domain(row: Mapping[str, Any], chip: Chip, world: int) -> int:
    """GPUs of a domain that jobs use: of 72, jobs on powers of two take 64 (MLPerf and recipe segments of 16 trays)."""
    given = row.get("nvlink_domain")
    domain = int(given) if _positive(given) else 72 if chip.form.startswith("nvl") else DOMAIN.get(chip.generation, 8)
    if domain == 72 and world > 64 and world % 72 and world % 64 == 0:
        return 64
    return domain


def _nic_Bps(row: Mapping[str, Any], chip: Chip) -> float:
    """Bytes/s of one GPU's NICs: from the row's fabric ("4x200G ... /GPU"), else what hosts of the generation carry."""
    given = row.get("nic_gbit_s_per_gpu")
    if _positive(given):
        return float(given) * 1e9 / 8
    found = re.search(r"(?:(\d+)\s*x\s*)?(\d+)\s*G\b", str(row.get("fabric") or ""))
    gbits = float(found[2]) * int(found[1] or 1) if found else NIC_GBITS[chip.generation]
    return gbits * 1e9 / 8 if 10 <= gbits <= 3200 else NIC_GBITS[chip.generation] * 1e9 / 8


def _degree(row: Mapping[str, Any], name: str, default: int = 1) -> int:
    value = row.get(name)
    return int(value) if _positive(value) else default


def _whole(value: Any, name: str) -> int:
    if not _positive(value):
        raise _CannotExpressError(f"the row gives no {name}")
    return int(value)


def _positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def expressible(runs: Iterable[Run]) -> Sequence[Run]:
    """Runs that can be predicted."""
    return [r for r in runs if r.reason is None]
