# SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: hypothesis without chance or clocks, and golden files that `--bless` rewrites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    derandomize=True,  # the same examples everywhere: a red test stays red
    deadline=None,  # no test is timed
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite golden files with what the code prints now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)`: text equals tests/golden/<name>; with `--bless` the file is rewritten instead."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--bless"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden file {name}: run pytest --bless and read what it wrote"
        assert text == path.read_text(encoding="utf-8")

    return check
