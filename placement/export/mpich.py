# SPDX-License-Identifier: Apache-2.0
"""MPICH and other MPIs with Hydra: host list and rank map, both arguments of one command.

Repeated lines in a host file would put the ranks on the right hosts but start one proxy a line, so that every MPI_LOCALRANKID
is 0 and every rank takes the first GPU. Hence `-hosts` with `-rankmap` (MPICH 5).
"""

from __future__ import annotations

from placement.diag import Diagnostic, InputError, Severity
from placement.export.case import Case, Export
from placement.export.text import MAX_ARGUMENT, rows


def export(case: Case) -> Export:
    """`hosts.txt`, `rankmap.txt` and `start.sh`. Raises InputError where one of them is too long for an argument."""
    hosts = rows(case.name_H, b":", case.ranks_H, b",")[:-1]
    rankmap = b"(vector," + rows(case.group_R, b",")[:-1] + b")"
    for what, text in (("rank map", rankmap), ("host list", hosts)):
        if len(text) > MAX_ARGUMENT:
            message = f"the {what} of {case.world} ranks has {len(text)} bytes, and one argument may have {MAX_ARGUMENT}"
            way_out = "Hydra ends near 26,000 ranks: use `--to slurm`, or `--to env` with placement-exec"
            raise InputError([Diagnostic("export/too-large", message, help=way_out)])
    files = {
        "README": case.readme(
            "sh start.sh PROGRAM [ARGUMENT...]; HYDRA_OPTIONS adds options of mpiexec.",
            "needs MPICH 5 (`-rankmap`); never repeat hosts in a host file, all local ranks would be 0.",
        ),
        "hosts.txt": hosts + b"\n",
        "rankmap.txt": rankmap + b"\n",
        "start.sh": _start(case),
    }
    return Export(files, () if case.local_is_slot else (_LOCAL,))


_LOCAL = Diagnostic(
    "export/needs-shim", "local ranks ascend with the rank, and on this plan they are not the GPU slots",
    Severity.WARNING, help="put placement-exec before the program: it sets CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def _start(case: Case) -> bytes:
    return f"""#!/bin/sh
# placement plan {case.digest}
# Usage: sh start.sh PROGRAM [ARGUMENT...]
here=$(cd "$(dirname "$0")" && pwd)
export PLACEMENT_DIGEST={case.digest} MASTER_ADDR="${{MASTER_ADDR:-{case.master}}}" MASTER_PORT="${{MASTER_PORT:-29500}}"
exec mpiexec.hydra -n {case.world} -hosts "$(cat "$here/hosts.txt")" -rankmap "$(cat "$here/rankmap.txt")" \\
  ${{HYDRA_OPTIONS-}} "$@"
""".encode()
