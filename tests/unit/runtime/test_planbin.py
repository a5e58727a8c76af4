# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from placement.diag import PlanError
from placement.ir import AXES, State
from placement.runtime import Flag, Section, assemble
from placement.runtime.crc import crc32c
from placement.runtime.layout import ENTRY, HEADER, NONE, RECORDS, Kind
from placement.runtime.planbin import PlanBin, unpack
from tests.plans import INPUTS, tiny_cluster, tiny_plan

PLANS = {
    "plain": tiny_plan,
    "reversed, interleaved, tied": lambda: tiny_plan(tied=True, reverse=True, vpp=2),
    "failed and reserved": lambda: tiny_plan(tiny_cluster(leafs=3, states={1: State.FAILED, 4: State.RESERVED})),
}


def binary(plan=None) -> bytes:
    return assemble(plan or tiny_plan(), INPUTS).files["plan.bin"]


@pytest.fixture(params=PLANS, ids=list(PLANS))
def plan(request):
    return PLANS[request.param]()


def test_ranks(plan) -> None:
    """Every rank record holds the placement, the coordinates and the names of its GPU."""
    found = unpack(binary(plan), "plan.bin")
    s, cluster, gpu_R = plan.chosen.strategy, plan.cluster, plan.chosen.placement.gpu_R
    host_R = found.name_column(found[Section.HOSTS])[found[Section.RANKS]["host"]]
    for r, record in enumerate(found[Section.RANKS]):
        node, slot = divmod(int(gpu_R[r]), cluster.gpus_per_node)
        assert (record["rank"], record["gpu"], record["node"], record["slot"]) == (r, gpu_R[r], node, slot)
        assert host_R[r].decode() == cluster.host_N[node]
        assert record["rail"] == cluster.rail_G[slot]
        assert record["domain"] == cluster.tiers[0].group_N[node]
        assert r == record["tp"] + s.tp * (record["cp"] + s.cp * (record["dp"] + s.dp * int(record["stage"])))


def test_hosts_are_sorted_and_point_back(plan) -> None:
    """(host, slot) -> rank inverts rank -> (host, slot), and local ranks ascend with the rank."""
    found = unpack(binary(plan), "plan.bin")
    rank, host = found[Section.RANKS], found[Section.HOSTS]
    names = found.name_column(host).tolist()
    assert names == sorted(names)
    slots = found[Section.SLOTS].reshape(len(host), -1)
    assert np.array_equal(slots[rank["host"], rank["slot"]], rank["rank"])
    assert int((slots != NONE).sum()) == len(rank)
    for h in range(len(host)):
        on_host = rank[rank["host"] == h]
        assert on_host["local_rank"].tolist() == list(range(int(host["num_ranks"][h])))
        assert on_host["rank"][0] == host["first_rank"][h]


def members(found: PlanBin, name: str) -> list[list[int]]:
    """Groups of a communicator by the rule of docs/plan-format.md, with plain loops."""
    rows = [r for r in found[Section.COMMUNICATORS] if found.names(int(r["name"]), int(r["name_size"])) == name]
    row = {key: int(rows[0][key]) for key in rows[0].dtype.names}
    if row["kind"] == Kind.TABLE:
        table = found[Section.MEMBERS][row["members"] :][: row["num_groups"] * row["size"]]
        return table.reshape(-1, row["size"]).tolist()
    n0, s0, n1, s1 = row["inner_size"], row["inner_stride"], row["outer_size"], row["outer_stride"]
    gap = s1 // (n0 * s0)
    groups = []
    for g in range(row["num_groups"]):
        low, rest = g % s0, g // s0
        middle, high = rest % gap, rest // gap
        first = low + s0 * n0 * (middle + gap * n1 * high)
        groups.append([first + i * s0 + j * s1 for j in range(n1) for i in range(n0)])
    return groups


def test_communicators(plan) -> None:
    """Descriptors give the groups of the strategy, members ascending, each rank in exactly one group."""
    found = unpack(binary(plan), "plan.bin")
    for axis in AXES:
        if axis not in ("gtp", "egtp"):
            assert members(found, axis) == plan.chosen.strategy.groups(axis).tolist(), axis
    for name in ("tp_cp", "dp_cp", "tp_pp", "etp_ep", "etp_ep_pp", "world", "gtp", "egtp"):
        groups = members(found, name)
        assert sorted(r for g in groups for r in g) == list(range(plan.chosen.strategy.world_size)), name
        assert all(g == sorted(g) for g in groups), name


def test_tied_weights_get_a_communicator() -> None:
    """Ranks that hold a matrix shared by two stages meet in a listed group; the index finds it from either end."""
    plan = tiny_plan(tied=True)
    found = unpack(binary(plan), "plan.bin")
    assert members(found, "tied_0") == [[0, 4], [1, 5], [2, 6], [3, 7]]
    row = found[Section.COMMUNICATORS][-1]
    assert found[Section.MEMBERS][int(row["index"]) :].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_spares_and_flags() -> None:
    """Healthy GPUs without a rank are listed by host; those that the topology reserves are marked."""
    found = unpack(binary(PLANS["failed and reserved"]()), "plan.bin")
    assert [(int(s["gpu"]), int(s["reserved_node"])) for s in found[Section.SPARES]] == [(8, 1), (9, 1)]
    assert found.name_column(found[Section.SPARES]).tolist() == [b"leaf0002-node00"] * 2
    assert Flag(int(found.header["flags"])) == Flag.LOCAL_RANK_IS_SLOT | Flag.WHOLE_NODES | Flag.RAILS_CONNECTED
    reverse = unpack(binary(tiny_plan(reverse=True)), "plan.bin")
    assert not reverse.header["flags"] & Flag.LOCAL_RANK_IS_SLOT


def test_views_do_not_copy() -> None:
    """All tables are read-only windows into the buffer."""
    data = binary()
    found = unpack(data, "plan.bin")
    whole = np.frombuffer(data, np.uint8)
    assert all(np.shares_memory(whole, table) for table in found.sections.values() if len(table))
    assert not any(table.flags.writeable for table in found.sections.values() if len(table))


def test_layout() -> None:
    """Sections start at multiples of 64 and do not overlap; a rank record is one cache line."""
    data = binary()
    count = int(np.frombuffer(data, HEADER, 1)[0]["num_sections"])
    entry = np.frombuffer(data, ENTRY, count, HEADER.itemsize)
    assert not (entry["offset"] % 64).any()
    end = entry["offset"] + entry["elem_size"] * entry["count"]
    assert (end[:-1] <= entry["offset"][1:]).all()
    assert entry[entry["type"] == Section.RANKS]["elem_size"] == 64
    assert data[6:8] == b"\r\n"


@pytest.mark.parametrize("dtype", [HEADER, ENTRY, *RECORDS.values()], ids=range(2 + len(RECORDS)))
def test_records_are_plain_c_structs(dtype) -> None:
    """Every field sits at a multiple of its own size and every record at a multiple of its largest field: no packing in C."""
    for field, offset in (dtype.fields or {}).values():
        size = field.base.itemsize if field.kind != "S" else 1
        assert offset % size == 0
        assert dtype.itemsize % size == 0


def test_every_truncation_is_refused() -> None:
    """No prefix of a plan.bin can be opened, whatever its length."""
    data = binary()
    for length in range(len(data)):
        with pytest.raises(PlanError):
            unpack(data[:length], "plan.bin")


def test_every_flipped_bit_is_refused() -> None:
    """Checksums and the zeros between sections leave no bit of the file unwatched."""
    data = bytearray(binary())
    for at in range(len(data)):
        data[at] ^= 1 << at % 8
        with pytest.raises(PlanError):
            unpack(bytes(data), "plan.bin")
        data[at] ^= 1 << at % 8


def test_trailing_bytes_are_refused() -> None:
    """A file with something appended is not the file that was written."""
    with pytest.raises(PlanError, match="truncated"):
        unpack(binary() + b"\0", "plan.bin")


def resealed(section: Section, change) -> bytes:
    """A hostile file: a table is changed, and all checksums are right."""
    data = bytearray(binary(tiny_plan(tied=True)))
    count = int(np.frombuffer(data, HEADER, 1)[0]["num_sections"])
    entry = np.frombuffer(data, ENTRY, count, HEADER.itemsize)
    row = int(np.flatnonzero(entry["type"] == section)[0])
    found = unpack(bytes(data), "plan.bin")[section].copy()
    change(found)
    at = int(entry[row]["offset"])
    data[at : at + found.nbytes] = found.tobytes()
    entry[row]["crc32c"] = crc32c(found.tobytes())
    return reseal_header(data, count)


def reseal_header(data: bytearray, count: int) -> bytes:
    header = np.frombuffer(data, HEADER, 1)
    size = int(header[0]["entry_size"])
    header["table_crc32c"] = crc32c(bytes(data[HEADER.itemsize : HEADER.itemsize + count * size]))
    header["header_crc32c"] = crc32c(bytes(data[: HEADER.itemsize - 4]))
    return bytes(data)


def put(field, index, value):
    def change(table):
        if field is None:
            table[index] = value
        else:
            table[field][index] = value

    return change


HOSTILE = [
    (Section.RANKS, put("host", 0, 99)),
    (Section.RANKS, put("rank", 1, 0)),
    (Section.RANKS, put("domain", 3, 4)),
    (Section.RANKS, put("slot", 2, 2)),
    (Section.RANKS, put("rail", 2, 2)),
    (Section.RANKS, put("stage", 2, 2)),
    (Section.SLOTS, put(None, 0, 8)),
    (Section.HOSTS, put("name", 0, 1 << 31)),
    (Section.HOSTS, put("name_size", 0, 0xFFFFFFFF)),
    (Section.HOSTS, put("name_size", 0, 3)),
    (Section.HOSTS, put("name", 0, 1)),
    (Section.NAMES, put(None, 0, 0xFF)),
    (Section.HOSTS, put("domain", 1, 9)),
    (Section.CHUNKS, put("stage", 0, 2)),
    (Section.CHUNKS, put("num_layers", 0, 0xFFFFFFFF)),
    (Section.LAYERS, put("chunk", 0, 77)),
    (Section.LAYERS, put("type_name", 0, 1 << 30)),
    (Section.COMMUNICATORS, put("inner_stride", 0, 0)),
    (Section.COMMUNICATORS, put("outer_stride", 0, 3)),
    (Section.COMMUNICATORS, put("size", 0, 8)),
    (Section.COMMUNICATORS, put("kind", 0, 2)),
    (Section.COMMUNICATORS, put("members", -1, 1 << 62)),
    (Section.COMMUNICATORS, put("index", -1, 1 << 62)),
    (Section.COMMUNICATORS, put("num_groups", -1, 1 << 31)),
    (Section.MEMBERS, put(None, 0, 8)),
    (Section.MEMBERS, put(None, -1, 7)),
    (Section.SPARES, lambda table: None),
    (Section.NAMES, put(None, slice(None), 65)),
]


@pytest.mark.parametrize(("section", "change"), HOSTILE)
def test_hostile_tables_are_refused(section, change) -> None:
    """An index or a name that leaves its table is refused although every checksum is right."""
    data = resealed(section, change)
    if section == Section.SPARES:
        unpack(data, "plan.bin")  # resealing alone harms nothing
        return
    with pytest.raises(PlanError, match="plan/damaged"):
        unpack(data, "plan.bin")


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("major", 2, "version"),
        ("endian", 0x04030201, "damaged"),
        ("num_sections", 4000, "damaged"),
        ("num_sections", 3, "checksum"),
        ("table_offset", 1 << 63, "damaged"),
        ("table_offset", 8, "damaged"),
        ("entry_size", 8, "damaged"),
        ("entry_size", 1 << 30, "damaged"),
        ("world_size", 9, "damaged"),
        ("num_hosts", 1, "damaged"),
        ("gpus_per_node", 0, "damaged"),
        ("num_stages", 1, "damaged"),
        ("header_size", 64, "damaged"),
    ],
)
def test_hostile_headers_are_refused(field, value, name) -> None:
    """A header that lies is refused although its checksum is right."""
    data = bytearray(binary())
    header = np.frombuffer(data, HEADER, 1)
    header[field] = value
    header["header_crc32c"] = crc32c(bytes(data[: HEADER.itemsize - 4]))
    with pytest.raises(PlanError, match=f"plan/{name}"):
        unpack(bytes(data), "plan.bin")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("offset", 1 << 62),
        ("offset", 129),
        ("offset", 64),
        ("count", 1 << 60),
        ("elem_size", 0),
        ("elem_size", 8),
        ("type", Section.HOSTS),
    ],
)
def test_hostile_section_tables_are_refused(field, value) -> None:
    """A section that is unaligned, overlaps, repeats or leaves the file is refused although the checksums are right."""
    data = bytearray(binary())
    count = int(np.frombuffer(data, HEADER, 1)[0]["num_sections"])
    np.frombuffer(data, ENTRY, count, HEADER.itemsize)[field][1] = value
    with pytest.raises(PlanError, match=r"plan/(damaged|checksum)"):
        unpack(reseal_header(data, count), "plan.bin")


def rebuilt(sections: list[tuple[int, int, bytes]], header_fields: dict[str, int]) -> bytes:
    """A plan.bin with any sections (type, record size, bytes), laid out afresh."""
    table, at = np.zeros(len(sections), ENTRY), HEADER.itemsize + ENTRY.itemsize * len(sections)
    body = b""
    for i, (kind, size, raw) in enumerate(sections):
        body += bytes(-(at + len(body)) % 64)
        table[i] = (kind, size, at + len(body), len(raw) // size, crc32c(raw), 0)
        body += raw
    file = bytearray(binary()[: HEADER.itemsize]) + table.tobytes() + body
    header = np.frombuffer(file, HEADER, 1)
    for name, value in ({"num_sections": len(sections), "file_size": len(file)} | header_fields).items():
        header[name] = value
    return reseal_header(file, len(sections))


def test_later_minor_versions_open() -> None:
    """Unknown sections are skipped and longer records read by their first fields: what a minor version may add."""
    tables = unpack(binary(), "plan.bin").sections
    sections = [(int(s), t.itemsize, t.tobytes()) for s, t in tables.items() if s != Section.NICS]
    nics = b"".join(record.tobytes() + b"newer fact here." for record in tables[Section.NICS])
    data = rebuilt([*sections, (Section.NICS, 32, nics), (999, 1, b"unheard of")], {"minor": 7})
    found = unpack(data, "plan.bin")
    assert found.name_column(found[Section.NICS]).tolist() == [b"mlx5_0", b"mlx5_1"]
    assert found[Section.NICS]["rail"].tolist() == [0, 1]


@pytest.mark.parametrize("missing", list(Section))
def test_missing_sections_are_refused(missing) -> None:
    """Version 1.0 defines every section as required."""
    tables = unpack(binary(), "plan.bin").sections
    data = rebuilt([(int(s), t.itemsize, t.tobytes()) for s, t in tables.items() if s != missing], {})
    with pytest.raises(PlanError, match=f"missing: {missing.name}"):
        unpack(data, "plan.bin")
