# SPDX-License-Identifier: Apache-2.0
# H host   N node, in fabric order   L tier above the NVLink domain, innermost first
"""From groups of hosts (a scheduler's tree, labels, a cloud's answer) to a cluster. What is not said is assumed, with a note.

Hosts are put in order of their groups, so that those of a group are adjacent. Groups that do not nest are cut to their common
parts.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from placement.diag import Diagnostic, InputError, Label, Severity, Span
from placement.fabric.wiring.groups import few_links
from placement.hostlist import fold
from placement.ingest.natural import natural
from placement.ir import Chip, Cluster, FabricDesign, Kind, State, Tier, Wired
from placement.ir._array import Ints
from placement.spec.catalog import chips

# ib_write_lat on GB300 at OCI: 1.8-1.9 us inside a rack, 3.15-3.25 across racks; the difference for each further pair of tiers.
NVLINK_S, LEAF_S, TIER_S = 1.0e-6, 3.2e-6, 1.3e-6
NIC_GBPS = {"ampere": 200, "hopper": 400, "blackwell": 400, "blackwell_ultra": 800}  # one adapter a GPU in NVIDIA's designs
HEALTHY = frozenset(("", "ok", "healthy", "ready", "running", "active"))
_CLIQUE = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
TIERS = ("leaf", "spine", "core", "tier4", "tier5", "tier6", "tier7", "tier8")


@dataclass(frozen=True)
class Assume:
    """What the user says of the hardware; None: take it from the files, or assume."""

    gpu: str | None = None
    gpus: int | None = None
    nic_Bps: float | None = None


def is_grouped(wired: Wired) -> bool:
    """Whether the hosts are known by their groups, not by cables at ports."""
    return wired.logical


def cluster_of_groups(wired: Wired, assume: Assume | None = None) -> Cluster:
    """The cluster behind a grouped value. Raises InputError where it has no hosts, or GPUs that are not in the catalogue."""
    given = assume or Assume()
    notes: list[Diagnostic] = []
    hosts, path_HL, names = _paths(wired)
    if not hosts:
        raise InputError([_note(wired, "no-hosts", "the files describe no host", Severity.ERROR)])
    fact = {str(n): h for h, n in enumerate(wired.host.name_H.tolist())}
    domain = [str(wired.host.domain_H[fact[h]]) if h in fact else "" for h in hosts]
    order = _order(hosts, path_HL, domain)
    hosts, domain = [hosts[i] for i in order], [domain[i] for i in order]
    path_HL = [path_HL[i] for i in order]
    domain_N, domain_names = _domains(wired, hosts, path_HL, domain, notes)
    chip_list, chip_N = _chips(wired, hosts, fact, domain_N, given, notes)
    notes += _alone(wired, domain, [chip_list[c] for c in chip_N])
    gpus = _gpus(wired, hosts, fact, chip_list[0], given, notes)
    nic_N = _nics(wired, hosts, fact, [chip_list[c] for c in chip_N], gpus, given, notes)
    state_N, ok_NG = _states(wired, hosts, fact, gpus, notes)
    tiers = _tiers(wired, names, path_HL, domain_N, nic_N * gpus, notes)
    return Cluster(
        name=_name(wired), chips=chip_list, gpus_per_node=gpus, tiers=tiers, chip_N=chip_N, state_N=state_N, gpu_ok_NG=ok_NG,
        nic_Bps_N=nic_N, speed_N=np.ones(len(hosts)), host_N=np.array(hosts), domain_name_J=np.array(domain_names),
        rail_G=np.arange(gpus), num_planes=1, rails_connected=True, design=FabricDesign({}, {}), findings=tuple(notes),
    )  # fmt: skip


def _note(
    wired: Wired, name: str, message: str, severity: Severity = Severity.WARNING, help: str = "", line: int = 1
) -> Diagnostic:
    return Diagnostic(f"ingest/{name}", message, severity, Label(Span(wired.files[0], max(line, 1))), help=help)


def _name(wired: Wired) -> str:
    stem = re.split(r"[\\/]", wired.files[0])[-1]
    return re.sub(r"(?:\.topology)?\.[A-Za-z]{2,5}\Z", "", stem) or "imported"


# ------------------------------------------------------------------------------------------------------------- groups


def _paths(wired: Wired) -> tuple[list[str], list[tuple[str, ...]], list[str]]:
    """(hosts, names of each host's groups from the inside out, names of the tiers). Every host has as many groups."""
    tree = _tree(wired)
    listed = wired.host.name_H.tolist()
    hosts = list(dict.fromkeys([str(h) for h in listed] + list(tree)))
    if tree:
        depth = max(len(p) for p in tree.values())
        filled = [_filled(tree.get(h, ()), depth) for h in hosts]
        return hosts, filled, [TIERS[k] if k < len(TIERS) else f"tier{k + 1}" for k in range(depth)]
    groups = {str(h): tuple(str(g) for g in row) for h, row in zip(listed, wired.host.group_HL.tolist(), strict=True)}
    return hosts, [groups.get(h, ("",) * len(wired.host.tiers)) for h in hosts], list(wired.host.tiers)


def _tree(wired: Wired) -> dict[str, tuple[str, ...]]:
    """Switches above each host, leaf first; empty for values without a tree."""
    if not (wired.logical and len(wired.cable)):
        return {}
    parent = dict(wired.cable.device_CE.tolist())
    name, kind = wired.device.name_D.tolist(), wired.device.kind_D
    above: dict[int, tuple[str, ...]] = {}

    def chain(d: int) -> tuple[str, ...]:
        path, seen = [], set()
        while d in parent and d not in seen:
            seen.add(d)
            d = parent[d]
            path.append(name[d])
        return tuple(path)

    out = {}
    for d in np.flatnonzero(kind == Kind.ADAPTER).tolist():
        leaf = parent.get(d, -1)
        if leaf not in above:
            above[leaf] = (name[leaf], *chain(leaf)) if leaf >= 0 else ()
        out[str(name[d])] = above[leaf]
    return out


def _filled(path: tuple[str, ...], depth: int) -> tuple[str, ...]:
    """A path of `depth`: short branches keep their innermost groups and repeat the last one below the root."""
    if not path:
        return ("",) * depth
    if len(path) == 1:
        return path * depth
    return path[:-1] + (path[-2],) * (depth - len(path)) + path[-1:]


def _order(hosts: list[str], path_HL: list[tuple[str, ...]], domain: list[str]) -> list[int]:
    """Groups in natural order of their names, from the outside in; then domains, then hosts."""
    return sorted(
        range(len(hosts)), key=lambda i: ([natural(g) for g in reversed(path_HL[i])], natural(domain[i]), natural(hosts[i]))
    )


def _domains(
    wired: Wired, hosts: list[str], path_HL: list[tuple[str, ...]], domain: list[str], notes: list[Diagnostic]
) -> tuple[Ints, list[str]]:
    """NVLink domain of each node: as told; nodes without one are alone. A domain under several leafs is cut."""
    index: dict[tuple[tuple[str, ...], str], int] = {}
    out, names = [], []
    for host, path, name in zip(hosts, path_HL, domain, strict=True):
        key = (path, name) if name else ((), f"\0{host}")
        if key not in index:
            index[key] = len(index)
            names.append(name or host)
        out.append(index[key])
    twice = [n for n, c in Counter(names).items() if c > 1]
    if twice:
        message = (
            f"{len(twice)} NVLink domain{'s span' if len(twice) > 1 else ' spans'} several leafs: {fold(twice, 120)}; cut there"
        )
        notes.append(_note(wired, "domain-cut", message, help="check the leafs of its hosts"))
    count: Counter[str] = Counter()
    for k, name in enumerate(names):
        count[name] += 1
        names[k] = name if count[name] == 1 else f"{name}-part{count[name]}"
    return np.array(out, np.int64), names


def _alone(wired: Wired, domain: list[str], chip_N: list[Chip]) -> list[Diagnostic]:
    """A finding where hosts have GPUs of a rack, and nothing says which of them share its NVLink."""
    alone = sum(c.form.startswith("nvl") and not d for c, d in zip(chip_N, domain, strict=True))
    if not alone or len(domain) == 1:
        return []
    message = f"nothing says which hosts share an NVLink domain: {alone:,} hosts of {chip_N[0].name} are taken alone"
    help = "add a file that does: GPU cliques, blocks, or `nvidia-smi -q` of the hosts"
    return [_note(wired, "assumed", message, help=help)]


def _tiers(
    wired: Wired,
    names: list[str],
    path_HL: list[tuple[str, ...]],
    domain_N: Ints,
    node_Bps: np.ndarray,
    notes: list[Diagnostic],
) -> tuple[Tier, ...]:
    """NVLink domains and one tier for each kind of group; each is taken to carry what its nodes can send."""
    parts: list[tuple[str, Ints]] = []
    called: list[tuple[str, ...]] = []
    for level, name in enumerate(names):
        keys = [path[level:] for path in path_HL]
        seen: dict[tuple[str, ...], int] = {}
        part_N: Ints = np.array([seen.setdefault(k, len(seen)) for k in keys], np.int64)
        if len(seen) == 1 and level + 1 < len(names):
            parts.append((name, part_N))
            called.append(tuple(k[0] for k in seen))
            break
        if not parts or int(parts[-1][1].max()) + 1 != len(seen) or level + 1 == len(names):
            parts.append((name, part_N))
            called.append(tuple(k[0] for k in seen))
    inner = int(domain_N.max(initial=0)) + 1
    if inner > 1 and (not parts or (parts[-1][1].max(initial=0) > 0 and not len(wired.cable))):
        parts.append(("network", np.zeros(len(domain_N), np.int64)))
        notes.append(_note(wired, "assumed", "what joins the outermost groups is not said: one network is assumed"))
    if inner == 1:
        parts = []
    tiers = [Tier("nvlink", NVLINK_S, domain_N, _sums(domain_N, node_Bps))]
    for level, (name, part_N) in enumerate(parts):
        words = called[level] if level < len(called) else ()
        tiers.append(Tier(_free(name, tiers), LEAF_S + TIER_S * level, part_N, _sums(part_N, node_Bps), words))
    last = tiers[-1]
    tiers[-1] = Tier(last.name, last.latency_s, last.group_N, np.full(last.num_groups, np.inf), last.names)
    if len(tiers) > 2 or any(len(np.unique(p)) > 1 for _, p in parts):
        notes.append(
            _note(wired, "assumed", "speeds between tiers are not said: a non-blocking fabric is assumed", Severity.INFO)
        )
    return tuple(tiers)


def _free(name: str, tiers: list[Tier]) -> str:
    taken = {t.name for t in tiers}
    return name if name not in taken else next(f"{name}{k}" for k in range(2, 99) if f"{name}{k}" not in taken)


def _sums(part_N: Ints, node_Bps: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(part_N, weights=node_Bps))


# ----------------------------------------------------------------------------------------------------------- hardware


def catalogue_name(text: str) -> str | None:
    """GPU of the catalogue that a product name means: `NVIDIA-H100-80GB-HBM3`, `NVIDIA GB300`, `A100-SXM4-80GB`."""
    known = chips()
    if text in known:
        return text
    words = re.split(r"[^A-Za-z0-9]+", text.upper())
    if "A100" in words:
        return "A100-80GB" if "80GB" in words or any("80GB" in w for w in words) else "A100-40GB"
    return next((n for n in sorted(known, key=len, reverse=True) if n.upper() in words), None)


def _chips(
    wired: Wired, hosts: list[str], fact: dict[str, int], domain_N: Ints, given: Assume, notes: list[Diagnostic]
) -> tuple[tuple[Chip, ...], Ints]:
    """GPU types in order of nodes. Racks of nine hosts, and cluster UUIDs, are of NVL72; else H100 is the usual kind."""
    known = chips()
    if given.gpu is not None:
        if given.gpu not in known:
            raise InputError([_note(wired, "unknown-gpu", f"`{given.gpu}` is no GPU of the catalogue", Severity.ERROR)])
        said = {catalogue_name(str(t)) for t in wired.host.gpu_name_H.tolist() if t} - {given.gpu, None}
        if said:
            message = f"the files say {', '.join(sorted(map(str, said)))}, `--gpu` says {given.gpu}, which is taken"
            notes.append(_note(wired, "contradiction", message, help="leave out `--gpu` to take what the files say"))
        return (known[given.gpu],), np.zeros(len(hosts), np.int64)
    told = [str(wired.host.gpu_name_H[fact[h]]) if h in fact else "" for h in hosts]
    names = {t: catalogue_name(t) for t in set(told) if t}
    if unknown := sorted(t for t, n in names.items() if n is None):
        message = f"GPU `{unknown[0]}` is not in the catalogue"
        raise InputError([_note(wired, "unknown-gpu", message, Severity.ERROR, "say what to plan for: `--gpu H100`")])
    clique = any(_CLIQUE.match(d) for d in wired.host.domain_H.tolist())
    rack = clique or int(np.bincount(domain_N).max()) > 8
    usual = Counter(n for t in told if t and (n := names[t])).most_common(1)
    fallback = usual[0][0] if usual else "GB300" if rack else "H100"
    if not usual or "" in told:
        silent = told.count("")
        whose = f"{silent:,} hosts" if usual else "any host"
        message = f"the kind of GPU is not said of {whose}: {fallback} is assumed"
        notes.append(_note(wired, "assumed", message, help="say it: `--gpu GB200`"))
    of = [names[t] or fallback if t else fallback for t in told]
    listed = list(dict.fromkeys(of))
    if len(listed) > 1:
        notes.append(_note(wired, "mixed-gpus", f"the cluster has GPUs of several kinds: {', '.join(listed)}", Severity.INFO))
    return tuple(known[n] for n in listed), np.array([listed.index(n) for n in of], np.int64)


def _gpus(wired: Wired, hosts: list[str], fact: dict[str, int], chip: Chip, given: Assume, notes: list[Diagnostic]) -> int:
    told = Counter(int(wired.host.gpus_H[fact[h]]) for h in hosts if h in fact and wired.host.gpus_H[fact[h]] > 0)
    if given.gpus is not None:
        return given.gpus
    if not told:
        gpus = 4 if chip.form == "nvl72" else 8
        notes.append(
            _note(
                wired,
                "assumed",
                f"GPUs of a host are not said: {gpus} are assumed",
                help="correct it in the imported file: `node: {gpus: …}`",
            )
        )
        return gpus
    most, _ = max(told.items(), key=lambda item: (item[1], item[0]))
    return most


def _nics(
    wired: Wired, hosts: list[str], fact: dict[str, int], chip_N: list[Chip], gpus: int, given: Assume, notes: list[Diagnostic]
) -> np.ndarray:
    """Bytes/s of the adapters of one GPU, one direction."""
    if given.nic_Bps is not None:
        return np.full(len(hosts), given.nic_Bps)
    out, guessed = np.zeros(len(hosts)), set()
    for n, host in enumerate(hosts):
        h = fact.get(host, -1)
        Bps, many = (float(wired.host.nic_Bps_H[h]), int(wired.host.nics_H[h])) if h >= 0 else (0.0, -1)
        if Bps > 0:
            out[n] = Bps * (many if many > 0 else gpus) / gpus
        else:
            gbps = NIC_GBPS[chip_N[n].generation]
            guessed.add(gbps)
            out[n] = gbps * 1e9 / 8
    if guessed:
        speeds = ", ".join(f"{g} Gb/s" for g in sorted(guessed))
        message = f"the speed of the adapters is not said: {speeds} a GPU is assumed"
        notes.append(_note(wired, "assumed", message, help="correct it in the imported file: `node: {nic_speed: …}`"))
    return out


def _states(
    wired: Wired, hosts: list[str], fact: dict[str, int], gpus: int, notes: list[Diagnostic]
) -> tuple[Ints, np.ndarray]:
    """Hosts that their source calls unhealthy are out of service, and so are GPUs with too few NVLinks or bad health."""
    place = {h: n for n, h in enumerate(hosts)}
    state_N = np.zeros(len(hosts), np.int64)
    ok_NG = np.ones((len(hosts), gpus), bool)
    for h, n in ((h, place[str(name)]) for h, name in enumerate(wired.host.name_H.tolist())):
        said = str(wired.host.state_H[h]).lower()
        if said not in HEALTHY:
            state_N[n] = State.DRAINED if said in ("cordoned", "drained", "readyschedulingdisabled") else State.FAILED
        many = int(wired.host.gpus_H[h])
        if 0 <= many < gpus:
            ok_NG[n, many:] = False
    bad = bad_gpus(wired)
    for u in np.flatnonzero(bad).tolist():
        slot, name = int(wired.gpu.slot_U[u]), str(wired.host.name_H[int(wired.gpu.host_U[u])])
        if 0 <= slot < gpus:
            ok_NG[place[name], slot] = False
    ok_NG[state_N != State.OK] = False
    out = int((state_N != State.OK).sum()), int(bad.sum())
    if any(out):
        message = f"{out[0]:,} hosts and {out[1]:,} GPUs are out of service by what the files say of their health"
        notes.append(_note(wired, "out-of-service", message, Severity.INFO))
    del fact
    return state_N, ok_NG


def bad_gpus(wired: Wired) -> np.ndarray:
    """GPUs with a health that is not good, or fewer NVLinks than their kind has. Shape (U,)."""
    return np.asarray(few_links(wired) | (wired.gpu.health_U != ""))
