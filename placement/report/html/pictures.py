# SPDX-License-Identifier: Apache-2.0
"""The pictures of a plan, one function each: facts in, SVG text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from placement.ir import MEMORY, PARTS
from placement.ir._array import Floats
from placement.report.html.facts import HEALTH, Facts, Ground, flows
from placement.report.html.landscape import landscape
from placement.report.html.svg import CATEGORIES, colour, legend, line, num, path, picture, ramp, rect, standalone, text
from placement.report.html.timeline import timeline
from placement.report.text import gib, percent, seconds, si

WIDE = 960.0
REACHED = 5e-4  # gaps below this print as none
LEFT, RIGHT, BINS = 180.0, WIDE - 50, 48  # of the histograms
PART_COLOURS = {
    "compute": 0, "tp": 4, "cp": 2, "ep": 3, "pp": 6, "dp": 1, "bubble": 8, "optimizer": 7, "overhead": 5,
}  # fmt: skip
HATCHED = ("", "hatch") * 5  # every other part of a bar, so that neighbours differ without colour
AXIS_COLOURS = {"tp": 4, "gtp": 0, "cp": 2, "ep": 3, "etp": 7, "egtp": 8, "pp": 6, "dp": 1, "edp": 5}
OTHER_COLOUR = 8  # of bridges, groups and pairs


def steps(f: Facts) -> str:
    """This plan and the launcher's default order, each step as a bar of its parts, on one scale."""
    rows = [("this plan", f.tree["predicted"]), ("launcher default", f.tree["baseline"])]
    longest = max(cost["step_time_s"] for _, cost in rows) or 1.0
    scale = (WIDE - 240) / longest
    body: list[str] = []
    for i, (name, cost) in enumerate(rows):
        y, x = 40.0 + 58 * i, 130.0
        body.append(text(122, y + 22, name, "end strong"))
        for j, part in enumerate(PARTS):
            s = float(cost["breakdown_s"][part])
            wide = s * scale
            body.append(rect(x, y, wide, 34, CATEGORIES[PART_COLOURS[part]], "edge", f"{part}: {seconds(s)}"))
            if j % 2:
                body.append(rect(x, y, wide, 34, "", "hatch"))
            if wide > 7 * len(part) + 8:
                body.append(text(x + 4, y + 48, part, "dim"))
            x += wide
        body.append(text(x + 6, y + 22, seconds(cost["step_time_s"]), "strong"))
    items = [(part, CATEGORIES[PART_COLOURS[part]]) for part in PARTS]
    body += legend(130, 18, items, HATCHED)
    return picture(WIDE, 158, "Where a step goes: this plan beside the launcher's default order (predicted)", body)


def sankey(f: Ground) -> str:
    """Bytes of a step from the axis that sends them to the tier at which the peers meet."""
    found = flows(f)
    total = sum(n for _, _, n in found)
    if not total:
        return picture(WIDE, 60, "Traffic", [text(20, 34, "no rank sends anything to another")])
    axes = list(dict.fromkeys(a for a, _, _ in found))
    tiers = [t.name for t in f.cluster.tiers if any(t.name == tier for _, tier, _ in found)]
    high, gap, top = 330.0, 18.0, 34.0
    left = _ends({a: sum(n for x, _, n in found if x == a) for a in axes}, total, top, high, gap)
    right = _ends({t: sum(n for _, x, n in found if x == t) for t in tiers}, total, top, high, gap)
    body = [
        text(20, 18, "axis" if f.kind == "stage" else "part", "strong"),
        text(WIDE - 20, 18, "tier where the peers meet", "strong end"),
    ]
    x0, x1 = 190.0, WIDE - 230.0
    for axis, tier, n in found:
        thick = n / total * high
        (y0, wide0), (y1, wide1) = left[axis], right[tier]
        left[axis], right[tier] = (y0 + thick, wide0), (y1 + thick, wide1)
        mid, fill = (x0 + x1) / 2, CATEGORIES[AXIS_COLOURS.get(axis.rpartition(".")[2], OTHER_COLOUR)]
        curve = f"M{num(x0)} {num(y0)}C{num(mid)} {num(y0)} {num(mid)} {num(y1)} {num(x1)} {num(y1)}"
        back = f"V{num(y1 + thick)}C{num(mid)} {num(y1 + thick)} {num(mid)} {num(y0 + thick)} {num(x0)} {num(y0 + thick)}Z"
        body.append(path(curve + back, fill, "flow", f"{axis} at {tier}: {si(n, 'B')} a step, {percent(n / total)} of all"))
    body += [x for name, (y, n) in left.items() for x in _end(182, y - n / total * high, n / total * high, name, n, "end")]
    body += [x for name, (y, n) in right.items() for x in _end(x1, y - n / total * high, n / total * high, name, n, "")]
    low = max(y for y, _ in (*left.values(), *right.values()))
    return picture(WIDE, low + 20, "Bytes a step, from parallel axis to the tier of the fabric that carries them", body)


def _ends(sizes: Mapping[str, float], total: float, top: float, high: float, gap: float) -> dict[str, tuple[float, float]]:
    """Top of each bar of one side, and its bytes; thin ones keep a distance in which their name can be read."""
    out, y = {}, top
    for name, n in sizes.items():
        out[name] = (y, n)
        y += max(n / total * high, 16.0) + gap
    return out


def _end(x: float, y: float, high: float, name: str, n: float, cls: str) -> list[str]:
    at = x - 8 if cls else x + 16
    return [rect(x, y, 8, max(high, 1.0), "", "ink"), text(at, y + max(high / 2, 4) + 4, f"{name}  {si(n, 'B')}", cls)]


def memory(f: Facts) -> str:
    """Memory of the fullest GPU of each stage by kind, against what a GPU has and what the job may use."""
    stages, capacity = f.tree["stages"], float(f.tree["cluster"]["hbm_bytes"])
    usable = capacity * (1 - f.tree["job"]["memory_margin"])
    scale, row = (WIDE - 250) / capacity, 22.0 if len(stages) <= 24 else 12.0
    body = legend(90, 18, [(kind, CATEGORIES[i]) for i, kind in enumerate(MEMORY)], HATCHED)
    for p, stage in enumerate(stages):
        x, y = 90.0, 34 + row * p
        body.append(text(82, y + row / 2 + 3, f"stage {p}", "end"))
        for i, kind in enumerate(MEMORY):
            n = float(stage["memory_bytes"][kind])
            if n:
                body.append(rect(x, y, n * scale, row - 4, CATEGORIES[i], "edge", f"stage {p}, {kind}: {gib(n)}"))
            if n and i % 2:
                body.append(rect(x, y, n * scale, row - 4, "", "hatch"))
            x += n * scale
        body.append(text(x + 6, y + row / 2 + 3, gib(sum(stage["memory_bytes"].values()))))
    low = 34 + row * len(stages)
    body += [
        line(90 + usable * scale, 28, 90 + usable * scale, low, "limit"),
        line(90 + capacity * scale, 28, 90 + capacity * scale, low),
    ]
    body += [
        text(90 + usable * scale - 4, low + 16, f"limit {gib(usable)}", "end strong"),
        text(90 + capacity * scale, low + 16, f"GPU {gib(capacity)}"),
    ]
    return picture(WIDE, low + 26, "Memory of the fullest GPU of each stage, beside the limit (predicted)", body)


def links(f: Ground) -> str:
    """How long the uplinks of each tier are busy in a step: a histogram a tier, all on one scale."""
    tiers = [(t, b) for t, b in zip(f.cluster.tiers, f.busy_T, strict=True) if b.any()]
    if not tiers:
        return picture(WIDE, 60, "Load of uplinks", [text(20, 34, "nothing leaves an NVLink domain")])
    most = max(float(b[np.isfinite(b)].max(initial=0.0)) for _, b in tiers) or 1.0
    body = [x for i, (tier, busy_J) in enumerate(tiers) for x in _histogram(tier.name, busy_J, most, 122.0 + 122 * i)]
    low = 122.0 + 122 * (len(tiers) - 1)
    for q in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + (RIGHT - LEFT) * q
        body += [
            text(x, low + 18, seconds(q * most), "mid dim"),
            text(x, low + 33, percent(q * most / f.whole_s if f.whole_s else 0.0), "mid dim"),
        ]
    body += [text(6, low + 18, "busy a step", "dim"), text(6, low + 33, f"share of {f.whole}", "dim")]
    return picture(WIDE, low + 44, "Seconds a step that each uplink is busy, by tier: number of uplinks over busy time", body)


def _histogram(name: str, busy_J: Floats, most: float, base: float) -> list[str]:
    """One tier: bars of uplinks over busy time, each with its count; a bar of one uplink is still seen."""
    wide = (RIGHT - LEFT) / BINS
    at_J = np.minimum((np.minimum(busy_J, most) / most * BINS).astype(int), BINS - 1)
    count = np.bincount(at_J, minlength=BINS)
    busiest = f"busiest {seconds(float(busy_J.max()))}"
    out = [
        text(20, base - 76, name, "strong"),
        text(20, base - 60, f"{len(busy_J):,} uplinks", "dim"),
        text(20, base - 44, busiest, "dim"),
    ]
    told: list[int] = []  # bars with their count above them: the tallest first, never so near that two run together
    for b in sorted(np.flatnonzero(count).tolist(), key=lambda b: (-count[b], b)):
        x, high = LEFT + wide * b, max(84 * count[b] / count.max(), 2.0)
        title = f"{name}: {count[b]:,} uplinks busy {seconds(b * most / BINS)} to {seconds((b + 1) * most / BINS)}"
        out.append(rect(x, base - high, wide - 1, high, ramp(0.15 + 0.8 * b / BINS), "", title))
        if all(abs(b - other) > 2 for other in told):
            out.append(text(x + wide / 2, base - high - 4, f"{count[b]:,}", "mid dim"))
            told.append(b)
    return [*out, line(LEFT, base, RIGHT, base)]


def certificate(f: Ground) -> str:
    """Bytes that leave groups of each tier: this plan, the launcher's default order, and the least of any placement."""
    found, default = f.tree["certificate"]["tiers"], f.tree["baseline"]["bytes_tier"]
    tiers = [t.name for t in f.cluster.tiers if t.name in found]
    plan_T = [float(found[t]["plan_bytes"]) for t in tiers]
    other_T = [sum(float(b.get(t, 0.0)) for b in default.values()) for t in tiers]
    most = max([*plan_T, *other_T], default=0.0) or 1.0
    body = legend(130, 18, [(f"this {f.what}", CATEGORIES[0]), ("launcher default", CATEGORIES[8])], ["", "hatch"])
    for i, (tier, plan, other) in enumerate(zip(tiers, plan_T, other_T, strict=True)):
        y = 34.0 + 74 * i
        body.append(text(122, y + 20, tier, "end strong"))
        for k, n in enumerate((plan, other)):
            body.append(rect(130, y + 20 * k, n / most * 560, 16, CATEGORIES[0 if k == 0 else 8]))
            if k:
                body.append(rect(130, y + 20 * k, n / most * 560, 16, "", "hatch"))
            body.append(text(136 + n / most * 560, y + 20 * k + 13, si(n, "B") if n else "nothing"))
        body += _bound_lines(found[tier], plan, 560 / most, y)
    title = "Bytes a step that leave groups of each tier, beside a lower bound for any placement"
    return picture(WIDE, 40 + 74 * len(tiers), title, body)


def _bound_lines(tier: Mapping[str, Any], plan: float, scale: float, y: float) -> list[str]:
    """The bound for any placement, and that for placements that keep cells together where it is higher."""
    lower, kept = float(tier["lower_bytes"]), float(tier.get("kept_bytes", tier["lower_bytes"]))
    over = plan / kept - 1 if kept else 0.0
    out = [line(130 + n * scale, y - 5, 130 + n * scale, y + 41, cls) for n, cls in ((lower, "limit"), (kept, "kept")) if n]
    if kept > lower * (1 + REACHED):
        told = f"least of any {si(lower, 'B')}, of those that keep cells on NVLink {si(kept, 'B')} ({tier['method']}), "
    else:
        out, told = out[:1], f"least of any {si(lower, 'B')} ({tier['method']}), "
    gap = f"this one is {percent(over)} above" if over >= REACHED else "this one reaches it"
    return [*out, text(130, y + 54, told + gap, "dim")] if kept else []


def cluster_map(f: Ground) -> str:
    """Every NVLink domain as a tile in its groups: part of the job by colour; unused ones hatched, broken ones crossed."""
    place, boxes = f.place, f.place.box_T[0]
    gpus = f.cluster.gpus_per_node
    domain_U = np.repeat(f.cluster.tiers[0].group_N, gpus)
    ranked_U = f.rank_U >= 0
    used_J = np.bincount(domain_U[ranked_U], minlength=len(boxes))
    bad_J = np.bincount(domain_U[(f.health_U > 0) & (f.health_U < HEALTH.index("slow"))], minlength=len(boxes))
    size_J = np.bincount(domain_U, minlength=len(boxes))
    part_J = np.full(len(boxes), -1)
    part_J[domain_U[ranked_U][::-1]] = f.part_R[f.rank_U[ranked_U]][::-1]
    parts = range(len(f.names))
    zoom = min(WIDE / place.width, 8.0)
    body = [path("".join(_box(b, zoom) for b in box_J.tolist()), "none", "grid") for box_J in place.box_T[1:] if len(box_J) > 1]
    tiles = {p: [b for b, s, n in zip(boxes.tolist(), part_J, used_J, strict=True) if s == p and n] for p in parts}
    for p, group in tiles.items():
        title = f"{f.part(p)}: {len(group):,} NVLink domains"
        body.append(path("".join(_box(b, zoom) for b in group), colour(p, len(parts)), "", title))
    spare = [b for b, used, size in zip(boxes.tolist(), used_J, size_J, strict=True) if size and not used]
    body.append(path("".join(_box(b, zoom) for b in spare), "", "blank", f"{len(spare):,} domains without ranks"))
    broken = [b for b, bad in zip(boxes.tolist(), bad_J, strict=True) if bad]
    body.append(path("".join(_cross(b, zoom) for b in broken), "", "line", f"{len(broken):,} domains with GPUs out of service"))
    if zoom * boxes[0, 2] >= 12 and len(boxes) <= 512:
        body += [text(b[0] * zoom + 3, b[1] * zoom + 12, str(s)) for b, s in zip(boxes.tolist(), part_J, strict=True) if s >= 0]
    high = place.height * zoom
    items = [(f.part(p), colour(p, len(parts))) for p in parts]
    rows = [items[i : i + 10] for i in range(0, len(items), 10)]
    for i, some in enumerate([*rows, [("no ranks", "none"), ("x  out of service", "none")]]):
        body += legend(8, high + 22 + 20 * i, some, ["blank" if name == "no ranks" else "" for name, _ in some])
    label = f"{f.cluster.name}: {f.kind} of the first rank of every NVLink domain"
    return picture(WIDE, high + 32 + 20 * len(rows), label, body)


def _box(box: list[int], zoom: float) -> str:
    x, y, w, h = (v * zoom for v in box)
    return f"M{num(x)} {num(y)}h{num(w)}v{num(h)}h-{num(w)}z"


def _cross(box: list[int], zoom: float) -> str:
    x, y, w, h = (v * zoom for v in box)
    return f"M{num(x)} {num(y)}l{num(w)} {num(h)}M{num(x + w)} {num(y)}l-{num(w)} {num(h)}"


PICTURES: Mapping[str, Callable[[Facts], str]] = {
    "map": cluster_map, "steps": steps, "timeline": timeline, "traffic": sankey, "links": links, "memory": memory,
    "landscape": landscape, "certificate": certificate,
}  # fmt: skip
MAP_PICTURES: Mapping[str, Callable[[Ground], str]] = {
    "map": cluster_map, "traffic": sankey, "links": links, "certificate": certificate,
}  # fmt: skip


def pictures(f: Ground) -> dict[str, str]:
    """Every picture as an SVG file: name -> text."""
    drawn = (
        {name: draw(f) for name, draw in PICTURES.items()}
        if isinstance(f, Facts)
        else {name: draw(f) for name, draw in MAP_PICTURES.items()}
    )
    return {f"{name}.svg": standalone(text) for name, text in drawn.items()}
