# SPDX-License-Identifier: Apache-2.0
"""The program as a process: streams, pipes, full disks, colour."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from placement.cli import output
from placement.report.style import PLAIN, Style, style_of

ROOT = Path(__file__).parents[3]


def program(*words, **how):
    """Run `placement` in a process of its own."""
    return subprocess.run([sys.executable, ROOT / "cli.py", *words], capture_output=True, text=True, check=False, **how)


def test_exit_codes_and_streams_of_a_process(tmp_path):
    """Results on stdout, errors on stderr, codes 0, 1 and 2; no ANSI codes where nobody watches."""
    good = program("topology", "validate", "tiny")
    assert (good.returncode, good.stderr) == (0, "")
    bad = program("topology", "show", str(tmp_path / "none.yaml"))
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "\x1b" not in bad.stderr
    assert program("topology", "show").returncode == 2


def test_a_reader_that_goes_away_is_no_error(plan_dir):
    """`placement show DIR ranks --format csv | head -1` prints one line, and nothing on stderr."""
    shell = f'"{sys.executable}" "{ROOT / "cli.py"}" show "{plan_dir}" ranks --format csv | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("rank,host,")
    assert done.stdout.splitlines()[1] == "0"


def test_closed_pipe_stops_a_stream_and_keeps_the_code():
    """After the reader of a pipe is gone no more is produced, and flushing is quiet."""
    code = (
        "import os, sys\n"
        "from placement.cli import output\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "made = []\n"
        "output.stream(made.append(i) or 'x' * 100_000 for i in range(100))\n"
        "output.result('more'); output.finish()\n"
        "sys.stderr.write(str(len(made) < 100))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "True"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_an_error_without_traceback():
    """Output that can't be written ends with exit code 1 and one diagnostic."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, ROOT / "cli.py", "explain", "--all"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error[cli/cannot-read-or-write]: no space left on device")
    assert "Traceback" not in done.stderr


def test_an_encoding_without_blocks_replaces_them(plan_dir):
    """On an ASCII terminal the bars become question marks instead of an error."""
    done = program("show", str(plan_dir), env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "?????" in done.stdout


def test_unreadable_input_is_a_diagnostic(tmp_path):
    """A directory where a file is expected is named, with exit code 1."""
    done = program("model", "show", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error[")


class Terminal(io.StringIO):
    """A stream that says it is watched."""

    def isatty(self):
        return True


def test_colour_only_for_people_who_want_it():
    """Colour on a terminal; none with NO_COLOR, TERM=dumb, or into a file."""
    assert style_of(Terminal(), {}) == Style(colour=True)
    assert style_of(Terminal(), {"NO_COLOR": "1"}) == PLAIN
    assert style_of(Terminal(), {"NO_COLOR": ""}) == Style(colour=True)
    assert style_of(Terminal(), {"TERM": "dumb"}) == PLAIN
    assert style_of(io.StringIO(), {}) == PLAIN


def test_files_are_written_whole(tmp_path):
    """A file that can't be written raises with its name and leaves nothing behind."""
    output.write_file(tmp_path / "a.yaml", "text")
    assert (tmp_path / "a.yaml").read_text(encoding="utf-8") == "text"
    with pytest.raises(OSError, match="nowhere"):
        output.write_file(tmp_path / "nowhere" / "a.yaml", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"]
