# SPDX-License-Identifier: Apache-2.0
# R rank   E pair of ranks   Q group   M member of a group
"""Communication that is no single product: towers with strategies of their own, bridges between them, groups and pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from placement.ir._array import Floats, Ints, digest, freeze
from placement.ir.cluster import Cluster
from placement.ir.cost import Traffic
from placement.ir.strategy import Placement, Strategy


@dataclass(frozen=True)
class Tower:
    """Ranks that run one model, or ranks of which only pairs are known (`strategy` None, no terms).

    `source`: the model they run, or what says their bytes.
    """

    name: str
    ranks: int
    strategy: Strategy | None
    traffic: Traffic
    source: str = ""

    def __post_init__(self) -> None:
        assert self.strategy is None or self.strategy.world_size == self.ranks


@dataclass(frozen=True)
class Wires:
    """Directed traffic between pairs of ranks: `bytes_E` a step from `src_E` to `dst_E`. `kind`: bridge, groups or pairs.

    `rows_QM`: of groups, the ranks of each; empty for the others.
    """

    label: str
    kind: str
    src_E: Ints
    dst_E: Ints
    bytes_E: Floats
    rows_QM: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __post_init__(self) -> None:
        freeze(self)
        assert self.src_E.shape == self.dst_E.shape == self.bytes_E.shape


@dataclass(frozen=True)
class Comms:
    """All communication of a step. Ranks are numbered tower after tower, each in its own canonical order.

    `together`: groups of ranks, besides the cells of towers, that have to share one NVLink domain.
    """

    name: str
    towers: tuple[Tower, ...]
    wires: tuple[Wires, ...]
    together: tuple[Ints, ...] = ()
    hypothetical: bool = False

    @property
    def world_size(self) -> int:
        return sum(t.ranks for t in self.towers)

    @cached_property
    def first(self) -> tuple[int, ...]:
        """First rank of each tower."""
        return tuple(np.cumsum([0, *(t.ranks for t in self.towers)])[:-1].tolist())

    def digest(self) -> str:
        return digest(self)


@dataclass(frozen=True)
class CommsPlan:
    """An exact placement of all ranks of all towers, what it sends, and how far from the best possible that is.

    `how` it came about; `tried`: score of every way. Bytes a step that leave groups, by tier, those of parts by part first.
    `launcher`: the same in the launcher's order, which `launcher_keeps` cells in domains or not. `cells`: ranks of each tower
    that have to share a domain. `lower`, `joint_lower`: bounds for every placement, `method` by tier; `why`: parts without a
    certificate, and why; `hints`: how bounds were made, for whoever derives them again.
    """

    cluster: Cluster
    comms: Comms
    placement: Placement
    how: str
    tried: tuple[tuple[str, float], ...]
    cells: Mapping[str, int]
    parts: Mapping[str, Mapping[str, float]]
    busiest_s: float
    launcher_parts: Mapping[str, Mapping[str, float]]
    launcher_busiest_s: float
    launcher_keeps: bool
    lower: Mapping[str, float]
    method: Mapping[str, str]
    joint_lower: float
    part_lower: Mapping[str, Mapping[str, float]]
    why: Mapping[str, str]
    hints: Mapping[str, Any]

    def tier_bytes(self, parts: Mapping[str, Mapping[str, float]] | None = None) -> dict[str, float]:
        """Bytes that leave groups of each tier, of all parts."""
        of = self.parts if parts is None else parts
        return {t.name: sum(part[t.name] for part in of.values()) for t in self.cluster.tiers}

    @property
    def gap(self) -> float | None:
        """Bytes above the bound, a share of it; None where there is no bound."""
        return sum(self.tier_bytes().values()) / self.joint_lower - 1.0 if self.joint_lower > 0 else None
