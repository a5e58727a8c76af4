# SPDX-License-Identifier: Apache-2.0
"""Plan from Python: which of two batches uses a GB200 scalable unit best, then write the winner, read it, and verify it.

python examples/api.py [FOLDER]     FOLDER: where the plan goes; default: plan
"""

from __future__ import annotations

import sys
from dataclasses import replace

import placement
from placement.diag import Infeasible


def main(folder: str = "plan") -> None:
    cluster = placement.load_cluster("gb200-su")
    model, defaults = placement.load_model("llama3-70b")
    job = placement.load_job(None, defaults, effort=0)

    plans = {}
    for batch in (576, 1152):
        try:
            plans[batch] = placement.compile(cluster, model, replace(job, global_batch=batch))
        except Infeasible as error:
            print(f"batch {batch}: {error}")
    for batch, plan in plans.items():
        cost = plan.chosen.cost
        print(
            f"batch {batch:>4}: {cost.step_s:6.2f} s a step, {cost.tokens_per_s_per_gpu:6.0f} tokens/s/GPU, MFU {cost.mfu:.1%}"
        )

    batch, best = max(plans.items(), key=lambda item: item[1].chosen.cost.tokens_per_s_per_gpu)
    digest = placement.write_plan(best, folder)
    loaded = placement.load_plan(folder)
    assert loaded.digest == digest
    node_R, slot_R = divmod(loaded.placement.gpu_R, cluster.gpus_per_node)
    print(f"rank 0 runs on {cluster.host_N[node_R[0]]} gpu {slot_R[0]}")

    result = placement.verify(loaded, cluster, model, best.job)
    passed = sum(check.ok for check in result.checks)
    print(f"{passed} of {len(result.checks)} checks passed")
    for finding in result.diagnostics:
        print(f"  {finding.name}: {finding.message}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
