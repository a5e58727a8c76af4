# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas: in sync with the code, draft-07, and every example conforms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from placement.spec.schemas import KINDS, schema
from placement.spec.source import load

ROOT = Path(__file__).parents[2]
EXAMPLES = [(f, "topology") for f in sorted((ROOT / "topologies").glob("*.yaml"))] + [
    *((f, "model") for f in sorted((ROOT / "models").glob("*.yaml"))),
    *((f, "comms") for f in sorted((ROOT / "towers").glob("*.yaml"))),
]


def typed(value: Any) -> Any:
    """Text as a YAML 1.2 editor types it: numbers, true, false, null, else text."""
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value):
        return float(value)
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
def test_in_sync(kind: str) -> None:
    """schemas/*.json are what `placement schema` prints."""
    assert json.loads((ROOT / "schemas" / f"{kind}.json").read_text()) == schema(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_draft_07(kind: str) -> None:
    """Editors read up to draft-07: the schema is valid there and uses nothing newer."""
    jsonschema.Draft7Validator.check_schema(schema(kind))
    text = json.dumps(schema(kind))
    assert not re.findall(r'"(?:prefixItems|\$defs|discriminator|unevaluatedProperties)"', text)


@pytest.mark.parametrize(("path", "kind"), EXAMPLES, ids=lambda v: getattr(v, "stem", v))
def test_examples_conform(path: Path, kind: str) -> None:
    """What the reader takes, the schema takes."""
    jsonschema.validate(typed(load(path).tree), schema(kind), jsonschema.Draft7Validator)


BAD = [
    ("topology", {"name": "x"}),
    ("topology", "latency: 3.2"),
    ("job", {"precision": "fp9"}),
    ("job", {"pins": {"tpp": 8}}),
    ("job", {"effort": 9}),
]


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_bad_values_do_not_conform(kind: str, value: Any) -> None:
    """The schema refuses what the reader refuses: missing keys, bare numbers for quantities, unknown choices."""
    if isinstance(value, str):
        tree = typed(load(ROOT / "topologies" / "tiny.yaml").tree)
        tree["nvlink"]["latency"] = 3.2
        value = tree
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, schema(kind), jsonschema.Draft7Validator)


def test_every_key_is_described() -> None:
    """Editors show a sentence for every key of the input files that people write most."""
    for kind in ("topology", "job"):
        body = schema(kind)
        parts = [body, *body["definitions"].values()]
        bare = [
            k for part in parts for k, v in part.get("properties", {}).items() if not {"description", "$ref", "oneOf"} & set(v)
        ]
        assert bare == (["bf16", "fp8", "nvfp4"] if kind == "topology" else []), kind
