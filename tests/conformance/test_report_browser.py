# SPDX-License-Identifier: Apache-2.0
"""The report in a real browser: it draws, says no error, and does with pointer and keys what it claims."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from placement.cli.main import main
from tests.browser import MISSING, Browser, browser
from tests.unit.cli.conftest import toy_plan, write
from tests.unit.cli.test_map_command import TWO

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, and the report of the plan of eight ranks on four hosts in it."""
    folder = tmp_path_factory.mktemp("report")
    write(folder / "plan", toy_plan())
    assert main(["report", str(folder / "plan"), "-o", str(folder / "report.html")]) == 0
    with browser(folder / "profile") as found:
        found.page = folder / "report.html"
        yield found


@pytest.fixture
def opened(tab: Browser) -> Iterator[Browser]:
    """The page as it opens, the map in view; nothing may have been logged when the test ends."""
    tab.dark(False)
    tab.open(tab.page)
    tab.run("document.getElementById('map').scrollIntoView()")
    tab.settle()
    yield tab
    assert tab.console() == []


def state(tab: Browser) -> dict:
    return tab.run("return placementReport.state()")


def found(tab: Browser) -> str:
    return tab.run("return document.getElementById('found').innerText")


def set_value(tab: Browser, name: str, value: str) -> None:
    tab.run(f"const e=document.getElementById('{name}');e.value='{value}';e.dispatchEvent(new Event('change'))")
    tab.settle()


def test_hover_tells_the_rank_and_its_groups(opened):
    """Pointing at the GPU of a rank shows its host, its stage and each group with as many members as the degree says."""
    x, y = opened.run("return placementReport.screen(5)")
    opened.move(x, y)
    assert state(opened)["rank"] == 5
    assert state(opened)["groups"] == [["tp", 2], ["dp", 2], ["pp", 2], ["ep", 2], ["edp", 2]]
    text = found(opened)
    assert "rank 5 = n1-0 gpu 1" in text
    assert "stage 1" in text
    assert "pp\t2\t1\t1-5:4" in text


def test_leaving_and_holding(opened):
    """A click holds a GPU: pointing elsewhere no longer changes it, until a second click lets go."""
    first, second = (opened.run(f"return placementReport.screen({r})") for r in (0, 7))
    opened.move(*first, click=True)
    opened.move(*second)
    assert state(opened)["rank"] == 0
    opened.move(*first, click=True)
    opened.move(*second)
    assert state(opened)["rank"] == 7


@pytest.mark.parametrize(
    ("text", "rank"), [("6", 6), ("rank 3", 3), ("n1-1", 6), ("n0-1:1", 3), ("n0-1 gpu 0", 2), ("gpu 4", 4)]
)
def test_search(opened, text, rank):
    """A rank, a host, a GPU of a host or a GPU number is found and held."""
    set_value(opened, "find", text)
    assert (state(opened)["rank"], state(opened)["held"]) == (rank, True)


def test_search_without_a_hit_says_so(opened):
    """What is not there is said, with the forms that can be found."""
    opened.run("document.getElementById('find').focus()")
    opened.press(*"nothing", "enter")
    assert 'Nothing is called "nothing": give a rank below 8' in found(opened)


def test_keys_walk_zoom_and_let_go(opened):
    """The map works without a pointer: arrows walk, with Shift to the next rack, plus and 0 zoom, Escape lets go."""
    opened.run("document.getElementById('canvas').focus()")
    opened.press("right")
    assert state(opened)["rank"] == 0
    opened.press("right")
    assert state(opened)["rank"] == 1
    opened.press("shift+right")
    assert state(opened)["rank"] in (2, 4)
    before = state(opened)["scale"]
    opened.press("-")
    opened.press("+")
    opened.press("0")
    assert state(opened)["scale"] == pytest.approx(before)
    opened.press("escape")
    assert (state(opened)["chosen"], state(opened)["held"]) == (-1, False)


def test_everything_can_be_reached_by_tab(opened):
    """Each control, the map and each picture take the focus in the order of the page."""
    seen = opened.run(
        "return [...document.querySelectorAll('a[href],button,input,select,canvas[tabindex],.figure')]"
        ".filter(e=>e.tabIndex<0||e.offsetParent===null).map(e=>e.outerHTML.slice(0,80))"
    )
    assert seen == []
    unnamed = opened.run(
        "return [...document.querySelectorAll('button,input,select,canvas[tabindex]')].filter(e=>!(e.textContent.trim()"
        "||e.getAttribute('aria-label')||e.labels&&e.labels.length)).length"
    )
    assert unnamed == 0


def pixels(tab: Browser) -> list[int]:
    """Red, green, blue and alpha inside the GPU of each rank, beside its number."""
    return tab.run(
        "const c=document.getElementById('canvas'),b=c.getBoundingClientRect(),d=devicePixelRatio;"
        "const k=document.createElement('canvas');k.width=c.width;k.height=c.height;"
        "const p=k.getContext('2d',{willReadFrequently:true});p.drawImage(c,0,0);"
        "const all=p.getImageData(0,0,c.width,c.height).data;"
        "const o=placementReport.state().scale*.32;"
        "return [0,1,2,3,4,5,6,7].map(r=>{const [x,y]=placementReport.screen(r);"
        "const i=(Math.round((y-b.top-o)*d)*c.width+Math.round((x-b.left-o)*d))*4;return [...all.slice(i,i+4)]})"
    )


@pytest.mark.parametrize("mode", ["stage", "replica", "expert", "health", "spare", "load0"])
def test_colours_follow_the_plan(opened, mode):
    """Ranks of one class have one colour, ranks of another class another."""
    set_value(opened, "colour", mode)
    colour = [tuple(p) for p in pixels(opened)]
    classes = {"stage": [r // 4 for r in range(8)], "replica": [r % 4 // 2 for r in range(8)],
               "expert": [r % 4 // 2 for r in range(8)], "health": [0] * 8, "spare": [0] * 8}  # fmt: skip
    if mode in classes:
        assert len(set(zip(colour, classes[mode], strict=True))) == len(set(colour)) == len(set(classes[mode]))
    assert state(opened)["mode"] == mode


def test_legend_isolates_a_class(opened):
    """A button of the legend leaves its own class in full colour and fades the others; pressed again, all are back."""
    before = pixels(opened)
    press = "document.querySelector('#legend button[data-kind=\"1\"]').click()"
    opened.run(press)
    opened.settle()
    after = pixels(opened)
    assert after[4:] == before[4:]
    assert all(a != b for a, b in zip(after[:4], before[:4], strict=True))
    opened.run(press)
    opened.settle()
    assert pixels(opened) == before


def test_crumbs_zoom_to_a_group(opened):
    """The path above the map names the groups of the chosen GPU, and each name zooms to its group."""
    set_value(opened, "find", "5")
    names = opened.run("return [...document.querySelectorAll('#path button')].map(b=>b.textContent)")
    assert names == ["cluster", "leaf 1", "n1-0", "n1-0"]
    opened.run("[...document.querySelectorAll('#path button')].at(-1).click()")
    opened.settle()
    near = state(opened)["scale"]
    opened.run("document.querySelector('#path button').click()")
    opened.settle()
    assert state(opened)["scale"] < near


def test_axis_filter(opened):
    """Choosing one axis leaves only its group marked."""
    set_value(opened, "find", "5")
    set_value(opened, "axis", "pp")
    assert state(opened)["groups"] == [["pp", 2]]


def test_dark_and_light_differ_and_stay_readable(opened):
    """Text stands out from its background by at least 7 to 1 in both schemes (WCAG 2.2, level AAA)."""
    for dark in (False, True):
        opened.dark(dark)
        back, front = opened.run(
            "const s=getComputedStyle(document.body);return [s.backgroundColor,s.color].map(c=>c.match(/\\d+/g).map(Number))"
        )
        light = [sum(w * ((v / 255 / 12.92) if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4)
                     for w, v in zip((0.2126, 0.7152, 0.0722), c, strict=True)) for c in (back, front)]  # fmt: skip
        assert (max(light) + 0.05) / (min(light) + 0.05) >= 7
        assert (light[0] < light[1]) is dark


def test_hot_link_is_shown_on_the_map(opened):
    """The button beside a hot link zooms to its group, coloured by the load of its tier, and holds a GPU of it."""
    before = state(opened)["scale"]
    name = opened.run("const b=document.querySelector('button[data-tier]');b.click();return b.closest('tr').cells[0].innerText")
    opened.settle()
    assert name == "nvlink n1-0"
    assert (state(opened)["rank"], state(opened)["mode"], state(opened)["held"]) == (4, "load0", True)
    assert state(opened)["scale"] > before


def test_map_is_there_on_paper(opened):
    """What is printed of the map is the drawn cluster with its marks, and nothing lies over it."""
    set_value(opened, "find", "5")
    opened.run("document.getElementById('fit').click()")
    opened.settle()
    marked = pixels(opened)
    opened.devtools("Emulation.setEmulatedMedia", {"media": "print"})
    opened.run("dispatchEvent(new Event('beforeprint'))")
    over, ring = opened.run(
        "const c=document.getElementById('canvas'),d=devicePixelRatio,s=placementReport.state().scale;"
        "const b=c.getBoundingClientRect();"
        "const [x,y]=placementReport.screen(5),r=Math.max(s*.8,9);"
        "const p=c.getContext('2d').getImageData(Math.round((x-b.left)*d),Math.round((y-b.top-r)*d),1,1).data;"
        "return [getComputedStyle(document.getElementById('over')).display,[...p]]"
    )
    opened.run("dispatchEvent(new Event('afterprint'))")
    opened.devtools("Emulation.setEmulatedMedia", {"media": ""})
    opened.settle()
    assert over == "none"
    assert ring == [0, 0, 0, 255]
    assert pixels(opened) == marked


def test_prints(opened, tmp_path):
    """On paper the controls are gone, and every section is there."""
    opened.devtools("Emulation.setEmulatedMedia", {"media": "print"})
    gone = opened.run("return getComputedStyle(document.querySelector('.tools')).display")
    opened.devtools("Emulation.setEmulatedMedia", {"media": ""})
    assert gone == "none"
    assert len(opened.devtools("Page.printToPDF", {"printBackground": True})["data"]) > 20_000


def test_screenshot_is_not_blank(opened, tmp_path):
    """The picture that a person sees has the size of the window and more than one colour."""
    opened.screenshot(tmp_path / "page.png")
    data = (tmp_path / "page.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height > 400) == (1280, True)
    assert len(data) > 8_000


def test_nothing_is_fetched(opened):
    """The page asks for no other file."""
    assert opened.run("return performance.getEntriesByType('resource').map(e=>e.name)") == []
    assert Path(opened.page).read_text(encoding="utf-8").count('http-equiv="Content-Security-Policy"') == 1


def test_a_map_of_towers(tab: Browser, tmp_path: Path) -> None:
    """The page of a map: towers in the legend, and of a rank its tower and the groups in it, in ranks of the job."""
    (tmp_path / "two.yaml").write_text(TWO, encoding="utf-8")
    assert main(["map", str(tmp_path / "two.yaml"), "tiny", "-q", "-o", str(tmp_path / "mapped")]) == 0
    assert main(["report", str(tmp_path / "mapped"), "-o", str(tmp_path / "map.html")]) == 0
    tab.open(tmp_path / "map.html")
    tab.run("document.getElementById('map').scrollIntoView()")
    tab.settle()
    assert tab.run("return document.getElementById('legend').innerText").split("\n") == ["front (4)", "back (4)"]
    tab.move(*tab.run("return placementReport.screen(7)"))
    assert state(tab)["groups"] == [["back.tp", 2], ["back.dp", 2], ["back.edp", 4]]
    text = found(tab)
    assert "rank 3 of back" in text
    assert "back.dp\t2\t1\t5-7:2" in text
    set_value(tab, "colour", "spare")
    set_value(tab, "axis", "back.tp")
    assert state(tab)["groups"] == [["back.tp", 2]]
    assert tab.console() == []
