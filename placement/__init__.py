# SPDX-License-Identifier: Apache-2.0
"""A topology-aware placement compiler for training jobs on very large GPU clusters."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from placement._version import __version__ as __version__

if TYPE_CHECKING:
    from placement.api import compile as compile  # noqa: A004
    from placement.api import load_cluster, load_job, load_model, load_plan, write_plan
    from placement.api import verify as verify

__all__ = ["compile", "load_cluster", "load_job", "load_model", "load_plan", "verify", "write_plan"]


class _Door(ModuleType):
    """Two functions have the names of rooms: `placement.verify(...)` stays the function after the room was imported.

    The import system sets every imported room as an attribute of the package; a property takes precedence over that.
    `from placement.verify import ...` finds the room as ever.
    """

    @property
    def compile(self) -> Any:
        return import_module("placement.api").compile

    @compile.setter  # noqa: A003
    def compile(self, room: ModuleType) -> None:
        """The room stays in `sys.modules`."""

    @property
    def verify(self) -> Any:
        return import_module("placement.api").verify

    @verify.setter
    def verify(self, room: ModuleType) -> None:
        """The room stays in `sys.modules`."""


sys.modules[__name__].__class__ = _Door


def __getattr__(name: str) -> Any:
    """Functions are imported when first asked for, since `--help` must not wait for numpy."""
    if name in __all__:
        return getattr(import_module("placement.api"), name)
    raise AttributeError(f"module 'placement' has no attribute {name!r}")
