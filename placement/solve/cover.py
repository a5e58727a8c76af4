# SPDX-License-Identifier: Apache-2.0
# X item   S size that is covered
"""Items whose sizes add up to at least a need, at the least cost: the knapsack problem in its minimization form, exactly, by
dynamic programming over sizes (Kellerer, Pferschy and Pisinger 2004, "Knapsack Problems").
"""

from __future__ import annotations

import numpy as np

from placement.solve._array import Ints


def cheapest_cover(size_X: Ints, cost_X: Ints, need: int) -> Ints | None:
    """Ascending indices of items with sizes of at least `need` together, at least total cost; then least total size.

    None where all items together are too small. Sizes are positive, costs not negative. O(items * need).

    >>> import numpy as np
    >>> cheapest_cover(np.array([3, 2, 2]), np.array([1, 1, 1]), 4).tolist()
    [1, 2]
    """
    if need <= 0:
        return np.zeros(0, np.int64)
    if int(size_X.sum()) < need:
        return None
    # Cost and size in one number: the size of any choice is below `scale`.
    scale = int(size_X.sum()) + 1
    weight_X = (cost_X.astype(np.int64) * scale + size_X).tolist()
    best_S = np.full(need + 1, np.iinfo(np.int64).max // 2)
    best_S[0] = 0
    taken_XS = np.zeros((len(size_X), need + 1), bool)
    covered_S = np.arange(need + 1)
    for x, (size, weight) in enumerate(zip(size_X.tolist(), weight_X, strict=True)):
        with_S = best_S[np.maximum(covered_S - size, 0)] + weight
        taken_XS[x] = with_S < best_S
        best_S = np.minimum(best_S, with_S)
    left, chosen = need, []
    for x in range(len(size_X) - 1, -1, -1):
        if taken_XS[x, left]:
            chosen.append(x)
            left = max(left - int(size_X[x]), 0)
    return np.array(chosen[::-1], np.int64)
