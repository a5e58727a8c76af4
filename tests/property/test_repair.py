# SPDX-License-Identifier: Apache-2.0
"""Random failures of random plans: the rules hold, and no repair moves fewer ranks.

`REPAIR_CASES=100000` runs the whole campaign (`make repair-campaign`); the suite runs a twentieth of it.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from placement.diag import NoRepair
from placement.passes.repair import repair
from tests.property.repair_cases import Case, broken_rules, cell_of_case, fewest_moves, random_case

CASES = int(os.environ.get("REPAIR_CASES", "5000"))
ORACLE = 0.2  # share of the cases that are held against every repair there is
HOMES = 300  # choices of domains that the oracle looks at


def cases(seed: int, count: int, most: int, homes: int | None = None) -> list[Case]:
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        case = random_case(rng, most=most)
        if case is None:
            continue
        cells = case.strategy.world_size // cell_of_case(case)
        if homes is None or case.cluster.tiers[0].num_groups ** cells <= homes:
            found.append(case)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_no_repair_moves_fewer_ranks(seed):
    """On up to 16 GPUs: as few moves as the best of all repairs, none where there is none, and the certificate says so."""
    outcome = {"repaired": 0, "moved cells": 0, "impossible": 0}
    for case in cases(seed, int(CASES * ORACLE / 4), 16, HOMES):
        least = fewest_moves(case)
        try:
            found = repair(case.after, case.strategy, case.placement, case.job, case.traffic, nearest=seed % 2 == 0)
        except NoRepair:
            assert least is None, case
            outcome["impossible"] += 1
            continue
        assert broken_rules(case, found.placement) == []
        assert (len(found.moved_R), found.least, found.proven) == (least, least, True), case
        outcome["repaired"] += len(found.lost_R) > 0
        outcome["moved cells"] += found.cells_moved > 0
    assert min(outcome.values()) > 0, outcome  # the draw has all kinds


@pytest.mark.parametrize("seed", range(4))
def test_repairs_keep_the_rules(seed):
    """Never two ranks on a GPU, a dead GPU, a tensor or expert group split or part of a node; moves as stated."""
    for case in cases(100 + seed, int(CASES * (1 - ORACLE) / 4), 64):
        try:
            found = repair(case.after, case.strategy, case.placement, case.job, case.traffic)
        except NoRepair:
            continue
        assert broken_rules(case, found.placement) == []
        moved = np.flatnonzero(found.placement.gpu_R != case.placement.gpu_R)
        assert np.array_equal(moved, found.moved_R)
        assert set(found.lost_R.tolist()) <= set(moved.tolist())
        assert len(found.lost_R) <= found.least <= len(moved)
        assert found.cell == cell_of_case(case)
