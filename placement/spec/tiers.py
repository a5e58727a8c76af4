# SPDX-License-Identifier: Apache-2.0
# X rack   J group of a tier   T tier
"""The tiers of a fabric: from their keys to the pattern that is built, and from the built pattern to arrays."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np

from placement.fabric.capacity import nominal_uplink
from placement.fabric.pattern import Pattern, TierSpec
from placement.ir import Tier
from placement.ir._array import Floats
from placement.spec.catalog import switches
from placement.spec.layout import Layout
from placement.spec.reader import Reader, either
from placement.spec.source import KeyPath
from placement.spec.topology import TierSchema, Topology
from placement.spec.validate import did_you_mean


def tier_specs(reader: Reader) -> tuple[list[TierSpec], dict[int, Fraction]]:
    """What each tier is built from, and the tapers that are stated, by tier. Names given twice are reported."""
    specs: list[TierSpec] = []
    tapers: dict[int, Fraction] = {}
    seen = {"nvlink"}
    for index, tier in enumerate(reader.spec.fabric.tiers):
        path: KeyPath = ("fabric", "tiers", index)
        if tier.name in seen:
            reader.report(
                (*path, "name"), "tier-twice", f"two tiers are called `{tier.name}`", help="every tier has its own name"
            )
        seen.add(tier.name)
        specs.append(_tier_spec(reader, tier, path))
        if tier.taper is not None:
            tapers |= _stated_taper(reader, index, tier.taper)
    return specs, tapers


def _stated_taper(reader: Reader, index: int, text: str) -> dict[int, Fraction]:
    match = re.fullmatch(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(?::\s*1)?\s*", text)
    if match and float(match[1]) > 0:
        return {index: Fraction(match[1])}
    reader.report(
        ("fabric", "tiers", index, "taper"), "bad-taper", f"`{text[:40]}` is no taper", help="write `8:1`, down to up"
    )
    return {}


def _tier_spec(reader: Reader, tier: TierSchema, path: KeyPath) -> TierSpec:
    switch = tier.switch
    if switch is None:
        return TierSpec(tier.name, tier.name, tier.racks or (), tier.latency, uplink_Bps=_uplink(tier))
    known = switches()
    model = known.get(switch.model or "")
    if switch.model and model is None and not (switch.ports and switch.speed):
        help = either(did_you_mean(switch.model, known), "add `ports` and `speed`")
        reader.report(
            (*path, "switch", "model"), "unknown-switch", f"`{switch.model}` is no switch of the catalogue", help=help
        )
    ports = switch.ports or (model.ports if model else None)
    port_Bps = switch.speed or (model.speed if model else None)
    if not switch.model and not (ports and port_Bps):
        help = "add `model:`, or `ports:` and `speed:`"
        reader.report(
            (*path, "switch"), "switch-incomplete", f"the switches of tier `{tier.name}` have no ports or no speed", help=help
        )
    if model and ports and port_Bps and ports * port_Bps > model.ports * model.speed * (1 + 1e-9):
        message = f"{ports} ports of {port_Bps * 8e-9:g} Gb/s are more than a {switch.model} has"
        note = f"{model.ports} x {model.speed * 8e-9:g} Gb/s"
        reader.report(
            (*path, "switch"), "switch-too-small", message, notes=(note,), help="splitting a port keeps ports x speed"
        )
    return TierSpec(
        tier.name, switch.kind or tier.name, tier.racks or (), tier.latency, ports or 1, port_Bps, switch.per_rail,
        switch.count, switch.uplinks, switch.partial == "scaled", _uplink(tier),
    )  # fmt: skip


def _uplink(tier: TierSchema) -> float | tuple[float, ...] | None:
    return tier.uplink[0] if tier.uplink is not None and len(tier.uplink) == 1 else tier.uplink


def check_uplinks(reader: Reader, pattern: Pattern) -> None:
    """Uplinks that are listed are one for each group."""
    for index, tier in enumerate(pattern.tiers):
        given = tier.spec.uplink_Bps
        if isinstance(given, tuple) and len(given) != tier.num_groups:
            message = f"tier `{tier.spec.name}` has {len(given):,} uplinks and {tier.num_groups:,} groups"
            reader.report(
                ("fabric", "tiers", index, "uplink"), "uplink-count", message, help="give one for each group, or one for all"
            )


def link_Bps(pattern: Pattern, speed_X: Floats) -> Floats:
    """Speed of the adapters as far as the leaf ports allow."""
    leaf = pattern.tiers[0].spec if pattern.tiers else None
    if leaf is None or leaf.port_Bps is None:
        return speed_X
    return np.minimum(speed_X, leaf.port_Bps * pattern.planes)


def tiers_of(
    spec: Topology, layout: Layout, pattern: Pattern, domain_uplink_J: Floats, live_T: list[Floats | None]
) -> tuple[Tier, ...]:
    """NVLink domains, and the tiers of the fabric with what their live uplinks carry, bytes/s."""
    last = len(pattern.tiers) - 1
    first_Bps = domain_uplink_J if last >= 0 else np.full(len(domain_uplink_J), np.inf)
    out = [Tier("nvlink", spec.nvlink.latency, layout.domain_N, first_Bps)]
    for index, tier in enumerate(pattern.tiers):
        uplink_J, live_J = nominal_uplink(tier, outermost=index == last), live_T[index]
        uplink_J = uplink_J if live_J is None or index == last else uplink_J * live_J
        out.append(Tier(tier.spec.name, tier.spec.latency_s, tier.group_X[layout.rack_N], uplink_J))
    return tuple(out)
