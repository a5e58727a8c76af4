# SPDX-License-Identifier: Apache-2.0
# K distinct ways to cut a layer
"""Ways to cut a layer: the part of a strategy that decides what one GPU does for one microbatch of one layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir import Strategy
from placement.ir._array import Ints, freeze


@dataclass(frozen=True)
class Shards:
    """K ways to cut a layer, all int64 of shape (K,). Degrees as in `Strategy`; `micro_batch` in sequences."""

    tp_K: Ints
    cp_K: Ints
    ep_K: Ints
    etp_K: Ints
    gtp_K: Ints
    egtp_K: Ints
    micro_batch_K: Ints

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def num(self) -> int:
        return len(self.tp_K)

    def degree(self, axis: str) -> Ints:
        """Degree along one of tp, cp, ep, etp, gtp, egtp, shape (K,)."""
        found: Ints = getattr(self, f"{axis}_K")
        return found


def shards_of(*strategies: Strategy) -> Shards:
    """The shards of some strategies, one each, in order."""

    def column(name: str) -> Ints:
        return np.array([getattr(s, name) for s in strategies], dtype=np.int64)

    return Shards(*(column(n) for n in ("tp", "cp", "ep", "etp", "gtp", "egtp", "micro_batch")))
