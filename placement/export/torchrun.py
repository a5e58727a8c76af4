# SPDX-License-Identifier: Apache-2.0
"""torchrun: a node rank for every host, with static rendezvous.

torchrun permutes nodes only: RANK = node rank * processes a node + local rank. Its c10d rendezvous ignores `--node-rank` and
numbers nodes by their sorted names (pytorch#191190), so the script never uses it.
"""

from __future__ import annotations

import numpy as np

from placement.diag import Diagnostic, InputError
from placement.export.case import Case, Export
from placement.export.text import rows


def export(case: Case) -> Export:
    """`node_ranks.txt` and `start.sh`, to be run once on every host."""
    refuse_scattered(case, "torchrun")
    return Export({
        "README": case.readme(
            "on every host of node_ranks.txt: sh start.sh PROGRAM.py [ARGUMENT...] (NPROC and ports as torchrun has them).",
            "rendezvous is static: `--rdzv-backend c10d` ignores node ranks and numbers hosts by name. No restart on failure.",
        ),
        "node_ranks.txt": case.stamp() + rows(case.name_H, b" ", np.arange(case.hosts), b"\n"),
        "start.sh": _start(case),
    })  # fmt: skip


def refuse_scattered(case: Case, launcher: str) -> None:
    """Launchers that number hosts, and ranks of a host consecutively, can run nothing else. Raises InputError."""
    if not case.consecutive:
        message = f"{launcher} gives consecutive ranks to whole hosts, and this plan does not"
        way_out = "start one process a rank: `placement export DIR --to env`, or `--to slurm`"
        raise InputError([Diagnostic("export/scattered-ranks", message, help=way_out)])
    if not case.local_is_slot:
        message = f"{launcher} numbers local ranks itself, and on this plan they are not the GPU slots"
        way_out = "start placement-exec, which sets CUDA_VISIBLE_DEVICES: `placement export DIR --to env`"
        raise InputError([Diagnostic("export/local-order", message, help=way_out)])


def _start(case: Case) -> bytes:
    return f"""#!/bin/sh
# placement plan {case.digest}
# Starts torchrun on this host with the node rank of the plan. Usage: sh start.sh PROGRAM.py [ARGUMENT...]
here=$(cd "$(dirname "$0")" && pwd)
host=${{PLACEMENT_HOST:-$(hostname)}}
rank=$(awk -v host="$host" '$1 == host {{ print $2; exit }}' "$here/node_ranks.txt")
[ -n "$rank" ] || rank=$(awk -v host="${{host%%.*}}" '$1 == host {{ print $2; exit }}' "$here/node_ranks.txt")
if [ -z "$rank" ]; then
  echo "placement: $host is not in plan {case.digest[:16]}" >&2
  exit 68
fi
export PLACEMENT_DIGEST={case.digest}
exec torchrun --nnodes={case.hosts} --nproc-per-node={case.slots} --node-rank="$rank" --rdzv-backend=static \\
  --master-addr="${{MASTER_ADDR:-{case.master}}}" --master-port="${{MASTER_PORT:-29500}}" "$@"
""".encode()
