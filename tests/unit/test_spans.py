# SPDX-License-Identifier: Apache-2.0
"""Spans and bytes on the tiny cluster, worked out by hand: 2 leafs x 2 nodes x 2 GPUs, 100 GB/s a NIC, leaf taper 1/2."""

from __future__ import annotations

import numpy as np
import pytest

from placement.cost.cells import capacity, cell_size
from placement.cost.spans import ideal_spans, spans_of
from placement.cost.traffic import hottest_links, link_loads, tier_bytes
from placement.ir import AXES, Placement, Spares, Term, Traffic
from tests import clusters

NIC = 1e11
NODE, LEAF = 2 * NIC, 2 * NIC  # uplinks: two NICs; four NICs at taper 1/2
CLUSTER = clusters.tiny(taper=(0.5,))
IN_ORDER = Placement(np.arange(8))


def test_a_tensor_group_inside_a_node_never_leaves_it() -> None:
    """tp=2 in rank order: both members on one node, nothing on any uplink."""
    members, ring, a2a = spans_of(CLUSTER, clusters.strategy(tp=2, dp=4), IN_ORDER).axis("tp")
    assert members.tolist() == [2, 2, 2]
    assert not ring.any() and not a2a.any()


def test_a_data_ring_over_four_nodes_loads_every_uplink() -> None:
    """dp=4, tp=2: two rings 0-2-4-6 and 1-3-5-7; each node sends 2 edges, each leaf 2 edges (one a ring)."""
    members, ring, a2a = spans_of(CLUSTER, clusters.strategy(tp=2, dp=4), IN_ORDER).axis("dp")
    assert members.tolist() == [1, 2, 4]
    assert ring.tolist() == pytest.approx([2 / NODE, 2 / LEAF, 0])
    # all-to-all: on a node 2 ranks with all 3 peers outside; on a leaf 4 ranks with 2 of 3 peers outside
    assert a2a.tolist() == pytest.approx([2 / NODE, 4 * (2 / 3) / LEAF, 0])


def test_a_two_member_ring_sends_both_ways() -> None:
    """dp=2, tp=4 over two nodes each: each rank sends one edge to its peer in the other leaf."""
    _, ring, _ = spans_of(CLUSTER, clusters.strategy(tp=4, dp=2), IN_ORDER).axis("dp")
    assert ring.tolist() == pytest.approx([2 / NODE, 4 / LEAF, 0])


def test_pipeline_edges_count_the_larger_direction() -> None:
    """pp=4, tp=2: stage p on node p. Inner nodes send 2 activations and 2 gradients: 2 in the larger direction."""
    members, ring, _ = spans_of(CLUSTER, clusters.strategy(tp=2, pp=4), IN_ORDER).axis("pp")
    assert members.tolist() == [1, 2, 4]
    assert ring.tolist() == pytest.approx([2 / NODE, 2 / LEAF, 0])


def test_interleaved_stages_close_the_ring() -> None:
    """vpp=2: the last stage also sends to the first, so each leaf sends 2 edges one way and receives 2."""
    strategy = clusters.strategy(tp=2, pp=4, vpp=2, schedule="interleaved")
    moved = Traffic((Term("pp", "path", np.array([10.0, 10, 10, 5])),))
    assert tier_bytes(CLUSTER, strategy, IN_ORDER, moved) == {"pp": {"nvlink": 2 * 2 * 35, "leaf": 2 * 2 * 15, "core": 0}}


def test_bytes_of_a_ring_and_an_all_to_all() -> None:
    """dp=4 ring of 3 B a rank: 8 ranks leave nodes, 4 leave leafs. ep=4 of 3 B a rank on two nodes each: 2/3 leave the node."""
    strategy = clusters.strategy(tp=2, dp=4, ep=4)
    moved = Traffic((Term("dp", "ring", np.array([3.0])), Term("ep", "clique", np.array([3.0]))))
    assert tier_bytes(CLUSTER, strategy, IN_ORDER, moved) == {
        "dp": {"nvlink": 24, "leaf": 12, "core": 0}, "ep": {"nvlink": pytest.approx(16), "leaf": 0, "core": 0},
    }  # fmt: skip
    loads = link_loads(CLUSTER, strategy, IN_ORDER, moved)
    assert loads["nvlink"].tolist() == pytest.approx([10, 10, 10, 10])
    hottest = hottest_links(CLUSTER, link_loads(CLUSTER, strategy, IN_ORDER, moved), top=1)
    assert hottest == [("nvlink", 0, pytest.approx(10), pytest.approx(10 / NODE))]


def test_an_uplink_that_is_gone_costs_forever() -> None:
    """A node whose NICs are all down takes infinite time to send, and no time at all if nothing has to leave it."""
    cluster = clusters.tiny(nic_Bps=0.0)
    assert spans_of(cluster, clusters.strategy(tp=2, dp=4), IN_ORDER).axis("dp")[1][0] == np.inf
    assert spans_of(cluster, clusters.strategy(tp=2, dp=4), IN_ORDER).axis("tp")[1][0] == 0


def test_ideal_spans_of_the_tiny_cluster() -> None:
    """tp=2 fills a node, so at best a leaf holds 2 of 4 data-parallel members and one edge of each ring leaves it."""
    strategy = clusters.strategy(tp=2, dp=4)
    degrees = {k: np.array([strategy.size(k)]) for k in AXES}
    members, ring, _ = ideal_spans(CLUSTER, degrees).axis("dp")
    assert members[0].tolist() == [1, 2, 4]
    assert ring[0].tolist() == pytest.approx([2 / NODE, 2 / LEAF, 0])
    assert ideal_spans(CLUSTER, degrees).members.shape == (1, len(AXES), 3)


def test_cells_take_what_fits_a_domain() -> None:
    """tp first, then experts, then cp: a group too large for a domain adds its largest divisor that fits."""
    nvl72 = clusters.regular(4, 18, (2,))
    hgx = clusters.regular(8, 1, (16,))
    assert cell_size(nvl72, clusters.strategy(tp=8, ep=64, dp=8)) == 64
    assert cell_size(nvl72, clusters.strategy(tp=8, ep=36, dp=9)) == 72
    assert cell_size(nvl72, clusters.strategy(tp=4, cp=2, etp=2, ep=8, dp=2)) == 16
    assert cell_size(hgx, clusters.strategy(tp=4, ep=64, dp=16)) == 8
    assert cell_size(hgx, clusters.strategy(tp=16, dp=2)) == 8
    assert cell_size(nvl72, clusters.strategy(tp=8, cp=3, ep=64, dp=8)) == 64  # lcm(24, 64) fits no domain: experts win


def test_capacity_counts_whole_cells_on_whole_nodes() -> None:
    """18 trays of 4: one cell of 64, nine of 8; a dead GPU costs its whole tray, unless ragged; spares are held back."""
    cluster = clusters.regular(4, 18, (2,), failed_gpus=[(0, 1)])
    assert capacity(cluster, np.array([8, 64, 72, 73])).tolist() == [8 + 9, 2, 1, 0]
    assert int(capacity(cluster, 71)) == 0  # cells of 71 would split a tray
    assert int(capacity(cluster, 71, ragged=True)) == 2
    assert int(capacity(cluster, 64, spares=Spares("per_rack", 2))) == 2
    assert int(capacity(cluster, 68, spares=Spares("per_rack", 2))) == 0
    assert int(capacity(cluster, 64, spares=Spares("racks", 1))) == 1
    assert int(capacity(cluster, 8, spares=Spares("gpus", 40))) == (143 - 40) // 8
