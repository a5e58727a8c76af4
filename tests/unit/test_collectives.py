# SPDX-License-Identifier: Apache-2.0
"""Collectives against published NCCL measurements, as bus bandwidth of nccl-tests.

All-reduce: 2 (n-1)/n S/t; all-to-all: (n-1)/n S/t.

Numbers typed in from hardware.yaml of the measured collection; its sources are named in each case.
"""

import numpy as np
import pytest

from placement.cost.collectives import Links, all_reduce_s, all_to_all_s, point_to_point_s, ring_s
from placement.spec.catalog import chip, efficiency

MiB, GiB = 2.0**20, 2.0**30


def links(gpu: str, nic_GBps: float, domain: int) -> Links:
    c = chip(gpu)
    one = np.ones(1)
    return Links(
        c.nvlink_Bps * one, nic_GBps * 1e9 * one, domain * one, c.nvls * one, c.generation.startswith("blackwell") * one
    )


def spans(size: int, local: int, nic_GBps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members, ring and all-to-all seconds per byte of one communicator on full domains of `local` of its members."""
    away = size > local
    ring = 1.0 / (local * nic_GBps * 1e9) if away else 0.0
    clique = (size - local) / (size - 1) / (nic_GBps * 1e9) if away else 0.0
    return np.array([[local, size]]), np.array([[ring, 0.0]]), np.array([[clique, 0.0]])


def all_reduce_busbw(gpu: str, nic: float, domain: int, size: int, local: int, payload: float) -> float:
    members, ring, _ = spans(size, local, nic)
    seconds = all_reduce_s(links(gpu, nic, domain), efficiency(), np.array([size]), members, ring, np.array([payload]))[0]
    return 2 * (size - 1) / size * payload / seconds / 1e9


def all_to_all_busbw(size: int, local: int, payload: float) -> float:
    members, _, clique = spans(size, local, 100.0)
    seconds = all_to_all_s(links("GB300", 100.0, 72), efficiency(), np.array([size]), members, clique, np.array([payload]))[0]
    return (size - 1) / size * payload / seconds / 1e9


ALL_REDUCE = [
    # 8 x H100, dgxc-benchmarking nccl/README.md @841f5466
    ("H100", 50, 8, 8, 8, 1 * GiB, 466.3), ("H100", 50, 8, 8, 8, 8 * GiB, 480.2),
    # two hosts of H100, 8 GiB, coreweave/nccl-tests pull 92
    ("H100", 50, 8, 16, 8, 8 * GiB, 440.58),
    # 8 x B200, NVIDIA/nccl issue 1807; two hosts, 8 GiB, coreweave/nccl-tests pull 92
    ("B200", 50, 8, 8, 8, 8 * GiB, 830.0), ("B200", 50, 8, 16, 8, 8 * GiB, 690.07),
    # GB200 NVL72, 72 GPUs, coreweave/nccl-tests pull 43
    ("GB200", 50, 72, 72, 72, 512 * MiB, 586.06), ("GB200", 50, 72, 72, 72, 1 * GiB, 681.17),
    ("GB200", 50, 72, 72, 72, 2 * GiB, 757.78),
    ("GB200", 50, 72, 72, 72, 4 * GiB, 839.16), ("GB200", 50, 72, 72, 72, 8 * GiB, 834.57),
    # GB200, 20 racks, 1,440 GPUs, coreweave/nccl-tests pull 48
    ("GB200", 50, 72, 1440, 72, 512 * MiB, 150.95), ("GB200", 50, 72, 1440, 72, 1 * GiB, 218.85),
    ("GB200", 50, 72, 1440, 72, 2 * GiB, 286.52), ("GB200", 50, 72, 1440, 72, 4 * GiB, 346.38),
    # GB300, 16 GB, one rack and two racks, public OCI log
    ("GB300", 100, 72, 4, 4, 16e9, 685.0), ("GB300", 100, 72, 8, 8, 16e9, 842.0), ("GB300", 100, 72, 64, 64, 16e9, 930.0),
    ("GB300", 100, 72, 128, 64, 16e9, 738.0),
]  # fmt: skip


@pytest.mark.parametrize(("gpu", "nic", "domain", "size", "local", "payload", "measured"), ALL_REDUCE)
def test_all_reduce_is_within_ten_percent_of_published_busbw(gpu, nic, domain, size, local, payload, measured):
    """From 512 MiB on, all-reduce bandwidth agrees with every published point of NVLink domains and of racks joined by NICs."""
    assert all_reduce_busbw(gpu, nic, domain, size, local, payload) == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(("size", "local", "measured"), [(8, 8, 685.0), (64, 64, 667.0), (128, 64, 47.7)])
def test_all_to_all_is_within_ten_percent_of_published_busbw(size, local, measured):
    """GB300, 16 GB (public OCI log): inside a rack and across two."""
    assert all_to_all_busbw(size, local, 16e9) == pytest.approx(measured, rel=0.10)


def test_the_rack_boundary_is_a_fourteenfold_cliff_for_all_to_all():
    """64 GPUs of one rack against 128 of two: 667 / 47.7 = 14 (DESIGN section 5)."""
    assert all_to_all_busbw(64, 64, 16e9) / all_to_all_busbw(128, 64, 16e9) == pytest.approx(667 / 47.7, rel=0.10)


def test_a_communicator_of_one_takes_no_time():
    """Nothing is sent, so nothing is paid, not even the start."""
    members, ring, clique = spans(1, 1, 50.0)
    one, link = np.array([1]), links("H100", 50.0, 8)
    assert ring_s(link, efficiency(), one, members, ring, np.array([1e9]))[0] == 0
    assert all_reduce_s(link, efficiency(), one, members, ring, np.array([1e9]))[0] == 0
    assert all_to_all_s(link, efficiency(), one, members, clique, np.array([1e9]))[0] == 0


def test_a_gather_over_nics_is_bound_by_one_nic_for_each_member_of_a_domain():
    """16 members alone in their domains: payload x 15/16 over one NIC of 50 GB/s at 98.4 % of line rate, plus hops."""
    members, ring, _ = spans(16, 1, 50.0)
    seconds = ring_s(links("H100", 50.0, 8), efficiency(), np.array([16]), members, ring, np.array([8e9]))[0]
    assert seconds == pytest.approx(8e9 * 15 / 16 / (50e9 * 0.984), rel=0.001)


def test_a_stage_boundary_inside_a_domain_runs_on_nvlink():
    """One GB at 77 % of 450 GB/s; over a NIC at 98.4 % of 50 GB/s."""
    link, sent = links("H100", 50.0, 8), np.array([1e9])
    inside = point_to_point_s(link, efficiency(), np.zeros((1, 2)), sent)[0]
    outside = point_to_point_s(link, efficiency(), np.array([[1 / 50e9, 0.0]]), sent)[0]
    assert inside == pytest.approx(1e9 / (0.77 * 450e9))
    assert outside == pytest.approx(1e9 / (0.984 * 50e9))
