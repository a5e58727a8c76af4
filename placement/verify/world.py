# SPDX-License-Identifier: Apache-2.0
"""Sizes: what the degrees multiply to, what they must divide, and what the job asked for."""

from __future__ import annotations

import math

from placement.ir import SCHEDULES, SHARDING, Attention, Experts, Matmul
from placement.verify.case import RANKS, STAGES, STRATEGY, Case
from placement.verify.findings import Findings
from placement.verify.rules import broken_by


def world_size(case: Case, found: Findings) -> None:
    """Tp * cp * dp * pp ranks, in plan.json, in plan.bin and in its tables; no more than the job allows."""
    d, header = case.degrees, case.plan.bin.header
    found.expect("`world_size` in plan.json", case.tree["world_size"], d.world)
    found.expect("`world_size` of plan.bin", int(header["world_size"]), d.world)
    found.expect("the number of rank records", len(case.table(RANKS)), d.world)
    found.expect("`num_stages` of plan.bin", int(header["num_stages"]), d.pp)
    found.expect("the number of stage records", len(case.table(STAGES)), d.pp)
    usable = int(case.cluster.usable_NG.sum())
    limit = min(usable, case.job.max_gpus or usable)
    if d.world > limit:
        found.broken(f"the job runs on {d.world:,} GPUs, at most {limit:,} may be used")
    found.expect("`cluster.usable_gpus` in plan.json", case.tree["cluster"]["usable_gpus"], usable)
    found.detail = f"{d.world:,} = tp {d.tp} x cp {d.cp} x dp {d.dp} x pp {d.pp}, of {usable:,} usable"


def batch(case: Case, found: Findings) -> None:
    """The global batch is the one that was asked for."""
    d = case.degrees
    done = d.dp * d.micro_batch * d.num_microbatches
    if done != case.job.global_batch:
        found.broken(
            f"dp {d.dp} x micro batch {d.micro_batch} x {d.num_microbatches} = {done} sequences, not {case.job.global_batch}"
        )
    row = case.table(STRATEGY)[0]
    found.expect("`global_batch` of plan.bin", int(row["global_batch"]), case.job.global_batch)
    found.expect("`seq_len` of plan.bin", int(row["seq_len"]), case.job.seq_len)
    found.detail = f"{case.job.global_batch:,} sequences = dp {d.dp} x {d.micro_batch} x {d.num_microbatches}"


def divisibility(case: Case, found: Findings) -> None:
    """Every degree divides what it splits."""
    d, job = case.degrees, case.job
    rules = [("gtp", d.gtp, "dp", d.dp), ("egtp", d.egtp, "edp", d.edp), ("cp x tp", d.cp * d.tp, "the sequence", job.seq_len)]
    for block in case.model.types:
        for op in block.ops:
            if isinstance(op, Experts):
                rules.append(("ep", d.ep, f"the experts of `{block.name}`", op.num))
                rules.append(("etp", d.etp, f"the expert width of `{block.name}`", op.ffn))
            elif isinstance(op, Attention) and block.span is None:
                rules.append(("tp", d.tp, f"the heads of `{block.name}`", op.heads))
                rules.append(("the smaller of tp and KV heads", min(d.tp, op.kv_heads), "the larger", max(d.tp, op.kv_heads)))
            elif isinstance(op, Matmul) and op.shard != "none" and block.span is None:
                rules.append(("tp", d.tp, f"the width of `{block.name}`", op.out if op.shard == "col" else op.inp))
    for name, degree, what, size in dict.fromkeys(rules):
        if size % degree:
            found.broken(f"{name} {degree} does not divide {what} {size}")
    if d.pp * d.vpp > case.model.num_blocks:
        found.broken(f"{d.pp} stages x {d.vpp} chunks are more than the {case.model.num_blocks} blocks of the model")
    if d.ep > 1 and not case.model.is_moe:
        found.broken(f"ep is {d.ep} for a model without experts")
    found.detail = f"{len(rules)} divisions"


def choices(case: Case, found: Findings) -> None:
    """Schedule, recompute, sharding and pinned degrees are among those that the job allows."""
    d, job = case.degrees, case.job
    modes = {stage["recompute"] for stage in case.tree["stages"]}
    for name, given, allowed in (
        ("schedule", {d.schedule}, job.schedules),
        ("recompute", modes, job.recompute),
        ("sharding", {d.sharding}, job.sharding),
    ):
        if not given <= set(allowed):
            found.broken(f"{name} {', '.join(sorted(given - set(allowed)))} is not allowed by the job ({', '.join(allowed)})")
    virtual = {"zb-v": d.vpp == 2, "dualpipev": d.vpp == 2, "interleaved": d.vpp > 1}.get(d.schedule, d.vpp == 1)
    if not virtual:
        found.broken(f"schedule {d.schedule} cannot have {d.vpp} chunks a stage")
    known = vars(d) | {"world_size": d.world, "edp": d.edp}
    for name, value in sorted(job.pins.items()):
        if name in known and str(known[name]) != str(value) and not (name == "recompute" and modes == {str(value)}):
            found.broken(f"`{name}` is pinned to {value}, the plan has {known[name]}")
    unread = sorted(set(job.pins) - set(known))
    found.detail = f"{len(job.pins)} pins" + (f", not looked at: {', '.join(unread)}" if unread else "")


def strategy_record(case: Case, found: Findings) -> None:
    """The strategy record of plan.bin is the strategy of plan.json."""
    d, row = case.degrees, case.table(STRATEGY)[0]
    for name, value in (vars(d) | {"edp": d.edp}).items():
        codes = {"schedule": SCHEDULES, "sharding": SHARDING, "recompute": ("none", "selective", "full")}.get(name)
        expected = codes.index(value) if codes else value
        found.expect(f"`{name}` of the strategy record", int(row[name]), expected)
    found.expect("`num_planes` of the strategy record", int(row["num_planes"]), case.cluster.num_planes)
    found.expect("`num_rails` of the strategy record", int(row["num_rails"]), int(case.cluster.rail_G.max()) + 1)
    found.close("`step_s` of the strategy record", float(row["step_s"]), float(case.tree["predicted"]["step_time_s"]), 1e-9)
    found.detail = f"{len(vars(d)) + 3} fields"


def throughput(case: Case, found: Findings) -> None:
    """Tokens per second and the parts of a step follow from the step time; the baseline too."""
    d, job = case.degrees, case.job
    for which in ("predicted", "baseline"):
        cost = case.tree[which]
        step_s = float(cost["step_time_s"])
        if not (math.isfinite(step_s) and step_s > 0):
            found.broken(f"`{which}.step_time_s` is {step_s}")
            continue
        parts = cost["breakdown_s"]
        found.close(f"the sum of `{which}.breakdown_s`", math.fsum(parts.values()), step_s, 1e-8)
        if low := sorted(k for k, v in parts.items() if v < 0):
            found.broken(f"parts of `{which}.breakdown_s` are negative", objects=low)
        tokens = job.global_batch * job.seq_len / (step_s * d.world)
        found.close(f"`{which}.tokens_per_s_per_gpu`", cost["tokens_per_s_per_gpu"], tokens, 1e-8)
    gain = case.tree["baseline"]["step_time_s"] / case.tree["predicted"]["step_time_s"] - 1
    repaired = case.tree["search"]["stopped_by"] == "repair"  # which moves as little as it can
    if gain < -1e-9 and not repaired and not broken_by(case, case.default_node_R):
        found.broken(f"the plan is {-gain:.3%} slower than the launcher's default order, which keeps the same rules")
    found.detail = f"default order is {gain:+.2%} slower"
