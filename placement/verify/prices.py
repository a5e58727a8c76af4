# SPDX-License-Identifier: Apache-2.0
# P stage   T tier   R rank
"""Checks of everything that was predicted: memory, bytes by tier, seconds, baseline, bounds."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from placement.verify.case import Array, Case
from placement.verify.findings import Findings
from placement.verify.kernels import ELEMENT, precision_run
from placement.verify.links import boundary_load, following, members_together, shape, stage_pairs
from placement.verify.seconds import copies_of_token
from placement.verify.step import Pricing

CLOSE = 1e-6  # relative: the same formulas by definition, summed in another order


def memory(case: Case, found: Findings) -> None:
    """Every stage fits its GPUs with the margin that the job asks for, and the bytes are those derived here."""
    pricing, d = Pricing(case, case.node_R), case.degrees
    peak, at = 0.0, 0
    for p in range(d.pp):
        derived = pricing.memory(p)
        stated = case.tree["stages"][p]["memory_bytes"]
        total = math.fsum(derived.values())
        for kind, amount in derived.items():
            found.close(f"{kind} of stage {p}", stated[kind], amount, CLOSE, 1e-9 * total)
        nodes = np.unique(case.node_R[p * d.stage_ranks : (p + 1) * d.stage_ranks])
        smallest = min(case.cluster.chips[c].hbm_bytes for c in set(case.cluster.chip_N[nodes].tolist()))
        limit = smallest * (1.0 - case.job.memory_margin)
        if total > limit * (1.0 + 1e-9):
            found.broken(f"stage {p} needs {total:.4g} bytes of {limit:.4g} that the margin leaves")
        if total > peak:
            peak, at = total, p
    for which in ("predicted", "baseline"):  # where ranks sit changes nothing of the memory
        stated = case.tree[which]
        found.close(f"`{which}.peak_memory_bytes`", stated["peak_memory_bytes"], peak, CLOSE)
        found.close(f"the sum of `{which}.memory_bytes`", math.fsum(stated["memory_bytes"].values()), peak, CLOSE)
        found.expect(f"`{which}.fullest_stage`", stated["fullest_stage"], at)
        if stated["memory_bytes"] != case.tree["stages"][at]["memory_bytes"]:
            found.broken(f"`{which}.memory_bytes` is not the memory of stage {at}")
    found.detail = f"stage {at} is fullest: {peak / 1e9:.1f} GB"


def stage_bytes(pricing: Pricing) -> dict[str, list[float]]:
    """Bytes that one rank of each stage sends in a step, one direction, by axis."""
    case, d, o = pricing.case, pricing.case.degrees, pricing.case.job.optimizer
    m = d.num_microbatches
    element = ELEMENT[precision_run(case.job, pricing.machine.chip)]
    sent: dict[str, list[float]] = {axis: [0.0] * d.pp for axis in ("tp", "cp", "gtp", "dp", "pp", "etp", "ep", "egtp", "edp")}
    reduced = {
        "none": 2.0 * o.grad_reduce_bytes, "zero1": o.grad_reduce_bytes + o.param_gather_bytes,
        "zero2": m * o.grad_reduce_bytes + o.param_gather_bytes, "fsdp": m * (o.grad_reduce_bytes + 2.0 * o.param_gather_bytes),
    }[d.sharding]  # fmt: skip
    for chunk, kinds in enumerate(pricing.types_C):
        p = case.chunk_stage[chunk]
        for kind in kinds:
            layer, (dense, expert) = pricing.layer_Y[kind], pricing.params(kind)
            payload = {
                "tp": m * sum(layer.tp_bytes), "cp": m * sum(layer.cp_bytes), "etp": m * sum(layer.etp_bytes),
                "gtp": m * layer.dense * (2.0 * element + 2.0), "egtp": m * layer.expert * (2.0 * element + 2.0),
                "dp": dense * reduced, "edp": expert * reduced,
            }  # fmt: skip
            for axis, amount in payload.items():
                rings = {"dp": d.gtp, "edp": d.egtp}.get(axis, 1)  # of members that share weights, side by side
                n = shape(d, axis)[0] // rings
                sent[axis][p] += amount * rings * (n - 1) / n
            if layer.experts:
                copies = copies_of_token(d.ep, layer.experts.topk, layer.experts.num) * (d.ep - 1) / d.ep
                sent["ep"][p] += m * sum(layer.ep_bytes) * copies
    for c, (a, b) in enumerate(pairwise(case.chunk_stage), 1):
        if a != b:
            back = d.schedule in ("zb-v", "dualpipev")  # the second arm of a V sends over the pairs of the first
            sent["pp"][min(a, b) if back else a] += pricing.edge_bytes * pricing.width(c) * m
    return sent


def tier_bytes(case: Case, sent: dict[str, list[float]], node_R: Array) -> dict[str, dict[str, float]]:
    """Bytes of a step that leave groups of each tier with ranks on these nodes, by axis, rank by rank."""
    d, stage_R = case.degrees, case.coordinates["pp"]
    out: dict[str, dict[str, float]] = {}
    for axis, bytes_P in sent.items():
        size, _ = shape(d, axis)
        if size == 1 or not any(bytes_P):
            continue
        out[axis] = {}
        for tier in case.cluster.tiers:
            group_R = tier.group_N[node_R]
            if axis == "pp":
                pairs = {pair: bytes_P[pair[0]] for pair in stage_pairs(case)}
                away, back = boundary_load(case, group_R, tier.num_groups, pairs)
                total = float(away.sum() + back.sum())
            elif axis == "ep":
                outside_R = (size - members_together(d, axis, group_R)) / (size - 1)
                total = float((np.array(bytes_P)[stage_R] * outside_R).sum())
            else:
                leaves_R = group_R != group_R[following(d, axis)]
                total = float(np.array(bytes_P)[stage_R[leaves_R]].sum())
            out[axis][tier.name] = total
    return out


def traffic(case: Case, found: Findings) -> None:
    """Bytes by axis and tier, of the plan as it lies."""
    sent = stage_bytes(Pricing(case, case.node_R))
    _same_terms(case, found, sent)
    derived = tier_bytes(case, sent, case.node_R)
    _same_bytes(found, "predicted", case.tree["predicted"]["bytes_tier"], derived)
    default = tier_bytes(case, sent, case.default_node_R)
    _same_bytes(found, "baseline", case.tree["baseline"]["bytes_tier"], default)
    sums = {tier.name: math.fsum(axis[tier.name] for axis in derived.values()) for tier in case.cluster.tiers}
    found.detail = ", ".join(f"{name} {total:.4g} B" for name, total in sums.items())


def _same_terms(case: Case, found: Findings, sent: dict[str, list[float]]) -> None:
    """What one rank of each stage sends along each axis."""
    kinds = {"ep": "clique", "pp": "path"}
    wanted = {axis: bytes_P for axis, bytes_P in sent.items() if shape(case.degrees, axis)[0] > 1 and any(bytes_P)}
    stated = {term["axis"]: term for term in case.tree["traffic"]}
    if set(stated) != set(wanted) or len(stated) != len(case.tree["traffic"]):
        found.broken(f"`traffic` has the axes {sorted(stated)}, derived {sorted(wanted)}")
    for axis in sorted(set(stated) & set(wanted)):
        found.expect(f"the kind of `traffic` along {axis}", stated[axis]["kind"], kinds.get(axis, "ring"))
        for p, (given, amount) in enumerate(zip(stated[axis]["bytes_P"], wanted[axis], strict=True)):
            found.close(f"bytes that a rank of stage {p} sends along {axis}", given, amount, CLOSE, 1e-9 * max(wanted[axis]))


def _same_bytes(found: Findings, which: str, stated: dict[str, dict[str, float]], derived: dict[str, dict[str, float]]) -> None:
    whole = max((amount for tiers in derived.values() for amount in tiers.values()), default=0.0)
    for axis in sorted(set(stated) | set(derived)):
        for tier in sorted(set(stated.get(axis, {})) | set(derived.get(axis, {}))):
            given, wanted = stated.get(axis, {}).get(tier, 0.0), derived.get(axis, {}).get(tier, 0.0)
            found.close(f"`{which}.bytes_tier.{axis}.{tier}`", given, wanted, CLOSE, 1e-9 * whole)


def step_time(case: Case, found: Findings) -> None:
    """The predicted step and each of its parts."""
    derived = Pricing(case, case.node_R).derive()
    _same_cost(case, found, "predicted", derived.parts_s, derived.mfu)
    for p, busy in enumerate(derived.busy_s):
        found.close(f"`busy_s` of stage {p}", case.tree["stages"][p]["busy_s"], busy, CLOSE)
    found.detail = f"{derived.step_s:.6g} s derived, MFU {derived.mfu:.2%}"


def baseline(case: Case, found: Findings) -> None:
    """The same strategy in the launcher's default order: usable whole nodes by host name, ranks in order."""
    derived = Pricing(case, case.default_node_R).derive()
    _same_cost(case, found, "baseline", derived.parts_s, derived.mfu)
    found.detail = f"{derived.step_s:.6g} s derived"


def _same_cost(case: Case, found: Findings, which: str, parts_s: dict[str, float], mfu: float) -> None:
    stated, step_s = case.tree[which], math.fsum(parts_s.values())
    found.close(f"`{which}.step_time_s`", stated["step_time_s"], step_s, CLOSE)
    found.close(f"`{which}.mfu`", stated["mfu"], mfu, CLOSE)
    if set(stated["breakdown_s"]) != set(parts_s):
        found.broken(f"`{which}.breakdown_s` has the parts {sorted(stated['breakdown_s'])}")
    for name in sorted(set(parts_s) & set(stated["breakdown_s"])):
        found.close(f"`{which}.breakdown_s.{name}`", stated["breakdown_s"][name], parts_s[name], CLOSE, 1e-9 * step_s)


def bound(case: Case, found: Findings) -> None:
    """The bound on the step is no higher than the plan, and no lower bound derived here is above the plan.

    Derived: model FLOPs at the peak of the matmul precision, spread evenly over all ranks, no communication.
    """
    pricing, stated = Pricing(case, case.node_R), case.tree["bound"]
    step_s, bound_s = case.tree["predicted"]["step_time_s"], stated["step_time_s"]
    if not 0 <= bound_s <= step_s * (1.0 + 1e-9):
        found.broken(f"the bound {bound_s:.9g} s is not below the plan's {step_s:.9g} s")
    elif bound_s > 0:
        found.close("`bound.gap`", stated["gap"], step_s / bound_s - 1.0, 1e-6, 1e-8)
    if stated["proven"] and case.tree["search"]["stopped_by"]:
        found.broken(f"the plan says proven, but the search stopped early ({case.tree['search']['stopped_by']})")
    chip = pricing.machine.chip
    peak = max(chip.peak(precision_run(case.job, chip)), chip.peak("bf16"))
    model = case.model
    flops = sum(k.flop * 3.0 for kind in model.type_B.tolist() for k in pricing.layer_Y[kind].kernels if k.kind != "attention")
    least = flops * case.degrees.num_microbatches / case.degrees.pp / peak
    if step_s < least:
        found.broken(f"the plan's {step_s:.6g} s are less than {least:.6g} s of matmuls at peak")
    search = case.tree["search"]
    counts = [search["enumerated"], search["feasible"], search["scored"], *search["rejected"].values()]
    if min(counts) < 0 or search["feasible"] > search["enumerated"]:
        found.broken("the counts of the search cannot be: feasible above enumerated, or below zero")
    found.detail = f"{bound_s:.6g} s, gap {step_s / bound_s - 1:.3%}" if bound_s else "no bound"
