# SPDX-License-Identifier: Apache-2.0
"""Which layout is taken: a legal one first, then fewer hops, then the step where it can be priced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from placement.diag import Infeasible
from placement.ir import Cluster, Job, Strategy, Term, Traffic
from placement.passes import choice
from placement.passes.choice import Judge, Laid, Price, pick
from placement.passes.place import BYTES, STEP_TIME, layouts, place, score, score_cells
from placement.passes.rails import rail_conflicts
from placement.passes.sites import expand, sites_of
from tests import clusters
from tests.property import mapping_cases as cases

JOB = Job(seq_len=1, global_batch=1)


def sent(strategy: Strategy, **by_axis: float) -> Traffic:
    kinds = {"ep": "clique", "pp": "path"}
    return Traffic(tuple(Term(a, kinds.get(a, "ring"), np.full(strategy.pp, b)) for a, b in by_axis.items()))


def judged(cluster: Cluster, strategy: Strategy, traffic: Traffic, made: list[list[int]]) -> tuple[Judge, list[Laid]]:
    judge, sites = Judge(cluster, strategy, traffic, STEP_TIME), sites_of(cluster, strategy, JOB)
    return judge, [judge.laid(sites, np.array(c), i) for i, c in enumerate(made)]


def test_a_layout_without_a_path_never_beats_one_with() -> None:
    """Two cells of two on each node of four, stages 0 and 1 on different nodes: the same uplinks either way, but crossed over
    stage 1 sits on the other rails, and nobody forwards.
    """
    strategy = clusters.strategy(tp=2, dp=2, pp=2)
    traffic, made = sent(strategy, pp=1.0), [[0, 0, 1, 1], [0, 1, 1, 0]]
    for crossed in (made[::-1], made):
        for joined in (True, False):
            judge, found = judged(clusters.regular(4, 1, (2,), rails_connected=joined), strategy, traffic, crossed)
            assert found[0].loads.score() == found[1].loads.score()
            assert judge.best(found).domain_C.tolist() == (crossed[0] if joined else made[0])


def test_hops_are_seconds() -> None:
    """Cells of two on nodes of four, two of three in one domain: they meet the third on one rail only, which is legal, but
    dearer than the uplinks say.
    """
    strategy = clusters.strategy(tp=2, dp=3)
    cluster = clusters.regular(4, 1, (2,), rails_connected=False)
    ragged = replace(JOB, ragged=True)
    judge, sites = Judge(cluster, strategy, sent(strategy, dp=1e9), STEP_TIME), sites_of(cluster, strategy, ragged)
    laid = judge.laid(sites, np.array([0, 0, 1]), 0)
    full = judge.full(laid)
    # one member in domain 1 meets two in domain 0 on rail 0: it sends 1 GB and passes on 1 GB, at 100 GB/s and 900 GB/s
    assert laid.loads.busiest_s["dp"] == pytest.approx(2e9 / 4e11)
    assert full.loads.busiest_s["dp"] == pytest.approx(np.cbrt(1e-2**3 + (1e9 / 9e11) ** 3)) and not full.loads.broken
    assert score(cluster, strategy, judge.traffic, full.placement)[1:] == full.loads.score()


def test_hops_are_not_looked_at_where_nobody_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rails joined, or cells of whole nodes: nothing is expanded to ranks."""
    monkeypatch.setattr(choice, "hopped", lambda *_: pytest.fail("looked at"))
    wide = clusters.strategy(tp=4, dp=2)
    for cluster, strategy in (
        (clusters.regular(4, 1, (2,)), clusters.strategy(tp=2, dp=4)),
        (clusters.regular(4, 1, (2,), rails_connected=False), wide),
    ):
        place(cluster, strategy, sent(strategy, dp=1.0), JOB)


def test_nodes_that_lack_a_rail_are_left_where_others_do() -> None:
    """Tensor groups of two on three nodes of four, one without its rail 0: three groups find a path on the other two only."""
    strategy, ragged = clusters.strategy(tp=2, dp=3), replace(JOB, ragged=True)
    joined, apart = (clusters.regular(4, 1, (3,), failed_gpus=[(1, 0)], rails_connected=c) for c in (True, False))
    found = [place(c, strategy, sent(strategy, dp=1.0), ragged) for c in (joined, apart)]
    assert [sorted(set((p.gpu_R // 4).tolist())) for p in found] == [[0, 1], [0, 2]]
    assert not any(rail_conflicts(apart, strategy, found[1]).values())
    assert any(rail_conflicts(apart, strategy, found[0]).values())


def test_the_step_decides_where_it_is_known() -> None:
    """A price that likes stages on one domain each takes that layout, however the uplinks are; equal prices leave the score."""
    cluster = clusters.regular(4, 2, (4, 2))
    strategy = clusters.strategy(tp=4, dp=4, pp=4)
    traffic = sent(strategy, dp=1.0, pp=20.0)
    ((_, found, _),) = layouts(cluster, strategy, traffic, JOB)
    wanted = max(found, key=lambda x: x.loads.score())
    plain = place(cluster, strategy, traffic, JOB)
    assert wanted.loads.score() > min(x.loads.score() for x in found)
    dear = Price(lambda p: 1.0 if (p.gpu_R == wanted.placement.gpu_R).all() else 2.0)
    assert (place(cluster, strategy, traffic, JOB, price=dear).gpu_R == wanted.placement.gpu_R).all()
    assert (place(cluster, strategy, traffic, JOB, price=Price(lambda _: 1.0)).gpu_R == plain.gpu_R).all()


def test_no_more_is_priced_than_is_needed() -> None:
    """The first one that is good enough ends it; a broken one is not priced at all."""
    strategy = clusters.strategy(tp=2, dp=2, pp=2)
    cluster = clusters.regular(4, 1, (2,), rails_connected=False)
    judge, found = judged(cluster, strategy, sent(strategy, pp=1.0), [[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1]])
    asked: list[list[int]] = []

    def step_s(placement: object) -> float:
        asked.append(placement.gpu_R.tolist())  # type: ignore[attr-defined]
        return 1.0

    pool = judge.pool(found, found[:1], 3)
    assert [x.serial for x in pool] == [2, 1, 0]
    assert pick(judge, pool, Price(step_s)).serial == 2 and len(asked) == 2
    asked.clear()
    assert pick(judge, pool, Price(step_s, enough=1.0)).serial == 2 and len(asked) == 1


@pytest.mark.parametrize("seed", range(8))
def test_cells_and_ranks_score_alike(seed: int) -> None:
    """Also with adapters of unequal speed: a domain is worth the slowest that its ranks use, not the mean."""
    rng, looked = np.random.default_rng(seed), 0
    while looked < 12:
        cluster = cases.random_cluster(rng, most=40)
        cluster = replace(cluster, nic_Bps_N=rng.choice([5e10, 1e11], cluster.num_nodes))
        usable = int(cluster.usable_NG.sum())
        if usable < 2:
            continue
        strategy = cases.random_strategy(rng, int(rng.integers(2, usable + 1)))
        traffic = cases.random_traffic(rng, strategy)
        try:
            sites = sites_of(cluster, strategy, JOB)
        except Infeasible:
            continue
        looked += 1
        domain_C = np.repeat(np.arange(len(sites.room_D)), sites.room_D)[: strategy.world_size // sites.cell]
        domain_C = rng.permutation(domain_C) if sites.block == 1 else domain_C
        ranks = score(cluster, strategy, traffic, expand(sites, domain_C))
        cells = score_cells(cluster, strategy, traffic, sites, domain_C, BYTES)
        assert cells[0] == ranks[1] and cells[2] == pytest.approx(ranks[3])
