# SPDX-License-Identifier: Apache-2.0
# S site   N node   D NVLink domain   R rank   C cell   K block
"""Sites of a repair: what moves as one. A whole node, or a single GPU where nodes may be split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.cost.cells import DEGREE_KEYS, cell_sizes, may_split
from placement.ir import Cluster, Job, Placement, State, Strategy
from placement.ir._array import Bools, Ints
from placement.passes.sites import degraded


@dataclass(frozen=True)
class Yard:
    """Sites of `width` ranks each, by NVLink domain. `usable_S`: may run ranks. `weak_S`: slower than others of its kind."""

    width: int
    domain_S: Ints
    usable_S: Bools
    weak_S: Bools
    num_domains: int

    @property
    def room_D(self) -> Ints:
        """Usable sites of each domain."""
        return np.bincount(self.domain_S[self.usable_S], minlength=self.num_domains)


def yard_of(cluster: Cluster, strategy: Strategy, job: Job) -> Yard:
    domain_N, num = cluster.tiers[0].group_N.astype(np.int64), cluster.tiers[0].num_groups
    weak_N = degraded(cluster)
    if not may_split(cluster, strategy.world_size, job.ragged):
        return Yard(cluster.gpus_per_node, domain_N, cluster.whole_N, weak_N, num)
    slots = cluster.gpus_per_node
    return Yard(1, np.repeat(domain_N, slots), cluster.usable_NG.ravel(), np.repeat(weak_N, slots), num)


def cell_of(cluster: Cluster, strategy: Strategy, placement: Placement) -> int:
    """Ranks of a cell of a plan that stands: as the compiler cuts cells for domains in full health, as far as the plan kept
    them together.
    """
    present_N = (cluster.state_N != State.ABSENT) * cluster.gpus_per_node
    domain_N = cluster.tiers[0].group_N
    largest = int(np.bincount(domain_N, weights=present_N).max())
    domain_R = domain_N[placement.gpu_R // cluster.gpus_per_node]
    degrees = {a: np.array([strategy.size(a)]) for a in DEGREE_KEYS}
    for room in sorted({largest, *(largest // n for n in range(2, largest + 1))}, reverse=True):
        cell = int(cell_sizes(degrees, room)[0])
        domain_CR = domain_R.reshape(-1, cell)
        if bool((domain_CR == domain_CR[:, :1]).all()):
            return cell
    return 1


def matched(want_X: Ints, key_Y: Ints, value_Y: Ints) -> Ints:
    """For each key of `want_X` the next unused value with that key, or -1. Values of one key are used in their order."""
    order_Y = np.argsort(key_Y, kind="stable")
    sorted_Y = key_Y[order_Y]
    order_X = np.argsort(want_X, kind="stable")
    sorted_X = want_X[order_X]
    at = np.searchsorted(sorted_Y, sorted_X) + np.arange(len(sorted_X)) - np.searchsorted(sorted_X, sorted_X)
    there = at < np.searchsorted(sorted_Y, sorted_X, side="right")
    found = np.full(len(want_X), -1)
    found[order_X[there]] = value_Y[order_Y[at[there]]]
    return found
