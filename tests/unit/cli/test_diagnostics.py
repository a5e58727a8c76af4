# SPDX-License-Identifier: Apache-2.0
"""The printer of diagnostics."""

from placement.diag import Diagnostic, Label, Severity, Span
from placement.report.diagnostics import as_json, render, render_one, summary_json
from placement.report.style import PLAIN, Style

FILE = "topologies/example.yaml"
SOURCE = {
    FILE: [
        "name: x",
        "tiers:",
        "  - link_bandwidth: 400",
        '  nodes: "n[00-31]"',
        "",
        "\tkey\t: 数値 bad",
        "a" * 300 + "WRONG" + "b" * 300,
    ]
}


def lines(file):
    return SOURCE.get(file, ())


def at(line, column, end=0, text="", file=FILE):
    return Label(Span(file, line, column, end), text)


UNIT = Diagnostic(
    "topology/bandwidth-unit", "bandwidth has no unit", primary=at(3, 21, 24, "Gb/s and GB/s differ by 8x"),
    help="write `400 Gb/s` (one ConnectX-7 port) or `50 GB/s`",
)  # fmt: skip


def test_one_diagnostic_reads_like_rustc():
    """Severity and name, place, source line, caret of the right width with its label, then the help."""
    assert render_one(UNIT, PLAIN, lines) == (
        "error[topology/bandwidth-unit]: bandwidth has no unit\n"
        " --> topologies/example.yaml:3:21\n"
        "  |\n"
        "3 |   - link_bandwidth: 400\n"
        "  |                     ^^^ Gb/s and GB/s differ by 8x\n"
        "  |\n"
        "  = help: write `400 Gb/s` (one ConnectX-7 port) or `50 GB/s`"
    )


def test_secondary_places_stand_in_order_of_line_with_dots_between():
    """A secondary label is underlined with dashes, also where it stands above the primary one; notes follow."""
    found = Diagnostic(
        "topology/node-twice", "node `n19` is attached twice", primary=at(4, 10, 20, "attached again here"),
        secondary=(at(1, 1, 5, "first attached here"),), notes=("one\ntwo",), objects=tuple(f"n{i}" for i in range(8)),
    )  # fmt: skip
    assert render_one(found, PLAIN, lines).split("\n")[2:] == [
        "  |",
        "1 | name: x",
        "  | ---- first attached here",
        "...",
        '4 |   nodes: "n[00-31]"',
        "  |          ^^^^^^^^^^ attached again here",
        "  |",
        "  = on: `n0`, `n1`, `n2`, `n3`, `n4` … and 3 more",
        "  = note: one",
        "          two",
    ]


def test_another_file_gets_its_own_excerpt():
    """A secondary place in another file is named even if that file can't be read."""
    found = Diagnostic("a/b", "c", primary=at(1, 1), secondary=(at(7, 2, file="gone.yaml"),))
    text = render_one(found, PLAIN, lines)
    assert " --> topologies/example.yaml:1:1" in text
    assert " ::: gone.yaml:7:2" in text


def test_caret_stands_under_wide_characters_and_tabs():
    """Columns count characters; the caret counts terminal cells: two for each wide character, one for a tab."""
    source, caret = render_one(Diagnostic("a/b", "c", primary=at(6, 11, 14)), PLAIN, lines).split("\n")[-2:]
    assert source == "6 |  key : 数値 bad"
    assert caret == "  | " + " " * len(" key : ") + "    " + " " + "^^^"


def test_long_line_is_cut_around_the_caret():
    """A line of 600 characters shows the part with the error and no more than a screen."""
    source, caret = render_one(Diagnostic("a/b", "c", primary=at(7, 301, 306)), PLAIN, lines).split("\n")[-2:]
    assert source[caret.index("^") : caret.rindex("^") + 1] == "WRONG"
    assert len(source) < 120


def test_control_characters_never_reach_the_terminal():
    """Escape sequences in names, messages and source lines are replaced."""
    evil = Diagnostic("a/b", "red \x1b[31m", primary=Label(Span("x\x1b.yaml", 1, 1)), help="\x07bell", objects=("ok",))
    text = render_one(evil, PLAIN, lambda _: ["key: \x1b]0;title\x07 \u202e"])
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text


def test_colour_only_adds_colour():
    """With ANSI colours removed, the text is the plain one."""
    import re

    coloured = render_one(UNIT, Style(colour=True), lines)
    assert coloured != render_one(UNIT, PLAIN, lines)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render_one(UNIT, PLAIN, lines)


def test_place_beyond_the_file_prints_no_excerpt():
    """A span past the last line, or column past the end, is printed without failing."""
    assert (
        render_one(Diagnostic("a/b", "c", primary=at(99, 1)), PLAIN, lines)
        == "error[a/b]: c\n  --> topologies/example.yaml:99:1"
    )
    assert "^" in render_one(Diagnostic("a/b", "c", primary=at(1, 400, 500)), PLAIN, lines)


def test_only_twenty_are_shown_and_the_rest_counted():
    """Of many findings the first 20 are printed; the count below names all of them."""
    many = [
        Diagnostic("topology/unknown-key", f"m{i}", Severity.WARNING if i % 2 else Severity.ERROR, primary=at(1, 1))
        for i in range(34)
    ]
    text = render(many, PLAIN, lines)
    assert text.count("[topology/unknown-key]") == 20
    assert text.endswith("… and 14 more\n\n17 errors, 17 warnings in 1 file\n  see: placement explain topology/unknown-key")


def test_json_has_the_published_keys():
    """`{severity, name, message, objects, where: {file, line, column}, help}`, and null where there is no place."""
    assert as_json(UNIT) | {"notes": [], "related": []} == {
        "severity": "error",
        "name": "topology/bandwidth-unit",
        "message": "bandwidth has no unit",
        "objects": [],
        "where": {"file": FILE, "line": 3, "column": 21},
        "help": UNIT.help,
        "notes": [],
        "related": [],
    }
    assert as_json(Diagnostic("a/b", "c"))["where"] is None
    assert summary_json([UNIT, Diagnostic("a/b", "c", Severity.INFO)]) == {"errors": 1, "warnings": 0, "infos": 1}
