# SPDX-License-Identifier: Apache-2.0
"""Amounts that only a model file has: counts of parameters (`304M`) and floating-point operations (`3.1 GFLOP`)."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from placement.spec.fields import problem

_NUMBER = r"([0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?)"
_SCALE = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15}
_FLOP = re.compile(_NUMBER + r"\s*([kMGTP]?)FLOPs?")
_COUNT = re.compile(_NUMBER + r"\s*([kKMGBT]?)")
MOST = 1e24


def parse_flop(value: Any) -> float:
    """`3.1 GFLOP` -> 3.1e9; a multiply-add is two. Raises a pydantic error with a help line."""
    if isinstance(value, float):
        return value
    advice = "write `3.1 GFLOP`; a multiply-add is two"
    if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(_NUMBER, value.strip())):
        raise problem("flop-unit", "work has no unit", advice, "FLOP and GFLOP differ by 1e9")
    return _scaled(_FLOP, value, "bad-quantity", "an amount of work", advice)


def parse_count(value: Any) -> int:
    """`304M` -> 304000000; a plain number is a count too. Raises a pydantic error with a help line."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return round(_scaled(_COUNT, value, "bad-count", "a count", "write `304M` or `304000000`"))


def _scaled(pattern: re.Pattern[str], value: Any, name: str, noun: str, advice: str) -> float:
    match = pattern.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 64 else None
    if not match:
        raise problem(name, f"`{str(value)[:40]}` is not {noun}", advice)
    number = float(match.group(1).replace("_", "").replace(",", "")) * _SCALE[match.group(2)]
    if not number <= MOST:
        raise problem("absurd-number", f"{noun} of `{value}` is impossibly large", advice)
    return number


Flop = Annotated[
    float,
    BeforeValidator(parse_flop),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9][0-9_,.eE+-]*\s*[kMGTP]?FLOPs?\s*$"}),
]
Amount = Annotated[
    int,
    BeforeValidator(parse_count),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^[0-9][0-9_,.]*\s*[kKMGBT]?$"}]}
    ),
]
