# SPDX-License-Identifier: Apache-2.0
"""What the tracked files of the repository may and may not hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Spelled in pieces so that this file does not find itself.
REGISTRY = re.compile(
    "|".join((r"pypi\.org/" + "simple", "files" + r"\.pythonhosted", "--(extra-)?index" + "-url", "--find" + "-links"))
)
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|home|root|tmp|Users|farm)/[\w.]")
CODE = (".py", ".h", ".c", ".sh")
LOCKS = ("requirements.lock", "requirements-dev.lock")


def tracked() -> list[Path]:
    """Files under version control; without git (an unpacked source archive) there is nothing to check."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def head(path: Path) -> str:
    """The first two lines."""
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[:2])


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    hits = []
    for path in tracked():
        text = path.read_text(encoding="utf-8", errors="replace")
        hits += [
            f"{path.relative_to(ROOT)}:{i}: {line.strip()}"
            for i, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return hits


@pytest.mark.parametrize("bad", ["pip install --index" + "-url x", "https://pypi.org/" + "simple/numpy"])
def test_registry_pattern_bites(bad: str) -> None:
    """The pattern for registries finds one."""
    assert REGISTRY.search(bad)


@pytest.mark.parametrize("bad", ["see /" + "work/x", "'/" + "home/me/a.yaml'", "(/" + "root/.venv)"])
def test_machine_pattern_bites(bad: str) -> None:
    """The pattern for paths of a machine finds one, and leaves relative paths alone."""
    assert MACHINE.search(bad)
    assert not MACHINE.search(bad.replace("/", "a/"))


def test_no_registry_address() -> None:
    """No tracked file names a package registry."""
    assert lines_with(REGISTRY) == []


def test_no_path_of_a_machine() -> None:
    """No tracked file names a path of the machine it was written on."""
    assert lines_with(MACHINE) == []


def test_code_states_its_licence() -> None:
    """Every source file says Apache-2.0 in its first two lines (a shebang may come first)."""
    code = [p for p in tracked() if p.suffix in CODE]
    bare = [str(p.relative_to(ROOT)) for p in code if "SPDX-License-Identifier: Apache-2.0" not in head(p)]
    assert code
    assert bare == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_are_hashed(name: str) -> None:
    """Every pin is exact and carries a SHA-256; nothing else stands in a lock."""
    lines = [
        line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line and not line.lstrip().startswith("#")
    ]
    entry = re.compile(r"[A-Za-z0-9._-]+==[^ ]+( ; .+)? \\$|    --hash=sha256:[0-9a-f]{64}( \\)?$")
    pins = [i for i, line in enumerate(lines) if "==" in line]
    assert [line for line in lines if not entry.match(line)] == []
    assert pins
    assert all("--hash" in lines[i + 1] for i in pins)


def test_development_pins_agree_with_the_runtime() -> None:
    """What users get is what is tested: the development lock holds every pin of the runtime lock."""
    runtime, development = (
        set(re.findall(r"^\S+==[^ ]+", (ROOT / n).read_text(encoding="utf-8"), re.MULTILINE)) for n in LOCKS
    )
    assert runtime <= development
