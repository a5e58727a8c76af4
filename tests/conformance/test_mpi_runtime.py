# SPDX-License-Identifier: Apache-2.0
"""The reference runtime on 64 processes: every communicator of the plan, and a step whose every byte is checked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from placement.ir import Plan
from tests.native import ROOT, SOURCES, binary, build, needs, run, shaped

PLANS = {
    "1f1b, tp 4, ep 8": lambda: shaped(tp=4, ep=8, dp=4, pp=4, tied=True),
    "interleaved, tp 2, cp 2, ep 4": lambda: shaped(tp=2, cp=2, ep=4, dp=4, pp=4, vpp=2, schedule="interleaved"),
    "zb-v, etp 2": lambda: shaped(tp=2, ep=4, etp=2, dp=8, pp=4, vpp=2, schedule="zb-v", tied=True),
    "dualpipe": lambda: shaped(tp=2, ep=4, dp=8, pp=4, schedule="dualpipe"),
}


def build_with(compiler: str, folder: Path) -> Path:
    """pipeline_step, without one warning."""
    program, source = folder / "pipeline_step", ROOT / "examples" / "runtime" / "pipeline_step.c"
    done = run(compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", SOURCES, source, "-o", program)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="module")
def mpirun() -> list[str]:
    """Starts processes on this machine, more than it has cores."""
    program = needs("mpirun.openmpi", "mpirun")
    if "open-mpi" not in run(program, "--version").stdout.lower():  # where it says to report bugs
        pytest.skip(f"{program} is not that of Open MPI")
    quiet = ["--mca", "btl_vader_single_copy_mechanism", "none", "--mca", "mpi_yield_when_idle", "1"]
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return [program, *root, "--oversubscribe", "--bind-to", "none", *quiet]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_with(needs("mpicc.openmpi", "mpicc"), tmp_path_factory.mktemp("mpi"))


def write(plan: Plan, folder: Path) -> Path:
    path = folder / "plan.bin"
    path.write_bytes(binary(plan))
    return path


def numbers(done: subprocess.CompletedProcess[str]) -> tuple[int, int, int]:
    """Messages, bytes checked, bytes wrong."""
    assert done.returncode == 0, done.stderr
    found = re.search(r"messages (\d+), bytes checked (\d+), wrong (\d+)", done.stdout)
    assert found, done.stdout
    return tuple(map(int, found.groups()))


@pytest.mark.parametrize("name", PLANS)
def test_every_byte_of_a_step(name: str, mpirun: list[str], program: Path, tmp_path: Path) -> None:
    """64 processes make every communicator in the plan's order, and each byte of a step comes from where the plan says."""
    plan = PLANS[name]()
    done = run(*mpirun, "-n", "64", program, write(plan, tmp_path), "--bytes", "512")
    messages, checked, wrong = numbers(done)
    s = plan.chosen.strategy
    turns = sum(int(a == b) for a, b in zip(s.chunk_stage, s.chunk_stage[1:], strict=False))
    p2p = 2 * s.num_microbatches * (s.num_chunks - 1 - turns) * s.stage_ranks
    assert messages > p2p
    assert checked > 512 * p2p
    assert wrong == 0
    assert re.search(r"communicators \d+\.\d+ s", done.stdout)


def test_under_mpich(tmp_path: Path) -> None:
    """The same program under another MPI, whose processes wait by spinning."""
    mpirun, program = needs("mpirun.mpich"), build_with(needs("mpicc.mpich"), tmp_path)
    plan = write(PLANS["1f1b, tp 4, ep 8"](), tmp_path)
    messages, _, wrong = numbers(run(mpirun, "-launcher", "fork", "-n", "64", program, plan, "--bytes", "64"))
    assert messages > 64
    assert wrong == 0


def test_a_wrong_byte_is_found(mpirun: list[str], program: Path, tmp_path: Path) -> None:
    """The check bites: one wrong byte of one rank ends the run with exit code 1 and the name of the sender."""
    done = run(*mpirun, "-n", "64", program, write(PLANS["1f1b, tp 4, ep 8"](), tmp_path), "--spoil", "21")
    assert done.returncode == 1
    assert "from rank 21 is wrong" in done.stderr


def test_through_the_shim(mpirun: list[str], program: Path, tmp_path: Path) -> None:
    """64 processes started in the order of hosts by a launcher that knows nothing of the plan: each is its planned rank."""
    plan = shaped(tp=2, cp=2, ep=4, dp=4, pp=4, tied=True, shuffle=7)
    path, shim, each = write(plan, tmp_path), build("placement/runtime/placement_exec.c", "-O2"), []
    for host in plan.cluster.host_N:
        for slot in range(4):
            each += [
                ":",
                "-n",
                "1",
                str(shim),
                "--host",
                str(host),
                "--slot",
                str(slot),
                str(path),
                "env",
                f"PLACEMENT_HOST={host}",
            ]
            each += [str(program), str(path), "--bytes", "64", "--hosts"]
    _, _, wrong = numbers(run(*mpirun, *each[1:]))
    assert wrong == 0


def test_without_the_shim_it_is_seen(mpirun: list[str], program: Path, tmp_path: Path) -> None:
    """The same launch without the shim puts ranks on other hosts than the plan, and `--hosts` says so."""
    plan = shaped(tp=2, cp=2, ep=4, dp=4, pp=4, shuffle=7)
    path, each = write(plan, tmp_path), []
    for host in plan.cluster.host_N:
        each += [":", "-n", "4", "env", f"PLACEMENT_HOST={host}", str(program), str(path), "--hosts"]
    done = run(*mpirun, *each[1:])
    assert done.returncode != 0
    assert "this host is not where the plan puts this rank" in done.stderr
