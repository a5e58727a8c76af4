# SPDX-License-Identifier: Apache-2.0
# R rank   K tower   T tier   J group of a tier
"""A map that was read, and what its parts send over every uplink."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placement.cost.comms import tier_loads
from placement.cost.spans import seconds_J
from placement.ir import Cluster, Placement, Strategy
from placement.ir._array import Floats, Ints
from placement.ir.comms import Comms, Tower
from placement.report.comms import part_names

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class MapView:
    """`tree` is map.json, `gpu_R` where its ranks are, `comms` what they exchange."""

    tree: Tree
    cluster: Cluster
    comms: Comms
    gpu_R: Ints

    @cached_property
    def parts_T(self) -> list[dict[str, Floats]]:
        """Bytes a step that each part sends out of each group, by tier: {label: (J,)}."""
        return [loads_by_part(self.cluster, self.comms, self.gpu_R, t) for t in range(len(self.cluster.tiers))]

    @cached_property
    def load_T(self) -> list[Floats]:
        """Bytes a step over each uplink, by tier."""
        tiers = zip(self.cluster.tiers, self.parts_T, strict=True)
        return [np.sum([*parts.values(), np.zeros(tier.num_groups)], axis=0) for tier, parts in tiers]

    @cached_property
    def busy_T(self) -> list[Floats]:
        """Seconds a step that each uplink is busy, by tier."""
        return [seconds_J(load_J, t.uplink_Bps_J) for load_J, t in zip(self.load_T, self.cluster.tiers, strict=True)]

    @cached_property
    def tower_R(self) -> Ints:
        return np.repeat(np.arange(len(self.comms.towers)), [t.ranks for t in self.comms.towers])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(t.name for t in self.comms.towers)

    @property
    def cell_K(self) -> tuple[int, ...]:
        return tuple(int(t["cell"]) for t in self.tree["towers"])

    def structured(self) -> Iterator[tuple[Tower, int, Strategy, Placement]]:
        """Towers that have a strategy, each with its first rank, that strategy, and the placement of its ranks."""
        for tower, first in zip(self.comms.towers, self.comms.first, strict=True):
            if tower.strategy is not None:
                yield tower, first, tower.strategy, Placement(self.gpu_R[first : first + tower.ranks])


def loads_by_part(cluster: Cluster, comms: Comms, gpu_R: Ints, t: int) -> dict[str, Floats]:
    """Bytes a step that leave each group of tier t under a placement, by part: {label: (J,)}."""
    out: dict[str, Floats] = {}
    for label, _, load_J in tier_loads(cluster, comms, gpu_R, t):
        out[label] = out.get(label, np.zeros(len(load_J))) + load_J
    return out


def in_plan_words(view: MapView) -> dict[str, Any]:
    """The traffic of a map under the keys that plan.json has for it, so that screens and pictures of plans show it.

    Of the launcher's order map.json keeps sums over all parts: `baseline` is derived again.
    """
    from placement.passes.comms_place import launcher_order

    tiers = [t.name for t in view.cluster.tiers]
    launcher_R = launcher_order(view.cluster, view.comms.world_size)
    default: dict[str, dict[str, float]] = {label: {} for label in part_names(view.tree)}
    for t, name in enumerate(tiers):
        for label, load_J in loads_by_part(view.cluster, view.comms, launcher_R, t).items():
            default[label][name] = float(load_J.sum())
    bounds = {
        name: {"lower_bytes": tier["lower_bytes"], "plan_bytes": tier["bytes"], "method": tier["method"]}
        for name, tier in view.tree["tiers"].items()
    }
    return {
        "cluster": {"tiers": tiers},
        "predicted": {"bytes_tier": {label: view.tree["parts"][label]["bytes"] for label in default}},
        "baseline": {"bytes_tier": default},
        "certificate": {"tiers": bounds, "cell": 0},
    }
