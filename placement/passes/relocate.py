# SPDX-License-Identifier: Apache-2.0
# S site   R rank
"""Moves beyond the fewest, where they buy a shorter step: ranks off slow nodes, and whole cells to better domains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from placement.ir import Candidate, Cluster, Placement
from placement.ir._array import Ints
from placement.passes.problem import Problem, realise
from placement.passes.repair import Repair, repair

MARGIN = 1e-6  # of a step, below which nothing is gained


def relocate(task: Problem, old: Candidate, chosen: Candidate, fix: Repair, extra: int) -> tuple[Candidate, Repair]:
    """Spend up to `extra` moves as long as each trial shortens the step; otherwise things stay as they are."""
    best, moved = chosen, fix
    for avoid_N in _trials(task.cluster, chosen.placement):
        try:
            found = without(task, old, fix, chosen.placement, avoid_N)
        except ValueError:
            continue
        if len(found.moved_R) > len(fix.moved_R) + extra:
            continue
        trial = realise(task, old.strategy, old.stages, found.placement)
        if trial.cost.step_s < best.cost.step_s * (1 - MARGIN):
            best, moved = trial, found
    return best, moved


def _trials(cluster: Cluster, placement: Placement) -> list[Ints]:
    """Sets of nodes to leave: the slowest ones first, then one speed class after the other as well."""
    node_U = np.unique(placement.gpu_R // cluster.gpus_per_node)
    pace_U = np.minimum(cluster.speed_N[node_U], cluster.nic_Bps_N[node_U] / float(cluster.nic_Bps_N[node_U].max()))
    levels = np.unique(pace_U[pace_U < 1.0 - 1e-9])
    return [node_U[pace_U <= level] for level in levels.tolist()]


def without(task: Problem, old: Candidate, fix: Repair, placement: Placement, avoid_N: Ints) -> Repair:
    """A repair of the old placement that also leaves these nodes, as if they had failed. Raises ValueError if there is none."""
    from placement.diag import NoRepair

    cluster = task.cluster
    ok_NG = cluster.gpu_ok_NG.copy()
    ok_NG[avoid_N] = False
    healthy = replace(cluster, gpu_ok_NG=ok_NG)
    try:
        found = repair(healthy, old.strategy, placement, task.job, old.traffic)
    except NoRepair as error:
        raise ValueError(str(error)) from None
    moved_R = np.flatnonzero(found.placement.gpu_R != old.placement.gpu_R)
    return replace(found, moved_R=moved_R, lost_R=fix.lost_R, least=fix.least, cells_moved=fix.cells_moved + found.cells_moved)
