# SPDX-License-Identifier: Apache-2.0
# N cell   D = (forward, backward-input, backward-weight)
"""What a host needs to launch the kernels of a layer. It runs ahead of the GPU, so only a host that is slower shows.

A microbatch takes the longer of both, rounded off where they are near each other, since kernels of a layer are of unequal
length and the queue of launches is short. CUDA graphs launch whole layers at once.
"""

from __future__ import annotations

import numpy as np

from placement.cost.context import Context, fused_moe
from placement.cost.count import Cells
from placement.ir import Efficiency
from placement.ir._array import Bools, Floats

QUANTISED_EXPERT = 3.5  # launches of an expert, of bf16's six matmuls: some fifteen more quantise two inputs and two gradients


def launches_s(cells: Cells, c: Context, eff: Efficiency, split_N: Bools) -> Floats:
    """Seconds of the host for a layer and microbatch, forward and backward, (N,). `c` by cell; `split_N`: tp above 1."""
    quantised = np.where(c.low, eff["host_low"], 1.0)
    dtensor = np.where(c.torch & split_N, eff["host_dtensor"], 1.0)
    expert = eff["host_expert_s"] * np.where(c.low, QUANTISED_EXPERT, 1.0)
    routed = (eff["host_moe_s"] + expert * cells.local_N) * cells.routed_N
    return np.asarray(eager_share(c) * cells.layers_N * (eff["host_dense_s"] * quantised * dtensor + routed))


def eager_share(c: Context) -> Floats:
    """Share of stacks that launch kernel by kernel: MLPerf's and, from the spring of 2026, those of Blackwell run graphs."""
    return np.where(c.graphs, 0.0, 1.0 - fused_moe(c))


def hooked_s(cells: Cells, c: Context, eff: Efficiency, host_N: Floats) -> Floats:
    """The same where FSDP gathers the weights of every layer: its hooks run in Python, with or without graphs."""
    return np.asarray(host_N + eff["host_fsdp_s"] * cells.layers_N * np.ones_like(c.year))


def later(busy: Floats, host: Floats) -> Floats:
    """The longer of both, rounded off (power mean of order 8): ascends with both."""
    four, other = np.square(np.square(busy)), np.square(np.square(host))
    return np.asarray(np.sqrt(np.sqrt(np.sqrt(np.square(four) + np.square(other)))))


def waiting_s(busy_ND: Floats, host_N: Floats) -> Floats:
    """Seconds that a GPU waits for its host, by direction; a third of the launches each. (N, D)"""
    return np.asarray(later(busy_ND, host_N[:, None] / busy_ND.shape[-1]) - busy_ND)
