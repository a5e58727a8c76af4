# SPDX-License-Identifier: Apache-2.0
"""Branch and bound against plain enumeration: every bound holds, and the winner is the winner."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from placement.cost.layers import LayerCost
from placement.diag import Infeasible
from placement.ir import Candidate, Job
from placement.passes.leaves import Leaves
from placement.passes.outer import Tree, grow
from placement.passes.place import place
from placement.passes.problem import Problem, Relaxed, pace, problem, realise, relax
from placement.passes.search import leaf_strategy, search
from placement.passes.strategies import length, space
from placement.passes.tree import Known, open_rows
from placement.spec import load_cluster, load_job, load_model
from placement.spec.catalog import efficiency
from placement.spec.model import lower_short
from tests.clusters import chip, regular

MOE = {
    "layers": 4, "hidden": 512, "heads": 4, "kv_heads": 2, "head_dim": 128, "ffn": 1024, "vocab": 4096, "gated_mlp": True,
    "kind": "moe", "experts": 4, "topk": 2, "moe_ffn": 512, "shared_experts": 0, "dense_first_layers": 1,
}  # fmt: skip
ROUTED = ("experts", "topk", "moe_ffn", "shared_experts", "dense_first_layers")
DENSE = {k: v for k, v in MOE.items() if k not in ROUTED} | {"kind": "dense"}
OUTER = ("tp", "cp", "micro_batch", "dp", "pp")
SCHEDULES = ("1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev")


def task(model: dict[str, object], batch: int = 4, memory: float = 2e9, **job: object) -> Problem:
    """Two leaf groups of two NVLink domains of two GPUs, and a GPU so small that memory decides."""
    cluster = regular(2, 1, (2, 2), taper=(0.5,))
    small = type(cluster)(**{**vars_of(cluster), "chips": (chip(hbm_bytes=memory),)})
    return problem(small, lower_short(model, "toy"), Job(seq_len=512, global_batch=batch, **job), efficiency())  # type: ignore[arg-type]


def vars_of(cluster: object) -> dict[str, object]:
    return {f: getattr(cluster, f) for f in cluster.__dataclass_fields__}  # type: ignore[attr-defined]


def leaves(given: Problem) -> tuple[Tree, Leaves, Known, Counter[str]]:
    """The whole tree, opened without an upper bound."""
    tree, known = grow(given, space(given.cluster, given.model, given.job)), Known()
    found, rejected, _ = open_rows(given, tree, 0, length(tree.outer), np.inf, known)
    return tree, found, known, tree.rejected + rejected


def priced(found: Leaves, i: int, known: Known) -> tuple[LayerCost, int]:
    """Prices of a leaf's shard, and its row of them."""
    degrees = found.degrees(i)
    return known.layer(degrees["head"], degrees["k"]), 0


def cut(given: Problem, found: Leaves, i: int, known: Known) -> Relaxed | str:
    return relax(given, leaf_strategy(given, found, i), *priced(found, i, known))


def placed(given: Problem, found: Relaxed) -> Candidate:
    where = place(given.cluster, found.strategy, found.traffic, given.job)
    return realise(given, found.strategy, found.stages, where)


@pytest.mark.parametrize(
    "given",
    [
        task(MOE),
        task(DENSE),
        task(MOE, schedules=SCHEDULES),
        task(MOE, batch=6, memory=3e8),
        task(DENSE, batch=12, memory=1.5e8),
    ],
    ids=["moe", "dense", "all schedules", "tight memory", "dense in tight memory"],
)
def test_bounds_hold_and_the_winner_wins(given: Problem) -> None:
    """No bound is above what it bounds, all strategies are accounted for, and search finds what enumeration finds."""
    tree, every, known, rejected = leaves(given)
    bound = every.bounds.step_S
    assert tree.enumerated == len(every) + sum(rejected.values())
    assert (np.diff(bound) >= 0).all()
    outer = dict(zip(zip(*(tree.outer[n].tolist() for n in OUTER), strict=True), tree.bound_S.tolist(), strict=True))
    best = np.inf
    for i in range(0, len(every), max(1, len(every) // 120)):
        key = tuple(every.degrees(i)[n] for n in OUTER)
        assert outer[key] <= bound[i] * (1 + 1e-9)
        found = cut(given, every, i, known)
        if isinstance(found, str):
            continue
        assert bound[i] <= found.cost.step_s * (1 + 1e-9), found.strategy
        exact = placed(given, found).cost.step_s
        assert found.cost.step_s <= exact * (1 + 1e-9), found.strategy
        best = min(best, exact)
    chosen, seen = search(given, lambda *_: None)
    assert chosen.cost.step_s <= best * (1 + 1e-9)
    assert seen.proven and seen.bound_s <= chosen.cost.step_s
    assert seen.enumerated == seen.feasible + sum(n for reason, n in seen.rejected.items() if "bound" not in reason)


def test_a_pace_bounds_every_leaf_of_its_shape() -> None:
    """The pipeline of one leaf, scaled, is never longer than that of another leaf of the same shape."""
    given = task(MOE, batch=8, memory=8e9)
    _, every, known, _ = leaves(given)
    paces = {}
    for i in range(0, len(every), max(1, len(every) // 100)):
        layer, k = priced(every, i, known)
        strategy = leaf_strategy(given, every, i)
        shape = (strategy.schedule, strategy.pp, strategy.vpp, strategy.num_microbatches)
        paces.setdefault(shape, pace(given, strategy, layer, k))
        found = cut(given, every, i, known)
        if isinstance(found, Relaxed):
            parts = found.cost.parts_s
            pipeline = found.cost.step_s - parts["dp"] - parts["optimizer"] - parts["overhead"]
            assert paces[shape].least_s(layer, k) <= pipeline * (1 + 1e-9) + found.cost.parts_s["dp"]


def test_nothing_fits_says_why() -> None:
    """A model that fits no GPU is Infeasible, and every strategy is in the histogram."""
    given = task(DENSE, memory=1e6)
    with pytest.raises(Infeasible) as failure:
        search(given, lambda *_: None)
    assert failure.value.rejected["memory"] > 0
    tree = grow(given, space(given.cluster, given.model, given.job))
    assert sum(failure.value.rejected.values()) == tree.enumerated


def test_a_pin_outside_of_the_space_says_what_is_inside() -> None:
    """A degree that no strategy has is infeasible, and the help lists those that there are."""
    with pytest.raises(Infeasible) as failure:
        search(task(MOE, pins={"tp": 3, "pp": 2}), lambda *_: None)
    assert failure.value.help == "`tp` is pinned to 3, which is no degree here; known: 1, 2"


def test_pins_are_kept() -> None:
    """A pinned degree is the degree of the plan."""
    chosen, _ = search(task(MOE, pins={"tp": 2, "pp": 2, "schedule": "1f1b"}), lambda *_: None)
    assert (chosen.strategy.tp, chosen.strategy.pp, chosen.strategy.schedule) == (2, 2, "1f1b")


@pytest.mark.full
def test_small_microbatches_are_found_where_bounds_promise_large_ones() -> None:
    """On a tight memory the counted search ends at its default effort, no worse than one that was told where to look."""
    cluster, (model, defaults) = load_cluster("gb200-su"), load_model("deepseek-v3")
    free, told = (
        search(problem(cluster, model, load_job(None, defaults, pins), efficiency()), lambda *_: None)
        for pins in ({}, {"micro_batch": "1", "pp": "4", "tp": "1", "ep": "64"})
    )
    assert free[1].stopped_by == "budget"
    assert free[0].cost.step_s <= told[0].cost.step_s * 1.02
