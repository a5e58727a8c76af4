# SPDX-License-Identifier: Apache-2.0
# K tower   T tier   J group of a tier   S size of a set of ranks   E pair of ranks
"""What must leave the groups of every tier whatever the placement of several towers; and which part has no certificate.

Edges of towers, bridges and groups are disjoint, so that bounds of the parts add up: each tower alone, as if every group were
its own (`passes.bound`), and wires by degrees. Sharper, where profiles are known: towers share the room of a group, so that a
set holds at most the max-plus convolution of their profiles (`solve.graphbound`). Small jobs also by eigenvalues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from placement.ir import Cluster, Traffic, Witness
from placement.ir._array import Floats, Ints
from placement.ir.comms import Comms, Tower
from placement.passes.bound import Bounds, lower_bytes, tier_rooms
from placement.passes.profile import ROUNDING, Profile, best_profile
from placement.passes.refine import cell_edges
from placement.solve.exchange import Links, links
from placement.solve.graphbound import SPECTRAL, by_degree, by_eigenvalues, eigenvalues, heaviest, most_shared

SHARED = 1_500  # ranks of a group up to which profiles of towers are convolved


@dataclass(frozen=True)
class Shared:
    """How a bound of shared rooms was made, for whoever derives it again. `level_K`: bytes that a rank of each tower holds in
    the largest set, its price included: profiles are known up to a slope. `witness_K`: how profiles were made.
    """

    level_K: tuple[float, ...]
    witness_K: tuple[Witness | None, ...]


@dataclass(frozen=True)
class CommsBound:
    """`lower` bytes that leave groups of each tier, by tier, for every placement; `method`: towers apart, shared room,
    eigenvalues or outer tier. `joint`: of all tiers. `parts`: what each part contributes by itself. `why`: parts without
    a certificate, and why. `shared`: hints by tier; `apart`: those of towers by themselves, by tower and tier.
    """

    lower: Mapping[str, float]
    method: Mapping[str, str]
    joint: float
    parts: Mapping[str, Mapping[str, float]]
    why: Mapping[str, str]
    shared: Mapping[str, Shared]
    apart: Mapping[str, Mapping[str, Witness]]


def bound_comms(cluster: Cluster, comms: Comms) -> CommsBound:
    """Lower bounds for all placements of these ranks on usable GPUs of this cluster."""
    rooms, names = tier_rooms(cluster), [t.name for t in cluster.tiers]
    towers = {t.name: _tower_bound(cluster, t) for t in comms.towers}
    wires = {w.label: 0.0 for w in comms.wires}
    wire_graph = _wire_graph(comms, range(len(comms.wires)))
    whole = _whole_graph(comms)
    spectrum = np.zeros(0) if whole is None else eigenvalues(whole)
    by_part: dict[str, dict[str, float]] = {n: dict.fromkeys(names, 0.0) for n in [*towers, *wires]}
    lower: dict[str, float] = {}
    method: dict[str, str] = {}
    shared: dict[str, Shared] = {}
    wired: dict[str, float] = {}
    outer = 0.0
    for name, room_J in reversed(list(zip(names, rooms, strict=True))):
        for k, found in towers.items():
            by_part[k][name] = found.lower[name] if found else 0.0
        for i, w in enumerate(comms.wires):
            by_part[w.label][name] += by_degree(_wire_graph(comms, [i]), _room(room_J, comms.world_size))
        wired[name] = max(by_degree(wire_graph, _room(room_J, comms.world_size)), sum(by_part[w][name] for w in wires))
        apart = sum(by_part[k][name] for k in towers) + wired[name]
        together = _shared(comms, room_J)
        options = [(apart, "towers apart"), (outer, "outer tier")]
        if together:
            options.append((together[0], "shared room"))
            shared[name] = together[1]
        options.append((by_eigenvalues(spectrum, room_J), "eigenvalues"))
        best = max(options, key=lambda o: o[0])
        lower[name], method[name] = best if best[0] > 0 else (0.0, "none")
        outer = lower[name]
    joint = sum(b.joint for b in towers.values() if b) + sum(wired.values())
    hints = {k: dict(b.witness) for k, b in towers.items() if b}
    joint = max(joint, sum(lower.values()))
    return CommsBound(
        {n: lower[n] for n in names}, {n: method[n] for n in names}, joint, by_part, uncertified(comms, by_part), shared, hints
    )


def _room(room_J: Ints, world: int) -> int:
    return min(int(room_J.max()), world)


def _tower_bound(cluster: Cluster, tower: Tower) -> Bounds | None:
    if tower.strategy is None or not tower.traffic.terms:
        return None
    return lower_bytes(cluster, tower.strategy, tower.traffic, enough=0.0)


def _wire_graph(comms: Comms, which: Sequence[int]) -> Links:
    return links(comms.world_size, [(w.src_E, w.dst_E, w.bytes_E) for w in (comms.wires[i] for i in which)])


def _whole_graph(comms: Comms) -> Links | None:
    """Every pair of ranks that communicate, where they are few."""
    if comms.world_size > SPECTRAL:
        return None
    parts = [(w.src_E, w.dst_E, w.bytes_E) for w in comms.wires]
    for tower, first in zip(comms.towers, comms.first, strict=True):
        if tower.strategy is not None:
            edges = cell_edges(tower.strategy, tower.traffic, 1)
            if edges is None or any(t.kind == "hier" for t in tower.traffic.terms):
                return None
            parts += [(a + first, b + first, w) for a, b, w in edges]
    return links(comms.world_size, parts)


def _shared(comms: Comms, room_J: Ints) -> tuple[float, Shared] | None:
    """(bytes that leave, hints) if towers share the room of groups; None where profiles are not known."""
    top = int(room_J.max())
    if len(comms.towers) < 2 or top > SHARED or top >= comms.world_size:
        return None
    found = [None if t.strategy is None else _profile(t, room_J) for t in comms.towers]
    profiles = [_inside(t, p, top) for t, p in zip(comms.towers, found, strict=True)]
    across_K = [_across(comms, k, min(top, comms.world_size)) for k in range(1, len(comms.towers))]
    most, prices = most_shared(profiles, across_K, [t.ranks for t in comms.towers], room_J)
    known = [p for p in found if p]
    between = sum(_between(comms, w.src_E, w.dst_E, w.bytes_E) for w in comms.wires)
    total = sum(p.total for p in known) + between
    within = by_degree(_inner_graph(comms), _room(room_J, comms.world_size))
    bound = total - sum(p.paid for p in known) - most - ROUNDING * total + within
    hints = tuple(p.witness if p else None for p in found)
    levels = tuple(float(p[-1]) / (len(p) - 1) + price for p, price in zip(profiles, prices, strict=True))
    return max(bound, 0.0), Shared(levels, hints)


def _profile(tower: Tower, room_J: Ints) -> Profile | None:
    """The profile of a tower; rooms that hold all of it say nothing more than its size."""
    assert tower.strategy is not None
    return best_profile(tower.strategy, Traffic(tower.traffic.terms), np.minimum(room_J, max(tower.ranks - 1, 1)), priced=False)


def _inside(tower: Tower, found: Profile | None, top: int) -> Floats:
    """Most bytes inside s ranks of the tower, 0 <= s <= min(top, its ranks)."""
    size = min(top, tower.ranks)
    if found is None:
        return np.zeros(size + 1)
    held = found.inside_S[: size + 1]
    return held if len(held) == size + 1 else np.append(held, np.full(size + 1 - len(held), found.total - found.paid))


def _across(comms: Comms, k: int, top: int) -> tuple[Floats, Floats]:
    """Of the wires between tower k and those before it: the heaviest s ranks of either side."""
    low, high = comms.first[k], comms.first[k] + comms.towers[k].ranks
    weight_R = np.zeros(comms.world_size)
    for w in comms.wires:
        for a, b in ((w.src_E, w.dst_E), (w.dst_E, w.src_E)):
            cross = (a < low) & (b >= low) & (b < high)
            np.add.at(weight_R, a[cross], w.bytes_E[cross])
            np.add.at(weight_R, b[cross], w.bytes_E[cross])
    return heaviest(weight_R[:low], top), heaviest(weight_R[low:high], top)


def _tower_of(comms: Comms, rank_E: Ints) -> Ints:
    return np.searchsorted(np.array(comms.first), rank_E, side="right")


def _between(comms: Comms, src_E: Ints, dst_E: Ints, bytes_E: Floats) -> float:
    return float(bytes_E[_tower_of(comms, src_E) != _tower_of(comms, dst_E)].sum())


def _inner_graph(comms: Comms) -> Links:
    """Wires that stay in one tower."""
    kept = [(w, _tower_of(comms, w.src_E) == _tower_of(comms, w.dst_E)) for w in comms.wires]
    return links(comms.world_size, [(w.src_E[ok], w.dst_E[ok], w.bytes_E[ok]) for w, ok in kept])


def uncertified(comms: Comms, by_part: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Parts that no bound speaks of by themselves."""
    out = {}
    kinds = {w.label: w.kind for w in comms.wires}
    for part, tiers in by_part.items():
        if any(tiers.values()):
            continue
        kind = kinds.get(part, "tower")
        if kind == "bridge":
            out[part] = "each rank of a bridge has fewer partners than a group has room for: alone, it could stay inside"
        elif kind != "tower":
            out[part] = "no rank has more partners than a group has room for, so that degrees say nothing"
        elif next(t for t in comms.towers if t.name == part).traffic.terms:
            out[part] = "its profiles and entropies allow everything inside"
    return out
