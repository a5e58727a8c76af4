# SPDX-License-Identifier: Apache-2.0
"""Maps of several towers and of graphs without structure: CPU seconds, memory, gap. `python -m benchmarks.towers`.

Repair: a host of rank 0 fails; the new places, loads and sources, without files.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from placement.ir import Cluster, State

HEAD = (
    f"{'case':24} {'ranks':>8} {'placed':>8} {'bound':>7} {'referee':>8} {'repair':>7} "
    f"{'peak MB':>8} {'gap':>7} {'bytes / launcher':>17}"
)
CASES = {
    "vision-language-576": "gb200-su", "vision-language-220k": "gb300-220k", "8 left of 72": "gb300-220k",
    "torus of 216,000": "gb300-220k",
}  # fmt: skip
LEFT = """\
name: left
towers:
  vision: {axes: {tp: 4, dp: 5760}, bytes: {tp: 40 GB, dp: 4 GB}}
  language: {axes: {tp: 8, dp: 1520, ep: 64, pp: 16}, bytes: {tp: 80 GB, dp: 4 GB, pp: 1 GB, ep: 30 GB, edp: 20 GB}}
bridges: [{source: vision, target: language, bytes: 20 TB}]
"""


def main() -> None:
    """One process a case, so that peaks of memory are its own."""
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
        return
    print(HEAD)
    for case in CASES:
        run = subprocess.run([sys.executable, "-m", "benchmarks.towers", case], capture_output=True, text=True, check=True)
        print(row(case, json.loads(run.stdout)))


def row(case: str, m: dict[str, float]) -> str:
    """CPU seconds of each step, user and system."""
    gap = f"{m['gap'] * 100:.1f} %" if m["gap"] >= 0 else "-"
    times = f"{m['place_s']:6.1f} s {m['bound_s']:5.1f} s {m['verify_s']:6.1f} s {m['repair_s']:5.1f} s"
    return f"{case:24} {m['ranks']:8,.0f} {times} {m['peak_MB']:8.0f} {gap:>7} {m['share']:17.2f}"


def measured(case: str) -> dict[str, float]:
    """One case in this process."""
    from placement.comms import compile_comms, repair_comms, search_tower
    from placement.passes.comms_bound import bound_comms
    from placement.runtime.mapfile import assemble_map, load_map, write_map
    from placement.spec import load_cluster
    from placement.spec.catalog import efficiency
    from placement.spec.comms_file import load_comms
    from placement.verify.comms import verify_map

    cluster = load_cluster(CASES[case])
    with tempfile.TemporaryDirectory(prefix="placement-") as scratch:
        given = load_comms(_file(case, Path(scratch)))
        found = {n: search_tower(cluster, a.model, a.job, efficiency(a.job.calibration)) for n, a in given.asks.items()}
        comms = given.lower(found)
        bound_s = -time.process_time()
        bound_comms(cluster, comms)
        bound_s += time.process_time()
        place_s = -time.process_time()
        plan = compile_comms(cluster, comms)
        place_s += time.process_time() - bound_s
        write_map(assemble_map(plan, given.files), Path(scratch) / "map")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        verify_s = -time.process_time()
        checked = verify_map(load_map(Path(scratch) / "map"), cluster, comms)
        verify_s += time.process_time()
        assert checked.ok, checked.diagnostics
    repair_s = -time.process_time()
    repair_comms(without_host(cluster, int(plan.placement.gpu_R[0]) // cluster.gpus_per_node), plan, narrower=True)
    repair_s += time.process_time()
    moved, launcher = (sum(plan.tier_bytes(p).values()) for p in (plan.parts, plan.launcher_parts))
    return {
        "ranks": comms.world_size, "place_s": place_s, "bound_s": bound_s, "verify_s": verify_s, "repair_s": repair_s,
        "peak_MB": peak,
        "gap": -1.0 if plan.gap is None else plan.gap, "share": moved / launcher,
    }  # fmt: skip


def without_host(cluster: Cluster, node: int) -> Cluster:
    """A cluster that lost a host."""
    state_N, ok_NG = cluster.state_N.copy(), cluster.gpu_ok_NG.copy()
    state_N[node], ok_NG[node] = State.FAILED, False
    return replace(cluster, state_N=state_N, gpu_ok_NG=ok_NG)


def _file(case: str, folder: Path) -> str:
    """The communication file of a case: a packaged example, or one written here."""
    path = folder / "case.yaml"
    if case == "8 left of 72":
        path.write_text(LEFT, encoding="utf-8")
    elif case.startswith("torus"):
        _torus(folder)
        path.write_text("name: torus\ntowers: {all: {ranks: 216000}}\npairs_file: pairs.csv\n", encoding="utf-8")
    else:
        return case
    return str(path)


def _torus(folder: Path) -> None:
    """480 x 450 ranks in shuffled order, a gigabyte to two of their four neighbours."""
    at = np.random.default_rng(0).permutation(216_000).reshape(480, 450)
    rows = [np.stack([at.ravel(), np.roll(at, 1, axis).ravel()], axis=1) for axis in (0, 1)]
    np.savetxt(folder / "pairs.csv", np.concatenate(rows), fmt="%d,%d,1e9")


if __name__ == "__main__":
    main()
