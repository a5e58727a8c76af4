# SPDX-License-Identifier: Apache-2.0
"""Papers: digests of inputs, of the plan and of its files; and the facts that plan.json repeats from the inputs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from placement.ir import Experts, Matmul, ModelGraph, Opaque, State, Vocab
from placement.verify.case import Case
from placement.verify.findings import Findings

_AGAIN = "the inputs have changed since the plan was made: run `placement plan` again"


def input_digests(case: Case, found: Findings) -> None:
    """The copies in inputs/ are the files that were compiled, and mean what was compiled."""
    stated = case.tree["inputs"]
    for name in sorted(stated):
        if sha256(case.plan.inputs[name]).hexdigest() != stated[name]:
            found.broken(f"`inputs/{name}` is not the file that the plan was made from", fix=_AGAIN)
    for name, value in (("cluster", case.cluster), ("model", case.model), ("efficiency", case.efficiency)):
        if value.digest() != case.tree[name]["digest"]:
            found.broken(f"the {name} is not the one that the plan was made from", fix=_AGAIN)
    found.detail = f"{len(stated)} files; cluster, model, efficiencies"


def job(case: Case, found: Findings) -> None:
    """The job of the plan is the job that was asked for, field by field."""
    asked = json.loads(json.dumps(dataclasses.asdict(case.job), default=list))
    asked["calibration"] = "efficiency.yaml" if case.job.calibration else None  # the copy in inputs/: no paths of a machine
    differences = sorted(_differences(case.tree["job"], asked, "job"))
    if differences:
        found.broken("the job is not the one that the plan was made for", objects=differences, fix=_AGAIN)
    found.detail = f"{len(asked)} fields"


def _differences(found: Any, expected: Any, path: str) -> list[str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        keys = sorted(set(found) | set(expected))
        return [d for k in keys for d in _differences(found.get(k), expected.get(k), f"{path}.{k}")]
    if isinstance(expected, float) and isinstance(found, int | float):
        return [] if abs(found - expected) <= 1e-9 * abs(expected) else [path]
    return [] if found == expected else [path]


def plan_digest(case: Case, found: Findings) -> None:
    """The digest covers plan.json (all but `digest` and `files`) and every table; plan.bin on disk is the file it names."""
    tree = {k: v for k, v in case.tree.items() if k not in ("digest", "files")}
    text = json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    whole = sha256(text.encode())
    for section, table in sorted(case.plan.bin.sections.items()):
        whole.update(f"{int(section)} {table.dtype.itemsize} {len(table)};".encode())
        whole.update(np.ascontiguousarray(table).tobytes())
    found.expect("`digest` in plan.json", case.tree["digest"], whole.hexdigest())
    found.expect("the digest of plan.bin", bytes(case.plan.bin.header["digest"]).hex(), whole.hexdigest())
    data = (case.plan.path / "plan.bin").read_bytes()
    stated = case.tree["files"]["plan.bin"]
    found.expect("`files.plan.bin.bytes`", stated["bytes"], len(data))
    found.expect("`files.plan.bin.sha256`", stated["sha256"], sha256(data).hexdigest())
    found.detail = whole.hexdigest()[:12]


def _parameters(model: ModelGraph) -> int:
    """Parameters of the model, operation by operation; what a pair of tied blocks shares counts once."""
    dense_Y, vocab_Y, expert_Y = [], [], []
    for block in model.types:
        vocab = sum(op.vocab * op.hidden for op in block.ops if isinstance(op, Vocab))
        matrices = sum(op.inp * op.out + (op.out if op.bias else 0) for op in block.ops if isinstance(op, Matmul))
        routers = sum(op.hidden * op.num for op in block.ops if isinstance(op, Experts))
        given = sum(op.params for op in block.ops if isinstance(op, Opaque))
        expert_Y.append(
            sum(op.num * (3 if op.gated else 2) * op.hidden * op.ffn for op in block.ops if isinstance(op, Experts))
        )
        dense_Y.append(block.norm_params + vocab + matrices + routers + given)
        vocab_Y.append(vocab)
    kinds = model.type_B.tolist()
    shared = [min(vocab_Y[kinds[a]], vocab_Y[kinds[b]]) or min(dense_Y[kinds[a]], dense_Y[kinds[b]]) for a, b in model.tied]
    return int(sum(dense_Y[k] + expert_Y[k] for k in kinds) - sum(shared))


def facts(case: Case, found: Findings) -> None:
    """What plan.json repeats of cluster and model is what they say."""
    cluster, model = case.cluster, case.model
    states = cluster.state_N.tolist()
    told = case.tree["cluster"]
    expected = {
        "name": cluster.name,
        "gpus": sum(1 for s in states if s != State.ABSENT) * cluster.gpus_per_node,
        "gpus_per_node": cluster.gpus_per_node,
        "nodes": {s.name.lower(): states.count(s) for s in State},
        "tiers": [t.name for t in cluster.tiers],
    }
    for name, value in expected.items():
        found.expect(f"`cluster.{name}` in plan.json", told[name], value)
    found.close("`cluster.hbm_bytes` in plan.json", told["hbm_bytes"], min(c.hbm_bytes for c in cluster.chips), 1e-9)
    for name, count in {"name": model.name, "layers": len(model.block_names), "parameters": _parameters(model)}.items():
        found.expect(f"`model.{name}` in plan.json", case.tree["model"][name], count)
    found.detail = f"{cluster.name}, {model.name}"
