# SPDX-License-Identifier: Apache-2.0
# N node   G gpu slot   R rank   T tier   J group of a tier   P stage
"""What the pictures and the page are drawn from: the plan or map, its cluster, and what is computed again from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from placement.cost.comms import total_bytes
from placement.cost.spans import seconds_J
from placement.cost.traffic import link_loads
from placement.ir import Cluster, Placement, State, Strategy, Term, Traffic
from placement.ir._array import Floats, Ints
from placement.report.html.layout import Layout, layout
from placement.report.maps.traffic import WHOLE, groups
from placement.report.maps.view import in_plan_words
from placement.report.stages import layer_names
from placement.report.strategy import layers_text

if TYPE_CHECKING:
    from placement.cost.pipeline import Timeline
    from placement.passes.landscape import Landscape
    from placement.passes.problem import Problem
    from placement.report.maps.view import MapView

Tree = Mapping[str, Any]
HEALTH = ("healthy", "failed", "drained", "absent", "reserved", "slow")
_SLOW = HEALTH.index("slow")


@dataclass(frozen=True)
class Ground:
    """A plan or a map ready to be drawn. `load_T`, `busy_T`: bytes a step over the uplink of each group, and seconds busy.

    `tree` has traffic and certificate as plan.json has them. `kind`: what `part_R` numbers, stages or towers, called `names`.
    `sent`: bytes of a step by axis, or part of a map. Shares of time are of `whole_s`, which people call `whole`.
    """

    tree: Tree
    cluster: Cluster
    gpu_R: Ints
    place: Layout
    health_U: Ints  # index into HEALTH, one entry a GPU
    rank_U: Ints  # -1: none
    load_T: tuple[Floats, ...]
    busy_T: tuple[Floats, ...]
    kind: str
    names: tuple[str, ...]
    part_R: Ints
    sent: Mapping[str, float]
    whole_s: float
    whole: str

    def hottest(self, top: int = 4) -> list[tuple[int, list[int], int]]:
        """(tier, its `top` uplinks that are busy longest, how many more are as busy within 1 %), the busiest tier first."""
        rows = []
        for t, busy_J in enumerate(self.busy_T):
            first = [int(j) for j in np.argsort(-busy_J, kind="stable")[:top] if busy_J[j] > 0]
            if first:
                alike = int((busy_J >= 0.99 * busy_J[first[-1]]).sum())
                rows.append((t, first, max(alike - len(first), 0)))
        return sorted(rows, key=lambda row: -float(self.busy_T[row[0]][row[1][0]]))

    @property
    def what(self) -> str:
        return "plan" if self.kind == "stage" else "map"

    def part(self, p: int) -> str:
        """A stage or tower in words."""
        return f"stage {p}" if self.kind == "stage" else self.names[p]


@dataclass(frozen=True)
class Facts(Ground):
    """A plan ready to be drawn, with the two things that only plans have."""

    strategy: Strategy
    timeline: Timeline
    landscape: Landscape


@dataclass(frozen=True)
class MapFacts(Ground):
    """A map of several towers ready to be drawn. `groups`: of each axis of a tower and of all wires (`maps.traffic.groups`)."""

    groups: list[dict[str, Any]]


def facts(
    tree: Tree, task: Problem, strategy: Strategy, timeline: Timeline, landscape: Landscape, placement: Placement
) -> Facts:
    """Everything that is drawn of a plan."""
    cluster, gpu_R = task.cluster, placement.gpu_R
    terms = tuple(Term(t["axis"], t["kind"], np.array(t["bytes_P"], float)) for t in tree["traffic"])
    loads = link_loads(cluster, strategy, placement, Traffic(terms))
    load_T = tuple(np.asarray(loads[t.name], float) for t in cluster.tiers)
    busy_T = tuple(seconds_J(load_J, t.uplink_Bps_J) for load_J, t in zip(load_T, cluster.tiers, strict=True))
    sent = {
        str(t["axis"]): float(sum(t["bytes_P"])) * strategy.stage_ranks * (2 if t["kind"] == "path" else 1)
        for t in tree["traffic"]
    }
    return Facts(
        tree, cluster, gpu_R, layout(cluster), health(cluster), rank_of_gpu(cluster, gpu_R), load_T, busy_T, "stage",
        tuple(layers_text(layer_names(s), 160) for s in tree["stages"]), np.arange(len(gpu_R)) // strategy.stage_ranks, sent,
        float(tree["predicted"]["step_time_s"]), "the step", strategy, timeline, landscape,
    )  # fmt: skip


def map_facts(view: MapView) -> MapFacts:
    """Everything that is drawn of a map of several towers."""
    cluster, gpu_R = view.cluster, view.gpu_R
    told = in_plan_words(view)
    return MapFacts(
        {**view.tree, **told, "cluster": {**view.tree["cluster"], **told["cluster"]}}, cluster, gpu_R, layout(cluster),
        health(cluster), rank_of_gpu(cluster, gpu_R), tuple(view.load_T), tuple(view.busy_T), "tower", view.names,
        view.tower_R, total_bytes(view.comms), float(view.tree["busiest_s"]), WHOLE, groups(view),
    )  # fmt: skip


def rank_of_gpu(cluster: Cluster, gpu_R: Ints) -> Ints:
    rank_U = np.full(cluster.num_nodes * cluster.gpus_per_node, -1)
    rank_U[gpu_R] = np.arange(len(gpu_R))
    return rank_U


def health(cluster: Cluster) -> Ints:
    """Index into HEALTH of every GPU; slow are those of nodes with weak compute or adapters."""
    best_X = np.zeros(len(cluster.chips))
    np.maximum.at(best_X, cluster.chip_N, cluster.nic_Bps_N)
    slow_N = (cluster.speed_N < 1.0) | (cluster.nic_Bps_N < best_X[cluster.chip_N])
    state_N = np.where((cluster.state_N == State.OK) & slow_N, _SLOW, cluster.state_N)
    healthy_NG = cluster.gpu_ok_NG | (state_N[:, None] != State.OK)
    return np.where(healthy_NG, state_N[:, None], State.FAILED).astype(np.int64).ravel()


def flows(f: Ground) -> list[tuple[str, str, float]]:
    """(axis, tier at which the peers meet, bytes a step over the whole cluster): both directions of pp, one of rings.

    What leaves groups of one tier and not of the next meets at the next; what leaves none stays inside NVLink domains.
    """
    names = [t.name for t in f.cluster.tiers]
    out = []
    for axis, sent in f.sent.items():
        leaves = f.tree["predicted"]["bytes_tier"].get(axis, {})
        above = [sent, *(float(leaves.get(name, 0.0)) for name in names)]
        for name, here, beyond in zip(names, above, above[1:], strict=False):
            if here - beyond > 1e-9 * sent:
                out.append((axis, name, here - beyond))
    return out
