# SPDX-License-Identifier: Apache-2.0
"""BOUNDARY OUT for the runtime: the plan directory, plan.bin, and rows a rank."""

from placement.runtime.layout import Flag, Section
from placement.runtime.planbin import PlanBin
from placement.runtime.planfile import Bundle, LoadedPlan, assemble, content_digest, load_plan, plan_json, write_plan
from placement.runtime.rows import COLUMNS, rank_rows

__all__ = [
    "COLUMNS", "Bundle", "Flag", "LoadedPlan", "PlanBin", "Section",
    "assemble", "content_digest", "load_plan", "plan_json", "rank_rows", "write_plan",
]  # fmt: skip
