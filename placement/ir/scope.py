# SPDX-License-Identifier: Apache-2.0
"""What the constants of the cost model were fitted to, and how far they were off on runs that they had not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from placement.ir._array import freeze


@dataclass(frozen=True)
class Scope:
    """The runs behind a set of constants.

    `gpus` their GPU types; `precisions` pairs such as `hopper fp8`; `max_gpus` the largest run.
    `spread` half-widths of 80 % intervals, natural logarithm: `dense`, `moe`; `far`: how many times wider an interval is that
    stands outside what was fitted in one respect.
    """

    gpus: tuple[str, ...]
    precisions: tuple[str, ...]
    max_gpus: int
    spread: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        freeze(self)


@dataclass(frozen=True)
class Confidence:
    """Eight measured steps of ten lie between `low_s` and `high_s`; `extrapolates` says in which respects nobody measured."""

    low_s: float
    high_s: float
    extrapolates: tuple[str, ...]
