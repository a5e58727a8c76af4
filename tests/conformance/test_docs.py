# SPDX-License-Identifier: Apache-2.0
"""What the documentation shows is true: its examples load, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from placement.spec import load_cluster, load_job, load_model
from placement.spec.comms_file import load_comms

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATOR = ROOT / "docs" / "generate.py"
EXAMPLE = re.compile(r"^```yaml (\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ placement ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)


def examples() -> list[tuple[str, str, str]]:
    """(page, kind, text) of every YAML block that says what kind of file it is."""
    return [(page.name, *found) for page in PAGES for found in EXAMPLE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "kind", "text"), examples(), ids=lambda v: v if len(v) < 20 else "")
def test_examples_load(page: str, kind: str, text: str, tmp_path: Path) -> None:
    """Every example file on a page is accepted as it stands."""
    path = tmp_path / f"{kind}.yaml"
    path.write_text(text, encoding="utf-8")
    readers = {"topology": load_cluster, "model": load_model, "job": lambda p: load_job(p, {}, {}), "comms": load_comms}
    assert readers[kind](str(path)), page


def test_all_kinds_have_an_example() -> None:
    """The page on formats shows a file of every kind."""
    assert {"topology", "model", "job", "comms"} <= {kind for page, kind, _ in examples() if page == "formats.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the repository, or a page that the site generates."""
    made = {ROOT / "docs" / name for name in re.findall(r'^ +"(reference/\w+\.md)":', GENERATOR.read_text(), re.MULTILINE)}
    assert made
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8"))
    near = {link: (page.parent / link).resolve() for link in links if "://" not in link}
    lost = [link for link, path in near.items() if not path.exists() and path not in made]
    assert lost == []


def test_commands_exist() -> None:
    """Every `$ placement VERB` of the README is a command that has help."""
    found = set(COMMAND.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert found
    nouns = {"topology", "model"}
    for verb, word in sorted(found):
        words = [verb, word] if verb in nouns else [verb]
        run = subprocess.run([sys.executable, ROOT / "cli.py", *words, "--help"], capture_output=True, text=True, check=False)
        assert run.returncode == 0, f"placement {' '.join(words)}: {run.stderr}"


def test_binary_format_page_is_the_layout() -> None:
    """docs/plan-format.md has every section and every field of plan.bin at its offset, and no others."""
    from placement.runtime import layout

    text = (ROOT / "docs" / "plan-format.md").read_text(encoding="utf-8")
    records = (layout.HEADER, layout.ENTRY, *(d for d in layout.RECORDS.values() if d.names))
    fields = re.findall(r"^\| (\d+) \| \S+ \| `(\w+)` \|", text, re.MULTILINE)
    assert sorted((int(at), name) for at, name in fields) == sorted((d.fields[n][1], n) for d in records for n in d.names)
    assert re.findall(r"\*\*(\d+) bytes\*\*", text) == [str(d.itemsize) for d in records]
    sections = re.findall(r"^\| (\d+) \| ([A-Z]+) \|", text, re.MULTILINE)
    assert sections == [(str(int(s)), s.name) for s in layout.Section]
