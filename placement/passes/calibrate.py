# SPDX-License-Identifier: Apache-2.0
# R run   P parameter (a constant of the cost model)
"""Fit the constants of the cost model to measured steps, near their priors, and cross-validate by leaving pairs out.

Minimises, over the logarithms x of the constants,
    sum_R rho(w_R (log predicted - log measured) / noise)  +  sum_P ((x - prior) / width)^2
with rho the soft L1 norm (far residuals count linearly) and weights so that a (model, hardware) pair with n runs counts as
sqrt(n) single ones. Levenberg-Marquardt with numeric derivatives, in numpy.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from placement.ir import Efficiency, Run
from placement.ir._array import Bools, Floats
from placement.passes.batch import Batch, batch_of, pipeline_s, predict
from placement.passes.predict import predict_run

NOISE = 0.05  # logarithmic scale of a run: identical configurations differ by 0.3 to 5 % (measured_runs.md)
OTHER = 0.3  # weight of runs outside `core`: old software, unconfirmed fields
STEP = 1e-4  # of a logarithm, for derivatives


@dataclass(frozen=True)
class Prior:
    """A constant before any run is seen. `width`: standard deviation of its logarithm; 0 means it is not fitted."""

    value: float
    width: float


@dataclass(frozen=True)
class Fit:
    """Fitted constants and what they leave. `predicted_s`: of the fitted runs, by the fast path."""

    efficiency: Efficiency
    predicted_s: Floats
    cost: float


def calibrate(runs: Sequence[Run], prior: Mapping[str, Prior], *, rounds: int = 3, start: Efficiency | None = None) -> Fit:
    """Fit all constants of positive width to runs with a measured step. The pipeline is simulated again before each round."""
    used = [r for r in runs if r.reason is None and r.measured_step_s]
    batch = batch_of(used)
    eff = start or Efficiency({k: p.value for k, p in prior.items()}, "priors")
    weight_R = weights(used)
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
            exact = sum(parts.values()) - parts["optimizer"] - parts["overhead"]
            ratio_R[i] = (exact - _dp_only(batch, eff, i, parts)) / makespan_R[i]
    return dataclasses.replace(batch, ratio_R=ratio_R)


def _dp_only(batch: Batch, eff: Efficiency, i: int, parts: Mapping[str, float]) -> float:
    """Gradient traffic in a step's `dp` part, which also carries weight gathers (none in published runs)."""
    del batch, eff, i
    return parts["dp"]


def fit(batch: Batch, prior: Mapping[str, Prior], weight_R: Floats, start: Efficiency, *, steps: int = 25) -> tuple[Efficiency, float]:
    """One Levenberg-Marquardt descent from `start`; returns the constants and the value of the objective."""
    names = [n for n, p in prior.items() if p.width > 0]
    centre = np.log([prior[n].value for n in names])
    width = np.array([prior[n].width for n in names])
    fixed = {n: p.value for n, p in prior.items() if p.width == 0}
    used_R = weight_R > 0
    scale_R = weight_R / (NOISE * np.sqrt(np.mean(weight_R[used_R] ** 2)))
    measured_R = np.log(batch.fact_R["measured"])

    def constants(x: Floats) -> Efficiency:
        return Efficiency({**fixed, **dict(zip(names, np.exp(x).tolist(), strict=True))}, start.provenance)

    def residuals(x: Floats) -> Floats:
        z = np.where(used_R, scale_R * (np.log(predict(batch, constants(x))) - measured_R), 0.0)
        soft = z * np.sqrt(2.0 / (1.0 + np.sqrt(1.0 + z * z)))
        return np.concatenate([soft, (x - centre) / width])

    x, cost = descend(residuals, np.log([start[n] for n in names]), width, steps)
    return constants(x), cost


def descend(residuals: Callable[[Floats], Floats], x: Floats, width: Floats, steps: int) -> tuple[Floats, float]:
    """Levenberg-Marquardt with forward differences; damping in units of the prior widths."""
    r = residuals(x)
    cost, damping = float(r @ r), 1e-2
    for _ in range(steps):
        jacobian = np.stack([(residuals(x + STEP * unit) - r) / STEP for unit in np.eye(len(x))], -1)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ r
        improved = False
        for _ in range(8):
            step = np.linalg.solve(normal + damping * np.diag(1.0 / width**2), -gradient)
            trial = residuals(x + step)
            if float(trial @ trial) < cost:
                improved, gain = True, cost - float(trial @ trial)
                x, r, cost, damping = x + step, trial, float(trial @ trial), damping / 4
                break
            damping *= 4
        if not improved or gain < 1e-4 * cost:
            break
    return x, cost


def left_out(runs: Sequence[Run], prior: Mapping[str, Prior], group: Callable[[Run], object], start: Efficiency) -> Floats:
    """Predictions of runs by fits that never saw their group; `start` (the full fit) only shortens the way. (R,)"""
    used = [r for r in runs if r.reason is None and r.measured_step_s]
    batch = with_simulation(batch_of(used), start)
    weight_R = weights(used)
    keys = [group(r) for r in used]
    out = np.zeros(len(used))
    for key in dict.fromkeys(keys):
        held = np.array([k == key for k in keys])
        eff, _ = fit(batch, prior, np.where(held, 0.0, weight_R), start, steps=8)
        out[held] = predict(batch, eff)[held]
    return out


def core_mask(runs: Sequence[Run]) -> Bools:
    return np.array([r.core for r in runs])
