# SPDX-License-Identifier: Apache-2.0
# R rank   K tower   J group of a tier   Q communicator   M member
"""The referee of jobs of several towers: the map against the input file, with code that the compiler does not share."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np

from placement.diag import Diagnostic
from placement.ir import Cluster
from placement.ir.comms import Comms, Tower
from placement.verify import comms_bound, papers, ranks
from placement.verify.case import COMMUNICATORS, MEMBERS, NOBODY, RANKS, Array, Case, Plan
from placement.verify.findings import Findings, Verification, run
from placement.verify.links import boundary_load, following, members_together, shape, stage_pairs

AXES = ("tp", "cp", "gtp", "dp", "pp", "etp", "ep", "egtp", "edp")
CLOSE = 1e-6


@dataclass(frozen=True)
class Paper:
    """A plan of one tower as the rest of this room reads plans: its strategy, and nothing else."""

    json: Mapping[str, Any]
    path: Path = Path()
    bin: Any = None
    inputs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Lot:
    """A map that was read, the communication of its input file, and the cluster."""

    case: Case
    comms: Comms

    @property
    def tree(self) -> Mapping[str, Any]:
        return self.case.tree

    @cached_property
    def towers(self) -> list[tuple[Tower, int, Case | None]]:
        """Each tower, its first rank, and its strategy as a case of its own; None for bare ranks."""
        out: list[tuple[Tower, int, Case | None]] = []
        for tower, first in zip(self.comms.towers, self.comms.first, strict=True):
            s = tower.strategy
            given = None if s is None else {k: getattr(s, k) for k in s.__dataclass_fields__}
            missing = cast("Any", None)  # no tower is priced: no model, job or constants
            part = Paper({"strategy": given})
            out.append((tower, first, None if s is None else Case(part, self.case.cluster, missing, missing, missing)))
        return out


def verify_map(loaded: Plan, cluster: Cluster, comms: Comms) -> Verification:
    """Check a map directory (`runtime.mapfile.load_map`) against the communication of its input. Every broken rule is
    reported. `comms`: as the file says; of towers that run a model, with the strategy and bytes that map.json states.
    """
    missing = cast("Any", None)
    lot = Lot(Case(loaded, cluster, missing, missing, missing), comms)
    checks, diagnostics = [], list[Diagnostic]()
    for name, rule in CHECKS.items():
        check, problems = run(name, lambda _case, found, rule=rule: rule(lot, found), lot.case)  # type: ignore[misc]
        checks.append(check)
        diagnostics += problems
    return Verification(tuple(checks), tuple(diagnostics))


def inputs(lot: Lot, found: Findings) -> None:
    """The copies are the files that were read, and describe this cluster."""
    stated = lot.tree["inputs"]
    for name in sorted(stated):
        if sha256(lot.case.plan.inputs[name]).hexdigest() != stated[name]:
            found.broken(f"`inputs/{name}` is not the file that the map was made from", fix="run `placement map` again")
    if lot.case.cluster.digest() != lot.tree["cluster"]["digest"]:
        found.broken("the cluster is not the one that the map was made from", fix="run `placement map` again")
    found.detail = f"{len(stated)} files and the cluster"


def facts(lot: Lot, found: Findings) -> None:
    """Towers, ranks and strategies are those of the input file."""
    towers, comms = lot.tree["towers"], lot.comms
    found.expect("the towers", [t["name"] for t in towers], [t.name for t in comms.towers])
    found.expect("the ranks of the towers", [t["ranks"] for t in towers], [t.ranks for t in comms.towers])
    found.expect("the first ranks of the towers", [t["first_rank"] for t in towers], list(comms.first))
    found.expect("`cluster.tiers`", lot.tree["cluster"]["tiers"], [t.name for t in lot.case.cluster.tiers])
    found.expect("`world_size`", lot.tree["world_size"], comms.world_size)
    found.expect("the ranks of plan.bin", len(lot.case.table(RANKS)), comms.world_size)
    left = int(lot.case.cluster.usable_NG.sum()) - comms.world_size
    found.expect("`spare_gpus`", lot.tree["spare_gpus"], left)
    for told, tower in zip(towers, comms.towers, strict=True):
        s = tower.strategy
        expected = None if s is None else {k: getattr(s, k) for k in s.__dataclass_fields__}
        found.expect(f"the strategy of `{tower.name}`", told["strategy"], expected)
        sent = [[t["axis"], t["kind"], list(t["bytes_P"])] for t in told["traffic"]]
        derived = [[t.axis, t.kind, [float(f"{b:.10g}") for b in t.bytes_P.tolist()]] for t in tower.traffic.terms]
        found.expect(f"the bytes of `{tower.name}`", sent, derived)
    found.detail = f"{len(towers)} towers, {comms.world_size:,} ranks"


def whole_nodes(lot: Lot, found: Findings) -> None:
    """A node gives all its GPUs or none."""
    cluster = lot.case.cluster
    used_N = np.bincount(lot.case.node_R, minlength=cluster.num_nodes)
    part = np.flatnonzero((used_N > 0) & (used_N != cluster.gpus_per_node))
    if len(part):
        found.broken("nodes run fewer ranks than they have GPUs", objects=cluster.host_N[part])
    found.detail = "every node gives all its GPUs or none"


def communicators(lot: Lot, found: Findings) -> None:
    """The tables of plan.bin list the communicators of every tower by the definition of its rank order."""
    member, world = lot.case.table(MEMBERS), lot.comms.world_size
    listed = {lot.case.name(row): row for row in lot.case.table(COMMUNICATORS)}
    expected = dict(_groups(lot))
    found.expect("the communicators of plan.bin", sorted(listed), sorted(expected))
    for name in sorted(set(listed) & set(expected)):
        row, member_QM = listed[name], expected[name]
        at, index = int(row["members"]), int(row["index"])
        given = member[at : at + member_QM.size].reshape(member_QM.shape)
        group_R = np.full(world, NOBODY, np.int64)
        group_R[member_QM] = np.arange(len(member_QM))[:, None]
        same = np.array_equal(given, member_QM) and np.array_equal(member[index : index + world], group_R)
        if not same or (int(row["num_groups"]), int(row["size"])) != member_QM.shape:
            found.broken(f"`{name}` of plan.bin has other members")
    found.detail = f"{len(listed)} kinds"


def _groups(lot: Lot) -> Iterator[tuple[str, Array]]:
    yield "world", np.arange(lot.comms.world_size)[None]
    for tower, first, case in lot.towers:
        yield tower.name, first + np.arange(tower.ranks)[None]
        for axis in AXES if case else ():
            assert case is not None
            size, step = shape(case.degrees, axis)
            if size > 1:
                heads = [r for r in range(tower.ranks) if r // step % size == 0]
                yield f"{tower.name}.{axis}", first + np.array(heads)[:, None] + step * np.arange(size)


def domains(lot: Lot, found: Findings) -> None:
    """Tensor and expert groups that fit an NVLink domain, and groups that the file wants together, lie in one."""
    inner = lot.case.cluster.tiers[0]
    domain_R = inner.group_N[lot.case.node_R]
    largest = int(np.bincount(inner.group_N[lot.case.cluster.whole_N]).max()) * lot.case.cluster.gpus_per_node
    looked = 0
    for tower, first, case in lot.towers:
        if case is None:
            continue
        d = case.degrees
        for what, size, block in (("tensor", d.tp, d.tp), ("expert", d.etp * d.ep, math.lcm(d.tp, d.etp * d.ep))):
            rows = domain_R[first : first + tower.ranks].reshape(-1, size)
            looked += len(rows)
            torn = int((rows != rows[:, :1]).any(axis=1).sum())
            if torn and block <= largest:
                found.broken(f"{torn:,} {what} groups of `{tower.name}` cross NVLink domains")
    torn = sum(len(set(domain_R[group].tolist())) > 1 for group in lot.comms.together)
    if torn:
        found.broken(f"{torn:,} groups that have to be together cross NVLink domains")
    found.detail = f"{looked + len(lot.comms.together):,} groups"


def table(lot: Lot, found: Findings) -> None:
    """ranks.csv says what plan.bin says, and the coordinates that the rank order of each tower defines."""
    data = (lot.case.plan.path / "ranks.csv").read_bytes()
    found.expect("`files.ranks.csv.sha256`", lot.tree["files"]["ranks.csv"]["sha256"], sha256(data).hexdigest())
    rows = list(csv.DictReader(data.decode().splitlines()))
    if len(rows) != lot.comms.world_size:
        found.broken(f"ranks.csv has {len(rows):,} rows for {lot.comms.world_size:,} ranks")
        return
    cluster, slots = lot.case.cluster, lot.case.cluster.gpus_per_node
    host_R = cluster.host_N[lot.case.node_R].tolist()
    slot_R = (lot.case.gpu_R % slots).tolist()
    wrong = [i for i, row in enumerate(rows) if (row["rank"], row["host"], row["gpu"]) != (str(i), host_R[i], str(slot_R[i]))]
    for tower, first, case in lot.towers:
        mine = rows[first : first + tower.ranks]
        wrong += [first + i for i, row in enumerate(mine) if row["tower"] != tower.name]
        for axis in ("tp", "cp", "dp", "pp", "etp", "ep", "edp") if case else ():
            assert case is not None
            size, step = shape(case.degrees, axis)
            wrong += [first + i for i, row in enumerate(mine) if int(row[axis]) != i // step % size]
    if wrong:
        found.broken("rows of ranks.csv are wrong", objects=[f"rank {r}" for r in sorted(set(wrong))])
    found.detail = f"{len(rows):,} rows"


def traffic(lot: Lot, found: Findings) -> None:
    """Bytes that leave the groups of each tier, part by part, and the seconds of the busiest uplinks; the launcher's beside."""
    tiers = lot.case.cluster.tiers
    derived, busiest_s = weighed(lot, lot.case.node_R)
    found.expect("the parts", sorted(lot.tree["parts"]), sorted(derived))
    for label in sorted(set(derived) & set(lot.tree["parts"])):
        for t, tier in enumerate(tiers):
            what = f"`parts.{label}.bytes.{tier.name}`"
            found.close(what, lot.tree["parts"][label]["bytes"][tier.name], derived[label][t], CLOSE, 1e-3)
    found.close("`busiest_s`", lot.tree["busiest_s"], busiest_s, CLOSE, 1e-12)
    launcher, launcher_s = weighed(lot, launcher_nodes(lot))
    found.close("`launcher.busiest_s`", lot.tree["launcher"]["busiest_s"], launcher_s, CLOSE, 1e-12)
    for t, tier in enumerate(tiers):
        told = lot.tree["tiers"][tier.name]
        found.close(f"`tiers.{tier.name}.bytes`", told["bytes"], math.fsum(p[t] for p in derived.values()), CLOSE, 1e-3)
        other = math.fsum(p[t] for p in launcher.values())
        found.close(f"`tiers.{tier.name}.launcher_bytes`", told["launcher_bytes"], other, CLOSE, 1e-3)
    found.detail = ", ".join(f"{t.name} {lot.tree['tiers'][t.name]['bytes']:.4g} B" for t in tiers)


def launcher_nodes(lot: Lot) -> Array:
    """Node of each rank in the launcher's order: whole nodes by host name, ranks in order."""
    from placement.verify.case import _number_aware

    cluster = lot.case.cluster
    names = cluster.host_N.tolist()
    by_name = sorted(np.flatnonzero(cluster.whole_N).tolist(), key=lambda n: _number_aware(names[n]))
    return np.repeat(np.array(by_name), cluster.gpus_per_node)[: lot.comms.world_size]


def weighed(lot: Lot, node_R: Array) -> tuple[dict[str, list[float]], float]:
    """({part: bytes that leave groups, by tier}, seconds of the busiest uplinks: the worst of each phase, added)."""
    parts: dict[str, list[float]] = {}
    worst: dict[str, float] = {}
    for tier in lot.case.cluster.tiers:
        phases: dict[str, Array] = {}
        group_R = tier.group_N[node_R]
        for label, phase, load_J in _loads(lot, group_R, tier.num_groups):
            parts.setdefault(label, []).append(float(load_J.sum()))
            phases[phase] = phases.get(phase, 0.0) + load_J
        for phase, load_J in phases.items():
            busy = load_J > 0
            seconds = max((float(b / u) if u > 0 else math.inf for b, u in zip(load_J[busy], tier.uplink_Bps_J[busy],
                                                                               strict=True)), default=0.0)  # fmt: skip
            worst[phase] = max(worst.get(phase, 0.0), seconds)
    return parts, math.fsum(worst.values())


def _loads(lot: Lot, group_R: Array, num: int) -> Iterator[tuple[str, str, Array]]:
    for tower, first, case in lot.towers:
        mine_R = group_R[first : first + tower.ranks]
        for term in tower.traffic.terms:
            assert case is not None
            yield f"{tower.name}.{term.axis}", term.axis, _axis_load(case, term.axis, term.bytes_P, mine_R, num)
    for w in lot.comms.wires:
        leaves_E = group_R[w.src_E] != group_R[w.dst_E]
        yield w.label, w.kind, np.bincount(group_R[w.src_E[leaves_E]], w.bytes_E[leaves_E], num)


def _axis_load(case: Case, axis: str, bytes_P: Array, group_R: Array, num: int) -> Array:
    """What leaves each group: rings to the next member, stages both ways, experts to all others alike."""
    d = case.degrees
    sent_R = np.asarray(bytes_P)[np.arange(d.world) // d.stage_ranks]
    if axis == "pp":
        pairs = {pair: float(bytes_P[pair[0]]) for pair in stage_pairs(case)}
        away, back = boundary_load(case, group_R, num, pairs)
        return np.asarray(away + back)
    if axis == "ep":
        outside_R = (d.ep - members_together(d, axis, group_R)) / (d.ep - 1)
        return np.bincount(group_R, sent_R * outside_R, num)
    leaves_R = group_R != group_R[following(d, axis)]
    return np.bincount(group_R[leaves_R], sent_R[leaves_R], num)


def certificate(lot: Lot, found: Findings) -> None:
    """Bounds hold for every placement, so any placement may refute them; what can be derived again is."""
    tiers = [t.name for t in lot.case.cluster.tiers]
    node_R, slots = lot.case.node_R, lot.case.cluster.gpus_per_node
    tried = {
        "the map": node_R, "the launcher's order": launcher_nodes(lot), "the map in reverse": node_R[::-1],
        "the map dealt out": np.concatenate([node_R[i::slots] for i in range(slots)]),
    }  # fmt: skip
    for label, nodes in tried.items():
        parts, _ = weighed(lot, nodes)
        for t, name in enumerate(tiers):
            total, low = math.fsum(p[t] for p in parts.values()), lot.tree["tiers"][name]["lower_bytes"]
            if low > total * (1.0 + CLOSE) + 1e-3:
                found.broken(f"the lower bound of {name}, {low:.6g} B, is refuted by {label}: {total:.6g} B")
        every = math.fsum(b for p in parts.values() for b in p)
        if lot.tree["joint_lower_bytes"] > every * (1.0 + CLOSE) + 1e-3:
            found.broken(f"the lower bound of all tiers, {lot.tree['joint_lower_bytes']:.6g} B, is refuted by {label}")
    moved = math.fsum(lot.tree["tiers"][n]["bytes"] for n in tiers)
    low = lot.tree["joint_lower_bytes"]
    if low > 0:
        found.close("`gap`", lot.tree["gap"], moved / low - 1.0, CLOSE, 1e-6)
    again = _again(lot, tiers)
    found.detail = f"{low:.4g} of {moved:.4g} B must leave; derived again: {again}; {len(tried)} placements tried"


def _again(lot: Lot, tiers: list[str]) -> str:
    """Which tiers' bounds were derived a second time."""
    shown, outer = [], 0.0
    for t in range(len(tiers) - 1, -1, -1):
        told = lot.tree["tiers"][tiers[t]]
        outer = max(outer, comms_bound.derived(lot.case.cluster, lot.comms, lot.towers, lot.tree["hints"], t))
        if told["lower_bytes"] > 0 and told["lower_bytes"] <= outer * (1.0 + CLOSE) + 1e-3:
            shown.append(tiers[t])
        outer = max(outer, told["lower_bytes"])
    return ", ".join(shown[::-1]) or "none"


Rule = Callable[[Lot, Findings], None]
CHECKS: dict[str, Rule] = {
    "input-digests": inputs,
    "plan-digest": lambda lot, found: papers.plan_digest(lot.case, found),
    "facts": facts,
    "bijection": lambda lot, found: ranks.bijection(lot.case, found),
    "healthy-gpus": lambda lot, found: ranks.health(lot.case, found),
    "whole-nodes": whole_nodes,
    "hosts": lambda lot, found: ranks.hosts(lot.case, found),
    "communicators": communicators,
    "coordinates": table,
    "domains": domains,
    "traffic": traffic,
    "certificate": certificate,
}
