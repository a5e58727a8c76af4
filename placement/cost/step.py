# SPDX-License-Identifier: Apache-2.0
# P pipeline stage   C chunk   B block   Y block type   D = (forward, backward-input, backward-weight)   ... any leading shape
"""Cost of a whole training step: simulated pipeline, gradient reduction, optimizer, fixed overheads; parts sum to the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from placement.cost import collectives as net
from placement.cost.context import Context, context
from placement.cost.crossings import chunk_boundaries
from placement.cost.flops import flops_per_token
from placement.cost.hardware import Hardware
from placement.cost.host import later
from placement.cost.layers import LayerCost
from placement.cost.memory import boundary_widths, stage_memory
from placement.cost.pipeline import Timeline, least_timeline, simulate
from placement.cost.price import overlapped
from placement.cost.schedules import first_half
from placement.ir import PARTS, RECOMPUTE, SHARDING, Efficiency, Job, ModelGraph, Optimizer, Spans, Stages, StepCost, Strategy
from placement.ir._array import Floats, Ints

BUCKET_PARAMS = 40e6  # Megatron's gradient buckets: max(40M, 1M x data-parallel size) parameters (distributed_data_parallel.py)


def dp_s(
    job: Job, hw: Hardware, eff: Efficiency, *, dense_params: Floats | float, expert_params: Floats | float, dp_cp: Ints | int,
    edp: Ints | int, sharding: str | Ints, spans: Spans, busy_s: Floats | float, windows: Floats | float = 1.0,
    num_microbatches: Ints | int = 1, host_s: Floats | float = 0.0,
) -> Floats:  # fmt: skip
    """Seconds of gradient reduction and parameter gathering that no compute hides, in one step.

    `dense_params`, `expert_params` held by one GPU; `dp_cp`, `edp` sizes of the groups that reduce them; `sharding` a name or
    indices into SHARDING; `busy_s` of one microbatch on the stage, `host_s` of its host under FSDP; `windows` of `dp_windows`.
    All broadcast together, spans (..., A, T).
    """
    return dp_seconds(
        context(job, hw), eff, job.optimizer.grad_reduce_bytes, job.optimizer.param_gather_bytes,
        np.asarray(dense_params, float), np.asarray(expert_params, float), np.asarray(dp_cp, float), np.asarray(edp, float),
        np.asarray(SHARDING.index(sharding) if isinstance(sharding, str) else sharding), spans, np.asarray(busy_s, float),
        np.asarray(windows, float), np.asarray(num_microbatches, float), np.asarray(host_s, float),
    )  # fmt: skip


def dp_seconds(
    c: Context, eff: Efficiency, grad_bytes: Floats | float, gather_bytes: Floats | float, dense: Floats, expert: Floats,
    dp_cp: Floats, edp: Floats, sharding: Ints, spans: Spans, busy_s: Floats, windows: Floats, microbatches: Floats,
    host_s: Floats,
) -> Floats:  # fmt: skip
    """`dp_s` over scenarios.

    none, zero1: once a step, behind the last backward pass and the next forward pass, and never behind more compute than the
    step has. zero2 scatters gradients of every microbatch; fsdp also gathers weights twice a microbatch (forward and
    backward), behind the neighbouring layers.
    """
    reduce_s, gather_s = (all_params_s(c, eff, b, dense, expert, dp_cp, edp, spans) for b in (grad_bytes, gather_bytes))
    return shown_s(c, eff, reduce_s, gather_s, sharding, busy_s, windows, microbatches, host_s)


def shown_s(
    c: Context, eff: Efficiency, reduce_s: Floats, gather_s: Floats, sharding: Ints, busy_s: Floats, windows: Floats,
    microbatches: Floats | Ints, host_s: Floats | float = 0.0,
) -> Floats:  # fmt: skip
    """What shows of gradients that take `reduce_s` to scatter and parameters that take `gather_s`; see `dp_seconds`.

    Under FSDP also what the GPU waits for a host that needs `host_s` for a microbatch and its hooks.
    """

    def once() -> Floats:
        window_s = np.minimum(eff["dp_window"] * windows, microbatches) * busy_s
        shown = overlapped(reduce_s + gather_s, window_s, eff["dp_floor"])
        return np.asarray(c.naive * (reduce_s + gather_s) + (1.0 - c.naive) * shown)

    def scattered() -> Floats:
        shown = overlapped(reduce_s, np.minimum(eff["dp_window"], 1.0) * busy_s, eff["dp_floor"])
        return np.asarray(microbatches * shown + eff["dp_floor"] * gather_s)

    def sharded() -> Floats:
        floor = np.where(c.composer, eff["fsdp_floor_composer"], eff["fsdp_floor"])
        shown = overlapped(reduce_s + 2.0 * gather_s, eff["fsdp_window"] * busy_s, floor)
        return np.asarray(microbatches * (later(busy_s + shown, np.asarray(host_s)) - busy_s))

    ways = ((sharding <= 1, once), (sharding == 2, scattered), (sharding > 2, sharded))
    asked = [(which, seconds()) for which, seconds in ways if np.any(which)] or [(ways[0][0], once())]
    return np.asarray(np.select([which for which, _ in asked], [seconds for _, seconds in asked]))


def all_params_s(
    c: Context, eff: Efficiency, element_bytes: Floats | float, dense: Floats, expert: Floats, dp_cp: Floats, edp: Floats,
    spans: Spans,
) -> Floats:  # fmt: skip
    """Seconds to scatter or gather every parameter of a GPU once over its data-parallel groups, alone on the network."""
    links = net.Links(c.nvlink_Bps, c.nic_Bps, c.domain, c.nvls.astype(float), (c.generation == 2).astype(float))
    own = _group_s(links, eff, spans, dense, dp_cp, element_bytes, "dp")
    return np.asarray(own + _group_s(links, eff, spans, expert, edp, element_bytes, "edp"))


def dp_windows(pp: Ints | Floats | int, vpp: Ints | Floats | int) -> Floats:
    """Microbatches of compute that gradient traffic can hide behind: one, and with interleaving most of the drain.

    The last backward pass of the last chunk of a stage comes pp (vpp - 1) / vpp microbatches before that of its first one.
    """
    return np.asarray(1.0 + (np.asarray(pp) - 1.0) * (np.asarray(vpp) - 1.0) / np.asarray(vpp))


def _group_s(
    links: net.Links, eff: Efficiency, spans: Spans, params: Floats, size: Floats, element_bytes: Floats | float, axis: str
) -> Floats:
    """Seconds of one gather or scatter of all parameters over a data-parallel group. The dense one joins dp and cp.

    Weights sharded over `gtp` (`egtp`) consecutive members make as many rings, of every gtp-th member each: fewer members of a
    ring in a group, and as many rings that leave it.
    """
    members, ring, _ = spans.axis(axis)
    shards = spans.axis("gtp" if axis == "dp" else "egtp")[0][..., -1:]  # all of them lie in the outermost tier
    members, ring = np.maximum(np.floor(members / shards), 1.0), ring * shards
    if axis == "dp":
        local, across, _ = spans.axis("cp")
        joined = np.where(ring > 0, ring / np.maximum(local, 1.0), across / np.maximum(members, 1.0))
        members, ring = np.minimum(members * local, size[..., None]), joined
    members = np.minimum(members, np.maximum(size, 1.0)[..., None])
    buckets = np.maximum(1.0, params / np.maximum(BUCKET_PARAMS, 1e6 * size))
    start = net.ring_start_s(eff, size, members)
    payload, hop = params * element_bytes, spans.hops(axis)
    seconds = net.ring_s(links, eff, size, members, ring, payload, hop) + (buckets - 1.0) * start
    return np.asarray(np.where(params > 0, seconds, 0.0))


def optimizer_s(
    job: Job, hw: Hardware, eff: Efficiency, *, dense_params: Floats | float, expert_params: Floats | float,
    shard_dense: Ints | int, shard_expert: Ints | int,
) -> Floats:  # fmt: skip
    """Seconds of the optimizer: memory traffic of the states that one GPU updates."""
    updated = np.asarray(dense_params, float) / shard_dense + np.asarray(expert_params, float) / shard_expert
    return np.asarray(eff["optimizer"] * updated * update_bytes(job.optimizer) / hw.chip.hbm_Bps)


def update_bytes(optimizer: Optimizer) -> float:
    """Bytes per parameter: read and write the states, read and clear the gradient, write the bf16 weight."""
    return 2.0 * optimizer.state_bytes + 2.0 * optimizer.grad_bytes + 2.0


def overhead_s(
    job: Job,
    hw: Hardware,
    eff: Efficiency,
    *,
    world_size: Ints | int,
    num_microbatches: Ints | int,
    busy_s: Floats | float = 0.0,
    expert_groups: Ints | int = 1,
) -> Floats:
    """What every step pays: host work, gradient norm, data, and the slowest of many GPUs.

    `busy_s` seconds of the step without it. Stragglers cost a share that grows with the logarithm of the world size, and
    expert groups (`expert_groups` of a stage run side by side) one that grows with the imbalance of the job's router.
    """
    given = [np.asarray(v, float) for v in (world_size, num_microbatches, busy_s, expert_groups)]
    world, m, busy, groups = given
    found = overhead_seconds(context(job, hw), eff, world, m, busy, groups, np.asarray(job.expert_imbalance))
    return found.reshape(np.broadcast_shapes(*(v.shape for v in given)))


def overhead_seconds(
    c: Context, eff: Efficiency, world_size: Floats, num_microbatches: Floats, busy_s: Floats, groups: Floats, imbalance: Floats
) -> Floats:
    """`overhead_s` over scenarios.

    A real router loads expert groups unevenly, differently in each microbatch: the mean over m of them has a spread of
    1 / sqrt(m), and the slowest of G groups stands sqrt(2 ln G) spreads above the mean (extreme value of a normal).
    """
    jitter = eff["jitter"] * np.log2(np.maximum(1.0, world_size / 8.0))
    spread = eff["router_noise"] * (imbalance - 1.0) * np.sqrt(2.0 * np.log(np.maximum(groups, 1.0)) / num_microbatches)
    fixed = eff["step_s"] * np.where(c.mlperf, eff["step_mlperf"], np.where(c.torch, eff["step_torch"], 1.0))
    return np.asarray(fixed + eff["microbatch_s"] * num_microbatches + (jitter + spread) * busy_s)


def messages_s(c: Context, eff: Efficiency, strategy: Strategy, spans: Spans, edge_bytes: float) -> Floats:
    """Seconds that a message of `edge_bytes` from each chunk to the next delays its receiver, (C - 1,).

    DualPipe's two directions cross a boundary as different chunks: the slower one counts for both. Where it is not known which
    boundary costs what, each takes the mean.
    """
    size, edge_P = np.asarray(edge_bytes), spans.edge_spB
    if edge_P is None:
        some = spans.axis("pp")[1] if spans.some_spB is None else spans.some_spB[:, None]
        return np.full(strategy.num_chunks - 1, float(message_s(c, eff, some, size, spans.hops("pp")).mean()))
    seconds_C = message_s(c, eff, edge_P[:, None], size, spans.hops("pp"))[chunk_boundaries(strategy)]
    return np.maximum(seconds_C, seconds_C[::-1]) if strategy.schedule == "dualpipe" else np.asarray(seconds_C)


def boundary_s(c: Context, eff: Efficiency, spans: Spans, edge_bytes: Floats) -> Floats:
    """Seconds that one message over the slowest boundary between two stages delays its receiver."""
    return message_s(c, eff, spans.axis("pp")[1], edge_bytes, spans.hops("pp"))


def message_s(c: Context, eff: Efficiency, spB_T: Floats, edge_bytes: Floats, hop: Floats) -> Floats:
    """Seconds that a message delays its receiver, at `spB_T` seconds per byte of the uplinks that it crosses."""
    links = net.Links(c.nvlink_Bps, c.nic_Bps, c.domain, c.nvls.astype(float), (c.generation == 2).astype(float))
    seconds = net.point_to_point_s(links, eff, spB_T, edge_bytes, hop)
    return np.asarray((c.naive + (1.0 - c.naive) * eff["p2p_exposed"]) * seconds)


@dataclass(frozen=True)
class Steps:
    """What one step is made of, before it is summed. Seconds.

    `parts_CX` of each chunk and microbatch by direction, columns `COLUMNS`; `load_PC` share of the microbatches of a chunk that
    a stage runs; `message_C` from each chunk to the next, (C - 1,); `shown_P` gradient traffic that nothing hides; `update_P`
    the optimizer; `fixed_s` what follows: host, gradient norm, stragglers.
    """

    timeline: Timeline
    parts_CX: Mapping[str, Floats]
    load_PC: Floats
    message_C: Floats
    busy_P: Floats
    dense_P: Floats
    expert_P: Floats
    shown_P: Floats
    update_P: Floats
    fixed_s: float

    @property
    def last(self) -> int:
        """The stage that ends the step."""
        return int(np.argmax(self.shown_P + self.update_P))

    @property
    def critical(self) -> int:
        """The busiest stage: its work is the compute and communication of the breakdown."""
        return int(np.argmax(self.busy_P))


def steps_of(
    model: ModelGraph, job: Job, hw: Hardware, eff: Efficiency, strategy: Strategy, stages: Stages, spans: Spans,
    layer: LayerCost, *, k: int = 0, slow_P: Floats | None = None, recompute_share: float = 1.0,
) -> Steps:  # fmt: skip
    """Price everything of one step. Arguments as `step_cost`."""
    c, m = context(job, hw), strategy.num_microbatches
    parts_CX = chunk_parts(model, strategy, stages, layer, k, slow_P, recompute_share)
    fwd_C, dgrad_C, wgrad_C = (parts_CX[name].sum(axis=1) for name in DIRECTIONS)
    width_C, edge = boundary_widths(model, strategy, stages), float(layer.edge_K[k])
    messages = messages_s(c, eff, strategy, spans, edge) * width_C if strategy.pp > 1 else 0.0 * width_C
    times = strategy.schedule, strategy.pp, strategy.vpp, m, fwd_C, dgrad_C, wgrad_C
    if spans.some_spB is None or len(set(spans.some_spB.tolist())) < 2:
        timeline = simulate(*times, messages)
    else:
        lag_P = message_s(c, eff, spans.some_spB[:, None], np.asarray(edge), spans.hops("pp")) * float(width_C.min())
        timeline = least_timeline(*times, lag_P, chunk_boundaries(strategy))
    load_PC = load(strategy)
    busy_P = load_PC @ (fwd_C + dgrad_C + wgrad_C)
    dense_P, expert_P = stage_params(model, strategy, stages, layer, k)
    sharded = SHARDING.index(strategy.sharding) >= 1
    shown_P = dp_s(
        job, hw, eff, dense_params=dense_P, expert_params=expert_P, dp_cp=strategy.dp * strategy.cp // strategy.gtp,
        edp=strategy.edp // strategy.egtp, sharding=strategy.sharding, spans=spans,
        busy_s=busy_P, windows=dp_windows(strategy.pp, strategy.vpp), num_microbatches=m,
        host_s=load_PC @ chunk_counts(model, strategy, stages) @ layer.hooked_KY[k],
    )  # fmt: skip
    copies = weight_copies(strategy.schedule, strategy.pp) if sharded else 1
    update_P = optimizer_s(
        job, hw, eff, dense_params=dense_P, expert_params=expert_P,
        shard_dense=copies * (strategy.dp * strategy.cp // strategy.gtp if sharded else 1),
        shard_expert=copies * (strategy.edp // strategy.egtp if sharded else 1),
    )  # fmt: skip
    tail = float(timeline.makespan_s) + float((shown_P + update_P).max())
    groups = strategy.edp if strategy.ep > 1 else 1
    fixed = overhead_s(job, hw, eff, world_size=strategy.world_size, num_microbatches=m, busy_s=tail, expert_groups=groups)
    return Steps(timeline, parts_CX, load_PC, messages, busy_P, dense_P, expert_P, shown_P, update_P, float(fixed))


def step_cost(
    model: ModelGraph, job: Job, hw: Hardware, eff: Efficiency, strategy: Strategy, stages: Stages, spans: Spans,
    layer: LayerCost, *, k: int = 0, slow_P: Floats | None = None, bytes_tier: Mapping[str, Mapping[str, float]] | None = None,
    recompute_share: float = 1.0,
) -> StepCost:  # fmt: skip
    """Predict one step. `layer` row `k` is this strategy's; `slow_P` >= 1 stretches the compute of a stage (degraded nodes).

    `recompute_share`: part of the layers that is recomputed, where a run recomputes only some.
    """
    found = steps_of(model, job, hw, eff, strategy, stages, spans, layer, k=k, slow_P=slow_P, recompute_share=recompute_share)
    m, last = strategy.num_microbatches, found.last
    every_CX = sum((found.parts_CX[name] for name in DIRECTIONS), np.zeros_like(found.parts_CX["forward"]))
    sums = dict(zip(COLUMNS, (m * (found.load_PC[found.critical] @ every_CX)).tolist(), strict=True))
    waiting = max(float(found.timeline.makespan_s) - sum(sums.values()), 0.0)
    pp_s = min(waiting, 2.0 * m * strategy.vpp * _mean(found.message_C))
    parts = {
        "compute": sums["compute"], "tp": sums["tp"], "cp": sums["cp"], "ep": sums["ep"], "pp": pp_s,
        "dp": float(found.shown_P[last]) + sums["gtp"], "bubble": waiting - pp_s, "optimizer": float(found.update_P[last]),
        "overhead": found.fixed_s,
    }  # fmt: skip
    step_s = sum(parts.values())
    tokens = job.global_batch * job.seq_len
    return StepCost(
        step_s=step_s, parts_s={name: parts[name] for name in PARTS}, stage_s_P=m * found.busy_P,
        memory_PM=stage_memory(model, job, strategy, stages, layer, k),
        tokens_per_s_per_gpu=tokens / step_s / strategy.world_size,
        mfu=flops_per_token(model, job.seq_len) * tokens / step_s / (strategy.world_size * hw.chip.peak("bf16")),
        bytes_tier=bytes_tier or {},
    )  # fmt: skip


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def load(strategy: Strategy) -> Floats:
    """Share of the microbatches of each chunk that a stage runs, (P, C): DualPipe runs two chunks, half of the batch each."""
    load_PC: Floats = (strategy.chunk_stage[None, :] == np.arange(strategy.pp)[:, None]).astype(float)
    if weight_copies(strategy.schedule, strategy.pp) == 1:
        return load_PC
    near = first_half(strategy.num_microbatches) / strategy.num_microbatches
    return np.asarray(near * load_PC + (1.0 - near) * load_PC[::-1])


def weight_copies(schedule: str, pp: int) -> int:
    """Stages that hold each weight: two under DualPipe, which shares their optimizer states where those are sharded."""
    return 2 if schedule == "dualpipe" and pp > 1 else 1


COLUMNS = ("compute", "tp", "cp", "ep", "gtp")
DIRECTIONS = ("forward", "dgrad", "wgrad")


def chunk_parts(
    model: ModelGraph,
    strategy: Strategy,
    stages: Stages,
    layer: LayerCost,
    k: int,
    slow_P: Floats | None,
    recompute_share: float,
) -> dict[str, Floats]:
    """Seconds of each chunk for one microbatch, columns COLUMNS, for each of forward, dgrad (recompute included) and wgrad."""
    count_CY = chunk_counts(model, strategy, stages)
    stage_C = strategy.chunk_stage
    mode_C = np.array([RECOMPUTE.index(stages.recompute_P[p]) for p in stage_C])
    slow_C = np.ones(len(stage_C)) if slow_P is None else np.asarray(slow_P)[stage_C]
    again_C = recompute_share * np.einsum("cy,yc->c", count_CY, layer.recompute_KYC[k][:, mode_C])
    out = {}
    for d, name in enumerate(DIRECTIONS):
        columns = [
            count_CY @ part[k, :, d] for part in (layer.compute_KYD, layer.tp_KYD, layer.cp_KYD, layer.ep_KYD, layer.gtp_KYD)
        ]
        columns[0] = (columns[0] + (again_C if name == "dgrad" else 0.0)) * slow_C
        out[name] = np.stack(columns, -1)
    return out


def chunk_counts(model: ModelGraph, strategy: Strategy, stages: Stages) -> Floats:
    """How many blocks of each type every chunk runs, (C, Y)."""
    types = len(model.types)
    flat = np.bincount(stages.chunk_B * types + model.type_B, minlength=strategy.num_chunks * types)
    return flat.reshape(strategy.num_chunks, types).astype(float)


def stage_params(model: ModelGraph, strategy: Strategy, stages: Stages, layer: LayerCost, k: int) -> tuple[Floats, Floats]:
    """Dense and expert parameters that one GPU of each stage holds, (P,) each; a matrix tied inside a stage counts once."""
    holds_PC = load(strategy) > 0
    count_PY = holds_PC @ chunk_counts(model, strategy, stages)
    dense_P, expert_P = count_PY @ layer.dense_KY[k], count_PY @ layer.expert_KY[k]
    for a, b in model.tied:
        both_P = holds_PC[:, stages.chunk_B[a]] & holds_PC[:, stages.chunk_B[b]]
        dense_P -= both_P * min(layer.dense_KY[k, model.type_B[a]], layer.dense_KY[k, model.type_B[b]])
    return dense_P, expert_P
