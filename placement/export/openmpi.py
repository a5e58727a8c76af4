# SPDX-License-Identifier: Apache-2.0
"""Open MPI 5: a rankfile through PRRTE's mapper, with binding off."""

from __future__ import annotations

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.export.case import Case, Export
from placement.export.text import rows

SLOW_RANKS = 12_000  # the map of 12,224 ranks takes 20 s, of 40,000 85 s (Open MPI 5.0.11, measured); it grows with the square


def export(case: Case) -> Export:
    """`rankfile`, `hostfile` and `start.sh`."""
    launch = "--map-by rankfile:file=rankfile --bind-to none"
    note = "Open MPI 5 (`--rankfile` is deprecated there); binding stays off, else it refuses shared slots."
    return made(case, launch, note)


def made(case: Case, launch: str, note: str) -> Export:
    """The files of either version; `launch`: options that impose the rankfile."""
    start = "sh start.sh PROGRAM [ARGUMENT...]; MPIRUN_OPTIONS adds options of mpirun."
    files = {
        "README": case.readme(start, note + " Inside a Slurm job mpirun takes only hosts of the allocation."),
        "rankfile": case.stamp() + rank_lines(case),
        "hostfile": case.stamp() + rows(case.name_H, b" slots=", case.ranks_H, b"\n"),
        "start.sh": _start(case, launch),
    }
    return Export(files, tuple(_warnings(case)))


def rank_lines(case: Case) -> bytes:
    """`rank N=host slot=0`: version 4 insists on `slot=`; with binding off its number only has to exist on the host."""
    return rows(b"rank ", np.arange(case.world), b"=", case.name_R, b" slot=0\n")


def _warnings(case: Case) -> list[Diagnostic]:
    found = []
    if case.world > SLOW_RANKS:
        found.append(Diagnostic(
            "export/slow-at-this-size", f"mpirun computes a map of {case.world} ranks for minutes to hours (85 s at 40,000, "
            "with the square of the ranks); nobody ran it at this size", Severity.WARNING,
            help="start with `--to slurm` or `--to env`: placement-exec finds the rank from the host",
        ))  # fmt: skip
    if not case.local_is_slot:
        found.append(Diagnostic(
            "export/needs-shim", "local ranks ascend with the rank, and on this plan they are not the GPU slots",
            Severity.WARNING, help="put placement-exec before the program: it sets CUDA_VISIBLE_DEVICES",
        ))  # fmt: skip
    return found


def _start(case: Case, launch: str) -> bytes:
    return f"""#!/bin/sh
# placement plan {case.digest}
# Usage: sh start.sh PROGRAM [ARGUMENT...]
wdir=$PWD
cd "$(dirname "$0")" || exit 1  # names without a path: Open MPI 5 takes the letters `pe` in a path for its PE option
export PLACEMENT_DIGEST={case.digest} MASTER_ADDR="${{MASTER_ADDR:-{case.master}}}" MASTER_PORT="${{MASTER_PORT:-29500}}"
exec mpirun -np {case.world} {launch} --hostfile hostfile --wdir "$wdir" \\
  -x PLACEMENT_DIGEST -x MASTER_ADDR -x MASTER_PORT ${{MPIRUN_OPTIONS-}} "$@"
""".encode()
