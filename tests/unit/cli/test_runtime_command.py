# SPDX-License-Identifier: Apache-2.0
"""`placement runtime`: the C sources, out of the installed package."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from placement.cli.runtime import FILES, sources

ROOT = Path(__file__).parents[3]


def test_prints_where_the_header_is(run):
    """Without a directory the command prints one for the compiler's -I, and nothing else."""
    done = run("runtime")
    assert (done.code, done.err) == (0, "")
    assert (Path(done.out.strip()) / "placement_plan.h").is_file()


def test_copies_the_sources(run, tmp_path):
    """The directory is made, and holds the two sources as they are."""
    done = run("runtime", tmp_path / "new" / "bin")
    assert done.code == 0
    assert done.out.split() == [str(tmp_path / "new" / "bin" / name) for name in FILES]
    for name in FILES:
        assert (tmp_path / "new" / "bin" / name).read_bytes() == (sources() / name).read_bytes()


def test_builds(run, tmp_path, monkeypatch):
    """--build leaves a program that runs; CC and CFLAGS are followed."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    monkeypatch.setenv("CFLAGS", "-std=c11 -O0")
    done = run("runtime", tmp_path, "--build")
    assert done.code == 0, done.err
    said = subprocess.run([tmp_path / "placement-exec", "--help"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("usage: placement-exec")


@pytest.mark.parametrize(
    ("compiler", "says"), [("no-such-compiler", "cannot run `no-such-compiler`"), ("false", "exit code 1")]
)
def test_no_compiler(run, tmp_path, monkeypatch, compiler, says):
    """A compiler that is missing or fails is a diagnostic; the sources are there all the same."""
    monkeypatch.setenv("CC", compiler)
    done = run("runtime", tmp_path, "--build")
    assert done.code == 1
    assert "cli/no-compiler" in done.err
    assert says in done.err
    assert (tmp_path / "placement_plan.h").is_file()


def test_build_needs_a_directory(run):
    """Nothing is built into the installed package."""
    done = run("runtime", "--build")
    assert done.code == 1
    assert "cli/no-directory" in done.err


def test_the_manual_names_what_exists():
    """Every function of the header that the manual names exists, and every option of placement-exec is in its help."""
    page = (ROOT / "docs" / "how-to" / "runtime.md").read_text(encoding="utf-8")
    header = (sources() / "placement_plan.h").read_text(encoding="utf-8")
    shim = (sources() / "placement_exec.c").read_text(encoding="utf-8")
    called = set(re.findall(r"(placement_\w+)\(", page)) | set(re.findall(r"`(placement_\w+)`", page))
    assert len(called) > 12
    assert {name for name in called if f"{name}(" not in header} == set()
    options = set(re.findall(r"`(--[a-z-]+)", page)) - {"--build"}
    assert {option for option in options if f'"{option}"' not in shim or f"  {option} " not in shim} == set()
    codes = set(re.findall(r"EXIT_\w+ = (\d+)", shim))
    assert codes == set(re.findall(r"^\| (\d+)", page, re.MULTILINE)) | {"127"}
