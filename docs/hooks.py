# SPDX-License-Identifier: Apache-2.0
"""What mkdocs calls while it builds: generated pages join the written ones, links out of docs/ become names of files."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MADE = HERE.parent / ".cache" / "docs-pages"  # where `make docs` lets docs/generate.py write
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that the code writes, and the changes."""
    from mkdocs.structure.files import File  # type: ignore[import-not-found, unused-ignore]

    made = {p.relative_to(MADE).as_posix(): p.read_text(encoding="utf-8") for p in sorted(MADE.rglob("*.md"))}
    made |= {"changes.md": (HERE.parent / "CHANGELOG.md").read_text(encoding="utf-8")}
    measured = HERE.parent / "benchmarks" / "RESULTS.md"
    if measured.exists():
        made["measurements.md"] = measured.read_text(encoding="utf-8")
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files of the repository that are no pages become their names."""
    return local_links(markdown, page.file.src_uri)


def local_links(markdown: str, path: str) -> str:
    """`[text](../examples/api.py)` on `api.md` reads `text`; links between pages stay.

    >>> local_links("see [the code](../cli.py) and [x](b.md)", "a.md")
    'see the code and [x](b.md)'
    """

    def keep(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
        if target == "../benchmarks/RESULTS.md":
            return f"[{found[1]}]({posixpath.relpath('measurements.md', posixpath.dirname(path) or '.')})"
        return found[0] if "://" in found[2] or not target.startswith("..") else found[1]

    return LINK.sub(keep, markdown)
