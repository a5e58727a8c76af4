# SPDX-License-Identifier: Apache-2.0
"""placement-exec gives each (host, local slot) the rank of the plan, under any launcher's variables, and refuses the rest."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from placement.ir import Placement, Plan, Stages, State
from placement.runtime.layout import HEADER
from tests.native import CLEAN, SANITIZE, binary, build, run, shaped
from tests.plans import tiny_cluster, tiny_cost, tiny_plan

DAMAGED, NO_PLAN, STALE, NO_HOST, NO_SLOT, COUNT, DEVICES = 65, 66, 67, 68, 69, 70, 78
LAUNCHERS = {
    "Slurm": {"SLURM_LOCALID": "{slot}", "SLURM_NODEID": "1", "SLURM_TASKS_PER_NODE": "4(x16)", "SLURM_STEP_NUM_TASKS": "64"},
    "Open MPI": {"OMPI_COMM_WORLD_LOCAL_RANK": "{slot}", "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_SIZE": "64"},
    "MPICH": {"MPI_LOCALRANKID": "{slot}", "MPI_LOCALNRANKS": "4", "PMI_SIZE": "64"},
    "Kubernetes": {"JOB_COMPLETION_INDEX": "{slot}"},
    "mpirun inside a Slurm job": {"OMPI_COMM_WORLD_LOCAL_RANK": "{slot}", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1"},
}  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Path:
    return build("placement/runtime/placement_exec.c", *SANITIZE)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """64 ranks anywhere on 16 hosts of 4 GPUs."""
    return shaped(shuffle=2, tp=4, ep=2, dp=4, pp=4)


@pytest.fixture(scope="module")
def folder(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "plan.bin").write_bytes(binary(plan))
    return folder


def start(program: Path, *args: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(program, *args, env=CLEAN | variables)


def environment(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def host_of(plan: Plan, rank: int) -> tuple[str, int]:
    node, slot = divmod(int(plan.chosen.placement.gpu_R[rank]), plan.cluster.gpus_per_node)
    return str(plan.cluster.host_N[node]), slot


# ---------------------------------------------------------------------------------------------------- who am I, and where


def test_every_rank_from_its_host_and_slot(program: Path, plan: Plan, folder: Path) -> None:
    """All 64 (host, slot) get the rank that the plan puts there, and an environment that fits together."""
    gpu_R = plan.chosen.placement.gpu_R
    first = {}
    for rank in range(64):
        first.setdefault(host_of(plan, rank)[0], rank)
    order = sorted(first, key=first.__getitem__)
    for rank in range(64):
        host, slot = host_of(plan, rank)
        found = environment(start(program, folder, PLACEMENT_HOST=host, SLURM_LOCALID=str(slot)))
        local = np.sort(np.flatnonzero(gpu_R // 4 == gpu_R[rank] // 4)).tolist().index(rank)
        devices = ",".join(str(gpu_R[r] % 4) for r in np.sort(np.flatnonzero(gpu_R // 4 == gpu_R[rank] // 4)))
        assert {k: found[k] for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK")} == {
            "RANK": str(rank), "WORLD_SIZE": "64", "LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": "4",
            "GROUP_RANK": str(order.index(host)),
        }  # fmt: skip
        assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == (host_of(plan, 0)[0], "29500")
        assert found.get("CUDA_VISIBLE_DEVICES", "0,1,2,3") == devices
        assert int(found.get("CUDA_VISIBLE_DEVICES", "0,1,2,3").split(",")[local]) == slot


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launchers(name: str, program: Path, plan: Plan, folder: Path) -> None:
    """The local slot comes from whichever launcher runs; inside Slurm jobs an MPI launcher's word counts."""
    for rank in (0, 17, 63):
        host, slot = host_of(plan, rank)
        variables = {key: value.format(slot=slot) for key, value in LAUNCHERS[name].items()}
        assert environment(start(program, "--host", host, folder, **variables))["RANK"] == str(rank)


def test_host_names(program: Path, plan: Plan, folder: Path) -> None:
    """The host comes from --host, PLACEMENT_HOST, or Slurm; a domain behind the name makes no difference."""
    host, slot = host_of(plan, 9)
    for variables in ({"PLACEMENT_HOST": host, "SLURMD_NODENAME": "other"}, {"SLURMD_NODENAME": host}):
        assert environment(start(program, "--slot", str(slot), folder, **variables))["RANK"] == "9"
    for name in (host, f"{host}.cluster.local"):
        assert environment(start(program, f"--host={name}", f"--slot={slot}", folder, PLACEMENT_HOST="other"))["RANK"] == "9"


def test_node_name_of_a_batch_step(program: Path, plan: Plan, folder: Path) -> None:
    """An MPI launcher inside a Slurm job hands on the node name of the batch step: it is not believed."""
    inherited = {"SLURMD_NODENAME": str(plan.cluster.host_N[0])}
    assert start(program, folder, SLURM_LOCALID="1", **inherited).returncode == 0
    for variable in ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"):
        assert start(program, folder, **inherited, **{variable: "1"}).returncode == NO_HOST  # this machine is not in the plan


def test_plan_with_domains(program: Path, tmp_path: Path) -> None:
    """A plan that writes whole domain names is found by the short name, if only one host has it."""
    plan = tiny_plan()
    names = np.array(["a.one", "a-b.one", "b.one", "b.two"])
    object.__setattr__(plan.cluster, "host_N", names)
    (tmp_path / "plan.bin").write_bytes(binary(plan))
    assert environment(start(program, "--host", "a", "--slot", "1", tmp_path))["RANK"] == "1"
    assert environment(start(program, "--host", "a-b", "--slot", "0", tmp_path))["RANK"] == "2"
    assert start(program, "--host", "b", "--slot", "0", tmp_path).returncode == NO_HOST
    assert environment(start(program, "--host", "b.two", "--slot", "0", tmp_path))["RANK"] == "6"


def test_hosts_with_fewer_ranks_than_slots(program: Path, tmp_path: Path) -> None:
    """Where a GPU is out of service, local slot k is the k-th slot with a rank, and the bad GPU is not among the devices."""
    plan = shaped(hosts=4, gpus=4, tp=2, dp=4, pp=2)
    gpu_R = np.array([0, 2, 3, *range(4, 16)])  # slot 1 of the first host has none
    strategy = replace(plan.chosen.strategy, tp=1, dp=15, pp=1)
    stages = Stages(np.zeros(plan.model.num_blocks, np.int64), ("none",))
    cost = tiny_cost(strategy)
    chosen = replace(plan.chosen, strategy=strategy, stages=stages, placement=Placement(gpu_R), cost=cost)
    (tmp_path / "plan.bin").write_bytes(binary(replace(plan, chosen=chosen)))
    host = str(plan.cluster.host_N[0])
    found = [environment(start(program, "--host", host, "--slot", str(k), tmp_path)) for k in range(3)]
    assert [(f["RANK"], f["LOCAL_RANK"], f["CUDA_VISIBLE_DEVICES"]) for f in found] == [
        (str(k), str(k), "0,2,3") for k in range(3)
    ]
    assert start(program, "--host", host, "--slot", "3", tmp_path).returncode == NO_SLOT


# -------------------------------------------------------------------------------------------------------------- refusals


def test_refuses_unknown_hosts(program: Path, folder: Path) -> None:
    """A host that is not in the plan is refused by name, before anything runs."""
    done = start(program, "--host", "elsewhere", "--slot", "0", folder, "echo", "ran")
    assert (done.returncode, done.stdout) == (NO_HOST, "")
    assert "`elsewhere` is not in the plan, which has 16 hosts" in done.stderr


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_LOCAL_SIZE": "3"}, "3 processes on this host"),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_COMM_WORLD_SIZE": "60"}, "60 processes in all"),
        ({"MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1"}, "1 processes on this host"),  # MPICH with repeated host lines
        ({"SLURM_LOCALID": "0", "SLURM_NODEID": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x8),2,4(x7)"}, "2 processes on this host"),
        ({"SLURM_LOCALID": "0", "SLURM_NTASKS": "32"}, "32 processes in all"),
    ],
)  # fmt: skip
def test_refuses_wrong_counts(variables: dict[str, str], says: str, program: Path, plan: Plan, folder: Path) -> None:
    """A launcher that started another number of processes than the plan has ranks, here or in all, is refused."""
    done = start(program, "--host", str(plan.cluster.host_N[0]), folder, **variables)
    assert done.returncode == COUNT
    assert says in done.stderr


def test_right_counts_pass(program: Path, plan: Plan, folder: Path) -> None:
    """Slurm's short form is read node by node."""
    for node, tasks in (("0", "4(x8),2,4(x7)"), ("15", "1,2,4(x14)"), ("2", "1(x2),4")):
        variables = {"SLURM_LOCALID": "0", "SLURM_NODEID": node, "SLURM_STEP_TASKS_PER_NODE": tasks}
        assert start(program, "--host", str(plan.cluster.host_N[0]), folder, **variables).returncode == 0
    assert start(program, "--host", str(plan.cluster.host_N[0]), "--slot", "0", "--local-size", "5", folder).returncode == COUNT


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((), NO_SLOT),
        (("--slot", "4"), NO_SLOT),
        (("--slot", "x"), 64),
        (("--slot",), 64),
        (("--speed", "9"), 64),
        (("--cuda-devices", "some"), 64),
        (("--digest", "1234"), 64),
    ],
)
def test_refuses_arguments(args: tuple[str, ...], code: int, program: Path, plan: Plan, folder: Path) -> None:
    """No slot, a slot too many, and options that make no sense each have their exit code and one line that says why."""
    done = start(program, "--host", str(plan.cluster.host_N[0]), *args, folder)
    assert done.returncode == code
    assert done.stderr.startswith("placement-exec: ")
    assert done.stderr.count("\n") == 1


def test_refuses_stale_plans(program: Path, plan: Plan, folder: Path) -> None:
    """The digest of the launch, whole or its beginning, is that of the file, or nothing runs."""
    digest = bytes(np.frombuffer((folder / "plan.bin").read_bytes(), HEADER, 1)[0]["digest"]).hex()
    place = ("--host", str(plan.cluster.host_N[0]), "--slot", "0")
    for right in (digest, digest[:8], digest.upper()):
        assert environment(start(program, *place, "--digest", right, folder))["PLACEMENT_DIGEST"] == digest
        assert start(program, *place, folder, PLACEMENT_DIGEST=right).returncode == 0
    wrong = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    for done in (
        start(program, *place, "--digest", wrong, folder),
        start(program, *place, folder, PLACEMENT_DIGEST=wrong[::-1]),
    ):
        assert done.returncode == STALE
        assert "stale plan" in done.stderr


def test_refuses_bad_files(program: Path, plan: Plan, folder: Path, tmp_path: Path) -> None:
    """No file, an empty one, a cut one, and with --check a flipped bit anywhere."""
    place = ("--host", str(plan.cluster.host_N[0]), "--slot", "0")
    data = bytearray((folder / "plan.bin").read_bytes())
    assert start(program, *place, tmp_path / "none").returncode == NO_PLAN
    assert start(program, *place, tmp_path).returncode == NO_PLAN
    for damaged in (b"", b"text", bytes(data[:-64])):
        (tmp_path / "plan.bin").write_bytes(damaged)
        assert start(program, *place, tmp_path).returncode == DAMAGED
    data[-100] ^= 1
    (tmp_path / "plan.bin").write_bytes(bytes(data))
    assert start(program, *place, "--check", tmp_path).returncode == DAMAGED


# ----------------------------------------------------------------------------------------------------------- environment


def test_devices(program: Path, plan: Plan, folder: Path) -> None:
    """CUDA_VISIBLE_DEVICES: as numbers of what the launcher shows; one GPU makes a group of one; off leaves it alone."""
    host, slot = host_of(plan, 5)
    place = ("--host", host, "--slot", str(slot))
    shown = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c,GPU-d"}
    listed = environment(start(program, *place, "--cuda-devices=list", folder, **shown))
    assert listed["CUDA_VISIBLE_DEVICES"].split(",")[int(listed["LOCAL_RANK"])] == f"GPU-{'abcd'[slot]}"
    alone = environment(start(program, *place, "--cuda-devices=one", folder, **shown))
    assert (alone["CUDA_VISIBLE_DEVICES"], alone["LOCAL_RANK"], alone["LOCAL_WORLD_SIZE"]) == (f"GPU-{'abcd'[slot]}", "0", "1")
    assert (alone["GROUP_RANK"], alone["GROUP_WORLD_SIZE"]) == ("5", "64")
    assert "CUDA_VISIBLE_DEVICES" not in environment(start(program, *place, "--cuda-devices=off", folder))
    hidden = start(program, *place, "--cuda-devices=list", folder, CUDA_VISIBLE_DEVICES="2")
    assert hidden.returncode == DEVICES
    assert "shows 1 GPUs to this process, and the host has 4" in hidden.stderr


def test_nics(program: Path, plan: Plan, folder: Path) -> None:
    """NCCL_IB_HCA names exactly the NICs of all rails, or the one of the rank's own rail."""
    host, slot = host_of(plan, 5)
    place = ("--host", host, "--slot", str(slot))
    assert "NCCL_IB_HCA" not in environment(start(program, *place, folder))
    assert environment(start(program, *place, "--nccl-ib-hca", "host", folder))["NCCL_IB_HCA"] == "=mlx5_0,mlx5_1,mlx5_2,mlx5_3"
    assert environment(start(program, *place, "--nccl-ib-hca", "rank", folder))["NCCL_IB_HCA"] == f"=mlx5_{slot}"


def test_master(program: Path, plan: Plan, folder: Path) -> None:
    """The address is rank 0's host, the port what it was; options change both."""
    place = ("--host", str(plan.cluster.host_N[3]), "--slot", "0")
    found = environment(start(program, *place, folder, MASTER_ADDR="old", MASTER_PORT="1234"))
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == (host_of(plan, 0)[0], "1234")
    found = environment(start(program, *place, "--master-addr", "10.0.0.1", "--master-port", "7", folder))
    assert (found["MASTER_ADDR"], found["MASTER_PORT"]) == ("10.0.0.1", "7")


def test_program_gets_environment_and_arguments(program: Path, plan: Plan, folder: Path) -> None:
    """The program replaces the shim: its arguments are untouched, its environment is the old one and the rank."""
    host, slot = host_of(plan, 40)
    script = 'echo "$RANK $OLD $#:$1:$2"; exit 7'
    done = start(
        program, "--host", host, "--slot", str(slot), folder, "--", "sh", "-c", script, "sh", "--slot", "a b", OLD="kept"
    )
    assert (done.returncode, done.stdout) == (7, "40 kept 2:--slot:a b\n")
    place = ("--host", host, "--slot", str(slot), folder)
    assert start(program, *place, "no-such-program").returncode == 127
    assert start(program, *place, folder / "plan.bin").returncode == 126


# ------------------------------------------------------------------------------------------------------- a pod per host


def test_all_local(program: Path, plan: Plan, folder: Path) -> None:
    """--all-local starts every rank of the host, each with its own environment; the exit code is that of all."""
    gpu_R = plan.chosen.placement.gpu_R
    done = start(program, "--all-local", "--host", str(plan.cluster.host_N[6]), folder, "sh", "-c", 'echo "$RANK $LOCAL_RANK"',
                 JOB_COMPLETION_INDEX="11")  # fmt: skip
    ranks = np.sort(np.flatnonzero(gpu_R // 4 == 6))
    assert (done.returncode, sorted(done.stdout.splitlines())) == (0, sorted(f"{r} {k}" for k, r in enumerate(ranks)))


def test_all_local_ends_together(program: Path, plan: Plan, folder: Path) -> None:
    """When one rank fails the others are ended, and its exit code is the one that counts."""
    script = 'if [ "$LOCAL_RANK" = 2 ]; then exit 9; fi; exec sleep 600'
    done = start(program, "--all-local", "--host", str(plan.cluster.host_N[6]), folder, "sh", "-c", script)
    assert done.returncode == 9


def test_all_local_passes_signals_on(program: Path, plan: Plan, folder: Path) -> None:
    """A signal to the shim reaches every rank."""
    command = [program, "--all-local", "--host", str(plan.cluster.host_N[6]), folder]
    script = 'trap "echo ended; exit 3" TERM; echo ready; while :; do sleep 0.05; done'
    child = subprocess.Popen([*command, "sh", "-c", script], env=CLEAN, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert [child.stdout.readline() for _ in range(4)] == ["ready\n"] * 4
    child.send_signal(signal.SIGTERM)
    out, _ = child.communicate()
    assert (child.returncode, out.split()) == (3, ["ended"] * 4)


def test_reserved_hosts_are_not_in_the_plan(program: Path, tmp_path: Path) -> None:
    """A spare host, which exists in the topology and runs nothing, is refused."""
    plan = tiny_plan(tiny_cluster(leafs=3, states={4: State.RESERVED}), spares=1)
    (tmp_path / "plan.bin").write_bytes(binary(plan))
    assert start(program, "--host", "leaf0002-node00", "--slot", "0", tmp_path).returncode == NO_HOST
