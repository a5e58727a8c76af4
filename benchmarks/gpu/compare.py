# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured: python -m benchmarks.gpu.compare RESULTS TOPOLOGY PAGE.

Each measured strategy is planned again as it was measured, and priced with the constants of RESULTS/constants.yaml, which
come from microbenchmarks alone; then with those constants after one measured step of the model was added. Rewrites the
tables of PAGE and the plot beside it.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import placement
from benchmarks.gpu.cases import HERE, SHAPES, job_of, name_of, pins_of
from placement.ir import Efficiency, Run, Stages, StepCost
from placement.passes.accuracy import kendall_tau, report
from placement.passes.own import fit_steps
from placement.passes.predict import predict_run
from placement.report.html.svg import CATEGORIES, legend, line, num, path, picture, standalone, text
from placement.spec.catalog import efficiency, priors

HOST_BOUND = 0.15  # a step that varies by more than this while its work does not was waiting for the host
Rows = Sequence[Mapping[str, Any]]


def measured(results: Path, topology: str) -> tuple[list[Run], list[Stages], list[Run]]:
    """Runs that were measured, the stages of each, and runs that failed."""
    rows = {(r["model"], r["case"]): r for r in map(json.loads, (results / "steps.jsonl").read_text().splitlines())}
    cluster = placement.load_cluster(topology)
    found: list[Run] = []
    stages: list[Stages] = []
    failed: list[Run] = []
    for model in SHAPES:
        graph, defaults = placement.load_model(HERE / f"{model}.yaml")
        for pins in pins_of(cluster.num_gpus, "experts" in SHAPES[model]):
            row = rows.get((model, name_of(pins)))
            if row is None:
                continue
            plan = placement.compile(cluster, graph, job_of(defaults, pins, None))
            run = Run(
                id=name_of(pins), model_key=model, kind="moe" if graph.is_moe else "dense", hardware=cluster.name, core=True,
                measured_step_s=row.get("step_s"), reason=row.get("error"), cluster=cluster, model=graph, job=plan.job,
                strategy=plan.chosen.strategy, num_gpus=cluster.num_gpus, peak_bytes=max(row.get("peak_bytes_R", [0])) or None,
            )  # fmt: skip
            if run.reason:
                failed.append(run)
                continue
            found.append(run)
            stages.append(plan.chosen.stages)
    return found, stages, failed


def after_one(
    runs: Sequence[Run], stages: Sequence[Stages], costs: Sequence[StepCost], constants: Efficiency
) -> list[StepCost]:
    """Costs once the planner's first choice of each model was run and given to `calibrate --steps`."""
    out = list(costs)
    for model in SHAPES:
        mine = [i for i, r in enumerate(runs) if r.model_key == model]
        if mine:
            first = min(mine, key=lambda i: costs[i].step_s)
            fitted = fit_steps([runs[first]], priors(), constants)
            for i in mine:
                out[i] = predict_run(runs[i], fitted, stages[i])
    return out


def table(runs: Sequence[Run], costs: Sequence[StepCost], after: Sequence[StepCost]) -> Iterator[str]:
    """One row a strategy."""
    yield "| model | strategy | measured | predicted | error | after one step | peak memory | predicted | error |"
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for run, cost, later in zip(runs, costs, after, strict=True):
        assert run.measured_step_s and run.peak_bytes
        memory, error = cost.peak_memory_bytes / run.peak_bytes - 1, cost.step_s / run.measured_step_s - 1
        cells = [
            run.model_key, run.id, f"{run.measured_step_s * 1e3:.0f} ms", f"{cost.step_s * 1e3:.0f} ms", f"{error:+.1%}",
            f"{later.step_s / run.measured_step_s - 1:+.1%}", f"{run.peak_bytes / 2**30:.1f} GiB",
            f"{cost.peak_memory_bytes / 2**30:.1f} GiB", f"{memory:+.1%}",
        ]  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def scores(title: str, runs: Sequence[Run], costs: Sequence[StepCost]) -> Iterator[str]:
    """Errors, order, and how far the planner's first choice is from the measured best, by model and together."""
    rows = report(runs, costs)["runs"]
    for model in (*SHAPES, "both"):
        mine = [r for r in rows if model in (r["model"], "both")]
        if not mine:
            continue
        error = np.array([abs(r["error"]) for r in mine])
        memory = np.mean([abs(r["peak_bytes"] / r["measured_peak_bytes"] - 1) for r in mine])
        tau, regret = "", ""
        if model != "both":
            found = kendall_tau(mine)
            tau = "" if found is None else f"{found:.2f}"
            first = min(mine, key=lambda r: r["predicted_step_time_s"])
            regret = f"{first['measured_step_time_s'] / min(r['measured_step_time_s'] for r in mine) - 1:+.1%}"
        errors = f"{np.median(error):.1%} | {error.mean():.1%} | {memory:.1%}"
        yield f"| {title} | {model} | {len(mine)} | {errors} | {tau} | {regret} |"


def plot(runs: Sequence[Run], costs: Sequence[StepCost], after: Sequence[StepCost]) -> str:
    """Predicted against measured step, both logarithmic: small marks from microbenchmarks, large ones after one step."""
    low, high, size = 0.35, 1.8, 460.0

    def at(seconds: float) -> float:
        return math.log(seconds / low) / math.log(high / low) * (size - 100)

    body = legend(70, 20, [(m, CATEGORIES[i]) for i, m in enumerate(SHAPES)])
    for s in (0.4, 0.6, 0.8, 1.0, 1.4):
        body += [line(70 + at(s), 40, 70 + at(s), size - 60, "grid"), text(70 + at(s), size - 42, f"{s:g} s", "mid")]
        body += [
            line(70, size - 60 - at(s), size - 30, size - 60 - at(s), "grid"),
            text(64, size - 56 - at(s), f"{s:g} s", "end"),
        ]
    body += [line(70, size - 60, size - 30, 40, "line"), text(size / 2, size - 20, "measured; predicted upwards", "mid dim")]
    for points, r in ((costs, 2.2), (after, 4.0)):
        for run, cost in zip(runs, points, strict=True):
            x, y = 70 + at(run.measured_step_s or 0), size - 60 - at(cost.step_s)
            shape = f"M{num(x - r)} {num(y)}a{num(r)} {num(r)} 0 1 0 {num(2 * r)} 0a{num(r)} {num(r)} 0 1 0 -{num(2 * r)} 0z"
            error = cost.step_s / (run.measured_step_s or 1) - 1
            body.append(path(shape, CATEGORIES[list(SHAPES).index(run.model_key)], "", f"{run.id}: {error:+.1%}"))
    return standalone(picture(size, size, f"Predicted against measured step of {len(runs)} strategies", body))


def host_bound(runs: Sequence[Run]) -> set[int]:
    """Strategies whose step the host set: with twice the sequences in a microbatch the same work took much less time.

    GPUs alone gain a few percent from larger microbatches; a host that needs the same time for each microbatch, whatever is in
    it, gains a factor of up to two.
    """
    out = set()
    for i, run in enumerate(runs):
        s = run.strategy
        for other in runs:
            t = other.strategy
            assert s and t and run.measured_step_s and other.measured_step_s
            twin = replace(s, micro_batch=2 * s.micro_batch, num_microbatches=s.num_microbatches // 2)
            slower = run.measured_step_s > (1 + HOST_BOUND) * other.measured_step_s
            if run.model_key == other.model_key and t == twin and slower:
                out.add(i)
    return out


def main(results: str, topology: str, page: str) -> None:
    folder = Path(results)
    runs, stages, failed = measured(folder, topology)
    constants = efficiency(folder / "constants.yaml")
    costs = [predict_run(run, constants, cut) for run, cut in zip(runs, stages, strict=True)]
    after = after_one(runs, stages, costs, constants)
    bound = host_bound(runs)
    kept = [i for i in range(len(runs)) if i not in bound]

    def some(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in kept]

    lines = ["| constants | model | strategies | step, median | step, mean | memory, mean | order | first choice |"]
    lines += ["|---|---|--:|--:|--:|--:|--:|--:|"]
    lines += [*scores("microbenchmarks", runs, costs), *scores("and one step", runs, after)]
    for title, values in (("microbenchmarks, GPU-bound", costs), ("and one step, GPU-bound", after)):
        lines += scores(title, some(runs), some(values))
    lines += ["", f"Bound by the host: {', '.join(f'{runs[i].model_key} {runs[i].id}' for i in sorted(bound)) or 'none'}."]
    lines += ["", *table(runs, costs, after), ""]
    lines += ["Planned and not trained:", "", *(f"- {r.model_key} {r.id}: {r.reason}" for r in failed)]
    target = Path(page)
    mark, end = "<!-- results: written by benchmarks/gpu/compare.py -->\n", "<!-- end of results -->"
    head, rest = target.read_text(encoding="utf-8").split(mark, 1)
    target.write_text(f"{head}{mark}{chr(10).join(lines)}\n{rest[rest.index(end) :]}", encoding="utf-8")
    (target.parent / "images" / f"{target.stem}.svg").write_text(plot(runs, costs, after), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
