# SPDX-License-Identifier: Apache-2.0
"""`placement topology validate --model`: what the faults of a fabric cost a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placement.report.text import percent, seconds, table

if TYPE_CHECKING:
    from placement.fabric.wiring.analyse import Analysis
    from placement.fabric.wiring.faults import Fault

WORST = 5  # faults that are told


@dataclass(frozen=True)
class Loss:
    """Seconds of a step of the plan for the fabric as designed: without faults, with all, and with each of the worst alone.

    `found_s`, `found_gpus`  of a plan made for the fabric as found; `worst` (fault, GPUs, seconds) dearest first
    """

    model: str
    designed_s: float
    designed_gpus: int
    found_s: float
    found_gpus: int
    worst: tuple[tuple[Fault, int, float], ...]


def loss_of(known: Analysis, model: str, topology: str, job: str | None) -> Loss:
    """Plans the model on the fabric as designed and as found, and prices the first plan under each fault alone."""
    from placement.cli.inputs import read_inputs
    from placement.compile import compile_plan
    from placement.fabric.wiring.impact import designed, impacts
    from placement.passes.problem import problem, realise

    inputs = read_inputs(model, topology, job, {}, {"effort": 0})
    whole = designed(inputs.cluster)
    best = compile_plan(whole, inputs.model, inputs.job, inputs.efficiency)
    real = compile_plan(inputs.cluster, inputs.model, inputs.job, inputs.efficiency)
    chosen = best.chosen
    priced = []
    for one in impacts(known, whole):
        same = one.cluster is whole
        task = problem(one.cluster, inputs.model, inputs.job, inputs.efficiency)
        step = chosen.cost.step_s if same else realise(task, chosen.strategy, chosen.stages, chosen.placement).cost.step_s
        priced.append((one.fault, one.gpus, step))
    priced.sort(key=lambda p: (-p[2], -p[1]))
    return Loss(
        inputs.model.name, chosen.cost.step_s, len(chosen.placement.gpu_R), real.chosen.cost.step_s,
        len(real.chosen.placement.gpu_R), tuple(priced[:WORST]),
    )  # fmt: skip


def as_json(loss: Loss) -> dict[str, Any]:
    return {
        "model": loss.model, "designed_step_s": loss.designed_s, "designed_gpus": loss.designed_gpus,
        "found_step_s": loss.found_s, "found_gpus": loss.found_gpus,
        "worst": [
            {"name": f"fabric/{f.kind}", "message": f.message, "gpus": gpus, "step_s": s, "loss": s / loss.designed_s - 1}
            for f, gpus, s in loss.worst
        ],
    }  # fmt: skip


def lines(loss: Loss) -> list[str]:
    """Two plans, and the worst faults alone under the first of them."""
    rows = [
        [f"step of {loss.model}", "GPUs at work", "step", "longer"],
        ["as designed", f"{loss.designed_gpus:,}", seconds(loss.designed_s), ""],
        ["as found, planned around the faults", f"{loss.found_gpus:,}", seconds(loss.found_s), _longer(loss.found_s, loss)],
        ["the plan as designed, with one fault:", "GPUs hit", "", ""],
    ]
    rows += [[f"  {f.kind}: {f.message[:70]}", f"{gpus:,}", seconds(s), _longer(s, loss)] for f, gpus, s in loss.worst]
    return table(rows, "<>>>")


def _longer(s: float, loss: Loss) -> str:
    return percent(s / loss.designed_s - 1)
