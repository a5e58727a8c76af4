# SPDX-License-Identifier: Apache-2.0
"""Tables that users measure on their own GPUs and hosts: matmul sweeps, and seconds of what no kernel does."""

from __future__ import annotations

import csv
import math
from statistics import median
from typing import Any

from placement.diag import Diagnostic, InputError
from placement.ir import MatmulPoint
from placement.spec.textfile import text_of, unreadable

HOST_TIMES = ("empty_step", "dense_layer", "routing", "expert", "fsdp_hooks")
PRECISIONS = {
    "bf16": "bf16", "bfloat16": "bf16", "fp16": "bf16", "float16": "bf16", "fp8": "fp8", "float8": "fp8", "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}  # fmt: skip


def matmul_sweep(path: str) -> list[MatmulPoint]:
    """Rows of a CSV with columns m, n, k, precision (or dtype; bf16 without either), and seconds, us or tflops.

    Raises InputError with every line that is no measurement.
    """
    rows = csv.DictReader(text_of(path).splitlines())
    names = {name.strip().lower() for name in rows.fieldnames or ()}
    if not {"m", "n", "k"} <= names or not names & {"seconds", "us", "tflops"}:
        message = "columns m, n, k and one of seconds, us, tflops are needed"
        raise InputError([unreadable(path, message, "first line: m,n,k,precision,seconds")])
    found: list[MatmulPoint] = []
    wrong: list[Diagnostic] = []
    for row in rows:
        try:
            found.append(_matmul({str(k).strip().lower(): str(v or "").strip() for k, v in row.items()}))
        except ValueError as error:
            wrong.append(unreadable(path, str(error), line=rows.line_num))
    if wrong or not found:
        raise InputError(wrong or [unreadable(path, "no row below its names of columns")])
    return found


def host_times(path: str) -> dict[str, float]:
    """Seconds of each thing in a CSV with columns `what` (one of HOST_TIMES) and `seconds`; the median where it stands twice.

    Raises InputError with every line that is no measurement.
    """
    rows = csv.DictReader(text_of(path).splitlines())
    if not {"what", "seconds"} <= {name.strip().lower() for name in rows.fieldnames or ()}:
        raise InputError([unreadable(path, "columns what and seconds are needed", "first line: what,seconds")])
    found: dict[str, list[float]] = {}
    wrong: list[Diagnostic] = []
    for raw in rows:
        row = {str(k).strip().lower(): str(v or "").strip() for k, v in raw.items()}
        try:
            found.setdefault(_host_time(row["what"]), []).append(_number(row, "seconds"))
        except ValueError as error:
            wrong.append(unreadable(path, str(error), line=rows.line_num))
    if wrong or not found:
        raise InputError(wrong or [unreadable(path, "no row below its names of columns")])
    return {what: median(seconds) for what, seconds in found.items()}


def _host_time(what: str) -> str:
    if what not in HOST_TIMES:
        raise ValueError(f"`{what[:40]}` is none of {', '.join(HOST_TIMES)}")
    return what


def _matmul(row: dict[str, Any]) -> MatmulPoint:
    """Raises ValueError, saying why it is none."""
    m, n, k = (_number(row, name) for name in ("m", "n", "k"))
    told = (row.get("precision") or row.get("dtype") or "bf16").lower()
    if told not in PRECISIONS:
        raise ValueError(f"`{told}` is none of the precisions {', '.join(PRECISIONS)}")
    if row.get("seconds"):
        seconds = _number(row, "seconds")
    elif row.get("us"):
        seconds = _number(row, "us") * 1e-6
    elif not row.get("tflops"):
        raise ValueError("the row has none of seconds, us, tflops")
    else:
        seconds = 2.0 * m * n * k / (_number(row, "tflops") * 1e12)
    return MatmulPoint(m, n, k, PRECISIONS[told], seconds)


def _number(row: dict[str, Any], name: str) -> float:
    text = row.get(name, "")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"`{name}` is no number: `{text[:40]}`") from None
    if not 0.0 < value < math.inf:
        raise ValueError(f"`{name}` has to be above 0, and is {text[:40]}")
    return value
