# SPDX-License-Identifier: Apache-2.0
"""Slurm itself starts the plan: fake nodes on this machine, and 55,008 nodes that exist on paper."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from placement.export.slurm_topology import switches, topology_conf
from placement.hostlist import fold
from placement.ir import State
from placement.spec import load_cluster
from tests.exports import exported, host_of, shuffled, slot_of, small_plan
from tests.native import build
from tests.plans import tiny_cluster, tiny_plan

BASE = """\
ClusterName=fake
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SlurmUser=root
SlurmdUser=root
StateSaveLocation={state}/ctld
SlurmdSpoolDir={state}/d-%n
SlurmctldPidFile={state}/ctld.pid
SlurmdPidFile={state}/d-%n.pid
SlurmctldLogFile={state}/ctld.log
SlurmdLogFile={state}/d-%n.log
ReturnToService=2
MessageTimeout=300
MaxJobCount=10
"""


def needed() -> None:
    """Skips where Slurm cannot run."""
    missing = [p for p in ("slurmctld", "slurmd", "sbatch", "srun", "scontrol") if not shutil.which(p, path=PATH)]
    if missing:
        pytest.skip(f"Slurm is not installed ({', '.join(missing)}): Debian package slurm-wlm")
    if os.geteuid() != 0:
        pytest.skip("fake Slurm nodes need root: slurmd changes user")


@pytest.fixture
def state() -> Iterator[Path]:
    """A directory with a short name: sockets of slurmd have at most 107 letters."""
    with tempfile.TemporaryDirectory(prefix="sl", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def free_ports(count: int) -> list[int]:
    with ExitStack() as open_ones:
        found = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@contextmanager
def running(state: Path, conf: str, nodes: list[str], until: str) -> Iterator[dict[str, str]]:
    """slurmctld, and one slurmd for each of `nodes`; yields an environment in which the commands find them."""
    (state / "ctld").mkdir(parents=True)
    (state / "slurm.conf").write_text(conf)
    env = os.environ | {"SLURM_CONF": str(state / "slurm.conf"), "PATH": PATH}
    daemons = [["slurmctld", "-D", "-i"], *(["slurmd", "-D", "-N", node] for node in nodes)]
    children = [
        subprocess.Popen(d, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for d in daemons
    ]
    try:
        wait(env, until, children, state)
        yield env
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait(env: dict[str, str], until: str, children: list[subprocess.Popen[bytes]], state: Path) -> None:
    """Until `sinfo` says `until`."""
    for _ in range(600):
        told = subprocess.run(["sinfo", "-h", "-o", "%D %t"], env=env, capture_output=True, text=True, check=False).stdout
        if told.strip() == until:
            return
        assert children[0].poll() is None, (state / "ctld.log").read_text()[-2000:]
        time.sleep(0.2)
    pytest.fail(f"Slurm is not ready: {told}; {(state / 'ctld.log').read_text()[-2000:]}")


def fake_nodes(state: Path, hosts: list[str], gpus: int) -> str:
    control, *ports = free_ports(len(hosts) + 1)
    lines = [
        f"NodeName={h} NodeHostname=localhost NodeAddr=127.0.0.1 Port={p} CPUs={gpus}"
        for h, p in zip(hosts, ports, strict=True)
    ]
    partition = f"PartitionName=all Nodes={fold(hosts)} Default=YES MaxTime=INFINITE State=UP"
    return "\n".join([BASE.format(port=control, state=state), *lines, partition, ""])


REPORT = 'echo "$RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $SLURMD_NODENAME $MASTER_ADDR $SLURM_PROCID"'


def started(folder: Path, hosts: list[str], gpus: int, state: Path, **more: str) -> list[list[str]]:
    """What every task of submit.sh says about itself, in order of ranks."""
    with running(state, fake_nodes(state, hosts, gpus), hosts, f"{len(hosts)} idle") as env:
        env |= {"SBATCH_OPTIONS": f"--wait --output={state}/out.txt", **more}
        words = ["sh", folder / "submit.sh", "sh", "-c", REPORT]
        run = subprocess.run(words, env=env, cwd=state, capture_output=True, text=True, check=False, timeout=100)
        told = (state / "out.txt").read_text() if (state / "out.txt").exists() else ""
    assert run.returncode == 0, run.stderr + told
    return sorted((line.split() for line in told.splitlines()), key=lambda w: int(w[0]))


def test_every_task_where_the_plan_says(tmp_path: Path, state: Path) -> None:
    """submit.sh on 8 fake nodes: each of 32 tasks runs on the host and with the local rank of the plan."""
    needed()
    case, folder = exported("slurm", small_plan(), tmp_path)
    found = started(folder, sorted(set(host_of(case))), case.slots, state)
    want = zip(range(case.world), host_of(case), slot_of(case), strict=True)
    assert found == [[str(r), "32", str(slot), "4", host, host_of(case)[0], str(r)] for r, host, slot in want]


def test_blocks_and_placement_exec(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit of the arbitrary layout: Slurm's own block order, and yet RANK is the plan's on every host and slot."""
    needed()
    monkeypatch.setattr("placement.export.slurm.ARBITRARY", 4)
    shim = build("placement/runtime/placement_exec.c")
    case, folder = exported("slurm", small_plan(), tmp_path)
    program = state / "bin" / "placement-exec"
    program.parent.mkdir()
    shutil.copy(shim, program)
    more = {"PLACEMENT_PLAN": str(case.plan.path), "PATH": f"{program.parent}:{PATH}"}
    found = started(folder, sorted(set(host_of(case))), case.slots, state, **more)
    want = zip(range(case.world), host_of(case), slot_of(case), strict=True)
    assert [line[:6] for line in found] == [[str(r), "32", str(slot), "4", host, host_of(case)[0]] for r, host, slot in want]
    assert [line[6] for line in found] != [line[0] for line in found], "Slurm's own order was another"


def test_a_wrong_order_is_refused(tmp_path: Path) -> None:
    """A task that Slurm put on another host than the plan's stops with exit code 68 before the program starts."""
    case, folder = exported("slurm", small_plan(), tmp_path)
    env = os.environ | {"PLACEMENT_EXPORT": str(folder), "SLURM_PROCID": "3", "SLURM_LOCALID": "0", "SLURM_NTASKS": "32"}
    for host, code in ((host_of(case)[3], 0), (host_of(case)[0] + "x", 68)):
        run = subprocess.run(["sh", folder / "task.sh", "true"], env=env | {"SLURMD_NODENAME": host}, check=False)
        assert run.returncode == code


@pytest.mark.full
def test_full_size_lists_and_topology(tmp_path: Path, state: Path) -> None:
    """55,008 nodes: slurmctld reads the exported topology.conf and `sbatch` accepts the exported node list."""
    needed()
    if not os.environ.get("PLACEMENT_CONFORMANCE"):
        pytest.skip("takes a minute: `make conformance`")
    cluster = tiny_cluster(leafs=3056, nodes=18, gpus=4)
    case, folder = exported("slurm", shuffled(tiny_plan(cluster)), tmp_path)
    (port,) = free_ports(1)
    names = fold(cluster.host_N)
    conf = BASE.format(port=port, state=state) + "\n".join([
        "TopologyPlugin=topology/tree", "PrivateData=cloud",  # else nodes that are powered down are not shown
        "SuspendProgram=/bin/true", "ResumeProgram=/bin/true", "SuspendTime=1000000",
        f"NodeName={names} NodeAddr=127.0.0.1 CPUs=4 State=CLOUD", f"PartitionName=all Nodes={names} Default=YES State=UP", "",
    ])  # fmt: skip
    shutil.copy(folder / "topology.conf", state)
    with running(state, conf, [], f"{len(cluster.host_N)} idle~") as env:
        shown = subprocess.run(["scontrol", "show", "topology"], env=env, capture_output=True, text=True, check=True).stdout
        options = ["--test-only", f"--nodes={case.hosts}", f"--nodefile={folder / 'nodes.txt'}", "--exclusive"]
        words = ["sbatch", *options, f"--ntasks={case.world}", folder / "job.sh"]
        run = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert shown.count("SwitchName=leaf") == 3056
    assert run.returncode == 0, run.stderr
    assert f"using {case.world} processors" in run.stderr


@pytest.mark.parametrize("name", ["gb200-su", "h100-16k", "mixed-gb200-gb300"])
def test_slurmctld_loads_an_exported_topology(name: str, state: Path) -> None:
    """`topology export --to slurm-tree`: every node is under one tree, and every switch is there by its name."""
    needed()
    cluster = load_cluster(name)
    present = cluster.host_N[cluster.state_N != State.ABSENT]
    (state / "topology.conf").write_text(topology_conf(cluster))
    (port,) = free_ports(1)
    nodes = fold(present)
    conf = BASE.format(port=port, state=state) + "\n".join([
        "TopologyPlugin=topology/tree", f"NodeName={nodes} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN",
        f"PartitionName=all Nodes={nodes} Default=YES State=UP", "",
    ])  # fmt: skip
    with running(state, conf, [], f"{len(present)} unk") as env:
        shown = subprocess.run(["scontrol", "show", "topology"], env=env, capture_output=True, text=True, check=True).stdout
    assert {w.partition("=")[2] for line in shown.splitlines() for w in line.split()[:1]} == {
        n for n, _, _ in switches(cluster)
    }
    log = (state / "ctld.log").read_text()
    assert not [line for line in log.splitlines() if "switch" in line.lower() and ("error" in line or "lack access" in line)]
