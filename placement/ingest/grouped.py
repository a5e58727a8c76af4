# SPDX-License-Identifier: Apache-2.0
# N node   J group of a tier   X rack   G gpu slot
"""A cluster as a topology file of our own, by its groups: what import writes of trees, labels and clouds, and people edit.

Racks are the NVLink domains, or the innermost groups where every host is alone. Names are listed, because foreign ones follow
no pattern; everything out of service is an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from placement.diag import Diagnostic
from placement.hostlist import HostlistError, expand, fold
from placement.ingest.hierarchy import Assume, cluster_of_groups
from placement.ir import Chip, Cluster, State, Wired
from placement.ir._array import Floats, Ints, Strings
from placement.spec.catalog import chips

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")
_SAFE = re.compile(r"[^A-Za-z0-9_.\-]")


def grouped_text(wired: Wired, assume: Assume | None = None) -> tuple[str, list[Diagnostic]]:
    """(the topology, what was assumed). Raises InputError where there are no hosts."""
    cluster = cluster_of_groups(wired, assume)
    files = ", ".join(re.split(r"[\\/]", f)[-1] for f in wired.files)
    head = ["yaml-language-server: $schema=../schemas/topology.json", f"Read from {files} ({wired.format})."]
    head += [f"Assumed: {d.message}." for d in cluster.findings if d.name == "ingest/assumed"]
    return topology_text(cluster, head), list(cluster.findings)


def topology_text(cluster: Cluster, head: Sequence[str] = ()) -> str:
    """The topology file of a cluster. `head`: lines of comment. Reading it gives the same nodes, tiers and states."""
    order_N = _order(cluster)
    alone = cluster.tiers[0].num_groups == cluster.num_nodes
    rack_N = _racks(cluster, order_N, alone)
    names = _unique([_clean(n) for n in cluster.host_N[order_N].tolist()])
    main = int(np.bincount(cluster.chip_N).argmax())
    lines = [f"# {_comment(line)}".rstrip() for line in head]
    lines += [f"name: {_scalar(_clean(cluster.name))}", f"gpu: {_chip(cluster.chips[main])}", f"node: {_node(cluster)}"]
    lines += [f"nvlink: {{{'nodes: 1, ' if alone else ''}latency: {_time(cluster.tiers[0].latency_s)}}}", "racks:"]
    lines += _runs(cluster, order_N, rack_N, names, alone)
    lines += _fabric(cluster, order_N, rack_N)
    lines += _exceptions(cluster, order_N, names)
    return "\n".join(lines) + "\n"


def _comment(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line)


def _clean(name: str) -> str:
    """A name that a host list can hold."""
    return _SAFE.sub("_", str(name)) or "unnamed"


def _scalar(text: str) -> str:
    return text if _PLAIN.match(text) else f'"{text}"'


def _unique(names: list[str]) -> list[str]:
    """Names that cleaning made equal get a number."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}.{seen[name]}")
    return out


def _order(cluster: Cluster) -> Ints:
    """Nodes so that groups of every tier are adjacent, in order of the first node of each."""
    keys: list[Ints] = [np.arange(cluster.num_nodes)]
    for tier in cluster.tiers:
        first_J = np.full(tier.num_groups, cluster.num_nodes)
        np.minimum.at(first_J, tier.group_N, np.arange(cluster.num_nodes))
        keys.append(first_J[tier.group_N])
    return np.asarray(np.lexsort(keys))


def _racks(cluster: Cluster, order_N: Ints, alone: bool) -> Ints:
    """Rack of each ordered node, 0, 1, ..."""
    level = 1 if alone and len(cluster.tiers) > 2 else 0
    if alone and level == 0:
        return np.zeros(len(order_N), np.int64)
    group_N = cluster.tiers[level].group_N[order_N]
    return np.asarray(np.r_[0, np.cumsum(group_N[1:] != group_N[:-1])], np.int64)


def _chip(chip: Chip) -> str:
    if chips().get(chip.name) == chip:
        return chip.name
    peaks = ", ".join(f"{p}: {f / 1e12:.12g} TFLOP/s" for p, f in chip.peak_flops.items())
    return (
        f"{{name: {_clean(chip.name)}, generation: {chip.generation}, form: {chip.form}, peak: {{{peaks}}}, "
        f"memory: {chip.hbm_bytes:.0f} B, memory_bandwidth: {chip.hbm_Bps / 1e9:.12g} GB/s, "
        f"nvlink: {chip.nvlink_Bps / 1e9:.12g} GB/s, nvls: {str(chip.nvls).lower()}}}"
    )


def _node(cluster: Cluster) -> str:
    nics = _rails(cluster)
    rate = _speed(_usual(cluster.nic_Bps_N) * cluster.gpus_per_node / nics)
    name = re.sub(r"[^A-Za-z0-9_.{}\-]", "_", cluster.nic_name)
    return f'{{gpus: {cluster.gpus_per_node}, nics: {nics}, nic_speed: {rate}, nic_name: "{name}"}}'


def _rails(cluster: Cluster) -> int:
    return int(cluster.rail_G.max(initial=0)) + 1


def _usual(values: Floats) -> float:
    """The healthy value: the most common one above zero, the larger of two."""
    unique, count = np.unique(values[values > 0], return_counts=True)
    return float(unique[len(unique) - 1 - count[::-1].argmax()]) if len(unique) else 50e9


def _speed(Bps: float) -> str:
    return f"{Bps * 8e-9:.12g} Gb/s"


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.12g} us"


def _runs(cluster: Cluster, order_N: Ints, rack_N: Ints, names: list[str], alone: bool) -> Iterator[str]:
    """Runs of racks with equal numbers of nodes and equal chips."""
    size_X = np.bincount(rack_N)
    start_X = np.r_[0, np.cumsum(size_X)]
    chip_X = cluster.chip_N[order_N][start_X[:-1]]
    rack_names = _rack_names(cluster, order_N, start_X, alone)
    main = int(np.bincount(cluster.chip_N).argmax())
    key = list(zip(size_X.tolist(), chip_X.tolist(), strict=True))
    for (size, chip), members in groupby(range(len(size_X)), key=lambda x: key[x]):
        racks = list(members)
        hosts = names[int(start_X[racks[0]]) : int(start_X[racks[-1] + 1])]
        yield f"  - count: {len(racks)}"
        yield f"    nodes: {size}"
        if chip != main:
            yield f"    gpu: {_chip(cluster.chips[chip])}"
        yield f'    names: "{ordered([rack_names[x] for x in racks])}"'
        yield f'    hosts: "{ordered(hosts)}"'


def _rack_names(cluster: Cluster, order_N: Ints, start_X: Ints, alone: bool) -> list[str]:
    if not alone:
        return _unique([_clean(n) for n in cluster.domain_name_J[cluster.tiers[0].group_N[order_N[start_X[:-1]]]].tolist()])
    count = len(start_X) - 1
    word = cluster.tiers[1].name if len(cluster.tiers) > 2 else "hosts"
    word = word if _PLAIN.match(word) else "group"
    return [f"{word}{x + 1:0{len(str(count))}}" for x in range(count)]


def ordered(names: Sequence[str]) -> str:
    """A host list that expands to these names in this order.

    >>> ordered(["b2", "b3", "b4", "a1"])
    'b[2-4],a1'
    """
    short = fold(names)
    try:
        if len(set(names)) == len(names) and expand(short).tolist() == list(names):
            return short
    except HostlistError:
        pass
    return ",".join(_ranges(names))


def _ranges(names: Sequence[str]) -> Iterator[str]:
    """Neighbours that count up by one in their last number, as one range."""
    parts = [re.match(r"(.*?)(\d{1,15})(\D*)\Z", n) for n in names]
    start = 0
    for at in range(1, len(names) + 1):
        a, b = parts[at - 1], parts[at] if at < len(names) else None
        if a and b and (a[1], a[3]) == (b[1], b[3]) and int(b[2]) == int(a[2]) + 1 and _one_list(a[2], b[2]):
            continue
        first = parts[start]
        plain = at - start == 1 or first is None or a is None
        yield names[start] if plain or first is None or a is None else f"{first[1]}[{first[2]}-{a[2]}]{first[3]}"
        start = at


def _one_list(a: str, b: str) -> bool:
    """`09`, `10` are of one list; `9`, `10` too, because numbers without zeros grow by themselves."""
    return len(a) == len(b) or not a.startswith("0")


def _fabric(cluster: Cluster, order_N: Ints, rack_N: Ints) -> Iterator[str]:
    yield "fabric:"
    yield f"  planes: {cluster.num_planes}"
    yield f"  rails_connected: {str(cluster.rails_connected).lower()}"
    if len(cluster.tiers) > 1:
        yield "  tiers:"
    first_X = order_N[np.r_[0, np.flatnonzero(np.diff(rack_N)) + 1]]
    for tier in cluster.tiers[1:]:
        group_X = tier.group_N[first_X]
        _, start, size = np.unique(group_X, return_index=True, return_counts=True)
        sizes = size[np.argsort(start)].tolist()
        yield f"    - name: {_scalar(_clean(tier.name))}"
        if len(sizes) > 1:
            equal = all(s == sizes[0] for s in sizes)
            yield f"      racks: {sizes[0]}" if equal else f"      racks: [{', '.join(map(str, sizes))}]"
        yield f"      latency: {_time(tier.latency_s)}"
        uplink_J = tier.uplink_Bps_J[group_X[np.sort(start)]]
        if np.isfinite(uplink_J).all():
            texts = [_speed(float(b)) for b in uplink_J]
            yield f"      uplink: {texts[0]}" if len(set(texts)) == 1 else f"      uplink: [{', '.join(texts)}]"


def _exceptions(cluster: Cluster, order_N: Ints, names: list[str]) -> Iterator[str]:
    """What is out of service: nodes by state, GPUs of good nodes, slow adapters."""
    host_N = np.array(names)
    state_N = cluster.state_N[order_N]
    words = {State.FAILED: "failed", State.DRAINED: "drained", State.ABSENT: "absent", State.RESERVED: "reserved"}
    out = [f'  - {{state: {word}, nodes: "{fold(host_N[state_N == s])}"}}' for s, word in words.items() if (state_N == s).any()]
    out += _bad_gpus(cluster, order_N, host_N)
    out += _slow(cluster, order_N, host_N)
    if out:
        yield "exceptions:"
        yield from out


def _bad_gpus(cluster: Cluster, order_N: Ints, host_N: Strings) -> Iterator[str]:
    live_N = np.isin(cluster.state_N[order_N], (State.OK, State.RESERVED))
    bad_NG = ~cluster.gpu_ok_NG[order_N] & live_N[:, None]
    for row in np.unique(bad_NG[bad_NG.any(axis=1)], axis=0):
        slots = ",".join(str(g) for g in np.flatnonzero(row))
        for host in _split(fold(host_N[(bad_NG == row).all(axis=1)])):
            yield f'  - {{state: failed, gpus: "{host}:[{slots}]"}}'


def _slow(cluster: Cluster, order_N: Ints, host_N: Strings) -> Iterator[str]:
    """Adapters below the usual speed, and nodes that compute below full speed."""
    share_N = np.round(cluster.nic_Bps_N[order_N] / _usual(cluster.nic_Bps_N), 6)
    live_N = cluster.state_N[order_N] == State.OK
    rails = _rails(cluster)
    slots = f"[0-{rails - 1}]" if rails > 1 else "0"
    for value in np.unique(share_N[live_N & (share_N < 1) & (share_N > 0)]).tolist():
        for host in _split(fold(host_N[live_N & (share_N == value)])):
            yield f'  - {{state: degraded, nics: "{host}:{slots}", fraction: {value:g}}}'
    for host in _split(fold(host_N[live_N & (share_N == 0)])):
        yield f'  - {{state: failed, nics: "{host}:{slots}"}}'
    speed_N = np.round(cluster.speed_N[order_N], 6)
    for value in np.unique(speed_N[live_N & (speed_N < 1)]).tolist():
        yield f'  - {{state: degraded, nodes: "{fold(host_N[live_N & (speed_N == value)])}", fraction: {value:g}}}'


def _split(folded: str) -> list[str]:
    """Items of a host list: the commas outside of brackets."""
    depth, start, out = 0, 0, []
    for at, char in enumerate(folded):
        depth += (char == "[") - (char == "]")
        if char == "," and depth == 0:
            out.append(folded[start:at])
            start = at + 1
    return [*out, folded[start:]] if folded else []
