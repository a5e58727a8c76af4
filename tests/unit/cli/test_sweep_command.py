# SPDX-License-Identifier: Apache-2.0
"""`placement sweep`: sizes on one core, on several processes, and on a Dask cluster, with the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SIZES = "4,8"


def words(model_file, *more: str) -> list[str]:
    return ["sweep", str(model_file), "tiny", "--gpus", SIZES, "--format", "json", *more]


@pytest.fixture
def alone(run, model_file):
    """The study on one core, one size after the other."""
    found = run(*words(model_file))
    assert found.code == 0, found.err
    return json.loads(found.out)


def test_a_sweep_has_a_row_for_each_size(alone):
    """Step, MFU, interval and decomposition of each; the larger beside the smallest."""
    small, large = alone["points"]
    assert (small["gpus"], large["gpus"]) == (4, 8)
    assert small["efficiency"] == 1.0
    assert large["speed_up"] > 1.0
    assert set(large["lost"]) == set(large["breakdown_s"])
    assert large["interval_s"][0] < large["step_time_s"] < large["interval_s"][1]


def test_two_processes_find_what_one_finds(run, model_file, alone):
    """joblib's own processes."""
    found = run(*words(model_file, "--jobs", "2"))
    assert json.loads(found.out) == alone


def test_a_dask_cluster_finds_what_one_core_finds(model_file, alone):
    """The same command, sent to a cluster that is running: its address comes from the environment, as Dask has it."""
    distributed = pytest.importorskip("distributed", reason="a Dask cluster needs `distributed`")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        found = subprocess.run(
            [sys.executable, "-m", "placement", *words(model_file, "--backend", "dask")],
            env={**os.environ, "DASK_SCHEDULER_ADDRESS": cluster.scheduler_address},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        ran = cluster.scheduler.transition_counter
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == alone
    assert ran > 0, "the work did not reach the cluster"


@pytest.mark.parametrize("more", [("--backend", "spark"), ("--gpus", "many")])
def test_what_cannot_be_swept_is_a_usage_error(run, model_file, more):
    """An unknown backend, and sizes that are no counts."""
    assert run(*words(model_file), *more).code == 2
