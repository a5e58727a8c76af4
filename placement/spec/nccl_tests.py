# SPDX-License-Identifier: Apache-2.0
"""Logs of nccl-tests: what its five collectives took.

Read as its versions print them (NVIDIA/nccl-tests, src/common.cu and src/util.cu): 1.x in milliseconds under `bytes N`, 2.0 to
2.12 without `redop` and `root` where a collective has none, later with `#wrong`, per-iteration columns and several groups.
Lines may carry the rank that mpirun and srun put before them, and a log may hold several tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from placement.diag import Diagnostic, InputError
from placement.ir import CollectivePoint
from placement.spec.textfile import text_of, unreadable

KINDS = {  # nccl-tests programs, and names that logs of them carry
    "all_reduce": ("all_reduce", "allreduce"), "all_gather": ("all_gather", "allgather"),
    "reduce_scatter": ("reduce_scatter", "reducescatter"), "alltoall": ("alltoall", "all_to_all"),
    "sendrecv": ("sendrecv", "send_recv"),
}  # fmt: skip
_TAG = re.compile(r"^(?:\[\d+,\d+\]<\w+>:?|\s*\d+:)\s?")  # mpirun --tag-output, srun --label
_PROGRAM = re.compile(r"\b([a-z]\w*?)_perf\b")
_RANK = re.compile(r"^#\s+Rank\s+(\d+)\s+(?:Group\s+(\d+)\s+)?.*?\bon\s+(\S+)\s+device")
_GPUS = re.compile(r"^#\s*nThread\s+(\d+)\s+nGpus\s+(\d+)")
_BEGINS = re.compile(r"^#\s*(?:nccl-tests version|nThread)")
_ENDS = re.compile(r"^#\s*(?:Out of bounds values|Avg bus bandwidth|Collective test concluded)")
RATE = 1.0  # GB/s from which on two digits after the point tell a rate to a per cent
AGREES = 0.05  # size / time against the rate beside it


@dataclass
class _Test:
    """One test of a log, as far as it is read. `hosts`: host of each rank, by group."""

    head: list[str] = field(default_factory=list)
    hosts: dict[int, dict[int, str]] = field(default_factory=dict)
    together: int = 0  # threads x GPUs, of tests without MPI
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[int, str]] = field(default_factory=list)
    over: bool = False

    @property
    def ranks(self) -> tuple[int, int]:
        """Ranks and hosts of one communicator."""
        group = self.hosts[min(self.hosts)] if self.hosts else {}
        return (len(group), len(set(group.values()))) if group else (self.together, 1)


def nccl_log(path: str) -> list[CollectivePoint]:
    """Points of a log: bytes and seconds (out of place) of collectives. Raises InputError with everything that is wrong."""
    tests = list(_tests(text_of(path)))
    found: list[CollectivePoint] = []
    wrong: list[Diagnostic] = []
    for test in tests:
        try:
            found += _points(path, test, alone=len(tests) == 1)
        except InputError as error:
            wrong += error.diagnostics
    if wrong or not found:
        raise InputError(wrong or [unreadable(path, "no row of sizes and times in it")])
    return found


def _tests(text: str) -> Iterator[_Test]:
    """The tests of a log that have rows, one after the other."""
    test = _Test()
    for number, raw in enumerate(text.splitlines(), 1):
        line = _TAG.sub("", raw, count=1)
        words = line.lstrip("# ").split()
        ends = bool(_ENDS.match(line))
        if (test.over and not ends and words) or (test.rows and _BEGINS.match(line)):
            yield test
            test = _Test()
        test.over |= ends and bool(test.rows)
        if rank := _RANK.match(line):
            test.hosts.setdefault(int(rank[2] or 0), {})[int(rank[1])] = rank[3]
        elif gpus := _GPUS.match(line):
            test.together = int(gpus[1]) * int(gpus[2])
        elif line.startswith("#") and {"size", "bytes"} & set(words[:1]):
            test.columns = words
        elif test.columns and words and words[0].isdigit() and not line.startswith("#"):
            test.rows.append((number, line))
        elif not test.rows and not ends:
            test.head.append(line)
    if test.rows:
        yield test


def _points(path: str, test: _Test, *, alone: bool) -> list[CollectivePoint]:
    kind, first = _kind(path, test, alone), test.rows[0][0]
    ranks, hosts = test.ranks
    if ranks < 2:
        raise InputError(
            [unreadable(path, "the log does not say which ranks ran (`# Rank 0 ... on HOST device 0`)", line=first)]
        )
    if "time" not in test.columns:
        told = "no column `time`" + (", only processor time: run it without -C" if "cputime" in test.columns else "")
        raise InputError([unreadable(path, told, line=first)])
    found: list[CollectivePoint] = []
    wrong: list[Diagnostic] = []
    for number, line in test.rows:
        try:
            size, seconds = _row(test.columns, line.split())
        except ValueError as error:
            wrong.append(unreadable(path, str(error), "leave out the line, or measure again", line=number))
            continue
        if size > 0 and seconds > 0:
            found.append(CollectivePoint(kind, size, seconds, ranks, hosts))
    if wrong:
        raise InputError(wrong)
    return found


def _row(columns: list[str], words: list[str]) -> tuple[float, float]:
    """Bytes and seconds of a row. Raises ValueError, saying why not."""
    at = columns.index("time")
    try:
        size, time, rate = float(words[0]), float(words[at]), float(words[at + 1])
        bad = float(words[at + 3]) if columns[at + 3] == "#wrong" and words[at + 3] != "N/A" else 0.0
    except (ValueError, IndexError):
        raise ValueError("a row that is not complete") from None
    seconds = time * (1e-3 if columns[0] == "bytes" else 1e-6)  # 1.x printed milliseconds
    if rate >= RATE and abs(size / seconds / (rate * 1e9) - 1.0) > AGREES:
        raise ValueError(f"{size:.0f} bytes in {seconds:g} s are not the {rate:g} GB/s beside them")
    if bad > 0:
        raise ValueError(f"the collective gave {bad:g} wrong values: a broken GPU, link or NCCL")
    return size, seconds


def _kind(path: str, test: _Test, alone: bool) -> str:
    """By the program that the log names, or by the name of the file, or by words of its head."""
    named = [m for line in test.head for m in _PROGRAM.findall(line)]
    if named and named[-1] in KINDS:
        return str(named[-1])
    help = f"name it like {' or '.join(KINDS)}.log"
    for told in (Path(path).name.lower(), "\n".join(test.head)[:4000].lower()) if alone and not named else ():
        for kind, marks in KINDS.items():
            if any(mark in told for mark in marks):
                return kind
    told = f"`{named[-1]}_perf` is none of the collectives that are read" if named else (
        "neither the log nor its name says which collective it is" if alone else "one of its tests does not say which it is"
    )  # fmt: skip
    raise InputError([unreadable(path, told, help if not named else f"known: {', '.join(KINDS)}", line=test.rows[0][0])])
