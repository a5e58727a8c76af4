# SPDX-License-Identifier: Apache-2.0
"""The report of a plan or map: one page to look at and search, and its pictures as files."""

from __future__ import annotations

from placement.report.html.facts import Facts, MapFacts, facts, map_facts
from placement.report.html.map_page import map_page
from placement.report.html.page import page
from placement.report.html.pictures import pictures

__all__ = ["Facts", "MapFacts", "facts", "map_facts", "map_page", "page", "pictures"]
