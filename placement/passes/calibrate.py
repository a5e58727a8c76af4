# SPDX-License-Identifier: Apache-2.0
# R run   P parameter (a constant of the cost model)
"""Fit the constants of the cost model to measured steps, near their priors, and cross-validate by leaving pairs out.

Minimises, over the logarithms x of the constants,
    sum_R rho(w_R (log predicted - log measured) / noise)  +  (x - prior)' S^-1 (x - prior)
with S the covariance of the priors (width^2, and shared^2 between constants of a family), rho the soft L1 norm (far residuals
count linearly) and weights so that a (model, hardware) pair with n runs counts as sqrt(n) single ones. Levenberg-Marquardt with
numeric derivatives, in numpy.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.ir import Efficiency, Prior, Run
from placement.ir._array import Floats
from placement.passes.accuracy import scores
from placement.passes.batch import Batch, batch_of, pipeline_s, predict
from placement.passes.predict import predict_run
from placement.passes.scope import scope_of

NOISE = 0.05  # logarithmic scale of a run: identical configurations differ by 0.3 to 5 % (measured_runs.md)
OTHER = 0.3  # weight of runs outside `core`: old software, unconfirmed fields
STEP = 1e-4  # of a logarithm, for derivatives


@dataclass(frozen=True)
class Fit:
    """Fitted constants and what they leave. `predicted_s`: of the fitted runs, by the fast path."""

    efficiency: Efficiency
    predicted_s: Floats
    cost: float


def calibrate(
    runs: Sequence[Run], prior: Mapping[str, Prior], *, crossed: bool = True, provenance: str = "fitted"
) -> tuple[Efficiency, dict[str, Any]]:
    """Constants fitted to the runs, and a report: errors of the fit, and of fits that left out the pair, the model or the GPU.

    `crossed`: whether to cross-validate (a minute for 237 runs). Runs without a measured step or with a reason are not used.
    """
    used = usable(runs)
    if not used:
        raise ValueError("no run has both a measured step and a configuration that can be priced")
    found = fit_runs(used, prior)
    eff = Efficiency(found.efficiency.values, provenance)
    report: dict[str, Any] = {
        "format_version": 1, "runs": len(used), "fit": _errors(used, found.predicted_s),
        "constants": {name: _moved(p, eff[name]) for name, p in prior.items() if p.width > 0},
    }  # fmt: skip
    if crossed:
        groups = {"pair": lambda r: r.pair, "model": lambda r: r.model_key, "hardware": lambda r: r.hardware}
        predicted = {name: left_out(used, prior, group, eff) for name, group in groups.items()}
        report["left_out"] = {name: _errors(used, steps_s) for name, steps_s in predicted.items()}
        scope, report["covered"] = scope_of(used, predicted["model"], predicted["hardware"])
        eff = dataclasses.replace(eff, scope=scope)
    return eff, report


def _moved(prior: Prior, value: float) -> dict[str, float]:
    """A constant beside its prior; `moved` in standard deviations, with what its family shares."""
    width = float(np.hypot(prior.width, prior.shared))
    return {"value": value, "prior": prior.value, "width": width, "moved": float(np.log(value / prior.value) / width)}


def usable(runs: Sequence[Run]) -> list[Run]:
    """Runs that a fit can use."""
    return [r for r in runs if r.reason is None and r.measured_step_s]


def _errors(runs: Sequence[Run], predicted_s: Floats) -> dict[str, Any]:
    """Median, mean and 90th percentile over pairs: core, dense and routed, everything."""
    rows = [
        {
            "model": r.model_key, "hardware": r.hardware, "core": r.core, "kind": r.kind,
            "error": float(s / r.measured_step_s - 1.0), "measured_tokens_per_s_per_gpu": r.tokens_per_s_per_gpu,
            "tokens_per_s_per_gpu": r.tokens_per_s_per_gpu * r.measured_step_s / s,
        }
        for r, s in zip(runs, predicted_s, strict=True) if r.measured_step_s
    ]  # fmt: skip
    core = [r for r in rows if r["core"]]
    chosen = {"core": core, "all": rows} | {f"core {k}": [r for r in core if r["kind"] == k] for k in ("dense", "moe")}
    return {name: scores(part) for name, part in chosen.items()}


def fit_runs(runs: Sequence[Run], prior: Mapping[str, Prior], *, rounds: int = 3, start: Efficiency | None = None) -> Fit:
    """Fit all constants of positive width. The pipeline is simulated again before each round."""
    used = usable(runs)
    batch = batch_of(used)
    eff = start or Efficiency({k: p.value for k, p in prior.items()}, "priors")
    weight_R, cost = weights(used), np.inf
    for _ in range(rounds):
        batch = with_simulation(batch, eff)
        eff, cost = fit(batch, prior, weight_R, eff)
    return Fit(eff, predict(batch, eff), cost)


def weights(runs: Sequence[Run]) -> Floats:
    """Weight of each run: pairs count as the square root of their runs, runs outside the core less."""
    size = Counter(r.pair for r in runs)
    return np.array([size[r.pair] ** -0.5 * (1.0 if r.core else OTHER) for r in runs])


def with_simulation(batch: Batch, eff: Efficiency) -> Batch:
    """The batch with its closed-form pipelines scaled to simulated ones at these constants."""
    makespan_R, _, _ = pipeline_s(batch, eff)
    ratio_R = np.ones(len(batch.runs))
    for i, run in enumerate(batch.runs):
        if batch.fact_R["pp"][i] > 1:
            parts = predict_run(run, eff, batch.stages[i]).parts_s
            # all but what follows the pipeline; published runs gather no weights (gtp), so `dp` is gradient traffic alone
            pipeline_parts = sum(v for k, v in parts.items() if k not in ("dp", "optimizer", "overhead"))
            ratio_R[i] = pipeline_parts / makespan_R[i]
    return dataclasses.replace(batch, ratio_R=ratio_R)


def fit(
    batch: Batch, prior: Mapping[str, Prior], weight_R: Floats, start: Efficiency, *, steps: int = 25
) -> tuple[Efficiency, float]:
    """One Levenberg-Marquardt descent from `start`; returns the constants and the value of the objective."""
    names = [n for n, p in prior.items() if p.width > 0]
    centre = np.log([prior[n].value for n in names])
    width = np.array([prior[n].width for n in names])
    whiten = np.linalg.inv(np.linalg.cholesky(covariance([prior[n] for n in names])))
    fixed = {n: p.value for n, p in prior.items() if p.width == 0}
    used_R = weight_R > 0
    scale_R = weight_R / (NOISE * np.sqrt(np.mean(weight_R[used_R] ** 2)))
    measured_R = np.log(batch.fact_R["measured"])

    def constants(x: Floats) -> Efficiency:
        return Efficiency({**fixed, **dict(zip(names, np.exp(x).tolist(), strict=True))}, start.provenance)

    def residuals(x: Floats) -> Floats:
        z = np.where(used_R, scale_R * (np.log(predict(batch, constants(x))) - measured_R), 0.0)
        soft = z * np.sqrt(2.0 / (1.0 + np.sqrt(1.0 + z * z)))
        return np.concatenate([soft, whiten @ (x - centre)])

    x, cost = descend(residuals, np.log([start[n] for n in names]), width, steps)
    return constants(x), cost


def covariance(priors: Sequence[Prior]) -> Floats:
    """Covariance of the logarithms of constants before any run, (P, P)."""
    alike = np.array([[p.family != "" and p.family == q.family for q in priors] for p in priors], dtype=float)
    shared = np.array([p.shared for p in priors])
    return np.asarray(np.diag([p.width**2 for p in priors]) + alike * np.outer(shared, shared))


def descend(residuals: Callable[[Floats], Floats], x: Floats, width: Floats, steps: int) -> tuple[Floats, float]:
    """Levenberg-Marquardt with forward differences; damping in units of the prior widths."""
    r = residuals(x)
    cost, damping = float(r @ r), 1e-2
    for _ in range(steps):
        jacobian = np.stack([(residuals(x + STEP * unit) - r) / STEP for unit in np.eye(len(x))], -1)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ r
        gain = 0.0
        for _ in range(8):
            step = np.linalg.solve(normal + damping * np.diag(1.0 / width**2), -gradient)
            trial = residuals(x + step)
            if float(trial @ trial) < cost:
                gain = cost - float(trial @ trial)
                x, r, cost, damping = x + step, trial, float(trial @ trial), damping / 4
                break
            damping *= 4
        if gain < 3e-6 * cost:
            break
    return x, cost


def left_out(runs: Sequence[Run], prior: Mapping[str, Prior], group: Callable[[Run], object], start: Efficiency) -> Floats:
    """Predictions of runs by fits that never saw their group; `start` (the full fit) only shortens the way. (R,)"""
    used = usable(runs)
    batch = with_simulation(batch_of(used), start)
    weight_R = weights(used)
    keys = [group(r) for r in used]
    out = np.zeros(len(used))
    for key in dict.fromkeys(keys):
        held = np.array([k == key for k in keys])
        eff, _ = fit(batch, prior, np.where(held, 0.0, weight_R), start, steps=8)
        out[held] = predict(batch, eff)[held]
    return out
