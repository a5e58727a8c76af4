# SPDX-License-Identifier: Apache-2.0
"""The Python interface: what is promised exists, loads late, and the example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import placement

ROOT = Path(__file__).resolve().parents[2]


def run(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True, cwd=cwd, check=False)


def test_example_runs(tmp_path):
    """The example compiles two jobs, writes the better one, reads it and passes every check."""
    done = run(ROOT / "examples" / "api.py", tmp_path / "plan", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    passed, of = re.search(r"(\d+) of (\d+) checks passed", done.stdout).groups()
    assert passed == of
    assert (tmp_path / "plan" / "plan.bin").exists()


def test_page_example_runs(tmp_path):
    """The program on the page runs as it stands."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    done = run("-c", code.replace("effort=1", "effort=0"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tp=4" in done.stdout
    assert placement.load_plan(tmp_path / "plan").strategy.tp == 4


@pytest.mark.parametrize("name", placement.__all__)
def test_every_function_is_documented(name):
    """Each public name is a function with a docstring and a line on the page."""
    assert getattr(placement, name).__doc__
    assert f"| `{name}(" in (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def test_functions_stay_functions_beside_rooms_of_the_same_name():
    """Importing the rooms `compile` and `verify` does not hide the functions, in any order."""
    code = "import placement; from placement.verify import CHECKS; from placement.compile import compile_plan\n"
    code += "assert CHECKS and compile_plan; assert callable(placement.verify) and callable(placement.compile)"
    assert run("-c", code, cwd=ROOT).returncode == 0
    assert run("-c", "import placement.verify, placement.compile as c\n" + code, cwd=ROOT).returncode == 0


def test_import_is_light():
    """`import placement` loads neither numpy nor any room."""
    code = "import placement, sys; found = {m for m in sys.modules if m == 'numpy' or m.startswith('placement.')}\n"
    done = run("-c", code + "print(sorted(found))", cwd=ROOT)
    assert done.stdout.strip() == "['placement._version']"


def test_unknown_names_are_attribute_errors():
    """A name that does not exist is said in the usual way."""
    with pytest.raises(AttributeError, match="no attribute 'plan_it'"):
        placement.plan_it  # noqa: B018
