# SPDX-License-Identifier: Apache-2.0
"""Open MPI 4, Open MPI 5 and MPICH start the plan, or compute its map; hosts are made up by a stand-in for ssh."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from placement.export import Case
from tests.exports import exported, host_of, program, shuffled, slot_of, small_plan
from tests.plans import tiny_cluster, tiny_plan

# Drops the options of ssh, takes the host, and runs the rest under that host name.
STAND_IN = """#!/bin/sh
while case $1 in -*) true ;; *) false ;; esac; do shift; done
host=$1
shift
export FAKE_HOST=$host
exec {wrap} sh -c "{name}$*"
"""
# Open MPI 5.0.11 hangs, more often than not, when the ranks end before mpirun has heard that all of them started.
REPORT = """#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK-$PMI_RANK} local=${OMPI_COMM_WORLD_LOCAL_RANK-$MPI_LOCALRANKID}
echo "at $rank ${FAKE_HOST-$(hostname)} $local $PLACEMENT_DIGEST"
exec sleep 2
"""
APART = {"stdin": subprocess.DEVNULL, "start_new_session": True}  # PRRTE wants a process group of its own
PLAN = {"leafs": 2, "nodes": 2, "gpus": 4}


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def stand_in(folder: Path, *, uts: bool) -> Path:
    """As ssh: with `uts` the host name is really another one, which needs root."""
    if uts and subprocess.run(["unshare", "--uts", "true"], capture_output=True, check=False).returncode:
        pytest.skip("`unshare --uts` is not allowed here: no made-up hosts")
    wrap, name = ("unshare --uts", "hostname $host; ") if uts else ("", "")
    return script(folder / "fake-ssh", STAND_IN.format(wrap=wrap, name=name))


def start(mpirun: str, folder: Path, options: str, variable: str) -> str:
    """Output of start.sh with the program REPORT."""
    report = script(folder / "report.sh", REPORT)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMI", "PRTE_", "SLURM_"))}
    env |= {variable: options, "PATH": f"{Path(mpirun).parent}:{env['PATH']}", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    env |= {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_ALLOW_RUN_AS_ROOT": "1", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    words = ["sh", folder / "start.sh", report]
    run = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60, **APART)
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    return run.stdout


def compare(case: Case, told: str) -> None:
    """Every rank on its host, with its local rank, and the digest of the plan."""
    found = sorted(re.findall(r"^at (\d+) (\S+) (\d+) (\w+)$", told, re.MULTILINE), key=lambda w: int(w[0]))
    want = zip(map(str, range(case.world)), host_of(case), map(str, slot_of(case)), strict=True)
    assert found == [(rank, host, slot, case.digest) for rank, host, slot in want]


def test_open_mpi_4_launches(tmp_path: Path) -> None:
    """mpirun 4 starts 16 shuffled ranks on 4 hosts as the rankfile says."""
    mpirun = program("mpirun", r"\(Open MPI\) 4\.", "openmpi4")
    case, folder = exported("openmpi4", small_plan(**PLAN), tmp_path)
    agent = stand_in(folder, uts=True)
    compare(case, start(mpirun, folder, f"--mca plm_rsh_agent {agent} --oversubscribe", "MPIRUN_OPTIONS"))


def test_open_mpi_5_launches(tmp_path: Path) -> None:
    """mpirun 5 starts 16 shuffled ranks on 4 hosts as the rankfile says."""
    mpirun = program("mpirun", r"\(Open MPI\) 5\.", "openmpi")
    case, folder = exported("openmpi", small_plan(**PLAN), tmp_path)
    agent = stand_in(folder, uts=True)
    compare(case, start(mpirun, folder, f"--prtemca plm_ssh_agent {agent}", "MPIRUN_OPTIONS"))


def test_open_mpi_5_maps_a_thousand_hosts(tmp_path: Path) -> None:
    """Open MPI 5's own map of 4,000 shuffled ranks on 1,000 hosts is the plan's."""
    mpirun = program("mpirun", r"\(Open MPI\) 5\.", "openmpi")
    plan = shuffled(tiny_plan(tiny_cluster(leafs=50, nodes=20, gpus=4)))
    case, folder = exported("openmpi", plan, tmp_path)
    told = start(mpirun, folder, "--do-not-launch --display map", "MPIRUN_OPTIONS")
    found: dict[int, tuple[str, int]] = {}
    for node in re.split(r"^\s*Data for node: ", told, flags=re.MULTILINE)[1:]:
        places = re.findall(r"Local rank: (\d+)\s+Node rank: \d+\s+App rank: (\d+)", node)
        found |= {int(rank): (node.split()[0], int(local)) for local, rank in places}
    assert [found.get(r) for r in range(case.world)] == list(zip(host_of(case), slot_of(case), strict=True))


def test_mpich_launches(tmp_path: Path) -> None:
    """Hydra starts 16 shuffled ranks on 4 hosts as the rank map says, with the local ranks of the plan."""
    hydra = program("mpiexec.hydra", r"Version:\s+[5-9]", "mpich")
    case, folder = exported("mpich", small_plan(**PLAN), tmp_path)
    agent = stand_in(folder, uts=False)
    compare(case, start(hydra, folder, f"-launcher ssh -launcher-exec {agent} -iface lo", "HYDRA_OPTIONS"))
