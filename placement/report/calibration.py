# SPDX-License-Identifier: Apache-2.0
"""What a calibration found: the file of constants, and how well they predict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from placement.ir import Efficiency
from placement.report.text import counted, percent, table

MOVED = 1.0  # prior widths; constants that went further are listed
Report = Mapping[str, Any]


def efficiency_text(eff: Efficiency, report: Report) -> str:
    """A calibration file: constants to five digits (runs repeat to a percent at best), and what the fit left."""
    lines = [
        "# Constants of the cost model, written by `placement calibrate`. Meaning, source and prior of each: priors.yaml.",
        "# Residuals: absolute error of the step time as a fraction, over (model, hardware) pairs of published runs.",
        f"provenance: {json.dumps(eff.provenance)}",
        "values:",
        *(f"  {name}: {value:.5g}" for name, value in sorted(eff.values.items())),
        *_scope(eff),
        "residuals:",
        *(f"  {name}: {value:.4f}" for name, value in residuals(report).items()),
    ]
    return "\n".join(lines) + "\n"


def _scope(eff: Efficiency) -> list[str]:
    """What the constants were fitted to; nothing where no cross-validation was asked for."""
    if eff.scope is None:
        return []
    spread = ", ".join(f"{name}: {value:.4f}" for name, value in sorted(eff.scope.spread.items()))
    return [
        "scope:  # spread: half-widths of 80 % intervals (natural logarithm); far: times wider where it extrapolates",
        f"  gpus: [{', '.join(eff.scope.gpus)}]",
        f"  precisions: [{', '.join(eff.scope.precisions)}]",
        f"  max_gpus: {eff.scope.max_gpus}",
        f"  spread: {{{spread}}}",
    ]


def residuals(report: Report) -> dict[str, float]:
    """Errors of the fit, and of fits with pairs, models or GPUs left out where that was done."""
    covered = {"covered_by_80_percent_intervals": report["covered"]} if "covered" in report else {}
    return covered | {
        f"{name} {part} {kind}".replace(" ", "_"): scores[kind]
        for name, fit in fits(report).items()
        for part, scores in fit.items()
        for kind in ("median", "mean", "p90")
        if scores[kind] is not None
    }


def fits(report: Report) -> dict[str, Any]:
    """Scores by name of the fit: `fitted`, `pair left out`, …"""
    return {"fitted": report["fit"]} | {f"{name} left out": scores for name, scores in report.get("left_out", {}).items()}


def screen(report: Report) -> str:
    """The text of `calibrate`."""
    rows = [
        [name, part, str(s["pairs"]), str(s["runs"]), *(percent(s[k]) for k in ("median", "mean", "p90"))]
        for name, scores in fits(report).items()
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
    if "covered" in report:
        lines += [
            "",
            f"80 % intervals cover {percent(report['covered'])} of left-out runs, each model judged by errors of the others",
        ]
    if moved:
        lines += [
            "",
            f"constants more than {MOVED:g} width from their prior",
            *table([["", "fitted", "prior", ""], *moved], "<>>>"),
        ]
    return "\n".join(lines)


def own_text(eff: Efficiency, sources: Sequence[str]) -> str:
    """A calibration file of a user's own measurements: the catalogue's constants with those that moved."""
    provenance = f"{eff.provenance}; calibrated to {', '.join(sources)}"
    lines = [
        "# Constants of the cost model, calibrated with `placement calibrate`: name this file under `calibration:` in a job.",
        f"provenance: {json.dumps(provenance)}",
        "values:",
        *(f"  {name}: {value:.5g}" for name, value in sorted(eff.values.items())),
        *_scope(eff),
    ]
    return "\n".join(lines) + "\n"


def own_screen(report: Report) -> str:
    """The text of `calibrate` with a user's own measurements."""
    errors = [[name, str(e["measured"]), percent(e["before"]), percent(e["after"])] for name, e in report["errors"].items()]
    moved = [[name, f"{c['before']:.4g}", f"{c['after']:.4g}"] for name, c in report["constants"].items()]
    lines = table([["mean error of", "measured", "before", "after"], *errors], "<>>>")
    if moved:
        lines = [*lines, "", "constants that moved", *table([["", "before", "after"], *moved], "<>>")]
    return "\n".join(lines)
