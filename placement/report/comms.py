# SPDX-License-Identifier: Apache-2.0
"""A map of several towers as a screen: what leaves each tier, beside the launcher's order and what no placement can avoid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.style import PLAIN, Style
from placement.report.text import counted, percent, seconds, si, table

DEGREES = ("tp", "cp", "ep", "etp", "dp", "pp")


def screen(tree: Mapping[str, Any], style: Style = PLAIN) -> str:
    """Towers, tiers, parts; then what has no certificate, and why."""
    made_up = "   HYPOTHETICAL" if tree["hypothetical"] else ""
    head = f"{tree['model']['name']} on {tree['cluster']['name']}   {tree['world_size']:,} ranks{made_up}"
    parts = [
        [style(head, "bold"), *table(tower_rows(tree), "<>><<")],
        _times(tree),
        table(_tiers(tree), "<>>>><"),
        table(part_rows(tree), "<" + ">" * len(tree["tiers"]) + "<"),
        [f"  {line}" for line in missing(tree)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def tower_rows(tree: Mapping[str, Any]) -> list[list[str]]:
    """A header, and a line for each tower."""
    rows = [["tower", "first rank", "ranks", "strategy", "together in a domain"]]
    for tower in tree["towers"]:
        s = tower["strategy"]
        degrees = "no structure" if s is None else " · ".join(f"{d} {s[d]}" for d in DEGREES if s[d] > 1)
        rows.append([tower["name"], f"{tower['first_rank']:,}", f"{tower['ranks']:,}", degrees, f"{tower['cell']} ranks"])
    return rows


def _times(tree: Mapping[str, Any]) -> list[str]:
    launcher = tree["launcher"]
    broken = "" if launcher["keeps_cells"] else ", which tears tensor or expert groups"
    lines = [
        f"  busiest uplinks  {seconds(tree['busiest_s'])} a step, phases one after another",
        f"  launcher's order {seconds(launcher['busiest_s'])}{broken}",
        f"  found as         {tree['how']}; {counted(len(tree['tried']), 'placement')} compared",
    ]
    return [*lines, f"  bound            {bound_text(tree)}"]


def bound_text(tree: Mapping[str, Any]) -> str:
    if tree["gap"] is None:
        return "none: no tier has a certificate"
    low = si(tree["joint_lower_bytes"], "B")
    return f"{low} leave groups of all tiers under any placement; this one is {percent(tree['gap'])} above"


def bound_lines(tree: Mapping[str, Any]) -> list[str]:
    """What bounds say of a map, and of which parts they say nothing."""
    return [f"bound: {bound_text(tree)}", *missing(tree)]


def _tiers(tree: Mapping[str, Any]) -> list[list[str]]:
    rows = [["tier", "bytes a step", "launcher", "bound", "gap", "bound by"]]
    for name in tree["cluster"]["tiers"]:
        tier = tree["tiers"][name]
        low, moved = tier["lower_bytes"], tier["bytes"]
        gap = percent(moved / low - 1.0) if low > 0 else "-"
        cells = [si(moved, "B"), si(tier["launcher_bytes"], "B"), si(low, "B") if low > 0 else "-", gap]
        rows.append([name, *cells, tier["method"] if moved > 0 or low > 0 else "nothing leaves"])
    return rows


def part_rows(tree: Mapping[str, Any]) -> list[list[str]]:
    """A header, and a line for each part: what leaves the groups of every tier."""
    tiers = tree["cluster"]["tiers"]
    rows = [["part", *(f"leaves {name}" for name in tiers), ""]]
    for label in part_names(tree):
        sent = tree["parts"][label]["bytes"]
        note = "no certificate" if label in tree["no_certificate"] else ""
        rows.append([label, *(si(sent[t], "B") if sent[t] else "0" for t in tiers), note])
    return rows


def part_names(tree: Mapping[str, Any]) -> list[str]:
    """Axes tower by tower, then bridges, groups and pairs: map.json has them in order of their names."""
    axes = [f"{t['name']}.{term['axis']}" for t in tree["towers"] for term in t["traffic"]]
    return [*(a for a in axes if a in tree["parts"]), *(p for p in sorted(tree["parts"]) if p not in axes)]


def missing(tree: Mapping[str, Any]) -> list[str]:
    """Parts without a certificate, and why."""
    why = tree["no_certificate"]
    towers = [t["name"] for t in tree["towers"]]
    known = [label for label in (*towers, *part_names(tree)) if label in why]
    return [f"no certificate for {label}: {why[label]}" for label in known]
