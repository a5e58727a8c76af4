# SPDX-License-Identifier: Apache-2.0
"""Layout of plan.bin, version 1.0: the same bytes that `docs/plan-format.md` describes and that a C struct maps.

Every number is little-endian and sits at a multiple of its own size. `name` fields are byte offsets into NAMES, where each
name is UTF-8 and ends in NUL. Readers skip sections that they do not know. A minor version may add sections or lengthen
records; a major version may break anything.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

MAGIC = b"\x89PLAN\x1a\r\n"  # not text, no NUL; CR LF and Ctrl-Z show damage by text-mode copies, as in PNG
MAJOR, MINOR = 1, 0
ENDIAN = 0x01020304
ALIGN = 64
NONE = 0xFFFFFFFF  # "no such rank", "no such group"
MAX_SECTIONS = 1024


class Section(IntEnum):
    """Types of the section table."""

    STRATEGY = 1
    RANKS = 2
    HOSTS = 3
    SLOTS = 4
    DOMAINS = 5
    NICS = 6
    COMMUNICATORS = 7
    MEMBERS = 8
    STAGES = 9
    CHUNKS = 10
    LAYERS = 11
    SPARES = 12
    NAMES = 13


class Flag(IntFlag):
    """Of the header."""

    LOCAL_RANK_IS_SLOT = 1  # launchers may number local ranks themselves; otherwise a shim has to set CUDA_VISIBLE_DEVICES
    WHOLE_NODES = 2  # each host of the plan gives all its GPU slots
    RAILS_CONNECTED = 4


class Kind(IntEnum):
    """Of a communicator: members by arithmetic, or listed in MEMBERS."""

    ARITHMETIC = 0
    TABLE = 1


def _record(size: int, *fields: tuple[str, str | tuple[str, tuple[int, ...]], int]) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": [f[0] for f in fields],
            "formats": [f[1] for f in fields],
            "offsets": [f[2] for f in fields],
            "itemsize": size,
        }
    )


def _words(*names: str, start: int = 0, code: str = "<u4") -> list[tuple[str, str, int]]:
    width = int(code[-1])
    return [(name, code, start + width * i) for i, name in enumerate(names)]


HEADER = _record(
    128,
    ("magic", "S8", 0),
    *_words("major", "minor", start=8, code="<u2"),
    ("endian", "<u4", 12),
    ("file_size", "<u8", 16),
    *_words("header_size", "num_sections", start=24),
    ("table_offset", "<u8", 32),
    *_words("entry_size", "flags", start=40),
    ("digest", ("u1", (32,)), 48),
    *_words("world_size", "num_hosts", "gpus_per_node", "num_stages", start=80),
    *_words("table_crc32c", "header_crc32c", start=120),
)
ENTRY = _record(
    32, *_words("type", "elem_size"), *_words("offset", "count", start=8, code="<u8"), *_words("crc32c", "flags", start=24)
)

STRATEGY = _record(
    128,
    *_words("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "edp", "pp", "vpp", "micro_batch", "num_microbatches"),
    *_words("schedule", "recompute", "sharding", "num_rails", "num_planes", start=48),
    ("reserved", "<u4", 68),
    *_words("seq_len", "global_batch", start=72, code="<u8"),
    ("step_s", "<f8", 88),
)
RANK = _record(
    64,
    *_words("rank", "host", "node", "domain"),
    *_words("slot", "local_rank", "rail", "stage", start=16, code="<u2"),
    *_words("dp", "ep", "edp", start=24),
    *_words("tp", "cp", "etp", "gtp", "egtp", start=36, code="<u2"),
    ("gpu", "<u4", 48),
)
HOST = _record(32, *_words("name", "name_size", "node", "domain", "num_ranks", "first_rank"))
DOMAIN = _record(16, *_words("name", "name_size", "num_ranks", "num_hosts"))
NIC = _record(16, *_words("name", "name_size", "rail"))
COMMUNICATOR = _record(
    64,
    *_words("name", "name_size", "kind"),
    *_words("num_groups", "size", "inner_size", "inner_stride", "outer_size", "outer_stride", start=16),
    *_words("members", "index", start=40, code="<u8"),
)
STAGE = _record(
    32, *_words("stage", "recompute", "num_chunks", "num_layers"), *_words("busy_s", "memory_bytes", start=16, code="<f8")
)
CHUNK = _record(32, *_words("chunk", "stage", "virtual_stage", "first_layer", "num_layers"))
LAYER = _record(32, *_words("layer", "chunk", "stage", "type", "name", "name_size", "type_name", "type_name_size"))
SPARE = _record(32, *_words("gpu", "node", "domain", "slot", "rail", "reserved_node", "name", "name_size"))

RECORDS: dict[Section, np.dtype[Any]] = {
    Section.STRATEGY: STRATEGY,
    Section.RANKS: RANK,
    Section.HOSTS: HOST,
    Section.SLOTS: np.dtype("<u4"),
    Section.DOMAINS: DOMAIN,
    Section.NICS: NIC,
    Section.COMMUNICATORS: COMMUNICATOR,
    Section.MEMBERS: np.dtype("<u4"),
    Section.STAGES: STAGE,
    Section.CHUNKS: CHUNK,
    Section.LAYERS: LAYER,
    Section.SPARES: SPARE,
    Section.NAMES: np.dtype("u1"),
}
NAMED = (Section.HOSTS, Section.DOMAINS, Section.NICS, Section.COMMUNICATORS, Section.LAYERS, Section.SPARES)
assert [RECORDS[s].itemsize for s in (Section.RANKS, Section.COMMUNICATORS, Section.HOSTS)] == [64, 64, 32]
