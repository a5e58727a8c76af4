# SPDX-License-Identifier: Apache-2.0
"""Open MPI 4: rankfile and host file. A host file alone is not enough: mpirun moves its own host to the front."""

from __future__ import annotations

from placement.export.case import Case, Export
from placement.export.openmpi import made


def export(case: Case) -> Export:
    """`rankfile`, `hostfile` and `start.sh`."""
    return made(case, "--rankfile rankfile --bind-to none", "Open MPI 4; for version 5 use `--to openmpi`.")
