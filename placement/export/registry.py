# SPDX-License-Identifier: Apache-2.0
"""The targets, and what every export has whatever its target: the manifest and the atomic directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from pathlib import Path

from placement.export.case import Case, Export
from placement.ir import Cluster
from placement.runtime import LoadedPlan
from placement.runtime.atomic import replace_directory

FORMAT_VERSION = "1.0"
MANIFEST = "export.json"
TARGETS: Mapping[str, str] = {
    "slurm": "node list, segment, host file, batch script, topology.yaml",
    "openmpi": "rankfile for Open MPI 5",
    "openmpi4": "rankfile and host file for Open MPI 4",
    "mpich": "host list and rank map for Hydra",
    "torchrun": "node ranks for torchrun with static rendezvous",
    "env": "RANK, LOCAL_RANK and the rest for one process a rank (env://)",
    "megatron": "sizes, order and pipeline layout for Megatron-LM, Megatron-Core and Megatron-Bridge",
    "torchtitan": "degrees and the module names of every stage",
    "deepspeed": "host file, topology and partition weights",
    "jax": "process ids and an explicit mesh",
    "kubernetes": "JobSets with one job an NVLink domain, node labels, Kueue topology",
    "ray": "bundles with label selectors",
    "nccl": "variables of the whole job",
}

RANKS_ONLY = ("slurm", "openmpi", "openmpi4", "mpich", "torchrun", "env", "kubernetes", "ray")  # need no strategy


def export(target: str, plan: LoadedPlan, cluster: Cluster) -> Export:
    """The files of one target, manifest included. Raises InputError where the target cannot run this plan."""
    made: Export = import_module(f"placement.export.{target}").export(Case(plan, cluster))
    return Export({**made.files, MANIFEST: _manifest(target, plan, made)}, made.warnings)


def _manifest(target: str, plan: LoadedPlan, made: Export) -> bytes:
    tree = {
        "format_version": FORMAT_VERSION,
        "target": target,
        "plan": plan.digest,
        "files": {name: sha256(data).hexdigest() for name, data in made.files.items()},
        "warnings": [d.name for d in made.warnings],
    }
    return (json.dumps(tree, indent=2, sort_keys=True) + "\n").encode()


def write_export(made: Export, out: Path) -> None:
    """Write the directory whole or not at all; an earlier export there is replaced. Raises InputError."""
    replace_directory(out, made.files, {*made.files, *_owned(out)}, mark=MANIFEST, what="export")


def _owned(out: Path) -> set[str]:
    """Files of the export that is at `out` already."""
    try:
        tree = json.loads((out / MANIFEST).read_bytes())
        return {MANIFEST, *tree["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
