# SPDX-License-Identifier: Apache-2.0
# J group of a tier   X rack
"""The intended fabric as a pattern: tiers of switches over racks. Numbers only; text and units stay in spec/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from placement.ir._array import Ints, freeze


@dataclass(frozen=True)
class TierSpec:
    """One switch tier as its author gives it. None: derive it.

    `sizes`      racks of one group (one number), of each group (several), or () for one group of everything
    `per_rail`   a switch serves one rail only; otherwise its ports are shared by all rails
    `switches`   switches of a full group, per plane (and per rail where `per_rail`)
    `uplinks`    ports of one switch towards the next tier; 0 at the outermost
    `scaled`     a partial group has only the switches its cables fill; otherwise as many as a full one
    `uplink_Bps` capacity of a group, or of each, towards the next tier where no switches are described (long-haul links)
    """

    name: str
    kind: str
    sizes: tuple[int, ...]
    latency_s: float
    ports: int | None = None
    port_Bps: float | None = None
    per_rail: bool = False
    switches: int | None = None
    uplinks: int = 0
    scaled: bool = False
    uplink_Bps: float | tuple[float, ...] | None = None


@dataclass(frozen=True)
class TierPattern:
    """One tier, worked out. `group_X` group of each rack; `switches_J` switches of each group in one plane (and rail).

    `pair` cables between one switch of the tier below and one of this tier (0: not every pair has one);
    `down` ports of the fullest switch that face down; `fan` parallel copies: planes, times rails where `per_rail`.
    """

    spec: TierSpec
    group_X: Ints
    switches_J: Ints
    pair: int
    down: int
    fan: int
    derived: bool
    level: int  # 0: the leafs

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def num_groups(self) -> int:
        return len(self.switches_J)

    @property
    def num_switches(self) -> int:
        return int(self.switches_J.sum()) * self.fan

    @property
    def num_uplinks(self) -> int:
        """Cables from this tier to the next."""
        return self.num_switches * self.spec.uplinks

    @property
    def racks_J(self) -> Ints:
        return np.bincount(self.group_X, minlength=self.num_groups)

    @property
    def starts_J(self) -> Ints:
        """First rack of each group."""
        return np.searchsorted(self.group_X, np.arange(self.num_groups))


@dataclass(frozen=True)
class Pattern:
    """The whole fabric. `nics_X` network adapters of one rack; `rails` adapters of one node."""

    nics_X: Ints
    rails: int
    planes: int
    rails_connected: bool
    tiers: tuple[TierPattern, ...]

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def rails_meet(self) -> bool:
        """Some switch of the pattern is reached from every rail."""
        return self.rails == 1 or not self.tiers or any(not t.spec.per_rail for t in self.tiers)


def groups(specs: Sequence[TierSpec], num_racks: int) -> list[Ints]:
    """Group of each rack at each tier, innermost first. Outer groups are cut first, so inner partial groups end each outer one.

    Invariant: groups nest, and ids ascend with the rack.
    """
    out: list[Ints] = []
    outer_X: Ints = np.zeros(num_racks, dtype=np.int64)
    for spec in reversed(specs):
        outer_X = _cut(outer_X, spec.sizes)
        out.append(outer_X)
    return out[::-1]


def _cut(outer_X: Ints, sizes: tuple[int, ...]) -> Ints:
    racks = np.arange(len(outer_X))
    if not sizes:
        return outer_X
    if len(sizes) > 1:
        inner_X = np.searchsorted(np.cumsum(sizes), racks, side="right")
    else:
        start_X = np.searchsorted(outer_X, outer_X)
        inner_X = (racks - start_X) // sizes[0]
    new_X = np.r_[False, (inner_X[1:] != inner_X[:-1]) | (outer_X[1:] != outer_X[:-1])]
    return np.cumsum(new_X)


def build(specs: Sequence[TierSpec], nics_X: Ints, *, rails: int, planes: int, rails_connected: bool) -> Pattern:
    """Work out switch counts of every tier (reference fabrics: DESIGN §4). Never fails: checks.py judges the result."""
    tiers: list[TierPattern] = []
    for spec, group_X in zip(specs, groups(specs, len(nics_X)), strict=True):
        tiers.append(_tier(spec, group_X, tiers[-1] if tiers else None, nics_X, rails, planes))
    return Pattern(nics_X, rails, planes, rails_connected, tuple(tiers))


def _tier(spec: TierSpec, group_X: Ints, below: TierPattern | None, nics_X: Ints, rails: int, planes: int) -> TierPattern:
    num_groups = int(group_X[-1]) + 1
    fan = planes * (rails if spec.per_rail else 1)
    level = 0 if below is None else below.level + 1
    if spec.ports is None:  # a long-haul tier: links, no switches of its own
        return TierPattern(spec, group_X, np.zeros(num_groups, np.int64), 0, 0, fan, False, level)
    arriving_J = _arriving(spec, group_X, below, nics_X, rails, num_groups)
    visible = _visible(spec, group_X, below, rails)
    if below is None or not below.spec.ports:
        full, pair = spec.switches or 1, 0
    else:
        full, pair = _full_group(spec, below, visible, int(arriving_J.max()))
    switches_J = np.full(num_groups, full)
    if spec.scaled:
        filled_J = -(-arriving_J // max(1, spec.ports - spec.uplinks))
        partial_J = np.bincount(group_X) < np.bincount(group_X).max()
        switches_J = np.where(partial_J, np.clip(filled_J, 1, full), full)
    down = int(np.max(-(-arriving_J // np.maximum(1, switches_J)))) if pair == 0 else pair * visible
    fullest = int(np.max(-(-arriving_J // np.maximum(1, switches_J))))
    return TierPattern(spec, group_X, switches_J, pair, max(down, fullest), fan, spec.switches is None, level)


def _arriving(spec: TierSpec, group_X: Ints, below: TierPattern | None, nics_X: Ints, rails: int, num_groups: int) -> Ints:
    """Cables that reach the switches of one plane (and rail) of each group from below."""
    if below is None:
        share = rails if spec.per_rail else 1
        return np.asarray(np.bincount(group_X, weights=nics_X, minlength=num_groups) // share, dtype=np.int64)
    joined = rails if below.spec.per_rail and not spec.per_rail else 1
    cables_J = below.switches_J * below.spec.uplinks * joined
    parent_J = group_X[below.starts_J]
    return np.asarray(np.bincount(parent_J, weights=cables_J, minlength=num_groups), dtype=np.int64)


def _visible(spec: TierSpec, group_X: Ints, below: TierPattern | None, rails: int) -> int:
    """Switches of the tier below that one switch of this tier is wired to, at most.

    Over leafs that is every leaf of the group. Over spines a switch serves one spine index, so one spine of each child group
    (and of each rail, where it joins rails).
    """
    if below is None or not below.spec.ports:
        return 0
    children = int(np.bincount(group_X[below.starts_J]).max())
    joined = rails if below.spec.per_rail and not spec.per_rail else 1
    return children * joined * (int(below.switches_J.max()) if below.level == 0 else 1)


def _full_group(spec: TierSpec, below: TierPattern, visible: int, arriving: int) -> tuple[int, int]:
    """(switches of a full group, cables per pair): as given, or the fewest switches whose ports suffice.

    Cables per pair is the largest divisor of the uplinks below that fits the ports facing down.
    """
    positions = 1 if below.level == 0 else int(below.switches_J.max())
    uplinks = below.spec.uplinks
    ports = max(1, (spec.ports or 0) - spec.uplinks)
    if spec.switches is not None:
        each, odd = divmod(uplinks * positions, spec.switches)
        return spec.switches, each if not odd and each * visible <= max(ports, 1) else 0
    fits = [c for c in range(1, uplinks + 1) if uplinks % c == 0 and c * visible <= ports]
    if fits:
        return positions * (uplinks // fits[-1]), fits[-1]
    return max(1, ceil(arriving / ports)), 0
