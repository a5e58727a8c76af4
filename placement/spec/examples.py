# SPDX-License-Identifier: Apache-2.0
"""Where inputs are found: a path as typed, or the name of an example that comes with the tool."""

from __future__ import annotations

from pathlib import Path

FOLDERS = {"topology": "topologies", "model": "models", "comms": "towers"}


def folders(room: str) -> list[Path]:
    """Directories that hold the examples of a room: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    name = FOLDERS.get(room)
    return [package / name, package.parent / name] if name else []


def resolve(path: str, room: str) -> Path:
    """The file that `path` means: itself if it exists or has a folder in it, else an example of that name.

    `gb300-220k`, `gb300-220k.yaml` and `topologies/gb300-220k.yaml` all find the example outside a checkout.
    """
    typed = Path(path)
    folder = FOLDERS.get(room)
    if typed.exists() or not folder or typed.parent not in (Path(), Path(folder)):
        return typed
    name = typed.name if typed.suffix in (".yaml", ".yml") else typed.name + ".yaml"
    return next((f / name for f in folders(room) if (f / name).is_file()), typed)
