# SPDX-License-Identifier: Apache-2.0
# R rank   T tier   J group of a tier   E pair of ranks
"""What the towers, bridges, groups and pairs of a job send out of the groups of every tier, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from placement.cost.crossings import view
from placement.cost.spans import seconds_J
from placement.cost.traffic import axis_load
from placement.ir import Cluster, Placement
from placement.ir._array import Floats, Ints
from placement.ir.comms import Comms, Wires

EVEN = 0.1  # weight of all uplinks, evenly loaded, beside the busiest ones: as `passes.place.Aim`


@dataclass(frozen=True)
class Part:
    """One kind of traffic: an axis of a tower (`tower`, `axis`), or wires. Axes of one name run at the same time."""

    label: str
    phase: str
    bytes_T: Floats


@dataclass(frozen=True)
class Loads:
    """`bytes_T` a step that leave groups of each of the `tiers`, by part; `busiest_s` the busiest uplinks, phase by phase."""

    parts: tuple[Part, ...]
    tiers: int
    busiest_s: float
    even_s: float

    @property
    def bytes_T(self) -> Floats:
        return np.asarray(sum((p.bytes_T for p in self.parts), np.zeros(self.tiers)), float)

    @property
    def score(self) -> tuple[float, float, float]:
        """Smaller is better: seconds of the busiest uplinks and a tenth of all, then bytes."""
        return _round(self.busiest_s + EVEN * self.even_s), _round(self.busiest_s), _round(float(self.bytes_T.sum()))


def loads(cluster: Cluster, comms: Comms, gpu_R: Ints) -> Loads:
    """Loads of a placement of all ranks. Towers run side by side, so that their loads of an axis meet on the uplinks."""
    found: dict[tuple[str, str], list[Floats]] = {}
    worst: dict[str, float] = {}
    even = 0.0
    for t, tier in enumerate(cluster.tiers):
        phases: dict[str, Floats] = {}
        for label, phase, load_J in tier_loads(cluster, comms, gpu_R, t):
            phases[phase] = phases.get(phase, np.zeros(tier.num_groups)) + load_J
            found.setdefault((label, phase), [np.zeros(1)] * len(cluster.tiers))[t] = load_J
            even += float(load_J.sum()) / float(tier.uplink_Bps_J.sum()) if load_J.any() else 0.0
        for phase, load_J in phases.items():
            worst[phase] = max(worst.get(phase, 0.0), float(seconds_J(load_J, tier.uplink_Bps_J).max()))
    parts = tuple(Part(*key, np.array([float(x.sum()) for x in load_T])) for key, load_T in found.items())
    return Loads(parts, len(cluster.tiers), sum(worst.values()), even)


def tier_loads(cluster: Cluster, comms: Comms, gpu_R: Ints, t: int) -> Iterator[tuple[str, str, Floats]]:
    """(label, phase, bytes that leave each group of tier t) of every part."""
    num = cluster.tiers[t].num_groups
    for tower, first in zip(comms.towers, comms.first, strict=True):
        if tower.strategy is None:
            continue
        ranks = view(cluster, Placement(gpu_R[first : first + tower.ranks]), t)
        for term in tower.traffic.terms:
            load_J = axis_load(ranks, tower.strategy, term)
            yield f"{tower.name}.{term.axis}", term.axis, np.zeros(num) if load_J is None else load_J
    group_R = cluster.tiers[t].group_N[gpu_R // cluster.gpus_per_node]
    for wires in comms.wires:
        yield wires.label, wires.kind, wires_load(wires, group_R, num)


def wires_load(wires: Wires, group_R: Ints, num: int) -> Floats:
    """Bytes that leave each of `num` groups."""
    src_E = group_R[wires.src_E]
    cut_E = src_E != group_R[wires.dst_E]
    return np.bincount(src_E[cut_E], weights=wires.bytes_E[cut_E], minlength=num).astype(float)


def total_bytes(comms: Comms) -> Mapping[str, float]:
    """Bytes of each part if every rank stood alone in its group."""
    out: dict[str, float] = {}
    for tower in comms.towers:
        for term in tower.traffic.terms:
            assert tower.strategy is not None
            once = 2.0 if term.kind == "path" else 1.0
            out[f"{tower.name}.{term.axis}"] = once * float(term.bytes_P.sum()) * tower.strategy.stage_ranks
    for wires in comms.wires:
        apart_E = wires.src_E != wires.dst_E
        out[wires.label] = out.get(wires.label, 0.0) + float(wires.bytes_E[apart_E].sum())
    return out


def _round(x: float) -> float:
    """Twelve digits, as in `passes.place`: sums of the same numbers in another order compare equal."""
    return float(f"{x:.12g}") if math.isfinite(x) else x
