# SPDX-License-Identifier: Apache-2.0
# S size of a set of vertices
"""Prices of the parts that groups cut units into, so that a bound knows: what one group cannot keep, others must take.

A profile M(s) lets every group hold its s vertices of few units, as if the rest of each unit lay nowhere. Any prices c(x) of a
part of x vertices mend that. Sets S_j that share out all vertices cut every unit u into parts S_j & u, whose sizes add up to
its own, so that with C the dearest way to cut one unit, and F(s) a profile of what sets hold less the prices of their parts,

    sum_j inside(S_j) = sum_j [inside(S_j) - sum_u c(|S_j & u|)] + sum_u sum_j c(|S_j & u|) <= sum_j F(|S_j|) + units * C.

Units are slices of a recursion over digits (`layercake`), so F needs the prices subtracted from the profile of one unit. It is
a Lagrangian relaxation of cutting stock by sizes (Gilmore and Gomory 1961): parts that groups offer are parts that units have.

The family used here lets mains (more than half a unit) pay for what they miss. A tail of t vertices that holds m(t) is paid as
if it held `rate` t, so that each group may have tails at that rate; the main that it belongs to pays the difference.
"""

from __future__ import annotations

import numpy as np

from placement.solve._array import Floats


def part_prices(held_S: Floats, unit: int, rate: float) -> Floats:
    """c(x) of parts of x vertices of a unit, 0 <= x <= those of `held_S`, which is what x vertices of one hold at most.

    Needs sizes up to half a unit. Where tails hold `rate` a vertex anyway, nothing has a price.
    """
    size_S = np.arange(len(held_S))
    half = unit // 2
    paid_S = np.maximum(rate * size_S[: half + 1] - held_S[: half + 1], 0.0)
    price_S = np.zeros(len(held_S))
    price_S[: half + 1] = -paid_S
    mains = size_S[half + 1 :]
    price_S[mains] = paid_S[unit - mains]
    return price_S


def dearest(price_S: Floats, unit: int) -> float:
    """The highest sum of prices over all ways to cut a unit into parts of these sizes: a dynamic program over what is left."""
    best_S = np.full(unit + 1, -np.inf)
    best_S[0] = 0.0
    for size in range(1, unit + 1):
        largest = min(size, len(price_S) - 1)
        best_S[size] = (best_S[size - largest : size][::-1] + price_S[1 : largest + 1]).max()
    return float(best_S[unit])
