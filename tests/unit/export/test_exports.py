# SPDX-License-Identifier: Apache-2.0
"""Every export: its files say what the plan says, it is written whole, and it refuses what its launcher cannot run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from placement.diag import InputError
from placement.export import TARGETS, Case, export, write_export
from placement.export.deepspeed import layer_weights
from placement.export.jax import device_ids
from placement.export.megatron import layout_text
from placement.export.slurm import segment
from placement.export.slurm_topology import block_sizes, switches
from placement.hostlist import expand
from placement.ir import Placement, Plan, State
from tests.exports import by_nodes, case_of, exported, host_of, shuffled, slot_of, small_plan
from tests.plans import tiny_cluster, tiny_plan

NODES = ("torchrun", "deepspeed")  # take whole nodes only


def plan_for(target: str) -> Plan:
    """A plan that the target takes."""
    plan = small_plan(whole_nodes=target in NODES)
    return dense(plan) if target == "deepspeed" else plan


def dense(plan: Plan) -> Plan:
    """The same plan without expert groups."""
    strategy = dataclasses.replace(plan.chosen.strategy, ep=1, etp=1)
    return dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, strategy=strategy))


def unsorted_slots(plan: Plan) -> Plan:
    """The same hosts, with the ranks of each host from its last GPU down."""
    node_R, slot_R = np.divmod(plan.chosen.placement.gpu_R, plan.cluster.gpus_per_node)
    gpus = plan.cluster.gpus_per_node
    placement = Placement(node_R * gpus + gpus - 1 - slot_R)
    return dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, placement=placement))


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def refused(target: str, plan: Plan, folder: Path) -> set[str]:
    case = case_of(plan, folder)
    with pytest.raises(InputError) as caught:
        export(target, case.plan, case.cluster)
    assert all(d.help for d in caught.value.diagnostics), "a refusal names the way out"
    return {d.name for d in caught.value.diagnostics}


def warned(target: str, plan: Plan, folder: Path) -> set[str]:
    case = case_of(plan, folder)
    return {d.name for d in export(target, case.plan, case.cluster).warnings}


@pytest.mark.parametrize("target", TARGETS)
def test_readme_and_manifest(target: str, tmp_path: Path) -> None:
    """Each export has a README of three lines with the digest, and a manifest of all its files."""
    case, folder = exported(target, plan_for(target), tmp_path)
    readme = (folder / "README").read_text()
    assert len(readme.splitlines()) == 3
    assert readme.startswith(f"Plan {case.digest}")
    manifest = json.loads((folder / "export.json").read_text())
    assert {*manifest["files"], "export.json"} == {path.name for path in folder.iterdir()}
    assert (manifest["target"], manifest["plan"]) == (target, case.digest)


@pytest.mark.parametrize("target", TARGETS)
def test_same_plan_same_bytes(target: str, tmp_path: Path) -> None:
    """Two exports of one plan are equal, byte for byte."""
    case = case_of(plan_for(target), tmp_path)
    first, second = (export(target, case.plan, case.cluster).files for _ in range(2))
    assert first == second


@pytest.mark.parametrize("target", TARGETS)
def test_digest_in_every_file(target: str, tmp_path: Path) -> None:
    """Wherever a format has room for it, the plan's digest stands in the file."""
    case, folder = exported(target, plan_for(target), tmp_path)
    bare = {p.name for p in folder.iterdir() if case.digest.encode() not in p.read_bytes()}
    assert bare <= {
        "nodes.txt",
        "plan.hostfile",
        "hosts.txt",
        "rankmap.txt",
        "megatron.args",
        "layout.txt",
        "mesh.npy",
        "ds_config.json",
    }


def test_slurm_host_file(tmp_path: Path) -> None:
    """Line r is the host of rank r with a comma behind it; the node list has every host once, in order; the segment divides."""
    case, folder = exported("slurm", small_plan(), tmp_path)
    assert lines(folder / "plan.hostfile") == [f"{host}," for host in host_of(case)]
    assert lines(folder / "nodes.txt") == [f"{host}," for host in sorted(set(host_of(case)))]
    assert segment(case) == 1
    assert "--segment" not in (folder / "submit.sh").read_text(), "each host is a domain of its own"


def racks(plan: Plan) -> Plan:
    """The same plan where each leaf is one NVLink domain."""
    cluster = plan.cluster
    leaf = cluster.tiers[1]
    domain = dataclasses.replace(cluster.tiers[0], group_N=leaf.group_N, uplink_Bps_J=leaf.uplink_Bps_J)
    names = np.array([f"rack{j}" for j in range(leaf.num_groups)])
    cluster = dataclasses.replace(cluster, tiers=(domain, *cluster.tiers[1:]), domain_name_J=names)
    return dataclasses.replace(plan, cluster=cluster)


def test_slurm_segment(tmp_path: Path) -> None:
    """The segment is the greatest common divisor of the plan's nodes in every NVLink domain."""
    case, folder = exported("slurm", racks(small_plan(leafs=3, nodes=4)), tmp_path)
    assert segment(case) == 4
    assert "--segment=4" in (folder / "submit.sh").read_text()


def test_slurm_topology_covers_the_cluster_once(tmp_path: Path) -> None:
    """Blocks hold every present host once; absent hosts are left out; the tree's leaves do the same."""
    plan = racks(shuffled(tiny_plan(tiny_cluster(leafs=4, nodes=4, gpus=4, states={5: State.ABSENT, 9: State.FAILED}))))
    found = switches(plan.cluster)
    hosts = [str(name) for _, kind, members in found if kind == "nodes" for name in expand(members)]
    assert sorted(hosts) == sorted(np.delete(plan.cluster.host_N, 5).tolist())
    assert block_sizes(plan.cluster) == [3]
    children = [str(name) for _, kind, members in found if kind == "switches" for name in expand(members)]
    assert sorted(children) == sorted(name for name, _, _ in found[:-1])


def test_slurm_above_the_arbitrary_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit job.sh uses blocks and placement-exec, and says so."""
    monkeypatch.setattr("placement.export.slurm.ARBITRARY", 4)
    case, folder = exported("slurm", small_plan(), tmp_path)
    job = (folder / "job.sh").read_text()
    assert "--distribution=block placement-exec --digest" in job
    assert not (folder / "task.sh").exists()
    assert warned("slurm", small_plan(), tmp_path / "again") == {"export/needs-shim"}
    assert case.hosts == 8


def test_rankfile(tmp_path: Path) -> None:
    """Both Open MPI exports name the host of every rank, with the `slot=` that version 4 insists on."""
    case, folder = exported("openmpi", small_plan(), tmp_path)
    assert lines(folder / "rankfile") == [f"rank {r}={host} slot=0" for r, host in enumerate(host_of(case))]
    assert (folder / "rankfile").read_bytes() == exported("openmpi4", small_plan(), tmp_path / "4")[1].joinpath(
        "rankfile"
    ).read_bytes()


def test_rank_map(tmp_path: Path) -> None:
    """MPICH's rank map points each rank to its host in the host list."""
    case, folder = exported("mpich", small_plan(), tmp_path)
    hosts = [word.split(":") for word in (folder / "hosts.txt").read_text().strip().split(",")]
    places = (folder / "rankmap.txt").read_text().strip().removeprefix("(vector,").removesuffix(")").split(",")
    assert [hosts[int(i)][0] for i in places] == host_of(case)
    assert {count for _, count in hosts} == {"4"}


def test_environment_table(tmp_path: Path) -> None:
    """The table for env:// has one line a rank, with its host, slot, local rank and the number of its host."""
    case, folder = exported("env", unsorted_slots(small_plan()), tmp_path)
    rows = sorted((line.split("\t") for line in lines(folder / "ranks.tsv")), key=lambda w: int(w[2]))
    assert [(w[0], int(w[1]), int(w[2])) for w in rows] == list(
        zip(host_of(case), slot_of(case), range(case.world), strict=True)
    )
    first = list(dict.fromkeys(host_of(case)))
    assert [int(w[5]) for w in rows] == [first.index(host) for host in host_of(case)]
    assert "CUDA_VISIBLE_DEVICES" in (folder / "start.sh").read_text()


def test_node_ranks(tmp_path: Path) -> None:
    """torchrun: rank = node rank * GPUs a node + slot."""
    case, folder = exported("torchrun", small_plan(whole_nodes=True), tmp_path)
    number = dict(line.split() for line in lines(folder / "node_ranks.txt"))
    assert [int(number[h]) * 4 + s for h, s in zip(host_of(case), slot_of(case), strict=True)] == list(range(case.world))


def test_jax_devices(tmp_path: Path) -> None:
    """Device ids count the slots of processes in order; the mesh file has them at every coordinate."""
    case, folder = exported("jax", small_plan(), tmp_path)
    process = {line.split()[0]: int(line.split()[1]) for line in lines(folder / "processes.tsv")}
    want = [process[h] * 4 + s for h, s in zip(host_of(case), slot_of(case), strict=True)]
    assert device_ids(case).tolist() == want
    mesh, at = np.load(folder / "mesh.npy"), case.strategy.coordinates(np.arange(case.world))
    assert mesh[at["pp"], at["dp"], at["cp"], at["tp"]].tolist() == want


def test_megatron_layout(tmp_path: Path) -> None:
    """Stages in order of chunks, a bar between them, E first and L last."""
    assert layout_text(case_of(small_plan(), tmp_path / "1")) == "Et*2|t*2L"
    case, folder = exported("megatron", small_plan(vpp=3), tmp_path / "2")
    assert layout_text(case) == "E|t|t|t|t|L"
    words = (folder / "megatron.args").read_text().split("\n")
    assert words[words.index("--pipeline-model-parallel-layout") + 1] == "E|t|t|t|t|L"
    assert words[words.index("--pipeline-model-parallel-size") + 1] == "2"


def test_deepspeed_weights(tmp_path: Path) -> None:
    """Every stage weighs the same, and no other cut does."""
    case = case_of(plan_for("deepspeed"), tmp_path)
    weight = np.array(layer_weights(case))
    assert weight[:3].sum() == weight[3:].sum()
    assert (weight > 0).all()


def test_deepspeed_names_another_start(tmp_path: Path) -> None:
    """Where all hosts do not fit into one argument the user is told, and the README starts the ranks another way."""
    few, many = (dense(tiny_plan(tiny_cluster(leafs=n, nodes=100, gpus=4))) for n in (29, 30))
    assert "export/needs-shim" not in warned("deepspeed", few, tmp_path / "few")
    assert b"Start: deepspeed --hostfile" in files("deepspeed", few, tmp_path / "few2")["README"]
    assert "export/needs-shim" in warned("deepspeed", many, tmp_path / "many")
    assert b"Start: ranks as `placement export --to slurm`" in files("deepspeed", many, tmp_path / "many2")["README"]


@pytest.mark.parametrize(
    ("target", "change", "name"),
    [
        ("torchrun", shuffled, "scattered-ranks"),
        ("torchrun", unsorted_slots, "local-order"),
        ("deepspeed", shuffled, "unsupported-axis"),
    ],
)
def test_refusals(target: str, change: Callable[[Plan], Plan], name: str, tmp_path: Path) -> None:
    """A launcher that would run another map than the plan's refuses, and names the way out."""
    assert f"export/{name}" in refused(target, change(by_nodes(tiny_plan(tiny_cluster(leafs=2, nodes=4, gpus=4)))), tmp_path)


@pytest.mark.parametrize("schedule", ["zb-v", "dualpipev", "dualpipe", "zb-h1"])
def test_schedules_megatron_lacks(schedule: str, tmp_path: Path) -> None:
    """Megatron refuses schedules it does not run; torchtitan runs the V-shaped ones."""
    plan = small_plan()
    strategy = dataclasses.replace(plan.chosen.strategy, schedule=schedule)
    plan = dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, strategy=strategy))
    assert refused("megatron", plan, tmp_path) == {"export/unsupported-schedule"}
    if schedule in ("zb-v", "dualpipev"):
        assert "export/unsupported-schedule" not in warned("torchtitan", plan, tmp_path / "t")
    else:
        assert refused("torchtitan", plan, tmp_path / "t") == {"export/unsupported-schedule"}


def test_mpich_refuses_long_arguments(tmp_path: Path) -> None:
    """A rank map longer than one argument of the kernel is refused."""
    plan = tiny_plan(tiny_cluster(leafs=100, nodes=100, gpus=4))
    assert refused("mpich", plan, tmp_path) == {"export/too-large"}


def test_names_for_shells(tmp_path: Path) -> None:
    """A host name that a script would read as something else is refused by every target that writes hosts."""
    plan = small_plan()
    names = plan.cluster.host_N.astype("<U40")
    names[0] = "a;reboot"
    plan = dataclasses.replace(plan, cluster=dataclasses.replace(plan.cluster, host_N=names))
    for target in ("slurm", "env", "openmpi", "mpich", "kubernetes", "ray", "jax"):
        assert refused(target, plan, tmp_path / target) == {"export/host-name"}


def test_replacing_an_export(tmp_path: Path) -> None:
    """An export replaces an earlier one whole, and nothing else."""
    case, folder = exported("slurm", small_plan(), tmp_path)
    write_export(export("env", case.plan, case.cluster), folder)
    assert {p.name for p in folder.iterdir()} == {"README", "export.json", "ranks.tsv", "start.sh"}
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_export(export("slurm", case.plan, case.cluster), folder)
    with pytest.raises(InputError):
        write_export(export("slurm", case.plan, case.cluster), tmp_path / "plan")


def test_split_rails(tmp_path: Path) -> None:
    """Where rails are apart NCCL_CROSS_NIC is not set, and the user is told."""
    plan = small_plan()
    assert b"NCCL_CROSS_NIC=0" in files("nccl", plan, tmp_path / "1")["nccl.env"]
    plan = dataclasses.replace(plan, cluster=dataclasses.replace(plan.cluster, rails_connected=False))
    assert b"NCCL_CROSS_NIC" not in files("nccl", plan, tmp_path / "2")["nccl.env"]
    assert "export/rails-apart" in warned("nccl", plan, tmp_path / "3")


def files(target: str, plan: Plan, folder: Path) -> dict[str, bytes]:
    case: Case = case_of(plan, folder)
    return dict(export(target, case.plan, case.cluster).files)


@pytest.mark.full
@pytest.mark.parametrize("target", ["slurm", "kubernetes"])
def test_full_size(target: str, tmp_path: Path) -> None:
    """220,032 ranks on 55,008 hosts export."""
    plan = tiny_plan(tiny_cluster(leafs=3056, nodes=18, gpus=4))
    made = files(target, plan, tmp_path)
    assert sum(map(len, made.values())) > 1_000_000
