# SPDX-License-Identifier: Apache-2.0
# S strategy row   K shard (one way to cut a layer)
"""The space of strategies, as tables of integers: every divisor that the model, the batch and the cluster allow.

A strategy is built in three levels, so that whole subtrees fall to one bound (see `passes/search.py`):

    outer   tp, cp, micro_batch, dp, pp          decides the world size and the number of microbatches
    inner   ep, etp, gtp, egtp                   folds the experts and shards weights over the same ranks
    leaf    schedule, vpp, sharding              decides bubble, memory and exposed data-parallel traffic

No degree is restricted to powers of two: an NVL72 rack wants 9, 18, 36 and 72 as well as 64 (DESIGN §6).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from placement.ir import Attention, Cluster, Job, Matmul, ModelGraph
from placement.ir._array import Bools, Ints

Whole = npt.NDArray[np.int64]
Rows = dict[str, Whole]
OUTER = ("tp", "cp", "micro_batch", "dp", "pp")
INNER = ("ep", "etp", "gtp", "egtp")
MIN_SLICE = 256  # tokens of a sequence that one context-parallel rank keeps; below, kernels have no work (Liu et al. 2023)
MAX_MICRO_BATCH = 64
RACK_SCALE = 32  # GPUs of an NVLink domain from which on it is a rack, not a host
_WIDE = (3, 9, 18, 36, 72)  # weight shards beside the powers of two, where they divide a domain


@dataclass(frozen=True)
class Space:
    """Values that each axis may take, and the choices of a leaf. Every list ascends."""

    tp: tuple[int, ...]
    cp: tuple[int, ...]
    ep: tuple[int, ...]
    etp: tuple[int, ...]
    weight_shards: tuple[int, ...]  # gtp and egtp
    routed: bool  # the model has experts
    micro_batch: tuple[int, ...]
    pp: tuple[int, ...]
    dp: tuple[int, ...]
    leaves: tuple[tuple[str, int], ...]  # (schedule, vpp)
    sharding: tuple[str, ...]
    pins: Mapping[str, int | str]


def divisors(n: int) -> tuple[int, ...]:
    """All divisors of n, ascending.

    >>> divisors(12)
    (1, 2, 3, 4, 6, 12)
    """
    low = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return tuple(sorted({*low, *(n // d for d in low)}))


def space(cluster: Cluster, model: ModelGraph, job: Job) -> Space:
    """Axis values for this model and cluster, narrowed by the job's pins."""
    domain = domain_gpus(cluster)
    experts = model.experts
    vpps = range(1, model.num_blocks + 1)
    leaves = tuple(
        (schedule, vpp)
        for schedule in job.schedules
        for vpp in _vpps(schedule, vpps)
        if _pinned(job, "schedule", schedule) and _pinned(job, "vpp", vpp)
    )
    return Space(
        tp=_keep(job, "tp", (t for t in divisors(_tp_base(model)) if t <= domain and _tp_fits(model, t))),
        cp=_keep(job, "cp", (c for c in divisors(job.seq_len) if job.seq_len // c >= MIN_SLICE or c == 1)),
        ep=_keep(job, "ep", _expert_degrees(experts.num, domain, "ep" in job.pins) if experts else (1,)),
        etp=_keep(job, "etp", (t for t in divisors(experts.ffn) if t <= domain) if experts else (1,)),
        routed=experts is not None,
        weight_shards=tuple(g for g in range(1, domain + 1) if g & (g - 1) == 0 or (g in _WIDE and domain % g == 0)),
        micro_batch=_keep(job, "micro_batch", (b for b in divisors(job.global_batch) if b <= MAX_MICRO_BATCH)),
        pp=_keep(job, "pp", range(1, model.num_blocks + 1)),
        dp=_keep(job, "dp", divisors(job.global_batch)),
        leaves=leaves,
        sharding=tuple(s for s in job.sharding if _pinned(job, "sharding", s)),
        pins=job.pins,
    )


def impossible_pins(cluster: Cluster, model: ModelGraph, job: Job) -> list[str]:
    """Pinned degrees that are none of this model, job and cluster, and those that are."""
    free, pinned = space(cluster, model, replace(job, pins={})), space(cluster, model, job)
    return [
        f"`{axis}` is pinned to {job.pins[axis]}, which is no degree here; known: {', '.join(map(str, known))}"
        for axis in ("tp", "cp", "ep", "etp", "micro_batch", "pp", "dp")
        for known in [getattr(free, axis)]
        if axis in job.pins and not getattr(pinned, axis)
    ]


def _vpps(schedule: str, vpps: Iterable[int]) -> Iterable[int]:
    """Chunks a stage may have: V-shaped schedules have two, interleaving at least two, the others one."""
    if schedule in ("zb-v", "dualpipev"):
        return (2,)
    return (v for v in vpps if v > 1) if schedule == "interleaved" else (1,)


def _keep(job: Job, axis: str, values: Iterable[int]) -> tuple[int, ...]:
    return tuple(v for v in values if _pinned(job, axis, v))


def _pinned(job: Job, name: str, value: int | str) -> bool:
    return name not in job.pins or str(job.pins[name]) == str(value)


def _expert_degrees(num: int, domain: int, pinned: bool) -> tuple[int, ...]:
    """Expert groups stay in one rack-scale NVLink domain unless pinned: over two of them the all-to-all loses 14x of its
    bandwidth and has been seen to stall (NeMo-RL #2986). Domains of one host are too small for that rule.
    """
    inside = domain >= RACK_SCALE and not pinned
    return tuple(e for e in divisors(num) if e <= domain or not inside)


def _tp_base(model: ModelGraph) -> int:
    """Tensor parallelism splits heads and the width between two matmuls, so its degree divides each of them."""
    widths = [op.heads for t in model.types for op in t.ops if isinstance(op, Attention) and not t.span]
    widths += [op.inp for t in model.types for op in t.ops if isinstance(op, Matmul) and op.shard == "row" and not t.span]
    return math.gcd(*widths) if widths else model.hidden


def _tp_fits(model: ModelGraph, tp: int) -> bool:
    """KV heads are split over tp or replicated evenly."""
    heads = [op.kv_heads for t in model.types for op in t.ops if isinstance(op, Attention) and not t.span]
    return all(kv % tp == 0 or tp % kv == 0 for kv in heads)


def domain_gpus(cluster: Cluster) -> int:
    """GPUs of the largest NVLink domain that are usable."""
    usable_N = cluster.usable_NG.sum(axis=1)
    return int(np.bincount(cluster.tiers[0].group_N, weights=usable_N).max(initial=0))


def replicas(space: Space, job: Job) -> tuple[Rows, Bools]:
    """Every (tp, cp, micro_batch, dp), and which of them divide: dp * micro_batch must divide the global batch, and a sequence
    must split into 2*cp equal slices (causal balance) of tp equal parts (sequence parallelism).
    """
    rows = product(tp=space.tp, cp=space.cp, micro_batch=space.micro_batch, dp=space.dp)
    return rows, (job.global_batch % (rows["dp"] * rows["micro_batch"]) == 0) & sequence_splits(rows, job)


def sequence_splits(rows: Rows, job: Job) -> Bools:
    slices_S = np.where(rows["cp"] > 1, 2 * rows["cp"], 1)
    return np.asarray(job.seq_len % (slices_S * rows["tp"]) == 0)


def heads(space: Space, job: Job) -> Rows:
    """Every (tp, cp, micro_batch) whose sequence splits evenly."""
    rows = product(tp=space.tp, cp=space.cp, micro_batch=space.micro_batch)
    return take(rows, sequence_splits(rows, job))


def expert_rows(space: Space, domain: int) -> Rows:
    """Every (ep, etp, egtp). An expert group may outgrow a domain; its tensor and weight shards may not: gathering weights
    for every use over the NIC never pays against fsdp, and tensor groups need NVLink.
    """
    rows = product(ep=space.ep, etp=space.etp, egtp=space.weight_shards if space.routed else (1,))
    width = rows["ep"] * rows["etp"]
    fits = (rows["etp"] * rows["egtp"] == 1) | (width * rows["egtp"] <= domain)
    return take(rows, fits & _pin_mask(space, rows, "egtp"))


def shard_rows(head: Rows, space: Space, domain: int, experts: Rows) -> Rows:
    """Every way to cut a layer below the given heads: heads x gtp x experts, heads contiguous."""
    rows = cross(head, product(gtp=space.weight_shards))
    fits = (rows["gtp"] == 1) | (rows["tp"] * rows["cp"] * rows["gtp"] <= domain)
    return cross(take(rows, fits & _pin_mask(space, rows, "gtp")), experts)


def _pin_mask(space: Space, rows: Rows, axis: str) -> Bools:
    pinned = space.pins.get(axis)
    return np.ones(length(rows), bool) if pinned is None else np.asarray(rows[axis] == int(pinned))


def product(**values: Iterable[int]) -> Rows:
    """Cartesian product as columns; the first name varies slowest.

    >>> {k: v.tolist() for k, v in product(a=(1, 2), b=(3, 4)).items()}
    {'a': [1, 1, 2, 2], 'b': [3, 4, 3, 4]}
    """
    grid = np.meshgrid(*(np.asarray(tuple(v), dtype=np.int64) for v in values.values()), indexing="ij")
    return {name: column.ravel() for name, column in zip(values, grid, strict=True)}


def cross(a: Rows, b: Rows) -> Rows:
    """Every row of `a` beside every row of `b`; rows of `a` stay contiguous."""
    n, m = length(a), length(b)
    return {k: np.repeat(v, m) for k, v in a.items()} | {k: np.tile(v, n) for k, v in b.items()}


def take(rows: Rows, which: Ints | Bools | slice) -> Rows:
    return {k: v[which] for k, v in rows.items()}


def length(rows: Rows) -> int:
    return len(next(iter(rows.values())))
