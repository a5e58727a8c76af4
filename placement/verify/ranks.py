# SPDX-License-Identifier: Apache-2.0
# R rank   N node   G slot   H host of the plan
"""Ranks on GPUs: a bijection, onto GPUs that may be used, described by records that agree with it."""

from __future__ import annotations

import numpy as np

from placement.ir import State
from placement.verify.case import DOMAINS, HOSTS, NICS, NOBODY, RANKS, SLOTS, SPARES, Array, Case
from placement.verify.findings import Findings
from placement.verify.hostlist import unfold
from placement.verify.rules import spares_missing


def bijection(case: Case, found: Findings) -> None:
    """Every rank 0..world-1 has a GPU of the cluster, and no GPU has two."""
    rank, total = case.table(RANKS), case.cluster.num_nodes * case.cluster.gpus_per_node
    owner: dict[int, int] = {}
    twice, nowhere = [], []
    for r, gpu in zip(rank["rank"].tolist(), rank["gpu"].tolist(), strict=True):
        if gpu >= total:
            nowhere.append(f"rank {r} on GPU {gpu}")
        elif gpu in owner:
            twice.append(f"GPU {gpu} (ranks {owner[gpu]} and {r})")
        owner[gpu] = r
    if rank["rank"].tolist() != list(range(len(rank))):
        found.broken("ranks are not 0 to world size - 1 in order")
    if nowhere:
        found.broken("ranks sit on GPUs that the cluster does not have", objects=nowhere)
    if twice:
        found.broken("GPUs run two ranks", objects=twice)
    found.detail = f"{len(rank):,} ranks on {len(owner):,} GPUs"


def health(case: Case, found: Findings) -> None:
    """No rank on a failed, drained, absent or reserved node or GPU."""
    cluster, rank = case.cluster, case.table(RANKS)
    state_R, slot_R = cluster.state_N[case.node_R], case.gpu_R % cluster.gpus_per_node
    for state in State:
        if state is not State.OK and bool((state_R == state).any()):
            nodes = np.unique(case.node_R[state_R == state])
            found.broken(f"ranks sit on {state.name.lower()} nodes", objects=cluster.host_N[nodes])
    sick = rank["rank"][(state_R == State.OK) & ~cluster.gpu_ok_NG[case.node_R, slot_R]]
    if len(sick):
        found.broken("ranks sit on failed GPUs", objects=[f"{cluster.host_N[case.node_R[r]]} GPU {slot_R[r]}" for r in sick])
    found.detail = f"{len(np.unique(case.node_R)):,} nodes, all healthy"


def whole_nodes(case: Case, found: Findings) -> None:
    """A node gives all its GPUs or none, unless the job allows ragged hosts or is smaller than a node (DESIGN §8.3)."""
    cluster = case.cluster
    used_N = np.bincount(case.node_R, minlength=cluster.num_nodes)
    part = np.flatnonzero((used_N > 0) & (used_N != cluster.gpus_per_node))
    if len(part) and not case.may_split:
        fix = "set `ragged: allow` in the job if the launcher can number ranks on such hosts"
        found.broken("nodes run fewer ranks than they have GPUs", objects=cluster.host_N[part], fix=fix)
    found.expect("`whole_nodes` in plan.json", case.tree["whole_nodes"], len(part) == 0)
    found.expect("flag 2 (whole nodes) of plan.bin", bool(int(case.plan.bin.header["flags"]) & 2), len(part) == 0)
    found.detail = "nodes may be split" if case.may_split else "every node gives all its GPUs or none"


def spares(case: Case, found: Findings) -> None:
    """Spares are exactly the healthy GPUs without a rank; those of the topology are marked as reserved."""
    cluster, slots = case.cluster, case.cluster.gpus_per_node
    taken = set(case.gpu_R.tolist())
    expected, names = {}, cluster.host_N.tolist()
    for node in np.flatnonzero(np.isin(cluster.state_N, (State.OK, State.RESERVED)) & cluster.gpu_ok_NG.any(axis=1)).tolist():
        for slot in range(slots):
            if cluster.gpu_ok_NG[node, slot] and node * slots + slot not in taken:
                kept = int(cluster.state_N[node] == State.RESERVED)
                expected[node * slots + slot] = (node, slot, int(cluster.tiers[0].group_N[node]), kept, names[node])
    listed = {int(row["gpu"]): _spare(case, row) for row in case.table(SPARES)}
    if both := sorted(set(listed) & taken):
        found.broken("GPUs are listed as spares and run ranks", objects=both)
    if wrong := sorted(gpu for gpu in set(listed) | set(expected) if listed.get(gpu) != expected.get(gpu) and gpu not in taken):
        found.broken("spares of plan.bin are not the healthy GPUs without a rank", objects=wrong)
    left = sum(1 for facts in expected.values() if not facts[3])
    found.expect("`spare_gpus` in plan.json", case.tree["spare_gpus"], left)
    found.expect("`spares.gpus` in plan.json", case.tree["spares"]["gpus"], left)
    found.expect("`spares.reserved_gpus` in plan.json", case.tree["spares"]["reserved_gpus"], len(expected) - left)
    _spare_hosts(case, found, expected)
    if case.tree["search"]["stopped_by"] != "repair" and (short := spares_missing(case, case.node_R)):
        found.broken(f"spares that the job asks for are not kept: {short}")
    found.detail = f"{left:,} usable GPUs without a rank, {len(expected) - left:,} reserved"


def _spare_hosts(case: Case, found: Findings, expected: dict[int, tuple[int, int, int, int, str]]) -> None:
    """The summary of plan.json: on which hosts spares are, and how many domains have how many of them."""
    stated = case.tree["spares"]
    for key, reserved in (("hosts", 0), ("reserved_hosts", 1)):
        derived = {facts[4] for facts in expected.values() if facts[3] == reserved}
        if set(unfold(stated[key])) != derived:
            found.broken(f"`spares.{key}` in plan.json is not the hosts of these spares", objects=sorted(derived)[:1000])
    free = [0] * case.cluster.tiers[0].num_groups
    for _, _, domain, reserved, _ in expected.values():
        free[domain] += not reserved
    found.expect("`spares.domains_by_spare_gpus`", stated["domains_by_spare_gpus"], {str(n): free.count(n) for n in set(free)})


def _spare(case: Case, row: Array) -> tuple[int, int, int, int, str]:
    return int(row["node"]), int(row["slot"]), int(row["domain"]), int(row["reserved_node"]), case.name(row)


def coordinates(case: Case, found: Findings) -> None:
    """Records hold the coordinates that the rank order defines, and the place of the GPU in the cluster."""
    cluster, rank = case.cluster, case.table(RANKS)
    slot_R = case.gpu_R % cluster.gpus_per_node
    columns = {name: case.coordinates[name] for name in ("tp", "cp", "dp", "etp", "ep", "edp", "gtp", "egtp")}
    columns |= {"stage": case.coordinates["pp"], "node": case.node_R, "slot": slot_R}
    columns |= {"domain": cluster.tiers[0].group_N[case.node_R], "rail": cluster.rail_G[slot_R]}
    for name, expected in columns.items():
        if len(rank) != len(expected):
            found.broken(f"there are {len(rank):,} rank records, the degrees multiply to {len(expected):,}")
            return
        if wrong := np.flatnonzero(rank[name] != expected).tolist():
            found.broken(f"`{name}` of rank records is wrong", objects=[f"rank {r}" for r in wrong])
    found.detail = f"{len(columns)} columns of {len(rank):,} records"


def hosts(case: Case, found: Findings) -> None:
    """The host table names the nodes that run ranks, sorted; (host, slot) leads back to the rank."""
    cluster, rank, host = case.cluster, case.table(RANKS), case.table(HOSTS)
    names = [case.name(row) for row in host]
    if [n.encode() for n in names] != sorted(n.encode() for n in names) or len(set(names)) != len(names):
        found.broken("the host table is not sorted, or names a host twice")
    by_name = {name: node for node, name in enumerate(cluster.host_N.tolist())}
    if unknown := [n for n in names if n not in by_name]:
        found.broken("hosts of the plan are not in the topology", objects=unknown)
        return
    node_H = np.array([by_name[n] for n in names])
    if wrong := rank["rank"][node_H[rank["host"]] != case.node_R].tolist():
        found.broken("ranks name a host that is not the node of their GPU", objects=wrong)
    used = set(case.node_R.tolist())
    if idle := [n for n, node in zip(names, node_H.tolist(), strict=True) if node not in used]:
        found.broken("hosts of the plan run no rank", objects=idle)
    _host_columns(case, found, names, node_H)
    _slots(case, found, names)
    found.detail = f"{len(names):,} hosts, sorted"


def _host_columns(case: Case, found: Findings, names: list[str], node_H: Array) -> None:
    host, ranks_of = case.table(HOSTS), dict[int, list[int]]()
    for r, h in enumerate(case.table(RANKS)["host"].tolist()):
        ranks_of.setdefault(h, []).append(r)
    count = [len(ranks_of.get(h, ())) for h in range(len(host))]
    first = [min(ranks_of.get(h, [NOBODY])) for h in range(len(host))]
    derived = {"node": node_H, "domain": case.cluster.tiers[0].group_N[node_H], "num_ranks": count, "first_rank": first}
    for name, expected in derived.items():
        if wrong := np.flatnonzero(host[name] != np.asarray(expected)).tolist():
            found.broken(f"`{name}` of host records is wrong", objects=[names[h] for h in wrong])
    local = {r: i for on_host in ranks_of.values() for i, r in enumerate(sorted(on_host))}
    given = case.table(RANKS)["local_rank"].tolist()
    if wrong := [r for r, i in enumerate(given) if local[r] != i]:
        found.broken("local ranks do not ascend with the rank on each host", objects=[f"rank {r}" for r in wrong])


def _slots(case: Case, found: Findings, names: list[str]) -> None:
    slots = case.cluster.gpus_per_node
    found.expect("`gpus_per_node` of plan.bin", int(case.plan.bin.header["gpus_per_node"]), slots)
    expected = [NOBODY] * (len(names) * slots)
    for r, (h, gpu) in enumerate(zip(case.table(RANKS)["host"].tolist(), case.gpu_R.tolist(), strict=True)):
        expected[h * slots + gpu % slots] = r
    given = case.table(SLOTS).tolist()
    if wrong := [i for i, (a, b) in enumerate(zip(given, expected, strict=True)) if a != b]:
        found.broken(
            "(host, slot) does not lead back to the rank", objects=[f"{names[i // slots]} slot {i % slots}" for i in wrong]
        )


def local_ranks(case: Case, found: Findings) -> None:
    """The flag that local rank = GPU slot says so only where it holds on every host."""
    rank = case.table(RANKS)
    same = bool((rank["local_rank"] == case.gpu_R % case.cluster.gpus_per_node).all())
    found.expect("`local_rank_is_slot` in plan.json", case.tree["local_rank_is_slot"], same)
    found.expect("flag 1 (local rank = slot) of plan.bin", bool(int(case.plan.bin.header["flags"]) & 1), same)
    found.detail = "local rank = GPU slot everywhere" if same else "local ranks need the shim: they are not GPU slots"


def names(case: Case, found: Findings) -> None:
    """NVLink domains and NICs carry the names of the topology."""
    cluster, rank = case.cluster, case.table(RANKS)
    given = [case.name(row) for row in case.table(DOMAINS)]
    if given != cluster.domain_name_J.tolist():
        found.broken("the NVLink domains of plan.bin are not those of the topology")
    per_domain = np.bincount(cluster.tiers[0].group_N[case.node_R], minlength=len(given)).tolist()
    found.expect("`num_ranks` of the domains", case.table(DOMAINS)["num_ranks"].tolist() == per_domain, True)
    hosts_in = np.bincount(cluster.tiers[0].group_N[np.unique(case.node_R)], minlength=len(given)).tolist()
    found.expect("`num_hosts` of the domains", case.table(DOMAINS)["num_hosts"].tolist() == hosts_in, True)
    rails = sorted(set(cluster.rail_G.tolist()))
    nics = {int(row["rail"]): case.name(row) for row in case.table(NICS)}
    found.expect("the NICs of plan.bin", nics, {r: cluster.nic_name.format(rail=r) for r in range(rails[-1] + 1)})
    found.expect("flag 4 (rails connected) of plan.bin", bool(int(case.plan.bin.header["flags"]) & 4), cluster.rails_connected)
    found.detail = f"{len(given):,} NVLink domains, {len(rails)} rails, {len(rank):,} ranks"
