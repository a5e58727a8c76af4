# SPDX-License-Identifier: Apache-2.0
"""What a calibration found: the file of constants, and how well they predict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from placement.ir import Efficiency
from placement.report.text import counted, percent, table

MOVED = 1.0  # prior widths; constants that went further are listed
Report = Mapping[str, Any]


def efficiency_text(eff: Efficiency, report: Report) -> str:
    """A calibration file: constants to five digits (runs repeat to a percent at best), and what the fit left."""
    lines = [
        "# Constants of the cost model. Meaning, source and width of each: priors.yaml. Written by `placement calibrate`.",
        f"provenance: {json.dumps(eff.provenance)}",
        "values:",
        *(f"  {name}: {value:.5g}" for name, value in sorted(eff.values.items())),
        "residuals: # error over (model, hardware) pairs, as a fraction",
        *(f"  {name}: {value:.4g}" for name, value in residuals(report).items()),
    ]
    return "\n".join(lines) + "\n"


def residuals(report: Report) -> dict[str, float]:
    """Errors of the core runs and of all: fitted, and with pairs left out where that was done."""
    fits = {"fit": report["fit"]} | ({"left_out": report["left_out"]["pair"]} if "left_out" in report else {})
    return {
        f"{fit}_{part}_{kind}": scores[part][kind]
        for fit, scores in fits.items()
        for part in ("core", "all")
        for kind in ("median", "mean", "p90")
        if scores[part][kind] is not None
    }


def screen(report: Report) -> str:
    """The text of `calibrate`."""
    fits = {"fitted": report["fit"]} | {f"{name} left out": scores for name, scores in report.get("left_out", {}).items()}
    rows = [
        [name, part, str(s["pairs"]), str(s["runs"]), *(percent(s[k]) for k in ("median", "mean", "p90"))]
        for name, scores in fits.items()
        for part, s in scores.items()
        if s["pairs"]
    ]
    far = sorted((c for c in report["constants"].items() if abs(c[1]["moved"]) > MOVED), key=lambda c: -abs(c[1]["moved"]))
    moved = [[name, f"{c['value']:.4g}", f"{c['prior']:.4g}", f"{c['moved']:+.1f} widths"] for name, c in far]
    lines = [
        f"{counted(report['runs'], 'run')} used",
        "",
        *table([["error over pairs", "runs of", "pairs", "runs", "median", "mean", "p90"], *rows], "<<>>>>>"),
    ]
    if moved:
        lines += [
            "",
            f"constants more than {MOVED:g} width from their prior",
            *table([["", "fitted", "prior", ""], *moved], "<>>>"),
        ]
    return "\n".join(lines)
