# SPDX-License-Identifier: Apache-2.0
"""Numbers, tables, bars and progress."""

import io

import pytest

from placement.report.progress import Progress
from placement.report.strategy import clip, layers_text
from placement.report.text import amount, bar, change, fold_rows, percent, ranges, seconds, si, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 s"),
        (12.6, "12.60 s"),
        (140.26, "140.3 s"),
        (0.5, "500.0 ms"),
        (2e-6, "2.00 us"),
        (3e-9, "3.00 ns"),
        (-0.25, "-250.0 ms"),
    ],
)
def test_seconds(value, text):
    """Durations keep about three digits in the unit that fits."""
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(999.4, "999 B"), (999.6, "1.00 kB"), (0, "0 B"), (1, "1 B"), (0.5, "0.50 B"), (3.2e27, "3200 YB"), (-4e9, "-4.00 GB")],
)
def test_si(value, text):
    """Prefixes change at a thousand as printed, not as stored."""
    assert si(value, "B") == text


def test_amount_and_percent_and_change():
    """Counts use B for billions; small shares do not read as zero; changes below rounding read as same."""
    assert (amount(405e9), amount(9.98e12), amount(7)) == ("405 B", "9.98 T", "7")
    assert (percent(0.411), percent(0.0001), percent(0)) == ("41.1 %", "<0.1 %", "0.0 %")
    assert (change(12.6, 13.98), change(1, 1.0004), change(1, 0), change(0, 0)) == ("-9.9 %", "same", "new", "")


def test_bar_never_hides_what_is_there():
    """Anything above zero shows; a full share fills the width exactly."""
    assert (bar(0, 10), bar(1e-9, 10), bar(1, 10), bar(0.5, 5)) == ("", "▏", "█" * 10, "██▌")


def test_table_aligns_columns_and_wide_text():
    """Cells line up by terminal columns; short rows are allowed; no line ends in spaces."""
    assert table([["a", "1"], ["数", "22"], ["long"]], "<>", gap=1, indent=0) == ["a     1", "数   22", "long"]


def test_table_disarms_names_from_files():
    """Escape sequences and line breaks in a cell do not reach the terminal."""
    assert table([["a\x1b[2Jb\nc", "1"]], indent=0) == ["a\ufffd[2Jb\ufffdc   1"]


def test_fold_keeps_first_and_last_rows():
    """More than 16 rows become 16: first ones, a count, last ones."""
    rows = fold_rows([[str(i)] for i in range(100)])
    assert len(rows) == 16
    assert rows[0] == ["0"]
    assert rows[11] == ["… 85 more"]
    assert rows[-1] == ["99"]
    assert fold_rows([["0"]] * 16) == [["0"]] * 16


def test_ranges_fold_runs_and_strides():
    """Consecutive numbers fold to a-b, constant strides to a-b:s, mixtures to lists."""
    assert (ranges([3]), ranges([3, 4]), ranges([0, 2]), ranges([0, 2, 4]), ranges([0, 1, 5])) == (
        "3",
        "3-4",
        "0,2",
        "0-4:2",
        "0-1,5",
    )


def test_layers_fold_by_name():
    """Layer numbers fold; names without numbers stay; chunks that jump stay apart; long lists are clipped at a comma."""
    assert layers_text(["embedding", *(f"layer.{i}" for i in range(23))]) == "embedding, 0-22"
    assert layers_text([*(f"layer.{i}" for i in (3, 4, 20, 21)), "mtp.0", "head"]) == "3-4,20-21, mtp 0, head"
    assert layers_text([f"layer {i}" for i in range(3)]) == "0-2"
    assert clip("aaa,bbb,ccc", 9) == "aaa,bbb,…"
    assert layers_text([]) == ""


class Clock:
    """Seconds that a test decides."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def test_progress_without_a_terminal_is_a_plain_line_each_five_seconds():
    """No control characters, one line per 5 s, nothing at all for a quick command."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, terminal=False, clock=clock)
    for now_s in (0, 1, 4.9, 5, 6, 9.9, 10.1):
        clock.now_s = now_s
        progress("score", int(now_s), 20, "tp 8")
    progress.close()
    assert (
        out.getvalue()
        == "    score 5/20 (25 %) tp 8  5 s, at most 15 s left\n    score 10/20 (50 %) tp 8  10 s, at most 10 s left\n"
    )


def test_progress_estimates_each_stage_by_its_own_pace():
    """Time of earlier stages is not counted, little work says nothing, and an unknown end has no estimate."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, terminal=False, clock=clock)
    for now_s, stage, done, total in (
        (0, "a", 0, 0),
        (100, "a", 7, 0),
        (101, "b", 0, 50),
        (111, "b", 2, 50),
        (121, "b", 10, 50),
    ):
        clock.now_s = now_s
        progress(stage, done, total, "")
    assert out.getvalue().splitlines() == [
        "        a 7  100 s", "        b 2/50 (4 %)  111 s", "        b 10/50 (20 %)  121 s, at most 80 s left",
    ]  # fmt: skip


def test_progress_on_a_terminal_redraws_one_line_and_removes_it():
    """The bar is overwritten in place, cut to the width, and gone at the end."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, terminal=True, width=30, clock=clock)
    clock.now_s = 1
    progress("score", 5, 10, "x" * 100)
    progress.close()
    first, second = out.getvalue().split("\r")[1:]
    assert first.startswith("    score ████")
    assert len(first.removesuffix("\x1b[K")) == 29
    assert second == "\x1b[K"


def test_progress_survives_a_closed_stream():
    """A reader of stderr that goes away does not end the command."""
    out, clock = io.StringIO(), Clock()
    progress = Progress(out, terminal=True, clock=clock)
    out.close()
    clock.now_s = 1
    progress("score", 1, 2, "")
    progress.close()
