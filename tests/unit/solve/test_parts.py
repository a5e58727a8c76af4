# SPDX-License-Identifier: Apache-2.0
"""Prices of parts of units, against all ways to cut a unit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from placement.solve.layercake import clique
from placement.solve.parts import dearest, part_prices


def cuts(total: int, largest: int) -> Iterator[list[int]]:
    if total == 0:
        yield []
    for part in range(min(total, largest), 0, -1):
        for rest in cuts(total - part, part):
            yield [part, *rest]


@pytest.mark.parametrize("seed", range(20))
def test_the_dearest_cut_is_that_of_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    unit = int(rng.integers(2, 13))
    price_S = np.append(0.0, rng.normal(size=int(rng.integers((unit + 1) // 2, unit + 1))))
    assert dearest(price_S, unit) == pytest.approx(max(price_S[c].sum() for c in cuts(unit, len(price_S) - 1)))


def test_mains_pay_for_what_tails_lack() -> None:
    """A clique of 8 holds 28. At a rate of 3 a tail of 2, which holds 1, is paid 5, and a main of 6 owes them; 8 owe none."""
    price_S = part_prices(clique(8, 1.0), 8, 3.0)
    assert price_S.tolist() == [0, -3, -5, -6, -6, 6, 5, 3, 0]
    assert dearest(price_S, 8) == 0


def test_no_price_where_tails_hold_the_rate() -> None:
    assert not part_prices(clique(8, 1.0), 8, 0.0).any()
