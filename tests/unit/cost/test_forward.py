# SPDX-License-Identifier: Apache-2.0
"""Hops to other rails on paper: two racks of nodes with rails 0 1 2 3, no switch between the rails."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost import collectives as net
from placement.cost.forward import forwarding
from placement.cost.spans import spans_of
from placement.ir import AXES, Cluster, Placement, Strategy
from placement.spec.catalog import efficiency
from tests import clusters

DP, PP = AXES.index("dp"), AXES.index("pp")


def apart(*, joined: bool = False) -> Cluster:
    """Two NVLink domains of one node of 4 GPUs, adapters of 100 GB/s."""
    return clusters.regular(4, 1, (2,), rails_connected=joined)


def found(strategy: Strategy, gpus: list[int], cluster: Cluster | None = None) -> tuple[list[float], list[float], list[int]]:
    """What is not zero of hops, NICs and broken paths."""
    at = forwarding(cluster or apart(), strategy, Placement(np.array(gpus)))
    return tuple([float(x) for x in v[[DP, PP]] if x] for v in (at.hop_A, at.nic_spB_A, at.broken_A))  # type: ignore[return-value]


def test_rings_leave_on_the_rails_that_all_domains_have() -> None:
    """One ring of 4: rails 0 1 in one domain, 1 2 in the other. Rail 1 alone meets rail 1: the other members hand over to it,
    so that it forwards and sends the whole payload. On rails 0 1 2 and 1 2 3 two members share it.
    """
    assert list(found(clusters.strategy(dp=4), [0, 1, 5, 6])) == [[1.0], [1e-11], []]
    assert list(found(clusters.strategy(dp=6), [0, 1, 2, 5, 6, 7])) == [[0.5], [0.5e-11], []]
    assert list(found(clusters.strategy(dp=4), [0, 1, 4, 5])) == [[], [], []]
    assert list(found(clusters.strategy(dp=4), [0, 1, 5, 6], apart(joined=True))) == [[], [], []]


def test_rails_that_do_not_meet_have_no_path() -> None:
    """Rails 0 1 against 2 3, and single members on rails 0 and 2: two and one communicators that nobody can carry."""
    assert list(found(clusters.strategy(dp=4), [0, 1, 6, 7])) == [[], [], [1]]
    assert list(found(clusters.strategy(tp=2, dp=2), [0, 1, 6, 7])) == [[], [], [2]]


def test_messages_go_through_a_stage_on_the_right_rail() -> None:
    """Stages 0 1 on rails 0 1 of a node, 2 3 on rails 0 1 of another: stage 1 sends to rail 0, which stage 0 serves; gradients
    of stage 2 go to rail 1 through stage 3. On rails 2 3 nobody of the pipeline could: one message there and one back.
    """
    line = clusters.strategy(pp=4)
    assert list(found(line, [0, 1, 4, 5])) == [[1.0], [1e-11], []]
    assert list(found(line, [0, 1, 6, 7])) == [[], [], [1]]
    assert list(found(line, [0, 1, 5, 4])) == [[], [], []]


def test_a_hop_takes_nvlink_time_beside_the_network() -> None:
    """Payload 8 GB, 4 members: 6 GB pass. NVLink at 600 GB/s carries the ring and the hop: 10 + 10 ms, the NIC 60 ms."""
    eff = dict.fromkeys(efficiency().values, 0.0) | {"nvlink_ring": 1.0, "nic_ring": 1.0, "ring_nics": 8.0, "hop_cap_s": 1.0}
    links = net.Links(*(np.array(x) for x in (600e9, 100e9, 4.0, 1.0, 1.0)))
    spans = spans_of(apart(), clusters.strategy(dp=4), Placement(np.array([0, 1, 5, 6])))
    members, ring, _ = spans.axis("dp")
    seconds = net.ring_s(links, eff, np.array(4.0), members, ring, np.array(8e9), spans.hops("dp"))  # type: ignore[arg-type]
    assert float(seconds) == pytest.approx((0.020**3 + 0.060**3) ** (1 / 3))
    # a message of 6 GB to the next stage: the hop alone on NVLink
    sent = net.point_to_point_s(links, eff, np.array([1e-11]), np.array(6e9), np.array(1.0))  # type: ignore[arg-type]
    assert float(sent) == pytest.approx((0.010**3 + 0.060**3) ** (1 / 3))
