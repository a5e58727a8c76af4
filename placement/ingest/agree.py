# SPDX-License-Identifier: Apache-2.0
# H host
"""Several sources about one cluster: where they contradict each other, and how trees and captures go together.

The first source that says something is believed. Names of groups differ from source to source, so groups are
compared as sets: hosts that one source puts together and another apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from placement.diag import Diagnostic, Label, Severity, Span
from placement.fabric.wiring.groups import leaf_of
from placement.hostlist import fold
from placement.ir import Cables, Devices, Kind, Wired

T = TypeVar("T", Devices, Cables)
SHOWN = 120
FACTS = (("gpus", "GPUs"), ("gpu_name", "the kind of GPU"), ("rack", "the rack"), ("hall", "the hall"), ("place", "the place"))


def contradictions(values: Sequence[Wired]) -> list[Diagnostic]:
    """What two sources say differently of the same hosts."""
    return [d for a, b in combinations(values, 2) for d in _pair(a, b)]


def _pair(a: Wired, b: Wired) -> Iterator[Diagnostic]:
    rows_a, rows_b = _rows(a), _rows(b)
    common = [n for n in rows_a if n in rows_b]
    yield from _strangers(a, b, rows_a, rows_b, common)
    for key, words in FACTS:
        column_a, column_b = getattr(a.host, f"{key}_H").tolist(), getattr(b.host, f"{key}_H").tolist()
        odd = [
            n for n in common
            if _said(column_a[rows_a[n]]) and _said(column_b[rows_b[n]]) and column_a[rows_a[n]] != column_b[rows_b[n]]
        ]  # fmt: skip
        if odd:
            n = odd[0]
            message = f"{words} of {fold(odd, SHOWN)}: {column_a[rows_a[n]]} in {_file(a)}, {column_b[rows_b[n]]} in {_file(b)}"
            yield _finding(b, int(b.host.line_H[rows_b[n]]), message)
    domain_a, domain_b = ({n: str(v.host.domain_H[rows[n]]) for n in common} for v, rows in ((a, rows_a), (b, rows_b)))
    yield from _apart(a, b, "NVLink domain", domain_a, domain_b, rows_b)
    leaf_a, leaf_b = leaf_of(a), leaf_of(b)
    if a.logical and b.logical and len(a.cable) and len(b.cable):
        yield from _apart(a, b, "leaf", leaf_a, leaf_b, rows_b)


def _said(value: object) -> bool:
    return value not in ("", -1)


def _rows(value: Wired) -> dict[str, int]:
    return {str(n): h for h, n in enumerate(value.host.name_H.tolist())}


def _file(value: Wired) -> str:
    return value.files[0].replace("\\", "/").rpartition("/")[2]


def _finding(value: Wired, line: int, message: str, severity: Severity = Severity.WARNING) -> Diagnostic:
    help = "the first file is believed; give the one that you trust first" if severity is Severity.WARNING else ""
    return Diagnostic("ingest/contradiction", message, severity, Label(Span(value.files[0], max(line, 1))), help=help)


def _strangers(a: Wired, b: Wired, rows_a: dict[str, int], rows_b: dict[str, int], common: list[str]) -> Iterator[Diagnostic]:
    """Hosts that only one of two lists of hosts has."""
    hosts_a, hosts_b = rows_a.keys() | _adapters(a), rows_b.keys() | _adapters(b)
    if not common and hosts_a and hosts_b and not hosts_a & hosts_b:
        message = f"{_file(a)} and {_file(b)} have no host name in common: `{min(hosts_a)}` and `{min(hosts_b)}`, for example"
        yield _finding(b, 1, message)
        return
    for one, other, only in ((a, b, hosts_a - hosts_b), (b, a, hosts_b - hosts_a)):
        if only and len(only) < len(hosts_a | hosts_b):
            rows = rows_a if one is a else rows_b
            line = min((int(one.host.line_H[rows[n]]) for n in only if n in rows), default=1)
            message = f"{_file(other)} does not have {fold(sorted(only), SHOWN)} of {_file(one)}"
            yield _finding(one, line, message)


def _adapters(value: Wired) -> set[str]:
    named = value.device.name_D[value.device.kind_D == Kind.ADAPTER]
    return {n for n in np.unique(named).tolist() if n}


def _apart(
    a: Wired, b: Wired, what: str, of_a: dict[str, str], of_b: dict[str, str], rows_b: dict[str, int]
) -> Iterator[Diagnostic]:
    """Hosts whose group in b is not the one that most of their group in a have."""
    both = [n for n in of_a if of_a[n] and of_b.get(n)]
    votes: dict[str, Counter[str]] = {}
    for n in both:
        votes.setdefault(of_a[n], Counter())[of_b[n]] += 1
    usual = {g: max(v, key=lambda k: (v[k], k)) for g, v in votes.items()}
    odd = [n for n in both if of_b[n] != usual[of_a[n]]]
    if odd:
        n = odd[0]
        message = f"{what} of {fold(odd, SHOWN)}: {of_a[n]} in {_file(a)}, {of_b[n]} (not {usual[of_a[n]]}) in {_file(b)}"
        yield _finding(b, int(b.host.line_H[rows_b[n]]) if n in rows_b else 1, message)
        return
    merged = Counter(usual.values())
    joined = sorted(g for g, u in usual.items() if merged[u] > 1)
    if joined:
        message = f"{what}s {fold(joined, SHOWN)} of {_file(a)} are one in {_file(b)}: {usual[joined[0]]}"
        yield _finding(b, 1, message)


def together(values: Sequence[Wired]) -> list[Wired]:
    """The values as they can be merged: beside a capture of cables, a tree is no cables but groups of its hosts."""
    if all(v.logical for v in values) and sum(bool(len(v.cable)) for v in values) <= 1:
        return list(values)
    keep = next((v for v in values if len(v.cable) and not v.logical), next((v for v in values if len(v.cable)), None))
    return [_flat(v) if v.logical and v is not keep and len(v.cable) else v for v in values]


def _flat(value: Wired) -> Wired:
    """A tree as the name of each host's leaf."""
    leaf = leaf_of(value)
    group_HL = np.array([[leaf.get(n, "")] for n in value.host.name_H.tolist()], np.str_).reshape(len(value.host), 1)
    return replace(
        value, device=_cut(value.device), cable=_cut(value.cable),
        host=replace(value.host, tiers=(f"{value.format}-leaf",), group_HL=group_HL),
    )  # fmt: skip


def _cut(table: T) -> T:
    arrays: dict[str, Any] = {k: v[:0] for k, v in vars(table).items() if isinstance(v, np.ndarray)}
    return replace(table, **arrays)
