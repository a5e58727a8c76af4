# SPDX-License-Identifier: Apache-2.0
# N node   X rack   J group of a tier   G gpu slot
"""From a topology file to arrays: pattern first, then exceptions. Never one Python object a GPU, node or cable."""

from __future__ import annotations

import numpy as np

from placement.diag import Diagnostic
from placement.fabric.checks import Finding, check_pattern
from placement.fabric.counts import design
from placement.fabric.pattern import build
from placement.ir import Chip, Cluster
from placement.ir._array import Floats, Ints
from placement.spec.catalog import GpuSpec, chips, nics, to_chip
from placement.spec.layout import layout_of
from placement.spec.reader import Reader, either
from placement.spec.source import Document, KeyPath
from placement.spec.tiers import check_uplinks, link_Bps, tier_specs, tiers_of
from placement.spec.topology import MAX_NODES, Topology
from placement.spec.validate import did_you_mean


def lower(spec: Topology, doc: Document) -> Cluster:
    """The cluster of a checked topology. Raises InputError with every finding; warnings go to `Cluster.findings`."""
    from placement.spec.exceptions import apply

    reader = Reader(spec, doc)
    check_sizes(reader)
    reader.found.raise_if_errors()
    chip_list, chip_X = _chips(reader)
    speed_X = nic_speeds(reader)
    layout = layout_of(reader)
    specs, tapers = tier_specs(reader)
    reader.found.raise_if_errors()
    nics_X = layout.nodes_X * reader.nics
    fabric = spec.fabric
    pattern = build(specs, nics_X, rails=reader.nics, planes=fabric.planes, rails_connected=fabric.rails_connected)
    check_uplinks(reader, pattern)
    _network(reader, len(layout.domain_name_J))
    for item in check_pattern(pattern, float(speed_X.max()), tapers):
        reader.report_key(item)
    reader.found.raise_if_errors()
    health = apply(reader, layout, pattern, link_Bps(pattern, speed_X)[layout.rack_N])
    reader.found.raise_if_errors()
    return Cluster(
        name=spec.name,
        chips=chip_list,
        gpus_per_node=spec.node.gpus,
        tiers=tiers_of(spec, layout, pattern, health.domain_uplink_J, health.live_T),
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


def check_sizes(reader: Reader) -> None:
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


def nic_speeds(reader: Reader) -> Floats:
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
        help = either(did_you_mean(nic, known), "add `nic_speed`")
        reader.report((*path, "nic"), "unknown-nic", f"`{nic}` is no adapter of the catalogue", help=help)
    return speed_Bps or (known[nic].speed if nic in known else None)


def _network(reader: Reader, num_domains: int) -> None:
    """Several NVLink domains need something between them: without tiers their traffic would cost nothing."""
    if num_domains > 1 and not reader.spec.fabric.tiers:
        message = f"{num_domains:,} NVLink domains, and no network between them"
        help = "add a tier: `fabric: {tiers: [{name: network, latency: 4 us}]}`"
        reader.report_key(Finding(("fabric", "tiers"), "no-network", message, help=help))


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
