# SPDX-License-Identifier: Apache-2.0
# S site   R rank
"""Moves beyond the fewest, where they buy a shorter step: ranks leave nodes that compute or send slowly."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from placement.diag import NoRepair
from placement.ir import Candidate, Cluster, Placement
from placement.ir._array import Ints
from placement.passes.problem import Problem, realise
from placement.passes.repair import Repair, repair

MARGIN = 1e-6  # of a step, below which nothing is gained
TRIALS = 4  # sets of slow nodes that are tried


@dataclass(frozen=True)
class Offer:
    """What leaving slow nodes would buy. `break_even_steps`: after so many steps the interruption has paid for itself."""

    chosen: Candidate
    repair: Repair
    step_s: tuple[float, float]  # staying, moving
    extra_moves: int
    break_even_steps: float


def offer(
    task: Problem, old: Candidate, chosen: Candidate, fix: Repair, restart_s: float, limit: int | None = None
) -> Offer | None:
    """The best way off slow nodes, at most `limit` moves beyond those of the repair; None where no step gets shorter by it."""
    best: tuple[Candidate, Repair] | None = None
    for avoid_N in _trials(task.cluster, chosen.placement):
        try:
            found = without(task, old, fix, chosen.placement, avoid_N)
        except NoRepair:
            continue
        if limit is not None and len(found.moved_R) > len(fix.moved_R) + limit:
            continue
        trial = realise(task, old.strategy, old.stages, found.placement)
        if trial.cost.step_s < (best[0] if best else chosen).cost.step_s * (1 - MARGIN):
            best = (trial, found)
    if best is None:
        return None
    stay_s, move_s = chosen.cost.step_s, best[0].cost.step_s
    return Offer(*best, (stay_s, move_s), len(best[1].moved_R) - len(fix.moved_R), restart_s / (stay_s - move_s))


def _trials(cluster: Cluster, placement: Placement) -> list[Ints]:
    """Sets of nodes to leave: the slowest ones first, then one speed class after the other as well."""
    node_U = np.unique(placement.gpu_R // cluster.gpus_per_node)
    pace_U = np.minimum(cluster.speed_N[node_U], cluster.nic_Bps_N[node_U] / float(cluster.nic_Bps_N[node_U].max()))
    if cluster.nvlink_J is not None:
        pace_U = np.minimum(pace_U, cluster.nvlink_J[cluster.tiers[0].group_N[node_U]])
    levels = np.unique(pace_U[pace_U < 1.0 - 1e-9])
    picked = levels[np.unique(np.linspace(0, len(levels) - 1, TRIALS).astype(int))] if len(levels) else levels
    return [node_U[pace_U <= level] for level in picked.tolist()]


def without(task: Problem, old: Candidate, fix: Repair, placement: Placement, avoid_N: Ints) -> Repair:
    """A repair of the old placement that also leaves these nodes, as if they had failed. Raises NoRepair."""
    cluster = task.cluster
    ok_NG = cluster.gpu_ok_NG.copy()
    ok_NG[avoid_N] = False
    found = repair(replace(cluster, gpu_ok_NG=ok_NG), old.strategy, placement, task.job, old.traffic)
    moved_R = np.flatnonzero(found.placement.gpu_R != old.placement.gpu_R)
    return replace(found, moved_R=moved_R, lost_R=fix.lost_R, least=fix.least, cells_moved=fix.cells_moved + found.cells_moved)
