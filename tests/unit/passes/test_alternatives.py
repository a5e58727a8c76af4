# SPDX-License-Identifier: Apache-2.0
"""What else would have cost: hosts and stages that change places, and other degrees of one axis."""

from dataclasses import replace

import numpy as np
import pytest

from placement.ir import Job, Placement
from placement.passes.degrees import other_degrees
from placement.passes.problem import problem, realise
from placement.passes.search import search
from placement.passes.trades import node_trades, stage_trades
from placement.spec import load_cluster, load_model
from placement.spec.catalog import efficiency


@pytest.fixture(scope="module")
def planned():
    """A plan of a dense model on part of one NVL72 pod, with idle hosts left."""
    cluster, (graph, _) = load_cluster("gb200-su"), load_model("llama3-70b")
    task = problem(cluster, graph, Job(4096, 64, max_gpus=64, effort=0, pins={"pp": 2}), efficiency())
    best, _ = search(task, lambda *_: None)
    return task, best


def test_a_trade_is_the_plan_with_two_hosts_exchanged(planned):
    """Each trade costs what pricing the exchanged placement costs, and idle hosts are those without ranks."""
    task, plan = planned
    slots = task.cluster.gpus_per_node
    node_R, slot_R = np.divmod(plan.placement.gpu_R, slots)
    mine = int(node_R[0])
    found = node_trades(task, plan.strategy, plan.stages, plan.placement, mine)
    assert {t.idle for t in found} == {True, False}
    for trade in found:
        assert trade.idle == (trade.other not in node_R)
        new_R = np.array([{mine: trade.other, trade.other: mine}.get(n, n) for n in node_R.tolist()])
        again = realise(task, plan.strategy, plan.stages, Placement(new_R * slots + slot_R))
        assert again.cost.step_s == trade.cost.step_s
        same = [t for t, tier in enumerate(task.cluster.tiers) if tier.group_N[mine] == tier.group_N[trade.other]]
        assert same[0] == trade.tier


def test_a_host_without_ranks_has_nothing_to_trade(planned):
    """Idle hosts have no alternatives."""
    task, plan = planned
    idle = np.setdiff1d(np.arange(task.cluster.num_nodes), plan.placement.gpu_R // task.cluster.gpus_per_node)
    assert node_trades(task, plan.strategy, plan.stages, plan.placement, int(idle[0])) == []


def test_stages_that_change_places_twice_are_the_plan(planned):
    """With two stages the trade of one is the trade of the other."""
    task, plan = planned
    first, second = (stage_trades(task, plan.strategy, plan.stages, plan.placement, p) for p in (0, 1))
    assert [t.other for t in first] == [1]
    assert first[0].cost.step_s == second[0].cost.step_s


def test_other_degrees_are_what_a_pinned_search_finds(planned):
    """Each is the plan of the same job with that degree pinned, never faster than a proven plan; the plan's own is left out."""
    task, plan = planned
    found = other_degrees(task, plan.strategy, "tp", lambda *_: None)
    assert plan.strategy.tp not in [d.degree for d in found]
    for d in found:
        pinned = replace(task, job=replace(task.job, pins={**task.job.pins, "tp": d.degree}))
        best, _ = search(pinned, lambda *_: None)
        assert d.best is not None
        assert (d.best.strategy, d.best.cost.step_s) == (best.strategy, best.cost.step_s)
        assert d.best.strategy.pp == 2


def test_a_degree_that_does_not_run_says_why(planned):
    """Where nothing fits there is a reason instead of a plan; axes that follow from others have no degrees of their own."""
    task, plan = planned
    tight = replace(task, job=replace(task.job, pins={"tp": 1, "pp": 1, "cp": 1, "recompute": "none", "sharding": "none"}))
    found = other_degrees(tight, replace(plan.strategy, tp=2), "tp", lambda *_: None)
    assert [bool(d.reason) for d in found if d.best is None] == [True] * sum(d.best is None for d in found)
    assert any(d.best is None for d in found)
    assert other_degrees(task, plan.strategy, "edp", lambda *_: None) == []
