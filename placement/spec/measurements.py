# SPDX-License-Identifier: Apache-2.0
"""What users measure on their own cluster: nccl-tests logs and matmul sweeps."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from placement.diag import Diagnostic, InputError, Label, Span
from placement.ir import CollectivePoint, MatmulPoint

MOST_BYTES = 64 << 20
KINDS = {  # nccl-tests programs, and names that logs of them carry
    "all_reduce": ("all_reduce", "allreduce"), "all_gather": ("all_gather", "allgather"),
    "reduce_scatter": ("reduce_scatter", "reducescatter"), "alltoall": ("alltoall", "all_to_all"),
    "sendrecv": ("sendrecv", "send_recv"),
}  # fmt: skip
_RANK = re.compile(r"^#\s+Rank\s+(\d+)\s.*\son\s+(\S+)\s+device", re.MULTILINE)
_GPUS = re.compile(r"^#\s*nThread\s+(\d+)\s+nGpus\s+(\d+)", re.MULTILINE)
_ROW = re.compile(r"^\s*(\d+)\s+\d+\s+\w+(?:\s+\w+)?(?:\s+-?\w+)?\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s", re.MULTILINE)
PRECISIONS = {
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp16": "bf16",
    "fp8": "fp8",
    "float8": "fp8",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}


def nccl_log(path: str) -> list[CollectivePoint]:
    """Points of a nccl-tests log: bytes and seconds (out of place) of one collective. Raises InputError for none."""
    text = _text(path)
    kind = _kind(path, text)
    ranks = _RANK.findall(text)
    world, hosts = len({r for r, _ in ranks}), len({h for _, h in ranks})
    if not world:
        found = _GPUS.search(text)
        world, hosts = (int(found[1]) * int(found[2]), 1) if found else (0, 0)
    if world < 2:
        raise _unreadable(path, "the log does not say which ranks ran (`# Rank 0 ... on HOST device 0`)")
    points = [CollectivePoint(kind, float(size), float(us) * 1e-6, world, hosts) for size, us, _, _ in _ROW.findall(text)]
    points = [p for p in points if p.payload_bytes > 0 and p.seconds > 0]
    if not points:
        raise _unreadable(path, "no row of sizes and times in it")
    return points


def _kind(path: str, text: str) -> str:
    head = f"{text[:4000]}\n{Path(path).name}".lower()
    for kind, marks in KINDS.items():
        if any(mark in head for mark in marks):
            return kind
    raise _unreadable(
        path, "neither the log nor its name says which collective it is", f"name it like {' or '.join(KINDS)}.log"
    )


def matmul_sweep(path: str) -> list[MatmulPoint]:
    """Rows of a CSV with columns m, n, k, precision (or dtype), and seconds, us or tflops."""
    rows = csv.DictReader(_text(path).splitlines())
    names = {name.strip().lower() for name in rows.fieldnames or ()}
    if not {"m", "n", "k"} <= names or not names & {"seconds", "us", "tflops"}:
        raise _unreadable(
            path, "columns m, n, k and one of seconds, us, tflops are needed", "first line: m,n,k,precision,seconds"
        )
    return list(_matmuls(path, rows))


def _matmuls(path: str, rows: csv.DictReader[str]) -> Iterator[MatmulPoint]:
    for number, raw in enumerate(rows, 2):
        row = {str(k).strip().lower(): str(v).strip() for k, v in raw.items()}
        try:
            m, n, k = (float(row[x]) for x in ("m", "n", "k"))
            flop = 2.0 * m * n * k
            seconds = (
                float(row["seconds"]) if row.get("seconds")
                else float(row["us"]) * 1e-6 if row.get("us") else flop / (float(row["tflops"]) * 1e12)
            )  # fmt: skip
            precision = PRECISIONS[(row.get("precision") or row.get("dtype") or "bf16").lower()]
            point = MatmulPoint(m, n, k, precision, seconds)
        except (ValueError, KeyError, ZeroDivisionError, OverflowError):
            raise _unreadable(path, f"line {number} is no measurement: {dict(raw)}"[:200]) from None
        if not min(m, n, k, seconds) > 0:
            raise _unreadable(path, f"line {number} has a size or time that is not above 0")
        yield point


def _text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, f"cannot read the file: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise _unreadable(path, f"{len(data):,} bytes are more than {MOST_BYTES:,}")
    return data.decode("utf-8", errors="replace")


def _unreadable(path: str, message: str, help: str = "") -> InputError:
    return InputError([Diagnostic("calibrate/unreadable", message, primary=Label(Span(path)), help=help)])
