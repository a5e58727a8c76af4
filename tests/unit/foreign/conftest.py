# SPDX-License-Identifier: Apache-2.0
"""Foreign files of a few lines, written for these tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from placement import ingest
from placement.ingest.formats import Reading

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "topology_samples"


@pytest.fixture
def wrote(tmp_path: Path) -> Callable[..., str]:
    """Write a file and return its path."""

    def write(text: str | bytes, name: str = "cluster.txt") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


@pytest.fixture
def read(wrote: Callable[..., str]) -> Callable[..., Reading]:
    """Read a text as a format, or as what it is detected to be."""

    def reading(text: str | bytes, format: str | None = None, name: str = "cluster.txt") -> Reading:
        return ingest.read(wrote(text, name), format)

    return reading


def said(reading: Reading) -> list[tuple[str, int]]:
    """(name without room, line) of every finding but the standing notes."""
    return [
        (d.name.partition("/")[2], d.primary.span.line)
        for d in reading[1]
        if d.primary and d.name not in ("ingest/unsaid", "ingest/not-used")
    ]


@pytest.fixture
def sample() -> Callable[[str], str]:
    """Path of a public sample; the test is skipped where the samples are not."""

    def find(name: str) -> str:
        path = SAMPLES / name
        if not path.exists():
            pytest.skip("public topology samples are not beside this checkout")
        return str(path)

    return find
