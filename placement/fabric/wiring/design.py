# SPDX-License-Identifier: Apache-2.0
# W leaf   J group   D device
"""The pattern behind a wired fabric in words: tiers, rails, planes, groups, cables per pair, the rules of ports and names."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from placement.fabric.wiring.analyse import Analysis
from placement.fabric.wiring.groups import group_sentences
from placement.fabric.wiring.shape import islands

NAMES = {1: "leaf", 2: "spine", 3: "core"}


def design_of(known: Analysis) -> dict[str, Any]:
    """Facts of the inferred design, ready for JSON and for a table."""
    a, s, x = known.adapters, known.sockets, known.seats
    tier_D = known.tier_D
    tops = int(tier_D.max(initial=0))
    island = islands(known.wired, known.ends)
    leafs = np.flatnonzero(tier_D == 1)
    return {
        "hosts": len({h for h, c in enumerate(a.class_H.tolist()) if c >= 0}),
        "adapters": len(a.device_R),
        "tiers": [
            {"tier": t, "name": NAMES.get(t, f"tier{t}"), "switches": int((tier_D == t).sum())} for t in range(1, tops + 1)
        ],
        "rails": int(a.lanes_L.max(initial=0)),
        "rail_units": [list(u) for u in a.unit_of],
        "parts": len(set(island[leafs].tolist())) if len(leafs) else 0,
        "leaf_groups": _groups(known),
        "places_per_group": len(np.unique(s.nth_P[s.usual_P])) if len(s.nth_P) else 0,
        "leaf_kinds": [{"lanes": list(k), "leafs": int((s.kind_W == i).sum())} for i, k in enumerate(s.kinds)],
        "boundaries": [_boundary(known, i) for i in range(len(known.boundaries))],
        "host_names_follow_places": bool(x.naming.ok),
    }


def _groups(known: Analysis) -> dict[str, Any]:
    """Leaf groups by how many leafs and hosts they hold."""
    s, x = known.sockets, known.seats
    places = np.unique(x.slot_R[x.slot_R >= 0] // x.lanes) if len(x.slot_R) else np.zeros(0, np.int64)
    hosts_J = np.bincount(places // x.width, minlength=s.num_groups) if len(places) else np.zeros(s.num_groups, np.int64)
    leafs_J = np.bincount(s.group_W[s.group_W >= 0], minlength=s.num_groups)
    sizes = Counter(zip(leafs_J.tolist(), hosts_J.tolist(), strict=True))
    return {"count": s.num_groups, "sizes": [{"groups": n, "leafs": w, "hosts": h} for (w, h), n in sizes.most_common(8)]}


def _boundary(known: Analysis, index: int) -> dict[str, Any]:
    b = known.boundaries[index]
    per_pair = Counter(Counter(zip(b.low_Q.tolist(), b.high_Q.tolist(), strict=True)).values())
    uplinks = Counter(Counter(b.low_Q.tolist()).values())
    members = np.bincount(b.group_D[(b.group_D >= 0) & (known.tier_D == b.tier)], minlength=b.num_groups)
    return {
        "from": NAMES.get(b.tier, f"tier{b.tier}"), "to": NAMES.get(b.tier + 1, f"tier{b.tier + 1}"), "groups": b.num_groups,
        "switches_per_group": sorted(set(members.tolist())), "uplinks": [k for k, _ in uplinks.most_common(3)],
        "cables_per_pair": [k for k, _ in per_pair.most_common(3)], "expected": len(b.low_Q), "found": len(b.low_X),
        "ports_follow_rule": round(b.ports, 4), "peer_ports_follow_rule": round(b.peers, 4),
    }  # fmt: skip


def sentences(known: Analysis) -> list[str]:
    """The design as a person would tell it, a line a fact."""
    if known.wired.logical:
        return group_sentences(known.wired)
    d = design_of(known)
    switches = ", ".join(f"{t['switches']:,} {t['name']}s" for t in d["tiers"]) or "no switches"
    lines = [f"{d['hosts']:,} hosts with {d['adapters']:,} adapters, {switches}"]
    units = d["rail_units"][0] if d["rail_units"] else []
    if d["rails"] > 1:
        lines.append(f"{d['rails']} rails ({', '.join(units[:8])})")
    groups = d["leaf_groups"]
    sizes = groups["sizes"][:3] if d["places_per_group"] else []
    lines += [f"{s['groups']:,} groups of {s['leafs']} leafs and {s['hosts']} hosts" for s in sizes]
    for b in d["boundaries"]:
        pods = f"{b['groups']:,} groups of {_one(b['switches_per_group'])} {b['from']}s: " if b["groups"] > 1 else ""
        lines.append(
            f"{pods}{_one(b['uplinks'])} uplinks from each {b['from']}, {_one(b['cables_per_pair'])} to each {b['to']}; "
            f"{b['ports_follow_rule']:.1%} of the cables follow one port rule"
        )
    if d["parts"] > 1:
        lines.append(f"{d['parts']} parts without a path between them")
    return lines


def _one(values: list[int]) -> str:
    return " or ".join(str(v) for v in sorted(values)) or "?"
