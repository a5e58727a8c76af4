# SPDX-License-Identifier: Apache-2.0
"""`placement export DIR --to TARGET`."""

from __future__ import annotations

import json
from pathlib import Path

from placement.cli.exit import Exit


def test_export_says_what_it_wrote(run, plan_dir: Path) -> None:
    """stdout has the files and the README; the default directory stands beside the plan."""
    ran = run("export", plan_dir, "--to", "env")
    assert ran.code == Exit.OK
    folder = Path(f"{plan_dir}-env")
    assert {str(p) for p in folder.iterdir()} <= set(ran.out.splitlines())
    assert (folder / "README").read_text() in ran.out


def test_export_as_json(run, plan_dir: Path, tmp_path: Path) -> None:
    """`--format json` names the plan's digest, the files and their sizes."""
    ran = run("export", plan_dir, "--to", "slurm", "-o", tmp_path / "out", "--format", "json")
    told = json.loads(ran.out)
    assert told["plan"] == json.loads((plan_dir / "plan.json").read_text())["digest"]
    assert told["files"] == {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir()}


def test_unknown_target(run, plan_dir: Path) -> None:
    """An unknown target is a usage error that lists the known ones."""
    ran = run("export", plan_dir, "--to", "pbs")
    assert ran.code == Exit.USAGE
    assert "slurm" in ran.err


def test_refusal(run, plan_dir: Path, tmp_path: Path) -> None:
    """What a launcher cannot run is refused with exit code 1, and nothing is written."""
    ran = run("export", plan_dir, "--to", "deepspeed", "-o", tmp_path / "out")
    assert ran.code == Exit.INPUT
    assert "export/" in ran.err
    assert not (tmp_path / "out").exists()
