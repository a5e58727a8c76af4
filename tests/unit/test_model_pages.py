# SPDX-License-Identifier: Apache-2.0
"""Every diagnostic that a model file can cause has a page."""

from __future__ import annotations

import re
from pathlib import Path

import placement.spec
from placement.report.pages import names, page_of, parse

ROOM = Path(placement.spec.__file__).parent
SOURCES = [*sorted(ROOM.glob("model_*.py")), *sorted(ROOM.glob("hf*.py"))]


def raised() -> set[str]:
    """Names given to `finding`, `problem` and `fail` in the sources of model files."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    after_path = re.findall(r'finding\(\s*(?:\([^()]*\)|\w+),\s*"([a-z-]+)"', text)
    return {f"model/{name}" for name in [*after_path, *re.findall(r'(?:problem|\.fail)\(\s*"([a-z-]+)"', text)]}


def test_every_name_has_a_page() -> None:
    """`placement explain NAME` works for each name, and each page leads to others that exist."""
    assert len(raised()) >= 25
    assert [name for name in sorted(raised()) if page_of(name) is None] == []
    for name in names():
        if name.startswith("model/"):
            assert all(page_of(other) for other in parse(name).sections["See also"].split(" · ")), name
