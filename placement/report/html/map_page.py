# SPDX-License-Identifier: Apache-2.0
"""The page of a map of several towers: the parts of a plan's page that do not need a simulated step."""

from __future__ import annotations

from html import escape
from typing import Any

from placement.ir import Strategy
from placement.report.comms import bound_text, missing, part_rows, tower_rows
from placement.report.groups import meets_text
from placement.report.html.facts import MapFacts
from placement.report.html.page import axes_of, cluster_section, compared, document, fabric, figure, section, table_of
from placement.report.html.pictures import MAP_PICTURES
from placement.report.text import seconds, si
from placement.report.tree import occupancy, tree_facts, tree_text

FIGURES = (
    ("traffic", "Traffic", "Bytes a step, from the part that sends them to the tier of the fabric where the peers meet."),
    ("links", "Load of uplinks", "Each tier by itself: how many uplinks are busy for how long in one step."),
    ("certificate", "Certificate", "No placement can move less than the dashed line."),
)


def map_page(f: MapFacts) -> str:
    """The whole document."""
    axes = [
        axis for t in f.tree["towers"] if t["strategy"]
        for axis in axes_of(Strategy(**t["strategy"]), t["first_rank"], f"{t['name']}.")
    ]  # fmt: skip
    sections = [
        ("summary", "Summary", _summary(f)),
        ("map", "Map", cluster_section(f, (("stage", "tower"),), [a["name"] for a in axes])),
        *((name, title, figure(name, title, lead, MAP_PICTURES[name](f), f)) for name, title, lead in FIGURES),
        ("groups", "Groups", _groups(f)),
        ("tree", "Tree", _tree(f)),
    ]
    made_up = ["HYPOTHETICAL"] if f.tree["hypothetical"] else []
    lead = [" · ".join(f"{name} {t['ranks']:,} ranks" for name, t in zip(f.names, f.tree["towers"], strict=True)), *made_up]
    return document(f, lead, sections, fabric(f) | {"axes": axes, "stageRanks": 1, "denseRanks": 1, "expertRanks": 1})


def _summary(f: MapFacts) -> str:
    t = f.tree
    rows = [compared("busiest uplinks, phases one after another", t["busiest_s"], t["launcher"]["busiest_s"], seconds)]
    for tier in reversed(t["cluster"]["tiers"]):
        here, there = t["tiers"][tier]["bytes"], t["tiers"][tier]["launcher_bytes"]
        if here or there:
            rows.append(compared(f"bytes a step that leave {tier} groups", here, there, lambda n: si(n, "B")))
    facts = [
        f"{t['world_size']:,} ranks in {len(t['towers'])} towers, {t['spare_gpus']:,} healthy GPUs to spare",
        f"found as {t['how']}; {len(t['tried'])} placements compared",
        f"bound: {bound_text(t)}",
        *missing(t),
    ]
    listed = "".join(f"<li>{escape(x)}</li>" for x in facts)
    towers, parts = tower_rows(t), part_rows(t)
    return section(
        "summary", "Summary", f"<ul>{listed}</ul>", table_of(towers[0], towers[1:]),
        table_of(["predicted", "this map", "launcher's order", "change"], rows), table_of(parts[0], parts[1:]),
    )  # fmt: skip


def _groups(f: MapFacts) -> str:
    """Communicators and pairs, and the tiers where they meet."""

    def cells(g: dict[str, Any]) -> list[str]:
        return [g["axis"], f"{g['size']:,}", f"{g['groups']:,}", meets_text(g["meets"])]

    return section("groups", "Groups", table_of(["part", "members", "groups", "meet at"], [cells(g) for g in f.groups]))


def _tree(f: MapFacts) -> str:
    told = tree_text(tree_facts(f.cluster, occupancy(f.cluster, f.part_R, f.gpu_R, f.names)))
    return section("tree", "Tree", f'<div class="scroll" tabindex="0" role="group"><pre>{escape(told)}</pre></div>')
