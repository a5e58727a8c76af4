# SPDX-License-Identifier: Apache-2.0
"""A repair killed with SIGKILL at every step that touches the disk: the old plan is whole, and the next repair goes through."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from placement.cli.main import main
from placement.runtime import load_plan
from placement.runtime.planfile import content_digest
from tests.unit.cli.test_repair_command import hosts, made  # noqa: F401

STEPS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.truncate", "ctypes.dlsym")


def killed(step: int, *words: object) -> bool:
    """Run a command in a process of its own that dies at its `step`-th change of the disk. False: it ended before."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    seen = 0

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if event in STEPS or writes:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    sys.addaudithook(hook)
    os._exit(main([str(w) for w in words]))


@pytest.mark.parametrize("in_place", [False, True])
def test_killed_anywhere(run, made, tmp_path, in_place):  # noqa: F811
    """Whatever is at a path is a whole plan, old or new; then the repair is made again, and what was left over goes away."""
    before, dead = load_plan(made).digest, hosts(made)[0]
    steps = 0
    while True:
        steps += 1
        place = tmp_path / str(steps)
        plan = Path(shutil.copytree(made, place / "plan"))
        out = plan if in_place else place / "new"
        died = killed(steps, "repair", plan, "--failed", dead, "-o", out)
        old = load_plan(plan)
        assert content_digest(old) == old.digest
        assert in_place or old.digest == before
        if out.exists():
            new = load_plan(out)
            assert content_digest(new) == new.digest
        if not died:
            break
        if steps % 3:
            continue
        for left in place.glob(".*.tmp"):
            os.utime(left, (time.time() - 3600, time.time() - 3600))
        code, _, err = run("repair", plan, "--failed", dead, "-o", out)
        assert code == 0, err
        assert dead not in hosts(out)
        assert [p.name for p in place.iterdir() if p.name.startswith(".")] == []
    assert steps > 15
