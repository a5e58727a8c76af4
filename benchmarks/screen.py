# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.screen`: puts the real output of the main job between the marks of README.md."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import placement
from benchmarks.suite import MODEL, TOPOLOGY

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"(<!-- screen: .*? -->\n).*?(<!-- end of screen -->)", re.DOTALL)


def main() -> int:
    """Plans, and replaces the block. Returns the exit code of the planner."""
    with tempfile.TemporaryDirectory() as folder:
        run = placement("plan", MODEL, TOPOLOGY, "-o", Path(folder) / "plan", cwd=README.parent)
    if run.code:
        print(run.stderr, file=sys.stderr)
        return run.code
    screen = "\n".join(line.rstrip() for line in run.stdout.strip("\n").splitlines())
    text, found = BLOCK.subn(lambda m: f"{m[1]}```text\n{screen}\n```\n{m[2]}", README.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"README.md has {found} screens, not one")
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
