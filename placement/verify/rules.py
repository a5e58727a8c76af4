# SPDX-License-Identifier: Apache-2.0
# J NVLink domain
"""What the job asks of any order of ranks: spares kept, cells in NVLink domains, paths between rails.

A plan has to keep all of it (`spares`, `domains`, `rails`). The launcher's default order knows none of it: where it happens to
keep the same rules, a plan must not be slower.
"""

from __future__ import annotations

import math

import numpy as np

from placement.ir import State
from placement.verify.case import Array, Case
from placement.verify.groups import no_path


def broken_by(case: Case, node_R: Array) -> str:
    """The first of the rules that ranks on these nodes break; empty where they keep all."""
    cell, domain_R = _kept(case), case.cluster.tiers[0].group_N[node_R]
    if len(domain_R) % cell == 0:
        rows = domain_R.reshape(-1, cell)
        if (rows != rows[:, :1]).any():
            return f"cells of {cell} ranks leave their NVLink domain"
    return spares_missing(case, node_R) or ("messages find no path between rails" if no_path(case, node_R) else "")


def _kept(case: Case) -> int:
    """Ranks of the cells that the plan keeps in domains (`certificate` counts them), also where no bound speaks of cells."""
    told, d = case.tree["certificate"], case.degrees
    return max(int(told["cell"] or (math.lcm(d.tp, d.etp) if told["parted_cells"] else told["whole_cell"])), 1)


def spares_missing(case: Case, node_R: Array) -> str:
    """Which of the spares that the job asks for are not kept; empty where they are.

    Trays of a rack that failed count as spares of it. Racks are NVLink domains with healthy GPUs and without a rank.
    """
    cluster, asked = case.cluster, case.job.spares
    domain_N, size = cluster.tiers[0].group_N, cluster.tiers[0].num_groups
    used_J = np.bincount(domain_N[node_R], minlength=size)
    healthy_J = np.bincount(domain_N, weights=cluster.usable_NG.sum(axis=1), minlength=size)
    idle_J = (used_J == 0) & (healthy_J > 0)
    if asked.policy == "per_rack":
        there_J = np.bincount(domain_N, weights=cluster.state_N != State.ABSENT, minlength=size)
        over = int((used_J > np.maximum(there_J - asked.count, 0) * cluster.gpus_per_node).sum())
        return f"{over:,} racks keep fewer than {asked.count} tray{'s' * (asked.count > 1)}" if over else ""
    if asked.policy in ("racks", "survive"):
        wanted = asked.count if asked.policy == "racks" else _to_survive(case)
        return f"{int(idle_J.sum()):,} racks are kept, not {wanted:,}" if idle_J.sum() < wanted else ""
    if asked.policy == "per_group":
        return _groups_short(case, idle_J, used_J > 0)
    free = int(healthy_J.sum()) - len(node_R)
    return f"{free:,} GPUs are kept, not {asked.count:,}" if asked.policy == "gpus" and free < asked.count else ""


def _groups_short(case: Case, idle_J: Array, used_J: Array) -> str:
    """Groups of the tier below the outermost that run ranks and keep too few racks."""
    tier = case.cluster.tiers[max(len(case.cluster.tiers) - 2, 0)]
    group_J = np.zeros(len(idle_J), np.int64)
    group_J[case.cluster.tiers[0].group_N] = tier.group_N
    kept_G, runs_G = (np.bincount(group_J, weights=x, minlength=tier.num_groups) for x in (idle_J, used_J))
    short = int(((kept_G < case.job.spares.count) & (runs_G > 0)).sum())
    return f"{short:,} groups keep fewer than {case.job.spares.count} rack{'s' * (case.job.spares.count > 1)}" if short else ""


def _to_survive(case: Case) -> int:
    """Fewest racks k so that no more GPUs fail in the time, with the probability asked for: a Poisson sum, term by term."""
    asked = case.job.spares
    mean = asked.rate * case.cluster.num_gpus * asked.hours / 24.0
    k, below = 0, math.exp(-mean)
    while below < asked.probability:
        k += 1
        below += math.exp(k * math.log(mean) - mean - math.lgamma(k + 1))
    return k
