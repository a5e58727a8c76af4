# SPDX-License-Identifier: Apache-2.0
"""DATA: frozen dataclasses over read-only numpy arrays. Imports numpy and diag only."""

from placement.ir.cluster import Chip, Cluster, FabricDesign, State, Tier
from placement.ir.cost import MEMORY, PARTS, Certificate, Spans, StepCost, Term, Traffic, Witness, no_spans
from placement.ir.job import PRECISIONS, RECOMPUTE, SCHEDULES, SHARDING, Efficiency, Job, Optimizer, Software, Spares
from placement.ir.model import Attention, BlockType, Experts, Matmul, ModelGraph, Op, Opaque, Pointwise, Vocab
from placement.ir.plan import Candidate, Plan, Search
from placement.ir.run import CollectivePoint, MatmulPoint, Prior, Run
from placement.ir.scope import Confidence, Scope
from placement.ir.strategy import AXES, DEGREES, Placement, Stages, Strategy
from placement.ir.wired import Cables, Devices, Gpus, Hosts, Kind, Wired

__all__ = [
    "AXES", "DEGREES", "MEMORY", "PARTS", "PRECISIONS", "RECOMPUTE", "SCHEDULES", "SHARDING",
    "Attention", "BlockType", "Cables", "Candidate", "Certificate", "Chip", "Cluster", "CollectivePoint", "Confidence",
    "Devices", "Efficiency", "Experts", "FabricDesign", "Gpus", "Hosts", "Job", "Kind", "Matmul", "MatmulPoint",
    "ModelGraph", "Op", "Opaque", "Optimizer", "Placement", "Plan", "Pointwise", "Prior", "Run", "Scope", "Search",
    "Software", "Spans", "Spares", "Stages", "State", "StepCost", "Strategy", "Term", "Tier", "Traffic", "Vocab",
    "Wired", "Witness", "no_spans",
]  # fmt: skip
