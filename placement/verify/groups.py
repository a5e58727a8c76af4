# SPDX-License-Identifier: Apache-2.0
# R rank   N node   J domain
"""Communicators: who is in which, in which order, and where they lie."""

from __future__ import annotations

import math

import numpy as np

from placement.verify.case import COMMUNICATORS, MEMBERS, NOBODY, Array, Case
from placement.verify.findings import Findings
from placement.verify.forward import lost, stranded
from placement.verify.links import stage_pairs

# A communicator runs along some axes: its members are the ranks that agree in every other coordinate.
DENSE, EXPERT = ("tp", "cp", "dp", "pp"), ("etp", "ep", "edp", "pp")
ALONG = {
    "tp": (DENSE, ("tp",)), "cp": (DENSE, ("cp",)), "dp": (DENSE, ("dp",)), "pp": (DENSE, ("pp",)),
    "etp": (EXPERT, ("etp",)), "ep": (EXPERT, ("ep",)), "edp": (EXPERT, ("edp",)),
    "tp_cp": (DENSE, ("tp", "cp")), "dp_cp": (DENSE, ("cp", "dp")), "tp_pp": (DENSE, ("tp", "pp")),
    "etp_ep": (EXPERT, ("etp", "ep")), "etp_ep_pp": (EXPERT, ("etp", "ep", "pp")), "world": (DENSE, DENSE),
}  # fmt: skip
RINGS = tuple(name for name in ALONG if "_" not in name and name not in ("pp", "world"))


def communicators(case: Case, found: Findings) -> None:
    """Every communicator of plan.bin has the members that its definition gives, in ascending rank."""
    given = {case.name(row): row for row in case.table(COMMUNICATORS)}
    wanted = {name: _group_ids(case, name) for name in (*ALONG, "gtp", "egtp")} | _tied(case)
    if set(given) != set(wanted):
        found.broken(f"communicators are {sorted(given)}, expected {sorted(wanted)}")
    for name in sorted(set(given) & set(wanted)):
        groups = _listed(case, given[name])
        if groups.shape != wanted[name].shape:
            found.broken(f"communicator `{name}` has {_shape(groups)}, derived {_shape(wanted[name])}")
        elif wrong := np.flatnonzero((groups != wanted[name]).any(axis=1)).tolist():
            found.broken(f"communicator `{name}` has wrong members", objects=[f"group {g}" for g in wrong])
        _check_index(case, found, name, given[name], wanted[name])
    found.detail = f"{len(wanted)} kinds, {sum(len(w) for w in wanted.values()):,} groups"


def _shape(groups: Array) -> str:
    return f"{groups.shape[0]:,} groups of {groups.shape[1]:,}"


def _group_ids(case: Case, name: str) -> Array:
    """Members of every group, rows by first member: ranks sorted by the coordinates they must agree in."""
    at, d = case.coordinates, case.degrees
    keys: tuple[Array, ...]
    if name == "gtp":  # gtp neighbours along dp share a part of each weight
        keys = (at["tp"], at["cp"], at["dp"] // d.gtp, at["pp"])
    elif name == "egtp":
        keys = (at["etp"], at["ep"], at["edp"] // d.egtp, at["pp"])
    else:
        axes, along = ALONG[name]
        keys = tuple(at[a] for a in axes if a not in along)
    rank_R = np.arange(d.world)
    order = np.lexsort((rank_R, *keys))
    same = np.ones(d.world, bool)
    for key in keys:
        same[1:] &= key[order][1:] == key[order][:-1]
    same[0] = False
    size = int(np.flatnonzero(~same)[1]) if (~same).sum() > 1 else d.world
    rows: Array = order.reshape(-1, size)
    return rows[np.argsort(rows[:, 0])]


def _tied(case: Case) -> dict[str, Array]:
    """Ranks that hold the same part of a matrix which two stages share."""
    stage_of = {i: case.chunk_stage[int(c)] for i, c in enumerate(case.chunk_B)}
    inside = np.arange(case.degrees.stage_ranks)
    pairs = [sorted((stage_of[i], stage_of[j])) for i, j in case.model.tied if stage_of[i] != stage_of[j]]
    return {f"tied_{n}": np.stack([inside + p * len(inside) for p in pair], axis=1) for n, pair in enumerate(pairs)}


def _listed(case: Case, row: Array) -> Array:
    """Members as plan.bin states them, by the rule of docs/plan-format.md."""
    groups, size = int(row["num_groups"]), int(row["size"])
    if row["kind"] == 1:
        start = int(row["members"])
        return case.table(MEMBERS)[start : start + groups * size].reshape(groups, size)
    n0, s0, n1, s1 = (int(row[k]) for k in ("inner_size", "inner_stride", "outer_size", "outer_stride"))
    group, member = np.arange(groups)[:, None], np.arange(size)[None, :]
    gap = s1 // (n0 * s0)
    if gap < 1:
        raise ValueError(f"communicator `{case.name(row)}` has levels that overlap")
    first = group % s0 + n0 * s0 * (group // s0 % gap) + n1 * s1 * (group // (s0 * gap))
    return np.asarray(first + s0 * (member % n0) + s1 * (member // n0))


def _check_index(case: Case, found: Findings, name: str, row: Array, wanted: Array) -> None:
    """A listed communicator also says which group a rank is in."""
    if row["kind"] != 1:
        return
    expected = np.full(case.degrees.world, NOBODY, np.int64)
    expected[wanted] = np.arange(len(wanted))[:, None]
    start = int(row["index"])
    if wrong := np.flatnonzero(case.table(MEMBERS)[start : start + case.degrees.world] != expected).tolist():
        found.broken(f"the index of communicator `{name}` is wrong", objects=[f"rank {r}" for r in wrong])


def domains(case: Case, found: Findings) -> None:
    """Tensor and expert groups lie inside one NVLink domain wherever there is room for all of them (DESIGN §8.1)."""
    d, domain_R = case.degrees, case.cluster.tiers[0].group_N[case.node_R]
    looked = []
    for label, name, size, cell in (
        ("tensor", "tp", d.tp, d.tp),
        ("expert tensor", "etp", d.etp, math.lcm(d.tp, d.etp)),
        ("expert", "etp_ep", d.etp * d.ep, math.lcm(d.tp, d.etp * d.ep)),
    ):
        room = _room(case, cell)
        groups = domain_R[_group_ids(case, name)]
        over = np.flatnonzero((groups != groups[:, :1]).any(axis=1)).tolist()
        if over and room * cell >= d.world:
            note = f"the domains have room for {room:,} blocks of {cell} ranks, {d.world // cell:,} are needed"
            found.broken(f"{label} groups cross NVLink domains", objects=[f"group {g}" for g in over], notes=[note])
        looked.append(f"{label} groups of {size}: {len(over):,} of {len(groups):,} cross")
    found.detail = ", ".join(looked)


def _room(case: Case, cell: int) -> int:
    """Blocks of `cell` ranks that fit the domains, each inside one, on whole nodes unless the job is ragged."""
    cluster, ragged = case.cluster, case.may_split
    unit = cell if ragged else math.lcm(cell, cluster.gpus_per_node)
    gpus: dict[int, int] = {}
    for node, usable in enumerate(cluster.usable_NG.sum(axis=1).tolist()):
        if ragged or usable == cluster.gpus_per_node:
            domain = int(cluster.tiers[0].group_N[node])
            gpus[domain] = gpus.get(domain, 0) + usable
    return sum(free // unit * (unit // cell) for free in gpus.values())


def no_path(case: Case, node_R: Array) -> bool:
    """Whether ranks on these nodes have anything to send to another rail that no member could forward."""
    if case.cluster.rails_connected:
        return False
    return any(_alone(case, node_R, name) for name in RINGS) or bool(lost(case, node_R, stage_pairs(case)))


def _alone(case: Case, node_R: Array, name: str) -> list[int]:
    """First ranks of communicators whose domains have no rail in common, on fabrics that do not join rails."""
    group = _group_ids(case, name)
    first_R = np.empty(case.degrees.world, np.int64)
    first_R[group] = group[:, :1]
    return stranded(case, node_R, name, first_R)


def _paths(case: Case, found: Findings, name: str) -> None:
    """Communicators of rings leave their domains on rails that all of these have, on fabrics that do not join rails."""
    if alone := _alone(case, case.node_R, name):
        found.broken(f"domains of {name} communicators have no rail in common", objects=[f"rank {r}" for r in alone])


def rails(case: Case, found: Findings) -> None:
    """Neighbours of data-parallel and pipeline groups in different domains sit on the same rail where the fabric needs it.

    Fabrics without links between rails carry such a message over NVLink to the right NIC at one end, at a cost: broken only
    where the ranks of a block allow better, that is where blocks of tp x cp ranks (or expert blocks) are whole nodes.
    """
    d, slots = case.degrees, case.cluster.gpus_per_node
    rail_R = case.cluster.rail_G[case.gpu_R % slots]
    domain_R = case.cluster.tiers[0].group_N[case.node_R]
    changes, total = {}, 0
    axes = [("dp", d.tp * d.cp), ("pp", d.stage_ranks)] + ([("edp", d.etp * d.ep)] if case.model.is_moe else [])
    for name, block in axes:
        group = _group_ids(case, name)
        after = np.roll(group, -1, axis=1)
        if name == "pp" and d.schedule != "interleaved":  # the last stage sends nothing to the first
            group, after = group[:, :-1], after[:, :-1]
        away = domain_R[group] != domain_R[after]
        change = away & (rail_R[group] != rail_R[after])
        total += int(away.sum())
        changes[name] = int(change.sum())
        if changes[name] and not case.cluster.rails_connected and block % slots == 0:
            victims = [f"rank {r}" for r in group[change].tolist()]
            found.broken(f"neighbours along {name} sit on different rails, which this fabric does not join", objects=victims)
    for name in RINGS:
        _paths(case, found, name)
    if alone := lost(case, case.node_R, list(dict.fromkeys(stage_pairs(case)))):
        found.broken("no member on the right rail forwards messages between stages", objects=[f"rank {r}" for r in alone])
    listed = ", ".join(f"{name} {count:,}" for name, count in changes.items() if count)
    joined = "rails are joined" if case.cluster.rails_connected else "rails are not joined"
    found.detail = (
        f"{total:,} neighbours in other domains, {sum(changes.values()):,} on other rails ({listed or 'none'}); {joined}"
    )
