# SPDX-License-Identifier: Apache-2.0
# W switch   J group of a tier
"""Switches by name: `leaf-0012-r3`. Names follow from the pattern; nothing is listed unless an exception asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from placement.fabric.pattern import Pattern, TierPattern
from placement.hostlist import HostlistError
from placement.ir._array import Ints, Strings
from placement.spec.names import PatternError, Template, template

if TYPE_CHECKING:
    from placement.spec.reader import Reader
    from placement.spec.source import KeyPath

Switch = tuple[int, int, int, int]  # tier, group, rail (-1: all), plane
Links = list[tuple[int, int, int, int, float]]  # lower switch, and the part of its group's uplinks that is lost
FIELDS = ("group", "rail", "plane", "index")


def switch_template(reader: Reader, index: int, tier: TierPattern, planes: int) -> Template:
    """Name pattern of a tier's switches: as given, or kind, then whatever there is more than one of."""
    given = reader.spec.fabric.tiers[index].switch
    needed = _varying(tier, planes)
    if given is not None and given.name is not None:
        try:
            return template(given.name, FIELDS, needed)
        except PatternError as error:
            reader.report(("fabric", "tiers", index, "switch", "name"), "name-pattern", error.message, help=error.help)
    return template(default_name(tier, planes), FIELDS)


def _varying(tier: TierPattern, planes: int) -> tuple[str, ...]:
    many = {
        "group": tier.num_groups > 1,
        "plane": planes > 1,
        "rail": tier.spec.per_rail,
        "index": int(tier.switches_J.max()) > 1,
    }
    return tuple(name for name in ("group", "plane", "rail", "index") if many[name])


def default_name(tier: TierPattern, planes: int) -> str:
    """`leaf-{group:03}-r{rail}`: fields for what varies, padded to the largest number."""
    width = {"group": len(str(tier.num_groups - 1)), "plane": 1, "rail": 1, "index": len(str(int(tier.switches_J.max()) - 1))}
    fields = _varying(tier, planes)
    mark = {"group": "", "plane": "p", "rail": "r", "index": "s" if "group" in fields else ""}
    return tier.spec.kind + "".join(f"-{mark[f]}{{{f}:0{width[f]}}}" for f in fields)


def switch_table(reader: Reader, index: int, pattern: Pattern) -> tuple[Strings, Ints]:
    """Names of a tier's switches, and their (group, rail or -1, plane, index) as columns."""
    tier = pattern.tiers[index]
    rails = pattern.rails if tier.spec.per_rail else 1
    group_W = np.repeat(np.arange(tier.num_groups), tier.switches_J)
    first_J = np.r_[0, np.cumsum(tier.switches_J)[:-1]]
    index_W = np.arange(len(group_W)) - first_J[group_W]
    copies = pattern.planes * rails
    columns = {
        "group": np.tile(group_W, copies), "index": np.tile(index_W, copies),
        "rail": np.repeat(np.tile(np.arange(rails), pattern.planes), len(group_W)),
        "plane": np.repeat(np.arange(pattern.planes), rails * len(group_W)),
    }  # fmt: skip
    names = switch_template(reader, index, tier, pattern.planes).render(columns)
    rail_W = columns["rail"] if tier.spec.per_rail else np.full(len(names), -1)
    return names, np.stack([columns["group"], rail_W, columns["plane"], columns["index"]], axis=1)


def _all_switches(reader: Reader, pattern: Pattern) -> tuple[Strings, Ints]:
    """Every switch: names, and (tier, group, rail, plane, index)."""
    names, rows = [np.array([], dtype=np.str_)], [np.zeros((0, 5), dtype=np.int64)]
    for index, tier in enumerate(pattern.tiers):
        if tier.spec.ports is not None:
            table, columns = switch_table(reader, index, pattern)
            names.append(table)
            rows.append(np.concatenate([np.full((len(table), 1), index), columns], axis=1))
    return np.concatenate(names), np.concatenate(rows)


def _lookup(reader: Reader, path: KeyPath, wanted: Strings, pattern: Pattern) -> Ints:
    from placement.spec.exceptions import find

    known, rows = reader.lookup.once("switches", lambda: _all_switches(reader, pattern))
    if not len(known):
        reader.report(path, "unknown-switch", "the fabric of this cluster has no switches", help="describe them under `fabric`")
        return rows
    return rows[find(reader, path, "switch", known, wanted)]


def find_switches(reader: Reader, path: KeyPath, wanted: Strings, pattern: Pattern) -> list[Switch]:
    """Switches by name; unknown ones are reported."""
    rows = np.unique(_lookup(reader, path, wanted, pattern), axis=0)
    return [(int(t), int(g), int(r), int(p)) for t, g, r, p, _ in rows.tolist()]


def find_links(reader: Reader, path: KeyPath, text: str, pattern: Pattern, count: int | None) -> Links:
    """Cables between two switches, `lower -- upper`, both host lists: every pair of them. `count` of each pair, or all."""
    from placement.spec.exceptions import names

    ends = [end.strip() for end in text.split("--")]
    if len(ends) != 2 or not all(ends):
        reader.report(
            path, "link-ends", f"`{text[:60]}` does not name two switches", help="write `leaf-000-r0 -- spine-00-s07`"
        )
        return []
    lower = _lookup(reader, path, names(reader, path, ends[0]), pattern).tolist()
    upper = _lookup(reader, path, names(reader, path, ends[1]), pattern).tolist()
    try:
        reader.lookup.spend(10 * len(lower) * len(upper))
    except HostlistError as error:
        reader.report(path, "host-list", error.message)
        return []
    out: Links = []
    for low in lower:
        for high in upper:
            cables = pair_cables(pattern, low, high)
            if cables < (count or 1):
                what = f"{cables} cable{'s' if cables != 1 else ''}" if cables else "no cable"
                message = f"there {'are' if cables > 1 else 'is'} {what} between `{ends[0]}` and `{ends[1]}`"
                more = f", {count} said to be out of service" if count and cables else ""
                reader.report(
                    path, "no-such-link", message + more, help="name the lower switch first" if low[0] >= high[0] else ""
                )
                return out
            tier = pattern.tiers[low[0]]
            total = int(tier.switches_J[low[1]]) * tier.spec.uplinks
            out.append((low[0], low[1], low[2], low[3], (count or cables) / total))
    return out


def pair_cables(pattern: Pattern, low: list[int], high: list[int]) -> int:
    """Cables between two switches, each (tier, group, rail, plane, index).

    Over leafs, uplinks are dealt round robin over the switches of the group, going on from leaf to leaf. Over spines, the
    switches are split into planes, one for each spine index.
    """
    below, above = pattern.tiers[low[0]], pattern.tiers[high[0]] if high[0] < len(pattern.tiers) else None
    same_rail = low[2] < 0 or high[2] < 0 or low[2] == high[2]
    if above is None or high[0] != low[0] + 1 or low[3] != high[3] or not same_rail:
        return 0
    if int(above.group_X[below.starts_J[low[1]]]) != high[1]:
        return 0
    if below.level > 0 and above.pair:
        per_position = below.spec.uplinks // above.pair
        return above.pair if high[4] // max(1, per_position) == low[4] else 0
    num = int(above.switches_J[high[1]])
    first_child = int(np.searchsorted(above.group_X[below.starts_J], high[1]))
    rails = pattern.rails if below.spec.per_rail and not above.spec.per_rail else 1
    position = ((low[1] - first_child) * rails + max(low[2], 0) % rails) * int(below.switches_J.max()) + low[4]
    dealt = (np.arange(below.spec.uplinks) + position * below.spec.uplinks) % num
    return int((dealt == high[4]).sum())
