# SPDX-License-Identifier: Apache-2.0
"""Placement on clusters small enough to know the answer, and its rules: cells, spares, chips, rails, launcher's order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from placement.diag import Infeasible
from placement.ir import Job, Placement, Spares, Strategy, Term, Traffic
from placement.passes.candidates import Workshop
from placement.passes.fill import deal, fill, tree_of
from placement.passes.place import launcher_default, place, score
from placement.passes.rails import rail_conflicts
from placement.passes.sites import expand, sites_of
from placement.solve.boxchain import box_chains, boxes
from tests import clusters

JOB = Job(seq_len=1, global_batch=1)


def ring(strategy: Strategy, **sent: float) -> Traffic:
    kinds = {"ep": "clique", "pp": "path"}
    return Traffic(tuple(Term(a, kinds.get(a, "ring"), np.full(strategy.pp, b)) for a, b in sent.items()))


def test_heavy_pipeline_traffic_stays_in_a_leaf() -> None:
    """tp=2, dp=2, pp=2 on four nodes: with heavy stage boundaries each leaf takes one replica, against rank order."""
    cluster, strategy = clusters.tiny(), clusters.strategy(tp=2, dp=2, pp=2)
    assert place(cluster, strategy, ring(strategy, dp=1.0, pp=10.0), JOB).gpu_R.tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    assert place(cluster, strategy, ring(strategy, dp=10.0, pp=1.0), JOB).gpu_R.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_failed_nodes_are_left_out_and_leaves_stay_whole() -> None:
    """Node 1 is dead: a job of two nodes goes to the leaf that still has both."""
    cluster, strategy = clusters.tiny(failed_nodes=[1]), clusters.strategy(tp=2, dp=2)
    assert place(cluster, strategy, ring(strategy, dp=1.0), JOB).gpu_R.tolist() == [4, 5, 6, 7]
    assert launcher_default(cluster, strategy, JOB).gpu_R.tolist() == [0, 1, 4, 5]


def test_a_job_smaller_than_a_node_takes_part_of_one() -> None:
    """One rank on a node of two."""
    assert place(clusters.tiny(), clusters.strategy(), Traffic(()), JOB).gpu_R.tolist() == [0]


def test_ranks_that_split_a_node_are_refused_unless_ragged() -> None:
    """Three ranks on nodes of two GPUs."""
    strategy = clusters.strategy(dp=3)
    with pytest.raises(Infeasible, match="whole nodes of 2"):
        place(clusters.tiny(), strategy, ring(strategy, dp=1.0), JOB)
    ragged = Job(seq_len=1, global_batch=1, ragged=True)
    assert len(place(clusters.tiny(), strategy, ring(strategy, dp=1.0), ragged).gpu_R) == 3


def test_cells_that_do_not_fit_are_refused_with_numbers() -> None:
    """Two racks of 72 hold two tensor groups of 64, not three."""
    strategy = clusters.strategy(tp=64, dp=3)
    with pytest.raises(Infeasible, match="3 cells of 64 ranks, but the NVLink domains hold 2"):
        place(clusters.regular(4, 18, (2,)), strategy, ring(strategy, dp=1.0), JOB)


def test_spare_racks_and_trays_stay_empty() -> None:
    """One rack of four held back; two trays of every rack held back, a failed one counting as one of them."""
    strategy = clusters.strategy(tp=8, ep=64, dp=24)
    cluster = clusters.regular(4, 18, (2, 2), failed_nodes=[20])
    racks = Job(seq_len=1, global_batch=1, spares=Spares("racks", 1))
    used = np.unique(place(cluster, strategy, ring(strategy, edp=1.0), racks).gpu_R // 72)
    assert len(used) == 3 and 3 not in used
    trays = Job(seq_len=1, global_batch=1, spares=Spares("per_rack", 2))
    placement = place(cluster, strategy, ring(strategy, edp=1.0), trays)
    assert (np.bincount(placement.gpu_R // 72) <= 64).all()


def test_stages_keep_to_one_chip_type() -> None:
    """Racks 0-2 of one type, 3-7 of another; stages of two racks: only one can be mixed, and none is, as a rack is spare."""
    cluster = clusters.regular(4, 18, (2, 4), chip_of_domain=[0, 0, 0, 1, 1, 1, 1, 1])
    strategy = clusters.strategy(tp=8, ep=64, dp=16, pp=3)
    moved = ring(strategy, edp=1.0, pp=1.0)
    placement = place(cluster, strategy, moved, JOB)
    chip_PR = cluster.chip_N[placement.gpu_R // 4].reshape(3, -1)
    assert (chip_PR == chip_PR[:, :1]).all()
    assert score(cluster, strategy, moved, launcher_default(cluster, strategy, JOB))[1] == 1


def test_slow_nodes_are_used_last() -> None:
    """Node 0 computes at half speed: a job of three nodes does without it, a job of four cannot."""
    cluster = clusters.tiny()
    object.__setattr__(cluster, "speed_N", np.array([0.5, 1, 1, 1]))
    three, four = clusters.strategy(tp=2, dp=3), clusters.strategy(tp=2, dp=4)
    assert 0 not in place(cluster, three, ring(three, dp=1.0), JOB).gpu_R
    assert score(cluster, four, ring(four, dp=1.0), place(cluster, four, ring(four, dp=1.0), JOB))[0] == 2.0


def test_peers_sit_on_the_same_rail() -> None:
    """Cells of whole nodes: every communicator that leaves a domain finds its peers on the same slots."""
    cluster = clusters.regular(4, 2, (2, 2), rails_connected=False)
    strategy = clusters.strategy(tp=4, dp=4, pp=2)
    placement = place(cluster, strategy, ring(strategy, dp=1.0, pp=1.0), JOB)
    assert not any(rail_conflicts(cluster, strategy, placement).values())


def test_rails_that_are_apart_refuse_crossed_communicators() -> None:
    """Cells of 6 on nodes of 4: every other cell starts at slot 2, so its peers sit on other rails."""
    strategy = clusters.strategy(tp=6, dp=4)
    joined, apart = (clusters.regular(4, 3, (2,), rails_connected=c) for c in (True, False))
    crossed = rail_conflicts(apart, strategy, Placement(np.roll(np.arange(24).reshape(4, 6), 1, axis=0).ravel()))
    assert crossed["dp"] == 0  # two cells a domain cover the same rails, however they are shifted
    with_spare, shifted = clusters.strategy(tp=6, dp=2), Placement(np.r_[0:6, 14:20])
    assert len(place(joined, with_spare, ring(with_spare, dp=1.0), JOB).gpu_R) == 12
    assert (rail_conflicts(apart, with_spare, shifted)["dp"], rail_conflicts(joined, with_spare, shifted)["dp"]) == (6, 0)
    assert len(place(apart, strategy, ring(strategy, dp=1.0), JOB).gpu_R) == 24


def test_a_rail_out_of_service_where_it_is_needed_is_infeasible() -> None:
    """Two hosts of two GPUs, each with another one dead: rail 0 here and rail 1 there, and nobody to forward."""
    dead, pair = [(0, 1), (1, 0)], clusters.strategy(dp=2)
    joined, apart = (clusters.regular(2, 1, (2,), failed_gpus=dead, rails_connected=c) for c in (True, False))
    ragged = replace(JOB, ragged=True)
    assert sorted(place(joined, pair, ring(pair, dp=1.0), ragged).gpu_R.tolist()) == [0, 3]
    with pytest.raises(Infeasible, match="no member on the right rail could forward"):
        place(apart, pair, ring(pair, dp=1.0), ragged)


def test_the_launcher_counts_like_people() -> None:
    """node10 comes after node9; too few GPUs are an error that says how many there are."""
    cluster = clusters.regular(1, 1, (12,))
    object.__setattr__(cluster, "host_N", np.array([f"node{11 - i}" for i in range(12)]))
    assert launcher_default(cluster, clusters.strategy(dp=12), JOB).gpu_R.tolist() == list(range(11, -1, -1))
    with pytest.raises(Infeasible, match="13 ranks, but 12 GPUs"):
        launcher_default(cluster, clusters.strategy(dp=13), JOB)


def test_box_chains_find_the_squarest_boxes() -> None:
    """A 12 x 12 grid on levels of 4 and 36: squares inside squares cost least when the cost is the boundary."""
    chains = box_chains([12, 12], [4, 36], lambda _, b: 144 / b[:, 0] + 144 / b[:, 1], keep=3)
    assert chains[0] == (144 + 48, ((2, 2), (6, 6)))
    assert chains == sorted(chains)


@pytest.mark.parametrize("seed", range(20))
def test_box_chains_are_the_cheapest_of_all(seed: int) -> None:
    """Random costs: the five cheapest of all chains of nested boxes, by trying every one."""
    rng = np.random.default_rng(seed)
    sizes, capacities = tuple(int(s) for s in rng.choice([2, 3, 4, 6], 2)), (2, 4, 12)
    levels = [boxes(sizes, c) for c in capacities]
    costs = [rng.random(len(b)) for b in levels]

    def nests(inner: np.ndarray, outer: np.ndarray) -> bool:
        whole = (outer % inner == 0) | (outer == np.array(sizes))
        return bool((whole & (outer >= inner)).all())

    ways = [(0.0, (np.ones(2, int),))]
    for level, cost in zip(levels, costs, strict=True):
        ways = [(c + x, (*w, b)) for c, w in ways for b, x in zip(level, cost, strict=True) if nests(w[-1], b)]
    best = sorted((c, tuple(tuple(b.tolist()) for b in w[1:])) for c, w in ways)[:5]
    lookup = [
        {tuple(b.tolist()): x for b, x in zip(level, cost, strict=True)} for level, cost in zip(levels, costs, strict=True)
    ]
    found = box_chains(sizes, capacities, lambda i, b: np.array([lookup[i][tuple(x)] for x in b.tolist()]), keep=5)
    assert [w for _, w in found] == [w for _, w in best]
    assert [c for c, _ in found] == pytest.approx([c for c, _ in best])


def test_boxes_fit_and_are_not_too_small() -> None:
    found = boxes([6, 4], 6, slack=2.0)
    assert {tuple(b) for b in found.tolist()} == {(1, 4), (2, 2), (3, 1), (3, 2), (4, 1), (6, 1)}


def test_dealing_keeps_units_whole() -> None:
    """Ten positions over rooms 4, 3, 3 with units of 2: four whole units, and only the last one is split."""
    assert deal([(0, 10)], [4, 3, 3], (1, 2)) == [[(0, 4)], [(4, 2), (8, 1)], [(6, 2), (9, 1)]]


def test_fill_prefers_groups_that_hold_whole_units() -> None:
    """Groups of room 4 and 3, need 4, unit 4: all in the first."""
    tree = tree_of(np.array([2, 2, 2, 1]), [np.array([0, 0, 1, 1]), np.zeros(4, int)])
    assert fill(tree, 4, (1, 4), (1, 4, 1)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(10))
def test_groups_that_are_alike_are_filled_alike(seed: int) -> None:
    """Two regions of the same uneven rooms, full: the second holds what the first does, half the order further."""
    rng = np.random.default_rng(seed)
    room_D = np.tile(rng.integers(1, 9, 6), 2)
    tree = tree_of(room_D, [np.repeat(np.arange(4), 3), np.repeat([0, 1], 6), np.zeros(12, int)])
    need = int(room_D.sum())
    domain_P = fill(tree, need, (1, 2, need // 2), (2, 2, need // 2, 1))
    assert np.bincount(domain_P).tolist() == room_D.tolist()
    assert (domain_P[need // 2 :] == domain_P[: need // 2] + 6).all()


def test_chains_exist_where_no_box_nests() -> None:
    """Seven cells over groups of two and five: nothing but single cells divides 7, and the level still gets a box."""
    chains = box_chains([7, 1], [2, 5], lambda _, b: 7 / b[:, 0], keep=2)
    assert all(len(boxes) == 2 for _, boxes in chains) and chains


def test_cells_that_share_nodes_leave_no_node_half_used() -> None:
    """Two cells of 3 to a node of 6, unequal rooms: every layout, padded ones too, puts an even number into each domain."""
    cluster = clusters.regular(6, 5, (2, 3, 4), failed_nodes=[1, 4, 8, 9, 10, 11, 18, 19, 23, 24, 26, 29, 33, 36, 37])
    strategy = clusters.strategy(ep=3, dp=141, pp=2)
    sites = sites_of(cluster, strategy, JOB)
    shop = Workshop(cluster, strategy, ring(strategy, edp=1.0, pp=1.0), sites)
    layouts = [v for layout in shop.plain() for v in shop.variants(layout)]
    assert sites.block == 2 and len(layouts) > 10
    assert all((np.bincount(shop.cells(layout)) % 2 == 0).all() for layout in layouts)


def test_runs_that_fill_a_node_come_before_fragments() -> None:
    """Nodes of four, ranks 1-3 and 4-7 in one rack: 4-7 take the first node, so that no node holds two groups."""
    cluster, strategy = clusters.regular(4, 2, (2,)), clusters.strategy(dp=8)
    sites = sites_of(cluster, strategy, Job(seq_len=1, global_batch=1, ragged=True), cell=1)
    found = expand(sites, np.array([1, 0, 0, 0, 0, 0, 0, 0]))
    assert found.gpu_R.tolist() == [8, 4, 5, 6, 0, 1, 2, 3]
