# SPDX-License-Identifier: Apache-2.0
# N node   X rack   J NVLink domain
"""Where everything stands in a cluster, and its names: from patterns or lists, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from placement.hostlist import HostlistError, expand
from placement.ir._array import Ints, Strings
from placement.spec.names import PatternError, Template, padded, template
from placement.spec.reader import Reader
from placement.spec.source import KeyPath
from placement.spec.topology import Racks


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


def layout_of(reader: Reader) -> Layout:
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
