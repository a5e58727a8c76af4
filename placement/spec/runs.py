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
from typing import Any

from placement.diag import Diagnostic, InputError, Label
from placement.ir import (
    Chip,
    Job,
    ModelGraph,
    Run,
    Software,
    Strategy,
)
from placement.spec.catalog import chips
from placement.spec.run_fields import (
    INTERLEAVED,
    NOTHING,
    CannotExpressError,
    degree,
    known_precision,
    mapping,
    micro_batches,
    named_schedule,
    optimizer_of,
    overlaps_experts,
    positive,
    precision_name,
    recompute_of,
    refuse_other_tasks,
    release_year,
    runs_eager,
    runs_graphs,
    schedule_of,
    sharding_of,
    stack_of,
    whole,
)
from placement.spec.run_measured import step_seconds, step_seconds_from_rates
from placement.spec.run_models import model_of
from placement.spec.source import Document, load
from placement.spec.synthetic import synthetic_cluster

NIC_GBITS = {"ampere": 200.0, "hopper": 400.0, "blackwell": 400.0, "blackwell_ultra": 800.0}  # hardware.yaml, one GPU
AWS_GBITS = {"ampere": 50.0}  # p4d: 400 Gb/s for the eight GPUs of a host (BloombergGPT, arXiv 2303.17564, section 4.2)
MOST_GBITS = 1600  # no GPU has more; a larger figure is that of a host
DOMAIN = {"ampere": 8, "hopper": 8}  # GPUs of an NVLink domain where a row does not say
REAL_ROUTER = 1.1  # busiest expert group over the mean where routing is not forced to balance (measured_runs.md, anomaly 8)
NEAREST = {  # parts of the same silicon under other names; a row that says more is matched by its own name first
    "A100": "A100-80GB", "A800": "A800", "H100": "H100", "H200": "H200", "H800": "H800", "H20": "H20", "GH200": "GH200",
    "B200": "B200", "GB200": "GB200", "B300": "B300", "GB300": "GB300",
}  # fmt: skip
OTHER_MEMORY = 0.15  # GB and GiB differ by 7 %
OTHER_FORM = re.compile(r"PCI-?E|NVL(?!\d)|CNX")  # boards with less power and NVLink than those of the catalogue
_NULL = {"", "~", "null", "none", "n/a", "na", "unknown"}


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
    spec = mapping(row.get("model"))
    kind = "moe" if spec.get("kind") == "moe" or positive(spec.get("experts")) else "dense"
    head = Run(
        id=str(row.get("id", f"row {index}")), model_key=str(spec.get("key") or spec.get("name") or "?"), kind=kind,
        hardware=str(row.get("hardware") or "?"),
        core=row.get("core") is True, measured_step_s=step_seconds(row), reason=None,
        peak_bytes=_peak_bytes(mapping(row.get("measured"))),
    )  # fmt: skip
    try:
        return _expressed(head, row, spec, {} if models is None else models)
    except CannotExpressError as e:
        return dataclasses.replace(head, reason=str(e))
    except InputError as e:
        return dataclasses.replace(head, reason="model: " + "; ".join(d.message for d in e.diagnostics))
    except (KeyError, TypeError, ValueError, OverflowError, AssertionError, ZeroDivisionError) as e:
        return dataclasses.replace(head, reason=f"a field has an unusable value: {e}")


def _peak_bytes(measured: Mapping[str, Any]) -> float | None:
    peak = measured.get("peak_mem_gib")
    return float(peak) * 2.0**30 if positive(peak) else None


def _expressed(head: Run, row: Mapping[str, Any], spec: Mapping[str, Any], models: dict[str, ModelGraph]) -> Run:
    refuse_other_tasks(row)
    chip = find_chip(head.hardware, str(row.get("notes") or ""))
    world = _world(row)
    seq_len = whole(spec.get("seq_len") or row.get("seq_len"), "seq_len")
    year, stack = release_year(row, chip), stack_of(str(row.get("software") or ""))
    sharding = sharding_of(row, stack)
    precision = precision_name(str(row.get("precision") or "bf16"))
    job = Job(
        seq_len=seq_len, global_batch=_batch(row, seq_len), precision=precision,
        optimizer=optimizer_of(stack, year, precision),
        software=Software(
            stack, year, overlaps_experts(row, year, _domain(row, chip, world)), runs_eager(row, stack), runs_graphs(row)
        ),
        expert_imbalance=REAL_ROUTER if "real router" in str(row.get("moe_routing")).lower() else 1.0,
    )  # fmt: skip
    model, rough = model_of(spec, row, models)
    mode, share = recompute_of(row, model)
    strategy, assumed = _strategy(row, model, job, world, mode, sharding, chip.hbm_bytes)
    step_s = head.measured_step_s or step_seconds_from_rates(row, model, chip, seq_len, job.global_batch, world)
    cluster = synthetic_cluster(chip, strategy.world_size, _domain(row, chip, world), _nic_Bps(row, chip))
    return dataclasses.replace(
        head, cluster=cluster, model=model, job=job, strategy=strategy, recompute_share=share, num_gpus=strategy.world_size,
        assumed=(*assumed, *_unsure(row, chip, precision, rough, strategy.world_size != world)), measured_step_s=step_s,
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
    if found is None or OTHER_FORM.search(hardware.upper()):
        also = f"; its {NEAREST[found[1]]} is another board" if found else ""
        raise CannotExpressError(f"no GPU like `{hardware}` in the catalogue{also}")
    if found[1] == "A100" and "40" in hardware:
        return known["A100-40GB"]
    return known[NEAREST[found[1]]]


def _unsure(row: Mapping[str, Any], chip: Chip, precision: str, rough: bool, cut: bool) -> tuple[str, ...]:
    """Fields that are read as the nearest that the cost model knows."""
    said = str(row.get("precision") or "bf16")
    size = re.search(r"\b(\d+) ?GB", str(row.get("hardware")).replace("-", " "))
    unsure = {
        "model": rough,
        "n_gpus": cut,  # its degrees use fewer
        "hardware": size is not None and abs(float(size[1]) * 1e9 / chip.hbm_bytes - 1.0) > OTHER_MEMORY,
        "precision": not known_precision(said) or (precision != "bf16" and chip.peak(precision) == chip.peak("bf16")),
        "offload": str(row.get("offload") or "none").lower() not in NOTHING,
    }
    return tuple(name for name, is_so in unsure.items() if is_so)


def _strategy(
    row: Mapping[str, Any], model: ModelGraph, job: Job, world: int, mode: str, sharding: str, hbm_bytes: float
) -> tuple[Strategy, tuple[str, ...]]:
    """Degrees of a row; those it leaves open become 1, and what does not divide becomes the next that does."""
    assumed = tuple(n for n in ("tp", "pp", "cp", "mbs", "vpp", "recompute") if row.get(n) is None)
    tp, pp, cp = (degree(row, n) for n in ("tp", "pp", "cp"))
    dp = degree(row, "dp", max(1, world // (tp * pp * cp)))
    if tp * pp * cp * dp != world:
        dp = max(1, world // (tp * pp * cp))
    ep = degree(row, "ep") if model.is_moe else 1
    etp = _expert_tp(row, model, tp, ep, tp * cp * dp)
    if tp * cp * dp % (etp * ep):  # a table that counts ep over two stages: the largest group that fits one
        ep, assumed = math.gcd(ep, tp * cp * dp // etp), (*assumed, "ep")
    micro_batch, m = micro_batches(row, job.global_batch, dp)
    named = named_schedule(row)
    vpp = degree(row, "vpp", INTERLEAVED if "interleaved" in named.lower() else 1)
    schedule, vpp = schedule_of(named, pp, min(vpp, max(1, model.num_blocks // pp)), m)
    if pp > model.num_blocks:
        raise CannotExpressError(f"{pp} stages for {model.num_blocks} blocks")
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
    etp = int(given) if positive(given) else (1 if ep > 1 else tp)
    return etp if stage_ranks % (etp * ep) == 0 else 1


def _world(row: Mapping[str, Any]) -> int:
    given = row.get("n_gpus")
    if positive(given):
        return int(given)
    degrees = [row.get(n) for n in ("tp", "pp", "cp", "dp")]
    if not positive(degrees[-1]):
        raise CannotExpressError("the row gives neither n_gpus nor dp")
    return math.prod(int(d) if positive(d) else 1 for d in degrees)


def _batch(row: Mapping[str, Any], seq_len: int) -> int:
    given = row.get("gbs")
    if positive(given):
        return int(given)
    if positive(row.get("global_batch_tokens")):
        return max(1, round(float(row["global_batch_tokens"]) / seq_len))
    raise CannotExpressError("the row gives no global batch (gbs)")


def _domain(row: Mapping[str, Any], chip: Chip, world: int) -> int:
    """GPUs of a domain that jobs use: of 72, jobs on powers of two take 64 (MLPerf and recipe segments of 16 trays)."""
    given = row.get("nvlink_domain")
    domain = int(given) if positive(given) else 72 if chip.form.startswith("nvl") else DOMAIN.get(chip.generation, 8)
    if domain == 72 and world > 64 and world % 72 and world % 64 == 0:
        return 64
    return domain


def _nic_Bps(row: Mapping[str, Any], chip: Chip) -> float:
    """Bytes/s of one GPU's NICs: from the row's fabric ("4x200G ... /GPU"), else what hosts of the generation carry."""
    given = row.get("nic_gbit_s_per_gpu")
    if positive(given):
        return float(given) * 1e9 / 8
    text = str(row.get("fabric") or "")
    found = re.search(r"(?:(\d+)\s*x\s*)?(\d+)\s*G(?:bps|b/s|bit/s|b)?\b", text)
    aws = "sagemaker" in str(row.get("software")).lower()
    usual = (NIC_GBITS | AWS_GBITS if aws else NIC_GBITS)[chip.generation]
    gbits = float(found[2]) * int(found[1] or 1) if found else usual
    if re.search(r"node|host|server", text, re.IGNORECASE):
        gbits /= 4 if chip.form.startswith("nvl") else 8
    return (gbits if 10 <= gbits <= MOST_GBITS else usual) * 1e9 / 8


def expressible(runs: Iterable[Run]) -> Sequence[Run]:
    """Runs that can be predicted."""
    return [r for r in runs if r.reason is None]
