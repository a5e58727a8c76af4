# SPDX-License-Identifier: Apache-2.0
"""The space of strategies seen from above holds for what the search finds below it."""

import numpy as np
import pytest

from placement.ir import Job
from placement.passes.landscape import landscape
from placement.passes.outer import grow
from placement.passes.problem import problem
from placement.passes.search import search
from placement.passes.strategies import space
from placement.spec import load_cluster, load_model
from placement.spec.catalog import efficiency


def task_of(**pins):
    cluster, (graph, _) = load_cluster("gb200-su"), load_model("llama3-70b")
    return problem(cluster, graph, Job(4096, 128, max_gpus=64, effort=0, pins=pins), efficiency())


@pytest.mark.parametrize("pins", [{"tp": 4, "pp": 4}, {"tp": 8, "pp": 1}, {"tp": 2, "pp": 8}])
def test_nothing_found_is_faster_than_its_cell(pins):
    """The best plan with these degrees takes at least what the landscape says of them."""
    found = landscape(task_of())
    cell = found.least_s_XY[found.tp_X == pins["tp"], found.pp_Y == pins["pp"]]
    best, _ = search(task_of(**pins), lambda *_: None)
    assert cell.shape == (1,)
    assert 0.0 < cell[0] <= best.cost.step_s


def test_every_strategy_is_in_one_cell():
    """The cells hold what divides and fits the cluster, each strategy once; the least of all is the tree's."""
    task = task_of()
    found, tree = landscape(task), grow(task, space(task.cluster, task.model, task.job))
    assert found.count_XY.sum() == tree.leaves_S.sum()
    assert found.least_s_XY.min() == tree.bound_S[0]
    assert np.array_equal(np.unique(found.tp_X), found.tp_X)
