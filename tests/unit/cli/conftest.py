# SPDX-License-Identifier: Apache-2.0
"""A plan directory whose inputs are real files, and a way to run the program inside the test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from placement.cli.main import main
from placement.ir import Plan, Term, Traffic
from placement.runtime import write_plan
from placement.spec import load_cluster
from tests.plans import tiny_plan

ROOT = Path(__file__).parents[3]
MODEL = """\
name: toy
transformer: {layers: 4, hidden: 1024, heads: 8, kv_heads: 4, ffn: 4096, vocab: 32000}
job: {sequence_length: 1024, global_batch: 32, precision: bf16}
"""


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`run("show", folder)`: exit code, stdout and stderr of the program."""

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(w) for w in words])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A dense model that fits the tiny cluster."""
    path = tmp_path / "toy.yaml"
    path.write_text(MODEL, encoding="utf-8")
    return path


@pytest.fixture
def plan_dir(tmp_path: Path) -> Path:
    """An invented plan on the tiny cluster, with copies of real input files beside it."""
    return write(tmp_path / "plan", toy_plan())


def toy_plan(**changes: bool) -> Plan:
    """A plan by hand on topologies/tiny.yaml: two stages of four GPUs; all costs are invented."""
    plan = tiny_plan(load_cluster("tiny"), **changes)
    terms = (
        Term("tp", "ring", np.array([4e6, 5e6])),
        Term("dp", "ring", np.array([1e6, 2e6])),
        Term("pp", "path", np.array([3e5, 0.0])),
    )
    return dataclasses.replace(plan, chosen=dataclasses.replace(plan.chosen, traffic=Traffic(terms)))


def write(folder: Path, plan: Plan) -> Path:
    """A plan directory with the inputs that it claims to be made from."""
    topology = (ROOT / "topologies" / "tiny.yaml").read_bytes()
    write_plan(plan, folder, {"topology.yaml": topology, "model.yaml": MODEL.encode()})
    return folder
