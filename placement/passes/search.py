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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from placement.cost.layers import LayerCost
from placement.diag import Infeasible
from placement.ir import SCHEDULES, SHARDING, Candidate, Search, Strategy
from placement.passes.optimistic import Bounds
from placement.passes.place import in_order, place
from placement.passes.problem import Pace, Problem, Relaxed, lean_pace, pace, realise, relax
from placement.passes.strategies import Rows, length, space, strategy_of
from placement.passes.tree import BOUND, MEMORY, Shelf, Tree, allowed_recompute, grow, open_rows

Observe = Callable[[str, int, int, str], None]
OUTER_BATCH = 512  # outer rows opened at a time, once a plan says what is too slow
FIRST_BATCH = 32  # before that
SLACK = 1e-5  # ideal spans keep more members on NVLink than any placement, whose share of a ring costs microseconds more
PROBE = 0.9  # a relaxed strategy this much faster than the best plan is placed at once, in plain order
NEAR = 1e-4  # what placing by structure could still gain over plain order, when it is not worth the search's time


@dataclass(frozen=True)
class Budget:
    """Counted effort: strategies cut into stages, and strategies placed."""

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
    cut: int = 0
    placed: list[Candidate] = field(default_factory=list)
    shelves: dict[int, Shelf] = field(default_factory=dict)
    paces: dict[tuple[object, ...], Pace] = field(default_factory=dict)
    seen: Counter[tuple[object, ...]] = field(default_factory=Counter)
    floor_s: float = np.inf  # least relaxed cost of the strategies that were placed
    any_stages_s: float = np.inf  # least bound in closed form of all leaves

    def push(self, bound_s: float, kind: int, payload: object) -> None:
        self.serial += 1
        heapq.heappush(self.heap, (bound_s, kind, self.serial, payload))

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
class _Leaves:
    """A batch of leaves by ascending bound, and the position of the next one."""

    rows: Rows
    bounds: Bounds
    at: int

    @property
    def bound_s(self) -> float:
        return float(self.bounds.step_S[self.at])


def search(task: Problem, observe: Observe) -> tuple[Candidate, Search]:
    """The best plan of the whole space under the cost model, and what was seen on the way.

    Raises Infeasible with the histogram of rejections if nothing fits.
    """
    tree = grow(task, space(task.cluster, task.model, task.job))
    state = _State(tree, Counter(tree.rejected))
    budget = BUDGETS[task.job.effort]
    stopped = ""
    while state.bound_s < state.upper_s:
        if state.cut >= budget.stages or len(state.placed) >= budget.places:
            stopped = "budget"
            break
        _step(task, state)
        observe("search", state.cut, budget.stages, f"{state.scored_leaves:,} strategies scored, {len(state.placed)} placed")
    if not state.placed:
        raise Infeasible("no strategy fits this model on this cluster", _settled(state), _advice(state))
    return min(state.placed, key=lambda c: (c.cost.step_s, _key(c.strategy))), _summary(state, stopped)


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
    assert isinstance(payload, _Leaves)
    if kind == LEAF:
        _pace(task, state, payload)
    else:
        _cut(task, state, payload, bound_s)


def _open_outer(task: Problem, state: _State) -> None:
    lo = state.next_outer
    batch = OUTER_BATCH if state.placed else FIRST_BATCH
    hi = min(lo + batch, len(state.tree.bound_S))
    state.next_outer = hi
    rows, bounds, rejected, scored = open_rows(task, state.tree, lo, hi, state.upper_s, state.shelves)
    state.rejected += rejected
    state.scored_leaves += scored
    if not length(rows):
        return
    leaves = _Leaves(rows, bounds, 0)
    state.any_stages_s = min(state.any_stages_s, leaves.bound_s)
    if leaves.bound_s < PROBE * state.upper_s:
        _push_rest(state, leaves)
        _cut(task, state, leaves, leaves.bound_s)
    else:
        state.push(leaves.bound_s, LEAF, leaves)


def _push_rest(state: _State, leaves: _Leaves) -> None:
    if leaves.at + 1 < length(leaves.rows):
        rest = replace(leaves, at=leaves.at + 1)
        state.push(rest.bound_s, LEAF, rest)


def _pace(task: Problem, state: _State, leaves: _Leaves) -> None:
    """Sharpen the bound of the best leaf of a batch by a pipeline of the same shape; the rest of the batch goes back."""
    _push_rest(state, leaves)
    i = leaves.at
    strategy = leaf_strategy(task, leaves.rows, i)
    layer, k = _layer(state, leaves)
    known = _known_paces(task, state, strategy, layer, k)
    if any(np.isinf(p.seconds) for p in known):
        state.rejected[MEMORY] += 1
        return
    more_s = max(max(p.least_s(layer, k) for p in known) - float(leaves.bounds.pipeline_S[i]), 0.0)
    # a longer pipeline also gives the gradients a wider window, by `dp_window` of one microbatch
    hidden_s = min(more_s * task.efficiency["dp_window"] / strategy.num_microbatches, float(leaves.bounds.hideable_S[i]))
    bound_s = leaves.bound_s + max(more_s - hidden_s, 0.0)
    if bound_s < state.upper_s:
        state.push(bound_s, PACED, leaves)
    else:
        state.rejected[BOUND] += 1


def _known_paces(task: Problem, state: _State, strategy: Strategy, layer: LayerCost, k: int) -> list[Pace]:
    """Paces that bound a strategy: of its shape, and from the second of its family on also that of the family."""
    shape, family = _shape(strategy), _family(strategy)
    if shape not in state.paces:
        state.paces[shape] = pace(task, strategy, layer, k)
    state.seen[family] += 1
    if state.seen[family] > 1 and family not in state.paces:
        state.paces[family] = lean_pace(task, strategy, layer, k)
    return [state.paces[key] for key in (shape, family) if key in state.paces]


def _shape(s: Strategy) -> tuple[object, ...]:
    """What decides the graph of a pipeline; block times of one tensor degree are alike."""
    return (s.schedule, s.pp, s.vpp, s.num_microbatches, s.tp)


def _family(s: Strategy) -> tuple[object, ...]:
    """Strategies of one shape that keep the same activations and experts: they differ in gtp, and in cp against micro_batch."""
    return (*_shape(s), Fraction(s.micro_batch, s.cp), s.dp * s.cp, s.ep, s.etp, s.egtp, s.sharding)


def _layer(state: _State, leaves: _Leaves) -> tuple[LayerCost, int]:
    rows, i = leaves.rows, leaves.at
    return state.shelves[int(rows["head"][i])].prices.layer, int(rows["k"][i])


def _cut(task: Problem, state: _State, leaves: _Leaves, bound_s: float) -> None:
    """Cut a leaf into stages."""
    state.cut += 1
    strategy = leaf_strategy(task, leaves.rows, leaves.at)
    found = relax(task, strategy, *_layer(state, leaves))
    if isinstance(found, str):
        state.rejected[found] += 1
        return
    bound_s = max(found.cost.step_s, bound_s)
    state.push(bound_s, RELAXED, found)
    if bound_s < PROBE * state.upper_s:  # much better than all before: what it costs in plain order prunes the rest
        state.placed.append(realise(task, found.strategy, found.stages, in_order(task.cluster, found.strategy, task.job)))


def _place(task: Problem, state: _State, relaxed: Relaxed, bound_s: float) -> None:
    """Price a relaxed strategy exactly; plain order is tried first and is enough where it is as good as ideal spans."""
    found = realise(task, relaxed.strategy, relaxed.stages, in_order(task.cluster, relaxed.strategy, task.job))
    if found.cost.step_s > relaxed.cost.step_s * (1.0 + NEAR):
        placement = place(task.cluster, relaxed.strategy, relaxed.traffic, task.job)
        found = min(found, realise(task, relaxed.strategy, relaxed.stages, placement), key=lambda c: c.cost.step_s)
    state.placed.append(found)
    state.floor_s = min(state.floor_s, bound_s, found.cost.step_s)


def leaf_strategy(task: Problem, rows: Rows, i: int) -> Strategy:
    """The strategy of a leaf; recompute is chosen stage by stage wherever the job allows more than one mode."""
    modes = allowed_recompute(task.job)
    schedule, sharding = SCHEDULES[int(rows["schedule"][i])], SHARDING[int(rows["sharding"][i])]
    return strategy_of(rows, i, task.job, schedule, sharding, modes[0] if len(modes) == 1 else "auto")


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


def _advice(state: _State) -> str:
    if state.rejected[MEMORY]:
        return "use more GPUs, allow more recompute or fsdp, or a precision with smaller optimizer states"
    return "loosen the pins, or ask for a global batch with more divisors"


def _key(s: Strategy) -> tuple[int | str, ...]:
    return (s.tp, s.cp, s.ep, s.etp, s.gtp, s.egtp, s.dp, s.pp, s.vpp, s.micro_batch, s.schedule, s.sharding)
