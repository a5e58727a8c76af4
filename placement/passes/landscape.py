# SPDX-License-Identifier: Apache-2.0
# S outer row of the search tree   X tp degree   Y pp degree
"""The space of strategies seen from above: the least time that any strategy of each tensor and pipeline degree could take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.ir._array import Floats, Ints
from placement.passes.outer import grow
from placement.passes.problem import Problem
from placement.passes.strategies import space


@dataclass(frozen=True)
class Landscape:
    """`least_s_XY` optimistic seconds of a step, infinite where nothing fits; `count_XY` strategies that divide and fit."""

    tp_X: Ints
    pp_Y: Ints
    least_s_XY: Floats
    count_XY: Ints


def landscape(task: Problem) -> Landscape:
    """Bound of the search's outer rows by (tp, pp): the pipeline alone, with the cheapest cut of a layer (`passes/tree`)."""
    tree = grow(task, space(task.cluster, task.model, task.job))
    tp_X, x_S = np.unique(tree.outer["tp"], return_inverse=True)
    pp_Y, y_S = np.unique(tree.outer["pp"], return_inverse=True)
    least_s_XY = np.full((len(tp_X), len(pp_Y)), np.inf)
    count_XY = np.zeros(least_s_XY.shape, np.int64)
    np.minimum.at(least_s_XY, (x_S, y_S), tree.bound_S)
    np.add.at(count_XY, (x_S, y_S), tree.leaves_S)
    return Landscape(tp_X, pp_Y, least_s_XY, count_XY)
