# SPDX-License-Identifier: Apache-2.0
"""Files made to deceive: random bytes of plan.bin are changed and every checksum put right again."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.diag import PlanError
from placement.runtime import Section, load_plan, rank_rows, write_plan
from placement.runtime.crc import crc32c
from placement.runtime.layout import ENTRY, HEADER
from placement.runtime.planbin import unpack
from placement.verify import verify
from tests.plans import INPUTS, tiny_plan


class Honest(tuple):  # noqa: SLOT001
    """A plan, the directory it was read from, and the bytes of plan.bin; without a long text."""

    def __repr__(self) -> str:
        return "honest"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    plan = tiny_plan(tied=True, vpp=2)
    out: Path = tmp_path_factory.mktemp("damage") / "plan"
    write_plan(plan, out, INPUTS)
    return Honest((plan, load_plan(out), (out / "plan.bin").read_bytes()))


def sealed(data: bytearray) -> bytes:
    """All checksums right for what the tables say now, as far as they lie in the file."""
    header = np.frombuffer(data, HEADER, 1)
    start, count = HEADER.itemsize, min(int(header[0]["num_sections"]), (len(data) - HEADER.itemsize) // ENTRY.itemsize)
    entry = np.frombuffer(data, ENTRY, count, start)
    for row in entry:
        at, size = int(row["offset"]), int(row["elem_size"]) * int(row["count"])
        row["crc32c"] = crc32c(bytes(data[at : at + size])) if at + size <= len(data) else 0
    header["table_crc32c"] = crc32c(bytes(data[start : start + count * ENTRY.itemsize]))
    header["header_crc32c"] = crc32c(bytes(data[: HEADER.itemsize - 4]))
    return bytes(data)


changes = st.lists(st.tuples(st.integers(8, 1 << 20), st.integers(0, 255)), min_size=1, max_size=4)


@settings(max_examples=400)
@given(changes)
def test_a_resealed_file_is_refused_or_harmless(honest, changes) -> None:
    """Whatever bytes are changed, the file is refused, or every table can be read and the referee finds the change."""
    plan, loaded, data = honest
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at % len(data)] = value
    try:
        found = unpack(sealed(damaged), "plan.bin")
    except PlanError:
        return
    assert sum(chunk.count("\n") for chunk in rank_rows(found)) == len(found[Section.RANKS]) + 1
    verdict = verify(dataclasses.replace(loaded, bin=found), plan.cluster, plan.model, plan.job, plan.efficiency)
    same = all(table.tobytes() == loaded.bin[section].tobytes() for section, table in found.sections.items())
    assert same or {"plan-digest"} <= {check.name for check in verdict.checks if not check.ok}


@settings(max_examples=100)
@given(st.binary(max_size=4096))
def test_random_bytes_are_refused(honest, noise: bytes) -> None:
    """Noise is no plan, also behind an honest header."""
    data = honest[2]
    for forged in (noise, data[:8] + noise, data[: HEADER.itemsize] + noise):
        with pytest.raises(PlanError):
            unpack(forged, "plan.bin")
