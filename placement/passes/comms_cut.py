# SPDX-License-Identifier: Apache-2.0
# U unit   V unit of one part   D NVLink domain   K class of unit sizes, largest first
"""The partition of the graph of units over the domains of a cluster."""

from __future__ import annotations

import numpy as np

from placement.ir import Cluster
from placement.ir._array import Ints
from placement.solve.bisect import Task, bisect
from placement.solve.exchange import Links

ALIKE = 512  # units of a part up to which what is cut is remembered


class Cutter:
    """Recursive bisection of units over the domains, along the borders of the outer tiers first."""

    def __init__(self, cluster: Cluster, room_D: Ints, size_U: Ints, graph: Links) -> None:
        self.cluster, self.graph, self.size_U = cluster, graph, size_U
        self.sizes: Ints = np.asarray(np.unique(size_U)[::-1], np.int64)
        self.room_DK = room_D[:, None] // self.sizes * self.sizes
        self.known: dict[tuple[bytes, ...], Ints | None] = {}
        self.need_UK = np.where(size_U[:, None] >= self.sizes, size_U[:, None], 0)

    def run(self) -> Ints | None:
        domain_U = np.full(len(self.size_U), -1)
        domains = np.flatnonzero(self.room_DK[:, -1] > 0)
        if not len(domains):  # cells fit, but not as many as fill whole nodes
            return None
        work: list[tuple[Ints, Ints]] = [(domains, np.arange(len(self.size_U)))]
        while work:
            domain_D, unit_V = work.pop()
            if not len(unit_V):
                continue
            if len(domain_D) == 1:
                domain_U[unit_V] = domain_D[0]
                continue
            halves = self._halves(domain_D)
            side_V = self._sides(self._task(unit_V, halves))
            if side_V is None:
                return None
            work += [(half, unit_V[side_V == s]) for s, half in enumerate(halves)]
        load_D = np.bincount(domain_U, weights=self.size_U, minlength=len(self.room_DK))
        return domain_U if bool((load_D <= self.room_DK[:, -1]).all()) else None

    def _sides(self, task: Task) -> Ints | None:
        """`bisect`, once for parts that are alike: regular towers are cut into many of the same."""
        graph = task.graph
        if len(task.need_VK) > ALIKE:
            return bisect(task)
        arrays = (graph.first_U, graph.unit_V, graph.weight_V, task.need_VK, task.left_K, task.right_K)
        key = tuple(np.ascontiguousarray(a).tobytes() for a in arrays)
        if key not in self.known:
            self.known[key] = bisect(task)
        return self.known[key]

    def _halves(self, domain_D: Ints) -> tuple[Ints, Ints]:
        """Two runs of whole groups of the outermost tier that parts these domains, as alike in room as they get."""
        for group_D in [*self.cluster.parent_TJ[::-1], np.arange(len(self.room_DK))]:
            border = np.flatnonzero(np.diff(group_D[domain_D])) + 1
            if len(border):
                filled = np.cumsum(self.room_DK[domain_D, -1])
                at = int(border[np.abs(filled[border - 1] - filled[-1] / 2).argmin()])
                return domain_D[:at], domain_D[at:]
        raise AssertionError("domains are groups of the innermost tier")

    def _task(self, unit_V: Ints, halves: tuple[Ints, Ints]) -> Task:
        number_U = np.full(len(self.size_U), -1)
        number_U[unit_V] = np.arange(len(unit_V))
        graph = self.graph
        count_V = graph.first_U[unit_V + 1] - graph.first_U[unit_V]
        at_X = np.repeat(graph.first_U[unit_V] - np.cumsum(count_V) + count_V, count_V) + np.arange(int(count_V.sum()))
        row_X, col_X = np.repeat(np.arange(len(unit_V)), count_V), number_U[graph.unit_V[at_X]]
        kept_X = col_X >= 0
        first_V = np.concatenate([[0], np.cumsum(np.bincount(row_X[kept_X], minlength=len(unit_V)))])
        inner = Links(first_V, col_X[kept_X], graph.weight_V[at_X][kept_X])
        left_K, right_K = (self.room_DK[h].sum(axis=0) for h in halves)
        return Task(inner, self.need_UK[unit_V], left_K, right_K)
