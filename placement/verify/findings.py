# SPDX-License-Identifier: Apache-2.0
"""What the referee says: a list of checks, each passed or failed, and a diagnostic for every broken rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from placement.diag import Diagnostic
from placement.verify.case import Case

SHOWN = 5  # victims named in one message


@dataclass(frozen=True)
class Check:
    """One rule. `detail`: what was looked at, or what is wrong."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Verification:
    """The verdict. `diagnostics` has one entry for each broken rule."""

    checks: tuple[Check, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass
class Findings:
    """What one check collects: problems, and a sentence on what it looked at."""

    name: str
    detail: str = ""
    problems: list[Diagnostic] = field(default_factory=list)

    def broken(self, message: str, *, objects: Iterable[object] = (), notes: Sequence[str] = (), fix: str = "") -> None:
        """Report a broken rule; `objects` are the victims, all of them (a few are named in the message)."""
        named = tuple(str(o) for o in objects)
        if named:
            more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
            message = f"{message}: {', '.join(named[:SHOWN])}{more}"
        self.problems.append(Diagnostic(f"verify/{self.name}", message, notes=tuple(notes), objects=named[:1000], help=fix))

    def expect(self, what: str, found: object, expected: object) -> None:
        """Report `what` unless the plan's value is the one derived here."""
        if found != expected or isinstance(found, bool) != isinstance(expected, bool):
            self.broken(f"{what} is {found!r}, derived {expected!r}")

    def close(self, what: str, found: object, expected: float, relative: float, absolute: float = 0.0) -> None:
        """Report `what` unless the plan's number is the derived one within a tolerance."""
        if isinstance(found, bool) or not isinstance(found, int | float):
            self.broken(f"{what} is {found!r}, not a number")
        elif not (math.isfinite(found) and math.isfinite(expected)):
            self.broken(f"{what} is {found}, derived {expected}: not finite")
        elif not abs(found - expected) <= max(relative * abs(expected), absolute):
            error = f", {(found / expected - 1) * 100:+.3g} %" if expected else ""
            self.broken(f"{what} is {found:.9g}, derived {expected:.9g}{error}")


Rule = Callable[[Case, Findings], None]


def run(name: str, rule: Rule, case: Case) -> tuple[Check, list[Diagnostic]]:
    """Run one check. A plan so malformed that the check cannot read it fails the check."""
    found = Findings(name)
    try:
        rule(case, found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        found.broken(f"the plan cannot be checked: {type(error).__name__}: {error}")
    detail = found.detail if not found.problems else found.problems[0].message
    return Check(name, not found.problems, detail), found.problems
