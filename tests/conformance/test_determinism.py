# SPDX-License-Identifier: Apache-2.0
"""Same inputs, same bytes (docs/determinism.md): plans made by processes that differ in everything that should not matter."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Hash seed, threads, and time zone of each process; the directory differs too.
DENSE = ("llama3-70b", "gb200-su", "--effort", "0", "--pin", "pp=4", "--pin", "tp=2")
ROUTED = ("deepseek-v3", "mixed-gb200-gb300", "--effort", "0", "--pin", "pp=8", "--pin", "tp=1", "--pin", "ep=32")
WORLDS = (("0", "1", "UTC"), ("1", "2", "Asia/Tokyo"), ("random", "8", "America/Lima"))


def plan(folder: Path, args: tuple[str, ...], world: tuple[str, str, str]) -> dict[str, str]:
    """Plans in a new process and returns the SHA-256 of every file of the plan directory."""
    seed, threads, zone = world
    changed = {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "TZ": zone}
    command = [sys.executable, ROOT / "cli.py", "plan", *args, "-o", "plan"]
    run = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    out = folder / "plan"
    return {str(f.relative_to(out)): sha256(f.read_bytes()).hexdigest() for f in sorted(out.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("args", [DENSE, ROUTED], ids=["dense", "routed"])
def test_same_inputs_same_bytes(args: tuple[str, ...], tmp_path: Path) -> None:
    """Hash seeds 0, 1 and random, other threads, time zones and directories: every file of the plan is the same."""
    found = []
    for i, world in enumerate(WORLDS):
        folder = tmp_path / f"directory{i}"
        folder.mkdir()
        found.append(plan(folder, args, world))
    assert {"plan.json", "plan.bin"} <= set(found[0])
    assert found[0] == found[1] == found[2]


def test_another_question_is_seen(tmp_path: Path) -> None:
    """The comparison bites: a plan asked for with other words (a pin) has other bytes."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = plan(tmp_path / "one", DENSE, WORLDS[0])
    other = plan(tmp_path / "other", (*DENSE, "--pin", "recompute=full"), WORLDS[0])
    assert one["plan.json"] != other["plan.json"]
