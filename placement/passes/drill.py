# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   E event
"""A failure drill: weeks of failures at published rates, every one of them repaired, and what is left of the training time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from placement.diag import NoRepair
from placement.ir import Candidate, Cluster, Placement, State, Strategy
from placement.ir._array import Floats, Ints
from placement.ir.failures import Failures
from placement.passes.problem import Problem, realise
from placement.passes.repair import repair
from placement.passes.shrink import shrunk

DAY_S = 86_400.0
Check = Callable[[Cluster, Strategy, Placement], list[str]]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Costs:
    """Seconds that an interruption takes. `restart_s`: a few ranks move, the others keep their place and state on the host.

    `naive_s`: everything is placed and loaded anew; MegaScale is back within 15 minutes (arXiv 2402.15627). `checkpoint_s`:
    progress between two checkpoints; what was done since the last one is lost.
    """

    restart_s: float = 120.0
    naive_s: float = 900.0
    checkpoint_s: float = 120.0


@dataclass(frozen=True)
class Event:
    """A failure: node, domain or group of the leaf tier that is gone until it is repaired; -1: nothing is."""

    at_s: float
    name: str
    scope: str
    part: int
    back_s: float


@dataclass
class Run:
    """One way to go on after failures: seconds of training done so far. Work counts in full replicas."""

    restart_s: float
    checkpoint_s: float
    done_s: float = 0.0
    since_s: float = 0.0
    pace: float = 1.0

    def stop(self, at_s: float, restart_s: float | None = None) -> None:
        """The job is interrupted: what came after the last checkpoint is lost, and it starts again later.

        An interruption during a restart starts the restart over; the last part to come back is waited for.
        """
        self.until(at_s, keep=False)
        self.since_s = max(self.since_s, at_s + (self.restart_s if restart_s is None else restart_s))

    def until(self, at_s: float, *, keep: bool) -> None:
        ran = max(at_s - self.since_s, 0.0)
        self.done_s += self.pace * (ran if keep or not self.checkpoint_s else ran // self.checkpoint_s * self.checkpoint_s)
        self.since_s = max(self.since_s, at_s) if ran > 0 else self.since_s


@dataclass(frozen=True)
class Drill:
    """What a drill saw. Shares are effective training time over wall time; `share_D` of the repairing job, day by day.

    `solver_s` the seconds of each repair; `broken` what the referee found, which must be nothing. `steps`: sampled
    (day, predicted step seconds); `priced`: plans that were priced.
    """

    days: float
    failures: dict[str, int]
    interruptions: int
    repairs: int
    moves: int
    least_moves: int
    checked: int
    audited: int
    broken: tuple[str, ...]
    shrunk_events: int
    shrunk_s: float
    fewest_replicas: int
    share: float
    share_no_spares: float
    share_no_spares_shrink: float
    share_naive: float
    share_D: Floats
    solver_s: Floats
    moves_E: Ints
    steps: tuple[tuple[float, float], ...] = ()


def schedule(
    cluster: Cluster, failures: Sequence[Failures], days: float, seed: int
) -> list[Event]:  # fmt: skip
    """Failures of a period, in order of time: a Poisson process for each class, parts drawn evenly."""
    rng = np.random.default_rng(seed)
    domains = cluster.tiers[0].num_groups
    leaves = cluster.tiers[min(1, len(cluster.tiers) - 1)].num_groups
    parts = {"node": cluster.num_nodes, "domain": domains, "leaf": leaves, "cable": 0, "none": 0}
    events = []
    for kind in failures:
        count = int(rng.poisson(kind.daily(cluster.num_gpus, domains) * days))
        at = np.sort(rng.random(count)) * days * DAY_S
        part = rng.integers(parts[kind.scope], size=count) if parts[kind.scope] else np.full(count, -1)
        events += [
            Event(t, kind.name, kind.scope, p, t + kind.repair_s) for t, p in zip(at.tolist(), part.tolist(), strict=True)
        ]
    return sorted(events, key=lambda e: e.at_s)


@dataclass
class _World:
    """The cluster as it changes: how often each node and leaf is out."""

    base: Cluster
    out_N: Ints
    slow_J: Ints
    back: list[tuple[float, int, Event]] = field(default_factory=list)

    def lose(self, event: Event, serial: int) -> None:
        self._count(event, 1)
        heapq.heappush(self.back, (event.back_s, serial, event))

    def heal(self, until_s: float) -> bool:
        healed = False
        while self.back and self.back[0][0] <= until_s:
            self._count(heapq.heappop(self.back)[2], -1)
            healed = True
        return healed

    def _count(self, event: Event, by: int) -> None:
        if event.scope == "node":
            self.out_N[event.part] += by
        elif event.scope == "domain":
            self.out_N[self.base.tiers[0].group_N == event.part] += by
        elif event.scope == "leaf":
            self.slow_J[event.part] += by

    def now(self) -> Cluster:
        lost_N = self.out_N > 0
        state_N = np.where(lost_N & (self.base.state_N == State.OK), State.FAILED, self.base.state_N)
        return replace(self.base, state_N=state_N, gpu_ok_NG=self.base.gpu_ok_NG & ~lost_N[:, None])

    def priced(self) -> Cluster:
        """Also with the bandwidth of lost leaf switches: the GPUs of a lost rail send through a neighbour's adapter."""
        cluster = self.now()
        if not (self.slow_J > 0).any() or len(cluster.tiers) < 2:
            return cluster
        leaf = cluster.tiers[1]
        half_J = np.where(self.slow_J > 0, 0.5, 1.0)
        domain_J = np.ones(cluster.tiers[0].num_groups)
        np.minimum.at(domain_J, cluster.tiers[0].group_N, half_J[leaf.group_N])
        tiers = (
            replace(cluster.tiers[0], uplink_Bps_J=cluster.tiers[0].uplink_Bps_J * domain_J),
            replace(leaf, uplink_Bps_J=leaf.uplink_Bps_J * half_J), *cluster.tiers[2:],
        )  # fmt: skip
        return replace(cluster, tiers=tiers, nic_Bps_N=cluster.nic_Bps_N * half_J[leaf.group_N])


def drill(
    task: Problem, chosen: Candidate, failures: Sequence[Failures], check: Check, *, days: float, seed: int,
    costs: Costs | None = None, clock: Clock, samples: int = 24, audit: Check | None = None, audits: int = 0,
) -> Drill:  # fmt: skip
    """Play the failures of a period through the repairer. Every repaired placement goes through `check`.

    Where there is no repair the job runs on fewer replicas until there is one. `clock` gives seconds for the times of
    repairs; `samples`: placements that are priced; `audits`: full-size ones that go through `audit`.
    """
    costs = costs or Costs()
    events = schedule(task.cluster, failures, days, seed)
    play = _Play(task, chosen, check, clock, costs)
    priced, audited = _evenly(len(events), samples), _evenly(len(events), audits)
    for serial, event in enumerate(events):
        play.happens(event, serial, price=serial in priced)
        if audit is not None and serial in audited:
            play.audit(event, audit)
    return play.result(events, days)


def _evenly(total: int, count: int) -> set[int]:
    """`count` of `total` numbers, evenly spread, the last one among them."""
    return {total * (i + 1) // count - 1 for i in range(count) if total}


class _Play:
    """The state of a drill between two events."""

    def __init__(self, task: Problem, chosen: Candidate, check: Check, clock: Clock, costs: Costs) -> None:
        cluster = task.cluster
        leaf = cluster.tiers[min(1, len(cluster.tiers) - 1)]
        self.task, self.chosen, self.check, self.clock = task, chosen, check, clock
        self.world = _World(cluster, np.zeros(cluster.num_nodes, np.int64), np.zeros(leaf.num_groups, np.int64))
        self.full, self.running = chosen.placement, chosen.placement
        self.strategy = chosen.strategy
        self.ours, self.naive = Run(costs.restart_s, costs.checkpoint_s), Run(costs.naive_s, costs.checkpoint_s)
        self.waits, self.less = Run(costs.restart_s, costs.checkpoint_s), Run(costs.restart_s, costs.checkpoint_s)
        self.used_N = np.bincount(self.full.gpu_R // cluster.gpus_per_node, minlength=cluster.num_nodes) > 0
        self.start_N, self.column = self.used_N, _column_share(task, chosen)
        self.interruptions = self.repairs = self.moves = self.least = self.checked = self.shrunk_events = self.audited = 0
        self.shrunk_s, self.last_s, self.fewest = 0.0, 0.0, chosen.strategy.dp
        self.broken: list[str] = []
        self.solver_s: list[float] = []
        self.moves_E: list[int] = []
        self.steps: list[tuple[float, float]] = [(0.0, chosen.cost.step_s)]
        self.done: list[tuple[float, float]] = [(0.0, 0.0)]

    def happens(self, event: Event, serial: int, *, price: bool) -> None:
        if self.strategy.dp < self.chosen.strategy.dp:
            self.shrunk_s += event.at_s - self.last_s
        self.last_s = event.at_s
        healed = self.world.heal(event.at_s)
        if event.scope in ("node", "domain", "leaf"):
            self.world.lose(event, serial)
        hit = self._hits(event)
        if hit:
            self.interruptions += 1
            for run in (self.ours, self.naive):
                run.stop(event.at_s)
        self._without_spares(event)
        if event.scope in ("node", "domain") and hit:
            self._repair(event)
        elif healed and self.strategy.dp < self.chosen.strategy.dp:
            self._repair(event, again=True)
        if price:
            self._price(event)
        self.done.append((event.at_s, self.ours.done_s))

    def _hits(self, event: Event) -> bool:
        """Whether the job notices: a failure of a part without ranks costs a spare and no time."""
        if event.scope == "node":
            return bool(self.used_N[event.part])
        if event.scope == "domain":
            return bool(self.used_N[self.task.cluster.tiers[0].group_N == event.part].any())
        return True

    def _without_spares(self, event: Event) -> None:
        """The same job on a cluster of its own size: it waits for the part, or goes on with fewer replicas."""
        group_N = self.task.cluster.tiers[0].group_N
        if event.scope == "node" and not self.start_N[event.part]:
            return
        if event.scope == "domain" and not self.start_N[group_N == event.part].any():
            return
        gone = event.scope in ("node", "domain")
        self.waits.stop(event.at_s, (event.back_s - event.at_s if gone else 0.0) + self.waits.restart_s)
        self.less.stop(event.at_s)
        lost_J = np.unique(group_N[(self.world.out_N > 0) & self.start_N])
        self.less.pace = max(1.0 - self.column * len(lost_J), 0.0)

    def _repair(self, event: Event, *, again: bool = False) -> None:
        cluster, task = self.world.now(), self.task
        start_s = self.clock()
        strategy, base = self.chosen.strategy, self.full
        try:
            found = repair(cluster, strategy, base, task.job, self.chosen.traffic)
            self.full = found.placement
        except NoRepair:
            self.shrunk_events += 1
            try:
                less = shrunk(cluster, replace(self.chosen, placement=base), task.job)
                strategy = less.chosen.strategy
                found = repair(cluster, strategy, less.chosen.placement, task.job, self.chosen.traffic)
            except NoRepair:
                self.ours.pace = self.naive.pace = 0.0
                return
        took_s = self.clock() - start_s
        grew = strategy.dp > self.strategy.dp
        if again and not grew:
            return
        if again:
            self.ours.stop(event.at_s)
        self.strategy, self.running = strategy, found.placement
        for run in (self.ours, self.naive):
            run.until(event.at_s, keep=False)
            run.pace = strategy.dp / self.chosen.strategy.dp
        self.fewest = min(self.fewest, strategy.dp)
        self.used_N = np.bincount(self.running.gpu_R // cluster.gpus_per_node, minlength=cluster.num_nodes) > 0
        self.repairs, self.moves, self.least = self.repairs + 1, self.moves + len(found.moved_R), self.least + found.least
        self.solver_s.append(took_s)
        self.moves_E.append(len(found.moved_R))
        self.checked += 1
        self.broken += [f"day {event.at_s / DAY_S:.3f}: {what}" for what in self.check(cluster, strategy, self.running)]

    def audit(self, event: Event, whole: Check) -> None:
        if self.strategy.dp == self.chosen.strategy.dp:
            self.audited += 1
            found = whole(self.world.now(), self.strategy, self.running)
            self.broken += [f"day {event.at_s / DAY_S:.3f}: {what}" for what in found]

    def _price(self, event: Event) -> None:
        if self.strategy.dp < self.chosen.strategy.dp:
            return
        task = replace(self.task, cluster=self.world.priced())
        cost = realise(task, self.strategy, self.chosen.stages, self.running).cost
        self.steps.append((event.at_s / DAY_S, cost.step_s))
        self.ours.until(event.at_s, keep=True)
        self.ours.pace = self.chosen.cost.step_s / cost.step_s

    def result(self, events: Sequence[Event], days: float) -> Drill:
        end_s = days * DAY_S
        for run in (self.ours, self.naive, self.waits, self.less):
            run.until(end_s, keep=True)
        self.done.append((end_s, self.ours.done_s))
        names = [e.name for e in events]
        at, done = (np.array(column) for column in zip(*self.done, strict=True))
        ends = np.minimum(np.arange(1, int(np.ceil(days)) + 1) * DAY_S, end_s)
        total_D = np.interp(ends, at, done)
        return Drill(
            days=days, failures={n: names.count(n) for n in dict.fromkeys(names)}, interruptions=self.interruptions,
            repairs=self.repairs, moves=self.moves, least_moves=self.least, checked=self.checked, audited=self.audited,
            broken=tuple(self.broken),
            shrunk_events=self.shrunk_events, shrunk_s=self.shrunk_s, fewest_replicas=self.fewest,
            share=self.ours.done_s / end_s, share_no_spares=self.waits.done_s / end_s,
            share_no_spares_shrink=self.less.done_s / end_s, share_naive=self.naive.done_s / end_s,
            share_D=np.diff(total_D, prepend=0.0) / np.diff(ends, prepend=0.0), solver_s=np.array(self.solver_s),
            moves_E=np.array(self.moves_E, np.int64), steps=tuple(self.steps),
        )  # fmt: skip


def _column_share(task: Problem, chosen: Candidate) -> float:
    """Share of the replicas that stop when one NVLink domain loses a cell and there is no spare."""
    from placement.passes.shrink import column_ranks
    from placement.passes.yard import cell_of

    cell = cell_of(task.cluster, chosen.strategy, chosen.placement)
    return column_ranks(chosen.strategy, cell, task.cluster.gpus_per_node) / chosen.strategy.stage_ranks
