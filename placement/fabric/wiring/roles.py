# SPDX-License-Identifier: Apache-2.0
# D device   X half-cable   L class of alike switches
"""Tier of each switch, from what hangs on it: 1 leafs (adapters), 2 what joins leafs, 3 what joins those."""

from __future__ import annotations

import numpy as np

from placement.fabric.wiring.ends import Ends
from placement.fabric.wiring.names import letters
from placement.ir import Kind, Wired
from placement.ir._array import Bools, Floats, Ints

LEAF_SHARE = 0.15  # of the used ports of a leaf lead to adapters, at least; tapers and rails-joined designs stay far above
UP_SHARE = 0.2  # of the cables of a switch lead to the tier below: an 8:1 tapered spine has 0.89, a 1:1 one 0.5
AGREE = 0.8  # of alike named switches make the others follow: a leaf without hosts is still a leaf
MOST = 0.5  # of alike named switches are leafs: one without hosts may be, if it is joined to the same switches
SHARED = 0.6  # of the switches above are those of a leaf too
LOOKED_AT = 8  # neighbours that are compared
MAX_TIERS = 8


def tiers_of(wired: Wired, ends: Ends) -> Ints:
    """Tier of each device: 0 adapters, 1.. switches, -1 switches that no path joins to a leaf."""
    kind_D = wired.device.kind_D
    switch_D = (kind_D == Kind.SWITCH) | (kind_D == Kind.ROUTER)
    class_D = _classes(wired, switch_D)
    size = len(kind_D)
    used_D = np.bincount(ends.device_X, minlength=size)
    adapters_D = np.bincount(ends.device_X, weights=~switch_D[ends.peer_X], minlength=size)
    leaf_D = switch_D & (adapters_D >= 1) & (adapters_D >= LEAF_SHARE * used_D)
    if not (adapters_D[switch_D] > 0).any():
        leaf_D = _lowest(class_D, used_D, switch_D, ends)
    tier_D = np.where(switch_D, -1, 0)
    agreed_D = _agreed(leaf_D, class_D, switch_D & (used_D > 0))
    hostless = np.flatnonzero(_agreed(leaf_D, class_D, switch_D & (used_D > 0), MOST) & (adapters_D == 0))
    agreed_D[(adapters_D == 0) & ~leaf_D] = False
    agreed_D[[d for d in hostless.tolist() if _like_a_leaf(d, ends, switch_D, leaf_D)]] = True
    tier_D[agreed_D] = 1
    between_X = switch_D[ends.device_X] & switch_D[ends.peer_X]
    total_D = np.bincount(ends.device_X[between_X], minlength=size)
    for tier in range(2, MAX_TIERS):
        below_X = between_X & (tier_D[ends.peer_X] == tier - 1)
        share_D = np.bincount(ends.device_X[below_X], minlength=size) / np.maximum(total_D, 1)
        open_D = switch_D & (tier_D < 0)
        fresh_D = _agreed(open_D & (share_D >= UP_SHARE), class_D, open_D)
        if not fresh_D.any():
            break
        tier_D[fresh_D] = tier
    return tier_D


def _lowest(class_D: Ints, used_D: Ints, switch_D: Bools, ends: Ends) -> Bools:
    """Leafs of a plan that lists no hosts: the largest class of alike switches that are not joined to each other; of two such
    classes, the one with fewer cables each.
    """
    between_X = switch_D[ends.device_X] & switch_D[ends.peer_X]
    inside = class_D[ends.device_X] == class_D[ends.peer_X]
    joined = set(class_D[ends.device_X[between_X & inside]].tolist())
    known = switch_D & (used_D > 0)
    classes = [c for c in np.unique(class_D[known]).tolist() if c not in joined]
    if len(np.unique(class_D[known])) < 2 or not classes:
        return np.zeros(len(switch_D), bool)
    size = {c: int((known & (class_D == c)).sum()) for c in classes}
    best = min(classes, key=lambda c: (-size[c], float(used_D[known & (class_D == c)].mean()), c))
    return np.asarray(known & (class_D == best))


def _classes(wired: Wired, switch_D: Bools) -> Ints:
    """Switches with the same model and shape of name and unit."""
    seen: dict[tuple[str, str, str], int] = {}
    out = np.full(len(switch_D), -1, np.int64)
    device = wired.device
    for d in np.flatnonzero(switch_D).tolist():
        key = (letters(str(device.name_D[d])), letters(str(device.unit_D[d])), str(device.model_D[d]))
        out[d] = seen.setdefault(key, len(seen))
    return out


def _like_a_leaf(d: int, ends: Ends, switch_D: Bools, leaf_D: Bools) -> bool:
    """Whether a switch without hosts is joined to the switches that some leaf is joined to: a spine never is, nor is a core."""

    def peers(of: int) -> set[int]:
        mine = ends.peer_X[ends.device_X == of]
        return set(mine[switch_D[mine]].tolist())

    up = peers(d)
    if any(leaf_D[p] for p in up):
        return False
    siblings = {s for p in sorted(up)[:LOOKED_AT] for s in peers(p) if leaf_D[s]}
    near = (peers(s) for s in sorted(siblings)[:LOOKED_AT])
    return any(len(up & theirs) >= SHARED * max(len(up), len(theirs)) for theirs in near)


def _agreed(yes_D: Bools, class_D: Ints, of_D: Bools, agree: float = AGREE) -> Bools:
    """`yes_D`, with classes of three or more made unanimous where most agree."""
    known_D = of_D & (class_D >= 0)
    count_L = np.bincount(class_D[known_D], minlength=int(class_D.max(initial=0)) + 1)
    yes_L = np.bincount(class_D[known_D & yes_D], minlength=len(count_L))
    share_L: Floats = yes_L / np.maximum(count_L, 1)
    big_L = count_L >= 3
    share_D, big_D = share_L[class_D], big_L[class_D]
    return np.asarray(of_D & np.where(big_D & (share_D >= agree), True, np.where(big_D & (share_D <= 1 - agree), False, yes_D)))
