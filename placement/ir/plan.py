# SPDX-License-Identifier: Apache-2.0
"""The plan: everything that was decided, with its predicted cost, bounds, and what the search saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from placement.ir.cluster import Cluster
from placement.ir.cost import Certificate, StepCost, Traffic
from placement.ir.job import Efficiency, Job
from placement.ir.model import ModelGraph
from placement.ir.scope import Confidence
from placement.ir.strategy import Placement, Stages, Strategy


@dataclass(frozen=True)
class Candidate:
    """A strategy carried through to an exact placement and its predicted cost."""

    strategy: Strategy
    stages: Stages
    placement: Placement
    traffic: Traffic
    cost: StepCost


@dataclass(frozen=True)
class Search:
    """What the strategy search saw. `rejected`: reason -> number of strategies. `scored`: evaluated in full.

    `bound_s`: no strategy of the space can be faster than this with stages cut as ours are; `proven`: no other strategy can
    beat the chosen one. `any_stages_s`: a weaker bound that holds however the layers are cut.
    `runners_up`: (strategy, predicted step seconds), best first.
    """

    enumerated: int
    feasible: int
    scored: int
    rejected: Mapping[str, int]
    bound_s: float
    proven: bool
    runners_up: tuple[tuple[Strategy, float], ...] = ()
    stopped_by: str = ""
    any_stages_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A complete plan. `baseline` is the same strategy in the launcher's default order (hosts by name, ranks in order)."""

    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency
    chosen: Candidate
    baseline: StepCost
    certificate: Certificate
    search: Search
    warnings: tuple[str, ...] = ()
    confidence: Confidence | None = None

    @property
    def spare_gpus(self) -> int:
        """Usable GPUs that run no rank."""
        return int(self.cluster.usable_NG.sum()) - self.chosen.strategy.world_size
