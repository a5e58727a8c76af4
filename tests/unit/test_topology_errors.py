# SPDX-License-Identifier: Apache-2.0
"""Topology files with mistakes: every message in full, in golden text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from placement.diag import Diagnostic, InputError
from placement.spec import load_cluster
from placement.spec.source import parse
from placement.spec.topology import lower_document

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
RACKS = '  - {count: 2, nodes: 2, name: "r{rack}", host: "n{rack}-{node}", first_rack: 0, first_node: 0}'

# example, what is written, what a careless author writes instead
MISTAKES: list[tuple[str, str, str]] = [
    ("tiny", "nvlink:", "nvlnk:"),
    ("tiny", "latency: 2 us", "latency: 2"),
    ("tiny", "latency: 2 us", "latency: -2 us"),
    ("tiny", "speed: 400 Gb/s, uplinks", "speed: 400, uplinks"),
    ("tiny", "speed: 400 Gb/s, uplinks", "speed: 400 Gbs, uplinks"),
    ("tiny", "gpus: 2", "gpus: -2"),
    ("tiny", "gpus: 2", "gpus: nan"),
    ("tiny", "gpus: 2", "gpus: 99999"),
    ("tiny", "count: 2", "count: 0"),
    ("tiny", "count: 2", "count: 10000000"),
    ("tiny", "count: 2", "count: 99999999999999999999999"),
    ("tiny", "gpu: H100", "gpu: H10"),
    ("tiny", "gpu: H100", "gpu: {name: X, generation: hoper, peak: {bf16: 1}, memory: 80}"),
    ("tiny", "nic: ConnectX-7", "nic: ConectX-7"),
    ("tiny", "nic: ConnectX-7", "nic_name: mlx"),
    ("tiny", "nics: 2", "nics: 3"),
    ("tiny", RACKS, "  []"),
    ("tiny", 'host: "n{rack}-{node}"', 'host: "n{rack}"'),
    ("tiny", 'host: "n{rack}-{node}"', 'host: "n{rack}{node}"'),
    ("tiny", 'host: "n{rack}-{node}"', 'host: "n{rak}-{node}"'),
    ("tiny", 'host: "n{rack}-{node}"', 'host: "n[{rack}]-{node}"'),
    ("tiny", RACKS, f"{RACKS}\n{RACKS}"),
    ("tiny", "nodes: 1, latency", "nodes: 3, latency"),
    ("tiny", "uplinks: 1}", "uplinks: 4}"),
    ("tiny", "uplinks: 1}", "uplinks: 5}"),
    ("tiny", ", uplinks: 1}", "}"),
    ("tiny", "taper: 4:1", "taper: 2:1"),
    ("tiny", "taper: 4:1", "taper: steep"),
    ("tiny", "racks: 1", "racks: 3"),
    ("tiny", "racks: 1", "racks: [1, 2]"),
    ("tiny", "racks: 1", "racks: []"),
    ("tiny", "fabric:", "fabric:\n  rails_connected: false"),
    ("tiny", "fabric:", "fabric:\n  planes: 2"),
    ("tiny", "{ports: 2, speed: 400 Gb/s}", "{ports: 3, speed: 400 Gb/s, uplinks: 1}"),
    ("tiny", "{ports: 2, speed: 400 Gb/s}", "{ports: 2}"),
    ("tiny", "{ports: 2, speed: 400 Gb/s}", "{ports: 2, speed: 400 Gb/s, count: 3, per_rail: true}"),
    ("tiny", "{ports: 2, speed: 400 Gb/s}", "{model: Q3401}"),
    ("tiny", "{ports: 2, speed: 400 Gb/s}", "{model: Q3400, ports: 288}"),
    ("tiny", "name: spine", "name: leaf"),
    ("tiny", "latency: 3 us", "latency: 3 ns"),
    ("tiny", "latency: 3 us", "latency: 3 us\n      racks: 1"),
    ("gb300-220k", "racks: 72", "racks: 70"),
    ("gb300-220k", "racks: 72", "racks: 144"),
    ("gb300-220k", "racks: 72", "racks: 2"),
    ("gb300-220k", "uplinks: 72, partial", "uplinks: 71, partial"),
    ("gb300-220k-multiplane", "rails_connected: false", "rails_connected: true"),
    ("gb300-220k-multiplane", "uplinks: 224", "uplinks: 240"),
    ("mixed-gb200-gb300", "uplink: 51.2 Tb/s", "uplink: 51.2"),
    ("mixed-gb200-gb300", "kind: spine}", "kind: spine, uplinks: 1}"),
]

EXCEPTIONS: list[tuple[str, str]] = [
    ("tiny", "state: failed, nodes: n0-7"),
    ("tiny", "state: failed, nodes: 'm[0-3]-0'"),
    ("tiny", "state: failed, racks: r9"),
    ("tiny", "state: gone, racks: r0"),
    ("tiny", "state: faild, racks: r0"),
    ("tiny", "state: failed"),
    ("tiny", "state: failed, nodes: n0-0, gpus: 'n0-0:0'"),
    ("tiny", "state: degraded, nodes: n0-0"),
    ("tiny", "state: failed, nodes: n0-0, fraction: 0.5"),
    ("tiny", "state: degraded, racks: r0, fraction: 0.5"),
    ("tiny", "state: failed, gpus: 'n0-0:2'"),
    ("tiny", "state: failed, gpus: n0-0"),
    ("tiny", "state: failed, nics: 'n9-0:1'"),
    ("tiny", "state: failed, nics: 'n0-0:mlx5_7'"),
    ("tiny", "state: failed, switches: leaf-2"),
    ("tiny", "state: reserved, switches: leaf-0"),
    ("tiny", "state: failed, links: leaf-0 spine"),
    ("tiny", "state: failed, links: leaf-0 -- spine, count: 2"),
    ("tiny", "state: failed, links: spine -- leaf-0"),
    ("tiny", "state: failed, links: leaf-0 -- leaf-1"),
    ("tiny", "state: failed, nodes: 'n[0-'"),
    ("tiny", "state: failed, nodes: 'n[0-99999999999]-0'"),
    ("tiny", "state: failed, nodes: n0-0, count: 3"),
    ("tiny", "state: drained, racks: 'r[0-1]'"),
    ("h100-4", "state: failed, switches: leaf-0"),
    ("gb300-220k", "state: failed, nodes: rack17-tray3"),
    ("gb300-220k", "state: failed, nodes: rak0017-tray03"),
    ("gb300-220k", "state: failed, nodes: 'rack[0001-3060]-tray01'"),
    ("gb300-220k", "state: failed, switches: leaf-12-r1"),
    ("gb300-220k", "state: failed, links: leaf-012-r1 -- spine-07-s03"),
]


def _show(d: Diagnostic) -> str:
    span = d.primary.span if d.primary else None
    head = f"{d.severity}[{d.name}] {span.line if span else '-'}:{span.column if span else '-'}  {d.message}"
    more = [f"    label: {d.primary.text}"] if d.primary and d.primary.text else []
    more += [f"    note: {n}" for n in d.notes] + ([f"    help: {d.help}"] if d.help else [])
    return "\n".join([head, *more])


def findings(text: str) -> str:
    try:
        return "\n".join(_show(d) for d in lower_document(parse(text, "t.yaml", "topology")).findings) or "no finding"
    except InputError as error:
        return "\n".join(_show(d) for d in error.diagnostics)


def replaced(name: str, old: str, new: str) -> str:
    text = (TOPOLOGIES / f"{name}.yaml").read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
    return text.replace(old, new)


def test_mistakes(golden: Callable[[str, str], None]) -> None:
    """Each mistake in a pattern gives its message, place and help, and nothing else goes wrong beside it."""
    out = [f"## {name}: {new}\n{findings(replaced(name, old, new))}\n" for name, old, new in MISTAKES]
    golden("topology_mistakes.txt", "\n".join(out))


def test_exceptions(golden: Callable[[str, str], None]) -> None:
    """Each mistake in an exception is told at that exception, with a suggestion where a name is nearly right."""
    out = []
    for name, exception in EXCEPTIONS:
        text = (TOPOLOGIES / f"{name}.yaml").read_text() + f"exceptions:\n  - {{{exception}}}\n"
        out.append(f"## {name}: {exception}\n{findings(text)}\n")
    golden("topology_exceptions.txt", "\n".join(out))


def test_all_errors_at_once() -> None:
    """Errors of every part of a file come together, sorted by line."""
    text = replaced("tiny", "gpu: H100", "gpu: H10").replace("name: spine", "name: leaf").replace("nic: ConnectX-7", "nic: CX7")
    with pytest.raises(InputError) as caught:
        lower_document(parse(text, "t.yaml", "topology"))
    assert [d.name for d in caught.value.diagnostics] == ["topology/unknown-gpu", "topology/unknown-nic", "topology/tier-twice"]


def test_no_such_example() -> None:
    """A name that is neither a file nor an example is one finding."""
    with pytest.raises(InputError, match="there is no such file"):
        load_cluster("no-such-cluster")
