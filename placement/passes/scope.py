# SPDX-License-Identifier: Apache-2.0
# R run
"""Intervals calibrated on runs that were left out of the fit: as wide as 80 % of their errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from placement.cost.confidence import extrapolates, half_width
from placement.cost.context import generation_of, precision_of
from placement.cost.hardware import contiguous_spans, hardware
from placement.ir import Run, Scope
from placement.ir._array import Bools, Floats, Ints

COVER = 0.8
FEW = 5  # runs below which their errors say nothing about the next one
USUAL = {"dense": 0.10, "moe": 0.20, "far": 1.5}  # where too few runs are known: what the published set showed


def envelope(runs: Sequence[Run]) -> Scope:
    """What the runs cover, without intervals."""
    hws = [hardware(r.cluster) for r in runs if r.cluster]
    jobs = [r.job for r in runs if r.job]
    return Scope(
        gpus=tuple(sorted({hw.chip.name for hw in hws})),
        precisions=tuple(sorted({f"{generation_of(hw)} {precision_of(j, hw)}" for j, hw in zip(jobs, hws, strict=True)})),
        max_gpus=max((r.num_gpus for r in runs), default=0),
    )


def reasons_of(run: Run, scope: Scope) -> tuple[str, ...]:
    """In which respects a run stands outside a scope; its ranks lie on GPUs in order."""
    assert run.cluster is not None and run.job is not None and run.strategy is not None
    hw = hardware(run.cluster)
    members, _, _ = contiguous_spans(hw, run.strategy).axis("ep")
    return extrapolates(scope, run.job, hw, run.strategy, bool(members[0] < run.strategy.ep))


def scope_of(runs: Sequence[Run], model_s: Floats, hardware_s: Floats) -> tuple[Scope, float]:
    """Scope with intervals, and the share of left-out runs that they cover when each model is judged by the others' errors.

    `model_s`, `hardware_s`: steps predicted by fits that left out the run's model on all hardware, or its GPU type. The model
    of a plan is seldom one that was published, so its errors are those of models that a fit never saw.
    """
    base = envelope(runs)
    reasons_R = np.array([len(reasons_of(r, base)) for r in runs])
    measured_R = np.array([r.measured_step_s or np.nan for r in runs])
    model_R, hardware_R = (np.abs(np.log(s / measured_R)) for s in (model_s, hardware_s))
    spread = _spread(runs, model_R, hardware_R, reasons_R, np.ones(len(runs), dtype=bool))
    scope = Scope(base.gpus, base.precisions, base.max_gpus, spread)
    covered = 0.0
    pairs = Counter(r.pair for r in runs)
    for model in dict.fromkeys(r.model_key for r in runs):
        mine = np.array([r.model_key == model for r in runs])
        others = Scope(base.gpus, base.precisions, base.max_gpus, _spread(runs, model_R, hardware_R, reasons_R, ~mine))
        for i in np.flatnonzero(mine).tolist():
            width = half_width(others, runs[i].kind == "moe", int(reasons_R[i]))
            covered += float(model_R[i] <= width) / pairs[runs[i].pair]
    return scope, covered / len(pairs)


def _spread(runs: Sequence[Run], model_R: Floats, hardware_R: Floats, reasons_R: Ints, known_R: Bools) -> dict[str, float]:
    """Half-widths from the errors of `known_R`: of dense and of routed models, and how much wider errors far away are."""
    size = Counter(r.pair for r in runs)
    weight_R = np.array([1.0 / size[r.pair] for r in runs])
    kind_R = np.array([r.kind for r in runs])
    out = {}
    for kind in ("dense", "moe"):
        near = known_R & (kind_R == kind) & (reasons_R == 0)
        out[kind] = quantile(model_R[near], weight_R[near]) if near.sum() >= FEW else USUAL[kind]
    unit_R = np.array([out["moe" if k == "moe" else "dense"] for k in kind_R])
    far = known_R & (reasons_R > 0)
    ratio = np.concatenate([model_R[far] / unit_R[far], hardware_R[known_R] / unit_R[known_R]])
    weight = np.concatenate([weight_R[far], weight_R[known_R]])
    out["far"] = max(1.0, quantile(ratio, weight)) if len(ratio) >= FEW else USUAL["far"]
    return out


def quantile(values: Floats, weights: Floats, share: float = COVER) -> float:
    """Smallest value that at least `share` of the weight does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(reached, share)), len(values) - 1)])
