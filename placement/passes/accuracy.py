# SPDX-License-Identifier: Apache-2.0
# R run
"""How well the cost model predicts published runs: per run, per (model, hardware) pair, and in summary.

Rows of one series are not independent, so the error of a pair is the mean over its runs and every summary is over pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from placement.cost.confidence import confidence
from placement.ir import Efficiency, Run, Scope, StepCost
from placement.passes.predict import predict_run
from placement.passes.scope import reasons_of

FORMAT_VERSION = 1
TIE = 0.02  # runs closer than this in measured throughput are not ranked
RANKED = 4  # configurations a pair needs before their order is judged

Row = dict[str, Any]


def accuracy(runs: Sequence[Run], eff: Efficiency) -> dict[str, Any]:
    """Predict every run that can be expressed, and compare. The keys are those of `placement accuracy --format json`.

    A run that cannot be predicted keeps its row, with `predicted_step_time_s` null and the reason.
    """
    return report(runs, [_predicted(run, eff) for run in runs], eff.scope)


def report(runs: Sequence[Run], found: Sequence[StepCost | str], scope: Scope | None = None) -> dict[str, Any]:
    """The report of predictions that were made elsewhere: a cost, or the reason why there is none, for each run."""
    rows = [_row(run, cost, scope) for run, cost in zip(runs, found, strict=True)]
    scored = [row for row in rows if row["error"] is not None]
    return {
        "format_version": FORMAT_VERSION, "total": len(rows), "runs": rows, "pairs": pairs(scored),
        "summary": {
            "predicted": sum(r["predicted_step_time_s"] is not None for r in rows), "scored": len(scored), **summary(scored),
            "memory": memory(rows), "covered": covered(scored),
        },
    }  # fmt: skip


def _predicted(run: Run, eff: Efficiency) -> StepCost | str:
    if run.reason is not None:
        return run.reason
    try:
        return predict_run(run, eff)
    except (
        ValueError,
        AssertionError,
    ) as e:  # a configuration no schedule or partition takes: the row says so, the rest goes on
        return f"cannot be priced: {e}"


def _row(run: Run, cost: StepCost | str, scope: Scope | None) -> Row:
    step_s = cost.step_s if isinstance(cost, StepCost) else None
    reason = cost if isinstance(cost, str) else None if run.measured_step_s else "the row gives no step time to compare with"
    error = step_s / run.measured_step_s - 1.0 if step_s is not None and run.measured_step_s else None
    reasons = reasons_of(run, scope) if scope and isinstance(cost, StepCost) else ()
    sure = confidence(scope, cost.step_s, run.kind == "moe", reasons) if isinstance(cost, StepCost) else None
    return {
        "measured_peak_bytes": run.peak_bytes, "peak_bytes": cost.peak_memory_bytes if isinstance(cost, StepCost) else None,
        "interval_s": [sure.low_s, sure.high_s] if sure else None, "extrapolates": list(reasons),
        "id": run.id, "model": run.model_key, "hardware": run.hardware, "core": run.core, "kind": run.kind,
        "precision": run.job.precision if run.job else None,
        "generation": run.cluster.chips[0].generation if run.cluster else None,
        "num_gpus": run.num_gpus or None, "measured_step_time_s": run.measured_step_s, "predicted_step_time_s": step_s,
        "error": error, "reason": reason, "assumed": list(run.assumed),
        "breakdown_s": dict(cost.parts_s) if isinstance(cost, StepCost) else None,
        "mfu": cost.mfu if isinstance(cost, StepCost) else None,
        "measured_tokens_per_s_per_gpu": run.tokens_per_s_per_gpu if run.job and run.measured_step_s else None,
        "tokens_per_s_per_gpu": cost.tokens_per_s_per_gpu if isinstance(cost, StepCost) else None,
    }  # fmt: skip


def memory(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean absolute error and bias of peak memory over the runs that give it."""
    known = [r for r in rows if r["measured_peak_bytes"] and r["peak_bytes"]]
    errors = np.array([r["peak_bytes"] / r["measured_peak_bytes"] - 1.0 for r in known])
    if not len(errors):
        return {"runs": 0, "mean": None, "bias": None}
    return {"runs": len(errors), "mean": float(np.abs(errors).mean()), "bias": float(errors.mean())}


def covered(rows: Sequence[Row]) -> float | None:
    """Share of runs inside their 80 % interval, each pair counting once. These runs were fitted: expect more than 80 %."""
    known = [r for r in rows if r["interval_s"]]
    inside = [
        np.mean([r["interval_s"][0] <= r["measured_step_time_s"] <= r["interval_s"][1] for r in group])
        for group in _by_pair(known).values()
    ]
    return float(np.mean(inside)) if inside else None


def pairs(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Errors by (model, hardware), worst first: over all its runs, and over its core runs where it has some."""
    out = []
    for (model, hardware), group in _by_pair(rows).items():
        core = [r for r in group if r["core"]]
        out.append({
            "model": model, "hardware": hardware, "kind": group[0]["kind"], "runs": len(group), "core_runs": len(core),
            "mean_abs_error": _mean_error(group), "bias": float(np.mean([r["error"] for r in group])),
            "core_mean_abs_error": _mean_error(core) if core else None, "kendall_tau": kendall_tau(group),
        })  # fmt: skip
    return sorted(out, key=lambda p: (-p["mean_abs_error"], p["model"], p["hardware"]))


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Median, mean and 90th percentile over pairs: core, all, and splits of both."""
    core = [r for r in rows if r["core"]]
    return {
        "core": scores(core), "all": scores(rows),
        "core_by_kind": _split(core, "kind"), "core_by_generation": _split(core, "generation"),
        "core_by_precision": _split(core, "precision"), "core_by_hardware": _split(core, "hardware"),
    }  # fmt: skip


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Errors over pairs of some rows, with Kendall's tau of their rankings (mean over pairs of enough configurations)."""
    groups = _by_pair(rows)
    errors = np.array([_mean_error(g) for g in groups.values()])
    taus = [tau for g in groups.values() if (tau := kendall_tau(g)) is not None]
    if not len(errors):
        return {"pairs": 0, "runs": 0, "median": None, "mean": None, "p90": None, "kendall_tau": None, "ranked_pairs": 0}
    return {
        "pairs": len(errors), "runs": len(rows), "median": float(np.median(errors)), "mean": float(errors.mean()),
        "p90": float(np.quantile(errors, 0.9)),
        "kendall_tau": float(np.mean(taus)) if taus else None, "ranked_pairs": len(taus),
    }  # fmt: skip


def kendall_tau(rows: Sequence[Row]) -> float | None:
    """Agreement of predicted and measured order of throughput per GPU, -1 to 1; None for fewer than 4 configurations."""
    if len(rows) < RANKED:
        return None
    measured = np.array([r["measured_tokens_per_s_per_gpu"] for r in rows])
    predicted = np.array([r["tokens_per_s_per_gpu"] for r in rows])
    i, j = np.triu_indices(len(rows), 1)
    apart = np.abs(measured[i] / measured[j] - 1.0) > TIE
    if not apart.any():
        return None
    agree = np.sign((measured[i] - measured[j]) * (predicted[i] - predicted[j]))
    return float(agree[apart].mean())


def _split(rows: Sequence[Row], key: str) -> Mapping[str, Any]:
    return {str(value): scores([r for r in rows if r[key] == value]) for value in sorted({str(r[key]) for r in rows})}


def _by_pair(rows: Iterable[Row]) -> dict[tuple[str, str], list[Row]]:
    out: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        out.setdefault((row["model"], row["hardware"]), []).append(row)
    return out


def _mean_error(rows: Sequence[Row]) -> float:
    return float(np.mean([abs(r["error"]) for r in rows]))
