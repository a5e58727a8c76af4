# SPDX-License-Identifier: Apache-2.0
# S strategy   K row of a `LayerCost`   Y block type   C recompute mode (RECOMPUTE order)   M modes allowed, weakest first
"""Lower bound of the fullest GPU's memory for any partition, and of the recompute that makes it fit, for many strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from placement.cost.layers import LayerCost
from placement.cost.memory import copy_bytes, dense_quantised_Y, logits_YC, parameter_bytes
from placement.ir import RECOMPUTE, SCHEDULES, Job, ModelGraph
from placement.ir._array import Bools, Floats

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Held:
    """What decides the memory of a strategy beside its outer degrees, by row of a `LayerCost`. Made once for many strategies.

    `dense_KY`, `expert_KY` parameters of a block; `kept_MKY` bytes kept of a microbatch, without logits, in the thriftiest
    mode up to M; `price_MK` least seconds of recompute for each byte that a stronger mode takes off (0: none does).
    """

    dense_KY: Floats
    expert_KY: Floats
    kept_MKY: Floats
    price_MK: Floats

    def at(self, index: Ints) -> Held:
        """Rows by index."""
        return Held(self.dense_KY[index], self.expert_KY[index], self.kept_MKY[:, index], self.price_MK[:, index])


def join_held(parts: Sequence[Held]) -> Held:
    """Rows one after the other."""
    dense_KY, expert_KY = (np.concatenate([getattr(p, f) for p in parts]) for f in ("dense_KY", "expert_KY"))
    kept_MKY, price_MK = (np.concatenate([getattr(p, f) for p in parts], axis=1) for f in ("kept_MKY", "price_MK"))
    return Held(dense_KY, expert_KY, kept_MKY, price_MK)


def held_of(model: ModelGraph, job: Job, layer: LayerCost, sequences_K: Floats, modes: Sequence[str]) -> Held:
    """`sequences_K` is micro_batch / cp / tp of each row; `modes` are the recompute modes allowed."""
    allowed = sorted(RECOMPUTE.index(mode) for mode in modes)
    kept_KYC = np.maximum(layer.act_KYC - logits_YC(model, job, sequences_K), 0.0)[:, :, allowed]
    again_KYC = layer.recompute_KYC[:, :, allowed]
    kept_MKY = np.minimum.accumulate(np.moveaxis(kept_KYC, 2, 0), axis=0)
    return Held(
        np.asarray(layer.dense_KY), np.asarray(layer.expert_KY), kept_MKY,
        np.array([_price(kept_MKY[i], kept_KYC[:, :, i + 1 :], again_KYC[:, :, i + 1 :]) for i in range(len(allowed))]),
    )  # fmt: skip


def _price(kept_KY: Floats, stronger_KYC: Floats, again_KYC: Floats) -> Floats:
    """Least seconds for a byte that stronger modes save of what is kept, 0 where they save none. (K,)"""
    saved_KYC = kept_KY[:, :, None] - stronger_KYC
    price_KYC = np.where(saved_KYC > 0, again_KYC / np.maximum(saved_KYC, 1e-30), np.inf)
    price_K = price_KYC.min(axis=(1, 2), initial=np.inf)
    return np.where(np.isfinite(price_K), price_K, 0.0)


@dataclass(frozen=True)
class Stores:
    """Degrees that decide what strategies hold, (S,) each: `k` the row of a `Held`, `schedule` and `sharding` index SCHEDULES
    and SHARDING, `replicas` dp * cp / gtp, `expert_replicas` edp / egtp.
    """

    k: Ints
    schedule: Ints
    sharding: Ints
    pp: Ints
    num_microbatches: Ints
    replicas: Ints
    expert_replicas: Ints


def memory_bounds(model: ModelGraph, job: Job, held: Held, stores: Stores, limit: float = np.inf) -> tuple[Floats, Floats]:
    """Bytes that the fullest GPU has under any partition and any recompute of the modes of `held`, and the seconds of recompute
    that one microbatch costs at least, over all stages, so that `limit` bytes are enough. (S,) each.

    Proof. Stage s holds at least x_s microbatches of each of its chunks at some moment, where x_s runs through
    min(m, 1), min(m, 2) ... min(m, p) in some order (zb-h1: always min(m, p); DualPipe: p/2 pairs of stages with the same
    content, m/2 microbatches a direction): tested against `held`. A block of type y costs sigma_y + x_s a_y there. For weights
    lambda_s >= 0 of sum 1, max >= sum_s lambda_s bytes_s >= sum_y n_y min_s lambda_s (sigma_y + x_s a_y). We take lambda_s
    proportional to 1 / (sigma + x_s a) of the mean block; the quotient of two linear functions of x has its minimum at an end.
    The sum of 1 / (sigma + x a) over x = 1..q is at most its first term plus the integral from 1 to q. Also the largest block
    lies somewhere.

    Of recompute. In that weighted sum the weak modes alone need B. A block in a stronger mode takes lambda_s x_s delta off,
    delta being the bytes it then no longer keeps, so the deltas of the blocks in stronger modes sum to
    (B - limit) / max lambda_s x_s at least, and lambda_s x_s <= top / deep: no term of the sum of 1 / (sigma + x a) is less
    than the last one. Each byte costs no less than the best quotient of seconds and delta.
    """
    dual = (stores.schedule == SCHEDULES.index("dualpipe")) & (stores.pp > 1)
    halves = np.where(dual, 2, 1)
    deep, batch = stores.pp / halves, stores.num_microbatches // halves
    top, level = np.minimum(deep, batch), stores.schedule == SCHEDULES.index("zb-h1")
    busiest = np.minimum(stores.pp, stores.num_microbatches) / stores.pp
    blocks, again = _static_blocks(model, job, held, stores, dual), np.zeros(len(stores.k))
    spread = block = again
    for kept_KY, price_K in zip(held.kept_MKY, held.price_MK, strict=True):
        spread, block = _spread([(n, static, kept_KY[stores.k, y]) for y, n, static in blocks], deep, top, level)
        if price_K.any():
            again = np.maximum(again, np.maximum(spread - limit, 0.0) / busiest * price_K[stores.k])
    return np.maximum(spread, block), again


def _static_blocks(model: ModelGraph, job: Job, held: Held, stores: Stores, dual: Bools) -> list[tuple[int, float, Floats]]:
    """Each block type that there is: its index, how many blocks, and bytes of weights, gradients and states of one. (S,)"""
    copies, k = copy_bytes(job, stores.sharding), stores.k
    shared = (np.asarray(n, float) for n in (stores.replicas, stores.expert_replicas))
    dense, expert = (np.sum(parameter_bytes(job, stores.sharding, n, dual), axis=0) for n in shared)
    share_Y, count_Y = dense_quantised_Y(model), _own_counts(model)
    return [
        (y, n, held.dense_KY[k, y] * (dense + share * copies) + held.expert_KY[k, y] * (expert + copies))
        for y, (n, share) in enumerate(zip(count_Y.tolist(), share_Y.tolist(), strict=True))
        if n > 0
    ]


def _own_counts(model: ModelGraph) -> Floats:
    """Blocks of each type, without those whose matrix is tied to a larger one: they may cost nothing of their own."""
    count_Y = model.count_Y.astype(float)
    for a, b in model.tied:
        count_Y[min(model.type_B[a], model.type_B[b], key=lambda y: model.types[y].dense_params)] -= 1
    return count_Y


def _spread(
    types: list[tuple[float, Floats, Floats]], deep: Floats, top: Floats, level: Bools
) -> tuple[Floats, Floats]:  # fmt: skip
    """`_memory_bounds` from (blocks, static bytes, bytes kept of a microbatch) by type; `deep` stages hold 1 to `top`."""
    few = np.where(level, top, np.minimum(top, 1.0))
    mean, slope = (np.asarray(sum(row[0] * row[i] for row in types)) for i in (1, 2))
    low, high = mean + few * slope, mean + top * slope
    share, block = np.zeros_like(low), np.zeros_like(low)
    for n, static, kept in types:
        first = static + few * kept
        np.maximum(block, first, out=block)
        share += n * np.minimum(first / low, (static + top * kept) / high)
    ratio = (high - low) / low
    stretch = np.where(ratio > 1e-12, np.log1p(ratio) / np.maximum(ratio, 1e-12), 1.0)
    inverse = np.where(level, deep / high, (deep - top) / high + (1.0 + (top - 1.0) * stretch) / low)
    return np.asarray(share / inverse), block
