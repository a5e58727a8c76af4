# SPDX-License-Identifier: Apache-2.0
"""Compilers for the tests of the C side, and plans that exercise it."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from placement.ir import Placement, Plan, Stages, Strategy
from placement.runtime import assemble
from tests.plans import INPUTS, SEQ_LEN, tiny_cluster, tiny_cost, tiny_plan

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "placement" / "runtime"
STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wshadow", "-Wconversion", "-Wcast-qual", "-Wundef")
SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def needs(*programs: str) -> str:
    """The first of these programs that is installed; skips the test where none is."""
    found = next((path for name in programs if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"not installed here: {' or '.join(programs)}")
    return found


def run(*command: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end, without reading the terminal."""
    return subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options
    )


@functools.cache
def build(source: str, *flags: str, compiler: str = "cc", standard: str = "c11") -> Path:
    """Compiles one source of the repository, all warnings being errors; returns the program. Once for each set of flags."""
    program = Path(tempfile.mkdtemp(prefix="placement-native-")) / Path(source).stem
    done = run(needs(compiler), f"-std={standard}", *STRICT, *flags, "-I", SOURCES, ROOT / source, "-o", program)
    assert done.returncode == 0, done.stderr
    return program


def binary(plan: Plan) -> bytes:
    return assemble(plan, INPUTS).files["plan.bin"]


def shaped(*, hosts: int = 16, gpus: int = 4, tied: bool = False, shuffle: int | None = None, **degrees: int | str) -> Plan:
    """A plan of any strategy on hosts that it fills. `shuffle`: seed of a random rank -> GPU map."""
    base = tiny_plan(tiny_cluster(leafs=hosts // 2, nodes=2, gpus=gpus), tied=tied)
    fixed = {"micro_batch": 1, "num_microbatches": 4, "schedule": "1f1b", "recompute": "none", "sharding": "zero1", "vpp": 1}
    s = Strategy(**({"tp": 1, "cp": 1, "ep": 1, "etp": 1} | fixed | degrees))
    assert s.world_size == hosts * gpus
    gpu_R = np.arange(s.world_size) if shuffle is None else np.random.default_rng(shuffle).permutation(s.world_size)
    blocks = base.model.num_blocks
    stages = Stages(np.arange(blocks) * s.num_chunks // blocks, ("none",) * s.pp)
    chosen = dataclasses.replace(base.chosen, strategy=s, stages=stages, placement=Placement(gpu_R), cost=tiny_cost(s))
    job = dataclasses.replace(base.job, seq_len=SEQ_LEN, global_batch=s.dp * s.micro_batch * s.num_microbatches)
    return dataclasses.replace(base, chosen=chosen, job=job)
