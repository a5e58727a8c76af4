# SPDX-License-Identifier: Apache-2.0
"""`placement report`: the page and its pictures as bytes. What the page does is tested in a browser, in conformance."""

import base64
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.cli.report import read
from placement.report.html import page, pictures
from placement.report.html.codec import ints, names
from placement.report.html.layout import layout
from tests.plans import tiny_cluster
from tests.unit.cli.conftest import toy_plan, write


def unpacked(text: str) -> list[int]:
    """The integers of a packed column, read byte by byte as the page does."""
    data, out, value = iter(base64.b64decode(text)), [], 0

    def number() -> int:
        found, shift = 0, 0
        for byte in data:
            found |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return found
        raise StopIteration

    while True:
        try:
            z, count = number(), number()
        except StopIteration:
            return out
        for _ in range(count):
            value += -(z + 1) // 2 if z % 2 else z // 2
            out.append(value)


@given(st.lists(st.integers(-(2**40), 2**40) | st.just(5), max_size=40))
def test_packed_integers_come_back(values):
    """Any column of integers is what it was after packing."""
    assert unpacked(ints(values)) == values


@given(st.lists(st.text("ab-01290", max_size=14), max_size=8))
def test_packed_names_come_back(values):
    """Any names are what they were after packing."""
    packed = names(values)
    columns = [unpacked(c) for c in packed["numbers"]]
    for i, which in enumerate(unpacked(packed["which"])):
        n, out = 0, ""
        for k, piece in enumerate(packed["text"][which]):
            out += str(columns[n][i]).zfill(piece) if k % 2 else piece
            n += k % 2
        assert out == values[i]


@pytest.mark.parametrize("shape", [(2, 2, 2), (3, 5, 8), (1, 1, 1)])
def test_every_gpu_has_its_own_cell(shape):
    """No two GPUs are drawn at one place, and each lies in the box of its group at every tier."""
    cluster = tiny_cluster(leafs=shape[0], nodes=shape[1], gpus=shape[2])
    found = layout(cluster)
    slot = np.arange(cluster.gpus_per_node)
    x = (found.x_N[:, None] + slot % found.node_wide).ravel()
    y = (found.y_N[:, None] + slot // found.node_wide).ravel()
    assert len(set(zip(x.tolist(), y.tolist(), strict=True))) == cluster.num_nodes * cluster.gpus_per_node
    for tier, box_J in zip(cluster.tiers, found.box_T, strict=True):
        left, top, wide, high = box_J[np.repeat(tier.group_N, cluster.gpus_per_node)].T
        assert ((left <= x) & (x < left + wide) & (top <= y) & (y < top + high)).all()
    assert x.max() < found.width
    assert y.max() < found.height


def test_page_is_one_deterministic_file(plan_dir, run, tmp_path):
    """The page refers to nothing outside of itself, and the same plan gives the same bytes."""
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    assert run("report", plan_dir, "-o", first).code == 0
    code, out, _ = run("report", plan_dir, "-o", second, "--format", "json")
    assert code == 0
    assert json.loads(out)["files"] == {str(second): second.stat().st_size}
    text = first.read_text(encoding="utf-8")
    assert text == second.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:,)""", text)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_names_from_files_cannot_become_markup(plan_dir):
    """A name of the topology, the model or a host that looks like a tag stays text everywhere."""
    found = read(str(plan_dir))
    evil = "</script><script>alert(1)</script>"
    found.tree["model"]["name"] = found.tree["cluster"]["name"] = evil
    found.tree["warnings"].append(evil)
    host_N = np.array([evil, *found.cluster.host_N[1:].tolist()])
    object.__setattr__(found.cluster, "host_N", host_N)
    text = page(found)
    assert evil not in text
    assert text.count("<script") == 2


@pytest.mark.parametrize("changes", [{}, {"reverse": True}, {"tied": True}])
def test_pictures_are_svg(tmp_path, run, changes):
    """Each picture is well-formed, has a title for those who do not see it, and its own colours for light and dark."""
    folder = write(tmp_path / "plan", toy_plan(**changes))
    assert run("report", folder, "--svg", tmp_path / "svg").code == 0
    drawn = {p.name: p.read_text(encoding="utf-8") for p in sorted((tmp_path / "svg").iterdir())}
    assert set(drawn) == {f"{n}.svg" for n in
                          ("map", "steps", "timeline", "traffic", "links", "memory", "landscape", "certificate")}  # fmt: skip
    for name, text in drawn.items():
        root = ET.fromstring(text)
        assert root.get("aria-label"), name
        assert "prefers-color-scheme:dark" in text
        assert "nan" not in re.sub(r"<(title|text).*?</\1>", "", text).lower().replace("nvswitch", "")


def test_traffic_adds_up(plan_dir):
    """The flows of an axis sum to what its ranks send, whatever tier they meet at."""
    from placement.report.html.facts import flows

    found = read(str(plan_dir))
    sent = {t["axis"]: sum(t["bytes_P"]) * found.strategy.stage_ranks * (2 if t["kind"] == "path" else 1)
            for t in found.tree["traffic"]}  # fmt: skip
    told = {axis: sum(n for a, _, n in flows(found) if a == axis) for axis in sent}
    assert {a: n for a, n in told.items() if a != "dp"} == pytest.approx({a: n for a, n in sent.items() if a != "dp"})


def test_timeline_ends_with_the_pipeline(plan_dir):
    """What is drawn spans the simulated pipeline, no stage is busier than it, and pieces of a stage do not overlap."""
    found = read(str(plan_dir)).timeline
    assert found.makespan_s == pytest.approx(found.end_s.max())
    for p in range(len(found.busy_s_P)):
        order = np.argsort(found.start_s[found.stage == p])
        start, end = found.start_s[found.stage == p][order], found.end_s[found.stage == p][order]
        assert (start[1:] >= end[:-1] - 1e-12).all()
    assert set(pictures(read(str(plan_dir))))
