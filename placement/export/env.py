# SPDX-License-Identifier: Apache-2.0
# R rank   H host
"""One process a rank with RANK and the rest in its environment (`env://`): any map, any starter."""

from __future__ import annotations

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.export.case import Case, Export
from placement.export.text import rows

_LARGE = 20_000  # ranks; above it a table of text is slow to read on every host


def export(case: Case) -> Export:
    """`ranks.tsv` (host, slot, rank, local rank, local size, host number), and `start.sh`, to be run once on every host."""
    return Export({
        "README": case.readme(
            "on every host: sh start.sh PROGRAM [ARGUMENT...], or placement-exec --all-local PLAN PROGRAM [ARGUMENT...].",
            "where LOCAL_RANK is not the GPU slot, CUDA_VISIBLE_DEVICES lists the slots in the order of local ranks.",
        ),
        "ranks.tsv": case.stamp() + _table(case),
        "start.sh": _start(case),
    }, tuple(_warnings(case)))  # fmt: skip


def _table(case: Case) -> bytes:
    order = np.lexsort((case.slot_R, case.group_R))
    group = case.group_R[order]
    cells = [case.name_R[order], case.slot_R[order], order, case.local_R[order], case.ranks_H[group], group]
    columns = [part for cell in cells for part in (cell, b"\t")][:-1]
    return b"# host\tslot\trank\tlocal_rank\tlocal_size\tgroup_rank\n" + rows(*columns, b"\n")


def _warnings(case: Case) -> list[Diagnostic]:
    if case.world <= _LARGE:
        return []
    message = f"every host reads a text table of {case.world} ranks"
    return [Diagnostic("export/needs-shim", message, Severity.WARNING, help="placement-exec finds its rank in 2 ms: use it")]


def _start(case: Case) -> bytes:
    devices = "" if case.local_is_slot else 'export CUDA_VISIBLE_DEVICES=$(sort -n -k4 "$mine" | cut -f2 | paste -sd, -)\n'
    return f"""#!/bin/sh
# placement plan {case.digest}
# Starts every rank of this host. Usage: sh start.sh PROGRAM [ARGUMENT...]
here=$(cd "$(dirname "$0")" && pwd)
host=${{PLACEMENT_HOST:-$(hostname)}}
mine=$(mktemp) && trap 'rm -f "$mine"' EXIT
awk -F '\\t' -v host="$host" '$1 == host' "$here/ranks.tsv" > "$mine"
[ -s "$mine" ] || awk -F '\\t' -v host="${{host%%.*}}" '$1 == host' "$here/ranks.tsv" > "$mine"
if [ ! -s "$mine" ]; then
  echo "placement: $host is not in plan {case.digest[:16]}" >&2
  exit 68
fi
export WORLD_SIZE={case.world} GROUP_WORLD_SIZE={case.hosts} PLACEMENT_DIGEST={case.digest}
export MASTER_ADDR="${{MASTER_ADDR:-{case.master}}}" MASTER_PORT="${{MASTER_PORT:-29500}}"
{devices}pids=
while IFS="$(printf '\\t')" read -r name slot rank local size group; do
  RANK=$rank LOCAL_RANK=$local LOCAL_WORLD_SIZE=$size GROUP_RANK=$group "$@" < /dev/null &
  pids="$pids $!"
done < "$mine"
trap 'kill $pids 2> /dev/null' INT TERM
code=0
for pid in $pids; do
  wait "$pid" || code=$?
done
exit "$code"
""".encode()
