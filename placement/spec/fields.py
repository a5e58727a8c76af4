# SPDX-License-Identifier: Apache-2.0
"""Types of schema fields: text in, checked numbers out, each with its JSON Schema. Nothing is coerced silently.

`017` is no 15, `no` is no False, NaN is no number, and a physical quantity without its unit is refused.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from placement.units import DIMENSIONS, UnitError, parse_quantity

_INTEGER = re.compile(r"[+-]?\d+(?:[_,]\d+)*\Z", re.ASCII)
_REAL = re.compile(r"[+-]?(?:\d+(?:[_,]\d+)*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
MOST_COUNT = 10**15


class Schema(BaseModel):
    """Base of every schema: frozen, unknown keys refused, defaults documented. `title` reads as "not a field of <title>"."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def problem(name: str, message: str, help: str = "", label: str = "") -> PydanticCustomError:
    """A finding for `validate` to translate: becomes `<room>/<name>` with this message, help line and caret label."""
    return PydanticCustomError(name, "{message}", {"message": message, "help": help, "label": label})


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value)
    return f"`{text if len(text) <= 40 else text[:39] + '…'}`"


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _INTEGER.match(value.strip()):
        raise problem("not-a-whole-number", f"{_short(value)} is not a whole number")
    digits = re.sub(r"[_,]", "", value.strip())
    number = int(digits) if len(digits) <= 20 else MOST_COUNT + 1
    if abs(number) > MOST_COUNT:
        raise problem("absurd-number", f"{_short(value)} is impossibly large")
    return number


def _real(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and _REAL.match(value.strip()):
        number = float(re.sub(r"[_,]", "", value.strip()))
    else:
        raise problem("not-a-number", f"{_short(value)} is not a number")
    if not isfinite(number):
        raise problem("absurd-number", f"{_short(value)} is not a finite number")
    return number


def _count(value: Any) -> int:
    number = _integer(value)
    if number < 1:
        raise problem("not-positive", f"a count must be at least 1, found {number}")
    return number


def _whole(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise problem("negative-number", f"a count cannot be negative, found {number}")
    return number


def _positive(value: Any) -> float:
    number = _real(value)
    if number <= 0:
        raise problem("not-positive", f"a number above 0 belongs here, found {number:g}")
    return number


def _fraction(value: Any) -> float:
    """0.06 or `6 %`, from 0 to 1."""
    text = value.strip() if isinstance(value, str) else value
    number = _real(text[:-1].strip()) / 100 if isinstance(text, str) and text.endswith("%") else _real(text)
    if not 0 <= number <= 1:
        raise problem("not-a-fraction", f"a fraction lies between 0 and 1, found {_short(value)}", "write `0.5` or `50 %`")
    return number


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise problem("not-a-flag", f"{_short(value)} is neither true nor false", "write `true` or `false`")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise problem("not-text", f"text belongs here, found {_short(value)}")
    return value


def _quantity(dimension: str, positive: bool = True) -> BeforeValidator:
    def parse(value: Any) -> float:
        if isinstance(value, float):
            return value
        if not isinstance(value, str):
            raise problem(f"{dimension}-unit", f"a {dimension} belongs here, found {_short(value)}", DIMENSIONS[dimension].help)
        try:
            number = parse_quantity(value, dimension)
        except UnitError as error:
            raise problem(error.name, error.message, error.help, error.label) from None
        if positive and number == 0:
            raise problem("not-positive", f"a {dimension} must be above 0", DIMENSIONS[dimension].help)
        return number

    return BeforeValidator(parse)


def _units_pattern(dimension: str) -> dict[str, Any]:
    example = re.findall(r"`([^`]+)`", DIMENSIONS[dimension].help)
    return {"type": "string", "pattern": r"^\s*[0-9.][0-9.,_eE+-]*\s*[A-Za-zµμ/]+\s*$", "examples": example}


Integer = Annotated[int, BeforeValidator(_integer), WithJsonSchema({"type": "integer"})]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer", "minimum": 1})]
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 0})]
Real = Annotated[float, BeforeValidator(_real), WithJsonSchema({"type": "number"})]
Positive = Annotated[float, BeforeValidator(_positive), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string", "pattern": r"^[0-9.]+\s*%$"}]}
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "minLength": 1})]
Bandwidth = Annotated[float, _quantity("bandwidth"), WithJsonSchema(_units_pattern("bandwidth"))]
Power = Annotated[float, _quantity("power"), WithJsonSchema(_units_pattern("power"))]
Time = Annotated[float, _quantity("time", positive=False), WithJsonSchema(_units_pattern("time"))]
Bytes = Annotated[float, _quantity("bytes"), WithJsonSchema(_units_pattern("bytes"))]
Flops = Annotated[float, _quantity("flops"), WithJsonSchema(_units_pattern("flops"))]
