# SPDX-License-Identifier: Apache-2.0
"""Fabrics as wired, at port level: the pattern behind them, and every deviation from it."""

from placement.fabric.wiring.analyse import Analysis, analyse
from placement.fabric.wiring.faults import Fault

__all__ = ["Analysis", "Fault", "analyse"]
