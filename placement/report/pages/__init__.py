# SPDX-License-Identifier: Apache-2.0
"""One page per diagnostic name, read from `<room>.md` beside this file: what `placement explain` and the docs show.

A page is `# room/what-is-wrong (severity)` and five sections, `## What it means` and so on, in the order of `SECTIONS`.
What can be wrong in any input file has one page under `*/what-is-wrong`, which answers for each of `ROOMS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

ROOMS = ("topology", "model", "job", "runs", "catalog", "comms", "fleet", "failures")  # files that are checked against a schema
SECTIONS = ("What it means", "Why it matters", "Example", "Use instead", "See also")


@dataclass(frozen=True)
class Page:
    """One diagnostic explained. `sections` has the keys of SECTIONS, text without markup except backticks."""

    name: str
    severity: str
    sections: dict[str, str]


@cache
def _sources() -> dict[str, str]:
    """Page text by diagnostic name, in order of name."""
    found: dict[str, str] = {}
    for entry in sorted(files(__name__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".md"):
            for chunk in ("\n" + entry.read_text(encoding="utf-8")).split("\n# ")[1:]:
                found[chunk.split(maxsplit=1)[0]] = chunk
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Every name that has a page, sorted."""
    return tuple(_sources())


def page_of(name: str) -> str | None:
    """Name of the page that explains a diagnostic: its own, or the one for any file; None if there is none."""
    room, _, slug = name.partition("/")
    shared = f"*/{slug}"
    return next((n for n in (name, shared) if n in _sources() and (n == name or room in ROOMS)), None)


def parse(name: str) -> Page:
    """The page of one name; a missing section is a bug of the page and raises KeyError."""
    source = page_of(name)
    if source is None:
        raise KeyError(name)
    head, *parts = _sources()[source].split("\n## ")
    given = dict(part.split("\n", 1) for part in parts)
    severity = head.split("(", 1)[1].split(")", 1)[0]
    room = name.partition("/")[0]  # a shared page speaks of the file that was asked about
    return Page(name, severity, {s: given[s].strip("\n").replace("*/", f"{room}/") for s in SECTIONS})


def page_text(page: Page) -> str:
    """A page as `placement explain` prints it: the name, then the sections with their titles in a left column."""
    width = max(len(s) for s in SECTIONS) + 2
    lines = [f"{page.name}  ({page.severity})", ""]
    for title, text in page.sections.items():
        for i, line in enumerate(text.split("\n")):
            lines.append(f"{title if i == 0 else '':<{width}}{line}".rstrip())
    return "\n".join(lines)


def page_json(page: Page) -> dict[str, str]:
    """A page as one flat JSON object: name, severity, and the sections under snake-case keys."""
    return {"name": page.name, "severity": page.severity} | {
        title.lower().replace(" ", "_"): text for title, text in page.sections.items()
    }


def closest(name: str) -> str | None:
    """The existing name that looks most like `name`, or None."""
    from difflib import get_close_matches

    room = name.partition("/")[0]
    known = [n.replace("*", room, 1) if room in ROOMS else n for n in names()]
    found = get_close_matches(name, known, 1, 0.5)
    return found[0] if found else None
