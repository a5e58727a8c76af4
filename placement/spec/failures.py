# SPDX-License-Identifier: Apache-2.0
"""Failure rates from a file: `placement/catalog/failures.yaml`, or the user's own."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from placement.ir.failures import Failures
from placement.spec.catalog import CATALOG
from placement.spec.fields import Positive, Schema, Text, Whole, problem
from placement.spec.source import load, validate

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _duration(value: object) -> float:
    """`12 h`, `90 min`, `0 h`: seconds."""
    if isinstance(value, float):
        return value
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(s|min|h|d)\s*", str(value), re.ASCII)
    if not match:
        raise problem("bad-duration", f"`{str(value)[:40]}` is not a duration", "write `12 h`, `90 min` or `2 d`")
    return float(match[1]) * _UNITS[match[2]]


Duration = Annotated[float, BeforeValidator(_duration), WithJsonSchema({"type": "string"})]


class ClassSchema(Schema):
    """One class of failures."""

    model_config = ConfigDict(title="a class of failures")
    name: Text = Field(description="Name of the class")
    scope: Literal["node", "domain", "leaf", "cable", "none"] = Field(description="What is gone; none: the job only restarts")
    per: Literal["gpu", "domain"] = Field("gpu", description="Units that are counted")
    events: Whole = Field(description="Failures that were seen")
    days: Positive = Field(description="GPU days or domain days in which they were seen")
    repair: Duration = Field(description="Time until the part is back")
    source: Text = Field(description="Where the numbers come from")


class FailuresSchema(Schema):
    """A file of failure rates."""

    model_config = ConfigDict(title="failure rates")
    classes: list[ClassSchema] = Field(min_length=1, description="Classes of failures")


def load_failures(path: str | None = None) -> tuple[Failures, ...]:
    """Classes of failures of a file, or of the catalogue. Raises InputError."""
    spec = validate(load(path or CATALOG / "failures.yaml", "failures"), FailuresSchema)
    return tuple(Failures(c.name, c.scope, c.per, c.events / c.days, c.repair, c.source) for c in spec.classes)
