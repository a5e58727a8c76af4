# SPDX-License-Identifier: Apache-2.0
"""A page for every diagnostic, and no page without one."""

import json

import pytest

from placement.fabric.wiring.kinds import KINDS
from placement.report.pages import ROOMS, SECTIONS, closest, names, page_of, parse
from placement.runtime.atomic import _REASONS
from placement.units import DIMENSIONS
from placement.verify import CHECKS
from tests.unit.cli.names import PACKAGE, names_in_code


def slug(name):
    return name.partition("/")[2]


def every_name():
    """Names of the code: literals, and those that are put together from tables."""
    made = [f"verify/{check}" for check in CHECKS]
    made += [f"plan/{reason[0]}" for reason in _REASONS.values()]
    made += [f"*/{dimension}-unit" for dimension in DIMENSIONS]
    made += [f"topology/unknown-{what}" for what in ("rack", "node", "gpu", "nic", "switch")]
    made += [f"fabric/{kind}" for kind in KINDS]
    return sorted({*names_in_code(), *made})


NAMES = every_name()
SOURCES = "".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_the_code_has_a_page(name):
    """Each diagnostic can be explained; where only the end of its name is in the code, some room must explain it."""
    if name.startswith("*/"):
        assert slug(name) in {slug(n) for n in names()}, f"write a page for {name} in placement/report/pages"
    else:
        assert page_of(name) is not None, f"write a page for {name} in placement/report/pages"


@pytest.mark.parametrize("name", names())
def test_every_page_is_whole_and_about_something(name):
    """Each page has all five sections, a severity, lines that fit a screen, and a name that the code uses."""
    page = parse(name)
    assert page.severity in ("error", "warning", "info")
    assert list(page.sections) == list(SECTIONS)
    assert all(page.sections.values())
    assert all(len(line) <= 100 for text in page.sections.values() for line in text.split("\n"))
    assert slug(name) in {slug(n) for n in NAMES} or f"[{name}]" in SOURCES


@pytest.mark.parametrize("name", names())
def test_see_also_leads_somewhere(name):
    """References between pages exist."""
    for other in parse(name).sections["See also"].split(" · "):
        assert other.startswith("`placement ") or other in names() or page_of(other), other


def test_shared_pages_answer_for_each_kind_of_file(run, golden):
    """`topology/bandwidth-unit` and `model/unknown-key` are explained by the page for any file, under their own name."""
    assert {page_of(f"{room}/unknown-key") for room in ROOMS} == {"*/unknown-key"}
    assert page_of("plan/unknown-key") is None
    code, out, err = run("explain", "topology/bandwidth-unit")
    assert (code, err) == (0, "")
    golden("cli/explain.txt", out)


def test_unknown_names_are_a_usage_error(run):
    """A misspelt name gets a suggestion; no name, or a name and --all, is refused."""
    assert closest("topology/unknwn-key") == "topology/unknown-key"
    code, _, err = run("explain", "topology/unknwn-key")
    assert code == 2
    assert "did you mean `topology/unknown-key`?" in err
    assert run("explain").code == 2
    assert run("explain", "plan/infeasible", "--all").code == 2


def test_all_pages_as_json(run):
    """`explain --all --format json` lists every page with its sections."""
    pages = json.loads(run("explain", "--all", "--format", "json").out)["pages"]
    assert [p["name"] for p in pages] == list(names())
    assert set(pages[0]) == {"name", "severity", "what_it_means", "why_it_matters", "example", "use_instead", "see_also"}
