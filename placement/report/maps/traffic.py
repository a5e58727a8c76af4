# SPDX-License-Identifier: Apache-2.0
"""`show traffic` and `show groups` of a map: bytes by part and tier, the hottest links, and how far groups span."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from placement.ir import AXES
from placement.ir._array import Ints
from placement.ir.comms import Wires
from placement.report.groups import row_facts
from placement.report.maps.view import MapView
from placement.report.traffic import hop_rows, hot_rows

WHOLE = "busiest uplinks"  # what shares of busy time are of: map.json `busiest_s`


def link_rows(view: MapView) -> list[dict[str, Any]]:
    """The ten uplinks that are busy longest."""
    loads = {t.name: load_J for t, load_J in zip(view.cluster.tiers, view.load_T, strict=True)}
    return hot_rows(view.cluster, loads, view.tree["busiest_s"])


def hops(view: MapView) -> list[dict[str, Any]]:
    """Axes of towers that hop to another rail."""
    return [
        row | {"axis": f"{tower.name}.{row['axis']}"}
        for tower, _, strategy, placement in view.structured()
        for row in hop_rows(view.cluster, strategy, placement)
    ]


def groups(view: MapView) -> list[dict[str, Any]]:
    """One record for each axis of a tower, for groups of the file, and for the pairs of each bridge, as for plans."""
    found = [
        row_facts(view.cluster, view.gpu_R, f"{tower.name}.{axis}", strategy.groups(axis) + first, strategy.stride(axis))
        for tower, first, strategy, _ in view.structured()
        for axis in AXES
        if strategy.size(axis) > 1
    ]
    return [*found, *_wired(view)]


def _wired(view: MapView) -> Iterator[dict[str, Any]]:
    for wires in view.comms.wires:
        rows = wires.rows_QM if wires.rows_QM.size else pairs_of(wires)
        if len(rows):
            yield row_facts(view.cluster, view.gpu_R, wires.label, rows, None)


def pairs_of(wires: Wires) -> Ints:
    """Pairs of ranks that exchange anything, each once: (X, 2)."""
    low, high = np.minimum(wires.src_E, wires.dst_E), np.maximum(wires.src_E, wires.dst_E)
    pair = np.unique(np.stack([low, high], axis=1), axis=0)
    return np.asarray(pair[pair[:, 0] != pair[:, 1]])
