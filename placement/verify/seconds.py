# SPDX-License-Identifier: Apache-2.0
"""Seconds of one block for one microbatch, from what was counted and the constants of the efficiency file. Scalars."""

from __future__ import annotations

import math
from dataclasses import dataclass

from placement.ir import Efficiency, Job
from placement.verify.case import Degrees
from placement.verify.kernels import ELEMENT, Kernel, Layer, precision_run
from placement.verify.links import Lie, Machine, ring_s, together

FUSED_SINCE = 2026.35
SPEED_LIMIT = 1.25  # of the reference part: nothing passes its peak
OVERLAP_SINCE = 2023.1
FUSED_LOSS_SINCE = 2025.6
REFERENCE = {"ampere": (400.0, 312e12), "hopper": (700.0, 989e12), "blackwell": (1200.0, 2450e12)}  # watts, bf16 peak
SHARE = {"attention": (1.0, 2.5, 0.0)}  # of forward FLOPs, by direction; matmuls (1, 1, 1)


def _since(year: float, change: float, steepness: float) -> float:
    """Share of stacks that have made a change by a year."""
    return 1.0 / (1.0 + math.exp(-steepness * (year - change)))


@dataclass(frozen=True)
class Setting:
    """Everything that prices: machine, constants, job, strategy, and how the communicators lie."""

    m: Machine
    eff: Efficiency
    job: Job
    d: Degrees
    lies: dict[str, Lie]

    @property
    def family(self) -> str:
        return "blackwell" if self.m.blackwell else self.m.chip.generation

    @property
    def naive(self) -> float:
        """Share of the stacks of that year that overlap no communication."""
        return 1.0 - _since(self.job.software.year, OVERLAP_SINCE, 8.0)

    def shown(self, share: float) -> float:
        """A share of communication that shows, all of it in stacks without overlap."""
        return self.naive + (1.0 - self.naive) * share

    @property
    def fused(self) -> float:
        """Share of the stacks of that year that run routed layers in fused kernels and graphs."""
        return _since(self.job.software.year, FUSED_SINCE, 20.0) if self.m.blackwell else 0.0

    @property
    def air_cooled(self) -> bool:
        return self.m.blackwell and not self.m.chip.form.startswith("nvl")

    def power(self, name: str, share: float) -> float:
        """A factor that applies to a share of the cases."""
        return float(self.eff[name] ** share)

    def drift_moe(self) -> float:
        """Slow-down of the overheads of routed layers with the age of the software, against the middle of 2025."""
        age = min(max(self.job.software.year - 2025.5, -4.0), 1.2)
        aged = math.exp(-self.eff["drift_moe"] * age) * self.power("fused_moe", self.fused)
        return aged * self.power("air_moe", (1.0 - self.fused) * self.air_cooled)

    def drift_move(self) -> float:
        """Traffic of element-wise kernels and casts against the middle of 2025."""
        return math.exp(-self.eff["drift_move"] * min(max(self.job.software.year - 2025.5, -4.0), 1.2))

    def drift_dense(self) -> float:
        year = self.job.software.year
        old = min(max(2025.5 - year, 0.0), 4.0)
        young = min(max(2026.0 - year, 0.0), 1.0) if self.m.blackwell else 0.0
        return math.exp(self.eff["drift_dense"] * old + self.eff["drift_blackwell"] * young)

    def chip_speed(self) -> float:
        """Speed at equal peak: boards throttle at their power limit, so watts a FLOP/s set the clock of large matmuls."""
        chip, (watts, peak) = self.m.chip, REFERENCE[self.family]
        per_flop = chip.power_w / chip.peak_flops["bf16"] if chip.power_w else watts / peak
        return min(float((per_flop * peak / watts) ** min(self.eff["power"], 1.0)), SPEED_LIMIT)


@dataclass(frozen=True)
class BlockTime:
    """Seconds by direction (forward, input gradient, weight gradient), and what recompute adds to the input gradient."""

    compute: tuple[float, ...]
    tp: tuple[float, ...]
    cp: tuple[float, ...]
    ep: tuple[float, ...]
    gtp: tuple[float, ...]
    again: dict[str, float]
    hooked: float  # seconds of the host, where FSDP gathers the weights


def block_time(layer: Layer, s: Setting) -> BlockTime:
    """Price a block."""
    parts = [kernel_s(kernel, s) for kernel in layer.kernels]
    launch = 0.0
    if layer.experts:
        launch = s.eff["launch_moe_s"] * s.drift_moe()
    elif layer.is_layer:
        launch = s.eff["launch_dense_s"]
    compute = tuple(sum(p[i] for p in parts) + launch / 3.0 for i in range(3))
    cheap = sum(p[0] for p, kernel in zip(parts, layer.kernels, strict=True) if kernel.cheap)
    cores = [p for p, kernel in zip(parts, layer.kernels, strict=True) if kernel.kind == "attention"]
    core = tuple(sum(p[i] for p in cores) for i in range(3))
    tp, cp, ep = tensor_s(layer, s), context_s(layer, s, core), expert_s(layer, s)
    gtp, launches = weights_s(layer, s, compute), host_s(layer, s)
    busy = [sum(parts) for parts in zip(compute, tp, cp, ep, strict=True)]
    compute = tuple(c + longer(b, launches / 3.0) - b for c, b in zip(compute, busy, strict=True))
    stack = s.job.software.stack
    selective = s.eff["selective_torch"] * compute[0] if stack in ("torchtitan", "automodel") else cheap
    whole = compute[0] + tp[0] + cp[0] + ep[0]
    again = (
        {"none": 0.0, "selective": selective, "full": whole}
        if layer.is_layer
        else dict.fromkeys(("none", "selective", "full"), 0.0)
    )
    hooked = launches + (s.eff["host_fsdp_s"] if layer.is_layer else 0.0)
    return BlockTime(compute, tp, cp, ep, gtp, again, hooked)


def host_s(layer: Layer, s: Setting) -> float:
    """What the host needs to launch a block, forward and backward; nothing where graphs are launched whole."""
    eff, stack = s.eff, s.job.software.stack
    if not layer.is_layer or stack == "mlperf" or s.job.software.graphs:
        return 0.0
    low = precision_run(s.job, s.m.chip) != "bf16"
    seconds = eff["host_dense_s"] * (eff["host_low"] if low else 1.0)
    if stack in ("torchtitan", "automodel") and s.d.tp > 1:
        seconds *= eff["host_dtensor"]
    if layer.experts:
        launches = 3.5 if low else 1.0  # sixteen that quantise, beside six matmuls
        seconds += eff["host_moe_s"] + eff["host_expert_s"] * launches * layer.experts.num / s.d.ep
    return float((1.0 - s.fused) * seconds)


def longer(busy: float, host: float) -> float:
    """A GPU behind its host takes the longer of both, rounded off: power mean of order 8."""
    most = max(busy, host)
    return most * ((busy / most) ** 8 + (host / most) ** 8) ** 0.125 if most > 0 else 0.0


def kernel_s(kernel: Kernel, s: Setting) -> tuple[float, float, float]:
    """Seconds by direction: FLOPs at the rate of the kernel, and its memory traffic, one after the other."""
    rate, eff = flop_rate(kernel, s), s.eff
    ragged = 1.0 / eff["misaligned"] if kernel.ragged else 1.0
    fused = _since(s.job.software.year, FUSED_LOSS_SINCE, 8.0)
    loss = eff["loss"] ** (1.0 - fused) * eff["loss_fused"] ** fused
    weight = {
        "matmul": eff["matmul_bytes"], "grouped": eff["grouped_bytes"], "attention": 0.0, "head": loss,
        "move": eff["move"] * s.power("eager", s.job.software.eager) * s.drift_move(),
        "permute": eff["permute"] * s.drift_moe() * ragged, "scores": eff["scores"],
    }[kernel.kind]  # fmt: skip
    cast = eff["cast"] * s.drift_move()
    if kernel.kind == "grouped":
        cast = eff["cast_moe"] * s.drift_moe() * ragged
    share = SHARE.get(kernel.kind, (1.0, 1.0, 1.0))
    casts = (*kernel.cast, 0.0)
    seconds = [
        kernel.flop * share[i] / rate + (kernel.moved[i] * weight + casts[i] * cast) / s.m.chip.hbm_Bps for i in range(3)
    ]
    return seconds[0], seconds[1], seconds[2]


def flop_rate(kernel: Kernel, s: Setting) -> float:
    """Sustained FLOP/s of a kernel."""
    eff, chip, family = s.eff, s.m.chip, s.family
    speed = s.chip_speed()
    precision = precision_run(s.job, chip)
    layers = (
        chip.peak(precision) * eff[f"matmul_{family}_{precision}"] * speed * s.power("mlperf", s.job.software.stack == "mlperf")
    )
    if kernel.kind == "grouped":
        rate = layers * eff["grouped"] * s.power("grouped_fused", s.fused) * s.power("misaligned", kernel.ragged)
        return rate / ((1.0 + eff["grouped_thin"] * kernel.thin) * (1.0 + eff["grouped_rows"] * kernel.few))
    if kernel.kind == "attention":
        rate = chip.peak_flops["bf16"] * eff[f"attention_{family}"] * speed / s.drift_dense() * _stack_attention(s)
        rate *= s.power("attention_ultra", chip.generation == "blackwell_ultra")
        narrow = max(1.0, 256.0 / kernel.width) ** eff["attention_width"]
        return float(rate / ((1.0 + eff["attention_span"] / kernel.span) * narrow))
    if kernel.kind == "head":
        return chip.peak_flops["bf16"] * eff[f"matmul_{family}_bf16"] * speed / s.drift_dense()
    return layers / s.drift_dense()


def _stack_attention(s: Setting) -> float:
    stack = s.job.software.stack
    if stack == "composer":
        return s.eff["attention_composer"] * s.power("attention_composer_hopper", s.family == "hopper")
    return s.power("attention_torch", stack in ("torchtitan", "automodel"))


def _per_byte(s: Setting, axis: str) -> tuple[float, float]:
    """Seconds of a ring per payload byte, and of starting it."""
    start = ring_s(s.m, s.eff, s.lies[axis], 0.0)
    return ring_s(s.m, s.eff, s.lies[axis], 1.0) - start, start


def tensor_s(layer: Layer, s: Setting) -> tuple[float, ...]:
    shown = s.shown(s.eff["tp_exposed"])
    total = [0.0, 0.0, 0.0]
    for axis, size, calls in (("tp", layer.tp_bytes, layer.tp_calls), ("etp", layer.etp_bytes, layer.etp_calls)):
        per_byte, start = _per_byte(s, axis)
        for i in range(3):
            total[i] += size[i] * shown * per_byte + calls[i] * s.eff["tp_call"] * start
    return tuple(total)


def context_s(layer: Layer, s: Setting, core: tuple[float, ...]) -> tuple[float, ...]:
    """Keys and values go around the ring behind the attention core (arXiv 2310.01889); their gradients end with a hop home."""
    per_byte, _ = _per_byte(s, "cp")
    home = 0.5 / max(s.d.cp - 1, 1)  # of the backward bytes, half of which are gradients
    hops = zip(layer.cp_bytes, core, (0.0, home, 0.0), strict=True)
    return tuple(exposed(b * per_byte, window, floor) for b, window, floor in hops)


def copies_of_token(groups: float, topk: int, experts: int) -> float:
    """Groups of equal size that hold at least one of `topk` distinct experts of `experts`, on average."""
    missed = 1.0
    for i in range(topk):
        missed *= max(experts * (1.0 - 1.0 / groups) - i, 0.0) / max(experts - i, 1.0)
    return groups * (1.0 - missed)


def expert_s(layer: Layer, s: Setting) -> tuple[float, ...]:
    """Dispatch and combine: a token goes once to every GPU it visits, and once to every other domain."""
    experts, lie, eff = layer.experts, s.lies["ep"], s.eff
    if experts is None or s.d.ep == 1:
        return (0.0, 0.0, 0.0)
    ep = s.d.ep
    domains = ep / lie.members
    inside = copies_of_token(ep, experts.topk, experts.num) * (1.0 - 1.0 / ep)
    inside *= eff["ep_exposed"] / (s.m.chip.nvlink_Bps * eff["nvlink_a2a"])
    reached = min(copies_of_token(domains, experts.topk, experts.num), experts.groups_limit or math.inf)
    share = (ep - lie.members) / (ep - 1)
    per_byte = lie.clique / share if share > 0 else 0.0
    fan_out = min(1.0, 8.0 / s.m.domain) ** eff["nic_a2a_fanout"]
    outside = reached * (1.0 - 1.0 / domains) * per_byte * eff["ep_exposed_nic"] / fan_out
    shown = (1.0 - eff["ep_hidden"] if s.job.software.ep_overlap else 1.0) * s.drift_moe()
    call = (eff["collective_start_s"] + eff["domain_hop_s"]) * shown
    return tuple(b * shown * together(inside, outside) + c * call for b, c in zip(layer.ep_bytes, layer.ep_calls, strict=True))


def weights_s(layer: Layer, s: Setting, compute: tuple[float, ...]) -> tuple[float, ...]:
    """Gathers of weights that are sharded over gtp and egtp, behind the compute of the block itself."""
    element = ELEMENT[precision_run(s.job, s.m.chip)]
    shown = []
    for i, width in enumerate((element, element, 2.0)):
        busy = 0.0
        for axis, held in (("gtp", layer.dense), ("egtp", layer.expert)):
            per_byte, start = _per_byte(s, axis)
            busy += held * width * per_byte + (start if held > 0 else 0.0)
        shown.append(exposed(busy, s.eff["fsdp_window"] * compute[i], s.eff["fsdp_floor"]))
    return tuple(shown)


def exposed(busy: float, window: float, floor: float) -> float:
    """What shows of communication behind a window of compute: a floor, and a smooth hinge of what exceeds the window."""
    if busy <= 0:
        return 0.0
    window = max(window, 1e-9)
    x = 8.0 * (busy / window - 1.0)
    hinge = (max(x, 0.0) + math.log1p(math.exp(-abs(x))) - math.log1p(math.exp(-8.0))) / 8.0
    return floor * busy + (1.0 - floor) * min(hinge * window, busy)
