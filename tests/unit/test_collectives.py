# SPDX-License-Identifier: Apache-2.0
"""Collectives against published measurements (`benchmarks/collectives.py` has them with their sources), and by hand."""

import numpy as np
import pytest

from benchmarks.collectives import POINTS, GiB, MiB, predicted
from placement.cost.collectives import Links, all_reduce_s, all_to_all_s, point_to_point_s, ring_s
from placement.spec.catalog import chip, efficiency


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


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p.kind}-{p.size}-{p.gpu}-{p.payload / GiB:.2g}GiB")
def test_a_published_bandwidth_is_met_within_ten_percent(point):
    """NCCL inside a host, inside an NVLink rack and between them, and DeepEP's dispatch: every point of 512 MiB and above."""
    assert point.payload == 0 or point.payload >= 512 * MiB
    assert predicted(point, efficiency()) == pytest.approx(point.measured, rel=0.10)


def test_the_rack_boundary_is_a_fourteenfold_cliff_for_all_to_all():
    """64 GPUs of one rack against 128 of two: 667 / 47.7 = 14 (public GB300 log)."""
    inside, across = (next(p for p in POINTS if p.kind == "all_to_all" and p.size == size) for size in (64, 128))
    cliff = predicted(inside, efficiency()) / predicted(across, efficiency())
    assert cliff == pytest.approx(667 / 47.7, rel=0.10)


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
