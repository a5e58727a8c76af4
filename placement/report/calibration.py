# SPDX-License-Identifier: Apache-2.0
"""A calibration file: the constants of the cost model as YAML, with where they came from and what errors they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from placement.ir import Efficiency

HEAD = """\
# Constants of the cost model, written by `placement calibrate`. Meaning, source and prior of each: priors.yaml.
# Residuals: absolute error of the step time as a fraction, over (model, hardware) pairs of published runs.
"""


def efficiency_text(eff: Efficiency, report: Mapping[str, Any]) -> str:
    """The text of an efficiency file: read back by `spec.catalog.efficiency`."""
    lines = [HEAD + f"provenance: {json.dumps(eff.provenance)}", "values:"]
    lines += [f"  {name}: {eff[name]:.5g}" for name in sorted(eff.values)]
    lines.append("residuals:")
    lines += [f"  {name}: {value:.4f}" for name, value in residuals(report)]
    return "\n".join(lines) + "\n"


def residuals(report: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Named errors of the report of a calibration."""
    parts = {"fitted": report["fit"]} | {f"{name}_left_out": part for name, part in report.get("left_out", {}).items()}
    return [
        (f"{part}_{rows.replace(' ', '_')}_{figure}", values[rows][figure])
        for part, values in parts.items()
        for rows in values
        for figure in ("median", "mean", "p90")
        if values[rows][figure] is not None
    ]
