# SPDX-License-Identifier: Apache-2.0
"""What differs between two versions of an input file, key by key, each with the line that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from placement.diag import InputError
from placement.spec.source import Document, KeyPath, load


@dataclass(frozen=True)
class Change:
    """`before` or `after` is None where the key, or the item of a list, is only in one file. `where`: file:line:column."""

    key: str
    before: str | None
    after: str | None
    where: str


def file_changes(a: Path, b: Path) -> list[Change]:
    """Changes from one YAML file to another, in the order of the files. Empty if one of them is missing or not YAML."""
    try:
        first, second = load(a), load(b)
    except InputError:
        return []
    return list(_changes(first, second, (), (), first.tree, second.tree))


def _changes(a: Document, b: Document, at: KeyPath, bt: KeyPath, x: Any, y: Any) -> Iterator[Change]:
    """`at` and `bt` are the places of `x` and `y` in their files; they part where items of lists moved."""
    if x == y:
        return
    if isinstance(x, dict) and isinstance(y, dict):
        for key in (*x, *(k for k in y if k not in x)):
            if key not in y:
                yield Change(_name((*bt, key)), _short(x[key]), None, _where(a, (*at, key)))
            elif key not in x:
                yield Change(_name((*bt, key)), None, _short(y[key]), _where(b, (*bt, key)))
            else:
                yield from _changes(a, b, (*at, key), (*bt, key), x[key], y[key])
    elif isinstance(x, list) and isinstance(y, list):
        yield from _items(a, b, at, bt, x, y)
    else:
        yield Change(_name(bt), _short(x), _short(y), _where(b, bt))


def _items(a: Document, b: Document, at: KeyPath, bt: KeyPath, x: list[Any], y: list[Any]) -> Iterator[Change]:
    """Items that only one list has; where one stands alone on both sides, what differs inside it."""
    gone, new = _without(x, y), _without(y, x)
    if len(gone) == len(new) == 1:
        i, j = gone[0], new[0]
        yield from _changes(a, b, (*at, i), (*bt, j), x[i], y[j])
        return
    yield from (Change(_name(at), _short(x[i]), None, _where(a, (*at, i))) for i in gone)
    yield from (Change(_name(bt), None, _short(y[j]), _where(b, (*bt, j))) for j in new)


def _without(x: list[Any], y: list[Any]) -> list[int]:
    """Indices of `x` that have no equal in `y`, each of which is used once."""
    left = list(y)
    out = []
    for i, item in enumerate(x):
        if item in left:
            left.remove(item)
        else:
            out.append(i)
    return out


def _name(path: KeyPath) -> str:
    return ".".join(str(p) for p in path if isinstance(p, str))


def _where(doc: Document, path: KeyPath) -> str:
    return "{}:{}:{}".format(*doc.where(path))


def _short(value: Any) -> str:
    """A value on one line, as flow YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    return "null" if value is None else str(value)
