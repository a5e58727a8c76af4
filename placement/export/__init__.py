# SPDX-License-Identifier: Apache-2.0
"""BOUNDARY OUT for launchers: one module a target, imported when it is asked for.

Each module has `export(case) -> Export`: the files a launcher or framework needs to run a plan as it is, or a refusal that
names the way out. Exports are a function of the plan alone: same plan, same bytes.
"""

from placement.export.case import Case, Export
from placement.export.registry import TARGETS, export, write_export

__all__ = ["TARGETS", "Case", "Export", "export", "write_export"]
