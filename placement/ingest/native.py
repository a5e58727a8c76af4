# SPDX-License-Identifier: Apache-2.0
# N node   W leaf   J group
"""A wired fabric written as a topology of ours: the pattern that it follows, then what is broken as exceptions.

Hosts keep their names. Switches get the names that the pattern gives them (their real ones stand in comments), so that
exceptions can name them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from placement.diag import Diagnostic, Severity
from placement.fabric.wiring import Analysis, analyse
from placement.fabric.wiring.sockets import missing_leafs
from placement.hostlist import fold
from placement.ingest.cluster import NVLINK_S, cluster_of
from placement.ingest.grouped import grouped_text
from placement.ingest.hierarchy import Assume, is_grouped
from placement.ir import Cluster, State, Wired

STATES = {State.FAILED: "failed", State.DRAINED: "drained", State.ABSENT: "absent"}


def as_yaml(wired: Wired, gpu: str | None = None) -> tuple[str, list[Diagnostic]]:
    """(the topology, notes). Raises InputError where there are no hosts."""
    if is_grouped(wired):
        return grouped_text(wired, Assume(gpu))
    known = analyse(wired)
    cluster = cluster_of(wired, gpu, known)
    lines = [
        "# yaml-language-server: $schema=../schemas/topology.json",
        f"# Read from {', '.join(f.rsplit('/', 1)[-1] for f in wired.files)} ({wired.format}).",
        f"name: {_text(cluster.name)}",
        f"gpu: {cluster.chips[0].name}",
        *_node(cluster),
        *_racks(cluster),
    ]
    fabric, exact = _fabric(known, cluster)
    lines += fabric
    exceptions = [*_nodes_out(cluster), *(_links_out(known, cluster) if exact else [])]
    if exceptions:
        lines += ["exceptions:", *exceptions]
    notes = [d for d in cluster.findings if d.name == "ingest/gpu-guessed"]
    if _rails(cluster)[1]:
        have = len(set(cluster.rail_G.tolist()))
        message = f"{have} adapters of a node cannot be shared evenly by {cluster.gpus_per_node} GPUs"
        help = "one adapter a GPU is written, with the bandwidth of all; capture every adapter, or check the GPUs of a node"
        notes.append(Diagnostic("ingest/adapters-uneven", message, Severity.WARNING, help=help))
    if not exact and len(cluster.tiers) > 1:
        message = "the switches follow no pattern of ours: tiers are given by their uplinks, and single cables are left out"
        notes.append(Diagnostic("ingest/no-pattern", message, Severity.INFO))
    return "\n".join(lines) + "\n", notes


def _text(value: str) -> str:
    return value if value.replace("-", "").replace("_", "").isalnum() and not value.isdigit() else f'"{value}"'


def _rails(cluster: Cluster) -> tuple[int, bool]:
    """Adapters of a node, and whether they had to be made as many as GPUs since these cannot share them evenly."""
    rails, gpus = len(set(cluster.rail_G.tolist())), cluster.gpus_per_node
    return (gpus, True) if gpus % rails else (rails, False)


def _node(cluster: Cluster) -> Iterator[str]:
    rails, _ = _rails(cluster)
    nic_Bps = (
        float(np.median(cluster.nic_Bps_N[cluster.nic_Bps_N > 0])) * cluster.gpus_per_node / rails
        if (cluster.nic_Bps_N > 0).any()
        else 0
    )
    nic_Bps = max(nic_Bps, 1.0)
    yield (
        f"node: {{gpus: {cluster.gpus_per_node}, nics: {rails}, nic_speed: {nic_Bps * 8e-9:g} Gb/s, "
        f"nic_name: {_text(cluster.nic_name)}}}"
    )


def _racks(cluster: Cluster) -> Iterator[str]:
    """A run a rack: an NVLink domain, or a leaf group where each host is a domain of its own."""
    sizes = np.bincount(cluster.tiers[0].group_N)
    alone = bool((sizes == 1).all())
    nodes = ", nodes: 1" if alone else ""
    yield f"nvlink: {{latency: {NVLINK_S * 1e6:g} us{nodes}}}"
    yield "racks:"
    for rack, rows in enumerate(_rack_rows(cluster)):
        names = cluster.host_N[rows]
        name = f"rack{rack:04}" if alone else str(cluster.domain_name_J[cluster.tiers[0].group_N[rows[0]]])
        yield f'  - {{count: 1, nodes: {len(rows)}, name: {_text(name)}, hosts: "{_ordered(names.tolist())}"}}'


def _ordered(names: Sequence[str]) -> str:
    """A host list that expands to the names in their order."""
    folded = fold(names)
    from placement.hostlist import expand

    return folded if expand(folded).tolist() == list(names) else ",".join(names)


def _rack_rows(cluster: Cluster) -> list[list[int]]:
    """Nodes of each rack, in order."""
    domain = cluster.tiers[0].group_N
    leaf = cluster.tiers[1].group_N if len(cluster.tiers) > 1 else domain
    key = leaf if bool((np.bincount(domain) == 1).all()) else domain
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    return [list(range(a, b)) for a, b in zip(starts.tolist(), [*starts[1:].tolist(), len(key)], strict=True)]


@dataclass(frozen=True)
class _Shape:
    """What a pattern of ours needs to know of a boundary."""

    uplinks: int
    upper: int  # upper switches of a group
    ports: int
    Bps: float


def _fabric(known: Analysis, cluster: Cluster) -> tuple[list[str], bool]:
    """(lines of `fabric`, whether its switches are described)."""
    if len(cluster.tiers) < 2:
        return [], False
    racks = _rack_rows(cluster)
    first = np.array([rows[0] for rows in racks])
    lines = ["fabric:", f"  planes: 1\n  rails_connected: {'true' if cluster.rails_connected else 'false'}", "  tiers:"]
    shapes = [_shape(known, i) for i in range(len(known.boundaries))]
    exact = bool(shapes) and all(s is not None for s in shapes) and len(cluster.tiers) == len(shapes) + 2 and _regular(known)
    exact = exact and known.boundaries[0].num_groups == cluster.tiers[2].num_groups
    exact = exact and _rails(cluster)[0] == int(known.adapters.lanes_L.max(initial=1))  # a port of a rail for each adapter
    per_rail = len(known.sockets.kinds) > 1
    for level, tier in enumerate(cluster.tiers[1:]):
        sizes = np.bincount(tier.group_N[first]).tolist()
        lines.append(f"    - name: {tier.name}")
        if len(sizes) > 1:
            same = sizes[:-1] == [sizes[0]] * (len(sizes) - 1) and sizes[-1] <= sizes[0]
            lines.append(f"      racks: {sizes[0] if same else sizes}")
        lines.append(f"      latency: {tier.latency_s * 1e6:g} us")
        if exact:
            lines.append(_switch(level, shapes, per_rail, known))  # type: ignore[arg-type]
        elif np.isfinite(tier.uplink_Bps_J).all():
            each = [f"{v * 8e-9:g} Gb/s" for v in tier.uplink_Bps_J.tolist()]
            lines.append(f"      uplink: {each[0] if len(set(each)) == 1 else '[' + ', '.join(each) + ']'}")
    return lines, exact


def _switch(level: int, shapes: Sequence[_Shape], per_rail: bool, known: Analysis) -> str:
    kind = ("leaf", "spine", "core")[min(level, 2)]
    below = shapes[level - 1] if level else None
    here = shapes[level] if level < len(shapes) else None
    ports = max(_ports(known, level + 1), here.ports if here else 0)
    speed = (here or below).Bps  # type: ignore[union-attr]
    leafs = 1 if per_rail else max(Counter(known.sockets.group_W[known.sockets.group_W >= 0].tolist()).values())
    num = leafs if level == 0 else below.upper  # type: ignore[union-attr]
    parts = [f"kind: {kind}", f"ports: {ports}", f"speed: {speed * 8e-9:g} Gb/s", f"count: {num}"]
    parts += ["per_rail: true"] if level == 0 and per_rail else []
    parts += [f"uplinks: {here.uplinks}"] if here else []
    return f"      switch: {{{', '.join(parts)}}}"


def _ports(known: Analysis, tier: int) -> int:
    rows = known.tier_D == tier
    told = known.wired.device.ports_D[rows]
    used = known.ends.port_X[rows[known.ends.device_X]]
    return max(int(told.max(initial=0)), int(used.max(initial=0)))


def _shape(known: Analysis, index: int) -> _Shape | None:
    """The pattern of a boundary, None where its groups differ."""
    b = known.boundaries[index]
    if not len(b.low_Q) or not b.ruled_J.all():
        return None
    up = Counter(Counter(b.low_Q.tolist()).values())
    group = b.group_D[b.low_Q]
    upper = [len(np.unique(b.high_Q[group == g])) for g in np.unique(group)]
    if len(set(upper)) > 1 or len(up) > 1:
        return None
    Bps = known.wired.cable.Bps_C[b.cable_X]
    usual = float(np.median(Bps[Bps > 0])) if (Bps > 0).any() else 50e9
    num = upper[0] if index == 0 else int((known.tier_D == b.tier + 1).sum())
    return _Shape(next(iter(up)), num, int(b.port_Q.max()), usual)


def _regular(known: Analysis) -> bool:
    """Leafs serve one lane each, or all lanes; every group has its leafs, apart from missing ones."""
    s = known.sockets
    lanes = int(known.adapters.lanes_L.max(initial=0))
    single = len(s.kinds) == lanes and all(len(k) == 1 for k in s.kinds)
    joint = len(s.kinds) == 1 and len(s.kinds[0]) == lanes
    sizes = Counter(s.group_W[s.group_W >= 0].tolist())
    lost = Counter(g for g, _ in missing_leafs(s))
    return (single or joint) and len({n + lost[g] for g, n in sizes.items()}) == 1


def _nodes_out(cluster: Cluster) -> Iterator[str]:
    for state, word in STATES.items():
        names = cluster.host_N[cluster.state_N == state]
        if len(names):
            yield f'  - {{state: {word}, nodes: "{fold(names)}"}}'


def _links_out(known: Analysis, cluster: Cluster) -> Iterator[str]:
    """Missing adapters, leafs and cables."""
    yield from _adapters_out(known, cluster)
    s = known.sockets
    rank = _group_rank(known, cluster)
    num = len(rank)
    width = len(str(max(num - 1, 0)))
    per_rail = len(s.kinds) > 1
    leaf = {}
    for w in np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0)).tolist():
        group = rank.get(int(s.group_W[w]))
        if group is not None:
            leaf[int(s.leaf_W[w])] = _leaf(group, num, width, int(s.kind_W[w]), per_rail)
    for group, kind in missing_leafs(s):
        if group in rank:
            name = _leaf(rank[group], num, width, kind, per_rail)
            yield f'  - {{state: failed, switches: "{name}", reason: "not in the capture"}}'
    b = known.boundaries[0]
    have = Counter(zip(b.low_X.tolist(), b.high_X.tolist(), strict=True))
    want = Counter(zip(b.low_Q.tolist(), b.high_Q.tolist(), strict=True))
    spine = _spines(known, cluster, rank)
    for (low, high), n in sorted(want.items()):
        short = n - have[low, high]
        if short > 0 and low in leaf and high in spine:
            real = f"{known.names.device(low)} -- {known.names.device(high)}"
            yield f'  - {{state: failed, links: "{leaf[low]} -- {spine[high]}", count: {short}, reason: "{real}"}}'


def _spines(known: Analysis, cluster: Cluster, rank: dict[int, int]) -> dict[int, str]:
    """Default names of the switches above the leafs: by pod and by their order in it."""
    b, s = known.boundaries[0], known.sockets
    pod_of_leaf = {}
    first = {int(g): n for n, g in reversed(list(enumerate(cluster.tiers[1].group_N.tolist())))}
    for w in np.flatnonzero(s.group_W >= 0).tolist():
        if int(s.group_W[w]) in rank:
            pod_of_leaf[int(s.leaf_W[w])] = int(cluster.tiers[2].group_N[first[rank[int(s.group_W[w])]]])
    pod_of: dict[int, int] = {}
    for low, high in zip(b.low_Q.tolist(), b.high_Q.tolist(), strict=True):
        if low in pod_of_leaf:
            pod_of.setdefault(high, pod_of_leaf[low])
    members: defaultdict[int, list[int]] = defaultdict(list)
    for device, pod in pod_of.items():
        members[pod].append(device)
    num = cluster.tiers[2].num_groups
    wide, digits = len(str(max(num - 1, 0))), len(str(max((len(m) for m in members.values()), default=1) - 1))
    out = {}
    for pod, devices in members.items():
        for index, d in enumerate(sorted(devices, key=known.names.device)):
            out[d] = f"spine-{pod:0{wide}}-s{index:0{digits}}" if num > 1 else f"spine-{index:0{digits}}"
    return out


def _leaf(group: int, num: int, width: int, kind: int, per_rail: bool) -> str:
    """Default name of a leaf (spec.switches.default_name)."""
    return "leaf" + (f"-{group:0{width}}" if num > 1 else "") + (f"-r{kind}" if per_rail else "")


def _group_rank(known: Analysis, cluster: Cluster) -> dict[int, int]:
    """Number that the written topology gives to each leaf group."""
    x = known.seats
    place = {known.adapters.hosts[h]: int(p) // x.width for h, p in enumerate(x.home_H.tolist()) if p >= 0}
    out: dict[int, int] = {}
    tier = cluster.tiers[1].group_N
    for n, name in enumerate(cluster.host_N.tolist()):
        if name in place:
            out.setdefault(place[name], int(tier[n]))
    return out


def _adapters_out(known: Analysis, cluster: Cluster) -> Iterator[str]:
    """Rails without a link of hosts that are in service, unless the leaf itself is missing."""
    x = known.seats
    taken = set(x.slot_R[x.slot_R >= 0].tolist())
    lost: defaultdict[int, list[str]] = defaultdict(list)
    ok = set(cluster.host_N[cluster.state_N == State.OK].tolist())
    names = {int(p): known.adapters.hosts[h] for h, p in enumerate(x.home_H.tolist()) if p >= 0}
    for slot in x.slot_Q[x.real_Q].tolist():
        if slot not in taken:
            place, lane = divmod(slot, x.lanes)
            if names.get(place) in ok:
                lost[lane].append(names[place])
    for lane, hosts in sorted(lost.items()):
        yield f'  - {{state: failed, nics: "{fold(hosts)}:{lane}"}}'
