# SPDX-License-Identifier: Apache-2.0
"""Where in an input file a fact comes from."""

from __future__ import annotations

from collections.abc import Mapping

Source = Mapping[str, tuple[str, int, int]]


def place(source: Source, *keys: str) -> str | None:
    """`file:line:column` of the first of `keys` that the source knows, or None."""
    found = next((source[k] for k in keys if k in source), None)
    return f"{found[0]}:{found[1]}:{found[2]}" if found else None
