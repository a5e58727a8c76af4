# SPDX-License-Identifier: Apache-2.0
"""Each rule of the referee is shown to bite: one thing is changed, that check fails, and no other one."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from placement.ir import Job, State
from placement.runtime import LoadedPlan, PlanBin, Section, load_plan, write_plan
from placement.verify import CHECKS, verify
from placement.verify.case import Case
from placement.verify.groups import _group_ids
from placement.verify.hostlist import unfold
from tests.plans import INPUTS, tiny_cluster, tiny_plan

COST = {
    "memory",
    "traffic",
    "step-time",
    "baseline",
    "bound",
    "certificate",
    "uncertainty",
}  # invented numbers cannot pass: test_referee_cost.py
STRUCTURE = [name for name in CHECKS if name not in COST]


def failed(loaded, plan, **inputs) -> set[str]:
    given = {name: inputs.get(name, getattr(plan, name)) for name in ("cluster", "model", "job", "efficiency")}
    verdict = verify(loaded, **given)
    bad = {c.name for c in verdict.checks if not c.ok}
    assert bad == {d.name.removeprefix("verify/") for d in verdict.diagnostics}
    return bad - COST


@pytest.fixture
def plan():
    cluster = tiny_cluster(leafs=3, states={4: State.RESERVED})
    return tiny_plan(cluster, tied=True, spares=2, vpp=2)


@pytest.fixture
def loaded(plan, tmp_path: Path) -> LoadedPlan:
    write_plan(plan, tmp_path / "plan", INPUTS)
    return load_plan(tmp_path / "plan")


def with_json(loaded: LoadedPlan, *path_and_value) -> LoadedPlan:
    """The plan with one value of plan.json replaced."""
    tree = copy.deepcopy(dict(loaded.json))
    *path, last, value = path_and_value
    spot = tree
    for key in path:
        spot = spot[key]
    spot[last] = value
    return dataclasses.replace(loaded, json=tree)


def with_table(loaded: LoadedPlan, section: Section, field, index, value) -> LoadedPlan:
    """The plan with one field of one record of plan.bin replaced."""
    table = loaded.bin[section].copy()
    if field is None:
        table[index] = value
    else:
        table[field][index] = value
    return dataclasses.replace(loaded, bin=PlanBin(loaded.bin.header, {**loaded.bin.sections, section: table}))


def with_header(loaded: LoadedPlan, field: str, value) -> LoadedPlan:
    header = np.frombuffer(bytearray(loaded.bin.header.tobytes()), loaded.bin.header.dtype)
    header[field] = value
    return dataclasses.replace(loaded, bin=PlanBin(header[0], loaded.bin.sections))


PLANS = [
    tiny_plan(),
    tiny_plan(tied=True, vpp=2),
    tiny_plan(reverse=True, spares=2),
    tiny_plan(tiny_cluster(leafs=3, states={1: State.FAILED, 4: State.RESERVED})),
]


@pytest.mark.parametrize("honest", PLANS)
def test_honest_plans_pass(honest, tmp_path: Path) -> None:
    """Nothing is reported where nothing is wrong."""
    write_plan(honest, tmp_path / "plan", INPUTS)
    assert failed(load_plan(tmp_path / "plan"), honest) == set()


JSON = [
    (("world_size", 5), {"world-size"}),
    (("spare_gpus", 3), {"spares"}),
    (("whole_nodes", False), {"whole-nodes"}),
    (("local_rank_is_slot", False), {"local-ranks"}),
    (("digest", "0" * 64), {"plan-digest"}),
    (("files", "plan.bin", "bytes", 1), {"plan-digest"}),
    (("files", "plan.bin", "sha256", "0" * 64), {"plan-digest"}),
    (("inputs", "model.yaml", "0" * 64), {"input-digests"}),
    (("cluster", "digest", "0" * 64), {"input-digests"}),
    (("model", "digest", "0" * 64), {"input-digests"}),
    (("efficiency", "digest", "0" * 64), {"input-digests"}),
    (("cluster", "gpus", 9), {"facts"}),
    (("cluster", "nodes", "failed", 1), {"facts"}),
    (("cluster", "hbm_bytes", 1.0), {"facts"}),
    (("model", "layers", 7), {"facts"}),
    (("cluster", "usable_gpus", 2), {"world-size"}),
    (("cluster", "tiers", ["nvlink"]), {"facts"}),
    (("job", "global_batch", 8), {"job"}),
    (("job", "memory_margin", 0.05), {"job"}),
    (("job", "optimizer", "name", "sgd"), {"job"}),
    (("strategy", "schedule", "1f1b"), {"choices", "strategy-record"}),
    (("strategy", "recompute", "full"), {"strategy-record"}),
    (("strategy", "num_microbatches", 8), {"global-batch", "strategy-record"}),
    (
        ("strategy", "micro_batch", True),
        set(STRUCTURE)
        - {
            "input-digests",
            "job",
            "facts",
            "bijection",
            "healthy-gpus",
            "spares",
            "hosts",
            "local-ranks",
            "names",
        },
    ),
    (("stages", 0, "recompute", "full"), {"stage-tables"}),
    (("stages", 0, "hosts", "nowhere"), {"stage-tables"}),
    (("stages", 1, "stage", 0), {"stage-tables"}),
    (("stages", 0, "busy_s", 9.0), {"stage-tables"}),
    (("stages", 0, "memory_bytes", "weights", 2e9), {"stage-tables"}),
    (("stages", 0, "chunks", 0, "layers", []), {"stage-cover", "stage-tables"}),
    (("stages", 0, "chunks", 0, "layers", ["layer 0", "embedding"]), {"stage-tables"}),
    (("spares", "gpus", 0), {"spares"}),
    (("spares", "reserved_gpus", 0), {"spares"}),
    (("predicted", "step_time_s", 2.0), {"throughput", "strategy-record"}),
    (("predicted", "breakdown_s", "compute", 0.5), {"throughput"}),
    (("predicted", "tokens_per_s_per_gpu", 1.0), {"throughput"}),
    (("baseline", "breakdown_s", "tp", -0.3), {"throughput"}),
    (("predicted", "step_time_s", float("inf")), {"throughput", "strategy-record"}),
    (("stages", "none of them"), {"choices", "stage-cover", "stage-tables"}),
]


@pytest.mark.parametrize(("change", "checks"), JSON, ids=[".".join(map(str, c[:-1])) for c, _ in JSON])
def test_every_lie_in_plan_json_is_caught(loaded, plan, change, checks) -> None:
    """One value of plan.json is changed: exactly the checks of that value fail, and the plan digest."""
    assert failed(with_json(loaded, *change), plan) == {*checks, "plan-digest"} - ({"plan-digest"} & COST)


R, S = Section, "strategy-record"
TABLES = [
    ((R.RANKS, "gpu", 1, 0), {"bijection", "coordinates", "hosts", "local-ranks", "spares"}),
    (
        (R.RANKS, "gpu", 0, 8),
        {"coordinates", "healthy-gpus", "hosts", "names", "spares", "stage-tables", "whole-nodes", "domains"},
    ),
    (
        (R.RANKS, "gpu", 0, 99),
        {
            "bijection",
            "coordinates",
            "domains",
            "healthy-gpus",
            "hosts",
            "local-ranks",
            "names",
            "rails",
            "spares",
            "stage-tables",
            "whole-nodes",
        },
    ),
    ((R.RANKS, "host", 0, 1), {"hosts"}),
    ((R.RANKS, "node", 0, 1), {"coordinates"}),
    ((R.RANKS, "domain", 0, 1), {"coordinates"}),
    ((R.RANKS, "slot", 0, 1), {"coordinates"}),
    ((R.RANKS, "rail", 0, 1), {"coordinates"}),
    ((R.RANKS, "local_rank", 0, 1), {"hosts", "local-ranks"}),
    ((R.RANKS, "stage", 0, 1), {"coordinates", "stage-tables"}),
    *(((R.RANKS, axis, 0, 1), {"coordinates"}) for axis in ("tp", "cp", "dp", "etp", "ep", "edp", "gtp", "egtp")),
    ((R.RANKS, "rank", 0, 3), {"bijection"}),
    ((R.HOSTS, "node", 0, 2), {"hosts"}),
    ((R.HOSTS, "domain", 0, 2), {"hosts"}),
    ((R.HOSTS, "num_ranks", 0, 1), {"hosts"}),
    ((R.HOSTS, "first_rank", 1, 3), {"hosts"}),
    ((R.HOSTS, "name_size", 0, 3), {"hosts"}),
    ((R.SLOTS, None, 0, 1), {"hosts"}),
    ((R.DOMAINS, "num_ranks", 0, 1), {"names"}),
    ((R.DOMAINS, "num_hosts", 0, 0), {"names"}),
    ((R.DOMAINS, "name_size", 0, 2), {"names"}),
    ((R.NICS, "rail", 0, 1), {"names"}),
    ((R.NICS, "name_size", 0, 2), {"names"}),
    ((R.COMMUNICATORS, "inner_stride", 0, 2), {"communicators"}),
    ((R.COMMUNICATORS, "num_groups", 0, 1), {"communicators"}),
    ((R.COMMUNICATORS, "name_size", 0, 1), {"communicators"}),
    ((R.MEMBERS, None, 0, 1), {"communicators"}),
    ((R.MEMBERS, None, -1, 0), {"communicators"}),
    ((R.STAGES, "recompute", 0, 2), {"stage-tables"}),
    ((R.STAGES, "num_layers", 0, 9), {"stage-tables"}),
    ((R.STAGES, "num_chunks", 0, 1), {"stage-tables"}),
    ((R.STAGES, "busy_s", 0, 9), {"stage-tables"}),
    ((R.STAGES, "memory_bytes", 0, 9), {"stage-tables"}),
    ((R.CHUNKS, "stage", 0, 1), {"stage-tables"}),
    ((R.CHUNKS, "virtual_stage", 0, 1), {"stage-tables"}),
    ((R.CHUNKS, "first_layer", 1, 0), {"stage-tables"}),
    ((R.CHUNKS, "num_layers", 0, 0), {"stage-tables"}),
    ((R.LAYERS, "stage", 0, 1), {"stage-tables"}),
    ((R.LAYERS, "type", 0, 1), {"stage-tables"}),
    ((R.LAYERS, "name_size", 0, 2), {"stage-tables"}),
    ((R.LAYERS, "chunk", 0, 1), {"stage-cover", "stage-tables", "communicators"}),
    ((R.LAYERS, "chunk", 0, 9), {"stage-cover", "stage-tables", "communicators"}),
    ((R.SPARES, "gpu", 0, 0), {"spares"}),
    ((R.SPARES, "reserved_node", 0, 1), {"spares"}),
    ((R.SPARES, "slot", 0, 1), {"spares"}),
    ((R.SPARES, "name_size", 0, 1), {"spares"}),
    *(
        ((R.STRATEGY, f, 0, 7), {S})
        for f in ("tp", "edp", "vpp", "micro_batch", "sharding", "num_rails", "num_planes", "step_s")
    ),
    ((R.STRATEGY, "global_batch", 0, 7), {"global-batch"}),
    ((R.STRATEGY, "seq_len", 0, 7), {"global-batch"}),
]


@pytest.mark.parametrize(("change", "checks"), TABLES, ids=[f"{c[0].name}.{c[1]}[{c[2]}]={c[3]}" for c, _ in TABLES])
def test_every_lie_in_plan_bin_is_caught(loaded, plan, change, checks) -> None:
    """One field of one record is changed: the checks of that field fail, and the plan digest."""
    assert failed(with_table(loaded, *change), plan) == {*checks, "plan-digest"}


@pytest.mark.parametrize(
    ("field", "value", "checks"),
    [
        ("flags", 6, {"local-ranks"}),
        ("flags", 5, {"whole-nodes"}),
        ("flags", 3, {"names"}),
        ("digest", 0, {"plan-digest"}),
        ("world_size", 9, {"world-size"}),
        ("num_stages", 9, {"world-size"}),
        ("gpus_per_node", 9, {"hosts"}),
    ],
)
def test_every_lie_in_the_header_is_caught(loaded, plan, field, value, checks) -> None:
    """The facts of the header are checked too."""
    assert failed(with_header(loaded, field, value), plan) == checks


STALE = [
    ({"cluster": tiny_cluster(leafs=3, states={0: State.FAILED, 4: State.RESERVED})}, {"healthy-gpus"}),
    ({"cluster": tiny_cluster(leafs=3, states={1: State.DRAINED, 4: State.RESERVED})}, {"healthy-gpus"}),
    ({"cluster": tiny_cluster(leafs=3, states={1: State.RESERVED, 4: State.RESERVED})}, {"healthy-gpus"}),
    ({"cluster": tiny_cluster(leafs=3, states={0: State.ABSENT, 4: State.RESERVED})}, {"healthy-gpus"}),
    ({"cluster": tiny_cluster(leafs=3)}, {"spares"}),
]


@pytest.mark.parametrize(("inputs", "checks"), STALE)
def test_a_changed_cluster_makes_the_plan_stale(loaded, plan, inputs, checks) -> None:
    """After a node fails, is drained, reserved or removed, the plan that uses it no longer verifies."""
    found = failed(loaded, plan, **inputs)
    assert found >= {*checks, "input-digests"}
    assert not found & {"bijection", "coordinates", "communicators", "stage-cover"}


JOBS = [
    ({"global_batch": 8}, {"global-batch"}),
    ({"seq_len": 15}, {"divisibility", "global-batch", "throughput"}),
    ({"max_gpus": 2}, {"world-size"}),
    ({"schedules": ("1f1b",)}, {"choices"}),
    ({"recompute": ("none",)}, {"choices"}),
    ({"sharding": ("fsdp",)}, {"choices"}),
    ({"pins": {"tp": 4}}, {"choices"}),
    ({"pins": {"schedule": "zb-v"}}, {"choices"}),
    ({"pins": {"tp": 2, "pp": "2"}}, set()),
]


@pytest.mark.parametrize(("fields", "checks"), JOBS, ids=[str(f) for f, _ in JOBS])
def test_the_job_is_held_to(loaded, plan, fields, checks) -> None:
    """A plan that does not do what the job asks fails, whatever it says of itself."""
    job: Job = dataclasses.replace(plan.job, **fields)
    assert failed(loaded, plan, job=job) - {"throughput"} == {*checks, "job"} - {"throughput"}


def test_ragged_hosts_need_permission(tmp_path: Path) -> None:
    """Half a node may be used only where the job says so."""
    plan = tiny_plan(tiny_cluster(leafs=3))
    gpu_R = np.array([0, 1, 2, 3, 4, 5, 6, 8, 7, 9, 10, 11])
    chosen = dataclasses.replace(plan.chosen, placement=dataclasses.replace(plan.chosen.placement, gpu_R=gpu_R))
    write_plan(dataclasses.replace(plan, chosen=chosen), tmp_path / "swapped", INPUTS)
    assert failed(load_plan(tmp_path / "swapped"), plan) == {"domains"}  # nodes are whole, but tensor groups cross them
    small = tiny_plan(tiny_cluster(leafs=3), spares=2)
    gpu_R = np.array([0, 1, 2, 3, 4, 5, 6, 8])
    chosen = dataclasses.replace(small.chosen, placement=dataclasses.replace(small.chosen.placement, gpu_R=gpu_R))
    write_plan(dataclasses.replace(small, chosen=chosen), tmp_path / "ragged", INPUTS)
    assert failed(load_plan(tmp_path / "ragged"), small) == {"domains", "whole-nodes"}
    job = dataclasses.replace(small.job, ragged=True)
    assert failed(load_plan(tmp_path / "ragged"), small, job=job) == {"domains", "job"}


def test_a_failed_gpu_of_a_healthy_node(loaded, plan) -> None:
    """Health is looked at GPU by GPU."""
    ok = plan.cluster.gpu_ok_NG.copy()
    ok[0, 1] = False
    verdict = verify(loaded, dataclasses.replace(plan.cluster, gpu_ok_NG=ok), plan.model, plan.job, plan.efficiency)
    assert "ranks sit on failed GPUs: leaf0000-node00 GPU 1" in [d.message for d in verdict.diagnostics]


def test_unjoined_rails(tmp_path: Path) -> None:
    """Where rails are not joined, data-parallel neighbours on different rails are reported."""
    cluster = dataclasses.replace(tiny_cluster(), rails_connected=False)
    plan = tiny_plan(cluster)
    write_plan(plan, tmp_path / "straight", INPUTS)
    assert failed(load_plan(tmp_path / "straight"), plan) == set()
    gpu_R = np.array([0, 1, 3, 2, 4, 5, 6, 7])
    chosen = dataclasses.replace(plan.chosen, placement=dataclasses.replace(plan.chosen.placement, gpu_R=gpu_R))
    write_plan(dataclasses.replace(plan, chosen=chosen), tmp_path / "crossed", INPUTS)
    assert failed(load_plan(tmp_path / "crossed"), plan) == {"rails"}


def test_every_broken_rule_is_reported(loaded, plan) -> None:
    """All that is wrong is said at once, with the victims."""
    broken = with_json(with_table(with_table(loaded, R.RANKS, "tp", 0, 1), R.LAYERS, "type", 0, 1), "world_size", 5)
    found = {d.name: d.message for d in verify(broken, plan.cluster, plan.model, plan.job, plan.efficiency).diagnostics}
    assert found["verify/coordinates"] == "`tp` of rank records is wrong: rank 0"
    assert found["verify/world-size"] == "`world_size` in plan.json is 5, derived 4"
    assert "verify/stage-tables" in found


def test_groups_agree_with_the_strategy(loaded, plan) -> None:
    """Sorting ranks by coordinates gives the same groups as reshaping them: two ways to one answer."""
    case = Case(loaded, plan.cluster, plan.model, plan.job, plan.efficiency)
    for axis in ("tp", "cp", "dp", "pp", "etp", "ep", "edp"):
        assert np.array_equal(_group_ids(case, axis), plan.chosen.strategy.groups(axis))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("a", ["a"]),
        ("a[08-10]", ["a08", "a09", "a10"]),
        ("a[1,3]-b[1-2],c", ["a1-b1", "a1-b2", "a3-b1", "a3-b2", "c"]),
    ],
)
def test_host_lists_are_expanded_by_hand(text, names) -> None:
    """The referee reads host lists without the compiler's code."""
    assert unfold(text) == names
