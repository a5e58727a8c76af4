# SPDX-License-Identifier: Apache-2.0
"""`placement compare`: other orders of the same ranks, priced like the plan."""

import json

import numpy as np
import pytest

from placement.ir import Job, Spares, Strategy
from placement.passes.orders import ORDERS, jax_mesh, megatron, shuffled, slurm_block
from tests.plans import tiny_cluster

JOB = Job(seq_len=16, global_batch=64, spares=Spares("gpus", 0))


def strategy(**given) -> Strategy:
    degrees = {"tp": 2, "cp": 1, "ep": 2, "etp": 1, "dp": 2, "pp": 2, "vpp": 1, "micro_batch": 1, "num_microbatches": 4}
    return Strategy(**degrees | given, schedule="1f1b", recompute="none", sharding="zero1")


@pytest.mark.parametrize("order", ORDERS.values(), ids=list(ORDERS))
def test_each_order_is_a_placement(order):
    """Every rank gets a GPU of its own, all of them usable."""
    cluster = tiny_cluster(leafs=3, nodes=2, gpus=2)
    found = order(cluster, strategy(), JOB).gpu_R
    assert len(set(found.tolist())) == 8
    assert cluster.usable_NG.ravel()[found].all()


def test_plain_orders():
    """Megatron fills hosts in order; JAX puts the stages of one replica side by side; chance follows the seed of the job."""
    cluster, two = tiny_cluster(), strategy(ep=1)
    assert megatron(cluster, two, JOB).gpu_R.tolist() == list(range(8))
    assert jax_mesh(cluster, two, JOB).gpu_R.tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert (shuffled(cluster, two, JOB).gpu_R == shuffled(cluster, two, JOB).gpu_R).all()
    pairs = shuffled(cluster, two, JOB).gpu_R.reshape(-1, 2)
    assert (np.diff(pairs, axis=1) == 1).all()


def test_slurm_leaves_what_does_not_fill_a_segment():
    """Domains of three nodes hold one segment of two: the third node of each stays free."""
    from dataclasses import replace

    cluster = tiny_cluster(leafs=3, nodes=3, gpus=2)
    domain = replace(cluster.tiers[0], group_N=cluster.tiers[1].group_N, uplink_Bps_J=np.full(3, 300e9))
    racks = replace(cluster, tiers=(domain, *cluster.tiers[1:]), domain_name_J=np.array(["a", "b", "c"]))
    nodes = slurm_block(racks, strategy(ep=4), JOB).gpu_R // 2
    assert sorted(set(nodes.tolist())) == [0, 1, 3, 4]


def test_compare_prints_one_table(run, plan_dir):
    """One line a placement with its predicted step, the plan first, and the same as JSON."""
    code, out, err = run("compare", plan_dir)
    assert (code, err) == (0, "")
    names = ["this plan", "Megatron default order", "Slurm block order", "JAX device order", "random nodes"]
    assert [line.strip().split("   ")[0] for line in out.splitlines()[2:]] == names
    rows = json.loads(run("compare", plan_dir, "--format", "json").out)["placements"]
    assert [r["name"] for r in rows] == names
    assert all(sum(r["breakdown_s"].values()) == pytest.approx(r["step_time_s"]) for r in rows)


def test_an_order_that_cannot_run_says_why(run, plan_dir, monkeypatch):
    """Where too few whole segments are left, the row has a reason instead of a step."""
    from placement.diag import Infeasible
    from placement.passes import orders

    def too_few(*_):
        raise Infeasible("8 ranks, but 4 GPUs are left", {})

    monkeypatch.setattr(orders, "ORDERS", {"Slurm block order": too_few})
    out = run("compare", plan_dir).out
    assert "Slurm block order cannot run: 8 ranks, but 4 GPUs are left" in out
