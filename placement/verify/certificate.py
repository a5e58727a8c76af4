# SPDX-License-Identifier: Apache-2.0
# R rank   T tier
"""The certificate: bytes and seconds that no placement of the plan's ranks can do without."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from placement.verify import bounds
from placement.verify.case import Array, Case
from placement.verify.findings import Findings
from placement.verify.links import AXES, Lie, Machine, machine, shape, stage_pairs
from placement.verify.prices import CLOSE, stage_bytes, tier_bytes
from placement.verify.seconds import Setting
from placement.verify.step import Pricing

KINDS = ("each tier", "coupled sizes", "shifted weights", "joint entropy")  # of the bound of all tiers


def certificate(case: Case, found: Findings) -> None:
    """Bytes that must leave each tier and all of them, derived again; seconds of the best placement that could be.

    A lower bound holds for every placement, so any placement can refute it too: tried are the launcher's order, the plan's
    nodes in reverse, and the plan's nodes dealt round robin.
    """
    told = case.tree["certificate"]
    names = [tier.name for tier in case.cluster.tiers]
    if sorted(told["tiers"]) != sorted(names):
        found.broken(f"the certificate has tiers {sorted(told['tiers'])}, the cluster {sorted(names)}")
        return
    sent = stage_bytes(Pricing(case, case.node_R))
    tried = _refute(case, found, sent)
    again = _derive(case, found, {a: b for a, b in sent.items() if shape(case.degrees, a)[0] > 1 and any(b)})
    lower, plan = (math.fsum(told["tiers"][n][k] for n in names) for k in ("lower_bytes", "plan_bytes"))
    lower = max(lower, told["joint_bytes"])
    found.close("`certificate.gap`", told["gap"], plan / lower - 1.0 if lower > 0 else 0.0, 1e-6, 1e-8)
    _cells(case, found, sent)
    _seconds(case, found)
    found.detail = f"{lower:.4g} of {plan:.4g} B must leave; derived again: {again}; {tried} placements tried"


def _refute(case: Case, found: Findings, sent: dict[str, list[float]]) -> int:
    told, joint, slots = case.tree["certificate"]["tiers"], case.tree["certificate"]["joint_bytes"], case.cluster.gpus_per_node
    names = [tier.name for tier in case.cluster.tiers]
    tried = {
        "the plan": case.node_R, "the launcher's order": case.default_node_R, "the plan in reverse": case.node_R[::-1],
        "the plan dealt out": np.concatenate([case.node_R[i::slots] for i in range(slots)]),
    }  # fmt: skip
    for label, node_R in tried.items():
        derived = tier_bytes(case, sent, node_R)
        every = math.fsum(axis[name] for axis in derived.values() for name in names)
        if joint > every * (1.0 + 1e-9) + 1e-6:
            found.broken(f"the lower bound of all tiers, {joint:.6g} B, is refuted by {label}: {every:.6g} B")
        for name in names:
            total = math.fsum(axis[name] for axis in derived.values())
            if label == "the plan":
                found.close(f"`certificate.tiers.{name}.plan_bytes`", told[name]["plan_bytes"], total, CLOSE)
            low = told[name]["lower_bytes"]
            if low > total * (1.0 + 1e-9) + 1e-6:
                found.broken(f"the lower bound of {name}, {low:.6g} B, is refuted by {label}: {total:.6g} B")
    return len(tried)


def _derive(case: Case, found: Findings, sent: Mapping[str, list[float]]) -> str:
    """Bounds by the referee's own recursion; a stated one that is higher, and of a kind derived here, is reported."""
    told, names = case.tree["certificate"], [tier.name for tier in case.cluster.tiers]
    rooms, outer, known, seen = bounds.rooms(case), 0.0, {}, []
    for t in reversed(range(len(names))):
        stated = told["tiers"][names[t]]
        part = _held(case, sent, rooms[t], stated.get("witness"))
        own = bounds.alone(part, rooms[t], case.degrees.world) if part else 0.0
        if part:
            known[t] = part
            seen.append(names[t])
        elif "witness" in stated:
            found.broken(f"nothing can be derived for {names[t]} from its `witness`")
        outer = max(outer, own)
        if "entropy" not in stated["method"] and _above(stated["lower_bytes"], outer):
            found.broken(f"the lower bound of {names[t]} is {stated['lower_bytes']:.9g} B, derived {outer:.9g} B")
        outer = max(outer, stated["lower_bytes"] if "entropy" in stated["method"] else 0.0)
    if told["joint_method"] not in KINDS:
        found.broken(f"`certificate.joint_method` is {told['joint_method']!r}, not one of {', '.join(KINDS)}")
    if told["joint_method"] == "each tier":
        each = math.fsum(tier["lower_bytes"] for tier in told["tiers"].values())
        found.close("`certificate.joint_bytes`, of each tier", told["joint_bytes"], each, 1e-9, 1e-6)
    if told["joint_method"] == "coupled sizes" and len(known) > 1:
        _joint(case, found, known, rooms)
        seen.append("all tiers")
    return ", ".join(reversed(seen)) or "none"


def _held(case: Case, sent: Mapping[str, list[float]], room_J: Array, hint: Any) -> bounds.Held | None:
    if not hint or int(room_J.max()) >= case.degrees.world:
        return None
    return bounds.held(case, sent, int(room_J.max()), bounds.hint_of(hint))


def _joint(case: Case, found: Findings, known: Mapping[int, bounds.Held], rooms: list[Array]) -> None:
    """All tiers together, the same sizes of groups for all of them."""
    told, at = case.tree["certificate"], sorted(known)
    parents = [_parents(case, a, b) for a, b in itertools.pairwise(at)]
    lower = [told["tiers"][tier.name]["lower_bytes"] for tier in case.cluster.tiers]
    own = 0.0
    for k in range(2, len(at) + 1):  # the inner tiers coupled, the others each for itself
        part = bounds.least([known[t] for t in at[:k]], [rooms[t] for t in at[:k]], parents[: k - 1], case.degrees.world)
        own = max(own, part + math.fsum(lower[t] for t in range(len(lower)) if t not in at[:k]))
    if _above(told["joint_bytes"], own):
        found.broken(f"the lower bound of all tiers is {told['joint_bytes']:.9g} B, derived {own:.9g} B")


def _parents(case: Case, low: int, high: int) -> Array:
    tiers = case.cluster.tiers
    parent_J = np.zeros(tiers[low].num_groups, np.int64)
    parent_J[tiers[low].group_N] = tiers[high].group_N
    return parent_J


def _above(stated: float, derived: float) -> bool:
    return stated > derived * (1.0 + CLOSE) + 1e-6


@dataclass(frozen=True)
class Best(Pricing):
    """The step if every communicator lay as no placement that keeps cells can better it, on the fastest GPUs."""

    cell: int = 1

    @cached_property
    def machine(self) -> Machine:
        return machine(self.case)

    @cached_property
    def setting(self) -> Setting:
        case = self.case
        return Setting(
            self.machine, case.efficiency, case.job, case.degrees, {axis: _best_lie(case, axis, self.cell) for axis in AXES}
        )

    @cached_property
    def slow_P(self) -> list[float]:
        return [1.0] * self.case.degrees.pp


def cell_rooms(case: Case, cell: int) -> list[Array]:
    """Cells that the groups of each tier hold, each inside one domain, on nodes of which all GPUs are usable."""
    usable_N, inner = case.cluster.usable_NG.sum(axis=1), case.cluster.tiers[0]
    if cell > 1 and not case.may_split:
        usable_N = np.where(case.cluster.usable_NG.all(axis=1), usable_N, 0)
    held_J = np.bincount(inner.group_N, usable_N, inner.num_groups).astype(np.int64) // cell
    parents = [_parents(case, 0, t) for t in range(len(case.cluster.tiers))]
    return [np.bincount(p, held_J, t.num_groups).astype(np.int64) for p, t in zip(parents, case.cluster.tiers, strict=True)]


def _best_lie(case: Case, axis: str, cell: int) -> Lie:
    """As many members together as the fullest group of each tier has room for; then each communicator of a cell sends one ring
    edge, and the fewest shares leave.
    """
    size, step = shape(case.degrees, axis)
    mine = min(size, -(-cell // step))
    if mine == size:
        return Lie(size, (size,) * len(case.cluster.tiers), (0.0,) * len(case.cluster.tiers), 0.0)
    members, ring, clique, apart = [], [], 0.0, 0.0
    for tier, room_J in zip(case.cluster.tiers, cell_rooms(case, cell), strict=True):
        full, fastest = int(room_J.max()), float(tier.uplink_Bps_J[room_J > 0].max())
        touched = -(-size // max(mine * full, 1))
        members.append(size // touched)
        ring.append(-(-cell // mine) / fastest if touched > 1 else 0.0)
        if touched == size:  # no group holds two stages of a column, so that every boundary leaves one
            apart = max(apart, ring[-1])
        fewest = max(-(-case.degrees.world // cell // int((room_J > 0).sum())), 1)
        if touched > 1:
            shares = (c * (size - min(size, mine * c)) / (size - 1) for c in (fewest, max(full, fewest)))
            clique = max(clique, min(shares) * cell / fastest)
    edges = dict.fromkeys(stage_pairs(case), apart) if axis == "pp" and apart > 0 else {}
    return Lie(size, tuple(members), tuple(ring), clique, edges=edges)


def _cells(case: Case, found: Findings, sent: dict[str, list[float]]) -> None:
    """Bounds for placements that keep cells: the plan does, and neither it nor its cells in reverse refute them."""
    told, names, cell = (
        case.tree["certificate"],
        [tier.name for tier in case.cluster.tiers],
        int(case.tree["certificate"]["cell"]),
    )
    stated = {name: told["tiers"][name].get("kept_bytes", 0.0) for name in names}
    joint = max(math.fsum(stated.values()), told["kept_joint_bytes"])
    plan = math.fsum(told["tiers"][name]["plan_bytes"] for name in names)
    _parted(case, found)
    found.close("`certificate.kept_gap`", told["kept_gap"], plan / joint - 1.0 if joint > 0 else told["gap"], 1e-6, 1e-8)
    if cell < 2:
        found.expect("`certificate.kept_joint_bytes` without cells", told["kept_joint_bytes"], 0.0)
        return
    if case.degrees.world % cell:
        found.broken(f"cells of {cell} ranks do not tile the job")
        return
    node_CR = case.node_R.reshape(-1, cell)
    domain_CR = case.cluster.tiers[0].group_N[node_CR]
    if bool((domain_CR != domain_CR[:, :1]).any()):
        found.broken(
            f"the certificate speaks of cells of {cell} ranks on one NVLink domain each, and the plan does not keep them so"
        )
    for label, order in (("the plan", slice(None)), ("its cells in reverse", slice(None, None, -1))):
        derived = tier_bytes(case, sent, node_CR[order].reshape(-1))
        total = {name: math.fsum(axis[name] for axis in derived.values()) for name in names}
        for name in names:
            if _above(stated[name], total[name]):
                found.broken(f"the bound of {name} for cells, {stated[name]:.6g} B, is refuted by {label}: {total[name]:.6g} B")
        if _above(joint, math.fsum(total.values())):
            found.broken(f"the bound of all tiers for cells, {joint:.6g} B, is refuted by {label}")


def _parted(case: Case, found: Findings) -> None:
    """Whole cells hold whole tensor and expert groups, as far as a domain could; those that leave theirs are counted again."""
    told, d = case.tree["certificate"], case.degrees
    whole, domain_R = int(told["whole_cell"]), case.cluster.tiers[0].group_N[case.node_R]
    block = math.lcm(d.tp, d.etp * d.ep)
    if whole < 1 or d.world % whole or (block <= int(cell_rooms(case, 2)[0].max()) * 2 and whole % block):
        found.broken(f"`certificate.whole_cell` of {whole} ranks does not hold tensor and expert groups, {block} ranks")
        return
    domain_CR = domain_R.reshape(-1, whole)
    parted = int((domain_CR != domain_CR[:, :1]).any(axis=1).sum())
    found.expect("`certificate.parted_cells`", told["parted_cells"], parted)


def _seconds(case: Case, found: Findings) -> None:
    """What no placement of these stages can beat, and how far the plan is from it."""
    told, step_s = case.tree["certificate"], float(case.tree["predicted"]["step_time_s"])
    if told["step_time_s"] == 0:
        found.expect("`certificate.step_gap` without a bound", told["step_gap"], 0.0)
        return
    best_s = Best(case, case.node_R, max(int(told["cell"]), 1)).derive().step_s
    if told["step_time_s"] > min(best_s, step_s) * (1.0 + CLOSE):
        found.broken(f"`certificate.step_time_s` is {told['step_time_s']:.9g} s, derived {min(best_s, step_s):.9g} s")
    found.close("`certificate.step_gap`", told["step_gap"], step_s / told["step_time_s"] - 1.0, 1e-6, 1e-8)
