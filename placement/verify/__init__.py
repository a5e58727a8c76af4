# SPDX-License-Identifier: Apache-2.0
"""REFEREE: re-derives every claim of a plan from the inputs, with plain code that shares nothing with the compiler."""

from __future__ import annotations

from placement.ir import Cluster, Efficiency, Job, ModelGraph
from placement.verify import certificate, groups, papers, prices, ranks, stages, surety, world
from placement.verify.case import Case, Plan
from placement.verify.findings import Check, Rule, Verification, run

__all__ = ["CHECKS", "Check", "Verification", "verify"]

CHECKS: dict[str, Rule] = {
    "input-digests": papers.input_digests,
    "job": papers.job,
    "plan-digest": papers.plan_digest,
    "facts": papers.facts,
    "world-size": world.world_size,
    "global-batch": world.batch,
    "divisibility": world.divisibility,
    "choices": world.choices,
    "strategy-record": world.strategy_record,
    "bijection": ranks.bijection,
    "healthy-gpus": ranks.health,
    "whole-nodes": ranks.whole_nodes,
    "spares": ranks.spares,
    "coordinates": ranks.coordinates,
    "hosts": ranks.hosts,
    "local-ranks": ranks.local_ranks,
    "names": ranks.names,
    "communicators": groups.communicators,
    "domains": groups.domains,
    "rails": groups.rails,
    "stage-cover": stages.cover,
    "stage-tables": stages.tables,
    "throughput": world.throughput,
    "memory": prices.memory,
    "traffic": prices.traffic,
    "step-time": prices.step_time,
    "uncertainty": surety.uncertainty,
    "baseline": prices.baseline,
    "bound": prices.bound,
    "certificate": certificate.certificate,
}


def verify(loaded: Plan, cluster: Cluster, model: ModelGraph, job: Job, efficiency: Efficiency) -> Verification:
    """Check a plan that was read (`placement.load_plan`) against its inputs. Every broken rule is reported, not the first."""
    case = Case(loaded, cluster, model, job, efficiency)
    checks, diagnostics = [], []
    for name, rule in CHECKS.items():
        check, problems = run(name, rule, case)
        checks.append(check)
        diagnostics += problems
    return Verification(tuple(checks), tuple(diagnostics))
