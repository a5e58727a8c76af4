# SPDX-License-Identifier: Apache-2.0
"""The documentation: the tutorial runs, the how-to pages cover every command, the generated reference misses nothing."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from placement.cli.main import main
from placement.report.pages import names
from tests.conformance.test_help_examples import EXAMPLES, KNOWN, folder  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LINE = re.compile(r"^\$ (placement .*)$", re.MULTILINE)
HOW_TO = ("plan", "topology", "model", "towers", "launchers", "report", "calibrate", "repair", "reference")  # of each group


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The pages that are written when the site is built."""
    sys.path.insert(0, str(DOCS))
    try:
        from generate import pages

        return pages()
    finally:
        sys.path.remove(str(DOCS))


def failures(text: str) -> dict[str, int]:
    """Commands of a page that end with another exit code than 0."""
    codes = {line: int(main(shlex.split(line)[1:])) for line in LINE.findall(text)}
    return {line: code for line, code in codes.items() if code}


def test_tutorial_runs(tmp_path, monkeypatch, capsys):
    """Every command of the tutorial, in order, from the file that it shows."""
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    ((name, content),) = re.findall(r"^```text (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert failures(text) == {}


def test_how_to_pages_show_examples_that_run():
    """Each command on a how-to page stands below the help of that command, where a test executes it; none is left out."""
    shown = {line for page in HOW_TO for line in LINE.findall((DOCS / "how-to" / f"{page}.md").read_text(encoding="utf-8"))}
    known = {line for lines in EXAMPLES.values() for line in lines}
    own = {"placement topology validate imported.yaml", "placement topology show imported.yaml",
           "placement model import config.json -o model.yaml", "placement model show model.yaml"}  # fmt: skip
    own |= {line for line in shown if line.startswith("placement calibrate --nccl ")}  # logs that only a cluster writes
    assert shown - known - own == set()
    covered = {name for name in KNOWN for line in shown if f"{line} ".startswith(f"placement {name} ")}
    assert KNOWN - covered - {"simulate"} == set()


def test_reference_has_every_command(generated):
    """Each command has its help on the page of commands."""
    assert {f"## placement {name}\n" for name in KNOWN} == set(
        re.findall(r"^## placement .*\n", generated["reference/commands.md"], re.MULTILINE)
    )


def test_reference_has_every_diagnostic(generated):
    """Each diagnostic that can be explained has its section."""
    found = re.findall(r"^### (\S+) \(", generated["reference/diagnostics.md"], re.MULTILINE)
    assert [name.replace("\\", "") for name in found] == list(names())


def test_reference_has_every_field(generated):
    """Each key of a topology, a model and a job stands in the tables with a meaning."""
    from placement.spec.schemas import schema

    for kind in ("topology", "model", "job"):
        tree = schema(kind)
        for part in (tree, *tree.get("definitions", {}).values()):
            for key in part.get("properties", {}):
                assert f"| `{key}` |" in generated["reference/fields.md"]


def test_navigation_leads_to_pages(generated):
    """Every page of the navigation exists or is made, and every written page is in it."""
    listed: list[str] = []

    def walk(node) -> None:
        for item in node if isinstance(node, list) else node.values():
            listed.append(item) if isinstance(item, str) else walk(item)

    walk(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    made = {*generated, "changes.md", "measurements.md"}
    assert [p for p in listed if p not in made and not (DOCS / p).exists()] == []


def test_docs_lock_has_hashes_and_no_address():
    """What builds the site is pinned by hash, and the lock names no registry."""
    text = (ROOT / "requirements-docs.lock").read_text(encoding="utf-8")
    pinned = re.findall(r"^[a-z0-9_.\-\[\]]+==\S+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 10
    assert "://" not in text
    assert "index-url" not in text
