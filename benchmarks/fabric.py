# SPDX-License-Identifier: Apache-2.0
"""Real fabrics: a topology with every kind of exception, a capture of 9,000 cables, and one of 660,096."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import measure
from benchmarks.suite import GIB, Target
from placement.spec.expand import load_wired
from tests.ibnetdiscover import plain

WHOLE = "gb300-220k"
EXCEPTIONS = """
exceptions:
  - {state: failed, nodes: "rack[0001-0400]-tray07", reason: benchmark}
  - {state: drained, nodes: "rack[0401-0600]-tray[01-02]"}
  - {state: absent, nodes: "rack3056-tray[10-18]"}
  - {state: reserved, nodes: "rack[0001-3055]-tray18"}
  - {state: drained, racks: "rack[0700-0703]"}
  - {state: failed, gpus: "rack0800-tray01:[0-1]"}
  - {state: failed, nics: "rack0801-tray[01-09]:3"}
  - {state: degraded, nics: "rack[0802-0900]-tray01:2", fraction: 50 %}
  - {state: degraded, nodes: "rack[0901-0950]-tray04", fraction: 90 %}
  - {state: failed, links: leaf-000-r0 -- spine-00-s07, count: 1}
  - {state: failed, switches: leaf-001-r1}
"""
CAPTURE = """
name: capture
gpu: GB200
node: {gpus: 4, nics: 4, nic: ConnectX-7, nic_name: "mlx5_{rail}"}
nvlink: {latency: 1 us}
racks: [{count: 63, nodes: 18, host: "rack{rack:03}-tray{node:02}"}]
fabric:
  tiers:
    - {name: leaf, racks: 1, latency: 3 us, switch: {model: QM9700, kind: leaf, per_rail: true, uplinks: 18}}
    - {name: spine, latency: 4 us, switch: {ports: 1000, speed: 400 Gb/s, kind: spine, count: 18}}
"""


def targets(root: Path, scratch: Path, say: Callable[[str], None]) -> list[Target]:
    """`topology validate` on each. Captures are written first, and are not part of what is measured."""
    native = scratch / "exceptions.yaml"
    native.write_text((root / "topologies" / f"{WHOLE}.yaml").read_text(encoding="utf-8") + EXCEPTIONS, encoding="utf-8")
    small = scratch / "capture.yaml"
    small.write_text(CAPTURE, encoding="utf-8")
    out = [*_validate("validate gb300-220k with exceptions of every kind", native, 3, None, say)]
    for what, source, rate, seconds, gib in (
        ("validate a capture of 9,072 cables", str(small), "4xNDR", 5.0, None),
        ("validate 660,096 cables as wired", WHOLE, "4xXDR", 60.0, 4.0),
    ):
        text = scratch / "capture.txt"
        text.write_text(plain(load_wired(source), rate), encoding="utf-8")
        out += _validate(what, text, seconds, gib, say)
    return out


def _validate(what: str, path: Path, seconds: float, gib: float | None, say: Callable[[str], None]) -> list[Target]:
    run = measure.placement("topology", "validate", path)
    say(f"{what}: {run.wall_s:.2f} s, {run.cpu_s:.2f} s of processor, {run.peak_bytes / GIB:.2f} GiB, exit {run.code}")
    out = [Target(f"{what}, wall", run.wall_s if run.code == 0 else float("inf"), seconds, "s")]
    return out if gib is None else [*out, Target(f"{what}, peak memory", run.peak_bytes / GIB, gib, "GiB")]
