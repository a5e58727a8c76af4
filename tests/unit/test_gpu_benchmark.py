# SPDX-License-Identifier: Apache-2.0
"""The measurement on GPUs, as far as it runs without one: its strategies, its results against the model, its C program."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import placement
from benchmarks.gpu import __main__ as driver
from benchmarks.gpu import cases, compare

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "gpu" / "results" / "h200-x2-2026-11-28"


@pytest.mark.parametrize(("gpus", "dense", "routed"), [(1, 3, 3), (2, 18, 27), (4, 51, 108), (8, 102, 282)])
def test_every_factorisation_of_the_host_is_tried(gpus, dense, routed):
    """tp x pp x dp = GPUs, ep divides tp x dp, three micro-batches, three schedules where there are stages; no case twice."""
    for experts, count in ((False, dense), (True, routed)):
        found = list(cases.pins_of(gpus, experts))
        assert len(found) == len({cases.name_of(p) for p in found}) == count
        assert all(p["tp"] * p["pp"] * p["dp"] == gpus and p["tp"] * p["dp"] % p["ep"] == 0 for p in found)


def test_cases_are_plans_of_what_is_trained(tmp_path):
    """Each plan has the pinned strategy, and the shape beside it is that of the model file."""
    graph, defaults = placement.load_model(cases.HERE / "moe-2b.yaml")
    told = cases.plan_all("h200-2", "moe-2b", graph, defaults, None, tmp_path)
    assert len(told) == 27 and not [t for t in told if "reason" in t]
    plan = placement.load_plan(tmp_path / "tp1-pp2-dp1-ep1-mbs2-zb-v-none")
    assert dataclasses.asdict(plan.strategy) | {"pp": 2, "vpp": 2, "schedule": "zb-v"} == dataclasses.asdict(plan.strategy)
    shape = json.loads((tmp_path / "tp1-pp2-dp1-ep1-mbs2-zb-v-none.json").read_text())["shape"]
    params = 2 * shape["vocab"] * shape["hidden"] + shape["layers"] * (
        4 * shape["hidden"] ** 2 + shape["experts"] * (3 * shape["hidden"] * shape["ffn"] + shape["hidden"])
    )
    assert graph.num_params == pytest.approx(params, rel=1e-3)


def test_failed_plans_are_written_down_and_the_rest_goes_on(tmp_path, monkeypatch):
    """A trainer that dies on its second plan: that plan has an error, all others a result."""
    plans = [tmp_path / "plans" / "m" / f"c{i}" for i in range(4)]

    def trainer(words, timeout_s, **more):
        names = [Path(w) for w in words if Path(w).parent.name == "m"][1:]
        results = Path(next(w for w in words if str(w).endswith(".jsonl")))
        with results.open("a") as file:
            for name in names:
                if name.name == "c1":
                    return 1
                file.write(json.dumps({"model": "m", "case": name.name, "step_s": 1.0}) + "\n")
        return 0

    monkeypatch.setattr(driver, "call", trainer)
    driver.train(tmp_path, plans, float("inf"))
    rows = {r["case"]: r for r in map(json.loads, (tmp_path / "steps.jsonl").read_text().splitlines())}
    assert rows["c1"]["error"] == "exit code 1"
    assert [c for c in rows if "step_s" in rows[c]] == ["c0", "c2", "c3"]


def test_measured_steps_against_the_model():
    """The committed measurement: memory within 10 %, the first choice within 5 % of the best; the page says what misses."""
    runs, stages, failed = compare.measured(RESULTS, "h200-2")
    assert (len(runs), len(failed)) == (39, 6)
    constants = compare.efficiency(RESULTS / "constants.yaml")
    costs = [compare.predict_run(run, constants, cut) for run, cut in zip(runs, stages, strict=True)]
    memory = [abs(c.peak_memory_bytes / r.peak_bytes - 1) for r, c in zip(runs, costs, strict=True)]
    assert sum(memory) / len(memory) < 0.10
    for model in cases.SHAPES:
        mine = [(c.step_s, r.measured_step_s) for r, c in zip(runs, costs, strict=True) if r.model_key == model]
        assert min(mine)[1] < 1.05 * min(s for _, s in mine)
    assert {runs[i].id for i in compare.host_bound(runs)} >= {"tp2-pp1-dp1-ep1-mbs1-1f1b-none"}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_nccl_program_compiles_clean(compiler):
    """C11 without a warning, where CUDA's and NCCL's headers are."""
    paths = [Path("/usr/local/cuda/include"), Path("/usr/include")]
    if not shutil.which(compiler) or not all(any((p / h).exists() for p in paths) for h in ("nccl.h", "cuda_runtime.h")):
        pytest.skip(f"not installed here: {compiler}, nccl.h or cuda_runtime.h")
    words = [compiler, "-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *(f"-I{p}" for p in paths[:1])]
    source = ROOT / "examples" / "runtime" / "nccl_step.c"
    run = subprocess.run([*words, f"-I{ROOT}/placement/runtime", source], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
