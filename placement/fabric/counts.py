# SPDX-License-Identifier: Apache-2.0
# J group of a tier   X rack
"""Switches and cables of a pattern, and the facts that people ask about it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np

from placement.fabric.pattern import Pattern, TierPattern
from placement.ir import FabricDesign


def design(pattern: Pattern) -> FabricDesign:
    """Counts of switches and cables by kind, from the adapters upwards; totals over planes, rails and groups."""
    wired = [t for t in pattern.tiers if t.spec.ports is not None]
    switches = {t.spec.kind: t.num_switches for t in wired}
    cables: dict[str, int] = {}
    if wired:
        cables[f"nic-{wired[0].spec.kind}"] = int(pattern.nics_X.sum()) * pattern.planes
    for below, above in pairwise(wired):
        cables[f"{below.spec.kind}-{above.spec.kind}"] = below.num_uplinks
    return FabricDesign(switches=switches, cables=cables, facts=_facts(pattern))


def _facts(pattern: Pattern) -> dict[str, str]:
    facts: dict[str, str] = {}
    for tier in pattern.tiers:
        facts[f"{tier.spec.name} groups"] = sizes_text(tier)
    for index, tier in enumerate(pattern.tiers[:-1]):
        if tier.spec.ports is not None and tier.spec.uplinks:
            facts[f"{tier.spec.kind} taper"] = f"{float(taper(pattern, index)):.4g}:1"
    for below, tier in pairwise(pattern.tiers):
        if tier.spec.ports is not None and below.spec.ports is not None:
            facts[f"cables per {below.spec.kind}-{tier.spec.kind} pair"] = pair_text(below, tier)
            facts[f"{tier.spec.kind} ports used"] = f"{tier.down + tier.spec.uplinks} of {tier.spec.ports}"
    if pattern.planes > 1:
        facts["planes"] = str(pattern.planes)
    return facts


def sizes_text(tier: TierPattern) -> str:
    """`42 x 72 racks + 1 x 32`, or `1528, 1000, 528 racks` where every group differs."""
    racks_J = tier.racks_J
    sizes, first = np.unique(racks_J, return_index=True)
    order = np.argsort(first)
    if len(sizes) > 4:
        return f"{len(racks_J)} of {racks_J.min()} to {racks_J.max()} racks"
    parts = [f"{int((racks_J == s).sum())} x {s}" for s in sizes[order]]
    return " + ".join([f"{parts[0]} racks", *parts[1:]])


def taper(pattern: Pattern, index: int) -> Fraction:
    """Capacity that arrives from below at a full group of a tier, over its uplink capacity: 1 is non-blocking, 8 is 8:1."""
    tier = pattern.tiers[index]
    full = int(np.argmax(tier.racks_J))
    up = int(tier.switches_J[full]) * tier.spec.uplinks * tier.fan
    if index == 0:
        down = int(pattern.nics_X[tier.group_X == full].sum()) * pattern.planes
    else:
        below = pattern.tiers[index - 1]
        inside_J = tier.group_X[below.starts_J] == full
        down = int(below.switches_J[inside_J].sum()) * below.spec.uplinks * below.fan
    return Fraction(down, up) if up else Fraction(0)


def pair_text(below: TierPattern, tier: TierPattern) -> str:
    """Cables between a switch and one above it: `1`, or `1, or 2 to 3 in a partial group`."""
    if tier.pair:
        fewest = int(tier.switches_J.min())
        if fewest < int(tier.switches_J.max()):
            low, odd = divmod(below.spec.uplinks, fewest)
            return f"{tier.pair}, and {low}{f' or {low + 1}' if odd else ''} in a partial group"
        return str(tier.pair)
    low, odd = divmod(below.spec.uplinks, max(1, int(tier.switches_J.max())))
    return f"{low} or {low + 1}" if odd else str(low)
