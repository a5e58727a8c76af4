# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.collectives`: published bandwidths of NCCL and DeepEP, beside what the cost model says of them.

Numbers typed in from hardware.yaml of the measured collection; the source of each stands beside it. Bus bandwidth as nccl-tests
has it: 2 (n-1)/n S/t for all-reduce, (n-1)/n S/t for all-to-all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.cost.collectives import Links, all_reduce_s, all_to_all_s, clique_efficiency
from placement.ir import Efficiency
from placement.spec.catalog import chip, efficiency

MiB, GiB = 2.0**20, 2.0**30
MB16 = 16e9  # the public GB300 log has 16 GB in decimal


@dataclass(frozen=True)
class Point:
    """One measurement. `kind` all_reduce, all_to_all or dispatch (DeepEP: rate of the slower link); GB/s."""

    kind: str
    gpu: str
    nic_GBps: float
    domain: int
    size: int
    local: int  # members in one domain
    payload: float
    measured: float
    source: str


POINTS = (
    Point("all_reduce", "H100", 50, 8, 8, 8, 1 * GiB, 466.3, "dgxc-benchmarking nccl/README.md @841f5466"),
    Point("all_reduce", "H100", 50, 8, 8, 8, 8 * GiB, 480.2, "dgxc-benchmarking nccl/README.md @841f5466"),
    Point("all_reduce", "H100", 50, 8, 16, 8, 8 * GiB, 440.58, "coreweave/nccl-tests pull 92"),
    Point("all_reduce", "H200", 50, 8, 8, 8, 8 * GiB, 475.0, "NVIDIA/nccl-tests issue 272"),
    Point("all_reduce", "H800", 50, 8, 64, 8, 8 * GiB, 215.0, "NVIDIA/nccl issue 1374"),
    Point("all_reduce", "B200", 50, 8, 8, 8, 8 * GiB, 830.0, "NVIDIA/nccl issue 1807"),
    Point("all_reduce", "B200", 50, 8, 16, 8, 8 * GiB, 690.07, "coreweave/nccl-tests pull 92"),
    Point("all_reduce", "B300", 100, 8, 16, 8, 8 * GiB, 760.0, "NVIDIA/nccl issue 2035, ring"),
    Point("all_reduce", "GB200", 50, 72, 72, 72, 512 * MiB, 586.06, "coreweave/nccl-tests pull 43"),
    Point("all_reduce", "GB200", 50, 72, 72, 72, 1 * GiB, 681.17, "coreweave/nccl-tests pull 43"),
    Point("all_reduce", "GB200", 50, 72, 72, 72, 2 * GiB, 757.78, "coreweave/nccl-tests pull 43"),
    Point("all_reduce", "GB200", 50, 72, 72, 72, 4 * GiB, 839.16, "coreweave/nccl-tests pull 43"),
    Point("all_reduce", "GB200", 50, 72, 72, 72, 8 * GiB, 834.57, "coreweave/nccl-tests pull 43"),
    Point("all_reduce", "GB200", 50, 72, 1440, 72, 512 * MiB, 150.95, "coreweave/nccl-tests pull 48"),
    Point("all_reduce", "GB200", 50, 72, 1440, 72, 1 * GiB, 218.85, "coreweave/nccl-tests pull 48"),
    Point("all_reduce", "GB200", 50, 72, 1440, 72, 2 * GiB, 286.52, "coreweave/nccl-tests pull 48"),
    Point("all_reduce", "GB200", 50, 72, 1440, 72, 4 * GiB, 346.38, "coreweave/nccl-tests pull 48"),
    Point("all_reduce", "GB200", 50, 4, 12, 4, 16 * GiB, 234.4, "NVIDIA/nccl issue 1801, tree"),
    Point("all_reduce", "GB200", 50, 8, 24, 8, 16 * GiB, 485.7, "NVIDIA/nccl issue 1801, tree"),
    Point("all_reduce", "GB300", 100, 72, 4, 4, MB16, 685.0, "public OCI log, NCCL 2.28.7"),
    Point("all_reduce", "GB300", 100, 72, 8, 8, MB16, 842.0, "public OCI log, NCCL 2.28.7"),
    Point("all_reduce", "GB300", 100, 72, 64, 64, MB16, 930.0, "public OCI log, NCCL 2.28.7"),
    Point("all_reduce", "GB300", 100, 72, 128, 64, MB16, 738.0, "public OCI log, NCCL 2.28.7"),
    Point("all_to_all", "GB300", 100, 72, 4, 4, MB16, 628.0, "public OCI log, NCCL 2.28.7"),
    Point("all_to_all", "GB300", 100, 72, 8, 8, MB16, 685.0, "public OCI log, NCCL 2.28.7"),
    Point("all_to_all", "GB300", 100, 72, 64, 64, MB16, 667.0, "public OCI log, NCCL 2.28.7"),
    Point("all_to_all", "GB300", 100, 72, 128, 64, MB16, 47.7, "public OCI log, NCCL 2.28.7"),
    # DeepEP counts tokens for the own host too: (D - 1) / D of what it prints for D hosts leaves them
    Point("dispatch", "H800", 50, 8, 8, 8, 0.0, 153.0, "DeepEP V1, EP8"),
    Point("dispatch", "H800", 50, 8, 32, 8, 0.0, 58.0 * 3 / 4, "DeepEP V1, EP32 on 4 hosts: 58 GB/s printed"),
    Point("dispatch", "H800", 50, 8, 64, 8, 0.0, 51.0 * 7 / 8, "DeepEP V1, EP64 on 8 hosts: 51 GB/s printed"),
    Point("dispatch", "B200", 50, 8, 8, 8, 0.0, 643.0, "DeepEP V2, EP8, 24 SMs"),
    Point("dispatch", "B200", 50, 8, 16, 8, 0.0, 90.0 / 2, "DeepEP V2, EP 8 x 2: 90 GB/s printed"),
)  # fmt: skip


def predicted(p: Point, eff: Efficiency) -> float:
    """GB/s that the cost model says."""
    part, one = chip(p.gpu), np.ones(1)
    nic_Bps, away = p.nic_GBps * 1e9, p.size > p.local
    fast = part.generation.startswith("blackwell")
    links = Links(part.nvlink_Bps * one, nic_Bps * one, p.domain * one, part.nvls * one, fast * one)
    size, members, payload = np.array([p.size]), np.array([[p.local, p.size]]), np.array([p.payload])
    if p.kind == "dispatch":
        rate = nic_Bps * clique_efficiency(links, eff) if away else links.nvlink_Bps * eff["nvlink_a2a"]
        return float(rate[0]) / 1e9
    if p.kind == "all_reduce":
        ring = np.array([[1.0 / (p.local * nic_Bps) if away else 0.0, 0.0]])
        seconds = float(all_reduce_s(links, eff, size, members, ring, payload)[0])
        return 2.0 * (p.size - 1) / p.size * p.payload / seconds / 1e9
    clique = np.array([[(p.size - p.local) / (p.size - 1) / nic_Bps if away else 0.0, 0.0]])
    seconds = float(all_to_all_s(links, eff, size, members, clique, payload)[0])
    return (p.size - 1) / p.size * p.payload / seconds / 1e9


def markdown() -> str:
    """A table of all points."""
    eff = efficiency()
    lines = ["| collective | GPUs | payload | measured | model | error | source |", "|---|---|--:|--:|--:|--:|---|"]
    for p in POINTS:
        found = predicted(p, eff)
        where = f"{p.size} {p.gpu}" + (f", {p.local} in a domain" if p.size > p.local else "")
        size = f"{p.payload / GiB:.3g} GiB" if p.payload else ""
        lines.append(
            f"| {p.kind.replace('_', '-')} | {where} | {size} | {p.measured:.1f} | {found:.1f} | {found / p.measured - 1:+.1%} "
            f"| {p.source} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
