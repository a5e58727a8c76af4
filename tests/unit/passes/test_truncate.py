# SPDX-License-Identifier: Apache-2.0
"""Tight clusters: expert groups that are larger than what damaged racks hold."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest

from placement.cost.traffic import tier_bytes
from placement.ir import Cluster, Job, Placement, Strategy, Term, Traffic
from placement.passes import place as place_module
from placement.passes.inside import inside_of
from placement.passes.place import BYTES, place
from placement.passes.sites import sites_of
from placement.passes.tails import Piece, lay
from placement.passes.truncate import seats
from tests import clusters

JOB = Job(seq_len=1, global_batch=1, ragged=True)


def racks(rooms: list[int], groups: tuple[int, ...], full: int) -> Cluster:
    """Racks of one node of `full` GPUs, of which the first so many are healthy."""
    dead = [(n, slot) for n, room in enumerate(rooms) for slot in range(room, full)]
    return clusters.regular(full, 1, groups, failed_gpus=dead)


def experts(ep: int, units: int, tp: int = 1) -> tuple[Strategy, Traffic]:
    strategy = clusters.strategy(tp=tp, ep=ep, dp=ep * units // tp)
    terms = [Term("ep", "clique", np.full(1, float(ep - 1)))]
    terms += [Term("tp", "clique", np.full(1, 9.0))] if tp > 1 else []
    return strategy, Traffic(tuple(terms))


def splits(rooms: list[int], ep: int, units: int) -> Iterator[list[tuple[int, ...]]]:
    """How many members of each unit each rack may hold."""
    if units == 0:
        yield []
        return

    def row(left: int, free: list[int]) -> Iterator[tuple[int, ...]]:
        if len(free) == 1:
            if left <= free[0]:
                yield (left,)
            return
        for here in range(min(left, free[0]) + 1):
            yield from ((here, *rest) for rest in row(left - here, free[1:]))

    for first in row(ep, rooms):
        yield from ([first, *rest] for rest in splits([r - f for r, f in zip(rooms, first, strict=True)], ep, units - 1))


def cut(counts: list[tuple[int, ...]], ep: int) -> int:
    return sum(c * (ep - c) for row in counts for c in row)


def counted(cluster: Cluster, strategy: Strategy, found: Placement) -> list[tuple[int, ...]]:
    rack_UR = cluster.tiers[0].group_N[found.gpu_R // cluster.gpus_per_node].reshape(-1, strategy.ep)
    return [tuple(np.bincount(row, minlength=cluster.tiers[0].num_groups).tolist()) for row in rack_UR]


def even(cluster: Cluster, strategy: Strategy, traffic: Traffic, found: Placement) -> float:
    """Seconds of all uplinks if loads were spread evenly."""
    by_axis = tier_bytes(cluster, strategy, found, traffic)
    tiers = [t for t in cluster.tiers if np.isfinite(t.uplink_Bps_J).all()]
    return sum(axis[t.name] / float(t.uplink_Bps_J.sum()) for axis in by_axis.values() for t in tiers)


@pytest.mark.parametrize(
    ("rooms", "units"), [([4, 3, 3, 2], 3), ([3, 3, 3, 3], 3), ([4, 4, 3, 1], 3), ([6, 3, 3], 3), ([2, 4, 3, 3], 3)]
)
def test_mains_stay_and_the_poorest_rack_takes_the_tails(rooms: list[int], units: int) -> None:
    """Expert groups of four in racks of four and less, in one leaf: as few bytes leave racks as in the best of all splits.

    By hand, rooms 4, 3, 3, 2: one group whole, two keep three and lose one to the rack of two, 2 x (3 x 1 + 1 x 3) = 12.
    """
    cluster, (strategy, traffic) = racks(rooms, (len(rooms),), max(rooms)), experts(4, units)
    found = counted(cluster, strategy, place(cluster, strategy, traffic, JOB, aim=BYTES, cell=1))
    assert cut(found, 4) == min(cut(c, 4) for c in splits(rooms, 4, units))
    if rooms == [4, 3, 3, 2]:
        assert cut(found, 4) == 12


@pytest.mark.parametrize("seed", range(8))
def test_never_worse_than_without_seats_and_always_the_same(seed: int) -> None:
    """Random damage in two pods of two leaves of four racks: a bijection onto healthy GPUs, and no worse for the seats."""
    rng = np.random.default_rng(seed)
    rooms = (8 - rng.binomial(4, 0.25, 16)).tolist()
    cluster = racks(rooms, (4, 2, 2), 8)
    strategy, traffic = experts(8, sum(rooms) // 8, tp=2)
    found = place(cluster, strategy, traffic, JOB, aim=BYTES, cell=1)
    assert len(set(found.gpu_R.tolist())) == strategy.world_size
    assert cluster.usable_NG.ravel()[found.gpu_R].all()
    with mock.patch.object(place_module, "seats", return_value=None):
        plain = place(cluster, strategy, traffic, JOB, aim=BYTES, cell=1)
    assert even(cluster, strategy, traffic, found) <= even(cluster, strategy, traffic, plain) * (1 + 1e-9)
    assert place(cluster, strategy, traffic, JOB, aim=BYTES, cell=1).gpu_R.tobytes() == found.gpu_R.tobytes()


def test_seats_are_only_for_tight_clusters() -> None:
    """Where whole groups fit there is nothing to cut; where a cell is a group neither."""
    strategy, traffic = experts(4, 3)
    loose, tight = racks([4, 4, 4, 4], (4,), 4), racks([4, 3, 3, 2], (4,), 4)
    assert seats(loose, strategy, traffic, sites_of(loose, strategy, JOB, cell=1)) is None
    found = seats(tight, strategy, traffic, sites_of(tight, strategy, JOB, cell=1))
    assert found is not None
    assert found.main_D.tolist() == [0, 3, 3, 0]
    assert found.sites.room_D.tolist() == [1, 1, 1, 0]
    assert inside_of(strategy, traffic, 4, 1) is None


def test_bytes_inside_a_unit_by_hand() -> None:
    """Four members send three bytes each, one to each other: cut 3 + 1, three pairs both ways; tensor pairs on top."""
    inside = inside_of(*experts(4, 3), 1, 4)
    assert inside is not None
    assert [inside.left(p) for p in ((4,), (3, 1), (2, 2), (1, 1, 1, 1))] == [0, 6, 8, 12]
    pairs = inside_of(*experts(4, 3, tp=2), 1, 4)
    assert pairs is not None
    assert [pairs.left(p) for p in ((3, 1), (2, 2))] == [6 + 18, 8]
    assert pairs.ladder == (1, 2, 4)


def test_tails_go_near_and_whole() -> None:
    """Leaves of two racks: a tail takes the places of its own leaf, then of its pod; it is not cut where one rack holds it."""
    parents = np.array([[0, 1, 2, 3], [0, 0, 1, 1], [0, 0, 0, 0]])
    laid = dict(lay([Piece(0, 6, 2, 0), Piece(1, 7, 1, 0), Piece(2, 5, 3, 0)], np.array([0, 3, 2, 3]), parents, (1, 8)))
    assert {p.unit: d for p, d in laid.items()} == {2: 1, 0: 2, 1: 3}


def test_tails_go_beside_their_neighbours_where_those_have_room() -> None:
    """Three leafs of one rack: the tail of 2 fits the second best, but belongs in the third; one of 4 has no room there."""
    parents = np.array([[0, 1, 2], [0, 1, 2], [0, 0, 0]])
    free_D = np.array([0, 2, 3])
    assert [d for _, d in lay([Piece(0, 6, 2, 0)], free_D, parents, (1, 8))] == [1]
    assert [d for _, d in lay([Piece(0, 6, 2, 0, 2)], free_D, parents, (1, 8))] == [2]
    assert [(p.length, d) for p, d in lay([Piece(0, 4, 4, 0, 1)], free_D, parents, (1, 8))] == [(3, 2), (1, 1)]


@pytest.mark.parametrize("seed", range(20))
def test_every_cell_is_laid_once_and_no_rack_overflows(seed: int) -> None:
    """Random pieces and places, exactly as many or more: nothing lost, nothing twice."""
    rng = np.random.default_rng(seed)
    parents = np.array([np.arange(12), np.arange(12) // 3, np.arange(12) // 6])
    start = rng.integers(0, 8, 9)
    pieces = [Piece(u, int(s), 8 - int(s), int(rng.integers(12))) for u, s in enumerate(start)]
    free = np.bincount(rng.integers(0, 12, int((8 - start).sum()) + int(rng.integers(3))), minlength=12)
    laid = list(lay(pieces, free, parents, (1, 2, 8)))
    cells = [(p.unit, c) for p, _ in laid for c in range(p.start, p.start + p.length)]
    assert sorted(cells) == [(p.unit, c) for p in pieces for c in range(p.start, 8)]
    used = np.zeros(12, np.int64)
    for piece, domain in laid:
        used[domain] += piece.length
    assert (used <= free).all()
