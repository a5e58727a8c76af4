# SPDX-License-Identifier: Apache-2.0
"""BOUNDARY IN, native YAML: the only room with yaml and pydantic. Public functions load lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from placement.spec.job import load_job
    from placement.spec.model import load_model
    from placement.spec.topology import check_topology, load_cluster

__all__ = ["check_topology", "load_cluster", "load_job", "load_model"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    rooms = {"check_topology": "topology", "load_cluster": "topology", "load_job": "job", "load_model": "model"}
    if name not in rooms:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{rooms[name]}"), name)
