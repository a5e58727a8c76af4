# SPDX-License-Identifier: Apache-2.0
# K shard   Y block type   D = (forward, backward-input, backward-weight)   C recompute mode (RECOMPUTE order)   A axis
"""Cost of one layer of each block type for one microbatch on one GPU, under K ways to cut it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.context import context
from placement.cost.count import Cells, count
from placement.cost.hardware import Hardware
from placement.cost.price import Computed, Sizes, compute_s, groups_hit, joined
from placement.cost.shards import Shards
from placement.ir import AXES, Efficiency, Job, ModelGraph, Spans
from placement.ir._array import Floats, Ints, freeze


@dataclass(frozen=True)
class LayerCost:
    """Seconds and bytes of one microbatch on one GPU.

    `compute_KYD`    kernels, launch gaps and casts, without recompute
    `recompute_KYC`  extra seconds of the backward pass under each mode, repeated communication included
    `tp_KYD` `cp_KYD` `ep_KYD` `gtp_KYD`  communication that no compute hides; gtp: weight gathers of dense and expert layers
    `act_KYC`        bytes kept for the backward pass, for each microbatch in flight
    `dense_KY` `expert_KY`  parameters that one GPU holds
    `edge_K`         bytes one GPU sends over a hidden-wide stage boundary, one direction
    `hooked_KY`      seconds of the host for a microbatch, where FSDP gathers the weights
    `sent_KYA`       bytes one GPU sends, forward and backward, by axis (tp, cp, gtp, etp, ep, egtp; the others are 0)
    """

    compute_KYD: Floats
    recompute_KYC: Floats
    tp_KYD: Floats
    cp_KYD: Floats
    ep_KYD: Floats
    gtp_KYD: Floats
    act_KYC: Floats
    dense_KY: Floats
    expert_KY: Floats
    edge_K: Floats
    hooked_KY: Floats
    sent_KYA: Floats

    def __post_init__(self) -> None:
        freeze(self)

    def at(self, index: Ints | slice) -> LayerCost:
        """Rows by index."""
        return LayerCost(**{f.name: getattr(self, f.name)[index] for f in dataclasses.fields(self)})

    def row(self, k: int) -> LayerCost:
        """Row `k` alone."""
        return self.at(slice(k, k + 1))

    @property
    def exposed_KYD(self) -> Floats:
        """All communication that shows."""
        return self.tp_KYD + self.cp_KYD + self.ep_KYD + self.gtp_KYD

    @property
    def total_KYD(self) -> Floats:
        """Compute and exposed communication, without recompute."""
        return self.compute_KYD + self.exposed_KYD


def join_layers(parts: Sequence[LayerCost]) -> LayerCost:
    """Costs one after the other."""
    if len(parts) == 1:
        return parts[0]
    return LayerCost(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(LayerCost)})


def layer_cost(model: ModelGraph, job: Job, hw: Hardware, eff: Efficiency, shards: Shards, spans: Spans) -> LayerCost:
    """Price every block type under every shard. `spans` has leading dimension K, 1 or none (one for all shards)."""
    some, which_K = counted_alike(shards)
    tables, c, sizes = count(model, job, hw, some), context(job, hw), sizes_of(shards)
    num, types = shards.num, len(model.types)
    from_N = (which_K[:, None] * types + np.arange(types)).ravel()
    cells = _spread(tables.cells, from_N, shards, types)
    done = compute_s(tables.work, tables.cells, c, eff)
    done = Computed(done.all_ND[from_N], done.core_ND[from_N], done.cheap_N[from_N])
    seconds = joined(cells, done, c, eff, sizes, leading(spans))

    def grid(flat: Floats) -> Floats:
        return flat.reshape(num, types, *flat.shape[1:])

    return LayerCost(
        compute_KYD=grid(seconds.compute_ND), recompute_KYC=grid(seconds.recompute_NC), tp_KYD=grid(seconds.tp_ND),
        cp_KYD=grid(seconds.cp_ND), ep_KYD=grid(seconds.ep_ND), gtp_KYD=grid(seconds.gtp_ND), act_KYC=grid(cells.act_NC),
        dense_KY=grid(cells.dense_N), expert_KY=grid(cells.expert_N), edge_K=edge_bytes(model, job, shards),
        hooked_KY=grid(seconds.hooked_N), sent_KYA=grid(sent_NA(cells, sizes)),
    )  # fmt: skip


def counted_alike(shards: Shards) -> tuple[Shards, Ints]:
    """The distinct shards without their weight shards, and which of them each is: gtp and egtp change what is held and
    gathered, but nothing that is computed, so that a few shards are counted for thousands.
    """
    names = ("tp", "cp", "ep", "etp", "micro_batch")
    code_K = np.zeros(shards.num, dtype=np.int64)
    for name in names:
        values, place_K = np.unique(getattr(shards, f"{name}_K"), return_inverse=True)
        code_K = code_K * len(values) + place_K
    _, first, which_K = np.unique(code_K, return_index=True, return_inverse=True)
    tp, cp, ep, etp, micro_batch = (getattr(shards, f"{name}_K")[first] for name in names)
    return Shards(tp, cp, ep, etp, np.ones_like(tp), np.ones_like(tp), micro_batch), which_K


def _spread(cells: Cells, from_N: Ints, shards: Shards, types: int) -> Cells:
    """Cells of all shards from those of the distinct ones; weight shards divide what is held."""
    of = {f.name: getattr(cells, f.name)[from_N] for f in dataclasses.fields(Cells)}
    of["shard_N"] = np.repeat(np.arange(shards.num), types)
    of["dense_N"] = of["dense_N"] / np.repeat(shards.gtp_K, types)
    of["expert_N"] = of["expert_N"] / np.repeat(shards.egtp_K, types)
    return Cells(**of)


def sizes_of(shards: Shards) -> Sizes:
    """Degrees of the communicators as floats."""
    return Sizes(*(shards.degree(a).astype(float) for a in ("tp", "cp", "ep", "etp", "gtp", "egtp")))


def leading(spans: Spans) -> Spans:
    """Spans with one leading dimension: (K or 1, A, T)."""
    if spans.members.ndim == 3:
        return spans
    return Spans(spans.members[None], spans.ring_spB[None], spans.a2a_spB[None], None if spans.hop is None else spans.hop[None])


def edge_bytes(model: ModelGraph, job: Job, shards: Shards) -> Floats:
    """Bytes of the residual stream of one microbatch on one GPU, bf16, split over tp by sequence parallelism, (K,)."""
    tokens_K = shards.micro_batch_K * job.seq_len / shards.cp_K
    return np.asarray(2.0 * tokens_K * model.hidden / shards.tp_K)


def sent_NA(cells: Cells, sizes: Sizes) -> Floats:
    """Bytes that one GPU sends along each axis for one microbatch: ring payloads x (n - 1) / n, tokens once to each GPU."""
    n = cells.shard_N
    sent = np.zeros((len(n), len(AXES)))
    rings = {
        "tp": cells.tp_byte_ND,
        "cp": cells.cp_byte_ND,
        "gtp": cells.gtp_byte_ND,
        "etp": cells.etp_byte_ND,
        "egtp": cells.egtp_byte_ND,
    }
    for axis, byte_ND in rings.items():
        size_N = getattr(sizes, axis)[n]
        sent[:, AXES.index(axis)] = byte_ND.sum(axis=1) * (size_N - 1.0) / size_N
    ep_N = sizes.ep[n]
    copies_N = groups_hit(ep_N, cells.topk_N, cells.experts_N) * (ep_N - 1.0) / ep_N
    sent[:, AXES.index("ep")] = cells.ep_byte_ND.sum(axis=1) * copies_N
    return sent
