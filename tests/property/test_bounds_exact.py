# SPDX-License-Identifier: Apache-2.0
"""Bounds against exact optima: 1,200 random mappings with dead GPUs, spares, two to four tiers, and every kind of traffic, and
1,000 tight ones, in which groups have to be parted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
import pytest

from placement.cost.traffic import tier_bytes
from placement.ir import Cluster, Placement, Strategy, Term, Traffic
from placement.passes.bound import entropy_bound, lower_bytes, tier_rooms
from placement.passes.profile import Parts, best_profile, profile
from placement.solve.entropy import Level
from placement.verify import bounds
from placement.verify.case import Case
from placement.verify.comms import Paper
from tests import exact
from tests.property import mapping_cases as cases

BATCHES, EACH = 12, 100


def instances(seed: int, count: int = EACH) -> Iterator[tuple[np.random.Generator, Cluster, Strategy, Traffic]]:
    rng = np.random.default_rng(1000 + seed)
    found = 0
    while found < count:
        cluster = cases.random_cluster(rng, deep=True)
        usable = int(cluster.usable_NG.sum())
        if usable < 3:
            continue
        strategy = cases.random_strategy(rng, int(rng.integers(3, min(usable, 8) + 1)))
        traffic = cases.random_traffic(rng, strategy, mixed=True)
        if traffic.terms:
            found += 1
            yield rng, cluster, strategy, traffic


@pytest.mark.parametrize("seed", range(BATCHES))
def test_no_bound_is_above_the_optimum(seed: int) -> None:
    """Of any tier, and of all tiers under random weights; the optimum by subsets of ranks."""
    sharp = 0
    for rng, cluster, strategy, traffic in instances(seed):
        weight_T = 10 ** rng.uniform(-1, 1, len(cluster.tiers))
        found = lower_bytes(cluster, strategy, traffic, weight_T)
        best = exact.least(cluster, strategy, traffic, weight_T)
        assert found.joint <= best * (1 + 1e-9) + 1e-9
        sharp += found.joint >= best * (1 - 1e-4)
        for t, tier in enumerate(cluster.tiers):
            alone = exact.least(cluster, strategy, traffic, np.eye(len(weight_T))[t])
            assert found.lower[tier.name] <= alone * (1 + 1e-9) + 1e-9
    assert sharp >= EACH // 2  # the campaign would also pass with bounds of nothing


@pytest.mark.parametrize("seed", range(10))
def test_no_bound_of_a_tight_cluster_is_above_the_optimum(seed: int) -> None:
    """Prices on parts at rates found and drawn, of any block; they are what makes the bound in some."""
    rng, won = np.random.default_rng(5000 + seed), 0
    for _ in range(EACH):
        cluster, strategy, traffic = cases.tight_case(rng)
        weight_T = 10 ** rng.uniform(-1, 1, len(cluster.tiers))
        found, best = lower_bytes(cluster, strategy, traffic, weight_T), exact.least(cluster, strategy, traffic, weight_T)
        assert found.joint <= best * (1 + 1e-9) + 1e-9
        for t, (tier, room_J) in enumerate(zip(cluster.tiers, tier_rooms(cluster), strict=True)):
            alone = exact.least(cluster, strategy, traffic, np.eye(len(weight_T))[t])
            assert found.lower[tier.name] <= alone * (1 + 1e-9) + 1e-9
            won += found.method[tier.name] == "priced parts"
            plain = best_profile(strategy, traffic, room_J, priced=False)
            for unit in plain.digits.marks[1:] if plain else ():
                if unit // 2 <= int(room_J.max()):
                    like = replace(plain, price_P=None, parts=Parts(unit, float(rng.uniform(0, 1.5))))
                    assert profile(strategy, traffic, room_J, like).bound <= alone * (1 + 1e-9) + 1e-9
    assert won >= EACH // 20


@pytest.mark.parametrize("seed", range(3))
def test_the_referee_derives_the_same(seed: int) -> None:
    """Profiles of tight clusters, with prices at drawn rates, against the referee's own recursion."""
    rng, priced = np.random.default_rng(6000 + seed), 0
    for _ in range(EACH):
        cluster, strategy, drawn = cases.tight_case(rng)
        traffic = Traffic(tuple(replace(t, kind="ring" if t.axis == "tp" else t.kind) for t in drawn.terms))
        missing = cast("Any", None)
        case = Case(Paper({"strategy": asdict(strategy)}), cluster, missing, missing, missing)
        for room_J in tier_rooms(cluster):
            plain = best_profile(strategy, traffic, room_J, priced=False)
            for unit in plain.digits.marks[1:] if plain else ():
                if unit // 2 <= int(room_J.max()):
                    like = replace(plain, price_P=None, parts=Parts(unit, float(rng.uniform(0, 1.5))))
                    ours = profile(strategy, traffic, room_J, like)
                    hint = bounds.hint_of(asdict(ours.witness))
                    sent = {t.axis: t.bytes_P.tolist() for t in traffic.terms}
                    again = bounds.held(case, sent, int(room_J.max()), hint)
                    assert again
                    assert bounds.alone(again, room_J, strategy.world_size) == pytest.approx(ours.bound, rel=1e-6, abs=1e-6)
                    priced += ours.paid != plain.paid
    assert priced


def uneven_case(rng: np.random.Generator) -> tuple[Cluster, Strategy, Traffic]:
    """At least three stages, boundaries and gradients of which weigh up to 30 times as much in one as in another."""
    while True:
        cluster = cases.random_cluster(rng, deep=True)
        usable = int(cluster.usable_NG.sum())
        strategy = cases.random_strategy(rng, int(rng.integers(4, min(usable, 8) + 1))) if usable > 3 else None
        if strategy is not None and strategy.pp > 2:
            drawn = [t for t in cases.random_traffic(rng, strategy).terms if t.axis != "pp"]
            terms = [replace(t, bytes_P=t.bytes_P * 10 ** rng.uniform(0, 1.5, strategy.pp)) for t in drawn]
            return cluster, strategy, Traffic((*terms, Term("pp", "path", 10 ** rng.uniform(0, 1.5, strategy.pp))))


@pytest.mark.parametrize("seed", range(4))
def test_no_bound_of_unequal_stages_is_above_the_optimum(seed: int) -> None:
    """Prices found and prices drawn; most of these bounds are the optimum."""
    rng, sharp, staged = np.random.default_rng(7000 + seed), 0, 0
    for _ in range(EACH):
        cluster, strategy, traffic = uneven_case(rng)
        weight_T = 10 ** rng.uniform(-1, 1, len(cluster.tiers))
        found, best = lower_bytes(cluster, strategy, traffic, weight_T), exact.least(cluster, strategy, traffic, weight_T)
        assert found.joint <= best * (1 + 1e-9) + 1e-9
        sharp += found.joint >= best * (1 - 1e-4)
        for t, (tier, room_J) in enumerate(zip(cluster.tiers, tier_rooms(cluster), strict=True)):
            alone = exact.least(cluster, strategy, traffic, np.eye(len(weight_T))[t])
            assert found.lower[tier.name] <= alone * (1 + 1e-9) + 1e-9
            staged += found.method[tier.name] == "stage by stage"
            plain = best_profile(strategy, traffic, room_J, priced=False)
            for name in ("price_P", "toll_P") if plain else ():
                like = replace(plain, **({"price_P": None} | {name: rng.normal(0, 0.2, strategy.pp)}))
                assert profile(strategy, traffic, room_J, like).bound <= alone * (1 + 1e-9) + 1e-9
    assert sharp >= EACH // 2 and staged >= EACH // 4


@pytest.mark.parametrize("seed", range(2))
def test_the_referee_derives_unequal_stages_alike(seed: int) -> None:
    """Stage by stage, and with tolls, at prices found and drawn."""
    rng, looked = np.random.default_rng(8000 + seed), 0
    for _ in range(EACH):
        cluster, strategy, traffic = uneven_case(rng)
        missing = cast("Any", None)
        case = Case(Paper({"strategy": asdict(strategy)}), cluster, missing, missing, missing)
        sent = {t.axis: t.bytes_P.tolist() for t in traffic.terms}
        for room_J in tier_rooms(cluster):
            plain = best_profile(strategy, traffic, room_J, priced=False)
            for name in ("price_P", "toll_P") if plain else ():
                like = replace(plain, **({"price_P": None} | {name: rng.normal(0, 0.05, strategy.pp)}))
                for ours in (plain, profile(strategy, traffic, room_J, like)):
                    again = bounds.held(case, sent, int(room_J.max()), bounds.hint_of(asdict(ours.witness)))
                    assert again
                    assert bounds.alone(again, room_J, strategy.world_size) == pytest.approx(ours.bound, rel=1e-6, abs=1e-6)
                    looked += 1
    assert looked


@pytest.mark.parametrize("seed", range(3))
def test_entropies_alone_hold(seed: int) -> None:
    """All tiers in one program, whether or not another bound is better."""
    seen = 0
    for rng, cluster, strategy, traffic in instances(seed):
        weight_T = 10 ** rng.uniform(-1, 1, len(cluster.tiers))
        levels = [Level(room_J, float(w)) for room_J, w in zip(tier_rooms(cluster), weight_T, strict=True)]
        bound = entropy_bound(strategy, traffic, levels)
        assert bound <= exact.least(cluster, strategy, traffic, weight_T) * (1 + 1e-9) + 1e-9
        seen += bound > 0
    assert seen >= EACH // 4


@pytest.mark.parametrize("seed", range(2))
def test_the_exact_optimum_is_met_by_enumeration(seed: int) -> None:
    """The oracle itself, against every injection where there are few; collectives as the bytes of placements count them."""
    import itertools

    for _, cluster, strategy, traffic in instances(seed, 25):
        gpus = np.flatnonzero(cluster.usable_NG.ravel())
        if len(gpus) > 7 or strategy.world_size > 5:
            continue
        best = np.inf
        for pick in itertools.permutations(gpus.tolist(), strategy.world_size):
            by_axis = tier_bytes(cluster, strategy, Placement(np.array(pick)), traffic)
            best = min(best, sum(sum(tiers.values()) for tiers in by_axis.values()))
        assert exact.least(cluster, strategy, traffic, np.ones(len(cluster.tiers))) == pytest.approx(best)
