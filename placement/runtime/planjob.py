# SPDX-License-Identifier: Apache-2.0
"""The job of a plan, exactly as it was compiled: pins and options of the command line included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.ir import Job, Optimizer, Software, Spares


def job_of(tree: Mapping[str, Any]) -> Job:
    """The job in plan.json. Raises TypeError or KeyError if a field is missing or unknown."""
    fields = dict(tree["job"])
    parts = {"optimizer": Optimizer, "software": Software, "spares": Spares}
    fields |= {name: make(**fields[name]) for name, make in parts.items()}
    fields |= {name: tuple(fields[name]) for name in ("schedules", "recompute", "sharding")}
    return Job(**fields)
