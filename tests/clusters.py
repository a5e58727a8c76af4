# SPDX-License-Identifier: Apache-2.0
"""Clusters built in code for tests: `regular(...)` with failures, and the tiny one that is checked by hand.

tiny: 2 leaf groups x 2 domains (= nodes) x 2 GPUs

    core    [0                     ]
    leaf    [0         ][1         ]
    nvlink  [0  ][1    ][2  ][3    ]
    gpu      0 1  2 3    4 5  6 7
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from placement.ir import Chip, Cluster, FabricDesign, State, Strategy, Tier


def chip(name: str = "toy", **kwargs: object) -> Chip:
    facts: dict[str, object] = {
        "generation": "blackwell_ultra", "form": "nvl72", "peak_flops": {"bf16": 2.5e15, "fp8": 5e15}, "hbm_bytes": 288e9,
        "hbm_Bps": 8e12, "nvlink_Bps": 9e11, "nvls": True,
    }  # fmt: skip
    return Chip(name=name, **(facts | kwargs))  # type: ignore[arg-type]


def regular(
    gpus_per_node: int,
    nodes_per_domain: int,
    groups: Sequence[int],
    *,
    nic_Bps: float = 1e11,
    taper: Sequence[float] = (),
    failed_nodes: Sequence[int] = (),
    failed_gpus: Sequence[tuple[int, int]] = (),
    num_domains: int | None = None,
    chip_of_domain: Sequence[int] | None = None,
    rails_connected: bool = True,
    num_planes: int = 1,
) -> Cluster:
    """`groups` = domains per leaf, leaves per pod, ...; the last number closes the single group of the outermost tier.

    `taper[i]`: uplink of tier i+1 divided by the sum of the NICs below it. `num_domains` cuts the last groups short.
    """
    total = int(np.prod(groups))
    domains = min(total, num_domains or total)
    n = domains * nodes_per_domain
    node_N = np.arange(n)
    domain_N = node_N // nodes_per_domain
    tiers = [_tier("nvlink", domain_N, nic_Bps * gpus_per_node, 1.0)]
    names, width = [*("leaf", "pod", "hall", "site")[: len(groups) - 1], "core"], 1
    for i, (name, g) in enumerate(zip(names, groups, strict=True)):
        width *= g
        node_Bps = nic_Bps * gpus_per_node if i + 1 < len(groups) else np.inf
        tiers.append(_tier(name, domain_N // width, node_Bps, taper[i] if i < len(taper) else 1.0))
    state_N = np.zeros(n, np.int64)
    state_N[list(failed_nodes)] = State.FAILED
    ok_NG = np.repeat((state_N == State.OK)[:, None], gpus_per_node, axis=1)
    for node, slot in failed_gpus:
        ok_NG[node, slot] = False
    kinds = np.zeros(domains, np.int64) if chip_of_domain is None else np.asarray(chip_of_domain)
    return Cluster(
        name="regular", chips=tuple(chip(f"toy{i}") for i in range(int(kinds.max()) + 1)), gpus_per_node=gpus_per_node,
        tiers=tuple(tiers), chip_N=kinds[domain_N], state_N=state_N, gpu_ok_NG=ok_NG, nic_Bps_N=np.full(n, nic_Bps),
        speed_N=np.ones(n), host_N=_names("rack{:05d}-tray{:02d}", domain_N, node_N % nodes_per_domain),
        domain_name_J=np.char.mod("rack%05d", np.arange(domains)), rail_G=np.arange(gpus_per_node), num_planes=num_planes,
        rails_connected=rails_connected, design=FabricDesign({}, {}),
    )  # fmt: skip


def tiny(**kwargs: object) -> Cluster:
    return regular(2, 1, (2, 2), **kwargs)  # type: ignore[arg-type]


def gb300_220k(**kwargs: object) -> Cluster:
    """3,056 racks of 18 trays of 4 GPUs; leaf groups of 4 racks, pods of 72 racks, one core."""
    return regular(4, 18, (4, 18, 43), num_domains=3056, **kwargs)  # type: ignore[arg-type]


def strategy(**degrees: int | str) -> Strategy:
    facts: dict[str, int | str] = {
        "tp": 1, "cp": 1, "ep": 1, "etp": 1, "dp": 1, "pp": 1, "vpp": 1, "micro_batch": 1, "num_microbatches": 4,
        "schedule": "1f1b", "recompute": "none", "sharding": "zero1",
    }  # fmt: skip
    return Strategy(**(facts | degrees))  # type: ignore[arg-type]


def _tier(name: str, group_N: np.ndarray, node_Bps: float, share: float) -> Tier:
    nodes_J = np.bincount(group_N)
    return Tier(name, 1e-6, group_N, nodes_J * node_Bps * share)


def _names(pattern: str, *columns: np.ndarray) -> np.ndarray:
    return np.array([pattern.format(*row) for row in zip(*(c.tolist() for c in columns), strict=True)])
