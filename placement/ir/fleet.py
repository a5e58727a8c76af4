# SPDX-License-Identifier: Apache-2.0
"""Several jobs on one cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FleetJob:
    """One job of a fleet. Files as they can be opened. `racks` it gets, at least `min_racks`; a larger `priority` wins.

    Or `tokens` to be trained on in `days`, from which its racks follow.
    """

    name: str
    model: str
    job: str | None
    racks: int | None
    min_racks: int | None
    priority: int
    tokens: float | None = None
    days: float | None = None
    mfu: float = 0.35


@dataclass(frozen=True)
class Fleet:
    """Jobs on the cluster of a topology file."""

    name: str
    topology: str
    jobs: tuple[FleetJob, ...]
