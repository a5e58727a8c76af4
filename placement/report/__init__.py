# SPDX-License-Identifier: Apache-2.0
"""BOUNDARY OUT for people: screens, tables, diagnostics, progress. Pure functions from values to text; `cli/` prints them."""
