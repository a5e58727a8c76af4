# SPDX-License-Identifier: Apache-2.0
# A axis (AXES order)   T tier   P pipeline stage   S, K leading shape of many strategies
"""What a plan costs: spans of communicators, traffic terms, the split of a step, memory per stage, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from placement.ir._array import Floats, freeze
from placement.ir.strategy import AXES


@dataclass(frozen=True)
class Spans:
    """How the communicators of each axis lie on the tiers, under a placement (or at best, over all placements).

    Arrays may have leading dimensions (many strategies at once): shape (..., A, T), A in the order of `AXES`.

    `members`  smallest number of members of one communicator that share a tier-t group, over its communicators and groups it
               touches. members[..., T-1] = group size on a connected fabric. Decides the NVLink share and the latency.
    `ring_spB` seconds per byte of ring payload at the uplinks of tier t: max over tier-t groups j of
               (ring edges that leave group j, over all communicators of the axis) / uplink_Bps_J[j].
               0 where no communicator leaves a tier-t group. For `pp` the edges are the stage boundaries.
    `a2a_spB`  the same for all-to-all: max over j of sum over members in j of (share of its peers outside j) / uplink_Bps_J[j],
               per byte that each member sends in total.
    `hop`      (..., A) bytes that the busiest GPU forwards over NVLink to another rail, per byte of payload; None: no hops.
    `edge_spB` (P,) of one strategy: seconds per byte of each stage boundary p, p + 1 (the last one closes the ring) at the
               busiest uplink that it crosses, 0 inside NVLink domains; None: every boundary costs what `ring_spB` of pp says.
    `some_spB` the same of boundaries of which only the prices are known and not which has which (of ideal spans), instead.
    """

    members: Floats
    ring_spB: Floats
    a2a_spB: Floats
    hop: Floats | None = None
    edge_spB: Floats | None = None
    some_spB: Floats | None = None

    def __post_init__(self) -> None:
        freeze(self)
        assert self.members.shape == self.ring_spB.shape == self.a2a_spB.shape
        assert self.members.shape[-2] == len(AXES)

    def axis(self, name: str) -> tuple[Floats, Floats, Floats]:
        """`members`, `ring_spB`, `a2a_spB` of one axis, each (..., T)."""
        i = AXES.index(name)
        return self.members[..., i, :], self.ring_spB[..., i, :], self.a2a_spB[..., i, :]

    def hops(self, name: str) -> Floats:
        """`hop` of one axis, (...)."""
        return np.zeros(self.members.shape[:-2]) if self.hop is None else self.hop[..., AXES.index(name)]


@dataclass(frozen=True)
class Term:
    """Bytes that one axis moves in a step. `kind`: ring (all-gather, reduce-scatter), path (p2p along pp), clique (all-to-all),
    hier (a collective whose order follows the fabric: every group it touches, and does not hold whole, sends the bytes once).

    `bytes_P`  per rank and step, for each pipeline stage, one direction: what one rank sends (path: to the next stage; rings
               of sharded weights: what the members that share a weight send together, `cost.traffic.traffic`).
    """

    axis: str
    kind: str
    bytes_P: Floats

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True)
class Traffic:
    """All communication of a step, by axis."""

    terms: tuple[Term, ...]


PARTS = ("compute", "tp", "cp", "ep", "pp", "dp", "bubble", "optimizer", "overhead")
MEMORY = ("weights", "gradients", "optimizer", "activations", "buffers", "reserve")


@dataclass(frozen=True)
class StepCost:
    """Predicted cost of one training step. `parts_s` has the keys of PARTS and sums to `step_s`.

    `memory_PM` bytes on the fullest GPU of each stage, columns MEMORY. `stage_s_P` busy seconds of each stage.
    `bytes_tier` bytes per step that leave groups of each tier, summed over the cluster, by axis then tier name.
    """

    step_s: float
    parts_s: Mapping[str, float]
    stage_s_P: Floats
    memory_PM: Floats
    tokens_per_s_per_gpu: float
    mfu: float
    bytes_tier: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze(self)
        assert abs(sum(self.parts_s.values()) - self.step_s) <= 1e-9 * max(1.0, self.step_s)

    @property
    def peak_memory_bytes(self) -> float:
        return float(self.memory_PM.sum(axis=1).max())


@dataclass(frozen=True)
class Witness:
    """How a tier's profile was made, for whoever derives it again: marks of the digits, and the size at which stages are priced
    alike; ranks of the blocks whose parts are priced, and the share that tails hold (`solve/parts.py`), 0 for none; prices of a
    rank of each stage, as shares of the bytes of all boundaries (`solve/tolls.py`), none where these carry alike; prices of a
    rank of each stage as shares of all bytes, where sets are bounded stage by stage (`solve/stages.py`), else none.
    """

    marks: tuple[int, ...]
    price_at: int
    unit: int = 0
    share: float = 0.0
    tolls: tuple[float, ...] = ()
    prices: tuple[float, ...] = ()


@dataclass(frozen=True)
class Certificate:
    """Lower bounds that hold for every placement of the chosen strategy and stages, per tier: bytes leaving tier-t groups.

    `lower_bytes[tier]` <= `plan_bytes[tier]`; `method[tier]` names the bound that won. `joint_bytes` bounds the sum over tiers
    by what holds for all of them at once, `joint_method` says how, `witness` with what. `gap` = plan / bound - 1 of the total.
    `kept_bytes`, `kept_joint`: what must leave if `cell` consecutive ranks each share an NVLink domain, as they do here (cell
    0: they do not, or nothing is known). `parted` of the cells of `whole` ranks, all groups together, leave their domain.
    `step_bound_s`: what the step takes under every such placement, `step_s` under this.
    """

    lower_bytes: Mapping[str, float]
    plan_bytes: Mapping[str, float]
    method: Mapping[str, str]
    joint_bytes: float = 0.0
    joint_method: str = ""
    witness: Mapping[str, Witness] = field(default_factory=dict)
    step_s: float = 0.0
    step_bound_s: float = 0.0
    cell: int = 0
    kept_bytes: Mapping[str, float] = field(default_factory=dict)
    kept_joint: float = 0.0
    whole: int = 0
    parted: int = 0

    @property
    def gap(self) -> float:
        bound = max(sum(self.lower_bytes.values()), self.joint_bytes)
        return sum(self.plan_bytes.values()) / bound - 1.0 if bound > 0 else 0.0

    @property
    def kept_gap(self) -> float:
        """Of the placements that keep cells: plan / bound - 1; `gap` where no cells are kept."""
        bound = max(sum(self.kept_bytes.values()), self.kept_joint)
        return sum(self.plan_bytes.values()) / bound - 1.0 if bound > 0 else self.gap

    @property
    def step_gap(self) -> float:
        """Predicted step / its bound - 1; 0 where none is known."""
        return self.step_s / self.step_bound_s - 1.0 if self.step_bound_s > 0 else 0.0


def no_spans(num_tiers: int, *lead: int) -> Spans:
    """Spans of single-member communicators: nothing leaves any group."""
    shape = (*lead, len(AXES), num_tiers)
    return Spans(np.ones(shape), np.zeros(shape), np.zeros(shape))
