# SPDX-License-Identifier: Apache-2.0
"""The referee's second arithmetic: it agrees with the compiler on honest plans, and catches every changed number."""

import dataclasses
from pathlib import Path

import pytest

from placement.cost.pipeline import misfit, simulate
from placement.ir import Chip, Job, Software
from placement.runtime import load_plan, write_plan
from placement.spec import catalog, load_cluster
from placement.spec.model import load_model
from placement.verify import verify
from placement.verify.case import Degrees
from placement.verify.schedule import held, makespan_s
from tests.compiled import compiled
from tests.unit.verify.test_referee import with_json, with_table

R3 = {"tp": 4, "dp": 16, "pp": 8}
V3 = {"tp": 2, "cp": 2, "dp": 16, "pp": 8, "ep": 32}
LLAMA = Job(seq_len=8192, global_batch=256)
DEEPSEEK = Job(seq_len=4096, global_batch=512, precision="mxfp8", expert_imbalance=1.1)
OLD = Software("megatron", 2022.0)


def chip(cluster, **facts):
    """The cluster with another chip in it."""
    return dataclasses.replace(cluster, chips=tuple(dataclasses.replace(c, **facts) for c in cluster.chips))


AMPERE = {"generation": "ampere", "form": "hgx", "hbm_bytes": 300e9, "nvls": False}
HOPPER = {"generation": "hopper", "form": "hgx_500w", "hbm_bytes": 300e9}

CASES = {
    "dense": ("llama3-70b", LLAMA, R3, {}),
    "fsdp": ("llama3-70b", LLAMA, R3 | {"sharding": "fsdp", "pp": 2, "dp": 64, "gtp": 2}, {}),
    "zero2": ("llama3-70b", LLAMA, R3 | {"sharding": "zero2"}, {}),
    "unsharded": ("llama3-70b", LLAMA, R3 | {"sharding": "none"}, {}),
    "one stage": ("llama3-70b", LLAMA, {"tp": 8, "dp": 32}, {}),
    "odd degrees": ("llama3-70b", dataclasses.replace(LLAMA, global_batch=240), {"tp": 8, "dp": 5, "pp": 11}, {}),
    "full recompute": ("llama3-70b", dataclasses.replace(LLAMA, recompute=("full",)), R3, {}),
    "selective": ("llama3-70b", dataclasses.replace(LLAMA, recompute=("selective",)), R3, {}),
    "zb-h1": ("llama3-70b", LLAMA, R3 | {"schedule": "zb-h1"}, {}),
    "zb-v": ("llama3-70b", LLAMA, R3 | {"schedule": "zb-v", "vpp": 2}, {}),
    "dualpipe": ("llama3-70b", LLAMA, R3 | {"schedule": "dualpipe"}, {}),
    "dualpipev": ("llama3-70b", LLAMA, R3 | {"schedule": "dualpipev", "vpp": 2}, {}),
    "ampere 2022": ("gpt3-175b", Job(2048, 256, software=OLD, recompute=("selective",)), R3, AMPERE),
    "hopper fp8": ("llama3-70b", dataclasses.replace(LLAMA, precision="fp8"), R3, HOPPER),
    "torchtitan": (
        "llama3-70b",
        dataclasses.replace(LLAMA, software=Software("torchtitan", 2025.0)),
        R3 | {"cp": 2, "dp": 8},
        HOPPER,
    ),
    "behind its host": (
        "llama3-70b",
        Job(128, 256, software=Software("torchtitan", 2025.0)),
        {"tp": 2, "dp": 32, "pp": 1, "sharding": "fsdp"},
        HOPPER,
    ),
    "experts behind their host": (
        "deepseek-v3",
        Job(512, 512, "fp8", software=Software("megatron", 2025.3)),
        V3 | {"ep": 8},
        HOPPER,
    ),
    "experts in graphs": (
        "deepseek-v3",
        Job(512, 512, software=Software("megatron", 2025.3, graphs=True)),
        V3 | {"ep": 8},
        {},
    ),
    "composer": (
        "llama3-70b",
        dataclasses.replace(LLAMA, software=Software("composer", 2024.0)),
        R3 | {"sharding": "fsdp"},
        HOPPER,
    ),
    "mlperf": ("llama3-70b", dataclasses.replace(LLAMA, software=Software("mlperf", 2026.5), precision="nvfp4"), R3, {}),
    "experts": ("deepseek-v3", DEEPSEEK, V3 | {"schedule": "interleaved", "vpp": 4}, {}),
    "expert shards": ("deepseek-v3", DEEPSEEK, V3 | {"ep": 8, "etp": 2, "egtp": 2, "gtp": 4}, {}),
    "hopper experts": ("deepseek-v3", dataclasses.replace(DEEPSEEK, precision="fp8"), V3, HOPPER),
    "blackwell ultra": ("deepseek-v3", DEEPSEEK, V3, {"generation": "blackwell_ultra"}),
    "air-cooled": (
        "deepseek-v3",
        dataclasses.replace(DEEPSEEK, software=Software("megatron", 2025.3)),
        V3,
        {"form": "hgx", "power_w": 1000.0},
    ),
    "wide experts": ("deepseek-v3", DEEPSEEK, V3 | {"ep": 64, "dp": 32, "pp": 4}, {}),
    "overlap": (
        "deepseek-v3",
        dataclasses.replace(DEEPSEEK, software=Software("megatron", 2026.6, True)),
        V3 | {"schedule": "dualpipev", "vpp": 2},
        {},
    ),
    "short vocabulary": ("qwen3-235b-a22b", Job(4096, 512, "nvfp4"), {"tp": 4, "dp": 32, "pp": 4, "ep": 16}, {}),
    "tied in a stage": ("multimodal-graph", Job(4096, 64), {"tp": 2, "dp": 8}, {}),
    "graph with vision": ("multimodal-graph", Job(4096, 64), {"tp": 2, "dp": 8, "pp": 4}, {}),
}


@pytest.fixture(scope="module")
def cluster():
    return load_cluster("gb200-su")


@pytest.fixture(scope="module")
def efficiency():
    return catalog.efficiency()


@pytest.mark.parametrize("name", CASES)
def test_the_second_arithmetic_agrees(name, cluster, efficiency, tmp_path: Path) -> None:
    """Plans of every schedule, sharding, recompute, chip and stack are priced alike by compiler and referee, to 1e-6."""
    model_name, job, degrees, facts = CASES[name]
    model, _ = load_model(model_name)
    plan = compiled(chip(cluster, **facts), model, job, efficiency, **degrees)
    write_plan(plan, tmp_path / "plan", {})
    verdict = verify(load_plan(tmp_path / "plan"), plan.cluster, plan.model, plan.job, plan.efficiency)
    assert [d.message for d in verdict.diagnostics] == []


@pytest.fixture(scope="module")
def moe(cluster, efficiency, tmp_path_factory: pytest.TempPathFactory):
    """An honest plan with traffic on every tier, and the directory it was read from."""
    model, _ = load_model("deepseek-v3")
    plan = compiled(cluster, model, DEEPSEEK, efficiency, **V3, schedule="interleaved", vpp=4)
    out = tmp_path_factory.mktemp("moe") / "plan"
    write_plan(plan, out, {})
    return plan, load_plan(out)


def look_up(tree, path):
    for key in path:
        tree = tree[key]
    return tree


NUMBERS = [
    (("predicted", "step_time_s"), {"step-time", "throughput", "strategy-record", "bound", "uncertainty"}),
    (("uncertainty", "low_s"), {"uncertainty"}),
    (("uncertainty", "high_s"), {"uncertainty"}),
    (("predicted", "mfu"), {"step-time"}),
    *(
        (("predicted", "breakdown_s", part), {"step-time", "throughput"})
        for part in ("compute", "tp", "cp", "ep", "pp", "dp", "bubble", "optimizer", "overhead")
    ),
    (("predicted", "bytes_tier", "dp", "nvlink"), {"traffic"}),
    (("predicted", "bytes_tier", "ep", "nvlink"), {"traffic", "uncertainty"}),
    (("predicted", "bytes_tier", "pp", "leaf"), {"traffic"}),
    (("predicted", "memory_bytes", "weights"), {"memory"}),
    (("predicted", "peak_memory_bytes"), {"memory"}),
    *(
        (("stages", 3, "memory_bytes", kind), {"memory", "stage-tables"})
        for kind in ("weights", "gradients", "optimizer", "activations", "buffers")
    ),
    (("stages", 3, "busy_s"), {"step-time", "stage-tables"}),
    (("baseline", "step_time_s"), {"baseline", "throughput"}),
    (("baseline", "breakdown_s", "dp"), {"baseline", "throughput"}),
    (("baseline", "mfu"), {"baseline"}),
    (("baseline", "bytes_tier", "edp", "leaf"), {"traffic"}),
    (("traffic", 0, "bytes_P", 2), {"traffic"}),
    (("bound", "gap"), {"bound"}),
    (("certificate", "gap"), {"certificate"}),
    (("certificate", "tiers", "leaf", "plan_bytes"), {"certificate"}),
    (("certificate", "tiers", "nvlink", "lower_bytes"), {"certificate"}),
]


@pytest.mark.parametrize(("path", "checks"), NUMBERS, ids=[".".join(map(str, p)) for p, _ in NUMBERS])
def test_every_changed_number_is_caught(moe, path, checks) -> None:
    """A predicted number that is off by a hundredth of a percent fails its check and no other."""
    plan, loaded = moe
    value = look_up(loaded.json, path)
    changed = with_json(loaded, *path, value * 1.0001 + (1e-4 if path[-1] == "gap" else 0) if value else 1e9)
    verdict = verify(changed, plan.cluster, plan.model, plan.job, plan.efficiency)
    assert {c.name for c in verdict.checks if not c.ok} - {"plan-digest"} == checks


@pytest.mark.parametrize(
    ("path", "value", "checks"),
    [
        (("bound", "step_time_s"), 99.0, {"bound"}),
        (("bound", "proven"), True, {"bound"}),
        (("search", "feasible"), 99, {"bound"}),
        (("traffic", 0, "kind"), "clique", {"traffic"}),
        (("traffic",), [], {"traffic"}),
        (("predicted", "fullest_stage"), 7, {"memory"}),
        (("certificate", "tiers"), {}, {"certificate"}),
        (("certificate", "joint_bytes"), 1e20, {"certificate"}),
        (("predicted", "breakdown_s"), {}, {"step-time", "throughput"}),
    ],
)
def test_claims_that_cannot_be(moe, path, value, checks) -> None:
    """Bounds above the plan, a proof of a search that stopped, and tables with holes are refused."""
    plan, loaded = moe
    verdict = verify(with_json(loaded, *path, value), plan.cluster, plan.model, plan.job, plan.efficiency)
    assert {c.name for c in verdict.checks if not c.ok} - {"plan-digest"} >= checks


def test_a_bound_that_another_placement_refutes(moe) -> None:
    """A lower bound equal to the plan's own bytes is refused where any other placement does better."""
    plan, loaded = moe
    own = loaded.json["certificate"]["tiers"]["leaf"]["plan_bytes"]
    scattered = plan.chosen.placement.gpu_R.reshape(32, -1).T.ravel()
    claimed = with_json(
        with_table(loaded, 2, "gpu", slice(None), scattered), "certificate", "tiers", "leaf", "lower_bytes", 9 * own
    )
    verdict = verify(claimed, plan.cluster, plan.model, plan.job, plan.efficiency)
    text = [d.message for d in verdict.diagnostics if d.name == "verify/certificate"]
    assert any("is refuted by the launcher's order" in message for message in text)


def test_memory_limits_are_held(moe) -> None:
    """A chip with less memory, or a larger margin, fails the plan that filled the old one."""
    plan, loaded = moe
    small: tuple[Chip, ...] = tuple(dataclasses.replace(c, hbm_bytes=40e9) for c in plan.cluster.chips)
    verdict = verify(loaded, dataclasses.replace(plan.cluster, chips=small), plan.model, plan.job, plan.efficiency)
    assert any("that the margin leaves" in d.message for d in verdict.diagnostics if d.name == "verify/memory")


def test_schedules_agree_with_the_simulation() -> None:
    """The plain simulation ends when the compiled one does, for every schedule on uneven chunks."""
    looked = 0
    for schedule in ("1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev"):
        for pp, vpp, m in (
            (1, 1, 3),
            (1, 2, 4),
            (2, 1, 5),
            (2, 2, 4),
            (4, 1, 3),
            (4, 1, 12),
            (4, 2, 8),
            (4, 3, 13),
            (6, 1, 8),
            (6, 2, 20),
        ):
            if misfit(schedule, pp, vpp, m):
                continue
            d = Degrees(1, 1, 1, 1, 1, 1, 1, pp, vpp, 1, m, schedule, "none", "zero1")
            forward, inputs, weights = ([1.0 + (7 * i + j) % 5 / 8 for i in range(pp * vpp)] for j in range(3))
            message = [0.125] * max(pp * vpp - 1, 0)
            assert makespan_s(d, forward, inputs, weights, message) == pytest.approx(
                simulate(schedule, pp, vpp, m, forward, inputs, weights, message).makespan_s, rel=1e-12
            )
            assert all(min(state.values()) >= 0 for states in held(d) for state in states)
            looked += 1
    assert looked > 25
