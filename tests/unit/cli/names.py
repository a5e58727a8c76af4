# SPDX-License-Identifier: Apache-2.0
"""Every name of a diagnostic that stands in the source code, found in its syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "placement"
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
NAME = re.compile(r"[a-z]+/[a-z0-9]+(-[a-z0-9]+)*\Z")
HELPERS = {"finding", "Finding", "problem", "fail", "stop", "bad", "report", "_refuse", "_scaled", "Findings", "_REASONS"}
HELPERS |= {"error", "_note", "_fault", "_Hostile"}  # of ingest/ and fabric/wiring/
ROOMS = ("topology", "model", "job", "runs", "catalog", "input", "plan", "verify", "cli", "export")


def names_in_code() -> dict[str, set[str]]:
    """Name -> files. Where the room is only known at run time the name starts with `*/`."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in _names(tree):
            found.setdefault(name, set()).add(str(path.relative_to(PACKAGE)))
    return found


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        callee = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if callee == "Diagnostic" and node.args:
            yield from _written(node.args[0])
        elif callee in HELPERS:
            slug = next((a.value for a in node.args if isinstance(a, ast.Constant) and _is_slug(a.value)), None)
            if slug:
                yield f"*/{slug}"


def _written(arg: ast.expr) -> Iterator[str]:
    if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and NAME.match(arg.value):
        yield arg.value
    if isinstance(arg, ast.JoinedStr) and isinstance(arg.values[-1], ast.Constant):
        yield "*" + str(arg.values[-1].value)


def _is_slug(value: object) -> bool:
    return isinstance(value, str) and SLUG.match(value) is not None
