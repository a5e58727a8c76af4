# SPDX-License-Identifier: Apache-2.0
# B block   C chunk   P stage
"""The cut of the model: each block once, in topological order, told alike by every table."""

from __future__ import annotations

from placement.ir import RECOMPUTE
from placement.verify.case import CHUNKS, LAYERS, RANKS, STAGES, Case
from placement.verify.findings import Findings
from placement.verify.hostlist import unfold


def cover(case: Case, found: Findings) -> None:
    """Chunks hold every block of the model exactly once, none is empty, and no edge runs backwards."""
    chunk_B, d = case.chunk_B.tolist(), case.degrees
    if len(chunk_B) != case.model.num_blocks:
        found.broken(f"the plan places {len(chunk_B)} blocks, the model has {case.model.num_blocks}")
        return
    if bad := [case.model.block_names[b] for b, c in enumerate(chunk_B) if c >= d.pp * d.vpp]:
        found.broken(f"blocks sit in chunks that {d.pp} stages of {d.vpp} chunks do not have", objects=bad)
        return
    if empty := [c for c in range(d.pp * d.vpp) if c not in set(chunk_B)]:
        found.broken("chunks hold no block", objects=empty)
    name = case.model.block_names
    back = [
        (i, j) for i, j in zip(case.model.src_E.tolist(), case.model.dst_E.tolist(), strict=True) if chunk_B[i] > chunk_B[j]
    ]
    if back:
        found.broken("edges of the model run to an earlier chunk", objects=[f"{name[i]} -> {name[j]}" for i, j in back])
    if gaps := [name[b] for b in range(1, len(chunk_B)) if chunk_B[b] < chunk_B[b - 1]]:
        found.broken("chunks are not in the order of the blocks", objects=gaps)
    stated = [layer for stage in case.tree["stages"] for chunk in stage["chunks"] for layer in chunk["layers"]]
    if sorted(stated) != sorted(name):
        missing, extra = sorted(set(name) - set(stated)), sorted(set(stated) - set(name))
        found.broken(f"plan.json does not list every block once (missing {missing[:5]}, unknown {extra[:5]})")
    found.detail = f"{len(chunk_B)} blocks in {d.pp * d.vpp} chunks, {len(case.model.src_E)} edges forward"


def tables(case: Case, found: Findings) -> None:
    """Layers, chunks and stages of plan.bin and plan.json agree with each other and with the model."""
    chunk_stage, chunk_B = case.chunk_stage, case.chunk_B.tolist()
    model = case.model
    for b, row in enumerate(case.table(LAYERS)):
        told = (int(row["layer"]), int(row["stage"]), int(row["type"]), case.name(row), case.name(row, "type_name"))
        kind = int(model.type_B[b])
        found.expect(
            f"layer record {b}", told, (b, chunk_stage[chunk_B[b]], kind, model.block_names[b], model.types[kind].name)
        )
    seen: dict[int, int] = {}
    for c, row in enumerate(case.table(CHUNKS)):
        inside = [b for b, chunk in enumerate(chunk_B) if chunk == c]
        stage = chunk_stage[c]
        derived = (c, stage, seen.get(stage, 0), inside[0] if inside else -1, len(inside))
        seen[stage] = seen.get(stage, 0) + 1
        record = tuple(int(row[k]) for k in ("chunk", "stage", "virtual_stage", "first_layer", "num_layers"))
        found.expect(f"chunk record {c}", record, derived)
    _stages(case, found)
    found.detail = f"{len(case.table(STAGES))} stages, {len(case.table(CHUNKS))} chunks, {len(chunk_B)} layers"


def _stages(case: Case, found: Findings) -> None:
    d, chunk_B, chunk_stage = case.degrees, case.chunk_B.tolist(), case.chunk_stage
    hosts = [set(case.node_R[p * d.stage_ranks : (p + 1) * d.stage_ranks].tolist()) for p in range(d.pp)]
    found.expect("the number of stages in plan.json", len(case.tree["stages"]), d.pp)
    found.expect("the number of chunk records", len(case.table(CHUNKS)), d.pp * d.vpp)
    if bool((case.table(RANKS)["stage"] != case.coordinates["pp"]).any()):
        found.broken("ranks name a stage that is not their pp coordinate")
    for p, (row, stage) in enumerate(zip(case.table(STAGES), case.tree["stages"], strict=True)):
        own = [c for c in range(d.pp * d.vpp) if chunk_stage[c] == p]
        layers = [[case.model.block_names[b] for b, chunk in enumerate(chunk_B) if chunk == c] for c in own]
        told = [(c["chunk"], c["layers"]) for c in stage["chunks"]]
        if told != list(zip(own, layers, strict=True)):
            found.broken(f"chunks of stage {p} in plan.json differ from plan.bin")
        record = (int(row["stage"]), int(row["num_chunks"]), int(row["num_layers"]))
        found.expect(f"stage record {p}", record, (p, len(own), sum(len(names) for names in layers)))
        found.expect(f"`stage` of entry {p} in plan.json", stage["stage"], p)
        code = int(row["recompute"])
        found.expect(f"recompute of stage {p}", RECOMPUTE[code] if code < len(RECOMPUTE) else code, stage["recompute"])
        found.close(f"memory of stage record {p}", float(row["memory_bytes"]), sum(stage["memory_bytes"].values()), 1e-8)
        found.close(f"`busy_s` of stage record {p}", float(row["busy_s"]), stage["busy_s"], 1e-8)
        _hosts(case, found, p, stage["hosts"], hosts[p])


def _hosts(case: Case, found: Findings, stage: int, text: str, nodes: set[int]) -> None:
    stated, expected = set(unfold(text)), {str(case.cluster.host_N[n]) for n in nodes}
    if stated != expected:
        found.broken(f"hosts of stage {stage} in plan.json are not those of its ranks", objects=sorted(stated ^ expected))
