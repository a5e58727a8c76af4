# SPDX-License-Identifier: Apache-2.0
"""Reads the files that commands name, and those that a plan directory keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from placement.ir import Cluster, Efficiency, Job, ModelGraph


@dataclass(frozen=True)
class Inputs:
    """Everything that a compilation reads."""

    cluster: Cluster
    model: ModelGraph
    job: Job
    efficiency: Efficiency


def pins(given: Sequence[str]) -> dict[str, str]:
    """`["tp=8", "schedule=1f1b"]` as a mapping; the same key twice, or no `=`, is a usage error."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or not value:
            raise typer.BadParameter(f"`{text}` is not KEY=VALUE, such as `tp=8`", param_hint="--pin")
        if found.get(key, value) != value:
            raise typer.BadParameter(f"`{key}` is pinned to both `{found[key]}` and `{value}`", param_hint="--pin")
        found[key] = value
    return found
