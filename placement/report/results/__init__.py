# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas, draft-07, of what commands print with `--format json`, from shapes that people can read.

A shape is a text `TYPE` or `TYPE: meaning` (`int`, `float`, `str`, `bool`, `any`; `?` behind it: or null), a list of one shape,
a dict of keys (`?` behind a key: may be left out), `{"*": shape}` for names that the input decides, or `Maybe(shape)`.
Readers ignore keys that they do not know: the minor part of `format_version` grows when keys are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.results.maps import MAPS
from placement.report.results.plans import PLANS
from placement.report.results.shapes import ABOUT, Maybe, Shape
from placement.report.results.studies import STUDIES

RESULTS: Mapping[str, tuple[str, Shape]] = {**PLANS, **MAPS, **STUDIES}
_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
DRAFT = "http://json-schema.org/draft-07/schema#"


def result_schema(kind: str) -> dict[str, Any]:
    """The schema of one result. Raises KeyError for another kind."""
    about, shape = RESULTS[kind]
    assert isinstance(shape, Mapping)
    body = expand({"format_version": "str: `1.0`", **shape})
    return {"$schema": DRAFT, "title": f"placement {kind}", "description": about, **body}


def expand(shape: Shape, key: str = "") -> dict[str, Any]:
    """A shape as JSON Schema; a key without a meaning of its own has that of the glossary.

    >>> expand({"a": "int?: how many", "b?": ["str"]})["properties"]["a"]
    {'type': ['integer', 'null'], 'description': 'how many'}
    """
    about = {"description": ABOUT[key]} if key in ABOUT else {}
    if isinstance(shape, Maybe):
        return {"anyOf": [expand(shape.shape), {"type": "null"}], **about}
    if isinstance(shape, str):
        return _value(shape, about)
    if isinstance(shape, list):
        return {"type": "array", "items": expand(shape[0]), **about}
    if set(shape) == {"*"}:
        return {"type": "object", "additionalProperties": expand(shape["*"]), **about}
    return {
        "type": "object",
        "properties": {k.rstrip("?"): expand(v, k.rstrip("?")) for k, v in shape.items()},
        "required": sorted(k for k in shape if not k.endswith("?")),
        **about,
    }


def _value(shape: str, about: dict[str, str]) -> dict[str, Any]:
    name, _, meaning = shape.partition(": ")
    told = {"description": meaning} if meaning else about
    if name == "any":
        return told
    kind = _TYPES[name.rstrip("?")]
    return {"type": [kind, "null"] if name.endswith("?") else kind, **told}
