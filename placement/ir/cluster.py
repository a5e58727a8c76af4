# SPDX-License-Identifier: Apache-2.0
# N node   G gpu slot of a node   T tier, innermost first   J group of a tier
"""The cluster: nodes in nested tiers, as arrays. No text, no units, no object per GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import TypeVar

import numpy as np

from placement.diag import Diagnostic
from placement.ir._array import Bools, Floats, Ints, Strings, digest, freeze

Frozen = TypeVar("Frozen", Bools, Ints)


class State(IntEnum):
    """Health of a node. Only `OK` nodes may run ranks; `RESERVED` ones are healthy spares kept by the topology file."""

    OK = 0
    FAILED = 1
    DRAINED = 2
    ABSENT = 3
    RESERVED = 4


@dataclass(frozen=True)
class Chip:
    """One GPU type. SI units: FLOP/s (dense), bytes, bytes/s in one direction.

    `peak_flops` has `bf16`; `fp8` and `nvfp4` where the hardware has them. A missing precision runs at the next wider one.
    """

    name: str
    generation: str  # ampere, hopper, blackwell, blackwell_ultra
    form: str  # sxm, hgx, nvl72: the same silicon runs at other power limits
    peak_flops: Mapping[str, float]
    hbm_bytes: float
    hbm_Bps: float
    nvlink_Bps: float
    nvls: bool  # NVLink SHARP: the switch reduces
    power_w: float = 0.0  # board power limit; 0: not known, as the generation's reference part

    def peak(self, precision: str) -> float:
        """Dense FLOP/s at a matmul precision (`bf16`, `fp8`, `mxfp8`, `nvfp4`), falling back to the next wider one."""
        order = {"nvfp4": ("nvfp4", "fp8", "bf16"), "mxfp8": ("fp8", "bf16"), "fp8": ("fp8", "bf16")}.get(precision, ("bf16",))
        return next(self.peak_flops[p] for p in order if p in self.peak_flops)


@dataclass(frozen=True)
class Tier:
    """One level of the hierarchy. Two peers communicate at the lowest tier at which they share a group.

    `group_N`        group of each node, 0..J-1; groups nest: equal at tier t implies equal at tier t+1
    `uplink_Bps_J`   bytes/s that one group can send to the tier above, one direction (inf at the outermost tier).
                     At tier 0 (the NVLink domain) that is the sum of the NICs of its present nodes.
    `latency_s`      one message between peers that meet at this tier
    `names`          what the source calls the groups, by number; () where it does not say
    """

    name: str  # nvlink, leaf, pod, core, hall ...
    latency_s: float
    group_N: Ints
    uplink_Bps_J: Floats
    names: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        freeze(self)

    @property
    def num_groups(self) -> int:
        return len(self.uplink_Bps_J)


@dataclass(frozen=True)
class FabricDesign:
    """Counts of switches and cables of the intended fabric, by kind, in order from the NIC upwards."""

    switches: Mapping[str, int]
    cables: Mapping[str, int]
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """A cluster. GPU index = node * gpus_per_node + slot; nodes are in fabric order (racks of one group are adjacent).

    Invariants: `tiers[0]` is the NVLink domain; `tiers[-1]` has one group if the fabric is connected;
    `gpu_ok_NG` is False wherever the node is not OK or RESERVED, or has no such slot.
    """

    name: str
    chips: tuple[Chip, ...]
    gpus_per_node: int
    tiers: tuple[Tier, ...]
    chip_N: Ints  # index into `chips`
    state_N: Ints  # State of each node
    gpu_ok_NG: Bools
    nic_Bps_N: Floats  # bytes/s of one GPU's NIC, one direction; the worst of the node, planes summed
    speed_N: Floats  # 1.0, or the fraction of compute speed that a degraded node reaches
    host_N: Strings
    domain_name_J: Strings  # names of the groups of tiers[0]: the racks
    rail_G: Ints  # rail (NIC index) of each GPU slot
    num_planes: int
    rails_connected: bool
    design: FabricDesign
    nic_name: str = "mlx5_{rail}"
    nvlink_J: Floats | None = None  # what each NVLink domain still reaches of its bandwidth; None: all of it
    source: Mapping[str, tuple[str, int, int]] = field(default_factory=dict, compare=False)  # key -> file, line, column
    findings: tuple[Diagnostic, ...] = field(default=(), compare=False)  # warnings and notes of the file it came from

    def __post_init__(self) -> None:
        freeze(self)
        n = len(self.host_N)
        assert self.gpu_ok_NG.shape == (n, self.gpus_per_node)
        assert all(len(t.group_N) == n for t in self.tiers)
        assert len(self.chip_N) == len(self.state_N) == len(self.nic_Bps_N) == len(self.speed_N) == n
        assert len(self.domain_name_J) == self.tiers[0].num_groups
        assert self.nvlink_J is None or len(self.nvlink_J) == self.tiers[0].num_groups

    @property
    def num_nodes(self) -> int:
        return len(self.host_N)

    @property
    def num_gpus(self) -> int:
        """GPU slots that exist: those of absent nodes do not count, failed ones do."""
        return int((self.state_N != State.ABSENT).sum()) * self.gpus_per_node

    @cached_property
    def usable_NG(self) -> Bools:
        """GPUs that a job may use: healthy, on a node that is OK (not reserved)."""
        return _read_only(self.gpu_ok_NG & (self.state_N == State.OK)[:, None])

    @cached_property
    def whole_N(self) -> Bools:
        """Nodes whose every GPU is usable: the unit of placement by default (DESIGN §8.3)."""
        return _read_only(np.asarray(self.usable_NG.all(axis=1)))

    @cached_property
    def whole_J(self) -> Ints:
        """GPUs of each NVLink domain that sit on whole nodes."""
        domain = self.tiers[0]
        nodes_J = np.bincount(domain.group_N[self.whole_N], minlength=domain.num_groups)
        return _read_only(nodes_J.astype(np.int64) * self.gpus_per_node)

    @cached_property
    def present_J(self) -> Ints:
        """GPUs of the nodes of each NVLink domain that are OK or reserved."""
        domain, present_N = self.tiers[0], np.isin(self.state_N, (State.OK, State.RESERVED))
        return _read_only(np.bincount(domain.group_N[present_N], minlength=domain.num_groups) * self.gpus_per_node)

    @cached_property
    def parent_TJ(self) -> Ints:
        """Group of each NVLink domain at every tier."""
        parent_TJ = np.zeros((len(self.tiers), self.tiers[0].num_groups), np.int32)
        for row_J, tier in zip(parent_TJ, self.tiers, strict=True):
            row_J[self.tiers[0].group_N] = tier.group_N
        return _read_only(parent_TJ)

    def digest(self) -> str:
        return digest(self)


def _read_only(array: Frozen) -> Frozen:
    array.setflags(write=False)
    return array
