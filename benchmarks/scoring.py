# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.scoring MODEL TOPOLOGY`: strategies a second that the vectorised bound scores. Prints one number.

It does what the search does before it knows any plan: opens outer rows in order of their bound into whole strategies and bounds
each in step time and memory. Pricing of shards, tests of divisibility and sorting are inside the time; reading files and
growing the tree are not.
"""

from __future__ import annotations

import math
import sys
import time

ENOUGH = 4_000_000  # strategies
BATCH = 64  # outer rows at a time


def main(model_path: str, topology_path: str) -> None:
    """Times the scoring of the most promising strategies."""
    from placement.passes.outer import grow
    from placement.passes.problem import problem
    from placement.passes.strategies import space
    from placement.passes.tree import Known, open_rows
    from placement.spec import load_cluster, load_job, load_model
    from placement.spec.catalog import efficiency

    cluster = load_cluster(topology_path)
    model, defaults = load_model(model_path)
    task = problem(cluster, model, load_job(None, defaults, {}), efficiency())
    tree = grow(task, space(task.cluster, task.model, task.job))
    known = Known()
    scored = lo = 0
    start, start_cpu = time.perf_counter(), time.process_time()
    while scored < ENOUGH and lo < len(tree.bound_S):
        scored += open_rows(task, tree, lo, lo + BATCH, math.inf, known)[-1]
        lo += BATCH
    seconds, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    print(f"{scored / seconds:.0f}")
    rows = min(lo, len(tree.bound_S))
    told = f"{scored:,} strategies below {rows:,} outer rows in {seconds:.2f} s, {cpu:.2f} processor seconds"
    print(told, file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
