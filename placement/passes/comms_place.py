# SPDX-License-Identifier: Apache-2.0
# R rank   U unit   D NVLink domain   N node   K tower   T tier
"""Where the ranks of several towers go: regions, shares of every group, or a partition of the graph of units; then exchanges.

Every way makes a whole placement, exact loads decide between them, and the launcher's order is one of them. Towers that are
products are placed by `place` on the nodes that they get.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, permutations

import numpy as np

from placement.cost.cells import domain_cells, domain_gpus
from placement.cost.comms import Loads, loads
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement, State
from placement.ir._array import Ints
from placement.ir.comms import Comms
from placement.passes.comms_cut import Cutter
from placement.passes.comms_units import Units, graph_of, units_of
from placement.passes.fleet import partition
from placement.passes.place import QUICK, place
from placement.passes.rails import rail_conflicts
from placement.passes.sites import by_name, no_room
from placement.solve.exchange import Links, exchange, links

ORDERS = 6  # orders of the towers that are tried
MOST_UNITS = 16_384  # up to which the graph is partitioned where towers can be placed by structure
MOST_BARE = 65_536  # and where they cannot
LARGEST = 10_000_000  # units x groups of an exchange, as in `passes.refine`
STEPS = 2_000  # exchanges of one tier
CUT, ENOUGH = "partition of the graph", 0.01  # above the least of all tiers by so little, the graph is not cut
JOB = Job(seq_len=1, global_batch=1)


@dataclass(frozen=True)
class Found:
    """A placement, how it came about, and what it costs."""

    how: str
    placement: Placement
    loads: Loads
    slow: float

    @property
    def score(self) -> tuple[float, ...]:
        return (self.slow, *self.loads.score)


@dataclass(frozen=True)
class Mapped:
    """The best placement, the launcher's, and the score of every way that was tried. `kept`: the launcher's order keeps cells
    in domains, so that it was a candidate.
    """

    best: Found
    launcher: Found
    tried: tuple[tuple[str, float], ...]
    units: Units
    kept: bool


def place_comms(
    cluster: Cluster, comms: Comms, observe: Callable[[str], None] = lambda how: None, least: Callable[[], float] = lambda: 0.0
) -> Mapped:
    """The best placement of all towers by `Loads.score`; never worse than the launcher's order where that keeps cells whole.

    `least`: a lower bound for the bytes of all tiers, asked once there is a placement; or 0.
    Raises Infeasible when the ranks do not fit.
    """
    units = units_of(cluster, comms)
    most = MOST_UNITS if all(t.strategy is not None for t in comms.towers) else MOST_BARE
    graph = graph_of(comms, units) if len(units.size_U) <= most else None
    shop = Shop(cluster, comms, units, graph)
    launcher = shop.priced("the launcher's order", launcher_order(cluster, comms.world_size))
    found = [launcher] if shop.allows(launcher.placement) else []
    for how, make in shop.ways():
        if how == CUT and _near(found, least):
            continue
        observe(how)
        gpu_R = make()
        if gpu_R is not None and shop.reaches(Placement(gpu_R)):
            found.append(shop.priced(how, gpu_R))
    if not found:
        raise no_room(f"{comms.world_size} ranks in {len(units.size_U)} units do not fit the NVLink domains")
    for start in sorted(found, key=lambda f: f.score)[:2]:
        observe("exchanges")
        better = shop.exchanged(start)
        if better is not None and shop.reaches(better.placement):
            found.append(better)
    best = min(found, key=lambda f: f.score)
    tried = tuple((f.how, f.loads.score[0]) for f in found)
    return Mapped(best, launcher, tried, units, shop.allows(launcher.placement))


def _near(found: list[Found], least: Callable[[], float]) -> bool:
    """The best placement so far sends so little more than any has to that no partition of the graph is looked for."""
    best = min(found, key=lambda f: f.score, default=None)
    return best is not None and float(best.loads.bytes_T.sum()) <= (1.0 + ENOUGH) * least()


def launcher_order(cluster: Cluster, world: int) -> Ints:
    """Ranks in order over the usable whole nodes, in order of their host names."""
    node_N = by_name(cluster)
    node_N = node_N[cluster.whole_N[node_N]]
    slots = cluster.gpus_per_node
    if len(node_N) * slots < world:
        raise no_room(f"{world} ranks, but {len(node_N) * slots} GPUs are usable on whole nodes")
    rank_R = np.arange(world)
    return np.asarray(node_N[rank_R // slots] * slots + rank_R % slots)


class Shop:
    """Makes and prices placements. Without a graph nothing is partitioned or exchanged."""

    def __init__(self, cluster: Cluster, comms: Comms, units: Units, graph: Links | None) -> None:
        self.cluster, self.comms, self.units, self.graph = cluster, comms, units, graph
        self.domain_N = cluster.tiers[0].group_N
        self.room_D = domain_gpus(cluster)
        gpu_G = np.flatnonzero(np.repeat(cluster.whole_N, cluster.gpus_per_node))
        domain_G = self.domain_N[gpu_G // cluster.gpus_per_node]
        self.gpu_G = gpu_G[np.argsort(domain_G, kind="stable")]
        self.first_D = np.concatenate([[0], np.cumsum(np.bincount(domain_G, minlength=len(self.room_D)))[:-1]])

    def priced(self, how: str, gpu_R: Ints) -> Found:
        node_R = gpu_R // self.cluster.gpus_per_node
        reach = float(self.cluster.speed_N[node_R].min())
        if self.cluster.nvlink_J is not None:
            reach = min(reach, float(self.cluster.nvlink_J[self.domain_N[node_R]].min()))
        return Found(how, Placement(gpu_R), loads(self.cluster, self.comms, gpu_R), 1.0 / max(reach, 1e-9))

    def domains(self, placement: Placement) -> Ints:
        return self.domain_N[placement.gpu_R // self.cluster.gpus_per_node]

    def keeps(self, placement: Placement) -> bool:
        """Every cell in one domain."""
        domain_R, cell_R = self.domains(placement), self.units.cell_R
        first_C = np.full(int(cell_R.max()) + 1, -1)
        first_C[cell_R] = domain_R
        return bool((first_C[cell_R] == domain_R).all())

    def reaches(self, placement: Placement) -> bool:
        """Where rails are apart: no communicator of a tower needs a path between them."""
        if self.cluster.rails_connected:
            return True
        for tower, first in zip(self.comms.towers, self.comms.first, strict=True):
            part = Placement(placement.gpu_R[first : first + tower.ranks])
            if tower.strategy is not None and any(rail_conflicts(self.cluster, tower.strategy, part).values()):
                return False
        return True

    def allows(self, placement: Placement) -> bool:
        return self.keeps(placement) and self.reaches(placement)

    def ways(self) -> Iterator[tuple[str, Callable[[], Ints | None]]]:
        count = len(self.comms.towers)
        for order in islice(permutations(range(count)), ORDERS):
            yield f"units in order {_names(self.comms, order)}", partial(self.in_order, order)
        if all(t.strategy is not None for t in self.comms.towers):
            yield from self._by_tower()
        if self.graph is not None:
            yield CUT, self.partitioned

    def _by_tower(self) -> Iterator[tuple[str, Callable[[], Ints | None]]]:
        """Towers placed one by one on domains of their own."""
        if len(self.comms.towers) == 1:
            yield "one tower", lambda: self.placed(np.zeros(len(self.room_D), np.int64))
            return
        yield "a region for each tower", lambda: self._placed_on(self.regions(slack=False))
        yield "regions with room to spare", lambda: self._placed_on(self.regions(slack=True))
        for t in range(len(self.cluster.tiers) - 2, 0, -1):
            name = self.cluster.tiers[t].name
            yield f"a share of each {name} group", partial(self._of_shares, t)
        yield "large cells first, the others on what is left", self.one_by_one

    def _of_shares(self, t: int) -> Ints | None:
        return self._placed_on(self.shares(t))

    def _placed_on(self, owner_D: Ints | None) -> Ints | None:
        return None if owner_D is None else self.placed(owner_D)

    def in_order(self, order: tuple[int, ...]) -> Ints | None:
        """Units, tower by tower, each into the first domain that has room. None where some find none."""
        first = [self.comms.first[k] for k in order]
        parts = [np.arange(f, f + self.comms.towers[k].ranks) for k, f in zip(order, first, strict=True)]
        unit_U = self.units.unit_R[np.concatenate(parts)]
        unit_U = unit_U[np.sort(np.unique(unit_U, return_index=True)[1])]
        domain_U = _first_fit(self.units.size_U, unit_U, self.room_D)
        return None if domain_U is None else self.expanded(domain_U[self.units.unit_R])

    def expanded(self, domain_R: Ints) -> Ints:
        """GPUs of ranks: units of a domain side by side in order of rank, so that local ranks ascend with the slot."""
        order = np.lexsort((np.arange(len(domain_R)), self.units.unit_R, domain_R))
        sorted_D = domain_R[order]
        at = np.arange(len(order)) - np.searchsorted(sorted_D, sorted_D, side="left")
        gpu_R = np.empty(len(order), np.int64)
        gpu_R[order] = self.gpu_G[self.first_D[sorted_D] + at]
        return gpu_R

    def regions(self, *, slack: bool) -> Ints | None:
        """Whole domains for each tower, sharing as few switch groups as possible; `slack`: all domains are dealt."""
        need = self._domains_needed()
        free = int((self.room_D > 0).sum()) - sum(need)
        if free < 0 or (slack and not free):
            return None
        if slack:
            share = [t.ranks / self.comms.world_size for t in self.comms.towers]
            need = [n + int(free * s) for n, s in zip(need, share, strict=True)]
        return partition(self.cluster, need).owner_J

    def _domains_needed(self) -> list[int]:
        """Domains that a tower needs, of those that hold as many of its cells as usual."""
        need = []
        for tower, cell in zip(self.comms.towers, self.units.cell_K, strict=True):
            room: Ints = np.asarray(domain_cells(self.cluster, cell), np.int64)
            usual = float(room.sum()) / max(int((room > 0).sum()), 1)
            need.append(math.ceil(tower.ranks / cell / usual) if usual else len(room) + 1)
        return need

    def shares(self, t: int) -> Ints | None:
        """In each group of tier t domains are dealt to the towers in proportion to what they need, without rounding losses."""
        need: Ints = np.array(self._domains_needed(), np.int64)
        usable = np.flatnonzero(self.room_D > 0)
        if int(need.sum()) > len(usable):
            return None
        group = self.cluster.parent_TJ[t][usable]
        size_J = np.bincount(group)
        mark_KJ = np.rint(np.cumsum(need)[:, None] / need.sum() * np.cumsum(size_J)).astype(np.int64)
        upto_KJ = np.maximum.accumulate(np.diff(mark_KJ, axis=1, prepend=0), axis=0)
        place = np.arange(len(usable)) - np.searchsorted(group, group)
        owner_D: Ints = np.full(len(self.room_D), -1, np.int64)
        owner_D[usable] = np.minimum((place >= upto_KJ[:, group]).sum(axis=0), len(need) - 1)
        return owner_D

    def one_by_one(self) -> Ints | None:
        """Towers by size of their cells, each by `place` on the nodes that earlier ones left."""
        gpu_R: Ints = np.empty(self.comms.world_size, np.int64)
        free_N = self.cluster.whole_N.copy()
        for k in sorted(range(len(self.comms.towers)), key=lambda k: (-self.units.cell_K[k], k)):
            part_R = self._alone(k, free_N)
            if part_R is None:
                return None
            first = self.comms.first[k]
            gpu_R[first : first + len(part_R)] = part_R
            free_N[part_R // self.cluster.gpus_per_node] = False
        return gpu_R

    def placed(self, owner_D: Ints) -> Ints | None:
        """Each tower by `place`, on its domains alone. None where one does not fit."""
        parts = [self._alone(k, (owner_D == k)[self.domain_N]) for k in range(len(self.comms.towers))]
        found = [p for p in parts if p is not None]
        return np.asarray(np.concatenate(found), np.int64) if len(found) == len(parts) else None

    def _alone(self, k: int, mine_N: np.ndarray) -> Ints | None:
        """GPUs of one tower on some nodes; None where it does not fit them."""
        tower = self.comms.towers[k]
        assert tower.strategy is not None
        try:
            return place(self._only(mine_N), tower.strategy, tower.traffic, JOB, aim=QUICK).gpu_R
        except Infeasible:
            return None

    def _only(self, mine_N: np.ndarray) -> Cluster:
        state_N = np.where(mine_N | (self.cluster.state_N != State.OK), self.cluster.state_N, int(State.DRAINED))
        return replace(self.cluster, state_N=state_N, gpu_ok_NG=self.cluster.gpu_ok_NG & mine_N[:, None])

    def partitioned(self) -> Ints | None:
        """Units cut in two along the tiers, outermost first, until each half is one domain."""
        assert self.graph is not None
        domain_U = Cutter(self.cluster, self.room_D, self.units.size_U, self.graph).run()
        return None if domain_U is None else self.expanded(domain_U[self.units.unit_R])

    def exchanged(self, start: Found) -> Found | None:
        """What whole groups hold changes places, tier by tier; then units of one size do. None where nothing is gained."""
        domain_R = self.domains(start.placement)
        domain_U = np.zeros(len(self.units.size_U), np.int64)
        domain_U[self.units.unit_R] = domain_R
        if self.graph is None or bool((domain_U[self.units.unit_R] != domain_R).any()):
            return None
        moved_U = self._groups_exchanged(domain_U)
        found = [moved_U, self._units_exchanged(moved_U)]
        made = [self.priced(f"{start.how}, exchanged", self.expanded(f[self.units.unit_R])) for f in found]
        best = min(made, key=lambda f: f.score)
        return best if best.score < start.score else None

    def _groups_exchanged(self, domain_U: Ints) -> Ints:
        assert self.graph is not None
        parent_TD = self.cluster.parent_TJ
        row_X = np.repeat(np.arange(len(domain_U)), np.diff(self.graph.first_U))
        for t in range(len(self.cluster.tiers) - 2, 0, -1):
            inner_D, outer_D = parent_TD[t - 1], parent_TD[t]
            num = int(inner_D.max()) + 1
            if num * (int(outer_D.max()) + 1) > LARGEST or not np.isfinite(self.cluster.tiers[t].uplink_Bps_J).any():
                continue
            holder_U = inner_D[domain_U]
            graph = links(num, [(holder_U[row_X], holder_U[self.graph.unit_V], self.graph.weight_V / 2)])
            group_I, region_I = np.zeros(num, np.int64), np.zeros(num, np.int64)
            group_I[inner_D], region_I[inner_D] = outer_D, parent_TD[t + 1]
            place_I = exchange(graph, group_I, _kinds(self.room_D, inner_D, num), region_I, steps=STEPS)
            domain_U = _domain_moves(inner_D, place_I, num)[domain_U]
        return domain_U

    def _units_exchanged(self, domain_U: Ints) -> Ints:
        assert self.graph is not None
        num = len(self.room_D)
        if len(domain_U) * num > LARGEST:
            return domain_U
        place_U = exchange(self.graph, domain_U, self.units.size_U, np.zeros(len(domain_U), np.int64), steps=STEPS)
        return domain_U[place_U]


def _names(comms: Comms, order: tuple[int, ...]) -> str:
    return ", ".join(comms.towers[k].name for k in order)


def _first_fit(size_U: Ints, order_U: Ints, room_D: Ints) -> Ints | None:
    """Domain of each unit: runs of units of one size fill domains in order, each taking what is left of earlier ones."""
    left_D, domain_U = room_D.astype(np.int64).copy(), np.full(len(size_U), -1)
    for run in np.split(order_U, np.flatnonzero(np.diff(size_U[order_U])) + 1):
        size = int(size_U[run[0]])
        slots = np.repeat(np.arange(len(left_D)), left_D // size)
        if len(slots) < len(run):
            return None
        domain_U[run] = slots[: len(run)]
        left_D -= size * np.bincount(slots[: len(run)], minlength=len(left_D))
    return domain_U


def _kinds(room_D: Ints, inner_D: Ints, num: int) -> Ints:
    """Groups whose domains have the same rooms in the same order may exchange what they hold."""
    order = np.argsort(inner_D, kind="stable")
    rows = np.split(room_D[order], np.cumsum(np.bincount(inner_D, minlength=num))[:-1])
    kinds: dict[bytes, int] = {}
    return np.array([kinds.setdefault(np.asarray(r, np.int64).tobytes(), len(kinds)) for r in rows])


def _domain_moves(inner_D: Ints, place_I: Ints, num: int) -> Ints:
    """Where what each domain holds goes when the contents of groups change places: the n-th domain to the n-th."""
    order = np.argsort(inner_D, kind="stable")
    first_I = np.concatenate([[0], np.cumsum(np.bincount(inner_D, minlength=num))])
    home_D = np.arange(len(inner_D))
    for i in np.flatnonzero(place_I != np.arange(num)).tolist():
        to = int(place_I[i])
        home_D[order[first_I[i] : first_I[i + 1]]] = order[first_I[to] : first_I[to + 1]]
    return home_D
