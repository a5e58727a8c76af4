# SPDX-License-Identifier: Apache-2.0
# R rank   J NVLink domain
"""What a job asks of any order of ranks beside speed. The launcher's default order may break it, and be faster for that."""

from __future__ import annotations

import numpy as np

from placement.cost.cells import kept_cell, spare_racks
from placement.ir import Cluster, Job, Placement, State, Strategy
from placement.ir._array import Ints
from placement.passes.rails import rail_conflicts


def broken_rule(cluster: Cluster, strategy: Strategy, job: Job, placement: Placement) -> str:
    """What a placement does against the rules, as a clause for a sentence; empty where it keeps all of them."""
    domain_R = cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node]
    rows = domain_R.reshape(-1, kept_cell(cluster, strategy, job))
    if bool((rows != rows[:, :1]).any()):
        return "takes groups apart that share an NVLink domain here"
    if not keeps_spares(cluster, job, np.bincount(domain_R, minlength=cluster.tiers[0].num_groups)):
        return "does not keep the spares that the job asks for"
    apart = not cluster.rails_connected and any(rail_conflicts(cluster, strategy, placement).values())
    return "finds no path between rails that are apart" if apart else ""


def keeps_spares(cluster: Cluster, job: Job, used_J: Ints) -> bool:
    """Whether domains that run so many ranks leave the spares of the job's policy (`cost.cells.domain_gpus`)."""
    spares, group_N = job.spares, cluster.tiers[0].group_N
    healthy_J = np.bincount(group_N, weights=cluster.usable_NG.sum(axis=1), minlength=len(used_J))
    idle_J = (used_J == 0) & (healthy_J > 0)
    if spares.policy == "per_rack":
        slots_J = np.bincount(group_N, weights=cluster.state_N != State.ABSENT, minlength=len(used_J))
        return bool((used_J <= np.maximum(slots_J - spares.count, 0) * cluster.gpus_per_node).all())
    if spares.policy in ("racks", "survive"):
        return int(idle_J.sum()) >= spare_racks(cluster, spares)
    if spares.policy == "per_group":
        group_J = cluster.parent_TJ[max(len(cluster.tiers) - 2, 0)]
        kept_G, runs_G = (np.bincount(group_J, weights=x) for x in (idle_J, used_J))
        return bool(((kept_G >= spares.count) | (runs_G == 0)).all())
    return spares.policy != "gpus" or int(healthy_J.sum() - used_J.sum()) >= spares.count
