# SPDX-License-Identifier: Apache-2.0
# J group of a tier
"""Findings about a cluster that was read without errors: what its file warns of, and what its arrays show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.ir import Cluster, State


def validate(cluster: Cluster) -> tuple[Diagnostic, ...]:
    """Warnings and notes of a cluster, by position in its file first."""
    return (*cluster.findings, *_lost_domains(cluster))


def _lost_domains(cluster: Cluster) -> Iterator[Diagnostic]:
    """NVLink domains without one node that can run a rank, where that was not asked for (drained, absent, reserved)."""
    domain = cluster.tiers[0]
    alive_J = np.bincount(domain.group_N, weights=cluster.gpu_ok_NG.any(axis=1), minlength=domain.num_groups) > 0
    failed_J = np.bincount(domain.group_N, weights=cluster.state_N == State.FAILED, minlength=domain.num_groups) > 0
    names = cluster.domain_name_J[~alive_J & failed_J]
    if len(names):
        message = f"{len(names):,} NVLink domain{'s have' if len(names) > 1 else ' has'} no GPU in service"
        yield Diagnostic("topology/domain-lost", message, Severity.WARNING, objects=tuple(names[:100].tolist()))
