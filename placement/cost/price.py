# SPDX-License-Identifier: Apache-2.0
# R row   N cell   D = (forward, backward-input, backward-weight)   S scenario   T tier   A axis
"""Pricing: counted work and bytes become seconds. Every constant is in `catalog/efficiency.yaml`; the formulas are here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from placement.cost import collectives as net
from placement.cost import count as kinds
from placement.cost import host
from placement.cost.context import FUSED_LOSS_SINCE, GENERATIONS, MATMULS, SPEED_LIMIT, Context, fused_moe, take
from placement.cost.count import Cells, Tables, Work
from placement.ir import AXES, Efficiency, Spans
from placement.ir._array import Bools, Floats, Ints

Values = TypeVar("Values", Floats, Bools)

# share of an operation's forward FLOPs in each direction
SHARE_KD = np.array([[1, 1, 1], [1, 1, 1], [1, 2.5, 0], [1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]], dtype=float)


LAST_HOP_D = np.array([0.0, 1.0, 0.0])  # directions in which gradients of keys and values come home


@dataclass(frozen=True)
class Seconds:
    """Seconds of every cell: compute by direction, recompute, exposed communication by axis and direction."""

    compute_ND: Floats
    recompute_NC: Floats
    tp_ND: Floats
    cp_ND: Floats
    ep_ND: Floats
    gtp_ND: Floats
    hooked_N: Floats  # of the host, where FSDP gathers the weights


@dataclass(frozen=True)
class Sizes:
    """Degrees of each scenario's communicators, (S,) floats."""

    tp: Floats
    cp: Floats
    ep: Floats
    etp: Floats
    gtp: Floats
    egtp: Floats


@dataclass(frozen=True)
class Computed:
    """Seconds of computation of every cell: all and the attention cores by direction, and what selective recompute repeats."""

    all_ND: Floats
    core_ND: Floats
    cheap_N: Floats


def price(tables: Tables, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans) -> Seconds:
    """Seconds of all cells. Context and spans have a leading dimension of shards, or of one for all of them."""
    return joined(tables.cells, compute_s(tables.work, tables.cells, c, eff), c, eff, sizes, spans)


def joined(cells: Cells, computed: Computed, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans) -> Seconds:
    """`price` where the computation is priced already."""
    tp_ND = tp_s(cells, c, eff, sizes, spans)
    cp_ND = cp_s(cells, c, eff, sizes, spans, computed.core_ND)
    ep_ND = ep_s(cells, c, eff, sizes, spans)
    gtp_ND = gtp_s(cells, c, eff, sizes, spans, computed.all_ND)
    at = take(c, cells.shard_N)
    host_N = host.launches_s(cells, at, eff, sizes.tp[cells.shard_N] > 1)
    compute_ND = computed.all_ND + host.waiting_s(computed.all_ND + tp_ND + cp_ND + ep_ND, host_N)
    forward_N = compute_ND[:, 0] + tp_ND[:, 0] + cp_ND[:, 0] + ep_ND[:, 0]
    torch_N = _at(c.torch, cells.shard_N)
    # torchtitan's selective mode repeats every second matmul; Megatron's only what is cheap
    selective_N = np.where(torch_N, eff["selective_torch"] * compute_ND[:, 0], computed.cheap_N)
    layers_N = np.where(cells.layers_N > 0, 1.0, 0.0)
    recompute_NC = np.stack([np.zeros_like(forward_N), selective_N * layers_N, forward_N * layers_N], -1)
    hooked_N = host.hooked_s(cells, at, eff, host_N)
    return Seconds(compute_ND, recompute_NC, tp_ND, cp_ND, ep_ND, gtp_ND, hooked_N)


def compute_s(work: Work, cells: Cells, c: Context, eff: Efficiency) -> Computed:
    """Seconds of computation, from the rows of work."""
    shard_R = cells.shard_N[work.cell_R]
    row = take(c, shard_R)
    rate_R = flop_rate(work, row, eff)
    weight_R, cast_R = byte_weights(work, row, eff)
    flop_RD = work.flop_R[:, None] * SHARE_KD[work.kind_R]
    hbm_R = row.hbm_Bps * np.ones_like(rate_R)
    seconds_RD = (
        flop_RD / rate_R[:, None] + (work.byte_RD * weight_R[:, None] + work.cast_RD * cast_R[:, None]) / hbm_R[:, None]
    )
    num = len(cells.shard_N)
    compute_ND = np.stack([_sum(work.cell_R, seconds_RD[:, d], num) for d in range(3)], -1)
    at = np.flatnonzero(work.kind_R == kinds.ATTENTION)
    core_ND = np.stack([_sum(work.cell_R[at], seconds_RD[at, d], num) for d in range(3)], -1)
    cheap_N = _sum(work.cell_R, seconds_RD[:, 0] * work.cheap_R, num)
    return Computed(compute_ND + launch_s(cells, take(c, cells.shard_N), eff)[:, None] / 3.0, core_ND, cheap_N)


def _sum(index: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(index, values, size), dtype=float)


def launch_s(cells: Cells, c: Context, eff: Efficiency) -> Floats:
    """Gaps between kernels, router and small tails of a layer, forward and backward together, (N,)."""
    dense = eff["launch_dense_s"] * cells.layers_N * (1.0 - cells.routed_N)
    return np.asarray(dense + eff["launch_moe_s"] * cells.routed_N * moe_drift(c, eff))


def moe_drift(c: Context, eff: Efficiency) -> Floats:
    """Slow-down of the overheads of routed layers with the age of the software, relative to the middle of 2025."""
    age = np.clip(c.year - 2025.5, -4.0, 1.2)
    fused = fused_moe(c)
    drift = np.exp(-eff["drift_moe"] * age) * eff["air_moe"] ** (c.air * (1.0 - fused)) * eff["fused_moe"] ** fused
    return np.asarray(drift)


def dense_drift(c: Context, eff: Efficiency) -> Floats:
    """Slow-down of dense kernels: age of the software, and the first year of a new generation."""
    years = np.clip(2025.5 - c.year, 0.0, 4.0)
    young = np.clip(2026.0 - c.year, 0.0, 1.0) * (c.generation == GENERATIONS.index("blackwell"))
    return np.asarray(np.exp(eff["drift_dense"] * years + eff["drift_blackwell"] * young))


def chip_speed(c: Context, eff: Efficiency) -> Floats:
    """Speed at equal peak: large matmuls throttle at the power limit of the board, so its watts set their clock.

    At most in proportion (a fixed energy for each FLOP). Memory-bound kernels stay below the limit and do not feel it.
    """
    return np.minimum(c.watts ** min(eff["power"], 1.0), SPEED_LIMIT)


def flop_rate(work: Work, c: Context, eff: Efficiency) -> Floats:
    """Sustained FLOP/s of each row, before memory traffic."""
    matmul = np.array([eff[n] for n in MATMULS])
    attention = np.array([eff[f"attention_{g}"] for g in GENERATIONS])[c.generation]
    early = eff["attention_composer"] * np.where(c.generation == 1, eff["attention_composer_hopper"], 1.0)
    attention = attention * np.where(c.composer, early, 1.0) * eff["attention_ultra"] ** c.ultra
    attention = attention * np.where(c.torch, eff["attention_torch"], 1.0)
    speed = chip_speed(c, eff) / dense_drift(c, eff)
    layer = c.peak_low * matmul[c.matmul] * eff["mlperf"] ** c.mlperf * chip_speed(c, eff)
    grouped = layer * eff["grouped"] * eff["grouped_fused"] ** fused_moe(c) * eff["misaligned"] ** work.ragged_R
    grouped = grouped / ((1.0 + eff["grouped_thin"] * work.thin_R) * (1.0 + eff["grouped_rows"] * work.few_R))
    narrow = np.maximum(1.0, 256.0 / work.head_R) ** eff["attention_width"]
    core = c.peak_bf16 * attention * speed / ((1.0 + eff["attention_span"] / work.span_R) * narrow)
    head = c.peak_bf16 * matmul[c.matmul_bf16] * speed
    kind = work.kind_R
    special = [kind == kinds.GROUPED, kind == kinds.ATTENTION, kind == kinds.HEAD]
    rate = np.select(special, [grouped, core, head], layer / dense_drift(c, eff))
    return np.asarray(rate)


def byte_weights(work: Work, c: Context, eff: Efficiency) -> tuple[Floats, Floats]:
    """How many times over each row pays for its traffic (not all of it streams at line rate), and for its casts."""
    kind = work.kind_R
    drift = moe_drift(c, eff)
    ragged = eff["misaligned"] ** -work.ragged_R
    fused = 1.0 / (1.0 + np.exp(-8.0 * (c.year - FUSED_LOSS_SINCE)))
    loss = eff["loss"] * (eff["loss_fused"] / eff["loss"]) ** fused
    aged = np.exp(-eff["drift_move"] * np.clip(c.year - 2025.5, -4.0, 1.2))  # fewer passes with every release
    move = eff["move"] * np.where(c.eager, eff["eager"], 1.0) * aged
    plain, grouped = np.full(len(kind), eff["matmul_bytes"]), np.full(len(kind), eff["grouped_bytes"])
    by_kind = [plain, grouped, np.zeros(len(kind)), loss, move, eff["permute"] * drift * ragged]
    weight = np.select([kind == k for k in range(6)], by_kind, eff["scores"])
    cast = np.where(kind == kinds.GROUPED, eff["cast_moe"] * drift * ragged, eff["cast"] * aged)
    return np.asarray(weight), np.asarray(cast)


def tp_s(cells: Cells, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans) -> Floats:
    """Exposed tensor-parallel communication, (N, D): gathers and scatters of activations, of experts split by etp too."""
    shown = c.naive + (1.0 - c.naive) * eff["tp_exposed"]
    seconds = np.zeros_like(cells.tp_byte_ND)
    for axis, byte_ND, call_ND in (("tp", cells.tp_byte_ND, cells.tp_call_ND), ("etp", cells.etp_byte_ND, cells.etp_call_ND)):
        per_byte, per_call = _ring_terms(c, eff, getattr(sizes, axis), spans, axis)
        seconds = seconds + byte_ND * _at(shown * per_byte, cells.shard_N)[:, None]
        seconds = seconds + call_ND * _at(eff["tp_call"] * per_call, cells.shard_N)[:, None]
    return seconds


def cp_s(cells: Cells, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans, core_ND: Floats) -> Floats:
    """Exposed context-parallel communication: keys and values go around a ring behind attention (arXiv 2310.01889).

    A rank works on one block while the next arrives. Backward, half of the bytes are gradients, which go on only when a rank
    has added its share: of their cp - 1 hops the last one, home, has nothing left to hide behind.
    """
    per_byte, _ = _ring_terms(c, eff, sizes.cp, spans, "cp")
    home_N = 0.5 / np.maximum(_at(sizes.cp, cells.shard_N) - 1.0, 1.0)
    return overlapped(cells.cp_byte_ND * _at(per_byte, cells.shard_N)[:, None], core_ND, home_N[:, None] * LAST_HOP_D)


def ep_s(cells: Cells, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans) -> Floats:
    """Exposed dispatch and combine of tokens, (N, D).

    A token goes once to every GPU it visits (NVLink) and once to every other domain (NIC); both parts run at once.
    Uniform routing to k of E experts in D groups hits D (1 - C(E - E/D, k) / C(E, k)) of them.
    """
    n = cells.shard_N
    members, _, clique = spans.axis("ep")
    ep_N, local_N = _at(sizes.ep, n), _at(members[..., 0], n)
    domains_N = ep_N / np.maximum(local_N, 1.0)
    copies_N = groups_hit(ep_N, cells.topk_N, cells.experts_N) * (1.0 - 1.0 / ep_N)
    remote_N = np.minimum(groups_hit(domains_N, cells.topk_N, cells.experts_N), cells.limit_N) * (1.0 - 1.0 / domains_N)
    links = _links(c)
    inside = copies_N * _at(eff["ep_exposed"] / (c.nvlink_Bps * eff["nvlink_a2a"]), n)
    # seconds per byte that leaves, from the span of the axis: share of peers outside over the uplink
    share_N = (ep_N - local_N) / np.maximum(ep_N - 1.0, 1.0)
    uplink_N = np.where(share_N > 0, _at(clique.max(axis=-1), n) / np.where(share_N > 0, share_N, 1.0), 0.0)
    outside = remote_N * uplink_N * _at(eff["ep_exposed_nic"] / (net.clique_efficiency(links, eff) / eff["nic_a2a"]), n)
    hidden = _at(np.where(c.ep_overlap, 1.0 - eff["ep_hidden"], 1.0) * moe_drift(c, eff), n)
    both = np.where(ep_N > 1, hidden * net.join(inside, outside), 0.0)
    calls = np.where(ep_N > 1, _at(eff["collective_start_s"] + eff["domain_hop_s"] * np.ones_like(c.year), n) * hidden, 0.0)
    return np.asarray(cells.ep_byte_ND * both[:, None] + cells.ep_call_ND * calls[:, None])


def groups_hit(groups: Floats, topk: Floats, experts: Floats) -> Floats:
    """Expected number of groups of equal size that hold at least one of k distinct experts out of E chosen at random."""
    kept = 1.0 - 1.0 / np.maximum(groups, 1.0)
    missed = np.ones(np.broadcast(groups, topk).shape)
    for i in range(int(np.max(topk))):
        chosen = np.maximum(experts * kept - i, 0.0) / np.maximum(experts - i, 1.0)
        missed = np.where(i < topk, missed * chosen, missed)
    return np.asarray(groups * (1.0 - missed))


def gtp_s(cells: Cells, c: Context, eff: Efficiency, sizes: Sizes, spans: Spans, compute_ND: Floats) -> Floats:
    """Exposed gathers of sharded weights and scatters of their gradients, dense and expert, behind the layer's own compute."""
    seconds = np.zeros_like(compute_ND)
    for axis, byte_ND in (("gtp", cells.gtp_byte_ND), ("egtp", cells.egtp_byte_ND)):
        per_byte, per_call = _ring_terms(c, eff, getattr(sizes, axis), spans, axis)
        seconds = (
            seconds + byte_ND * _at(per_byte, cells.shard_N)[:, None] + (byte_ND > 0) * _at(per_call, cells.shard_N)[:, None]
        )
    return overlapped(seconds, eff["fsdp_window"] * compute_ND, eff["fsdp_floor"])


def overlapped(seconds: Floats, window: Floats, floor: Floats | float) -> Floats:
    """What shows of communication that compute can hide: a floor, and smoothly all that exceeds the window."""
    window = np.maximum(window, 1e-9)
    excess = np.logaddexp(0.0, 8.0 * (seconds / window - 1.0)) / 8.0 - np.log1p(np.exp(-8.0)) / 8.0
    return np.asarray(np.where(seconds > 0, floor * seconds + (1.0 - floor) * np.minimum(excess * window, seconds), 0.0))


def _ring_terms(c: Context, eff: Efficiency, size: Floats, spans: Spans, axis: str) -> tuple[Floats, Floats]:
    """Seconds per payload byte and per call of a ring along an axis, (S,) or (1,)."""
    members, ring, _ = spans.axis(axis)
    start = net.ring_start_s(eff, size, members)
    return net.ring_s(_links(c), eff, size, members, ring, np.ones_like(size), spans.hops(axis)) - start, start


def _links(c: Context) -> net.Links:
    return net.Links(c.nvlink_Bps, c.nic_Bps, c.domain, c.nvls.astype(float), (c.generation == 2).astype(float))


def _at(values_S: Values, shard_N: Ints) -> Values:
    """Values of the shards at cells; a single one serves all."""
    values_S = np.atleast_1d(values_S)
    return values_S[shard_N] if len(values_S) > 1 else np.broadcast_to(values_S, shard_N.shape)


assert AXES.index("tp") == 0 and len(SHARE_KD) == 7
