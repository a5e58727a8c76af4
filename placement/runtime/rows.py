# SPDX-License-Identifier: Apache-2.0
# R rank   D distinct value
"""One CSV row a rank, for `placement show DIR ranks`. Built as a matrix of letters: no loop over ranks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from placement.runtime.layout import Section
from placement.runtime.planbin import PlanBin
from placement.runtime.planfile import LoadedPlan

COLUMNS = (
    "rank", "host", "gpu", "rack", "rail", "tp", "cp", "dp", "pp", "ep",
    "etp", "edp", "gtp", "egtp", "local_rank", "node", "nic",
)  # fmt: skip
_FIELD = {"gpu": "slot", "pp": "stage"}
_ROWS = 1 << 16

Letters = npt.NDArray[np.bytes_]


def rank_rows(loaded: LoadedPlan | PlanBin) -> Iterator[str]:
    """The header line, then chunks of up to 65,536 lines: `gpu` is the GPU slot of the host, `rack` the NVLink domain."""
    plan_bin = loaded if isinstance(loaded, PlanBin) else loaded.bin
    words = {name: _names(plan_bin, section) for name, section in _NAMED.items()}
    yield ",".join(COLUMNS) + "\n"
    for start in range(0, len(plan_bin[Section.RANKS]), _ROWS):
        yield _lines(plan_bin[Section.RANKS][start : start + _ROWS], words)


_NAMED = {"host": Section.HOSTS, "rack": Section.DOMAINS, "nic": Section.NICS}
_INDEX = {"host": "host", "rack": "domain", "nic": "rail"}


def _names(plan_bin: PlanBin, section: Section) -> Letters:
    name_D = plan_bin.name_column(plan_bin[section])
    special = [b for b in (b",", b'"', b"\n", b"\r") if bool((np.char.find(name_D, b) >= 0).any())]
    if special:  # RFC 4180: quote, and double the quotes
        name_D = np.char.add(np.char.add(b'"', np.char.replace(name_D, b'"', b'""')), b'"').astype(np.bytes_)
    return name_D


def _lines(rank: npt.NDArray[np.void], words: dict[str, Letters]) -> str:
    parts = []
    for i, name in enumerate(COLUMNS):
        text_R = words[name][rank[_INDEX[name]]] if name in words else digits(rank[_FIELD.get(name, name)])
        parts += [_matrix(text_R), np.full((len(rank), 1), ord("," if i < len(COLUMNS) - 1 else "\n"), np.uint8)]
    letters = np.concatenate(parts, axis=1)
    text: bytes = letters[letters != 0].tobytes()  # NUL is the padding of fixed-width text
    return text.decode()


def host_columns(plan_bin: PlanBin, rank: npt.NDArray[np.void]) -> dict[str, Letters]:
    """Where each rank is, in words: host, GPU slot, rack, rail."""
    named = {name: _names(plan_bin, _NAMED[name])[rank[_INDEX[name]]] for name in ("host", "rack")}
    return {"host": named["host"], "gpu": digits(rank["slot"]), "rack": named["rack"], "rail": digits(rank["rail"])}


def csv_lines(columns: Mapping[str, Letters]) -> Iterator[str]:
    """A header line, then a line for each entry of the columns, in blocks: no loop over ranks."""
    size, last = len(next(iter(columns.values()))), len(columns) - 1
    yield ",".join(columns) + "\n"
    for start in range(0, size, _ROWS):
        rows = [c[start : start + _ROWS] for c in columns.values()]
        ends = [np.full((len(r), 1), ord("," if i < last else "\n"), np.uint8) for i, r in enumerate(rows)]
        letters = np.concatenate([m for r, end in zip(rows, ends, strict=True) for m in (_matrix(r), end)], axis=1)
        yield letters[letters != 0].tobytes().decode()  # NUL is the padding of fixed-width text


def digits(value_R: npt.NDArray[np.integer]) -> Letters:
    """Numbers as text; through a table where they repeat."""
    low, high = int(value_R.min()), int(value_R.max())
    if high - low > len(value_R):
        return value_R.astype(np.bytes_)
    return np.arange(low, high + 1).astype(np.bytes_)[value_R.astype(np.int64) - low]


def _matrix(text_R: Letters) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(text_R).view(np.uint8).reshape(len(text_R), -1)
