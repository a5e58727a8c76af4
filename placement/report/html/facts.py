# SPDX-License-Identifier: Apache-2.0
# N node   G gpu slot   R rank   T tier   J group of a tier   P stage
"""What the pictures and the page are drawn from: the plan, its cluster, and two things computed again from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.cost.spans import seconds_J
from placement.cost.traffic import link_loads
from placement.ir import Cluster, Placement, State, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.report.html.layout import Layout, layout

if TYPE_CHECKING:
    from placement.cost.pipeline import Timeline
    from placement.passes.landscape import Landscape
    from placement.passes.problem import Problem

Tree = Mapping[str, Any]
HEALTH = ("healthy", "failed", "drained", "absent", "reserved", "slow")
_SLOW = HEALTH.index("slow")


@dataclass(frozen=True)
class Facts:
    """A plan ready to be drawn. `load_T`, `busy_T`: bytes a step over the uplink of each group, and seconds it is busy."""

    tree: Tree
    cluster: Cluster
    strategy: Strategy
    gpu_R: Ints
    place: Layout
    health_U: Ints  # index into HEALTH, one entry a GPU
    rank_U: Ints  # -1: none
    load_T: tuple[Floats, ...]
    busy_T: tuple[Floats, ...]
    timeline: Timeline
    landscape: Landscape

    def hottest(self, top: int = 4) -> list[tuple[int, list[int], int]]:
        """(tier, its `top` uplinks that are busy longest, how many more are as busy within 1 %), the busiest tier first."""
        rows = []
        for t, busy_J in enumerate(self.busy_T):
            first = [int(j) for j in np.argsort(-busy_J, kind="stable")[:top] if busy_J[j] > 0]
            if first:
                alike = int((busy_J >= 0.99 * busy_J[first[-1]]).sum())
                rows.append((t, first, max(alike - len(first), 0)))
        return sorted(rows, key=lambda row: -float(self.busy_T[row[0]][row[1][0]]))


def facts(
    tree: Tree, task: Problem, strategy: Strategy, timeline: Timeline, landscape: Landscape, placement: Placement
) -> Facts:
    """Everything that is drawn of a plan."""
    cluster, gpu_R = task.cluster, placement.gpu_R
    terms = tuple(Term(t["axis"], t["kind"], np.array(t["bytes_P"], float)) for t in tree["traffic"])
    loads = link_loads(cluster, strategy, placement, Traffic(terms))
    load_T = tuple(np.asarray(loads[t.name], float) for t in cluster.tiers)
    busy_T = tuple(seconds_J(load_J, t.uplink_Bps_J) for load_J, t in zip(load_T, cluster.tiers, strict=True))
    rank_U = np.full(cluster.num_nodes * cluster.gpus_per_node, -1)
    rank_U[gpu_R] = np.arange(len(gpu_R))
    place = layout(cluster)
    return Facts(tree, cluster, strategy, gpu_R, place, health(cluster), rank_U, load_T, busy_T, timeline, landscape)


def health(cluster: Cluster) -> Ints:
    """Index into HEALTH of every GPU; slow are those of nodes with weak compute or adapters."""
    best_X = np.zeros(len(cluster.chips))
    np.maximum.at(best_X, cluster.chip_N, cluster.nic_Bps_N)
    slow_N = (cluster.speed_N < 1.0) | (cluster.nic_Bps_N < best_X[cluster.chip_N])
    state_N = np.where((cluster.state_N == State.OK) & slow_N, _SLOW, cluster.state_N)
    healthy_NG = cluster.gpu_ok_NG | (state_N[:, None] != State.OK)
    return np.where(healthy_NG, state_N[:, None], State.FAILED).astype(np.int64).ravel()


def flows(f: Facts) -> list[tuple[str, str, float]]:
    """(axis, tier at which the peers meet, bytes a step over the whole cluster): both directions of pp, one of rings.

    What leaves groups of one tier and not of the next meets at the next; what leaves none stays inside NVLink domains.
    """
    names = [t.name for t in f.cluster.tiers]
    out = []
    for term in f.tree["traffic"]:
        leaves = f.tree["predicted"]["bytes_tier"].get(term["axis"], {})
        sent = float(sum(term["bytes_P"])) * f.strategy.stage_ranks * (2 if term["kind"] == "path" else 1)
        above = [sent, *(float(leaves.get(name, 0.0)) for name in names)]
        for name, here, beyond in zip(names, above, above[1:], strict=False):
            if here - beyond > 1e-9 * sent:
                out.append((str(term["axis"]), name, here - beyond))
    return out
