# SPDX-License-Identifier: Apache-2.0
# P pipeline stage   J group of a tier   S size of a set of ranks   T tier
"""Lower bounds, tier by tier and in all, on the bytes that leave the groups, for every placement whatsoever.

Four kinds, of which the largest counts: layer-cake profiles of one tier, with prices on parts of blocks where groups cannot
hold whole ones only; entropies, for groups of any size and collectives; the
sizes of groups coupled over all tiers; and bytes of an axis moved from a tier to the next one out before either is bounded, as
groups nest and what leaves a tier also leaves every tier inside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product, takewhile

import numpy as np

from placement.cost.cells import EXPERTS, TENSORS, WHOLE, cell_size, domain_cells, may_split
from placement.cost.traffic import tier_bytes
from placement.ir import Certificate, Cluster, Placement, Strategy, Term, Traffic, Witness
from placement.ir._array import Floats, Ints
from placement.passes.contract import Ranks, contracted
from placement.passes.digits import Digits, ways
from placement.passes.profile import ROUNDING, Profile, best_profile, boundary_weights, profile
from placement.solve.coupling import coupled_sum
from placement.solve.entropy import MOST_DIGITS, Group, Level, least_leaving
from placement.solve.layercake import clique, ring
from placement.solve.tolls import arcs, even_prices

WORK = 100_000  # what the search for better weights may cost: ranks of a group for each class of stages, and `LP_WORK`
LP_WORK = 1_000
SHARP = 80  # ranks of a group up to which profiles are sharper than entropies
CLOSE = 1e-4  # a bound this near the plan is not worth more work


@dataclass(frozen=True)
class Bounds:
    """`lower`, `method` by tier: layer-cake, priced parts or stage by stage, entropy, both, outer tier (taken over from there)
    or none; `joint` of all.
    """

    lower: Mapping[str, float]
    method: Mapping[str, str]
    joint: float
    joint_method: str
    witness: Mapping[str, Witness]


def certify(
    cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic, ragged: bool = False, *, quick: bool = False,
) -> Certificate:  # fmt: skip
    """Lower bounds for this strategy and traffic on this cluster's usable GPUs, beside the bytes of the placement.

    If the placement keeps cells in NVLink domains, also for all placements that do (`ragged`: as in the job). `quick`: without
    the search for better weights of all tiers together.
    """
    by_axis = tier_bytes(cluster, strategy, placement, traffic)
    plan = {t.name: sum(axis[t.name] for axis in by_axis.values()) for t in cluster.tiers}
    enough = 0.0 if quick else sum(plan.values()) / (1 + CLOSE)
    found = lower_bytes(cluster, strategy, traffic, enough=enough)
    cell, kept, joint = _kept(cluster, strategy, placement, traffic, ragged, enough)
    whole, parted = parted_cells(cluster, strategy, placement, ragged)
    return Certificate(
        found.lower, plan, found.method, found.joint, found.joint_method, found.witness, cell=cell,
        kept_bytes={n: max(b, found.lower[n]) for n, b in kept.items()}, kept_joint=max(joint, found.joint) if kept else 0.0,
        whole=whole, parted=parted,
    )  # fmt: skip


def parted_cells(cluster: Cluster, strategy: Strategy, placement: Placement, ragged: bool) -> tuple[int, int]:
    """Ranks of a whole cell, and how many of these leave their NVLink domain."""
    whole = cell_size(cluster, strategy, ragged)
    domain_CR = cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node].reshape(-1, whole)
    return whole, int((domain_CR != domain_CR[:, :1]).any(axis=1).sum())


def _kept(
    cluster: Cluster, strategy: Strategy, placement: Placement, traffic: Traffic, ragged: bool, enough: float
) -> tuple[int, Mapping[str, float], float]:  # fmt: skip
    """(ranks of a cell, bound by tier, of all tiers) under placements that keep cells; none if this one does not."""
    domain_R = cluster.tiers[0].group_N[placement.gpu_R // cluster.gpus_per_node]
    sizes = [cell_size(cluster, strategy, ragged, keep) for keep in (WHOLE, EXPERTS, TENSORS)]
    cell = next((c for c in sizes if not (domain_R.reshape(-1, c) != domain_R[::c, None]).any()), 1)
    small = contracted(strategy, traffic, cell) if cell > 1 else None
    if small is None:
        return 0, {}, 0.0
    room_J = domain_cells(cluster, cell, may_split(cluster, strategy.world_size, ragged))
    if room_J.sum() < strategy.world_size // cell:  # it keeps cells, but parts nodes, which those placements do not
        return 0, {}, 0.0
    rooms = [
        np.bincount(parent_J, weights=room_J, minlength=t.num_groups).astype(np.int64)
        for t, parent_J in zip(cluster.tiers, cluster.parent_TJ, strict=True)
    ]
    found = lower_bytes(cluster, *small, enough=enough, rooms=rooms)
    return cell, found.lower, found.joint


def lower_bytes(
    cluster: Cluster, strategy: Ranks, traffic: Traffic, weight_T: Floats | None = None, enough: float = math.inf,
    rooms: Sequence[Ints] = (),
) -> Bounds:  # fmt: skip
    """All bounds. `weight_T`: weights of the tiers in the joint bound, else 1; the search for a better one ends at `enough`.

    `rooms`: what the groups of each tier hold, if not usable GPUs.
    """
    rooms = rooms or tier_rooms(cluster)
    weights = np.ones(len(rooms)) if weight_T is None else np.asarray(weight_T, float)
    found = [best_profile(strategy, traffic, room_J) for room_J in rooms]
    lower: dict[str, float] = {}
    method: dict[str, str] = {}
    outer = 0.0
    for tier, room_J, known in reversed(list(zip(cluster.tiers, rooms, found, strict=True))):
        cake = known.bound if known else 0.0
        spread, order = _spread(strategy, traffic, room_J, known), _ordered(strategy, traffic, room_J)
        kind = "layer-cake" if known is None else known.kind
        options = (
            (cake + order, f"{kind} + entropy" if order else kind),
            (spread, "entropy"),
            (outer, "outer tier"),
        )
        best = max(options, key=lambda b: b[0])
        lower[tier.name], method[tier.name] = best if best[0] > 0 else (0.0, "none")
        outer = lower[tier.name]
    names = [t.name for t in cluster.tiers]
    lower_T = np.array([lower[n] for n in names])
    joint = _joint(cluster, strategy, traffic, rooms, found, weights, lower_T, enough)
    return Bounds({n: lower[n] for n in names}, {n: method[n] for n in names}, *joint, _witness(names, found))


def _witness(names: Sequence[str], found: Sequence[Profile | None]) -> dict[str, Witness]:
    return {name: p.witness for name, p in zip(names, found, strict=True) if p}


def tier_bound(strategy: Ranks, traffic: Traffic, room_J: Ints) -> float:
    """Bytes that leave groups of `room_J` usable GPUs, at least."""
    known = best_profile(strategy, traffic, room_J)
    cake = known.bound if known else 0.0
    return max(cake + _ordered(strategy, traffic, room_J), _spread(strategy, traffic, room_J, known))


def tier_rooms(cluster: Cluster) -> list[Ints]:
    """Usable GPUs of each group of each tier."""
    gpus_N = cluster.usable_NG.sum(axis=1)
    return [np.bincount(t.group_N, weights=gpus_N, minlength=t.num_groups).astype(np.int64) for t in cluster.tiers]


def _spread(strategy: Ranks, traffic: Traffic, room_J: Ints, known: Profile | None) -> float:
    """The bound by entropies of one tier, where profiles say nothing, bound terms apart, or are not sharp; else 0."""
    largest = int(room_J.max())
    if largest >= strategy.world_size or not traffic.terms:
        return 0.0
    if known and largest <= SHARP and not known.digits.loose and not any(t.kind == "hier" for t in traffic.terms):
        return 0.0
    return entropy_bound(strategy, traffic, [Level(room_J, 1.0)], known.toll_P if known else None)


def _ordered(strategy: Ranks, traffic: Traffic, room_J: Ints) -> float:
    """What collectives that follow the fabric must send out of the groups of a tier; profiles know nothing of them."""
    terms = tuple(t for t in traffic.terms if t.kind == "hier")
    if not terms or int(room_J.max()) >= strategy.world_size:
        return 0.0
    return entropy_bound(strategy, Traffic(terms), [Level(room_J, 1.0)])


def _joint(
    cluster: Cluster, strategy: Ranks, traffic: Traffic, rooms: Sequence[Ints], found: Sequence[Profile | None],
    weight_T: Floats, lower_T: Floats, enough: float,
) -> tuple[float, str]:  # fmt: skip
    """The best weighted bound of all tiers together, and its kind."""
    options = [(float(weight_T @ lower_T), "each tier")]
    known = [t for t, p in enumerate(found) if p and weight_T[t] > 0]
    sharp = list(takewhile(lambda t: found[t].bound >= lower_T[t] * (1 - 1e-9), known))  # type: ignore[union-attr]
    for tiers in (known, sharp) if len(sharp) > 1 and sharp != known else (known,) if len(known) > 1 else ():
        rest = float(sum(weight_T[t] * lower_T[t] for t in range(len(rooms)) if t not in tiers))
        shift = _Shift(cluster, strategy, traffic, rooms, found, weight_T, lower_T, tiers)
        options.append((shift.best + rest, "coupled sizes"))
        if tiers == (sharp if len(sharp) > 1 else known) and max(options)[0] < enough:
            shift.search(enough - rest)
            options.append((shift.best + rest, "shifted weights"))
    levels = [Level(r, float(w)) for r, w in zip(rooms, weight_T, strict=True) if int(r.max()) < strategy.world_size and w > 0]
    if len(levels) > 1 and max(options)[0] < enough:
        tolls = {id(toll): toll for toll in (None, *(p.toll_P for p in found[-2::-1] if p and p.toll_P is not None))}
        every = [entropy_bound(strategy, traffic, levels, toll) for toll in list(tolls.values())[:2]]
        options.append((max(every), "joint entropy"))
    return max(options, key=lambda o: o[0])


class _Shift:
    """Weights of terms by tier, and the bound of coupled sizes that they give: any weights that only moved outwards are valid.

    sum_t w_t cut_t >= sum_t (w_t - l_t + l_(t-1)) cut_t for l >= 0, term by term, because cut_t >= cut_(t+1).
    """

    def __init__(
        self, cluster: Cluster, strategy: Ranks, traffic: Traffic, rooms: Sequence[Ints], found: Sequence[Profile | None],
        weight_T: Floats, lower_T: Floats, known: Sequence[int],
    ) -> None:  # fmt: skip
        self.strategy, self.traffic = strategy, traffic
        self.rooms, self.like = [rooms[t] for t in known], [p for t in known if (p := found[t])]
        self.first_T = weight_T[list(known)]
        self.weight_TX = np.repeat(self.first_T[:, None], len(traffic.terms), axis=1)
        self.now = [p.times(float(w)) for p, w in zip(self.like, self.first_T, strict=True)]
        self.alone = [float(w) * lower_T[t] for w, t in zip(self.first_T, known, strict=True)]
        self.parents = [_parents(cluster, a, b) for a, b in pairwise(known)]
        self.best = self._value(self.now, self.alone)

    def _value(self, profiles: Sequence[Profile], alone: Sequence[float]) -> float:
        """Weighted bytes that leave, at least: the sizes of groups have to suit all tiers at once; or each tier by itself."""
        return max(self._coupled(profiles), sum(alone))

    def _coupled(self, profiles: Sequence[Profile]) -> float:
        inside = coupled_sum([p.inside_S for p in profiles], self.rooms[0], self.parents, self.strategy.world_size)
        total = sum(p.total for p in profiles)
        return max(0.0, total - sum(p.paid for p in profiles) - inside - ROUNDING * total)

    def search(self, enough: float) -> None:
        """Coordinate ascent over what moves outwards, halves, quarters and eighths of a tier's weight; its work is counted."""
        left = WORK
        kinds = len(np.unique(np.array([t.bytes_P for t in self.traffic.terms]), axis=1).T)
        for share, i, x in product((0.5, 0.25, 0.125), range(len(self.like) - 1), range(len(self.traffic.terms))):
            for amount in (share * float(self.first_T[i]), -share * float(self.first_T[i])):
                weight_TX = self._moved(i, x, amount)
                if weight_TX is None:
                    continue
                left -= sum(int(self.rooms[t].max()) * kinds + LP_WORK for t in (i, i + 1))
                if left < 0 or self.best >= enough:
                    return
                if self._take(i, weight_TX):
                    break

    def _moved(self, i: int, x: int, amount: float) -> Floats | None:
        """Weights after an amount of a term's weight of tier i went one tier out; None if it was not there to move."""
        weight_TX = self.weight_TX.copy()
        weight_TX[i, x] -= amount
        weight_TX[i + 1, x] += amount
        inwards = (np.cumsum(weight_TX[:, x] - self.first_T) > 1e-12 * self.first_T.sum()).any()
        return None if inwards or weight_TX[:, x].min() < 0 else weight_TX

    def _take(self, i: int, weight_TX: Floats) -> bool:
        profiles, alone = list(self.now), list(self.alone)
        for t in (i, i + 1):
            bytes_t = _weighted(self.traffic, weight_TX[t])
            profiles[t] = profile(self.strategy, bytes_t, self.rooms[t], self.like[t])
            alone[t] = max(profiles[t].bound, _spread(self.strategy, bytes_t, self.rooms[t], profiles[t]))
        value = self._value(profiles, alone)
        if value <= self.best * (1 + 1e-9):
            return False
        self.best, self.weight_TX, self.now, self.alone = value, weight_TX, profiles, alone
        return True


def _parents(cluster: Cluster, low: int, high: int) -> Ints:
    """Group of tier `high` of each group of tier `low`."""
    parent_J = np.zeros(cluster.tiers[low].num_groups, np.int64)
    parent_J[cluster.tiers[low].group_N] = cluster.tiers[high].group_N
    return parent_J


def _weighted(traffic: Traffic, weight_X: Floats) -> Traffic:
    """Traffic with the bytes of each term times its weight."""
    return Traffic(tuple(replace(t, bytes_P=t.bytes_P * w) for t, w in zip(traffic.terms, weight_X.tolist(), strict=True)))


def entropy_bound(strategy: Ranks, traffic: Traffic, levels: Sequence[Level], toll_P: Floats | None = None) -> float:
    """Weighted bytes that leave groups of these levels, at least, by entropies; of stages of unequal bytes, the least counts.

    Terms that run along no digits are left out, which leaves the bound valid. `toll_P`: prices of stages where boundaries
    differ (`Profile.toll_P`), else those at which all count as the lightest.
    """
    shapes = Traffic(tuple(replace(t, kind="ring") if t.kind == "hier" else t for t in traffic.terms))
    return max((_entropy_of(strategy, traffic, d, levels, toll_P) for d in ways(strategy, shapes)), default=0.0)


def _entropy_of(
    strategy: Ranks, traffic: Traffic, digits: Digits, levels: Sequence[Level], toll_P: Floats | None
) -> float:  # fmt: skip
    sizes = [b // a for a, b in pairwise(digits.marks)] + [strategy.pp]
    if len(sizes) > MOST_DIGITS:
        return 0.0
    groups = [g for t in traffic.terms if (g := _entropy_group(strategy, traffic, t, digits.marks, toll_P)) and g.mask]
    return least_leaving(sizes, groups, levels) if groups else 0.0


def _entropy_group(
    strategy: Ranks, traffic: Traffic, term: Term, marks: Sequence[int], toll_P: Floats | None
) -> Group | None:  # fmt: skip
    """One term as the entropies see it; None where its communicators are no product of digits."""
    n, stride = strategy.size(term.axis), strategy.stride(term.axis)
    if term.kind == "path":
        weight_P = boundary_weights(strategy, traffic)
        price_P = even_prices(weight_P) if toll_P is None else toll_P * float(weight_P.sum())
        return Group(1 << (len(marks) - 1), arcs(weight_P, price_P))
    if stride not in marks or n * stride not in marks:
        return None
    low, high = marks.index(stride), marks.index(n * stride)
    mask, least = sum(1 << d for d in range(low, high)), float(term.bytes_P.min())
    if term.kind == "hier":
        return Group(mask, np.zeros(n + 1), touch=least)
    return Group(mask, clique(n, 2 * least / (n - 1)) if term.kind == "clique" else ring(n, least))
