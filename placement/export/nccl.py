# SPDX-License-Identifier: Apache-2.0
# R rank   Q communicator   M member
"""NCCL: a few variables for the whole job, none for a rank.

NCCL has no knob for order but the rank in the communicator: it numbers nodes by first appearance and closes rings n -> n+1, so
the placement itself is the order. What can be said is which adapters to use and how rings cross rails.
"""

from __future__ import annotations

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.export.case import Case, Export
from placement.runtime import Section


def export(case: Case) -> Export:
    """`nccl.env` (for `set -a; . nccl.env`) and `nccl.conf` (NCCL_CONF_FILE), of equal content."""
    text = _variables(case)
    return Export({
        "README": case.readme(
            "export NCCL_CONF_FILE=/shared/nccl.conf for every rank, or set -a; . ./nccl.env; set +a before the launcher.",
            "job-wide only. If containers share a host name set NCCL_HOSTID to the node's name in each of them.",
        ),
        "nccl.env": text,
        "nccl.conf": text,
    }, tuple(_warnings(case)))  # fmt: skip


def _variables(case: Case) -> bytes:
    nics = [name.decode() for name in case.plan.bin.name_column(case.plan.bin[Section.NICS]).tolist()]
    lines = ["# Adapters of the plan's rails; `=` in front: these names and no others.", f"NCCL_IB_HCA=={','.join(nics)}"]
    if len(nics) > 1 and case.cluster.rails_connected:
        lines += ["# Rails: rings and trees stay on the adapter of their GPU between nodes.", "NCCL_CROSS_NIC=0"]
    if len(np.unique(case.domain_H)) < case.hosts:
        lines += ["# NVLink domains of several hosts: found by itself (2), said here so that nobody turns it off.",
                  "NCCL_MNNVL_ENABLE=2"]  # fmt: skip
    return case.stamp() + ("\n".join(lines) + "\n").encode()


def _warnings(case: Case) -> list[Diagnostic]:
    found = []
    if not case.cluster.rails_connected:
        found.append(Diagnostic("export/rails-apart", "the rails are not connected, and NCCL hung with NCCL_CROSS_NIC=0 on "
                                "such a fabric: it is not set", Severity.WARNING, help="test with nccl-tests"))  # fmt: skip
    torn = [axis for axis in ("cp", "ep", "dp", "edp") if _returns(case, axis)]
    if torn:
        found.append(Diagnostic("export/ring-order", f"communicators of {', '.join(torn)} leave an NVLink domain and come back "
                                "to it, so that NCCL's rings cross the network more often than there are domains",
                                Severity.WARNING, help="`placement show DIR groups` has the axes by domain"))  # fmt: skip
    return found


def _returns(case: Case, axis: str) -> bool:
    """Whether a communicator visits some NVLink domain twice in the order of its members."""
    if case.strategy.size(axis) < 3:
        return False
    domain_QM = case.domain_H[case.group_R][case.strategy.groups(axis)]
    visits_Q = (np.diff(domain_QM, axis=1) != 0).sum(axis=1)
    distinct_Q = (np.diff(np.sort(domain_QM, axis=1), axis=1) != 0).sum(axis=1)
    return bool((visits_Q > distinct_Q).any())
