# SPDX-License-Identifier: Apache-2.0
"""The job of a plan, exactly as it was compiled: pins and options of the command line included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.diag import Diagnostic, PlanError
from placement.ir import Job, Optimizer, Software, Spares


def job_of(tree: Mapping[str, Any]) -> Job:
    """The job in plan.json. Raises PlanError if a field is missing or unknown."""
    parts = {"optimizer": Optimizer, "software": Software, "spares": Spares}
    try:
        fields = dict(tree["job"])
        fields |= {name: make(**fields[name]) for name, make in parts.items()}
        fields |= {name: tuple(fields[name]) for name in ("schedules", "recompute", "sharding")}
        return Job(**fields)
    except (KeyError, TypeError, ValueError) as error:
        help_text = "write the plan again with `placement plan`"
        raise PlanError([Diagnostic("plan/damaged", f"the job in plan.json cannot be read: {error}", help=help_text)]) from None
