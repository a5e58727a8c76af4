# SPDX-License-Identifier: Apache-2.0
"""The installed program, away from any checkout: what someone gets who installs the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with the build backend that is pinned in requirements.lock, without a network."""
    pytest.importorskip("hatchling", reason="the build backend is not installed (requirements.lock has it)")
    folder = tmp_path_factory.mktemp("wheel")
    run = [sys.executable, "-m", "pip", "wheel", "-q", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(run, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a new virtual environment with the wheel in it; its dependencies are the ones of this environment.

    A `.pth` file names this environment's packages. Path files found there are not followed, so the checkout stays out.
    """
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", "--no-index", "--no-deps", wheel]
    subprocess.run(pip, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return venv / "bin"


def start(program: Path, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *args], cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_wheel_holds_the_examples(wheel: Path) -> None:
    """Every example, schema, catalogue file, C source and diagnostic page is inside the wheel, and the licence too."""
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [f"placement/{f.relative_to(ROOT)}" for d in ("topologies", "models", "schemas") for f in (ROOT / d).glob("*.*")]
    inside = [f for pattern in ("*.yaml", "*.md", "*.h", "*.c") for f in (ROOT / "placement").rglob(pattern)]
    wanted += [str(f.relative_to(ROOT)) for f in inside]
    assert {"placement/topologies/tiny.yaml", "placement/models/moe-10t.yaml", "placement/schemas/topology.json"} <= set(wanted)
    assert set(wanted) <= held
    assert any(name.endswith("/LICENSE") for name in held)


def test_help_starts(installed: Path, tmp_path: Path) -> None:
    """`placement --help` works where no checkout is, and the code that runs is the installed one."""
    done = start(installed / "placement", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "plan" in done.stdout
    code = "import placement; print(placement.__file__)"
    where = start(installed / "python", "-c", code, cwd=tmp_path).stdout.strip()
    assert Path(where).is_relative_to(installed.parent)


def test_plans_outside_a_checkout(installed: Path, tmp_path: Path) -> None:
    """An example is planned and verified by name, in an empty directory."""
    question = ("llama3-70b", "gb200-su", "--effort", "0", "--pin", "pp=4", "--pin", "tp=2")
    planned = start(installed / "placement", "plan", *question, "-o", "plan", "--format", "json", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["world_size"] > 0
    checked = start(installed / "placement", "verify", "plan", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
