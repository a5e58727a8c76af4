# SPDX-License-Identifier: Apache-2.0
"""Captures of other sizes, names and port orders: healthy ones have no findings, a fault is found with its names and ports."""

import random
import zlib

import pytest

from placement.diag import Severity
from placement.fabric.wiring import analyse
from placement.ingest import read
from tests.property.fabric_shapes import CLASSES, HOSTS, LEAFS, Shape, build

SHAPES = [
    Shape(2, 8, 8, 4), Shape(4, 16, 8, 8), Shape(8, 18, 4, 9), Shape(4, 32, 8, 16), Shape(12, 2, 8, 8, per_rail=False),
    Shape(4, 4, 8, 4, per_rail=False), Shape(6, 16, 1, 8), Shape(1, 16, 8, 8), Shape(10, 16, 2, 8),
]  # fmt: skip
NAMES = [(h, x) for h in HOSTS for x in LEAFS]


def seeded(*words):
    return random.Random(zlib.crc32(repr(words).encode()))


def findings(fabric, rng, tmp_path):
    path = tmp_path / "capture.txt"
    path.write_text(fabric.text(rng), encoding="utf-8")
    wired, found = read(str(path))
    assert found == ()
    return [f for f in analyse(wired).faults if f.severity is not Severity.INFO]


@pytest.mark.parametrize("shape", SHAPES)
def test_healthy_captures_have_no_findings(shape, tmp_path):
    """Every way of naming, uplinks on the first or the last ports."""
    for hosts, leafs in NAMES:
        up_first = seeded(hosts, leafs).random() < 0.5
        found = findings(build(shape, hosts, leafs, up_first), seeded(shape), tmp_path)
        assert found == [], (hosts, leafs, up_first)


@pytest.mark.parametrize("fault", CLASSES)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_fault_is_found_by_name_and_port(shape, fault, tmp_path):
    """Three fabrics of each shape: findings of that kind name everything, and there is no finding of another kind."""
    for nth in range(3):
        rng = seeded(shape, fault.__name__, nth)
        hosts, leafs = rng.choice(NAMES)
        fabric = build(shape, hosts, leafs, rng.random() < 0.5)
        wanted = fault(fabric, rng)
        if wanted is None:
            continue
        kinds, names = wanted
        found = findings(fabric, rng, tmp_path)
        told = " ".join(str((f.message, f.expected, f.actual, f.victims, f.devices)) for f in found)
        assert {f.kind for f in found} == kinds, (hosts, leafs, nth)
        assert [n for n in names if n not in told] == [], (hosts, leafs, nth)
