# SPDX-License-Identifier: Apache-2.0
# D NVLink domain   H hour
"""What each way to keep spares costs in step time, and how long it lets a job go on without shrinking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.cells import domain_gpus, may_split
from placement.cost.spares import rooms, survival
from placement.ir import Candidate, Cluster, Job, Spares
from placement.ir._array import Floats, Ints
from placement.ir.failures import GPU_DAY, Failures
from placement.passes.shrink import column_ranks
from placement.passes.yard import cell_of, yard_of

POLICIES = tuple(
    Spares(policy, count)
    for policy, counts in (("none", (0,)), ("per_rack", (1, 2)), ("racks", (16, 64, 128, 256)), ("per_group", (1, 2, 4)))
    for count in counts
)


@dataclass(frozen=True)
class Policy:
    """A spare policy under the layout of a plan. `replicas`: as many as fit. `throughput`: of that many over the plan's, each
    with its microbatches, the batch following. `step_s`: of the plan's batch on the most of them that it deals over evenly.

    `local`: share of lost trays that are replaced from their own rack, so that one tray moves and not a cell.
    `survives_H`: probability that after so many hours everything lost could be repaired, nothing returning to service.
    """

    spares: Spares
    label: str
    spare_gpus: int
    replicas: int
    throughput: float
    step_s: float
    local: float
    survives_H: Floats


def sparing(
    cluster: Cluster, chosen: Candidate, job: Job, failures: Sequence[Failures], *, hours: int = 24, trials: int = 400,
    seed: int = 0, policies: Sequence[Spares] = POLICIES,
) -> list[Policy]:  # fmt: skip
    """Policies side by side, the plan first, then by falling number of replicas. Those that leave no replica are left out.

    Every policy is filled with as many replicas of the plan's layout as it has room for.
    """
    strategy, placement = chosen.strategy, chosen.placement
    yard, cell = yard_of(cluster, strategy, job), cell_of(cluster, strategy, placement)
    block = math.lcm(cell, yard.width)
    column = column_ranks(strategy, cell, yard.width) // block * strategy.pp
    per_column = column * block // (strategy.tp * strategy.cp * strategy.pp)
    rooms_KH = _rooms(cluster, yard.room_D * yard.width // cluster.gpus_per_node, block, failures, hours, trials, seed)
    held_D = np.bincount(yard.domain_S[np.unique(placement.gpu_R // (cluster.gpus_per_node if yard.width > 1 else 1))])
    usable = int(cluster.usable_NG.sum())
    rows = [
        Policy(
            job.spares, "this plan", usable - strategy.world_size, strategy.dp, 1.0, chosen.cost.step_s,
            _local(np.pad(held_D, (0, yard.num_domains - len(held_D))), yard.room_D),
            survival(rooms_KH, strategy.world_size // block),
        )
    ]  # fmt: skip
    daily = sum(f.daily(cluster.num_gpus, 0) for f in failures if f.scope == "node") / max(cluster.num_gpus, 1)
    found = []
    for spares in (*policies, Spares("survive", 0, float(hours), 0.99, daily or GPU_DAY)):
        loose = may_split(cluster, strategy.world_size, job.ragged)
        blocks_D = domain_gpus(cluster, loose, spares) // block
        columns = int(blocks_D.sum()) // column
        if columns == 0:
            continue
        used, replicas = columns * column, columns * per_column
        step_s = _step_s(chosen, job, replicas, per_column)
        found.append(
            Policy(
                spares, label(spares), usable - used * block, replicas, replicas / strategy.dp, step_s,
                _local(_filled(blocks_D, used) * (block // yard.width), yard.room_D), survival(rooms_KH, used),
            )
        )  # fmt: skip
    return rows + sorted(found, key=lambda p: -p.replicas)


def _step_s(chosen: Candidate, job: Job, replicas: int, unit: int) -> float:
    """Seconds of a step of the same batch on up to `replicas`, which come in units; inf where it deals over no such number.

    Work grows with the microbatches of a replica, filling and draining the pipeline does not (Narayanan et al. 2021, 2.2).
    """
    strategy, parts = chosen.strategy, chosen.cost.parts_s
    counts = np.arange(unit, replicas + 1, unit)
    even = counts[job.global_batch % (counts * strategy.micro_batch) == 0]
    if not len(even):
        return math.inf
    growth = strategy.dp / int(even[-1]) - 1.0
    return chosen.cost.step_s + growth * sum(parts[p] for p in ("compute", "tp", "cp", "ep", "pp"))


def label(spares: Spares) -> str:
    """`2 trays a rack`, `64 racks`, `1 rack a pod`, `99 % for 24 h`."""
    n = spares.count
    return {
        "none": "none", "per_rack": f"{n} tray{'s' * (n > 1)} a rack", "racks": f"{n} rack{'s' * (n > 1)}", "gpus": f"{n} GPUs",
        "per_group": f"{n} rack{'s' * (n > 1)} a group", "survive": f"{spares.probability:.0%} for {spares.hours:g} h",
        "any": "what is left over",
    }[spares.policy]  # fmt: skip


def _filled(blocks_D: Ints, used: int) -> Ints:
    """Blocks of each domain when the first ones are filled."""
    before_D: Ints = np.cumsum(blocks_D, dtype=np.int64) - blocks_D
    left_D: Ints = np.maximum(used - before_D, 0)
    return np.minimum(left_D, blocks_D)


def _local(held_D: Ints, room_D: Ints) -> float:
    """Share of used sites whose domain has a free one."""
    return float(held_D[room_D > held_D].sum() / max(int(held_D.sum()), 1))


def _rooms(
    cluster: Cluster, nodes_D: Ints, block: int, failures: Sequence[Failures], hours: int, trials: int, seed: int
) -> Ints:  # fmt: skip
    """Room in blocks after each hour; nodes fail as one, so blocks count in nodes (rounded up)."""
    node_daily, domain_daily = (
        sum(f.daily(cluster.num_gpus, cluster.tiers[0].num_groups) for f in failures if f.scope == scope)
        for scope in ("node", "domain")
    )
    sites = max(1, -(-block // cluster.gpus_per_node))
    scale = max(1, sites * cluster.gpus_per_node // block)  # several small blocks to a node
    present_N = np.asarray(cluster.tiers[0].group_N, np.int64)
    found = rooms(
        present_N, nodes_D.astype(np.int64), sites, node_daily=node_daily, domain_daily=domain_daily, hours=hours,
        trials=trials, seed=seed,
    )  # fmt: skip
    return found * scale
