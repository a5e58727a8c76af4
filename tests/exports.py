# SPDX-License-Identifier: Apache-2.0
# R rank   H host
"""Plans to export, and the real programs that read the exports."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from placement.export import Case, export, write_export
from placement.ir import Cluster, Placement, Plan, Stages, Strategy
from placement.runtime import LoadedPlan, Section, load_plan, write_plan
from tests.plans import INPUTS, tiny_cluster, tiny_plan

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / ".cache" / "conformance"  # made by `make conformance`
HINT = "`make conformance` installs it"


def shuffled(plan: Plan, seed: int = 0) -> Plan:
    """The same plan on the same GPUs, ranks dealt to hosts by chance; on each host they ascend with the slot."""
    gpus = plan.cluster.gpus_per_node
    node_R = np.random.default_rng(seed).permutation(plan.chosen.placement.gpu_R // gpus)
    order = np.argsort(node_R, kind="stable")
    start = np.searchsorted(node_R[order], node_R[order])
    gpu_R = np.empty_like(node_R)
    gpu_R[order] = node_R[order] * gpus + np.arange(len(order)) - start
    return dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, placement=Placement(gpu_R)))


def by_nodes(plan: Plan, seed: int = 0) -> Plan:
    """The same plan, whole nodes in an order by chance: what launchers that number nodes can run."""
    gpus = plan.cluster.gpus_per_node
    node_H = np.random.default_rng(seed).permutation(plan.chosen.placement.gpu_R[::gpus] // gpus)
    gpu_R = (node_H[:, None] * gpus + np.arange(gpus)).ravel()
    return dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, placement=Placement(gpu_R)))


def small_plan(*, leafs: int = 2, nodes: int = 4, gpus: int = 4, vpp: int = 1, whole_nodes: bool = False) -> Plan:
    """8 hosts of 4 GPUs, ranks in an order by chance."""
    plan = tiny_plan(tiny_cluster(leafs=leafs, nodes=nodes, gpus=gpus), vpp=vpp)
    return by_nodes(plan) if whole_nodes else shuffled(plan)


def plan_of(strategy: Strategy) -> Plan:
    """A plan of that strategy, without prices."""
    cluster = tiny_cluster(leafs=1, nodes=strategy.world_size, gpus=1)
    base = tiny_plan()
    blocks = base.model.num_blocks
    chunk_B = np.arange(blocks) * strategy.num_chunks // blocks
    stages = Stages(chunk_B, ("none",) * strategy.pp)
    cost = dataclasses.replace(
        base.chosen.cost, stage_s_P=np.ones(strategy.pp), memory_PM=np.ones((strategy.pp, base.chosen.cost.memory_PM.shape[1]))
    )
    placement = Placement(np.arange(strategy.world_size))
    chosen = dataclasses.replace(base.chosen, strategy=strategy, stages=stages, placement=placement, cost=cost)
    return dataclasses.replace(base, cluster=cluster, chosen=chosen, baseline=cost)


def case_of(plan: Plan, folder: Path) -> Case:
    """The plan written to and read from `folder`."""
    write_plan(plan, folder / "plan", INPUTS)
    return Case(load_plan(folder / "plan"), plan.cluster)


def exported(target: str, plan: Plan, folder: Path) -> tuple[Case, Path]:
    """The plan, and the directory of its export."""
    case = case_of(plan, folder)
    write_export(export(target, case.plan, case.cluster), folder / target)
    return case, folder / target


def host_of(case: Case) -> list[str]:
    """Host of every rank, straight from the placement and the cluster: what the exports are compared with."""
    return hosts_of(case.plan, case.cluster).tolist()


def hosts_of(plan: LoadedPlan, cluster: Cluster) -> np.ndarray:
    return cluster.host_N[plan.placement.gpu_R // cluster.gpus_per_node]


def slot_of(case: Case) -> list[int]:
    return (case.plan.placement.gpu_R % case.cluster.gpus_per_node).tolist()


def communicators_of(case: Case, rank: int) -> dict[str, list[int]]:
    """Members of each communicator of plan.bin that a rank is in, by the rule of docs/plan-format.md."""
    table, found = case.plan.bin[Section.COMMUNICATORS], {}
    for name, c in zip(case.plan.bin.name_column(table).tolist(), table, strict=True):
        n0, s0, n1, s1 = (int(c[k]) for k in ("inner_size", "inner_stride", "outer_size", "outer_stride"))
        if n0:  # listed ones have none
            base = rank - s0 * (rank // s0 % n0) - s1 * (rank // s1 % n1)
            found[name.decode()] = [base + i % n0 * s0 + i // n0 * s1 for i in range(n0 * n1)]
    return found


@cache
def program(name: str, version: str, environment: str = "") -> str:
    """Path of a real program whose `--version` starts like `version`, or a skipped test with the reason."""
    found = []
    for path in (shutil.which(name), ENVIRONMENTS / environment / "bin" / name if environment else None):
        if path and Path(path).exists():
            run = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            told = (run.stdout + run.stderr).strip()
            if re.search(version, told):
                return str(path)
            found.append(told.splitlines()[0] if told else "?")
    pytest.skip(f"{name} {version} is not installed (found: {', '.join(found) or 'none'}); {HINT}")


@cache
def interpreter(*modules: str) -> str:
    """A Python that can import `modules`, or a skipped test with the reason."""
    candidates = [sys.executable, *map(str, sorted(ENVIRONMENTS.glob("*/bin/python")))]
    probe = "import importlib.util as u, sys; sys.exit(any(u.find_spec(m) is None for m in sys.argv[1:]))"
    for candidate in candidates:
        if subprocess.run([candidate, "-c", probe, *modules], capture_output=True, check=False).returncode == 0:
            return candidate
    pytest.skip(f"no Python here imports {' and '.join(modules)}; {HINT}")


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ask(script: str, folder: Path, *words: object, modules: tuple[str, ...], timeout: int = 600) -> Any:
    """What a script prints as JSON in its last line, run in `folder` by an interpreter that has `modules`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_"))}
    run = subprocess.run(
        [interpreter(*modules), "-W", "ignore", "-c", script, *map(str, words)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=timeout, env=env,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.strip().splitlines()[-1])
