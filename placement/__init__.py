# SPDX-License-Identifier: Apache-2.0
"""A topology-aware placement compiler for training jobs on very large GPU clusters."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`placement.load_plan(DIR)`: imported when first asked for, since `--help` must not wait for numpy."""
    if name == "load_plan":
        return import_module("placement.runtime").load_plan
    raise AttributeError(f"module 'placement' has no attribute {name!r}")
