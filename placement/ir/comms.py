# SPDX-License-Identifier: Apache-2.0
# R rank   E pair of ranks   M member of a group
"""Communication that is no single product: towers with strategies of their own, bridges between them, groups and pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from placement.ir._array import Floats, Ints, digest, freeze
from placement.ir.cost import Traffic
from placement.ir.strategy import Strategy


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
    """Directed traffic between pairs of ranks: `bytes_E` a step from `src_E` to `dst_E`. `kind`: bridge, groups or pairs."""

    label: str
    kind: str
    src_E: Ints
    dst_E: Ints
    bytes_E: Floats

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
