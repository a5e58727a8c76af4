# SPDX-License-Identifier: Apache-2.0
# H host
"""Ray: one bundle a host, pinned by a label, and a driver that starts the plan's ranks in each."""

from __future__ import annotations

import json

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.export.case import Case, Export

LABEL = "placement-host"
_TRIED = 2_000  # nodes: the largest cluster of Ray's own scalability tests


def export(case: Case) -> Export:
    """`bundles.json` (bundles, label selectors, ranks and slots of each) and `start.py`, the driver."""
    return Export({
        "README": case.readme(
            f'on every host: ray start --labels="{LABEL}=$(hostname)" ...; then: python start.py PROGRAM [ARGUMENT...]',
            "label selectors of bundles are beta since Ray 2.49; without them Ray's order of bundles is not the plan's.",
        ),
        "bundles.json": _bundles(case),
        "start.py": _driver(case),
    }, tuple(_warnings(case)))  # fmt: skip


def _warnings(case: Case) -> list[Diagnostic]:
    if case.hosts <= _TRIED:
        return []
    message = f"a placement group of {case.hosts} bundles; Ray tests itself to {_TRIED} nodes"
    way_out = "start the ranks with `--to slurm`, `--to kubernetes` or `--to env`, and use Ray for the rest"
    return [Diagnostic("export/slow-at-this-size", message, Severity.WARNING, help=way_out)]


def _bundles(case: Case) -> bytes:
    order = np.lexsort((case.slot_R, case.group_R))
    edges = np.cumsum(case.ranks_H)[:-1]
    names = [n.decode() for n in case.name_H.tolist()]
    slots, ranks, local = (np.split(a, edges) for a in (case.slot_R[order], order, case.local_R[order]))
    lines = [
        json.dumps({"host": n, "GPU": len(r), "slots": s.tolist(), "ranks": r.tolist(), "local_ranks": k.tolist()})
        for n, s, r, k in zip(names, slots, ranks, local, strict=True)
    ]
    joined = ",\n".join(lines)
    return f'{{"plan": "{case.digest}", "label": "{LABEL}", "bundles": [\n{joined}\n]}}\n'.encode()


def _driver(case: Case) -> bytes:
    return f'''# placement plan {case.digest}
"""Starts every rank of the plan in a bundle pinned to its host. Usage: python start.py PROGRAM [ARGUMENT...]"""

import json
import os
import subprocess
import sys
from pathlib import Path

PLAN = json.loads((Path(__file__).parent / "bundles.json").read_text())
WORLD, MASTER = {case.world}, "{case.master}"


def environments(number):
    """The environment of each rank of a bundle."""
    bundle = PLAN["bundles"][number]
    by_local = [slot for _, slot in sorted(zip(bundle["local_ranks"], bundle["slots"]))]
    shared = {{"WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": bundle["GPU"], "GROUP_RANK": number, "PLACEMENT_DIGEST": PLAN["plan"],
              "CUDA_VISIBLE_DEVICES": ",".join(map(str, by_local)),
              "MASTER_ADDR": os.environ.get("MASTER_ADDR", MASTER), "MASTER_PORT": os.environ.get("MASTER_PORT", "29500")}}
    return [{{k: str(v) for k, v in (shared | {{"RANK": rank, "LOCAL_RANK": local}}).items()}}
            for rank, local in zip(bundle["ranks"], bundle["local_ranks"])]


def bundles():
    """What `placement_group` takes: resources, and the label of the host, of every bundle."""
    return [{{"GPU": b["GPU"]}} for b in PLAN["bundles"]], [{{PLAN["label"]: b["host"]}} for b in PLAN["bundles"]]


def run_host(number, command):
    """All ranks of one bundle; the largest exit code."""
    children = [subprocess.Popen(command, env=os.environ | env) for env in environments(number)]
    return max(child.wait() for child in children)


def main(command):
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init(address="auto")
    resources, labels = bundles()
    group = placement_group(resources, strategy="SPREAD", bundle_label_selector=labels)
    ray.get(group.ready())
    task = ray.remote(num_cpus=0)(run_host)
    found = [
        task.options(
            num_gpus=b["GPU"],
            scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=i),
        ).remote(i, command)
        for i, b in enumerate(PLAN["bundles"])
    ]
    return max(ray.get(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
'''.encode()
