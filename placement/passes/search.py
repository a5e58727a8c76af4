# SPDX-License-Identifier: Apache-2.0
"""Best-first branch and bound over the strategies, until no bound is better than the best exact plan (DESIGN §6).

Land and Doig 1960; the order is that of A*: always open what promises most. Four kinds of node, each with a bound that
is no higher than anything below it:

    outer row    tp, cp, micro_batch, dp, pp with its cheapest shard     opened many at a time into
    leaf         a whole strategy, bound in closed form                   paced by a pipeline of the same shape, then
                                                                          cut into stages, which makes it
    relaxed      stages, simulated on ideal spans                         placed, which makes it
    candidate    an exact placement with its predicted step
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from placement.cost.cells import WHOLE, cell_size
from placement.cost.layers import LayerCost
from placement.cost.step import dp_windows
from placement.cost.thin import least_edges
from placement.diag import Infeasible
from placement.ir import DEGREES, SCHEDULES, SHARDING, Candidate, Placement, Search, Strategy
from placement.passes.descent import descend
from placement.passes.leaves import BOUND, MEMORY, Leaves
from placement.passes.optimistic import allowed_recompute
from placement.passes.outer import Tree, grow
from placement.passes.place import QUICK, in_order, place
from placement.passes.problem import NEAR, Pace, Problem, Relaxed, lean_pace, pace, price_of, realise, relax
from placement.passes.rails import RAILS
from placement.passes.strategies import impossible_pins, space
from placement.passes.tree import Known, open_rows

Observe = Callable[[str, int, int, str], None]
OUTER_BATCH = 512  # outer rows opened at a time, once a plan says what is too slow
FIRST_BATCH = 32  # before that
SLACK = 1e-5  # ideal spans keep more members on NVLink than any placement, whose share of a ring costs microseconds more
PROBE = 0.9  # a relaxed strategy this much faster than the best plan is placed at once, in plain order
MISLED = 1.2  # times the bound of what is open: then bounds say little of where to look
SCOUTS, FEWEST = 48, 12  # one pipeline in so many is cut ahead of its turn, of outer rows so many at least


@dataclass(frozen=True)
class Budget:
    """Counted effort: pipelines cut into stages (of strategies, and of the paces that bound many), and strategies placed."""

    stages: int
    places: int


BUDGETS = (Budget(64, 2), Budget(256, 6), Budget(1_500, 24), Budget(40_000, 200))


@dataclass
class _State:
    """What the search has seen. `heap` holds (bound, kind, serial, payload); kind orders ties: deeper first."""

    tree: Tree
    rejected: Counter[str]
    heap: list[tuple[float, int, int, object]] = field(default_factory=list)
    serial: int = 0
    next_outer: int = 0
    scored_leaves: int = 0
    barren: int = 0  # batches of outer rows, one after the other, below which nothing may fit
    cut: int = 0
    placed: list[Candidate] = field(default_factory=list)
    known: Known = field(default_factory=Known)
    paces: dict[tuple[object, ...], Pace] = field(default_factory=dict)
    seen: Counter[tuple[object, ...]] = field(default_factory=Counter)
    done: set[tuple[int | str, ...]] = field(default_factory=set)  # strategies that were cut ahead of their turn
    floor_s: float = np.inf  # least relaxed cost of the strategies that were placed
    any_stages_s: float = np.inf  # least bound in closed form of all leaves

    def push(self, bound_s: float, kind: int, payload: object) -> None:
        self.serial += 1
        heapq.heappush(self.heap, (bound_s, kind, self.serial, payload))

    @property
    def pipelines(self) -> int:
        """Pipelines that were cut into stages."""
        return self.cut + len(self.paces)

    @property
    def upper_s(self) -> float:
        """Step of the best plan, with the slack that bounds need to prune safely."""
        return min((c.cost.step_s for c in self.placed), default=np.inf) * (1.0 + SLACK)

    @property
    def outer_bound_s(self) -> float:
        rest = self.tree.bound_S[self.next_outer :]
        return float(rest[0]) if len(rest) else np.inf

    @property
    def bound_s(self) -> float:
        """Least bound of everything still open."""
        return min(self.heap[0][0] if self.heap else np.inf, self.outer_bound_s)


RELAXED, PACED, LEAF = range(3)


@dataclass(frozen=True)
class _Open:
    """Leaves by ascending bound, and the position of the next one."""

    leaves: Leaves
    at: int

    @property
    def bound_s(self) -> float:
        return float(self.leaves.bounds.step_S[self.at])


def search(task: Problem, observe: Observe, known: Sequence[Candidate] = ()) -> tuple[Candidate, Search]:
    """The best plan of the whole space under the cost model, or of `known`, and what was seen on the way.

    Raises Infeasible with the histogram of rejections if nothing fits.
    """
    choices = space(task.cluster, task.model, task.job)
    tree = grow(task, choices)
    state = _State(tree, Counter(tree.rejected), placed=list(known))
    budget = BUDGETS[task.job.effort]
    stopped = ""
    _scout(task, state, max(budget.stages // SCOUTS, FEWEST))
    while state.bound_s < state.upper_s:
        if state.pipelines >= budget.stages or len(state.placed) >= budget.places + len(known):
            stopped = "budget"
            break
        _step(task, state)
        observe(
            "search", state.pipelines, budget.stages, f"{state.scored_leaves:,} strategies scored, {len(state.placed)} placed"
        )
    if stopped:
        _place_waiting(task, state, max(budget.places // 2, 2))
    if not state.placed:
        raise Infeasible("no strategy fits this model on this cluster", _settled(state), _advice(task, state))
    if stopped and _best(state).cost.step_s > MISLED * min(state.bound_s, state.floor_s):
        state.placed += descend(task, choices, _best(state), budget.places)
    return _best(state), _summary(state, stopped)


def _best(state: _State) -> Candidate:
    return min(state.placed, key=lambda c: (c.cost.step_s, _key(c.strategy)))


def _scout(task: Problem, state: _State, most: int) -> None:
    """Cut promising leaves of some outer rows of every depth ahead of their turn, smallest microbatches first.

    Bounds of large microbatches know the memory only roughly, so that they promise steps that no stages keep; a good plan of
    small ones prunes them before thousands are cut.
    """
    pp_S, mbs_S = state.tree.outer["pp"], state.tree.outer["micro_batch"]
    _, first_Y = np.unique(np.stack([pp_S, mbs_S], axis=1), axis=0, return_index=True)
    order = first_Y[np.lexsort((state.tree.bound_S[first_Y], mbs_S[first_Y]))]
    for row in order[:most].tolist():
        found, _, _ = open_rows(task, state.tree, row, row + 1, state.upper_s, state.known)
        for at in _spread(found):
            leaf = _Open(found, at)
            if leaf.bound_s < state.upper_s:
                state.done.add(_key(leaf_strategy(task, found, at)))
                _cut(task, state, leaf, leaf.bound_s)
    _place_waiting(task, state, 1)


def _spread(found: Leaves) -> list[int]:
    """The best leaf of all, and those with few chunks a stage, which hold fewer microbatches."""
    vpp_S = found.column("vpp") if len(found) else np.zeros(0, np.int64)
    firsts = [np.flatnonzero(vpp_S == v)[:1] for v in (1, 2)]
    return sorted({*range(min(len(found), 1)), *np.concatenate(firsts).tolist()})


def _place_waiting(task: Problem, state: _State, most: int) -> None:
    """Place, ahead of their turn, the best of those that were cut and promise to be better than the best plan."""
    waiting = sorted(node for node in state.heap if node[1] == RELAXED)[:most]
    state.heap = [node for node in state.heap if node not in waiting]
    heapq.heapify(state.heap)
    for bound_s, _, _, relaxed in waiting:
        if bound_s < state.upper_s:
            assert isinstance(relaxed, Relaxed)
            _place(task, state, relaxed, bound_s)


def _step(task: Problem, state: _State) -> None:
    """Open the most promising node by one level."""
    if state.outer_bound_s <= (state.heap[0][0] if state.heap else np.inf):
        _open_outer(task, state)
        return
    bound_s, kind, _, payload = heapq.heappop(state.heap)
    if kind == RELAXED:
        assert isinstance(payload, Relaxed)
        _place(task, state, payload, bound_s)
        return
    assert isinstance(payload, _Open)
    if kind == LEAF:
        _pace(task, state, payload)
    else:
        _cut(task, state, payload, bound_s)


def _open_outer(task: Problem, state: _State) -> None:
    lo = state.next_outer
    batch = OUTER_BATCH if state.placed else FIRST_BATCH << min(state.barren, 4)
    hi = min(lo + batch, len(state.tree.bound_S))
    state.next_outer = hi
    found, rejected, scored = open_rows(task, state.tree, lo, hi, state.upper_s, state.known)
    state.rejected += rejected
    state.scored_leaves += scored
    state.barren = 0 if len(found) else state.barren + 1
    if not len(found):
        return
    leaves = _Open(found, 0)
    state.any_stages_s = min(state.any_stages_s, leaves.bound_s)
    if leaves.bound_s < PROBE * state.upper_s:
        _push_rest(state, leaves)
        _cut(task, state, leaves, leaves.bound_s)
    else:
        state.push(leaves.bound_s, LEAF, leaves)


def _push_rest(state: _State, leaves: _Open) -> None:
    if leaves.at + 1 < len(leaves.leaves):
        rest = replace(leaves, at=leaves.at + 1)
        state.push(rest.bound_s, LEAF, rest)


def _pace(task: Problem, state: _State, leaves: _Open) -> None:
    """Sharpen the bound of the best leaf of a batch by pipelines of its shape and family; the rest of the batch goes back."""
    _push_rest(state, leaves)
    strategy = leaf_strategy(task, leaves.leaves, leaves.at)
    if _key(strategy) in state.done:
        return
    bound_s = leaves.bound_s
    for known in _known_paces(task, state, strategy, leaves):
        if np.isinf(known):
            state.rejected[MEMORY] += 1
            return
        bound_s = max(bound_s, _paced_s(task, strategy, leaves, known))
        if bound_s >= state.upper_s:
            state.rejected[BOUND] += 1
            return
    state.push(bound_s, PACED, leaves)


def _paced_s(task: Problem, strategy: Strategy, leaves: _Open, pipeline_s: float) -> float:
    """The bound of a leaf whose pipeline takes `pipeline_s` at least.

    A longer pipeline also gives the gradients a wider window: of every second more, those that are reduced once a step hide
    behind as much as `shown_s` lets them, those of every microbatch behind less than all of it.
    """
    bounds, i, m = leaves.leaves.bounds, leaves.at, strategy.num_microbatches
    more_s, hideable_s = max(pipeline_s - float(bounds.pipeline_S[i]), 0.0), float(bounds.hideable_S[i])
    once = SHARDING.index(strategy.sharding) <= SHARDING.index("zero1")
    windows = task.efficiency["dp_window"] * float(dp_windows(strategy.pp, strategy.vpp)) if once else m
    return leaves.bound_s + more_s - min(more_s * min(windows / m, 1.0), hideable_s)


def _known_paces(task: Problem, state: _State, strategy: Strategy, leaves: _Open) -> Iterator[float]:
    """Least pipeline seconds of a strategy by the pace of its shape, and from the second of its family on by that of the
    family, infinite where nothing fits the memory.

    The latter is only made where the former was not enough.
    """
    shape = _shape(task, strategy)
    family = (*shape, *_kept(strategy))
    layer, k = _layer(state, leaves)
    if shape not in state.paces:
        state.paces[shape] = pace(task, strategy, layer, k)
    yield state.paces[shape].least_s(layer, k)
    state.seen[family] += 1
    if state.seen[family] > 1 and family not in state.paces:
        state.paces[family] = lean_pace(task, strategy, layer, k)
    if family in state.paces:
        yield state.paces[family].least_s(layer, k)


def _shape(task: Problem, s: Strategy) -> tuple[object, ...]:
    """What decides the graph of a pipeline and the least price of a boundary; block times of one tensor degree are alike."""
    cell = cell_size(task.cluster, s, task.job.ragged, task.keep)
    edge_spB = float(least_edges(task.cluster, s, cell, task.job.ragged).min(initial=np.inf))
    return (s.schedule, s.pp, s.vpp, s.num_microbatches, s.tp, edge_spB)


def _kept(s: Strategy) -> tuple[object, ...]:
    """What strategies of one family have in common beside their shape: they keep the same activations and experts. They differ
    in gtp, and in cp against micro_batch.
    """
    return (Fraction(s.micro_batch, s.cp), s.dp * s.cp, s.ep, s.etp, s.egtp, s.sharding)


def _layer(state: _State, leaves: _Open) -> tuple[LayerCost, int]:
    degrees = leaves.leaves.degrees(leaves.at)
    return state.known.layer(degrees["head"], degrees["k"]), 0


def _cut(task: Problem, state: _State, leaves: _Open, bound_s: float) -> None:
    """Cut a leaf into stages."""
    state.cut += 1
    strategy = leaf_strategy(task, leaves.leaves, leaves.at)
    found = relax(task, strategy, *_layer(state, leaves))
    if isinstance(found, str):
        state.rejected[found] += 1
        return
    bound_s = max(found.cost.step_s, bound_s)
    state.push(bound_s, RELAXED, found)
    if (
        bound_s < PROBE * state.upper_s and task.keep == WHOLE
    ):  # much better than all before: what it costs in plain order prunes the rest
        plain = _placed(task, found, lambda: in_order(task.cluster, found.strategy, task.job))
        state.placed += [plain] if plain else []


def _place(task: Problem, state: _State, relaxed: Relaxed, bound_s: float) -> None:
    """Price a relaxed strategy exactly; plain order is tried first and is enough where it is as good as ideal spans."""
    strategy, job = relaxed.strategy, task.job
    price = price_of(task, strategy, relaxed.stages, relaxed.cost.step_s * (1.0 + NEAR))
    found = None  # plain order parts more groups than it must
    if task.keep == WHOLE:
        found = _placed(task, relaxed, lambda: in_order(task.cluster, strategy, job))
    if found is None or found.cost.step_s > relaxed.cost.step_s * (1.0 + NEAR):
        other = _placed(task, relaxed, lambda: place(task.cluster, strategy, relaxed.traffic, job, aim=QUICK, price=price))
        found = min((c for c in (found, other) if c), key=lambda c: c.cost.step_s, default=None)
    if found is None:
        state.rejected[RAILS] += 1
        return
    state.placed.append(found)
    state.floor_s = min(state.floor_s, bound_s, found.cost.step_s)


def _placed(task: Problem, relaxed: Relaxed, how: Callable[[], Placement]) -> Candidate | None:
    """A relaxed strategy priced on a placement; None where rails that are apart leave no path."""
    try:
        return realise(task, relaxed.strategy, relaxed.stages, how())
    except Infeasible as why:
        if RAILS not in why.rejected:
            raise
        return None


def leaf_strategy(task: Problem, leaves: Leaves, i: int) -> Strategy:
    """The strategy of a leaf; recompute is chosen stage by stage wherever the job allows more than one mode."""
    modes, degrees = allowed_recompute(task.job), leaves.degrees(i)
    return Strategy(
        **{name: degrees[name] for name in DEGREES},
        num_microbatches=degrees["num_microbatches"],
        schedule=SCHEDULES[degrees["schedule"]],
        recompute=modes[0] if len(modes) == 1 else "auto",
        sharding=SHARDING[degrees["sharding"]],
    )


def _summary(state: _State, stopped: str) -> Search:
    bound_s = min(state.bound_s, state.floor_s)
    rejected = _settled(state)
    ranked = sorted(state.placed, key=lambda c: (c.cost.step_s, _key(c.strategy)))
    bound_s = min(bound_s, ranked[0].cost.step_s)
    return Search(
        enumerated=state.tree.enumerated,
        feasible=state.tree.enumerated - sum(n for reason, n in rejected.items() if reason != BOUND),
        scored=state.cut,
        rejected=rejected,
        bound_s=bound_s,
        proven=not stopped,
        runners_up=tuple((c.strategy, c.cost.step_s) for c in ranked[1:]),
        stopped_by=stopped,
        any_stages_s=min(state.any_stages_s, state.outer_bound_s, bound_s),
    )


def _settled(state: _State) -> dict[str, int]:
    """Rejections by reason, most first; what was never opened fell to its bound."""
    rejected = Counter(state.rejected)
    rejected[BOUND] += int(state.tree.leaves_S[state.next_outer :].sum())
    return {reason: n for reason, n in sorted(rejected.items(), key=lambda item: (-item[1], item[0])) if n}


def _advice(task: Problem, state: _State) -> str:
    if impossible := impossible_pins(task.cluster, task.model, task.job):
        return "; ".join(impossible)
    if state.rejected[MEMORY]:
        return "use more GPUs, allow more recompute or fsdp, or a precision with smaller optimizer states"
    return "loosen the pins, or ask for a global batch with more divisors"


def _key(s: Strategy) -> tuple[int | str, ...]:
    return (s.tp, s.cp, s.ep, s.etp, s.gtp, s.egtp, s.dp, s.pp, s.vpp, s.micro_batch, s.schedule, s.sharding)
