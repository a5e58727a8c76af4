# SPDX-License-Identifier: Apache-2.0
"""placement_plan.h reads what Python writes, refuses what Python refuses, and never reads outside the file."""

from __future__ import annotations

import ctypes
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from placement.diag import PlanError
from placement.runtime import Section, rank_rows
from placement.runtime.crc import crc32c
from placement.runtime.layout import ENTRY, HEADER, MAJOR, MINOR, NONE, RECORDS, Kind
from placement.runtime.planbin import PlanBin, unpack
from tests.fuzz.seeds import PLANS, write
from tests.native import SANITIZE, SOURCES, STRICT, binary, build, needs, run, shaped
from tests.plans import tiny_cluster, tiny_plan

DATA = Path(__file__).parent / "data"
OK, TRUNCATED, CHECKSUM, DAMAGED = 0, 3, 6, 7


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """The header behind functions for ctypes."""
    return ctypes.CDLL(str(build("tests/fuzz/plan_library.c", "-O2", "-shared", "-fPIC")))


@pytest.fixture(scope="module")
def portable() -> ctypes.CDLL:
    """The same without the CRC instructions of the processor."""
    return ctypes.CDLL(str(build("tests/fuzz/plan_library.c", "-O2", "-shared", "-fPIC", "-DPLACEMENT_PLAN_PORTABLE")))


def check(library: ctypes.CDLL, data: bytes) -> int:
    return int(library.open_and_check(data, ctypes.c_size_t(len(data))))


# ------------------------------------------------------------------------------------------------------------- compiling


@pytest.mark.parametrize(
    ("compiler", "standard"),
    [("gcc", "c11"), ("gcc", "c17"), ("clang", "c11"), ("g++", "c++17"), ("clang++", "c++17"), ("g++", "c++20")],
)
@pytest.mark.parametrize("flags", [(), ("-DPLACEMENT_PLAN_PORTABLE",), ("-DPLACEMENT_PLAN_NO_FILES",)], ids=" ".join)
def test_header_compiles_clean(compiler: str, standard: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """The header compiles without one warning as C11 and C++17, alone, twice, and in two sources of one program."""
    for name in ("a", "b"):
        body = "int b(void);\nint main(void) { return b(); }\n" if name == "a" else "int b(void);\nint b(void) { return 0; }\n"
        include = '#include "placement_plan.h"\n' * 2
        (tmp_path / f"{name}.c").write_text(include + body, encoding="utf-8")
    language = ("-x", "c++") if "++" in compiler else ("-x", "c")
    files = [*language, tmp_path / "a.c", tmp_path / "b.c"]
    program = tmp_path / "program"
    done = run(needs(compiler), f"-std={standard}", *STRICT, "-O2", *flags, "-I", SOURCES, *files, "-o", program)
    assert (done.returncode, done.stderr) == (0, "")
    assert run(program).returncode == 0


def test_record_sizes_are_the_layout() -> None:
    """The sizes that the header knows are those of placement/runtime/layout.py."""
    text = (SOURCES / "placement_plan.h").read_text(encoding="utf-8")
    sizes = text.partition("size[PLACEMENT_NUM_SECTIONS_] = {")[2].partition("}")[0]
    assert [int(n) for n in sizes.split(",")] == [0, *(RECORDS[s].itemsize for s in Section)]


# ------------------------------------------------------------------------------------------------------------------- CRC


@pytest.mark.parametrize("which", ["library", "portable"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1023, 1024, 1031, 16383, 16384, 16391, 16407, 100_003])
def test_crc(which: str, size: int, request: pytest.FixtureRequest) -> None:
    """CRC-32C is that of the writer at every edge of the three ways to compute it."""
    crc = request.getfixturevalue(which).crc
    crc.restype = ctypes.c_uint32
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    assert crc(data, ctypes.c_size_t(size)) == crc32c(data)


# ------------------------------------------------------------------------------------------------- every record, as text


def members(found: PlanBin, row: np.void, g: int) -> list[int]:
    """Group g of a kind, by its definition: what varies one or two digits of a mixed radix number."""
    size = int(row["size"])
    if row["kind"] == Kind.TABLE:
        return found[Section.MEMBERS][int(row["members"]) + g * size :][:size].tolist()
    n0, s0, n1, s1 = (int(row[k]) for k in ("inner_size", "inner_stride", "outer_size", "outer_stride"))
    world = len(found[Section.RANKS])
    digits = np.arange(world).reshape(world // (n1 * s1), n1, s1 // (n0 * s0), n0, s0)
    return np.moveaxis(digits, (1, 3), (-2, -1)).reshape(-1, size)[g].tolist()


def text(found: PlanBin) -> Iterator[str]:
    """What plan_dump prints, from the numpy reader."""
    s, recompute = found[Section.STRATEGY][0], ("none", "selective", "full")
    schedule = ("1f1b", "interleaved", "zb-h1", "zb-v", "dualpipe", "dualpipev")[s["schedule"]]
    h = found.header
    yield f"plan {found.digest} version {h['major']}.{h['minor']} flags {h['flags']}"
    yield f"world {h['world_size']} hosts {h['num_hosts']} slots {h['gpus_per_node']}"
    yield "strategy " + " ".join(f"{a} {s[a]}" for a in ("tp", "cp", "ep", "etp", "gtp", "egtp", "dp", "edp", "pp", "vpp"))
    sharding = ("none", "zero1", "zero2", "fsdp")[s["sharding"]]
    yield f"schedule {schedule} recompute {recompute[s['recompute']]} sharding {sharding}"
    batch = f"batch {s['global_batch']} sequences of {s['seq_len']} tokens, microbatch {s['micro_batch']}"
    yield f"{batch}, {s['num_microbatches']} microbatches, step {float(s['step_s']):.17g} s"
    name = {section: [n.decode() for n in found.name_column(found[section])] for section in (3, 5, 6, 7, 11, 12)}
    for r in found[Section.RANKS]:
        place = f"local_rank {r['local_rank']} slot {r['slot']} gpu {r['gpu']} node {r['node']}"
        fabric = f"domain {name[5][r['domain']]} nic {name[6][r['rail']]} rail {r['rail']} stage {r['stage']}"
        axes = " ".join(f"{a} {r[a]}" for a in ("tp", "cp", "dp", "ep", "etp", "edp", "gtp", "egtp"))
        yield f"rank {r['rank']} host {name[3][r['host']]} {place} {fabric} {axes}"
    for i, host in enumerate(found[Section.HOSTS]):
        yield f"host {i} {name[3][i]} node {host['node']} ranks {host['num_ranks']} first {host['first_rank']}"
    kinds = found.name_column(found[Section.LAYERS], "type_name")
    for p in found[Section.STAGES]:
        yield f"stage {p['stage']} recompute {recompute[p['recompute']]} chunks {p['num_chunks']} layers {p['num_layers']}"
        for c in found[Section.CHUNKS][found[Section.CHUNKS]["stage"] == p["stage"]]:
            for i in range(c["first_layer"], c["first_layer"] + c["num_layers"]):
                where = f"stage {p['stage']} chunk {c['chunk']} virtual {c['virtual_stage']}"
                yield f"layer {i} {where} type {kinds[i].decode()} name {name[11][i]}"
    for i, row in enumerate(found[Section.COMMUNICATORS]):
        for g in range(row["num_groups"]):
            yield f"communicator {name[7][i]} group {g}: {' '.join(map(str, members(found, row, g)))}"
    for i, spare in enumerate(found[Section.SPARES]):
        yield f"spare {spare['gpu']} host {name[12][i]} slot {spare['slot']} reserved {spare['reserved_node']}"


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("flags", [(), ("-DPLACEMENT_PLAN_PORTABLE",)], ids=["", "portable"])
def test_every_record_as_in_python(name: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Every number, name and communicator member that C reads is the one that Python reads; sanitizers are silent."""
    data = binary(PLANS[name]())
    (tmp_path / "plan.bin").write_bytes(data)
    done = run(build("examples/runtime/plan_dump.c", *SANITIZE, *flags), tmp_path / "plan.bin")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == list(text(unpack(data, "plan.bin")))


@pytest.mark.parametrize("flags", [(), ("-march=armv8.1-a",)], ids=["", "armv8.1-a"])
def test_on_arm(flags: tuple[str, ...], tmp_path: Path) -> None:
    """The same on 64-bit Arm, with and without its CRC instructions."""
    emulator = needs("qemu-aarch64", "qemu-aarch64-static")
    data = binary(shaped(hosts=256, gpus=4, tp=4, ep=8, dp=32, pp=8))
    (tmp_path / "plan.bin").write_bytes(data)
    dump = build("examples/runtime/plan_dump.c", "-O2", "-static", *flags, compiler="aarch64-linux-gnu-gcc")
    done = run(emulator, dump, tmp_path / "plan.bin")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(text(unpack(data, "plan.bin")))


def test_one_rank(tmp_path: Path) -> None:
    """Asked for one rank, the tour shows where it runs, its layers, and each communicator that it is in."""
    (tmp_path / "plan.bin").write_bytes(binary(PLANS["tied, shuffled, interleaved"]()))
    dump = build("examples/runtime/plan_dump.c", *SANITIZE)
    lines = run(dump, tmp_path / "plan.bin", "5").stdout.splitlines()
    found = unpack((tmp_path / "plan.bin").read_bytes(), "plan.bin")
    assert lines[0] in set(text(found))
    groups = [line for line in lines if "communicator" in line]
    for line in groups:
        index, _, rest = line.partition(" of ")
        assert rest in set(text(found))
        assert rest.partition(": ")[2].split()[int(index)] == "5"
    kinds = [n.decode() for n in found.name_column(found[Section.COMMUNICATORS])]
    assert [g.split()[3] for g in groups] == kinds[: len(groups)]


def test_large_plan(library: ctypes.CDLL) -> None:
    """All fields of 18,432 ranks, (host, slot) -> rank, and the dp and ep groups of each agree with numpy."""
    data = binary(tiny_plan(tiny_cluster(leafs=128, nodes=36, gpus=4), reverse=True, spares=128))
    found = unpack(data, "plan.bin")
    rank, s = found[Section.RANKS], found[Section.STRATEGY][0]
    out = np.zeros((len(rank), 22), np.uint32)
    assert library.rank_fields(data, ctypes.c_size_t(len(data)), out.ctypes.data_as(ctypes.c_void_p)) == OK
    names = (*(RECORDS[Section.RANKS].names or ()), "rank")
    for k, name in enumerate(names):
        assert np.array_equal(out[:, k], rank[name]), name
    for k, (axis, stride) in enumerate({"dp": int(s["tp"] * s["cp"]), "ep": int(s["etp"])}.items()):
        n = int(s[axis])
        grid = np.moveaxis(np.arange(len(rank)).reshape(-1, n, stride), 1, -1).reshape(-1, n)
        group_R, index_R = np.empty(len(rank), int), np.empty(len(rank), int)
        group_R[grid], index_R[grid] = np.arange(len(grid))[:, None], np.arange(n)
        assert np.array_equal(out[:, 18 + 2 * k], group_R)
        assert np.array_equal(out[:, 19 + 2 * k], index_R)
    csv = "".join(rank_rows(found)).splitlines()
    assert len(csv) == len(rank) + 1


# --------------------------------------------------------------------------------------------------------------- refusing


def test_every_truncation_is_refused(library: ctypes.CDLL) -> None:
    """No prefix of a plan.bin can be opened, nor one with a byte more."""
    data = binary(tiny_plan(tied=True))
    assert check(library, data) == OK
    assert all(check(library, data[:n]) for n in range(len(data)))
    assert check(library, data + b"\0") == TRUNCATED


def test_every_flipped_bit_is_refused(library: ctypes.CDLL) -> None:
    """Every single flipped bit of the file is noticed."""
    data = bytearray(binary(tiny_plan(tied=True)))
    for at in range(8 * len(data)):
        data[at // 8] ^= 1 << at % 8
        assert check(library, bytes(data)) != OK, at
        data[at // 8] ^= 1 << at % 8


BAD = (0, 1, 2, 3, 63, 64, 127, 128, 255, 65535, 2**31 - 1, 2**31, 2**32 - 64, 2**32 - 2, NONE)


def mutant(seeds: list[bytes], draw: random.Random) -> bytes:
    """A file with one to three fields changed; nine of ten get all their checksums put right."""
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.randrange(1, 4)):
        top = draw.choice([136, 544, len(data) - 8, len(data) - 8])
        at = draw.randrange(top) & ~3
        near = (int.from_bytes(data[at : at + 4], "little") + draw.randrange(-2, 3)) % 2**32
        kind = draw.randrange(3)
        if kind == 0:
            data[at + draw.randrange(4)] = draw.randrange(256)
        elif kind == 1:
            data[at : at + 4] = draw.choice([draw.choice(BAD), near]).to_bytes(4, "little")
        else:
            data[at : at + 8] = draw.choice([2**64 - 1, 2**63, 2**32, draw.choice(BAD)]).to_bytes(8, "little")
    if draw.random() < 0.9:
        reseal(data)
    return bytes(data)


def reseal(data: bytearray) -> None:
    """Makes the file size and all checksums right, as far as the section table makes sense."""
    header = np.frombuffer(data, HEADER, 1)
    header["file_size"] = len(data)
    count, start, width = (int(header[0][k]) for k in ("num_sections", "table_offset", "entry_size"))
    if count <= 1024 and width >= 32 and start + count * width <= len(data):
        for i in range(count):
            entry = np.frombuffer(data, ENTRY, 1, start + i * width)
            at, size = int(entry[0]["offset"]), int(entry[0]["elem_size"]) * int(entry[0]["count"])
            if at + size <= len(data):
                entry["crc32c"] = crc32c(bytes(data[at : at + size]))
        header["table_crc32c"] = crc32c(bytes(data[start : start + count * width]))
    header["header_crc32c"] = crc32c(bytes(data[:124]))


def python_accepts(data: bytes) -> bool:
    try:
        unpack(data, "plan.bin")
    except PlanError:
        return False
    return True


def test_c_and_python_refuse_the_same_files(library: ctypes.CDLL) -> None:
    """Of 4,000 damaged and hostile files, C accepts exactly those that Python accepts; some of each kind occur."""
    seeds = [binary(tiny_plan()), binary(tiny_plan(tied=True, reverse=True, vpp=2))]
    draw, accepted = random.Random(6), 0
    for _ in range(4000):
        data = mutant(seeds, draw)
        fine = python_accepts(data)
        assert (check(library, data) == OK) == fine
        accepted += fine
    assert 100 < accepted < 3900


def test_fuzz(tmp_path: Path) -> None:
    """100,000 mutants under AddressSanitizer and UndefinedBehaviorSanitizer: no report, and many get past the checksums."""
    seeds = write(tmp_path)
    fuzz = build("tests/fuzz/fuzz_plan.c", *SANITIZE, "-DPLAIN_DRIVER", "-Wno-conversion")
    done = run(fuzz, "100000", "6", *seeds, DATA / "plan-1.0.bin")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert int(words[words.index("opened") + 1]) > 10_000
    assert int(words[words.index("accepted") + 1]) > 1_000


# ---------------------------------------------------------------------------------------------------------- other versions

RELEASED = {"plan-1.0.bin": "8cca777d2e1376fe5abc8d046dc27f84bf12f693a28c98bff328d94d174e9309"}


@pytest.mark.parametrize(("name", "digest"), RELEASED.items())
def test_released_minor_versions_still_open(name: str, digest: str, library: ctypes.CDLL) -> None:
    """A file of every minor version that was released opens in C and in Python, with what it said then."""
    data = (DATA / name).read_bytes()
    assert check(library, data) == OK
    found = unpack(data, name)
    assert found.digest == digest
    lines = run(build("examples/runtime/plan_dump.c", *SANITIZE), DATA / name).stdout
    assert lines == (DATA / name).with_suffix(".txt").read_text(encoding="utf-8")


def test_no_released_version_is_missing() -> None:
    """tests/conformance/data holds a file of every minor version up to the one written now; C knows the same."""
    assert set(RELEASED) == {f"plan-{MAJOR}.{minor}.bin" for minor in range(MINOR + 1)}
    header = (SOURCES / "placement_plan.h").read_text(encoding="utf-8")
    assert re.findall(r"#define PLACEMENT_FORMAT_(?:MAJOR|MINOR) (\d+)", header) == [str(MAJOR), str(MINOR)]


def later(data: bytes) -> bytes:
    """The same plan as a later minor version might write it: longer records and entries, and a section of another type."""
    found = unpack(data, "plan.bin")
    parts: list[tuple[int, int, int, bytes]] = []
    for section, records in found.sections.items():
        width = records.itemsize if records.dtype.names is None else records.itemsize + 24
        rows = np.full((len(records), width), 0xEE, np.uint8)
        rows[:, : records.itemsize] = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.itemsize)
        parts.append((int(section), width, len(records), rows.tobytes()))
    parts.append((77, 3, 5, b"future sections"))
    header = bytearray(data[:128])
    table, body = bytearray(), bytearray()
    start = 192
    for kind, width, count, raw in parts:
        at = -(-(start + len(parts) * 40 + len(body)) // 64) * 64
        body += bytes(at - start - len(parts) * 40 - len(body)) + raw
        entry = np.zeros(1, ENTRY)
        entry[0] = (kind, width, at, count, crc32c(raw), 0)
        table += entry.tobytes() + b"\xee" * 8
    fields = np.frombuffer(header, HEADER, 1)
    fields["minor"], fields["num_sections"], fields["entry_size"], fields["table_offset"] = 7, len(parts), 40, start
    file = header + bytes(start - 128) + table + body
    reseal(file)
    return bytes(file)


def test_later_minor_versions_open(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A plan with longer records, longer section entries and an unknown section reads as before, in C and in Python."""
    data = later(binary(PLANS["tied, shuffled, interleaved"]()))
    assert check(library, data) == OK
    assert python_accepts(data)
    (tmp_path / "plan.bin").write_bytes(data)
    lines = run(build("examples/runtime/plan_dump.c", *SANITIZE), tmp_path / "plan.bin").stdout.splitlines()
    assert "version 1.7" in lines[0]
    assert lines == list(text(unpack(data, "plan.bin")))


def test_other_major_version_is_refused(library: ctypes.CDLL) -> None:
    """A major version that is not 1 is refused by name, with its checksums right."""
    data = bytearray(binary(tiny_plan()))
    np.frombuffer(data, HEADER, 1)["major"] = 2
    reseal(data)
    assert check(library, bytes(data)) == 5
    assert not python_accepts(bytes(data))
