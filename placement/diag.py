# SPDX-License-Identifier: Apache-2.0
"""Diagnostics are values with a place.

PlacementError
├── InputError      the inputs have errors (exit 1): carries every diagnostic that was found
├── Infeasible      no plan fits (exit 3): carries the histogram of rejections
│   └── NoRepair    the cells of a plan do not fit what is left of its cluster
└── PlanError       a plan directory is damaged, stale or fails verification (exit 4)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, order=True)
class Span:
    """A place in a text file; lines and columns count from 1, `end_column` is exclusive."""

    file: str
    line: int = 1
    column: int = 1
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Label:
    """Text under the caret at a place."""

    span: Span
    text: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `name` is `room/what-is-wrong`; `message` lowercase, one clause; `help` says what to write instead.

    `primary` is where; `secondary` other places; `objects` the victims (hosts, links) by name, folded for people.
    """

    name: str
    message: str
    severity: Severity = Severity.ERROR
    primary: Label | None = None
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str = ""
    objects: tuple[str, ...] = ()


class PlacementError(Exception):
    """Base of all errors that are not our own bugs."""


class InputError(PlacementError):
    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(sorted(diagnostics, key=_position))
        super().__init__("; ".join(f"{d.name}: {d.message}" for d in self.diagnostics))


class Infeasible(PlacementError):
    def __init__(self, message: str, rejected: Mapping[str, int], help: str = "") -> None:
        self.rejected = dict(rejected)
        self.help = help
        super().__init__(message)


class NoRepair(Infeasible):
    """The cells of a plan do not fit what is left of its cluster. `short`: how many of `cell` ranks have no domain."""

    def __init__(self, message: str, short: int = 0, cell: int = 1, help: str = "") -> None:
        self.short, self.cell = short, cell
        super().__init__(message, {}, help)


class PlanError(PlacementError):
    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("; ".join(f"{d.name}: {d.message}" for d in self.diagnostics))


def _position(d: Diagnostic) -> tuple[str, int, int]:
    return (d.primary.span.file, d.primary.span.line, d.primary.span.column) if d.primary else ("", 0, 0)


@dataclass
class Collector:
    """Gathers diagnostics so that all errors of all files are reported at once."""

    found: list[Diagnostic] = field(default_factory=list)

    def add(self, diagnostic: Diagnostic) -> None:
        self.found.append(diagnostic)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.found if d.severity is Severity.ERROR]

    def raise_if_errors(self) -> None:
        if self.errors:
            raise InputError(self.found)
