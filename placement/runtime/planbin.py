# SPDX-License-Identifier: Apache-2.0
"""plan.bin as a container: checked sections of fixed records. What the records say is in `tables`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from placement.diag import Diagnostic, Label, PlanError, Span
from placement.runtime import layout
from placement.runtime.crc import crc32c
from placement.runtime.layout import ENTRY, HEADER, NONE, RECORDS, Section

Records = npt.NDArray[Any]
_REQUIRED = tuple(Section)


@dataclass(frozen=True)
class PlanBin:
    """A mapped plan.bin. `sections[s]` are structured, read-only views of the file; `header` is one HEADER record."""

    header: np.void
    sections: Mapping[Section, Records]

    def __getitem__(self, section: Section) -> Records:
        return self.sections[section]

    @property
    def digest(self) -> str:
        return bytes(self.header["digest"]).hex()

    def names(self, offset: int, size: int) -> str:
        """A name of NAMES, by its byte offset and length."""
        return self.sections[Section.NAMES][offset : offset + size].tobytes().decode()

    def name_column(self, records: Records, name: str = "name") -> npt.NDArray[np.bytes_]:
        """Names of many records at once, as fixed-width bytes."""
        return gather_names(self.sections[Section.NAMES], records[name], records[f"{name}_size"])


def gather_names(blob: Records, offset: Records, size: Records) -> npt.NDArray[np.bytes_]:
    """Slices of a byte blob as an array of fixed-width byte strings."""
    width = max(int(size.max(initial=0)), 1)
    at = offset[:, None].astype(np.int64) + np.arange(width)
    inside = np.arange(width) < size[:, None]
    text = np.where(inside, blob[np.minimum(at, len(blob) - 1)], 0) if len(blob) else np.zeros(at.shape, np.uint8)
    return np.ascontiguousarray(text.astype(np.uint8)).view(f"S{width}").ravel()


def pack(sections: Mapping[Section, Records], *, digest: bytes, flags: int, counts: Mapping[str, int]) -> bytes:
    """The file. `counts` fills `world_size`, `num_hosts`, `gpus_per_node` and `num_stages` of the header."""
    entry = np.zeros(len(sections), ENTRY)
    at = _aligned(HEADER.itemsize + entry.nbytes)
    for i, (section, records) in enumerate(sorted(sections.items())):
        assert records.dtype == RECORDS[section], section
        entry[i] = (section, records.itemsize, at, len(records), crc32c(_raw(records)), 0)
        at = _aligned(at + records.nbytes)
    parts: list[bytes | memoryview] = [_header(entry, at, digest, flags, counts), entry.tobytes()]
    for _, records in sorted(sections.items()):
        written = sum(map(len, parts))
        parts += [bytes(_aligned(written) - written), _raw(records).data]
    written = sum(map(len, parts))
    return b"".join([*parts, bytes(at - written)])


def _raw(records: Records) -> npt.NDArray[np.uint8]:
    """The bytes of a table, without copying them."""
    return np.ascontiguousarray(records).view(np.uint8).reshape(-1)


def _header(entry: Records, file_size: int, digest: bytes, flags: int, counts: Mapping[str, int]) -> bytes:
    header = np.zeros((), HEADER)
    fixed = {
        "magic": layout.MAGIC,
        "major": layout.MAJOR,
        "minor": layout.MINOR,
        "endian": layout.ENDIAN,
        "header_size": HEADER.itemsize,
    }
    table = {"num_sections": len(entry), "table_offset": HEADER.itemsize, "entry_size": ENTRY.itemsize}
    given = {"file_size": file_size, "flags": flags, "digest": np.frombuffer(digest, np.uint8), **counts}
    for name, value in (fixed | table | given).items():
        header[name] = value
    header["table_crc32c"] = crc32c(entry.tobytes())
    header["header_crc32c"] = crc32c(header.tobytes()[:-4])
    return header.tobytes()


def plan_digest(text: str, sections: Mapping[Section, Records]) -> bytes:
    """SHA-256 of the text of a plan, then for each section in order of type its type, record size, count, and records."""
    whole = sha256(text.encode())
    for section, records in sorted(sections.items()):
        whole.update(f"{int(section)} {records.itemsize} {len(records)};".encode())
        whole.update(_raw(records).data)
    return whole.digest()


def unpack(buffer: Any, file: str) -> PlanBin:
    """Views of a plan.bin without copying it. Raises PlanError for anything that is not exactly a plan of a version we know.

    After this every index and name offset of the file is in range, also in a file made to deceive.
    """
    data = np.frombuffer(buffer, np.uint8) if len(buffer) else np.empty(0, np.uint8)
    header = _read_header(data, file)
    sections = _read_sections(data, header, file)
    _check_counts(header, sections, file)
    _check_indices(header, sections, file)
    return PlanBin(header, sections)


def _refuse(name: str, message: str, file: str, fix: str = "") -> PlanError:
    fix = fix or "write the plan again with `placement plan`, or restore the directory from a copy"
    return PlanError([Diagnostic(f"plan/{name}", message, primary=Label(Span(file)), help=fix)])


def _read_header(data: Records, file: str) -> np.void:
    if data[: len(layout.MAGIC)].tobytes() != layout.MAGIC:
        raise _refuse("not-a-plan", "the file does not start with the mark of a plan.bin", file)
    if len(data) < HEADER.itemsize:
        raise _refuse("truncated", f"the file has {len(data)} bytes, less than its header", file)
    header: np.void = data[: HEADER.itemsize].view(HEADER)[0]
    if header["endian"] != layout.ENDIAN:
        raise _refuse("damaged", "the byte-order mark is wrong", file)
    if header["major"] != layout.MAJOR:
        message = f"format version {header['major']}.{header['minor']} is not {layout.MAJOR}.x"
        raise _refuse("version", message, file, fix="read it with the version of this tool that wrote it")
    if header["header_crc32c"] != crc32c(data[: HEADER.itemsize - 4].tobytes()):
        raise _refuse("checksum", "the header does not match its CRC-32C", file)
    if header["file_size"] != len(data):
        raise _refuse("truncated", f"the file has {len(data)} bytes where its header says {header['file_size']}", file)
    return header


def _read_sections(data: Records, header: np.void, file: str) -> dict[Section, Records]:
    start, count, width = int(header["table_offset"]), int(header["num_sections"]), int(header["entry_size"])
    end = start + count * width
    if header["header_size"] < HEADER.itemsize or start < header["header_size"] or count > layout.MAX_SECTIONS:
        raise _refuse("damaged", "the section table starts in the header or is too long", file)
    if width < ENTRY.itemsize or end > len(data):
        raise _refuse("damaged", "the section table does not fit the file", file)
    table = data[start:end]
    if header["table_crc32c"] != crc32c(table.tobytes()):
        raise _refuse("checksum", "the section table does not match its CRC-32C", file)
    entry = table.reshape(count, width)[:, : ENTRY.itemsize].copy().view(ENTRY).ravel()
    if len(np.unique(entry["type"])) != count:
        raise _refuse("damaged", "a section type stands twice in the section table", file)
    _check_gaps(data, int(header["header_size"]), start, end, entry, file)
    found = {Section(int(row["type"])): _view(data, row, file) for row in entry if int(row["type"]) in RECORDS}
    if missing := [s.name for s in _REQUIRED if s not in found]:
        raise _refuse("damaged", f"sections are missing: {', '.join(missing)}", file)
    return found


def _check_gaps(data: Records, header_size: int, start: int, end: int, entry: Records, file: str) -> None:
    """Sections lie in order, inside the file, without overlap, and every byte between them is zero."""
    gaps, at = [(header_size, start)], end
    for row in sorted(entry, key=lambda r: int(r["offset"])):
        offset, size = int(row["offset"]), int(row["elem_size"]) * int(row["count"])
        if offset % layout.ALIGN or offset < at or offset + size > len(data) or row["elem_size"] == 0:
            raise _refuse("damaged", f"section {row['type']} overlaps another, or is unaligned, or leaves the file", file)
        gaps.append((at, offset))
        at = offset + size
    gaps.append((at, len(data)))
    if any(data[a:b].any() for a, b in gaps):
        raise _refuse("damaged", "there are bytes between the sections", file)


def _view(data: Records, row: np.void, file: str) -> Records:
    section = Section(int(row["type"]))
    dtype, width, count, offset = RECORDS[section], int(row["elem_size"]), int(row["count"]), int(row["offset"])
    raw = data[offset : offset + width * count]
    if row["crc32c"] != crc32c(raw):
        raise _refuse("checksum", f"section {section.name} does not match its CRC-32C", file)
    if width < dtype.itemsize or (dtype.names is None and width != dtype.itemsize):
        raise _refuse("damaged", f"records of section {section.name} have {width} bytes, less than {dtype.itemsize}", file)
    if not count:
        return np.empty(0, dtype)
    return np.lib.stride_tricks.as_strided(raw[: dtype.itemsize].view(dtype), (count,), (width,), writeable=False)


def _check_counts(header: np.void, sections: Mapping[Section, Records], file: str) -> None:
    world, hosts, slots = int(header["world_size"]), int(header["num_hosts"]), int(header["gpus_per_node"])
    want = {Section.RANKS: world, Section.HOSTS: hosts, Section.SLOTS: hosts * slots, Section.STRATEGY: 1}
    want[Section.STAGES] = int(header["num_stages"])
    for section, count in want.items():
        if len(sections[section]) != count:
            raise _refuse("damaged", f"section {section.name} has {len(sections[section])} records instead of {count}", file)
    if world == 0 or hosts == 0 or slots == 0 or header["num_stages"] == 0:
        raise _refuse("damaged", "the plan has no rank, host, slot or stage", file)


def _check_indices(header: np.void, sections: Mapping[Section, Records], file: str) -> None:
    rank, slots, s = sections[Section.RANKS], sections[Section.SLOTS], sections
    limits = [
        (rank["rank"], len(rank)), (rank["host"], len(s[Section.HOSTS])), (rank["domain"], len(s[Section.DOMAINS])),
        (rank["slot"], int(header["gpus_per_node"])), (rank["local_rank"], int(header["gpus_per_node"])),
        (rank["rail"], len(s[Section.NICS])), (rank["stage"], len(s[Section.STAGES])),
        (slots[slots != NONE], len(rank)), (s[Section.HOSTS]["domain"], len(s[Section.DOMAINS])),
        (s[Section.CHUNKS]["stage"], len(s[Section.STAGES])), (s[Section.LAYERS]["chunk"], len(s[Section.CHUNKS])),
        (s[Section.LAYERS]["stage"], len(s[Section.STAGES])), (s[Section.SPARES]["domain"], len(s[Section.DOMAINS])),
        (s[Section.SPARES]["rail"], len(s[Section.NICS])),
        (_last(s[Section.CHUNKS], "first_layer", "num_layers"), len(s[Section.LAYERS]) + 1),
    ]  # fmt: skip
    if any(len(index) and int(index.max()) >= limit for index, limit in limits):
        raise _refuse("damaged", "an index points past the end of its table", file)
    if not np.array_equal(rank["rank"], np.arange(len(rank))):
        raise _refuse("damaged", "rank records are not in the order of ranks", file)
    _check_names(sections, file)
    _check_communicators(len(rank), sections, file)


def _last(records: Records, start: str, size: str) -> npt.NDArray[np.uint64]:
    last: npt.NDArray[np.uint64] = records[start].astype(np.uint64) + records[size]
    return last


def _check_names(sections: Mapping[Section, Records], file: str) -> None:
    blob = sections[Section.NAMES]
    columns = [(sections[s], "name") for s in layout.NAMED] + [(sections[Section.LAYERS], "type_name")]
    nul = np.concatenate([[0], np.cumsum(blob == 0)])  # NULs before each place
    for records, name in columns:
        start, end = records[name].astype(np.int64), _last(records, name, f"{name}_size").astype(np.int64)
        if len(end) and int(end.max()) >= len(blob):
            raise _refuse("damaged", "a name leaves the table of names", file)
        if blob[end].any() or blob[start[start > 0] - 1].any() or bool((nul[end] != nul[start]).any()):
            raise _refuse("damaged", "a name does not stand between two NULs", file)
    try:
        blob.tobytes().decode()
    except UnicodeDecodeError:
        raise _refuse("damaged", "the table of names is not UTF-8", file) from None
    hosts = sections[Section.HOSTS]
    name_H = gather_names(blob, hosts["name"], hosts["name_size"])
    if not bool((name_H[:-1] < name_H[1:]).all()):
        raise _refuse("damaged", "the host table is not sorted by name", file)


def _check_communicators(world: int, sections: Mapping[Section, Records], file: str) -> None:
    for row in sections[Section.COMMUNICATORS]:
        groups, size = int(row["num_groups"]), int(row["size"])
        if row["kind"] > 1 or not (_arithmetic_fits(row, world) if row["kind"] == 0 else _table_fits(row, world, sections)):
            raise _refuse("damaged", f"a communicator of {groups} groups of {size} does not fit {world} ranks", file)


def _arithmetic_fits(row: np.void, world: int) -> bool:
    """Two nested levels of a mixed radix number of `world` values: see docs/plan-format.md."""
    n0, s0, n1, s1 = (int(row[k]) for k in ("inner_size", "inner_stride", "outer_size", "outer_stride"))
    if min(n0, s0, n1, s1) == 0 or s1 % (n0 * s0) or world % (n1 * s1):
        return False
    return int(row["size"]) == n0 * n1 and int(row["num_groups"]) * n0 * n1 == world


def _table_fits(row: np.void, world: int, sections: Mapping[Section, Records]) -> bool:
    member, groups, size = sections[Section.MEMBERS], int(row["num_groups"]), int(row["size"])
    first, index = int(row["members"]), int(row["index"])
    if first + groups * size > len(member) or index + world > len(member) or not groups or not size:
        return False
    group_R = member[index : index + world]
    listed = member[first : first + groups * size]
    return int(listed.max()) < world and bool(((group_R < groups) | (group_R == NONE)).all())


def _aligned(at: int) -> int:
    return -(-at // layout.ALIGN) * layout.ALIGN
