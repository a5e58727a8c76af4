# SPDX-License-Identifier: Apache-2.0
"""A plan for every strategy of one host that can be trained: python -m benchmarks.gpu.cases TOPOLOGY OUT [--calibration FILE].

OUT/MODEL/CASE      the plan directory, which placement-exec and train.py read
OUT/MODEL/CASE.json shape of the model, for train.py
OUT/MODEL/cases.json what was planned and what was not, with the reason
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import placement
from placement.diag import Infeasible
from placement.ir import Efficiency, Job, ModelGraph

HERE = Path(__file__).parent
SHAPES: Mapping[str, Mapping[str, int]] = {
    "dense-1b": {"layers": 16, "hidden": 2048, "heads": 16, "ffn": 6144, "vocab": 32000},
    "moe-2b": {"layers": 16, "hidden": 2048, "heads": 16, "ffn": 1024, "vocab": 32000, "experts": 16, "topk": 4},
}
SCHEDULES = {"1f1b": 1, "interleaved": 2, "zb-v": 2}  # and chunks a stage
MICRO_BATCHES = (1, 2, 4)


def pins_of(gpus: int, routed: bool) -> Iterator[dict[str, int | str]]:
    """Every combination that uses all GPUs; those that the batch or the model excludes are found out by planning them."""
    for tp, pp in itertools.product((d for d in range(1, gpus + 1) if gpus % d == 0), repeat=2):
        if gpus % (tp * pp):
            continue
        dp = gpus // (tp * pp)
        for ep in [e for e in range(1, tp * dp + 1) if tp * dp % e == 0] if routed else [1]:
            for schedule in SCHEDULES if pp > 1 else ["1f1b"]:
                for sharding, mbs in itertools.product(("none", "fsdp") if dp > 1 else ("none",), MICRO_BATCHES):
                    yield {
                        "tp": tp, "cp": 1, "pp": pp, "dp": dp, "ep": ep, "etp": 1, "gtp": 1, "egtp": 1, "micro_batch": mbs,
                        "vpp": SCHEDULES[schedule], "schedule": schedule, "sharding": sharding, "recompute": "none",
                    }  # fmt: skip


def name_of(pins: Mapping[str, int | str]) -> str:
    """`tp2-pp1-dp1-ep1-mbs4-1f1b-none`."""
    degrees = "-".join(f"{axis}{pins[axis]}" for axis in ("tp", "pp", "dp", "ep"))
    return f"{degrees}-mbs{pins['micro_batch']}-{pins['schedule']}-{pins['sharding']}"


def job_of(defaults: Mapping[str, Any], pins: Mapping[str, int | str], calibration: str | None) -> Job:
    """A job of the stack of train.py, with everything pinned."""
    job = placement.load_job(HERE / "job.yaml", defaults, pins)
    return replace(job, calibration=calibration) if calibration else job


def main() -> None:
    """Plans all cases of both models."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.cases", description=__doc__)
    parser.add_argument("topology")
    parser.add_argument("out", type=Path)
    parser.add_argument("--calibration", help="constants from the microbenchmarks of the host")
    args = parser.parse_args()
    constants = constants_of(args.calibration)
    for model in SHAPES:
        graph, defaults = placement.load_model(HERE / f"{model}.yaml")
        told = plan_all(args.topology, model, graph, defaults, constants, args.out / model)
        print(f"{model}: {sum('reason' not in t for t in told)} plans, {sum('reason' in t for t in told)} not feasible")


def constants_of(path: str | None) -> Efficiency | None:
    """Constants of a calibration file."""
    from placement.spec.catalog import efficiency

    return efficiency(path) if path else None


def plan_all(
    topology: str, model: str, graph: ModelGraph, defaults: Mapping[str, Any], constants: Efficiency | None, out: Path
) -> list[dict[str, Any]]:
    """Plans of one model, and the list of them."""
    cluster = placement.load_cluster(topology)
    told: list[dict[str, Any]] = []
    for pins in pins_of(cluster.num_gpus, "experts" in SHAPES[model]):
        job, name = job_of(defaults, pins, None), name_of(pins)
        try:
            plan = placement.compile(cluster, graph, job, constants)
        except Infeasible as error:
            told.append({"case": name, "reason": str(error)})
            continue
        placement.write_plan(plan, out / name)
        (out / f"{name}.json").write_text(json.dumps({"shape": SHAPES[model], "length": job.seq_len}), encoding="utf-8")
        cost = plan.chosen.cost
        told.append(
            {
                "case": name, "step_s": cost.step_s, "parts_s": dict(cost.parts_s),
                "peak_bytes_P": cost.memory_PM.sum(axis=1).tolist(),
            }
        )  # fmt: skip
    (out / "cases.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    return told


if __name__ == "__main__":
    main()
