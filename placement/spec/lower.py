# SPDX-License-Identifier: Apache-2.0
# N node   X rack   J group of a tier   G gpu slot
"""From a topology file to arrays: pattern first, then exceptions. Never one Python object a GPU, node or cable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from placement.diag import Collector, Diagnostic, Label, Severity
from placement.fabric.capacity import nominal_uplink
from placement.fabric.checks import Finding, check_pattern
from placement.fabric.counts import design
from placement.fabric.pattern import Pattern, TierSpec, build
from placement.hostlist import HostlistError, expand
from placement.ir import Chip, Cluster, Tier
from placement.ir._array import Floats, Ints, Strings
from placement.spec.catalog import GpuSpec, chips, nics, switches, to_chip
from placement.spec.lookup import Lookup
from placement.spec.names import PatternError, Template, padded, template
from placement.spec.source import Document, KeyPath
from placement.spec.topology import MAX_NODES, Racks, TierSchema, Topology
from placement.spec.validate import did_you_mean, finding


@dataclass(frozen=True)
class Layout:
    """Where everything stands: nodes and racks in fabric order, and their names."""

    rack_N: Ints
    run_X: Ints  # run of racks that a rack belongs to
    nodes_X: Ints
    domain_N: Ints
    host_N: Strings
    rack_name_X: Strings
    domain_name_J: Strings


class Reader:
    """A topology and its document, with the diagnostics found so far."""

    def __init__(self, spec: Topology, doc: Document) -> None:
        self.spec, self.doc, self.found = spec, doc, Collector()
        self.lookup = Lookup(budget=8 * sum(r.count * r.nodes for r in spec.racks) * spec.node.gpus + 100_000)

    def report(self, path: KeyPath, name: str, message: str, *, severity: Severity = Severity.ERROR, **more: Any) -> None:
        self.found.add(finding(self.doc, path, name, message, severity=severity, **more))

    def report_key(self, item: Finding) -> None:
        """A finding of fabric/ at its key, or at the nearest key that is there."""
        given = item.path in self.doc.spans
        span = self.doc.span(item.path) if given else self.doc.key_span(self.nearest(item.path))
        name = f"{self.doc.room}/{item.name}"
        label = Label(span, item.label)
        self.found.add(Diagnostic(name, item.message, item.severity, label, notes=item.notes, help=item.help))

    def nearest(self, path: KeyPath) -> KeyPath:
        while path and path not in self.doc.spans:
            path = path[:-1]
        return path

    @property
    def nics(self) -> int:
        return self.spec.node.nics or self.spec.node.gpus


def lower(spec: Topology, doc: Document) -> Cluster:
    """The cluster of a checked topology. Raises InputError with every finding; warnings go to `Cluster.findings`."""
    from placement.spec.exceptions import apply

    reader = Reader(spec, doc)
    _sizes(reader)
    reader.found.raise_if_errors()
    chip_list, chip_X = _chips(reader)
    speed_X = _nic_speeds(reader)
    layout = _layout(reader)
    specs, tapers = _tier_specs(reader)
    reader.found.raise_if_errors()
    nics_X = layout.nodes_X * reader.nics
    fabric = spec.fabric
    pattern = build(specs, nics_X, rails=reader.nics, planes=fabric.planes, rails_connected=fabric.rails_connected)
    _uplink_counts(reader, pattern)
    _network(reader, len(layout.domain_name_J))
    for item in check_pattern(pattern, float(speed_X.max()), tapers):
        reader.report_key(item)
    reader.found.raise_if_errors()
    health = apply(reader, layout, pattern, _link_Bps(pattern, speed_X)[layout.rack_N])
    reader.found.raise_if_errors()
    return Cluster(
        name=spec.name,
        chips=chip_list,
        gpus_per_node=spec.node.gpus,
        tiers=_tiers(spec, layout, pattern, health.domain_uplink_J, health.live_T),
        chip_N=chip_X[layout.rack_N],
        state_N=health.state_N,
        gpu_ok_NG=health.gpu_ok_NG,
        nic_Bps_N=health.nic_Bps_N,
        speed_N=health.speed_N,
        host_N=layout.host_N,
        domain_name_J=layout.domain_name_J,
        rail_G=np.arange(spec.node.gpus) * reader.nics // spec.node.gpus,
        num_planes=fabric.planes,
        rails_connected=fabric.rails_connected,
        design=design(pattern),
        nic_name=spec.node.nic_name,
        nvlink_J=health.nvlink_J,
        source=_source(reader),
        findings=tuple(sorted(reader.found.found, key=_position)),
    )


def _position(diagnostic: Diagnostic) -> tuple[int, int]:
    span = diagnostic.primary.span if diagnostic.primary else None
    return (span.line, span.column) if span else (0, 0)


def _sizes(reader: Reader) -> None:
    """Counts that later arrays depend on."""
    spec = reader.spec
    total = sum(r.count * r.nodes for r in spec.racks)
    if total > MAX_NODES:
        message = f"the racks hold {total:,} nodes, more than {MAX_NODES:,}"
        reader.report(("racks",), "absurd-number", message, help="check `count` and `nodes`")
    if spec.node.gpus > 1024:
        reader.report(("node", "gpus"), "absurd-number", f"a node of {spec.node.gpus:,} GPUs is impossibly large")
    elif reader.nics and spec.node.gpus % reader.nics:
        message = f"{spec.node.gpus} GPUs of a node cannot share {reader.nics} adapters evenly"
        help = "adapters must divide the GPUs; several ports of one GPU are `planes`"
        reader.report(("node", "nics"), "nics-uneven", message, help=help)
    for index, run in enumerate(spec.racks):
        size = spec.nvlink.nodes or run.nodes
        if run.nodes % size:
            message = f"NVLink domains of {size} nodes do not divide the {run.nodes} nodes of a rack"
            reader.report(
                ("racks", index, "nodes"), "domain-uneven", message, help="give a `nodes` under `nvlink` that divides them"
            )
    total_racks = sum(r.count for r in spec.racks)
    for index, tier in enumerate(spec.fabric.tiers):
        if tier.racks and len(tier.racks) > 1 and sum(tier.racks) != total_racks:
            message = f"the groups of tier `{tier.name}` hold {sum(tier.racks):,} racks, the cluster has {total_racks:,}"
            reader.report(("fabric", "tiers", index, "racks"), "group-sizes", message)


def _chips(reader: Reader) -> tuple[tuple[Chip, ...], Ints]:
    """GPU types in order of appearance, and the type of each rack."""
    spec = reader.spec
    default = _chip(reader, spec.gpu, ("gpu",))
    of_run = [_chip(reader, r.gpu, ("racks", i, "gpu")) if r.gpu is not None else default for i, r in enumerate(spec.racks)]
    known: list[Chip] = []
    for chip in of_run:
        if chip is not None and chip not in known:
            known.append(chip)
    index = [known.index(c) if c is not None else 0 for c in of_run]
    return tuple(known), np.repeat(np.array(index, dtype=np.int64), [r.count for r in spec.racks])


def _chip(reader: Reader, gpu: str | GpuSpec, path: KeyPath) -> Chip | None:
    if isinstance(gpu, GpuSpec):
        return to_chip(gpu.name or "custom", gpu)
    known = chips()
    if gpu not in known:
        reader.report(path, "unknown-gpu", f"`{gpu}` is no GPU of the catalogue", help=did_you_mean(gpu, known))
    return known.get(gpu)


def _nic_speeds(reader: Reader) -> Floats:
    """Line rate of one adapter in each rack, bytes/s, one direction."""
    spec = reader.spec
    default = _nic_speed(reader, spec.node.nic, spec.node.nic_speed, ("node",))
    rates = []
    for index, run in enumerate(spec.racks):
        own = run.nic is not None or run.nic_speed is not None
        rates.append(_nic_speed(reader, run.nic, run.nic_speed, ("racks", index)) if own else default)
    if any(r is None for r in rates) and not reader.found.errors:
        help = "add `nic_speed: 800 Gb/s`, or `nic:` with an adapter of the catalogue"
        reader.report(("node",), "nic-speed", "the speed of the network adapters is not given", help=help)
    return np.repeat(np.array([r or 0.0 for r in rates]), [r.count for r in spec.racks])


def _nic_speed(reader: Reader, nic: str | None, speed_Bps: float | None, path: KeyPath) -> float | None:
    known = nics()
    if nic is not None and nic not in known and speed_Bps is None:
        help = _or(did_you_mean(nic, known), "add `nic_speed`")
        reader.report((*path, "nic"), "unknown-nic", f"`{nic}` is no adapter of the catalogue", help=help)
    return speed_Bps or (known[nic].speed if nic in known else None)


def _or(first: str, second: str) -> str:
    return f"{first} or {second}" if first else second


def _layout(reader: Reader) -> Layout:
    """Names and positions of racks, nodes and domains. Node numbers start anew in every rack."""
    spec = reader.spec
    hosts, rack_names, domain_names, numbers = [], [], [], []
    next_rack = 1
    for index, run in enumerate(spec.racks):
        first = next_rack if run.first_rack is None else run.first_rack
        next_rack = first + run.count
        rack, node = np.arange(first, first + run.count), np.arange(run.first_node, run.first_node + run.nodes)
        name_X, host_XN = _run_names(reader, index, rack, node)
        hosts.append(host_XN.ravel())
        rack_names.append(name_X)
        domain_names.append(_domain_names(host_XN, rack_names[-1], spec.nvlink.nodes or run.nodes))
        numbers.append(rack)
    host_N = np.concatenate(hosts)
    if len(spec.racks) > 1 or spec.racks[0].hosts or spec.racks[0].names:
        _no_twins(reader, host_N, ("racks",), "hosts")
        _no_twins(reader, np.concatenate(rack_names), ("racks",), "racks")
    count_X = np.concatenate([np.full(r.count, r.nodes) for r in spec.racks])
    size_X = np.concatenate([np.full(r.count, spec.nvlink.nodes or r.nodes) for r in spec.racks])
    return Layout(
        rack_N=np.repeat(np.arange(len(count_X)), count_X),
        run_X=np.repeat(np.arange(len(spec.racks)), [r.count for r in spec.racks]),
        nodes_X=count_X,
        domain_N=_domains(count_X, size_X),
        host_N=host_N,
        rack_name_X=np.concatenate(rack_names),
        domain_name_J=np.concatenate(domain_names),
    )


def _run_names(reader: Reader, index: int, rack: Ints, node: Ints) -> tuple[Strings, Strings]:
    """Names of the racks of a run (X,) and of their hosts (X, N): listed, or from the pattern."""
    run = reader.spec.racks[index]
    name_X = _listed(reader, ("racks", index, "names"), run.names, run.count)
    if name_X is None:
        pattern = _template(reader, ("racks", index, "name"), run.name, ("rack",), _needed(run)[:1] if run.count > 1 else ())
        name_X = pattern.render({"rack": rack})
    host_N = _listed(reader, ("racks", index, "hosts"), run.hosts, run.count * run.nodes)
    if host_N is not None:
        return name_X, host_N.reshape(run.count, run.nodes)
    host = _template(reader, ("racks", index, "host"), run.host, ("rack", "node"), _needed(run))
    return name_X, host.render({"rack": rack[:, None], "node": node[None, :]})


def _listed(reader: Reader, path: KeyPath, text: str | None, count: int) -> Strings | None:
    """`count` names of a host list, in its order; None if there is none, or it does not fit, which is reported."""
    if text is None:
        return None
    try:
        names = expand(text, count)
    except HostlistError as error:
        reader.report(path, "host-list", error.message, help=error.help)
        return None
    if len(names) != count:
        message = f"the list names {len(names):,} objects, {count:,} belong here"
        reader.report(path, "name-count", message, help="check `count` and `nodes`")
        return None
    return names


def _needed(run: Racks) -> tuple[str, ...]:
    return (("rack",) if run.count > 1 else ()) + (("node",) if run.nodes > 1 else ())


def _template(reader: Reader, path: KeyPath, text: str, allowed: tuple[str, ...], needed: tuple[str, ...]) -> Template:
    try:
        return template(text, allowed, needed)
    except PatternError as error:
        reader.report(path, "name-pattern", error.message, help=error.help)
        return template("x{rack}-{node}" if "node" in allowed else "x{rack}", allowed)


def _no_twins(reader: Reader, names: Strings, path: KeyPath, what: str) -> None:
    unique, count = np.unique(names, return_counts=True)
    twins = unique[count > 1]
    if len(twins):
        message = f"{len(twins):,} {what} share a name with another, `{twins[0]}` among them"
        help = "give the runs of racks different names, or a `first_rack`"
        reader.report(path, "name-twice", message, help=help)


def _domain_names(host_XN: Strings, rack_name_X: Strings, size: int) -> Strings:
    num_nodes = host_XN.shape[1]
    if size == num_nodes:
        return rack_name_X
    if size == 1:
        return host_XN.ravel()
    part = padded(np.arange(num_nodes // size), 0)
    return np.strings.add(np.strings.add(rack_name_X[:, None], "-d"), part[None, :]).ravel()


def _domains(count_X: Ints, size_X: Ints) -> Ints:
    """NVLink domain of each node: consecutive nodes of a rack."""
    per_rack_X = count_X // size_X
    first_X = np.r_[0, np.cumsum(per_rack_X)[:-1]]
    start_X = np.r_[0, np.cumsum(count_X)[:-1]]
    rack_N = np.repeat(np.arange(len(count_X)), count_X)
    slot_N = np.arange(len(rack_N)) - start_X[rack_N]
    return np.asarray(first_X[rack_N] + slot_N // size_X[rack_N], dtype=np.int64)


def _network(reader: Reader, num_domains: int) -> None:
    """Several NVLink domains need something between them: without tiers their traffic would cost nothing."""
    if num_domains > 1 and not reader.spec.fabric.tiers:
        message = f"{num_domains:,} NVLink domains, and no network between them"
        help = "add a tier: `fabric: {tiers: [{name: network, latency: 4 us}]}`"
        reader.report_key(Finding(("fabric", "tiers"), "no-network", message, help=help))


def _tier_specs(reader: Reader) -> tuple[list[TierSpec], dict[int, Fraction]]:
    specs: list[TierSpec] = []
    tapers: dict[int, Fraction] = {}
    seen = {"nvlink"}
    for index, tier in enumerate(reader.spec.fabric.tiers):
        path: KeyPath = ("fabric", "tiers", index)
        if tier.name in seen:
            reader.report(
                (*path, "name"), "tier-twice", f"two tiers are called `{tier.name}`", help="every tier has its own name"
            )
        seen.add(tier.name)
        specs.append(_tier_spec(reader, tier, path))
        if tier.taper is not None:
            tapers |= _stated_taper(reader, index, tier.taper)
    return specs, tapers


def _stated_taper(reader: Reader, index: int, text: str) -> dict[int, Fraction]:
    match = re.fullmatch(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(?::\s*1)?\s*", text)
    if match and float(match[1]) > 0:
        return {index: Fraction(match[1])}
    reader.report(
        ("fabric", "tiers", index, "taper"), "bad-taper", f"`{text[:40]}` is no taper", help="write `8:1`, down to up"
    )
    return {}


def _tier_spec(reader: Reader, tier: TierSchema, path: KeyPath) -> TierSpec:
    switch = tier.switch
    if switch is None:
        return TierSpec(tier.name, tier.name, tier.racks or (), tier.latency, uplink_Bps=_uplink(tier))
    known = switches()
    model = known.get(switch.model or "")
    if switch.model and model is None and not (switch.ports and switch.speed):
        help = _or(did_you_mean(switch.model, known), "add `ports` and `speed`")
        reader.report(
            (*path, "switch", "model"), "unknown-switch", f"`{switch.model}` is no switch of the catalogue", help=help
        )
    ports = switch.ports or (model.ports if model else None)
    port_Bps = switch.speed or (model.speed if model else None)
    if not switch.model and not (ports and port_Bps):
        help = "add `model:`, or `ports:` and `speed:`"
        reader.report(
            (*path, "switch"), "switch-incomplete", f"the switches of tier `{tier.name}` have no ports or no speed", help=help
        )
    if model and ports and port_Bps and ports * port_Bps > model.ports * model.speed * (1 + 1e-9):
        message = f"{ports} ports of {port_Bps * 8e-9:g} Gb/s are more than a {switch.model} has"
        note = f"{model.ports} x {model.speed * 8e-9:g} Gb/s"
        reader.report(
            (*path, "switch"), "switch-too-small", message, notes=(note,), help="splitting a port keeps ports x speed"
        )
    return TierSpec(
        tier.name, switch.kind or tier.name, tier.racks or (), tier.latency, ports or 1, port_Bps, switch.per_rail,
        switch.count, switch.uplinks, switch.partial == "scaled", _uplink(tier),
    )  # fmt: skip


def _uplink(tier: TierSchema) -> float | tuple[float, ...] | None:
    return tier.uplink[0] if tier.uplink is not None and len(tier.uplink) == 1 else tier.uplink


def _uplink_counts(reader: Reader, pattern: Pattern) -> None:
    for index, tier in enumerate(pattern.tiers):
        given = tier.spec.uplink_Bps
        if isinstance(given, tuple) and len(given) != tier.num_groups:
            message = f"tier `{tier.spec.name}` has {len(given):,} uplinks and {tier.num_groups:,} groups"
            reader.report(
                ("fabric", "tiers", index, "uplink"), "uplink-count", message, help="give one for each group, or one for all"
            )


def _link_Bps(pattern: Pattern, speed_X: Floats) -> Floats:
    """Speed of the adapters as far as the leaf ports allow."""
    leaf = pattern.tiers[0].spec if pattern.tiers else None
    if leaf is None or leaf.port_Bps is None:
        return speed_X
    return np.minimum(speed_X, leaf.port_Bps * pattern.planes)


def _tiers(
    spec: Topology, layout: Layout, pattern: Pattern, domain_uplink_J: Floats, live_T: list[Floats | None]
) -> tuple[Tier, ...]:
    last = len(pattern.tiers) - 1
    first_Bps = domain_uplink_J if last >= 0 else np.full(len(domain_uplink_J), np.inf)
    out = [Tier("nvlink", spec.nvlink.latency, layout.domain_N, first_Bps)]
    for index, tier in enumerate(pattern.tiers):
        uplink_J, live_J = nominal_uplink(tier, outermost=index == last), live_T[index]
        uplink_J = uplink_J if live_J is None or index == last else uplink_J * live_J
        out.append(Tier(tier.spec.name, tier.spec.latency_s, tier.group_X[layout.rack_N], uplink_J))
    return tuple(out)


def _source(reader: Reader) -> dict[str, tuple[str, int, int]]:
    """Places of the keys that a plan's explanations point at."""
    spec, where = reader.spec, reader.doc.where
    out = {
        key: where((key,)) for key in ("gpu", "node", "nvlink", "racks", "fabric", "exceptions") if (key,) in reader.doc.spans
    }
    out["tiers.nvlink"] = where(("nvlink",))
    out |= {f"racks.{i}": where(("racks", i)) for i in range(len(spec.racks))}
    out |= {f"tiers.{t.name}": where(("fabric", "tiers", i)) for i, t in enumerate(spec.fabric.tiers)}
    return out | {f"exceptions.{i}": where(("exceptions", i)) for i in range(len(spec.exceptions))}
