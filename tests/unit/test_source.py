# SPDX-License-Identifier: Apache-2.0
"""Reading YAML: text stays text, places are exact, hostile files end early with one clear finding."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict, Field

from placement.diag import Diagnostic, InputError, Span
from placement.spec import source
from placement.spec.fields import Bandwidth, Count, Flag, Fraction, Real, Schema, Text
from placement.spec.source import load, parse, validate


def findings(text: str) -> list[str]:
    """`name: message @line:column` of everything that is wrong with a text."""
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml")
    return [_line(d) for d in caught.value.diagnostics]


def _line(d: Diagnostic) -> str:
    assert d.primary is not None
    return f"{d.name}: {d.message} @{d.primary.span.line}:{d.primary.span.column}"


def test_scalars_stay_text() -> None:
    """No octal, no sexagesimal, no Norway: only an empty value, `~` and `null` are not text."""
    text = "a: 017\nb: 10:20\nc: no\nd: 1e9\ne: 2026-11-01\nf:\ng: ~\nh: 'null'\ni: null\n"
    assert parse(text).tree == {
        "a": "017", "b": "10:20", "c": "no", "d": "1e9", "e": "2026-11-01", "f": None, "g": None, "h": "null", "i": None,
    }  # fmt: skip


def test_places_of_values_and_keys() -> None:
    """Every value and key knows its line and columns, also inside flow collections and after wide characters."""
    doc = parse("é: [ü, {x: 12}]\nlist:\n  - one\n  - two words\n", "f.yaml")
    assert doc.span(("é", 1, "x")) == Span("f.yaml", 1, 12, 14)
    assert doc.key_span(("é", 1, "x")) == Span("f.yaml", 1, 9, 10)
    assert doc.span(("list", 1)) == Span("f.yaml", 4, 5, 14)
    assert doc.key_span(("list",)) == Span("f.yaml", 2, 1, 5)
    assert doc.where(("list", 0)) == ("f.yaml", 3, 5)


def test_unknown_paths_fall_back_to_their_parent() -> None:
    """A path that is not in the file stands where its nearest ancestor does."""
    doc = parse("a: {b: 1}\n")
    assert doc.span(("a", "c", "d")) == doc.span(("a",))


def test_anchors_share_a_value() -> None:
    """An alias is the value of its anchor, and stands at its own place."""
    doc = parse("a: &x [1, 2]\nb: *x\n")
    assert doc.tree == {"a": ["1", "2"], "b": ["1", "2"]}
    assert doc.span(("b", 0)) == doc.span(("b",)) == Span("<text>", 2, 4, 6)


BAD = [
    ("", ["input/empty-file: the file is empty @1:1"]),
    ("# nothing\n", ["input/empty-file: the file is empty @1:1"]),
    ("a: 1\nb: 2\na: 3\n", ["input/duplicate-key: key `a` is given twice @3:1"]),
    ("a: [{b: 1}]\nc: 2\na: [{b: 1, d: 2}]\n", ["input/duplicate-key: key `a` is given twice @3:1"]),
    ("a: 1\na: 2\nb: {c: 1, c: 2}\n",
     ["input/duplicate-key: key `a` is given twice @2:1", "input/duplicate-key: key `c` is given twice @3:11"]),
    ("a: [n[00-15]]\n", ["input/yaml-syntax: did not find expected ',' or ']' @1:6"]),
    ("\ta: 1\n", ["input/yaml-syntax: found character that cannot start any token @1:1"]),
    ("a: 1\n---\nb: 2\n", ["input/two-documents: the file holds more than one YAML document @2:1"]),
    ("a: !!python/object:os.system x\n",
     ["input/tag: the tag `tag:yaml.org,2002:python/object:os.system` is not supported @1:4"]),
    ("a: *nope\n", ["input/unknown-alias: there is no anchor `&nope` before this alias @1:4"]),
    ("a: &x [*x]\n", ["input/unknown-alias: there is no anchor `&x` before this alias @1:8"]),
    ("<<: {a: 1}\n", ["input/merge-key: merge keys `<<` are not supported @1:1"]),
    ("? [1, 2]\n: 3\n", ["input/key-not-text: a key must be text @1:3"]),
    ("a: 1\nb: \x07\n", ["input/bad-character: character U+0007 is not allowed in YAML @2:1"]),
    ("a: \0\n", ["input/bad-character: character U+0000 is not allowed in YAML @1:1"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD)
def test_bad_files_whole_message(text: str, expected: list[str]) -> None:
    """Each kind of damage has its name, its sentence and its place; nothing is a traceback."""
    assert findings(text) == expected


def test_duplicate_keys_point_at_the_first() -> None:
    """The second of two equal keys is the error; the first is shown beside it."""
    with pytest.raises(InputError) as caught:
        parse("a: 1\na: 2\n")
    (finding,) = caught.value.diagnostics
    assert [(label.text, label.span.line) for label in finding.secondary] == [("first given here", 1)]


def test_alias_bomb_is_refused_in_little_memory() -> None:
    """Ten levels of ten aliases stand for 10^10 values; they are counted, never made."""
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 11)]
    text = "a0: &a0 [x]\n" + "\n".join(levels)
    tracemalloc.start()
    (message,) = findings(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith("input/too-many-values: the file holds more than 250,000 values, aliases expanded @")
    assert peak < 5e6


@pytest.mark.parametrize("text", ["[" * 100_000, "a:\n" + "".join(" " * i + "- \n" for i in range(1, 500)), "{a: " * 5_000])
def test_deep_nesting_is_refused(text: str) -> None:
    """Nesting ends at a fixed depth; the parser's stack is never at risk."""
    (message,) = findings(text)
    assert message.startswith("input/too-deep: values are nested more than 64 deep")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing files, directories, other encodings and gigantic files are findings with the file's name."""
    latin, big = tmp_path / "latin.yaml", tmp_path / "big.yaml"
    latin.write_bytes("a: 1\nb: é\n".encode("latin-1"))
    monkeypatch.setattr(source, "MAX_BYTES", 1 << 20)
    big.write_bytes(b"#" * (1 << 20) + b"\n")
    expected = {
        str(tmp_path / "none.yaml"): ("input/no-such-file", "there is no such file"),
        str(tmp_path): ("input/unreadable-file", "the file cannot be read: is a directory"),
        str(latin): ("input/not-utf8", "byte 0xe9 is not UTF-8"),
        str(big): ("input/file-too-large", "the file is larger than 1 MiB"),
    }
    for path, (name, message) in expected.items():
        with pytest.raises(InputError) as caught:
            load(path)
        (finding,) = caught.value.diagnostics
        assert (finding.name, finding.message) == (name, message)
        assert finding.primary is not None
        assert finding.primary.span.file == path


def test_utf16_and_byte_order_marks(tmp_path: Path) -> None:
    """A UTF-8 byte order mark is skipped; UTF-16 is refused as what it is."""
    marked, wide = tmp_path / "bom.yaml", tmp_path / "wide.yaml"
    marked.write_bytes(b"\xef\xbb\xbfa: 1\n")
    wide.write_bytes("a: 1\n".encode("utf-16"))
    assert load(marked).tree == {"a": "1"}
    with pytest.raises(InputError, match="byte 0xff is not UTF-8"):
        load(wide)


class Port(Schema):
    model_config = ConfigDict(title="a port")
    speed: Bandwidth = Field(description="Speed of the port")
    lanes: Count = 1
    up: Flag = True


class Box(Schema):
    model_config = ConfigDict(title="a box")
    name: Text
    ports: list[Port] = Field(default_factory=list)
    share: Fraction = 1.0
    factor: Real = 1.0


def broken(text: str) -> list[str]:
    """`name: message @line:column | help` for every finding of a Box."""
    with pytest.raises(InputError) as caught:
        validate(parse(text, "f.yaml", "topology"), Box)
    return [f"{_line(d)} | {d.help}" for d in caught.value.diagnostics]


def test_a_valid_document_becomes_a_value() -> None:
    """Text turns into SI numbers by the schema, not by YAML."""
    box = validate(parse("name: '7'\nports: [{speed: 400 Gb/s, up: false}]\nshare: 25 %\nfactor: 1e-3\n"), Box)
    assert box == Box(name="7", ports=[Port(speed=50e9, up=False)], share=0.25, factor=0.001)


BANDWIDTH_HELP = "write `400 Gb/s` (bits, as ports are sold) or `50 GB/s` (bytes)"
SCHEMA_ERRORS: list[tuple[str, list[str]]] = [
    ("nmae: x\n", ["topology/unknown-key: unknown key `nmae` @1:1 | did you mean `name`?"]),
    ("name: x\ncolour: red\n",
     ["topology/unknown-key: unknown key `colour` @2:1 | known: `factor`, `ports`, `share`"]),
    ("name: x\nports:\n  - {lanes: 2}\n",
     ["topology/missing-key: a port has no `speed` @3:5 | add `speed:`, speed of the port"]),
    ("name: x\nports: [{speed: 400, lanes: 0, up: yes}]\n", [
        f"topology/bandwidth-unit: bandwidth has no unit @2:17 | {BANDWIDTH_HELP}",
        "topology/not-positive: a count must be at least 1, found 0 @2:29 | ",
        "topology/not-a-flag: `yes` is neither true nor false @2:36 | write `true` or `false`"]),
    ("name: x\nports: {speed: 1 Gb/s}\n", ["topology/not-a-list: `ports` must be a list @2:8 | start each item with `- `"]),
    ("name: x\nports: [3]\n", ["topology/not-a-mapping: `ports` must be a mapping of keys to values @2:9 | "]),
    ("name:\n", ["topology/not-text: text belongs here, found nothing @1:6 | "]),
    ("name: x\nshare: 120 %\nfactor: nan\n", [
        "topology/not-a-fraction: a fraction lies between 0 and 1, found `120 %` @2:8 | write `0.5` or `50 %`",
        "topology/not-a-number: `nan` is not a number @3:9 | "]),
    ("name: x\nfactor: 1e999\nports: [{speed: 0 Gb/s, lanes: 99999999999999999999999}]\n", [
        "topology/absurd-number: `1e999` is not a finite number @2:9 | ",
        f"topology/not-positive: a bandwidth must be above 0 @3:17 | {BANDWIDTH_HELP}",
        "topology/absurd-number: `99999999999999999999999` is impossibly large @3:32 | "]),
    ("just text\n", ["topology/not-a-mapping: the file must be a mapping of keys to values @1:1 | "]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), SCHEMA_ERRORS)
def test_schema_errors_whole_message(text: str, expected: list[str]) -> None:
    """All errors of a file at once, each at its value, with the text to write instead."""
    assert broken(text) == expected


@pytest.mark.parametrize("number", ["0x10", "1e3", "3.0", "٣", "--1", "1 2", "", "1_", "9" * 5000])
def test_counts_take_digits_only(number: str) -> None:
    """A count is digits: no hex, exponent, decimals or other scripts' digits."""

    class OnlyCount(Schema):
        value: Count

    tree: dict[str, Any] = {"value": number}
    with pytest.raises(ValueError, match=r"whole number|impossibly large"):
        OnlyCount.model_validate(tree)
