# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file without any other file, its data as packed columns, its pictures as inline SVG."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from placement.ir import AXES, Cluster, State, Strategy
from placement.report.comms import bound_lines
from placement.report.html.codec import ints, names
from placement.report.html.facts import HEALTH, Facts, Ground
from placement.report.html.pictures import PICTURES
from placement.report.html.svg import CATEGORIES, DARK, RAMP, STYLE, colour
from placement.report.plan import certified, uncertainty
from placement.report.stages import layer_names
from placement.report.strategy import choices, degrees, layers_text
from placement.report.text import amount, change, gib, percent, seconds, si

Tree = Mapping[str, Any]
_UNIT = 1_000_000  # loads are whole millionths of the largest
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(f: Facts) -> str:
    """The whole document. Same plan, same bytes."""
    chosen = f.tree["strategy"]
    sections = [
        ("summary", "Summary", _summary(f)),
        ("map", "Map", cluster_section(f, PLAN_COLOURS, [a for a in AXES if f.strategy.size(a) > 1])),
        *((name, title, figure(name, title, lead, PICTURES[name](f), f)) for name, title, lead in FIGURES),
        ("stages", "Stages", _stages(f)),
    ]
    return document(f, [degrees(chosen), choices(chosen)], sections, fabric(f) | _folded(f))


def document(f: Ground, lead: Sequence[str], sections: Sequence[tuple[str, str, str]], data: Mapping[str, Any]) -> str:
    """A page around sections (name, title in the contents, body), and the `data` of its script."""
    here = files(__package__)
    style = (here / "page.css").read_text(encoding="utf-8") + STYLE
    style += f"@media screen and (prefers-color-scheme:dark){{{DARK}}}"
    script = (here / "page.js").read_text(encoding="utf-8")
    packed = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).replace("<", "\\u003c")
    title = escape(f"{f.tree['model']['name']} on {f.tree['cluster']['name']}")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">',
            f"<title>Placement of {title}</title>",
            f"<style>{style}</style></head><body>",
            '<a class="skip" href="#map-title">Skip to the map</a>',
            f"<header><h1>Placement of {title}</h1>",
            f"<p>{'<br>'.join(map(escape, lead))}</p>",
            _contents([(name, heading) for name, heading, _ in sections]),
            "</header><main>",
            *(body for _, _, body in sections),
            "</main>",
            f"<footer><p>{f.what.capitalize()} {escape(str(f.tree['digest']))}, {escape(' '.join(f.tree['tool'].values()))}.",
            "Every time and every byte on this page is predicted by the cost model, none is measured.</p></footer>",
            f'<script type="application/json" id="data">{packed}</script>',
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


FIGURES = (
    ("steps", "Where a step goes", "The plan beside what the launcher would do by itself with the same strategy."),
    ("timeline", "Pipeline", "One step, simulated. Blank is waiting; the share at the right is how busy a stage is."),
    (
        "traffic",
        "Traffic",
        "Bytes a step, from the parallel axis that sends them to the tier of the fabric where the peers meet.",
    ),
    ("links", "Load of uplinks", "Each tier by itself: how many uplinks are busy for how long in one step."),
    (
        "memory",
        "Memory",
        "The fullest GPU of each stage. The dashed line is what the job may use, the solid one what a GPU has.",
    ),
    ("landscape", "What else was considered", "The fastest others that were scored in full, and why the rest lost."),
    (
        "certificate",
        "Certificate",
        "No placement can move less than the dashed line; the dotted one holds for those that keep cells on NVLink.",
    ),
)


def _contents(items: Sequence[tuple[str, str]]) -> str:
    return '<nav aria-label="Contents">' + " ".join(f'<a href="#{i}-title">{escape(t)}</a>' for i, t in items) + "</nav>"


def section(name: str, title: str, *body: str) -> str:
    head = f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title" tabindex="-1">{escape(title)}</h2>'
    return "".join([head, *body, "</section>"])


def figure(name: str, title: str, lead: str, drawn: str, f: Ground) -> str:
    """A picture with its heading, and below it what belongs to it."""
    after = hottest_table(f) if name == "links" else _certificate_note(f) if name == "certificate" else ""
    return section(
        name,
        title,
        f"<p>{escape(lead)}</p>",
        f'<div class="figure" tabindex="0" role="group" aria-label="{escape(title)}">{drawn}</div>',
        after,
    )


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 1, *, markup: bool = False) -> str:
    """A table whose columns from `numbers` on are figures. `markup`: the cells are HTML already."""
    figures = [" class=n" if i >= numbers else "" for i in range(len(head))]
    shown = rows if markup else [[escape(c) for c in row] for row in rows]
    top = "".join(f"<th scope=col{n}>{escape(h)}</th>" for h, n in zip(head, figures, strict=True))
    body = "".join(
        f"<tr><th scope=row>{row[0]}</th>"
        + "".join(f"<td{n}>{c}</td>" for c, n in zip(row[1:], figures[1:], strict=True))
        + "</tr>"
        for row in shown
    )
    return (
        f'<div class="scroll" tabindex="0" role="group"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _summary(f: Facts) -> str:
    t, plan, other = f.tree, f.tree["predicted"], f.tree["baseline"]
    world = t["world_size"]

    def rate(cost: Mapping[str, Any]) -> float:
        return float(cost["tokens_per_s_per_gpu"] * world)

    rows = [
        compared("step time", plan["step_time_s"], other["step_time_s"], seconds),
        compared("tokens a second", rate(plan), rate(other), lambda n: si(n, "tok/s")),
        compared("model FLOPs utilisation", plan["mfu"], other["mfu"], percent),
        compared("memory of the fullest GPU", plan["peak_memory_bytes"], other["peak_memory_bytes"], gib),
    ]
    for tier in reversed(t["cluster"]["tiers"]):
        here, there = (sum(float(b.get(tier, 0.0)) for b in cost["bytes_tier"].values()) for cost in (plan, other))
        if here or there:
            rows.append(compared(f"bytes a step that leave {tier} groups", here, there, lambda n: si(n, "B")))
    facts = [
        f"{world:,} ranks on {t['cluster']['gpus']:,} GPUs, {t['spares']['gpus']:,} healthy ones to spare",
        f"{t['model']['name']}: {amount(t['model']['parameters'])} parameters in {t['model']['layers']} blocks",
        _proof(t),
        *uncertainty(t.get("uncertainty")),
        *t["warnings"],
    ]
    listed = "".join(f"<li>{escape(x)}</li>" for x in facts)
    return section(
        "summary", "Summary", f"<ul>{listed}</ul>", table_of(["predicted", "this plan", "launcher default", "change"], rows)
    )


def compared(name: str, here: float, there: float, show: Callable[[float], str]) -> list[str]:
    """A row of the summary: this plan, the launcher's default order, and the change between them."""
    return [name, show(here), show(there), change(here, there)]


PLAN_COLOURS = (("stage", "stage"), ("replica", "replica"), ("expert", "expert group"))


def cluster_section(f: Ground, colours: Sequence[tuple[str, str]], names: Sequence[str]) -> str:
    """The map that the script draws. `colours`: what it can be coloured by, besides health and loads; `names`: of axes."""
    tiers = "".join(
        f'<option value="load{i}">load of {escape(t.name)} uplinks</option>'
        for i, t in enumerate(f.cluster.tiers)
        if f.busy_T[i].any()
    )
    parts = "".join(f'<option value="{mode}">{escape(name)}</option>' for mode, name in colours)
    axes = "".join(f'<option value="{escape(a)}">{escape(a)}</option>' for a in names)
    way = " &rarr; ".join(escape(t) for t in reversed(f.tree["cluster"]["tiers"]))
    body = (files(__package__) / "map.html").read_text(encoding="utf-8")
    for mark, text in (("{colours}", parts), ("{tiers}", tiers), ("{axes}", axes), ("{parts}", way)):
        body = body.replace(mark, text)
    return section("map", "Map of the cluster", body)


def hottest_table(f: Ground) -> str:
    """The busiest uplinks of each tier, each with a button that shows it on the map."""
    rows = []
    for t, first, more in f.hottest():
        name = f.cluster.tiers[t].name
        for j in first:
            busy_s = float(f.busy_T[t][j])
            words = [
                f"{name} {_group(f.cluster, t, j)}",
                si(float(f.load_T[t][j]), "B"),
                seconds(busy_s),
                percent(busy_s / f.whole_s if f.whole_s else 0.0),
            ]
            rows.append([*map(escape, words), f'<button type="button" data-tier="{t}" data-group="{j}">on the map</button>'])
        if more:
            rows.append([f"and {more:,} more, as busy within 1 %", "", "", "", ""])
    head = ["hottest uplinks", "sends a step", "busy", f"share of {f.whole}", ""]
    return f'<h3 id="hottest">Hottest links</h3>{table_of(head, rows, markup=True)}' if rows else ""


def _group(cluster: Cluster, tier: int, j: int) -> str:
    return str(cluster.domain_name_J[j]) if tier == 0 else str(j)


def _stages(f: Facts) -> str:
    rows = [
        [
            str(s["stage"]),
            layers_text(layer_names(s), 400),
            s["recompute"],
            seconds(s["busy_s"]),
            gib(sum(s["memory_bytes"].values())),
        ]
        for s in f.tree["stages"]
    ]
    return section("stages", "Stages", table_of(["stage", "layers", "recompute", "busy", "memory"], rows, 3))


def _certificate_note(f: Ground) -> str:
    told = [*certified(f.tree["certificate"]), _proof(f.tree)] if isinstance(f, Facts) else bound_lines(f.tree)
    return "<ul>" + "".join(f"<li>{escape(x)}</li>" for x in told) + "</ul>"


def _proof(tree: Tree) -> str:
    bound = tree["bound"]
    if bound["proven"]:
        return "The search is proven: no other strategy of its space is faster under this cost model."
    return (
        f"The search ended before it could prove more than this: no strategy takes less than {seconds(bound['step_time_s'])}."
    )


def fabric(f: Ground) -> dict[str, Any]:
    """What the script needs to draw and search every GPU; long columns are packed (`codec`)."""
    cluster, place, count = f.cluster, f.place, len(f.names)
    tiers = []
    for tier, box_J, load_J, busy_J in zip(cluster.tiers, place.box_T, f.load_T, f.busy_T, strict=True):
        most, longest = float(load_J.max(initial=0.0)), float(busy_J[np.isfinite(busy_J)].max(initial=0.0))
        shown_J = np.where(np.isfinite(busy_J), busy_J, longest)
        tiers.append(
            {
                "name": tier.name,
                "group": ints(tier.group_N),
                "box": [ints(box_J[:, i]) for i in range(4)],
                "bytes": float(f"{most:.6g}"),
                "seconds": float(f"{longest:.6g}"),
                "load": ints(np.rint(load_J / (most or 1.0) * _UNIT)),
                "busy": ints(np.rint(shown_J / (longest or 1.0) * _UNIT)),
            }
        )
    return {
        "gpus": cluster.gpus_per_node,
        "nodes": cluster.num_nodes,
        "size": [place.width, place.height],
        "node": [place.node_wide, place.node_high],
        "x": ints(place.x_N),
        "y": ints(place.y_N),
        "hosts": names(cluster.host_N.tolist()),
        "racks": names(cluster.domain_name_J.tolist()),
        "rails": cluster.rail_G.tolist(),
        "state": [state.name.lower() for state in State],
        "health": list(HEALTH),
        "healthOf": ints(f.health_U),
        "gpuOf": ints(f.gpu_R),
        "tiers": tiers,
        "kind": f.kind,
        "first": np.searchsorted(f.part_R, np.arange(count)).tolist(),
        "stages": list(f.names),
        "stageColours": [colour(p, count) for p in range(count)],
        "categories": list(CATEGORIES),
        "ramp": list(RAMP),
    }


def _folded(f: Facts) -> dict[str, Any]:
    """How one strategy folds its ranks."""
    s = f.strategy
    return {
        "axes": axes_of(s),
        "stageRanks": s.stage_ranks,
        "denseRanks": s.tp * s.cp,
        "expertRanks": s.etp * s.ep,
    }


def axes_of(strategy: Strategy, first: int = 0, prefix: str = "") -> list[dict[str, Any]]:
    """Axes with more than one member, of ranks that start at `first`."""
    return [
        {"name": f"{prefix}{a}", "size": strategy.size(a), "stride": strategy.stride(a), "first": first,
         "ranks": strategy.world_size} for a in AXES if strategy.size(a) > 1
    ]  # fmt: skip
