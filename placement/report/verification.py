# SPDX-License-Identifier: Apache-2.0
"""What the referee found, as a screen and as JSON."""

from __future__ import annotations

from typing import Any

from placement.report.diagnostics import as_json as diagnostic_json
from placement.report.diagnostics import render
from placement.report.style import PLAIN, Style
from placement.report.text import table
from placement.verify import Verification


def as_json(found: Verification) -> dict[str, Any]:
    """`{ok, checks: [{name, ok, detail}], diagnostics: [...]}`."""
    return {
        "ok": all(c.ok for c in found.checks),
        "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in found.checks],
        "diagnostics": [diagnostic_json(d) for d in found.diagnostics],
    }


def screen(found: Verification, style: Style = PLAIN) -> str:
    """One line a check, then every broken rule with what was expected."""
    failed = sum(not c.ok for c in found.checks)
    lines = table([[c.name, c.detail] for c in found.checks], indent=1)
    marks = [style("    ok", "green") if c.ok else style("FAILED", "red", "bold") for c in found.checks]
    total = f"{len(lines)} checks" + (f", {failed} failed" if failed else ", all passed")
    parts = ["\n".join(f"  {mark} {line}" for mark, line in zip(marks, lines, strict=True))]
    if found.diagnostics:
        parts.append(render(found.diagnostics, style))
    return "\n\n".join([*parts, total])
