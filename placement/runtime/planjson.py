# SPDX-License-Identifier: Apache-2.0
# P stage   C chunk   B block   R rank   N node
"""plan.json: the plan as people read, compare and commit it. Sorted keys, stable floats, no times, no paths."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from placement._version import __version__
from placement.hostlist import fold
from placement.ir import MEMORY, Cluster, Plan, State, StepCost, Strategy
from placement.ir._array import Ints
from placement.runtime.layout import Flag

FORMAT_VERSION = "1.0"
_DIGITS = 10  # significant; enough to check sums at 1e-9, few enough to hide the last bits of another machine's libm


def plan_dict(plan: Plan, inputs: Mapping[str, bytes], flags: Flag) -> dict[str, Any]:
    """Everything of plan.json that the plan digest covers: all but `digest` and `files`."""
    chosen = plan.chosen
    return {
        "format_version": FORMAT_VERSION,
        "tool": {"name": "placement-compiler", "version": __version__},
        "inputs": {name: sha256(data).hexdigest() for name, data in inputs.items()},
        "cluster": _cluster(plan.cluster),
        "model": _model(plan),
        "job": dataclasses.asdict(plan.job) | {"calibration": "efficiency.yaml" if plan.job.calibration else None},
        "efficiency": {"digest": plan.efficiency.digest(), "provenance": plan.efficiency.provenance},
        "strategy": dataclasses.asdict(chosen.strategy),
        "world_size": chosen.strategy.world_size,
        "spare_gpus": plan.spare_gpus,
        "local_rank_is_slot": bool(flags & Flag.LOCAL_RANK_IS_SLOT),
        "whole_nodes": bool(flags & Flag.WHOLE_NODES),
        "predicted": _cost(chosen.cost),
        "uncertainty": plan.confidence and dataclasses.asdict(plan.confidence),
        "baseline": _cost(plan.baseline),
        "bound": _bound(plan),
        "certificate": _certificate(plan),
        "search": _search(plan),
        "stages": _stages(plan),
        "traffic": [{"axis": t.axis, "kind": t.kind, "bytes_P": t.bytes_P} for t in chosen.traffic.terms],
        "spares": _spares(plan),
        "warnings": list(plan.warnings),
    }


def dump(tree: Mapping[str, Any]) -> str:
    """Canonical text of plan.json. Raises ValueError for NaN or infinity, which no reader of JSON has to accept."""
    return joined(parts(tree))


def parts(tree: Mapping[str, Any]) -> dict[str, str]:
    """Canonical text of each key of a tree, for `joined`: what is written twice is encoded once."""
    encode = {"indent": 2, "sort_keys": True, "allow_nan": False, "ensure_ascii": False}
    return {key: json.dumps({key: stable(value)}, **encode)[2:-2] for key, value in tree.items()}  # type: ignore[arg-type]


def joined(text: Mapping[str, str]) -> str:
    """The whole of plan.json from the text of its keys."""
    return "{\n" + ",\n".join(text[key] for key in sorted(text)) + "\n}\n"


def stable(value: Any) -> Any:
    """Plain JSON values: floats to `_DIGITS` significant digits, tuples to lists, numpy scalars to Python's."""
    if isinstance(value, Mapping):
        return {str(k): stable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [stable(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else float(value)
    return int(value) if isinstance(value, np.integer) else value


def _cluster(cluster: Cluster) -> dict[str, Any]:
    state = np.bincount(cluster.state_N, minlength=len(State))
    return {
        "name": cluster.name,
        "digest": cluster.digest(),
        "gpus": cluster.num_gpus,
        "usable_gpus": int(cluster.usable_NG.sum()),
        "gpus_per_node": cluster.gpus_per_node,
        "hbm_bytes": min(chip.hbm_bytes for chip in cluster.chips),
        "nodes": {s.name.lower(): int(state[s]) for s in State},
        "tiers": [t.name for t in cluster.tiers],
    }


def _model(plan: Plan) -> dict[str, Any]:
    model = plan.model
    return {"name": model.name, "digest": model.digest(), "layers": model.num_blocks, "parameters": model.num_params}


def _cost(cost: StepCost) -> dict[str, Any]:
    fullest = int(cost.memory_PM.sum(axis=1).argmax())
    return {
        "step_time_s": cost.step_s,
        "tokens_per_s_per_gpu": cost.tokens_per_s_per_gpu,
        "mfu": cost.mfu,
        "breakdown_s": dict(cost.parts_s),
        "memory_bytes": dict(zip(MEMORY, cost.memory_PM[fullest].tolist(), strict=True)),
        "peak_memory_bytes": cost.peak_memory_bytes,
        "fullest_stage": fullest,
        "bytes_tier": {axis: dict(tiers) for axis, tiers in cost.bytes_tier.items()},
    }


def _bound(plan: Plan) -> dict[str, Any]:
    bound_s, step_s = plan.search.bound_s, plan.chosen.cost.step_s
    return {"step_time_s": bound_s, "gap": step_s / bound_s - 1.0 if bound_s > 0 else None, "proven": plan.search.proven}


def _certificate(plan: Plan) -> dict[str, Any]:
    c = plan.certificate
    tiers: dict[str, Any] = {
        t: {"lower_bytes": c.lower_bytes[t], "plan_bytes": c.plan_bytes[t], "method": c.method[t]} for t in c.lower_bytes
    }
    for name, w in c.witness.items():
        priced = {"unit": w.unit, "share": w.share} if w.unit else {}
        listed = {key: list(values) for key, values in (("tolls", w.tolls), ("prices", w.prices)) if values}
        tiers[name]["witness"] = {"marks": list(w.marks), "price_at": w.price_at} | priced | listed
    for name, kept in c.kept_bytes.items():
        tiers[name]["kept_bytes"] = kept
    return {
        "cell": c.cell, "whole_cell": c.whole, "parted_cells": c.parted,
        "kept_joint_bytes": c.kept_joint, "kept_gap": c.kept_gap,
        "tiers": tiers, "joint_bytes": c.joint_bytes, "joint_method": c.joint_method, "gap": c.gap,
        "step_time_s": c.step_bound_s, "step_gap": c.step_gap,
    }  # fmt: skip


def _search(plan: Plan) -> dict[str, Any]:
    s = plan.search
    runners = [{"strategy": dataclasses.asdict(strategy), "step_time_s": step_s} for strategy, step_s in s.runners_up]
    counts = {"enumerated": s.enumerated, "feasible": s.feasible, "scored": s.scored, "stopped_by": s.stopped_by}
    return counts | {"rejected": dict(s.rejected), "runners_up": runners}


def _stages(plan: Plan) -> list[dict[str, Any]]:
    """One entry a pipeline stage: its chunks with the names of their layers, in order, and its hosts."""
    strategy, stages, cost = plan.chosen.strategy, plan.chosen.stages, plan.chosen.cost
    node_R = plan.chosen.placement.gpu_R // plan.cluster.gpus_per_node
    return [
        {
            "stage": p,
            "chunks": [_chunk(plan, int(c)) for c in np.flatnonzero(strategy.chunk_stage == p)],
            "recompute": stages.recompute_P[p],
            "busy_s": float(cost.stage_s_P[p]),
            "memory_bytes": dict(zip(MEMORY, cost.memory_PM[p].tolist(), strict=True)),
            "hosts": _hosts(plan.cluster, node_R[p * strategy.stage_ranks : (p + 1) * strategy.stage_ranks]),
        }
        for p in range(strategy.pp)
    ]


def _chunk(plan: Plan, chunk: int) -> dict[str, Any]:
    layers = np.flatnonzero(plan.chosen.stages.chunk_B == chunk)
    return {"chunk": chunk, "layers": [plan.model.block_names[b] for b in layers]}


def _hosts(cluster: Cluster, nodes: Ints) -> str:
    return fold(cluster.host_N[np.flatnonzero(np.bincount(nodes, minlength=1))])


def _spares(plan: Plan) -> dict[str, Any]:
    """Healthy GPUs without a rank: how many, on which hosts, and how many NVLink domains have how many of them."""
    cluster = plan.cluster
    used = np.zeros(cluster.num_nodes * cluster.gpus_per_node, bool)
    used[plan.chosen.placement.gpu_R] = True
    free_NG = cluster.usable_NG & ~used.reshape(cluster.usable_NG.shape)
    reserved_NG = cluster.gpu_ok_NG & (cluster.state_N == State.RESERVED)[:, None]
    domain_N, num = cluster.tiers[0].group_N, cluster.tiers[0].num_groups
    size, domains = np.unique(np.bincount(domain_N, weights=free_NG.sum(axis=1), minlength=num).astype(int), return_counts=True)
    return {
        "gpus": int(free_NG.sum()),
        "reserved_gpus": int(reserved_NG.sum()),
        "hosts": _hosts(cluster, np.flatnonzero(free_NG.any(axis=1))),
        "reserved_hosts": _hosts(cluster, np.flatnonzero(reserved_NG.any(axis=1))),
        "domains_by_spare_gpus": {str(int(n)): int(count) for n, count in zip(size, domains, strict=True)},
    }


def strategy_of(tree: Mapping[str, Any]) -> Strategy:
    """The strategy of a plan.json."""
    return Strategy(**{f.name: tree["strategy"][f.name] for f in dataclasses.fields(Strategy)})
