# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.screen`: output of the main job between the marks of README.md, its pictures in docs/images."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import placement
from benchmarks.suite import MODEL, TOPOLOGY

README = Path(__file__).resolve().parents[1] / "README.md"
PICTURES = ("map.svg", "traffic.svg", "links.svg", "landscape.svg")  # of docs/images: the same plan
BLOCK = re.compile(r"(<!-- screen: .*? -->\n).*?(<!-- end of screen -->)", re.DOTALL)


def main() -> int:
    """Plans, replaces the block and the pictures. Returns the exit code of the planner."""
    with tempfile.TemporaryDirectory() as folder:
        run = placement("plan", MODEL, TOPOLOGY, "-o", Path(folder) / "plan", cwd=README.parent)
        if run.code:
            print(run.stderr, file=sys.stderr)
            return run.code
        placement("report", Path(folder) / "plan", "--svg", folder, cwd=README.parent)
        for name in PICTURES:
            shutil.copyfile(Path(folder) / name, README.parent / "docs" / "images" / name)
    screen = "\n".join(line.rstrip() for line in run.stdout.strip("\n").splitlines())
    text, found = BLOCK.subn(lambda m: f"{m[1]}```text\n{screen}\n```\n{m[2]}", README.read_text(encoding="utf-8"))
    if found != 1:
        raise ValueError(f"README.md has {found} screens, not one")
    README.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
