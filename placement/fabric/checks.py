# SPDX-License-Identifier: Apache-2.0
# J group of a tier
"""Does the intended fabric hold together? Ports against radix, group sizes, taper, rails, uplinks, planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from placement.diag import Severity
from placement.fabric.counts import sizes_text, taper
from placement.fabric.pattern import Pattern, TierPattern

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """What is wrong, and the key of the topology file that says so."""

    path: Path
    name: str
    message: str
    severity: Severity = Severity.ERROR
    label: str = ""
    help: str = ""
    notes: tuple[str, ...] = ()


def check_pattern(pattern: Pattern, nic_Bps: float, stated_taper: dict[int, Fraction]) -> Iterator[Finding]:
    """Every finding, tier by tier. `nic_Bps`: fastest adapter; `stated_taper`: tapers that the author wrote down."""
    last = len(pattern.tiers) - 1
    for index, tier in enumerate(pattern.tiers):
        path: Path = ("fabric", "tiers", index)
        yield from _uplinks(path, tier, outermost=index == last)
        ports = list(_ports(path, tier, pattern.tiers[index - 1] if index else None))
        yield from ports
        yield from _nesting(path, tier, pattern.tiers[index + 1] if index < last else None)
        yield from _latency(path, tier, pattern.tiers[index - 1] if index else None)
        sound = not any(f.severity is Severity.ERROR for f in ports)
        if index in stated_taper and tier.spec.uplinks and index < last and sound:
            yield from _taper(path, pattern, index, stated_taper[index])
    yield from _rails(pattern)
    yield from _planes(pattern, nic_Bps)
    yield from _connected(pattern)


def _uplinks(path: Path, tier: TierPattern, *, outermost: bool) -> Iterator[Finding]:
    spec = tier.spec
    if outermost and spec.uplinks:
        message = f"the switches of the outermost tier `{spec.name}` have uplinks, with no tier to lead to"
        yield Finding((*path, "switch", "uplinks"), "uplinks-to-nowhere", message, help="remove `uplinks`, or add a tier above")
    if outermost and spec.uplink_Bps is not None:
        message = f"the outermost tier `{spec.name}` has an uplink, with no tier to lead to"
        yield Finding((*path, "uplink"), "uplinks-to-nowhere", message, help="remove `uplink`, or add a tier above")
    if not outermost and not spec.uplinks and spec.uplink_Bps is None:
        message = f"the groups of tier `{spec.name}` have no way up to the next tier"
        help = "add `uplinks:` to its switch, the ports of one switch towards the next tier"
        yield Finding(path, "no-uplinks", message, help=help)
    if spec.uplinks and spec.uplink_Bps is not None:
        message = f"tier `{spec.name}` gives both `uplinks` of its switches and an `uplink` of the group"
        yield Finding((*path, "uplink"), "two-uplinks", message, help="keep one of the two")


def _ports(path: Path, tier: TierPattern, below: TierPattern | None) -> Iterator[Finding]:
    spec = tier.spec
    if spec.ports is None:
        return
    at = (*path, "switch")
    unreachable = tier.level > 0 and tier.derived and tier.pair == 0
    if spec.uplinks >= spec.ports:
        message = f"{spec.uplinks} uplinks leave none of the {spec.ports} ports of a {spec.kind} for what is below"
        yield Finding((*at, "uplinks"), "ports-overused", message)
    elif unreachable and below is not None:
        if below.spec.uplinks:
            yield _too_small(at, tier, below)
    elif tier.down + spec.uplinks > spec.ports:
        message = f"a {spec.kind} needs {tier.down} ports down and {spec.uplinks} up, it has {spec.ports}"
        over = tier.down + spec.uplinks - spec.ports
        help = "use smaller groups"
        if over < spec.uplinks:
            help = f"write `uplinks: {spec.uplinks - over}` or less, or use smaller groups"
        yield Finding(at, "ports-overused", message, help=help, notes=(f"{over} too many",))


def _too_small(at: Path, tier: TierPattern, below: TierPattern) -> Finding:
    kind, ports = tier.spec.kind, tier.spec.ports
    message = f"a {kind} of {ports} ports cannot reach every group of tier `{below.spec.name}` ({below.num_groups:,} groups)"
    note = f"counted as {tier.num_switches:,} {kind} switches for the cables alone; planned as if every group met"
    help = "use switches with more ports, larger groups below, or a further tier"
    return Finding(at, "fabric-too-small", message, Severity.WARNING, help=help, notes=(note,))


def _nesting(path: Path, tier: TierPattern, above: TierPattern | None) -> Iterator[Finding]:
    size = tier.spec.sizes[0] if len(tier.spec.sizes) == 1 else 0
    outer = above.spec.sizes[0] if above and len(above.spec.sizes) == 1 else 0
    around = f"of tier `{above.spec.name}`" if above else ""
    if size and outer and size > outer:
        message = f"groups of {size} racks in tier `{tier.spec.name}` do not fit groups of {outer} {around}"
        yield Finding((*path, "racks"), "groups-not-nested", message, help="list tiers innermost first")
    elif size and outer and outer % size:
        message = f"groups of {size} racks do not divide the {outer} racks of a group {around}"
        note = f"every such group ends with a group of {outer % size} racks"
        yield Finding((*path, "racks"), "uneven-groups", message, Severity.WARNING, notes=(note,))
    elif size and int(tier.racks_J.min()) < size:
        message = f"tier `{tier.spec.name}` has partial groups: {sizes_text(tier)}"
        yield Finding((*path, "racks"), "partial-group", message, Severity.INFO)


def _latency(path: Path, tier: TierPattern, below: TierPattern | None) -> Iterator[Finding]:
    if below and tier.spec.latency_s < below.spec.latency_s:
        message = f"tier `{tier.spec.name}` is quicker than the tier `{below.spec.name}` inside of it"
        yield Finding((*path, "latency"), "latency-order", message, Severity.WARNING, help="check the units")


def _taper(path: Path, pattern: Pattern, index: int, stated: Fraction) -> Iterator[Finding]:
    tier = pattern.tiers[index]
    if len(tier.spec.sizes) == 1 and int(tier.racks_J.max()) < tier.spec.sizes[0]:
        return  # no group is full, and switches come in whole numbers: the taper of a part is not what is meant
    actual = taper(pattern, index)
    if abs(actual - stated) > Fraction(1, 100) * stated:
        message = f"tier `{tier.spec.name}` is wired {float(actual):.4g}:1, but its taper says {float(stated):.4g}:1"
        note = "taper = capacity from below : capacity of the uplinks, of a full group"
        yield Finding(
            (*path, "taper"),
            "taper-mismatch",
            message,
            notes=(note,),
            help=f"write `taper: {float(actual):.4g}:1`, or change the uplinks",
        )


def _rails(pattern: Pattern) -> Iterator[Finding]:
    joined = [t.spec.name for t in pattern.tiers if not t.spec.per_rail and t.spec.ports is not None]
    at: Path = ("fabric", "rails_connected")
    if pattern.rails > 1 and pattern.tiers and pattern.rails_connected and not pattern.rails_meet:
        message = "no switch joins the rails, but rails_connected is true"
        note = "traffic between rails must pass through NVLink first, and some programs hang when it cannot"
        yield Finding(at, "rails-not-connected", message, help="write `rails_connected: false`", notes=(note,))
    if not pattern.rails_connected and joined:
        message = f"rails_connected is false, but the switches of tier `{joined[0]}` serve every rail"
        yield Finding(at, "rails-connected", message, help="write `rails_connected: true`, or `per_rail: true` on every switch")
    for index, (below, tier) in enumerate(zip(pattern.tiers, pattern.tiers[1:], strict=False), start=1):
        if tier.spec.per_rail and not below.spec.per_rail:
            message = f"tier `{tier.spec.name}` is split by rail above tier `{below.spec.name}`, which joins the rails"
            yield Finding(("fabric", "tiers", index, "switch", "per_rail"), "rails-split-above", message)


def _planes(pattern: Pattern, nic_Bps: float) -> Iterator[Finding]:
    leaf = pattern.tiers[0] if pattern.tiers else None
    if leaf is None or leaf.spec.port_Bps is None:
        return
    lane_Bps = nic_Bps / pattern.planes
    if abs(lane_Bps - leaf.spec.port_Bps) > 1e-6 * lane_Bps:
        slow = min(lane_Bps, leaf.spec.port_Bps)
        message = (
            f"an adapter port of {lane_Bps * 8e-9:g} Gb/s ({nic_Bps * 8e-9:g} over {pattern.planes} "
            f"plane{'s' if pattern.planes > 1 else ''}) meets a {leaf.spec.kind} port of {leaf.spec.port_Bps * 8e-9:g} Gb/s"
        )
        note = f"the link runs at {slow * 8e-9:g} Gb/s"
        yield Finding(
            ("fabric", "tiers", 0, "switch"),
            "port-speed",
            message,
            Severity.WARNING,
            notes=(note,),
            help="check `planes`, `speed` and `ports`",
        )


def _connected(pattern: Pattern) -> Iterator[Finding]:
    last = pattern.tiers[-1] if pattern.tiers else None
    if last is not None and last.num_groups > 1:
        message = f"the {last.num_groups} groups of the outermost tier `{last.spec.name}` are not connected to each other"
        path: Path = ("fabric", "tiers", len(pattern.tiers) - 1)
        yield Finding(
            path,
            "not-connected",
            message,
            Severity.WARNING,
            help="leave out `racks` at the outermost tier, or add a tier above",
        )
