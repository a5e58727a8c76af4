# SPDX-License-Identifier: Apache-2.0
# P stage   C chunk   B block   Y block type
"""The predicted step, priced a second time: layers, pipeline, gradient reduction, optimizer, overheads; memory of each stage.

The formulas are those of docs/cost-model.md and the constants those of the efficiency file, so agreement shows that the plan's
numbers follow from them, not that they are true of hardware: for that see `placement accuracy`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from placement.ir import Matmul, Vocab
from placement.verify.case import Array, Case
from placement.verify.kernels import Layer, layer_of, logit_bytes, model_flops_per_token
from placement.verify.links import Lie, Machine, boundary_s, lies, machine, ring_s
from placement.verify.schedule import held, makespan_s
from placement.verify.seconds import BlockTime, Setting, block_time, exposed, longer

MODES = ("none", "selective", "full")
COPIES = {"bf16": 0.0, "fp8": 1.0, "mxfp8": 1.03125, "nvfp4": 0.5625}  # of a quantised matrix, one an orientation


@dataclass(frozen=True)
class Derived:
    """What the referee makes of a plan under some placement."""

    parts_s: dict[str, float]
    busy_s: list[float]
    mfu: float

    @property
    def step_s(self) -> float:
        return math.fsum(self.parts_s.values())


@dataclass(frozen=True)
class Pricing:
    """A plan's strategy and stages with ranks on given nodes."""

    case: Case
    node_R: Array

    @cached_property
    def machine(self) -> Machine:
        """The machine at the NVLink bandwidth of the weakest domain that runs ranks."""
        found, cluster = machine(self.case), self.case.cluster
        if cluster.nvlink_J is None:
            return found
        weakest = min(float(cluster.nvlink_J[d]) for d in np.unique(cluster.tiers[0].group_N[self.node_R]))
        return replace(found, chip=replace(found.chip, nvlink_Bps=found.chip.nvlink_Bps * weakest))

    @cached_property
    def setting(self) -> Setting:
        case = self.case
        return Setting(self.machine, case.efficiency, case.job, case.degrees, lies(case, self.node_R))

    @cached_property
    def layer_Y(self) -> list[Layer]:
        case = self.case
        return [layer_of(block, case.job, self.machine.chip, case.degrees) for block in case.model.types]

    @cached_property
    def time_Y(self) -> list[BlockTime]:
        return [block_time(layer, self.setting) for layer in self.layer_Y]

    @cached_property
    def mode_P(self) -> list[str]:
        return [str(stage["recompute"]) for stage in self.case.tree["stages"]]

    @cached_property
    def types_C(self) -> list[list[int]]:
        """Types of the blocks of each chunk."""
        d = self.case.degrees
        blocks: list[list[int]] = [[] for _ in range(d.pp * d.vpp)]
        for kind, chunk in zip(self.case.model.type_B.tolist(), self.case.chunk_B.tolist(), strict=True):
            blocks[chunk].append(kind)
        return blocks

    @cached_property
    def slow_P(self) -> list[float]:
        """How much longer a stage computes: it waits for the slowest of its nodes."""
        ranks = self.case.degrees.stage_ranks
        speed_R = self.case.cluster.speed_N[self.node_R]
        return [1.0 / max(float(speed_R[p * ranks : (p + 1) * ranks].min()), 1e-9) for p in range(self.case.degrees.pp)]

    @cached_property
    def edge_bytes(self) -> float:
        """Residual stream of a microbatch on one GPU in bf16, split over tp."""
        d = self.case.degrees
        return 2.0 * d.micro_batch * self.case.job.seq_len / d.cp * self.case.model.hidden / d.tp if d.pp > 1 else 0.0

    def params(self, kind: int) -> tuple[float, float]:
        """Dense and expert parameters of a block that a GPU holds."""
        d, layer = self.case.degrees, self.layer_Y[kind]
        return layer.dense / d.gtp, layer.expert / d.egtp

    def stage_params(self, stage: int) -> tuple[float, float]:
        """Of a stage; a matrix tied inside it counts once."""
        case = self.case
        here = set(self.chunks_of(stage))
        held_B = [chunk in here for chunk in case.chunk_B.tolist()]
        kinds = case.model.type_B.tolist()
        mine = [self.params(kind) for kind, is_held in zip(kinds, held_B, strict=True) if is_held]
        dense, expert = math.fsum(d for d, _ in mine), math.fsum(e for _, e in mine)
        for a, b in case.model.tied:
            if held_B[a] and held_B[b]:
                dense -= min(self.params(kinds[a])[0], self.params(kinds[b])[0])
        return dense, expert

    def derive(self) -> Derived:
        """Price the step."""
        case, d, s = self.case, self.case.degrees, self.setting
        m = d.num_microbatches
        parts_C = [self._chunk(c) for c in range(d.pp * d.vpp)]
        messages = [self._message_s(c) * self.width(c) for c in range(1, d.pp * d.vpp)]
        forward, inputs, weights = ([math.fsum(parts[i].values()) for parts in parts_C] for i in range(3))
        span = makespan_s(d, forward, inputs, weights, messages)
        busy_C = [forward[c] + inputs[c] + weights[c] for c in range(len(parts_C))]
        busy_P = [math.fsum(share * busy_C[c] for c, share in self.runs(p).items()) for p in range(d.pp)]
        reduce_P = [self._reduce_s(p, busy_P[p]) for p in range(d.pp)]
        update_P = [self._update_s(p) for p in range(d.pp)]
        last = max(range(d.pp), key=lambda p: reduce_P[p] + update_P[p])
        busiest = max(range(d.pp), key=lambda p: busy_P[p])
        sums = dict.fromkeys(("compute", "tp", "cp", "ep", "gtp"), 0.0)
        for c, share in self.runs(busiest).items():
            for name in sums:
                sums[name] += m * share * sum(parts[name] for parts in parts_C[c])
        waiting = max(span - math.fsum(sums.values()), 0.0)
        sending = min(waiting, 2.0 * m * d.vpp * math.fsum(messages) / max(len(messages), 1))
        fixed = self._overhead_s(span + reduce_P[last] + update_P[last])
        derived = {
            "compute": sums["compute"], "tp": sums["tp"], "cp": sums["cp"], "ep": sums["ep"], "pp": sending,
            "dp": reduce_P[last] + sums["gtp"], "bubble": waiting - sending, "optimizer": update_P[last], "overhead": fixed,
        }  # fmt: skip
        flops = model_flops_per_token(case.model.types, case.model.count_Y.tolist(), case.job.seq_len)
        tokens = case.job.global_batch * case.job.seq_len
        mfu = flops * tokens / math.fsum(derived.values()) / (d.world * s.m.chip.peak_flops["bf16"])
        return Derived(derived, [m * busy for busy in busy_P], mfu)

    def _chunk(self, chunk: int) -> list[dict[str, float]]:
        """Seconds of a chunk for one microbatch, by direction and part; recompute precedes the input gradient."""
        mode = self.mode_P[self.case.chunk_stage[chunk]]
        out = []
        for i in range(3):
            times = [self.time_Y[kind] for kind in self.types_C[chunk]]
            again = math.fsum(t.again[mode] for t in times) if i == 1 else 0.0
            parts = {name: math.fsum(getattr(t, name)[i] for t in times) for name in ("compute", "tp", "cp", "ep", "gtp")}
            parts["compute"] = (parts["compute"] + again) * self.slow_P[self.case.chunk_stage[chunk]]
            out.append(parts)
        return out

    def _message_s(self, chunk: int) -> float:
        """Delay of a tensor of the residual stream on its way into a chunk; under DualPipe of the slower direction."""
        d, s, stage = self.case.degrees, self.setting, self.case.chunk_stage
        ways = [(stage[chunk - 1], stage[chunk])]
        if d.schedule == "dualpipe":
            ways.append((d.pp - 1 - stage[chunk], d.pp - 1 - stage[chunk - 1]))
        if d.schedule in ("zb-v", "dualpipev"):
            ways = [(min(way), max(way)) for way in ways]
        shown = s.shown(self.case.efficiency["p2p_exposed"])
        return shown * max(boundary_s(s.m, self.case.efficiency, s.lies["pp"], way, self.edge_bytes) for way in ways)

    def _data_lie(self) -> Lie:
        """The group that reduces dense gradients: dp and cp together, of dp every gtp-th member, so that gtp rings leave."""
        d, dp, cp = self.case.degrees, self.setting.lies["dp"], self.setting.lies["cp"]
        size = d.dp * d.cp // d.gtp
        near = [max(n // d.gtp, 1) for n in dp.members_T]
        ring = [d.gtp * r / max(cp.members_T[t], 1) if r > 0 else cp.ring_T[t] / near[t] for t, r in enumerate(dp.ring_T)]
        members = [max(1, min(a * b, size)) for a, b in zip(near, cp.members_T, strict=True)]
        return Lie(size, tuple(members), tuple(ring), 0.0, dp.hop)

    def _gather_s(self, params: float, lie: Lie, element: float) -> float:
        """All parameters through a group once, in Megatron's buckets of max(40M, 1M x ranks) parameters."""
        if params <= 0:
            return 0.0
        buckets = max(1.0, params / max(40e6, 1e6 * lie.size))
        m, eff = self.machine, self.case.efficiency
        return ring_s(m, eff, lie, params * element) + (buckets - 1.0) * ring_s(m, eff, lie, 0.0)

    def _reduce_s(self, stage: int, busy_s: float) -> float:
        """Exposed gradient scatter and parameter gather of a stage."""
        case, d, eff, s = self.case, self.case.degrees, self.case.efficiency, self.setting
        dense, expert = self.stage_params(stage)
        edp, size = s.lies["edp"], d.edp // d.egtp
        groups = (
            (dense, self._data_lie()),
            (expert, Lie(size, tuple(max(1, n // d.egtp) for n in edp.members_T), tuple(d.egtp * r for r in edp.ring_T), 0.0)),
        )
        scatter = sum(self._gather_s(params, lie, case.job.optimizer.grad_reduce_bytes) for params, lie in groups)
        gather = sum(self._gather_s(params, lie, case.job.optimizer.param_gather_bytes) for params, lie in groups)
        m = d.num_microbatches
        windows = 1.0 + (d.pp - 1) * (d.vpp - 1) / d.vpp
        window = busy_s * min(eff["dp_window"] * windows, m)  # no more than all the compute of the step
        if d.sharding in ("none", "zero1"):
            hidden = exposed(scatter + gather, window, eff["dp_floor"])
            return s.naive * (scatter + gather) + (1.0 - s.naive) * hidden
        if d.sharding == "zero2":
            return m * exposed(scatter, min(eff["dp_window"], 1.0) * busy_s, eff["dp_floor"]) + eff["dp_floor"] * gather
        floor = eff["fsdp_floor_composer"] if case.job.software.stack == "composer" else eff["fsdp_floor"]
        shown = exposed(scatter + 2.0 * gather, eff["fsdp_window"] * busy_s, floor)
        host = math.fsum(
            share * math.fsum(self.time_Y[kind].hooked for kind in self.types_C[c]) for c, share in self.runs(stage).items()
        )
        return m * (longer(busy_s + shown, host) - busy_s)

    def _update_s(self, stage: int) -> float:
        """Memory traffic of the optimizer: states read and written, gradient read and cleared, weight written."""
        d, o = self.case.degrees, self.case.job.optimizer
        dense, expert = self.stage_params(stage)
        if d.sharding != "none":
            copies = 2 if d.schedule == "dualpipe" and d.pp > 1 else 1  # which share the states
            dense, expert = dense / (d.dp * d.cp // d.gtp) / copies, expert / (d.edp // d.egtp) / copies
        traffic = 2.0 * (o.master_bytes + o.moment_bytes) + 2.0 * o.grad_bytes + 2.0
        return self.case.efficiency["optimizer"] * (dense + expert) * traffic / self.machine.chip.hbm_Bps

    def _overhead_s(self, busy_s: float) -> float:
        """Fixed work of a step and a microbatch, stragglers by the logarithm of the world, and uneven routers."""
        d, eff, job = self.case.degrees, self.case.efficiency, self.case.job
        jitter = eff["jitter"] * math.log2(max(1.0, d.world / 8.0))
        groups = d.edp if d.ep > 1 else 1
        spread = eff["router_noise"] * (job.expert_imbalance - 1.0) * math.sqrt(2.0 * math.log(groups) / d.num_microbatches)
        relative = {"mlperf": "step_mlperf", "torchtitan": "step_torch", "automodel": "step_torch"}.get(job.software.stack)
        fixed = eff["step_s"] * (eff[relative] if relative else 1.0)
        return fixed + eff["microbatch_s"] * d.num_microbatches + (jitter + spread) * busy_s

    def memory(self, stage: int) -> dict[str, float]:
        """Bytes on a GPU of a stage, by kind."""
        case, d = self.case, self.case.degrees
        chunks = self.chunks_of(stage)
        kinds = [kind for c in chunks for kind in self.types_C[c]]
        fixed = [self._static(kind) for kind in kinds]
        static = {name: math.fsum(f[name] for f in fixed) for name in ("weights", "gradients", "optimizer")}
        for a, b in case.model.tied:
            if int(case.chunk_B[a]) in chunks and int(case.chunk_B[b]) in chunks:
                pair = [int(case.model.type_B[i]) for i in (a, b)]
                smaller = self._static(min(pair, key=lambda kind: self.layer_Y[kind].dense))
                static = {name: static[name] - smaller[name] for name in static}
        mode = self.mode_P[stage]
        kept_C = {c: math.fsum(self._kept(kind, mode)[0] for kind in self.types_C[c]) for c in chunks}
        states = held(d)[stage]
        most = max(math.fsum(count * kept_C[c] for c, count in state.items()) for state in states)
        scratch = max((self._kept(kind, mode)[1] for kind in kinds), default=0.0)
        ends = math.fsum(self.width(c) + self.width(c + 1) for c in chunks)
        buffers = 2.0 * self.edge_bytes * ends + max((self._gathered(kind) for kind in kinds), default=0.0)
        return static | {"activations": most + scratch, "buffers": buffers, "reserve": 0.0}

    def chunks_of(self, stage: int) -> list[int]:
        """Chunks that a stage holds: under DualPipe also the mirrored one."""
        d = self.case.degrees
        own = [c for c, p in enumerate(self.case.chunk_stage) if p == stage]
        return sorted({*own, d.pp - 1 - stage}) if d.schedule == "dualpipe" else own

    def runs(self, stage: int) -> dict[int, float]:
        """Chunks that a stage runs, and for which share of the microbatches: DualPipe feeds half of them at the far end."""
        d = self.case.degrees
        if d.schedule != "dualpipe" or d.pp == 1:
            return dict.fromkeys(self.chunks_of(stage), 1.0)
        near = (d.num_microbatches + 1) // 2 / d.num_microbatches
        return {stage: near, d.pp - 1 - stage: 1.0 - near}

    def _static(self, kind: int) -> dict[str, float]:
        """Weights, gradients and optimizer states of a block (Rajbhandari et al. 2020)."""
        d, o, block = self.case.degrees, self.case.job.optimizer, self.case.model.types[kind]
        dense, expert = self.params(kind)
        split = dense / (d.dp * d.cp / d.gtp) + expert / (d.edp / d.egtp)
        matrices = sum(op.inp * op.out + (op.out if op.bias else 0) for op in block.ops if isinstance(op, Matmul))
        quantised = dense * matrices / max(block.dense_params, 1) + expert
        level = ("none", "zero1", "zero2", "fsdp").index(d.sharding)
        whole = 2.0 * (dense + expert) + 2.0 * COPIES[self.case.job.precision] * quantised
        twice = 2.0 if d.schedule == "dualpipe" and d.pp > 1 else 1.0  # its two copies share sharded states
        return {
            "weights": 2.0 * split if level == 3 else whole,
            "gradients": o.grad_bytes * (split if level >= 2 else dense + expert),
            "optimizer": (o.master_bytes + o.moment_bytes) * (split / twice if level >= 1 else dense + expert),
        }

    def _kept(self, kind: int, mode: str) -> tuple[float, float]:
        """Bytes of a block kept for each microbatch held, and what it needs beside them while at work."""
        d, job, layer = self.case.degrees, self.case.job, self.layer_Y[kind]
        heads = sum(op.vocab for op in layer.block.ops if isinstance(op, Vocab) and not op.lookup)
        logits = logit_bytes(job) * d.micro_batch * job.seq_len / d.cp / d.tp * heads * layer.block.tokens_ratio
        kept = max(layer.kept[mode] - (logits if mode != "full" else 0.0), 0.0)
        scratch = layer.kept["none"] - kept
        return kept, scratch if scratch > 1e-9 * layer.kept["none"] else 0.0

    def _gathered(self, kind: int) -> float:
        """Two gathered copies of a block's weights and one of its gradients, where weights are sharded."""
        d, job, layer = self.case.degrees, self.case.job, self.layer_Y[kind]
        fsdp = d.sharding == "fsdp"
        whole = layer.dense * (d.gtp > 1 or fsdp) + layer.expert * (d.egtp > 1 or fsdp)
        return (2.0 * (COPIES[job.precision] or 2.0) + job.optimizer.grad_reduce_bytes) * whole

    def width(self, chunk: int) -> float:
        """Tensors of one hidden width that cross the start of a chunk: an output travels once, to its last reader."""
        start = sum(len(kinds) for kinds in self.types_C[:chunk])
        crossing = [width for source, (last, width) in self._readers.items() if source < start <= last]
        return math.fsum(crossing) / self.case.model.hidden

    @cached_property
    def _readers(self) -> dict[int, tuple[int, float]]:
        """Last reader of each block's output, and its widest edge."""
        out: dict[int, tuple[int, float]] = {}
        model = self.case.model
        for source, reader, width in zip(model.src_E.tolist(), model.dst_E.tolist(), model.width_E.tolist(), strict=True):
            last, most = out.get(source, (0, 0.0))
            out[source] = (max(last, reader), max(most, width))
        return out
