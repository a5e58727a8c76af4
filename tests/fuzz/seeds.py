# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.fuzz.seeds DIR`: plan.bin files of every shape, for a fuzzer to start from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from placement.ir import Plan
from tests.native import binary, shaped
from tests.plans import tiny_cluster, tiny_plan

PLANS: Mapping[str, Callable[[], Plan]] = {
    "tiny": tiny_plan,
    "tied, shuffled, interleaved": lambda: shaped(
        tied=True, shuffle=1, tp=2, cp=2, ep=4, dp=4, pp=4, vpp=2, schedule="interleaved"
    ),
    "folded experts": lambda: shaped(tp=4, ep=2, etp=2, dp=4, gtp=2, egtp=2, pp=4, sharding="fsdp"),
    "spares": lambda: tiny_plan(tiny_cluster(leafs=3, nodes=3), spares=1),
    "a table that is summed in thirds": lambda: shaped(hosts=64, tp=4, dp=16, pp=4),
}


def write(folder: Path) -> list[Path]:
    """One file a shape."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"seed-{i}.bin" for i in range(len(PLANS))]
    for path, make in zip(paths, PLANS.values(), strict=True):
        path.write_bytes(binary(make()))
    return paths


if __name__ == "__main__":
    write(Path(sys.argv[1]))
