# SPDX-License-Identifier: Apache-2.0
"""What is written to stdout."""

from __future__ import annotations

import json
import math
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.cli.output import indented

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner)))
def test_json_is_that_of_the_standard_library(value):
    """Empty and nested lists and mappings, any text, every scalar."""
    assert indented(value) == json.dumps(value, sort_keys=True, indent=2, allow_nan=False)


@pytest.mark.parametrize("value", [{1: [2, {3: 4}]}, {"a": {2: {}, 10: [[]]}}])
def test_keys_that_are_no_text_are_written_as_it_does(value):
    assert indented(value) == json.dumps(value, sort_keys=True, indent=2, allow_nan=False)


@pytest.mark.parametrize("value", [math.nan, [1.0, math.inf], {"a": [[math.nan]]}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented(value)


def test_a_file_that_a_command_makes_comes_as_json_too(run, tmp_path):
    """The text where it is not written, its digest in both cases, and the same bytes in all."""
    words, path = ("topology", "export", "tiny", "--to", "slurm-yaml"), tmp_path / "topology.yaml"
    text = run(*words).out
    told, kept = json.loads(run(*words, "--format", "json").out), json.loads(run(*words, "--format", "json", "-o", path).out)
    assert (told["text"], told["file"]) == (text, None)
    assert (kept["text"], kept["file"]) == (None, str(path))
    assert told["sha256"] == kept["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert path.read_text(encoding="utf-8") == text


def test_what_an_import_found_is_in_its_json(run, tmp_path):
    """Findings that people read on stderr; stderr is empty."""
    (tmp_path / "topology.conf").write_text("SwitchName=s0 Nodes=n[1-4]\n", encoding="utf-8")
    found = run("topology", "import", tmp_path / "topology.conf", "--gpu", "H100", "--format", "json")
    assert found.code == 0
    tree = json.loads(found.out)
    assert "name:" in tree["text"]
    assert tree["diagnostics"]
    assert found.err == ""
