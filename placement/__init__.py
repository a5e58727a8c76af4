# SPDX-License-Identifier: Apache-2.0
"""A topology-aware placement compiler for training jobs on very large GPU clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placement.runtime import load_plan

__version__ = "0.1.0"
__all__ = ["__version__", "load_plan"]


def __getattr__(name: str) -> Any:
    """`placement.load_plan`, imported when it is first asked for: `placement --help` must not wait for numpy."""
    if name == "load_plan":
        from placement.runtime import load_plan

        return load_plan
    raise AttributeError(f"module 'placement' has no attribute {name!r}")
