# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   K leaf group   L lane (rail)   D device
"""From a wired fabric to a cluster that can be planned on: what is broken is out of service, or priced by what it leaves.

A host whose adapters carry no name is failed; an absent tray is absent; a host without its proper name is drained; a missing
rail or cable costs the bandwidth of its host or group. What a cabling capture does not say (GPU type, NVLink domains) is
guessed and said.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from placement.diag import Diagnostic, InputError, Label, Severity, Span
from placement.fabric.capacity import effective, share
from placement.fabric.wiring import Analysis, Fault, analyse
from placement.fabric.wiring.names import natural
from placement.hostlist import fold
from placement.ingest.hierarchy import Assume, catalogue_name, cluster_of_groups, is_grouped
from placement.ir import Chip, Cluster, FabricDesign, Kind, State, Tier, Wired
from placement.ir._array import Floats, Ints
from placement.spec.catalog import chips

NVLINK_S, LEAF_S, TIER_S = 1.0e-6, 3.2e-6, 1.3e-6  # ib_write_lat at OCI, GB300: in a rack, across racks; a pair of tiers more
FALLBACK = {
    (4, 400): "GB200",
    (4, 800): "GB300",
    (8, 200): "A100-80GB",
    (8, 400): "H100",
    (8, 800): "B300",
}  # adapters a host, Gb/s
TIERS = ("leaf", "pod", "core", "tier4", "tier5", "tier6")


@dataclass(frozen=True)
class _Node:
    """One host: name, place, lanes that are linked, state."""

    name: str
    place: int
    state: State
    live: tuple[float, ...]


def cluster_of(wired: Wired, gpu: str | None = None, analysis: Analysis | None = None) -> Cluster:
    """The cluster behind a wired fabric. Raises InputError where it holds no hosts. `gpu`: a GPU of the catalogue."""
    if is_grouped(wired):
        return cluster_of_groups(wired, Assume(gpu))
    known = analysis or analyse(wired)
    if not len(known.adapters.hosts):
        label = Label(Span(wired.files[0]))
        help = "give a capture with hosts, or their cabling as a further file"
        raise InputError([Diagnostic("ingest/no-hosts", "the fabric has no hosts to plan on", primary=label, help=help)])
    nodes, lanes = _nodes(known)
    speed = _speed(known)
    chip, guessed = _chip(wired, gpu, lanes, speed)
    gpus = _gpus(wired, lanes)
    domain_N, domain_names = _domains(wired, nodes, chip)
    tiers = _tiers(known, nodes, lanes, speed, domain_N, len(domain_names))
    state_N = np.array([int(n.state) for n in nodes])
    live_NL = np.array([n.live for n in nodes], np.float64)
    rail_G = np.arange(gpus) * lanes // gpus
    planes = max(1, lanes // gpus) if lanes % gpus == 0 else 1
    nic_N = speed * share(live_NL) * lanes / gpus  # of each GPU
    ok_NG = np.repeat((state_N == State.OK)[:, None], gpus, axis=1)
    return Cluster(
        name=re.sub(r"\.[a-z.]+\Z", "", wired.files[0].rsplit("/", 1)[-1]) or wired.name, chips=(chip,), gpus_per_node=gpus,
        tiers=tiers, chip_N=np.zeros(len(nodes), np.int64), state_N=state_N, gpu_ok_NG=ok_NG, nic_Bps_N=nic_N,
        speed_N=np.ones(len(nodes)), host_N=np.array([n.name for n in nodes]), domain_name_J=np.array(domain_names),
        rail_G=rail_G, num_planes=planes, rails_connected=not any(f.kind == "rails-not-joined" for f in known.faults),
        design=_design(known), nic_name=_nic_name(known), source={}, findings=_findings(wired, known, chip, guessed),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- nodes


def _nodes(known: Analysis) -> tuple[list[_Node], int]:
    """Every host of the pattern in order of group and place; those that only leave empty sockets are absent."""
    a, x = known.adapters, known.seats
    lanes = max(int(a.lanes_L.max(initial=1)), 1)
    if not len(x.slot_Q):
        return _plain(known, lanes)
    usual = _usual_speed(known)
    live: dict[int, list[float]] = {}
    guessed: dict[int, bool] = {}
    for row, slot in enumerate(x.slot_R.tolist()):
        if slot < 0:
            continue
        place, lane = divmod(slot, x.lanes)
        Bps = float(known.wired.cable.Bps_C[a.cable_R[row]])
        live.setdefault(place, [0.0] * lanes)[lane] = min(1.0, Bps / usual) if Bps and usual else 1.0
        guessed[place] = guessed.get(place, True) and bool(x.guessed_R[row])
    host_at = {int(p): h for h, p in enumerate(x.home_H.tolist()) if p >= 0}
    names = Counter(a.hosts[h] for h in host_at.values())
    nodes: list[_Node] = []
    rank_J = _order(known)
    places = np.unique(np.r_[x.slot_Q[x.usual_Q] // x.lanes, np.array(sorted(live), np.int64)]).tolist()
    for place in sorted(places, key=lambda p: (int(rank_J[p // x.width]), p)):
        if place in host_at:
            nodes.append(_Node(a.hosts[host_at[place]], place, State.OK, tuple(live.get(place, [1.0] * lanes))))
            continue
        expected = x.naming.expected(place // x.width, place % x.width)
        if expected and expected not in names and place in live:
            row = next(r for r, q in enumerate(x.slot_R.tolist()) if q >= 0 and q // x.lanes == place)
            state = State.FAILED if a.host_R[row] < 0 else State.DRAINED
            nodes.append(_Node(expected, place, state, tuple(live[place])))
        elif expected and expected not in names:
            nodes.append(_Node(expected, place, State.ABSENT, (0.0,) * lanes))
    return nodes, lanes


def _order(known: Analysis) -> Ints:
    """Rank of each leaf group in fabric order: by what joins them, outermost first, then by the names of their leafs."""
    s = known.sockets
    names: dict[int, tuple[tuple[str, int], ...]] = {}
    for w in np.flatnonzero(s.group_W >= 0).tolist():
        name = natural(str(known.wired.device.name_D[s.leaf_W[w]]))
        group = int(s.group_W[w])
        names[group] = min(names.get(group, name), name)
    parents = [_parents(known, level) for level in range(len(known.boundaries))][::-1]
    first: list[dict[int, tuple[tuple[str, int], ...]]] = []
    for parent_J in parents:
        lowest: dict[int, tuple[tuple[str, int], ...]] = {}
        for group, name in names.items():
            lowest[int(parent_J[group])] = min(lowest.get(int(parent_J[group]), name), name)
        first.append(lowest)
    keys = [(*(f[int(p[g])] for f, p in zip(first, parents, strict=True)), names.get(g, ())) for g in range(s.num_groups)]
    out = np.empty(s.num_groups, np.int64)
    out[sorted(range(s.num_groups), key=lambda g: keys[g])] = np.arange(s.num_groups)
    return out


def _plain(known: Analysis, lanes: int) -> tuple[list[_Node], int]:
    """Hosts of a fabric without a pattern (a lab): in the order of the capture, at the place of their leafs."""
    a = known.adapters
    lanes = max(Counter(a.host_R[a.host_R >= 0].tolist()).values(), default=lanes)
    rows = Counter(a.host_R[a.host_R >= 0].tolist())
    group_R = known.sockets.group_W[known.seats.leaf_R]
    place = {h: int(g) * known.seats.width for h, g in zip(a.host_R.tolist(), group_R.tolist(), strict=True) if g >= 0}
    return [
        _Node(h, place.get(i, -1), State.OK, (1.0,) * rows[i] + (0.0,) * (lanes - rows[i])) for i, h in enumerate(a.hosts)
    ], lanes


def _usual_speed(known: Analysis) -> float:
    Bps = known.wired.cable.Bps_C[known.adapters.cable_R]
    values, count = np.unique(Bps[Bps > 0], return_counts=True)
    return float(values[count.argmax()]) if len(values) else 0.0


def _speed(known: Analysis) -> float:
    """Bytes/s of one adapter, 400 Gb/s where the capture does not say."""
    return _usual_speed(known) or 400e9 / 8


def _chip(wired: Wired, gpu: str | None, lanes: int, speed: float) -> tuple[Chip, bool]:
    """GPU type: as named, as written in host names, or by adapters and their speed."""
    known = chips()
    if gpu is not None:
        if gpu not in known:
            raise InputError(
                [
                    Diagnostic(
                        "catalog/unknown-gpu",
                        f"`{gpu}` is no GPU of the catalogue",
                        help="placement schema topology lists them",
                    )
                ]
            )
        return known[gpu], False
    told = Counter(n for n in map(catalogue_name, filter(None, map(str, wired.host.gpu_name_H.tolist()))) if n)
    if told:
        return known[told.most_common(1)[0][0]], False
    files = [f.rsplit("/", 1)[-1] for f in wired.files]
    text = " ".join([*files, *wired.host.gpu_name_H[:50].tolist(), *wired.device.name_D[:2000].tolist()]).lower()
    named = [
        n for n in sorted(known, key=len, reverse=True) if re.search(rf"(?<![a-z0-9]){re.escape(n.lower())}(?![a-z0-9])", text)
    ]
    if named:
        return known[named[0]], True
    name = FALLBACK.get((min(lanes, 8), round(speed * 8e-9)), "GB200" if lanes == 4 else "H100")
    return known[name], True


def _gpus(wired: Wired, lanes: int) -> int:
    told = wired.host.gpus_H[wired.host.gpus_H > 0]
    return int(np.bincount(told).argmax()) if len(told) else lanes if lanes in (1, 2, 4, 8, 16) else 4 if lanes % 4 == 0 else 8


def _domains(wired: Wired, nodes: list[_Node], chip: Chip) -> tuple[Ints, list[str]]:
    """NVLink domain of each node: as told, else the rack by host name for rack-scale GPUs, else each host its own."""
    told = {str(n): str(d) for n, d in zip(wired.host.name_H.tolist(), wired.host.domain_H.tolist(), strict=True) if d}
    index: dict[str, int] = {}
    out = []
    for node in nodes:
        rack = re.sub(r"[^0-9]*\d+\Z", "", node.name.split(".")[0])
        name = told.get(node.name) or (rack if chip.form == "nvl72" and rack else node.name)
        out.append(index.setdefault(name, len(index)))
    return np.array(out, np.int64), list(index)


# ------------------------------------------------------------------------------------------------------------- tiers


def _tiers(known: Analysis, nodes: list[_Node], lanes: int, speed: float, domain_N: Ints, num_domains: int) -> tuple[Tier, ...]:
    """NVLink domains, leaf groups, pods and what joins them; uplinks as found, by the worst rail."""
    uplink_J = _injection(nodes, speed, lanes, domain_N, num_domains)
    tiers = [Tier("nvlink", NVLINK_S, domain_N, uplink_J)]
    width = known.seats.width
    place_N = np.array([n.place for n in nodes], np.int64)
    if not known.boundaries or (place_N < 0).any():
        one = np.zeros(len(nodes), np.int64)
        if num_domains > 1:
            tiers.append(Tier("fabric", LEAF_S, one, np.array([np.inf])))
        else:
            tiers[0] = Tier("nvlink", NVLINK_S, domain_N, np.array([np.inf]))
        return tuple(tiers)
    group_N = place_N // width
    parts = [_numbered(group_N, domain_N)]
    for level in range(len(known.boundaries)):
        parent_K = _parents(known, level)
        parts.append(_numbered(parent_K[group_N], parts[-1]))
    if int(parts[-1].max(initial=0)) > 0:
        parts.append(np.zeros(len(nodes), np.int64))
    for level, part_N in enumerate(parts):
        last = level == len(parts) - 1
        size = int(part_N.max(initial=0)) + 1
        up = np.full(size, np.inf) if last else _uplinks(known, level, part_N, group_N, size)
        if last or size > 1 or level > 0 or num_domains > 1:
            tiers.append(Tier(TIERS[min(level, 5)], LEAF_S + TIER_S * level, part_N, up))
        if last or size == 1:
            tiers[-1] = Tier(
                tiers[-1].name, tiers[-1].latency_s, tiers[-1].group_N, np.full(len(tiers[-1].uplink_Bps_J), np.inf)
            )
            break
    return tuple(tiers)


def _injection(nodes: list[_Node], speed: float, lanes: int, domain_N: Ints, num_domains: int) -> Floats:
    """Linked adapters of the nodes in service, by NVLink domain; a domain without any keeps its nominal figure."""
    ok_N = np.array([n.state == State.OK for n in nodes])
    dead_J = np.bincount(domain_N, weights=ok_N, minlength=num_domains) == 0
    live_N = np.array([sum(n.live) for n in nodes])
    Bps_N = np.where(dead_J[domain_N], lanes * speed, np.where(ok_N, live_N * speed, 0.0))
    return np.asarray(np.maximum(np.bincount(domain_N, weights=Bps_N, minlength=num_domains), 1.0))


def _numbered(part_N: Ints, inner_N: Ints) -> Ints:
    """Groups numbered by first node, and joined where an inner group lies in several, so that tiers nest."""
    first = np.zeros(int(inner_N.max(initial=0)) + 1, np.int64)
    first[inner_N[::-1]] = part_N[::-1]
    parent: dict[int, int] = {}

    def root(v: int) -> int:
        while parent.setdefault(v, v) != v:
            v = parent[v]
        return v

    for inner, part in set(zip(inner_N.tolist(), part_N.tolist(), strict=True)):
        a, b = root(int(first[inner])), root(part)
        parent[max(a, b)] = min(a, b)
    joined = [root(p) for p in part_N.tolist()]
    index: dict[int, int] = {}
    return np.array([index.setdefault(p, len(index)) for p in joined], np.int64)


def _parents(known: Analysis, level: int) -> Ints:
    """Group of each leaf group at the boundary above tier `level + 1`: pods first, then what joins pods."""
    s = known.sockets
    leafs = np.flatnonzero(s.group_W >= 0)
    label = {int(d): int(d) for b in known.boundaries[: level + 1] for d in np.unique(np.r_[b.low_X, b.high_X]).tolist()}

    def root(v: int) -> int:
        while label[v] != v:
            label[v] = label[label[v]]
            v = label[v]
        return v

    for b in known.boundaries[: level + 1]:
        inside = b.group_D[b.low_X] == b.group_D[b.high_X]
        for low, high in set(zip(b.low_X[inside].tolist(), b.high_X[inside].tolist(), strict=True)):
            one, two = root(low), root(high)
            label[max(one, two)] = min(one, two)
    out = np.full(s.num_groups, -1, np.int64)
    tuples: dict[tuple[int, ...], int] = {}
    for group in range(s.num_groups):
        mine = leafs[s.group_W[leafs] == group]
        roots = {int(s.kind_W[w]): root(int(s.leaf_W[w])) for w in mine.tolist() if int(s.leaf_W[w]) in label}
        key = next((k for k in tuples if any(roots.get(i) == v for i, v in enumerate(k) if v >= 0)), None)
        if key is None:
            key = tuple(roots.get(i, -1) for i in range(len(s.kinds)))
            tuples[key] = len(tuples)
        out[group] = tuples[key]
    return out


def _uplinks(known: Analysis, level: int, part_N: Ints, group_N: Ints, size: int) -> Floats:
    """Bytes/s of each group towards the tier above, as found: the design's, times what the worst rail keeps."""
    s, b = known.sockets, known.boundaries[min(level, len(known.boundaries) - 1)]
    part_of = np.full(s.num_groups, -1, np.int64)
    part_of[group_N] = part_N
    kind_D, part_D = _columns(known, level, part_of)
    Bps = known.wired.cable.Bps_C[b.cable_X]
    Bps = np.where(Bps > 0, Bps, float(np.median(Bps[Bps > 0])) if (Bps > 0).any() else 50e9)
    columns = int(kind_D.max(initial=0)) + 1
    ok = part_D[b.low_X] >= 0
    found_JK = np.zeros((size, columns))
    np.add.at(found_JK, (part_D[b.low_X[ok]], kind_D[b.low_X[ok]]), Bps[ok])
    due_JK = np.zeros((size, columns))
    due = part_D[b.low_Q] >= 0
    np.add.at(due_JK, (part_D[b.low_Q[due]], kind_D[b.low_Q[due]]), _mode(Bps))
    usual_K = np.array([_mode(due_JK[:, k]) for k in range(columns)])
    usual_JK = np.maximum(np.where(due_JK > 0, due_JK, usual_K[None, :] if level == 0 else 0.0), found_JK)
    live = np.divide(found_JK, usual_JK, out=np.zeros_like(found_JK), where=usual_JK > 0)
    return np.asarray(np.maximum(usual_JK.sum(axis=1) * effective(live[:, :, None]), 1.0))


def _mode(values: Floats) -> float:
    unique, count = np.unique(values[values > 0], return_counts=True)
    return float(unique[len(unique) - 1 - count[::-1].argmax()]) if len(unique) else 0.0


def _columns(known: Analysis, level: int, part_of: Ints) -> tuple[Ints, Ints]:
    """(rail of each switch below the boundary, group of nodes that it belongs to), -1 elsewhere."""
    s, size = known.sockets, len(known.tier_D)
    kind_D, part_D = np.zeros(size, np.int64), np.full(size, -1, np.int64)
    known_W = np.flatnonzero((s.group_W >= 0) & (s.kind_W >= 0))
    part_D[s.leaf_W[known_W]] = part_of[s.group_W[known_W]]
    kind_D[s.leaf_W[known_W]] = s.kind_W[known_W]
    for b in known.boundaries[:level]:
        for low, high in set(zip(b.low_X.tolist(), b.high_X.tolist(), strict=True)):
            if part_D[high] < 0 and part_D[low] >= 0 and b.group_D[low] == b.group_D[high]:
                part_D[high] = part_D[low]
    if level > 0:
        kind_D[:] = 0
    return kind_D, part_D


# ------------------------------------------------------------------------------------------------------------- words


def _design(known: Analysis) -> FabricDesign:
    """Switches and cables as found, by tier."""
    tier_D = known.tier_D
    names = {1: "leaf", 2: "spine", 3: "core"}
    switches = {names.get(t, f"tier{t}"): int((tier_D == t).sum()) for t in range(1, int(tier_D.max(initial=0)) + 1)}
    cables: dict[str, int] = {"nic-leaf": len(known.adapters.device_R)} if len(known.adapters.device_R) else {}
    for b in known.boundaries:
        cables[f"{names.get(b.tier, f'tier{b.tier}')}-{names.get(b.tier + 1, f'tier{b.tier + 1}')}"] = len(b.low_X)
    service = int((known.wired.device.kind_D == Kind.SERVICE).sum())
    return FabricDesign(switches, cables, {"aggregation nodes": str(service)} if service else {})


def _nic_name(known: Analysis) -> str:
    """`mlx5_{rail}` where the units are numbered like the rails, else the usual name of the first with its number open."""
    units = known.adapters.unit_of[0] if known.adapters.unit_of else ()
    shapes = {re.sub(r"\d+\Z", "{rail}", u) for u in units}
    return shapes.pop() if len(shapes) == 1 and units and "{rail}" in re.sub(r"\d+\Z", "{rail}", units[0]) else "mlx5_{rail}"


def _findings(wired: Wired, known: Analysis, chip: Chip, guessed: bool) -> tuple[Diagnostic, ...]:
    """One diagnostic a kind of fault: `placement topology validate` has them all. A fault is no error of the file."""
    found: list[Diagnostic] = []
    if guessed:
        label = Label(Span(wired.files[0]))
        message = f"the capture does not name its GPUs; {chip.name} is assumed"
        found.append(Diagnostic("ingest/gpu-guessed", message, Severity.INFO, label, help="name them: `--gpu GB200`"))
    by_kind: dict[str, list[Fault]] = {}
    for fault in known.faults:
        by_kind.setdefault(fault.kind, []).append(fault)
    for faults in by_kind.values():
        first = faults[0].diagnostic(wired.files[0])
        severity = Severity.INFO if faults[0].severity is Severity.INFO else Severity.WARNING
        if len(faults) > 1:
            hosts = sorted({v for f in faults for v in f.victims})
            notes = (f"{len(hosts):,} hosts: {fold(hosts, 200)}",) if hosts else ()
            message = f"{first.message}; and {len(faults) - 1:,} more like it"
            first = replace(first, message=message, notes=notes, help="`placement topology validate` lists them all")
        found.append(replace(first, severity=severity))
    return tuple(found)
