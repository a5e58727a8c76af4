# SPDX-License-Identifier: Apache-2.0
# R rank   T tier
"""Instances of mapping: a product of cliques, rings and paths on a tree of trays, racks, leafs and pods, with distances.

J = sum over pairs of bytes x distance of the lowest domain that both share. Weights are estimates for one step of a mixture of
experts of 10 T parameters (h = 16k, sequence 8k, 64 microbatches, 6 layers a stage, top-8), in GB: 52 a pair of a tensor group,
7 a pair of an expert group, 4 an edge of the pipeline, 58 an edge of the data-parallel ring, 20 an edge of the context ring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from placement.cost.traffic import tier_bytes
from placement.ir import Chip, Cluster, FabricDesign, Placement, State, Strategy, Term, Tier, Traffic
from placement.ir._array import Bools, Floats, Ints

DISTANCE = (1.0, 3.0, 10.0, 30.0, 100.0)  # same tray, same rack, same leaf, same pod, across
WEIGHT = {"tp": 52.0, "ep": 7.0, "pp": 4.0, "dp": 58.0, "cp": 20.0}
TRAY = 4  # GPUs of a tray, the node of every machine here
ARITY = {576: (4, 18, 8), 4608: (4, 18, 8, 8), 18432: (4, 18, 8, 32), 73728: (4, 18, 8, 32, 4), 220032: (4, 18, 8, 382)}
FIT = {576: (8, 9, 1, 8), 4608: (8, 9, 4, 16), 18432: (8, 9, 16, 16), 73728: (8, 9, 64, 16), 220032: (8, 9, 191, 16)}
MISFIT = {576: (8, 8, 3, 3), 4608: (8, 8, 9, 8), 18432: (8, 8, 18, 16), 73728: (8, 8, 72, 16), 220032: (8, 8, 191, 18)}
UNFOLDED = {576: (8, 8, 3, 3), 4608: (8, 64, 3, 3), 18432: (8, 64, 3, 12), 73728: (8, 64, 9, 16)}


@dataclass(frozen=True)
class Instance:
    """`cluster` has racks as its innermost tier; `trays` is the same with trays inside. `rise_T` distance gained by tier of it.

    `cell` ranks that stay in one rack whatever happens, `base` bytes x distance of all pairs if none left its tray.
    """

    name: str
    cluster: Cluster
    trays: Cluster
    strategy: Strategy
    traffic: Traffic
    rise_T: Floats
    base: float
    cell: int


def instance(family: str, size: int) -> Instance:
    """One of the families fit72, mis64 and unf, at one of the sizes of `ARITY`."""
    degrees = {"fit72": FIT, "mis64": MISFIT, "unf": UNFOLDED}[family][size]
    machine = tree(ARITY[size])
    made = unfolded if family == "unf" else folded
    return build(f"{family} {size:,}", machine, *made(*degrees))


def folded(tp: int, inner: int, dp: int, pp: int, weight: Mapping[str, float] = WEIGHT) -> tuple[Strategy, Traffic]:
    """Expert groups of tp x inner consecutive ranks (Megatron's parallel folding)."""
    strategy = _strategy(tp=tp, dp=inner * dp, pp=pp, ep=tp * inner)
    return strategy, _traffic(strategy, {"tp": "clique", "ep": "clique", "edp": "ring", "pp": "path"}, weight)


def unfolded(tp: int, ep: int, dp: int, pp: int, weight: Mapping[str, float] = WEIGHT) -> tuple[Strategy, Traffic]:
    """Expert groups across tensor groups: one member of each, an axis of its own (here in the place of cp)."""
    strategy = _strategy(tp=tp, cp=ep, dp=dp, pp=pp)
    return strategy, _traffic(
        strategy, {"tp": "clique", "cp": "clique", "dp": "ring", "pp": "path"}, {**weight, "cp": weight["ep"]}
    )


def context(tp: int, cp: int, inner: int, dp: int, pp: int, weight: Mapping[str, float] = WEIGHT) -> tuple[Strategy, Traffic]:
    """A context ring inside every expert group of tp x cp x inner ranks."""
    strategy = _strategy(tp=tp, cp=cp, dp=inner * dp, pp=pp, ep=tp * cp * inner)
    kinds = {"tp": "clique", "cp": "ring", "ep": "clique", "edp": "ring", "pp": "path"}
    return strategy, _traffic(strategy, kinds, weight)


def _strategy(**degrees: int) -> Strategy:
    facts = {"tp": 1, "cp": 1, "ep": 1, "etp": 1, "dp": 1, "pp": 1, "vpp": 1, "micro_batch": 1, "num_microbatches": 64}
    return Strategy(**(facts | degrees), schedule="1f1b", recompute="none", sharding="zero1")


def _traffic(strategy: Strategy, kinds: Mapping[str, str], weight: Mapping[str, float]) -> Traffic:
    """Terms so that a pair of a clique, and an edge of a ring or path, counts its weight once where it leaves a group."""
    terms = []
    for axis, kind in kinds.items():
        n, w = strategy.size(axis), weight["dp" if axis == "edp" else axis]
        if n > 1:
            each = {"clique": w * (n - 1) / 2, "path": w / 2, "ring": w / 2 if n == 2 else w}[kind]
            terms.append(Term(axis, kind, np.full(strategy.pp, each)))
    return Traffic(tuple(terms))


def build(name: str, machine: tuple[list[Ints], Bools], strategy: Strategy, traffic: Traffic) -> Instance:
    """An instance on a machine: groups of every GPU by tier from the tray outwards, and which GPUs are healthy."""
    domains, healthy = machine
    rise = np.diff(DISTANCE[: len(domains) + 1])
    trays, racks = _cluster(domains, healthy, rise, 1), _cluster(domains[1:], healthy, rise[1:], TRAY)
    return Instance(name, racks, trays, strategy, traffic, rise, DISTANCE[0] * _total(strategy, traffic), strategy.tp)


def _total(strategy: Strategy, traffic: Traffic) -> float:
    total = 0.0
    for term in traffic.terms:
        edges = 2 * (1 - 1 / strategy.size(term.axis)) if term.kind == "path" else 1.0
        total += float(term.bytes_P.sum()) * strategy.stage_ranks * edges
    return total


def tree(arity: Sequence[int]) -> tuple[list[Ints], Bools]:
    """A perfect hierarchy; arity from the inside out."""
    gpus = int(np.prod(arity))
    widths = np.cumprod(arity)[:-1]
    return [np.arange(gpus) // w for w in widths], np.ones(gpus, bool)


def irregular(
    racks: int = 3056, *, per_leaf: int = 8, per_pod: int = 32, gpus: float = 0.0, trays: float = 0.0, whole: float = 0.0,
    partial: float = 0.0, small: bool = False, seed: int = 0,
) -> tuple[list[Ints], Bools]:  # fmt: skip
    """Racks of 18 trays of 4, with shares of dead GPUs, trays and racks; `partial` of the racks have 8 to 17 trays, and if
    `small` every fifth leaf has racks of 9.
    """
    rng = np.random.default_rng(seed)
    tray_X = np.where(small & (np.arange(racks) // per_leaf % 5 == 4), 9, 18)
    cut_X = rng.random(racks) < partial
    tray_X = np.where(cut_X, rng.integers(8, 18, racks), tray_X)
    rack_N = np.repeat(np.arange(racks), tray_X)
    rack, tray = np.repeat(rack_N, 4), np.repeat(np.arange(len(rack_N)), 4)
    healthy = rng.random(len(rack)) >= gpus
    healthy &= ~(rng.random(len(rack_N)) < trays)[tray] & ~(rng.random(racks) < whole)[rack]
    return [tray, rack, rack // per_leaf, rack // per_leaf // per_pod], healthy


def _cluster(domains: Sequence[Ints], healthy: Bools, rise: Floats, width: int) -> Cluster:
    """Nodes of `width` GPUs, any of which may be used; uplinks so that seconds of evenly spread load are bytes x distance."""
    ok_NG = healthy.reshape(-1, width)
    n = len(ok_NG)
    tiers = [
        Tier(f"t{t}", 1e-6, g[::width], np.full(int(g.max()) + 1, 1.0 / d / (int(g.max()) + 1)))
        for t, (g, d) in enumerate(zip(domains, rise, strict=True))
    ]
    tiers.append(Tier("top", 1e-6, np.zeros(n, np.int64), np.array([np.inf])))
    chip = Chip("any", "blackwell_ultra", "nvl72", {"bf16": 1e15}, 1e11, 1e12, 1e12, True)
    return Cluster(
        name="instance", chips=(chip,), gpus_per_node=width, tiers=tuple(tiers), chip_N=np.zeros(n, np.int64),
        state_N=np.where(ok_NG.any(axis=1), int(State.OK), int(State.FAILED)), gpu_ok_NG=ok_NG, nic_Bps_N=np.ones(n),
        speed_N=np.ones(n), host_N=np.char.mod("g%07d", np.arange(n)),
        domain_name_J=np.char.mod("d%06d", np.arange(int(domains[0].max()) + 1)), rail_G=np.zeros(width, np.int64),
        num_planes=1, rails_connected=True, design=FabricDesign({}, {}),
    )  # fmt: skip


def value(case: Instance, placement: Placement) -> float:
    """J of a placement, exact."""
    by_axis = tier_bytes(case.trays, case.strategy, placement, case.traffic)
    leaving = [sum(axis[t.name] for axis in by_axis.values()) for t in case.trays.tiers[:-1]]
    return case.base + float(np.dot(case.rise_T, leaving))
