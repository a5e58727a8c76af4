# SPDX-License-Identifier: Apache-2.0
# R rank   N node   D NVLink domain
"""Orders in which others put ranks on GPUs, for comparison under one model: same strategy, same stages, another placement."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from placement.cost.cells import cell_size
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, Strategy
from placement.ir._array import Ints
from placement.passes.sites import launcher_default

Order = Callable[[Cluster, Strategy, Job], Placement]


def megatron(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """Ranks in order over the usable hosts by name: `torchrun` over a sorted host file, Megatron's tp-cp-ep-dp-pp numbering."""
    return launcher_default(cluster, strategy, job)


def slurm_block(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """Ranks in order over whole segments: `topology/block` with `--segment` = the nodes that must share a block.

    Slurm takes whole segments of each block, in order of blocks, and leaves what is over (slurm.conf, TopologyParam;
    sbatch --segment). Where a cell is smaller than a node, or is no whole number of them, a segment is one node.
    """
    gpus = cluster.gpus_per_node
    cell = cell_size(cluster, strategy, job.ragged)
    segment = cell // gpus if cell % gpus == 0 else 1
    whole = np.flatnonzero(cluster.whole_N)
    domain = cluster.tiers[0].group_N[whole]
    whole = whole[np.argsort(domain, kind="stable")]
    domain = cluster.tiers[0].group_N[whole]
    first = np.searchsorted(domain, domain)
    size = np.bincount(domain, minlength=cluster.tiers[0].num_groups)[domain]
    return _fill(cluster, strategy, whole[np.arange(len(whole)) - first < size // segment * segment])


def jax_mesh(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """`jax.devices()` reshaped: replicas outermost, then stages, then what is left of a replica, expert and tensor innermost.

    The order of axes is MaxText's (`mesh_axes`: data, stage, fsdp, ..., tensor, expert); `create_device_mesh` keeps devices in
    order of process and slot where there is no physical torus (JAX, mesh_utils).
    """
    inner = int(np.lcm(strategy.tp * strategy.cp, strategy.etp * strategy.ep))
    plain = launcher_default(cluster, strategy, job).gpu_R
    device_R = np.arange(strategy.world_size).reshape(-1, strategy.pp, inner).swapaxes(0, 1).ravel()
    return Placement(plain[device_R])


def shuffled(cluster: Cluster, strategy: Strategy, job: Job) -> Placement:
    """Whole nodes in random order (the job's seed): a scheduler that knows no topology."""
    node_N = np.flatnonzero(cluster.whole_N)
    return _fill(cluster, strategy, np.random.default_rng(job.seed).permutation(node_N))


def _fill(cluster: Cluster, strategy: Strategy, node_N: Ints) -> Placement:
    """Ranks in order over all GPUs of these nodes. Raises Infeasible where they are too few."""
    gpus = cluster.gpus_per_node
    if len(node_N) * gpus < strategy.world_size:
        message = f"{strategy.world_size} ranks, but {len(node_N) * gpus} GPUs are left of whole segments"
        raise Infeasible(message, {"capacity": 1})
    gpu_R = (node_N[:, None] * gpus + np.arange(gpus)).ravel()[: strategy.world_size]
    return Placement(gpu_R.astype(np.int64))


ORDERS: Mapping[str, Order] = {
    "Megatron default order": megatron,
    "Slurm block order": slurm_block,
    "JAX device order": jax_mesh,
    "random nodes": shuffled,
}
