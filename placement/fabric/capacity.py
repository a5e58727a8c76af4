# SPDX-License-Identifier: Apache-2.0
# J group of a tier   R rail   P plane   N node   G gpu slot
"""Bandwidth that is left when switches, cables and adapters are out of service.

Planes of an adapter share its load evenly, so a dead plane leaves (P-1)/P. Rails do not: the GPU of a dead adapter sends
through a neighbour's (NCCL's PXN), so the busiest live one carries ceil(G / live) GPUs. A job is synchronous: the worst counts
(reference: topology of multi-plane fabrics, "the minimum over planes and rails, not the sum").
"""

from __future__ import annotations

import numpy as np

from placement.fabric.pattern import TierPattern
from placement.ir._array import Floats


def nominal_uplink(tier: TierPattern, outermost: bool) -> Floats:
    """Bytes/s of each healthy group towards the next tier, one direction; inf at the outermost tier. Shape (J,)."""
    if outermost:
        return np.full(tier.num_groups, np.inf)
    if tier.spec.uplink_Bps is not None:
        return np.array(np.broadcast_to(np.asarray(tier.spec.uplink_Bps, np.float64), tier.num_groups))
    port_Bps = tier.spec.port_Bps or 0.0
    return np.asarray(tier.switches_J * float(tier.spec.uplinks * tier.fan) * port_Bps, dtype=np.float64)


def share(live: Floats) -> Floats:
    """Part of its speed that each of many equal lanes (last axis) keeps when the load of dead lanes moves to live ones.

    min(live) * L / (L' ceil(...)): with L lanes of which L' live, the busiest carries ceil(L / L') loads.

    >>> share(np.array([[1.0, 1.0, 1.0, 0.0], [1.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])).tolist()
    [0.5, 0.5, 0.0]
    """
    num_lanes = live.shape[-1]
    alive = (live > 0).sum(axis=-1)
    worst = np.where(live > 0, live, np.inf).min(axis=-1)
    loads = np.ceil(num_lanes / np.maximum(alive, 1))
    return np.asarray(np.where(alive > 0, np.where(np.isfinite(worst), worst, 0.0) / loads, 0.0))


def spread(live: Floats) -> Floats:
    """As `share`, for lanes that split load evenly (planes): the worst live lane times the live part of the lanes."""
    alive = (live > 0).sum(axis=-1)
    worst = np.where(live > 0, live, np.inf).min(axis=-1)
    return np.asarray(np.where(alive > 0, np.where(np.isfinite(worst), worst, 0.0) * alive / live.shape[-1], 0.0))


def effective(live_JRP: Floats) -> Floats:
    """Part of its uplink capacity that each group keeps. Shape (J,)."""
    return share(spread(np.where(live_JRP < 1e-9, 0.0, live_JRP)))  # sums of many small losses
