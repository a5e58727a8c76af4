# SPDX-License-Identifier: Apache-2.0
"""ibnetdiscover: plain output and port lists, whole, cut, damaged and hostile."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from placement.diag import InputError
from placement.fabric.wiring import analyse
from placement.ingest import read
from placement.ingest.cluster import cluster_of
from placement.ir import Kind
from placement.spec.expand import load_wired
from tests import ibnetdiscover

SMALL = """\
vendid=0x2c9
devid=0xd2f2
sysimgguid=0x2c5eab0300b87b40
switchguid=0x2c5eab0300b87b40(2c5eab0300b87b40)
Switch\t65 "S-2c5eab0300b87b40"\t\t# "MF0;leaf-1:MQM9701/U1" enhanced port 0 lid 73 lmc 0
[1]\t"H-e09d730300000001"[1](e09d730300000001) \t\t# "n1 mlx5_0" lid 11 4xNDR
[2]\t"H-e09d730300000002"[1](e09d730300000002) \t\t# "n2 mlx5_0" lid 12 2xNDR

vendid=0x2c9
devid=0x1021
sysimgguid=0xe09d730300000001
caguid=0xe09d730300000001
Ca\t1 "H-e09d730300000001"\t\t# "n1 mlx5_0"
[1](e09d730300000001) \t"S-2c5eab0300b87b40"[1]\t\t# lid 11 lmc 0 "MF0;leaf-1:MQM9701/U1" lid 73 4xNDR

vendid=0x2c9
devid=0x1021
sysimgguid=0xe09d730300000002
caguid=0xe09d730300000002
Ca\t1 "H-e09d730300000002"\t\t# "n2 mlx5_0"
[1](e09d730300000002) \t"S-2c5eab0300b87b40"[2]\t\t# lid 12 lmc 0 "MF0;leaf-1:MQM9701/U1" lid 73 2xNDR
"""


@pytest.fixture
def capture(tmp_path):
    """Reads a text as a capture."""

    def call(text, format="ibnetdiscover"):
        path = tmp_path / "capture.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(str(path), format)

    return call


@cache
def fabric():
    wired = load_wired("gb200-su")
    size = len(wired.device)
    return replace(wired, device=replace(wired.device, guid_D=np.arange(0x1000, 0x1000 + size).astype(np.uint64)))


def test_everything_of_a_record_is_kept(capture):
    """Names, units, identities, models, ports, speed and width; both lines of each cable."""
    wired, found = capture(SMALL)
    d, c = wired.device, wired.cable
    assert found == ()
    assert d.name_D.tolist() == ["leaf-1", "n1", "n2"]
    assert d.unit_D.tolist() == ["", "mlx5_0", "mlx5_0"]
    assert d.model_D.tolist() == ["MQM9701", "", ""]
    assert (d.ports_D[0], d.lid_D.tolist()) == (65, [73, 11, 12])
    assert int(d.guid_D[0]) == 0x2C5EAB0300B87B40
    assert c.port_CE.tolist() == [[1, 1], [2, 1]]
    assert c.width_C.tolist() == [4, 2]
    assert c.Bps_C.tolist() == [50e9, 25e9]
    assert (c.line_C.tolist(), c.back_C.tolist()) == ([6, 7], [14, 21])


def test_lost_tabs_crlf_and_banners(capture):
    """A pasted terminal log reads as the file it was."""
    text = "=~=~= PuTTY log 2021.06.15 =~=~=\n" + SMALL.replace("\t", "")
    wired, found = capture(text.replace("\n", "\r\n"))
    assert len(wired.cable) == 2
    assert found == ()


@pytest.mark.parametrize(
    ("write", "format"), [(ibnetdiscover.plain, "ibnetdiscover"), (ibnetdiscover.ports, "ibnetdiscover-ports")]
)
def test_a_written_fabric_reads_back(capture, write, format):
    """1,152 cables of a GB200 unit through either layout: no finding, the same cluster."""
    wired, found = capture(write(fabric()), format)
    assert found == ()
    assert len(wired.cable) == 1152
    known = analyse(wired)
    assert known.faults == ()
    assert sorted(cluster_of(wired, "GB200").host_N.tolist()) == sorted(cluster_of(fabric(), "GB200").host_N.tolist())


def test_director_ports_and_chips(capture):
    """`[ext 5]` and `L16/U2` are kept."""
    text = SMALL.replace("leaf-1:MQM9701/U1", "dir-1-A:MCS8500/L16/U2").replace('[1]\t"H', '[1][ext 5]\t"H')
    wired, _ = capture(text)
    assert wired.device.unit_D[0] == "L16/U2"
    assert wired.cable.port_text(0, 0) == "ext 5"


def test_aggregation_nodes_are_no_hosts(capture):
    """The SHARP node of a switch is part of the switch."""
    wired, _ = capture(SMALL.replace("n2 mlx5_0", "Mellanox Technologies Aggregation Node"))
    assert wired.device.kind_D.tolist() == [Kind.SWITCH, Kind.ADAPTER, Kind.SERVICE]


def test_a_cut_capture_keeps_what_it_says(capture):
    """Devices without a record of their own are taken from what their peers say, and that is said."""
    wired, found = capture(SMALL[: SMALL.index("vendid", 10)])
    assert len(wired.cable) == 2
    assert wired.device.name_D.tolist() == ["leaf-1", "n1", "n2"]
    assert [d.name for d in found] == ["ingest/incomplete"]


def test_a_bad_line_is_one_diagnostic(capture):
    """With its number, and the rest is read."""
    wired, found = capture(SMALL.replace("[2]\t", "[two]\t", 1))
    assert [(d.name, d.primary.span.line) for d in found] == [("ingest/bad-port", 7)]
    assert len(wired.cable) == 2


def test_ends_that_disagree_on_speed(capture):
    """Each end prints its own speed; they should be one."""
    text = SMALL.replace("lid 73 2xNDR", "lid 73 4xNDR")
    _, found = capture(text)
    assert [d.name for d in found] == ["ingest/ends-disagree"]
    assert "2xNDR here, 4xNDR at line 21" in found[0].message


def test_twins_stay_two(capture):
    """A GUID that two devices share is a fault of the fabric, not of the file."""
    twin = SMALL + SMALL[SMALL.index('Ca\t1 "H-e09d730300000002"') :].replace("n2 mlx5_0", "n9 mlx5_0")
    wired, _ = capture(twin)
    assert "duplicate-guid" in [f.kind for f in analyse(wired).faults]


def test_many_bad_lines_are_counted_not_listed(capture):
    """Two hundred by number, the others by count: none is dropped in silence."""
    wired, found = capture(SMALL + "junk\n" * 1000)
    assert len(wired.device) == 3
    assert len(found) == 201
    assert "800 more records are left out" in found[-1].message


def test_odd_bytes_are_read_and_said(capture):
    """A Latin-1 letter in a name does not stop the file."""
    wired, found = capture(SMALL.encode().replace(b"n1 mlx5_0", b"caf\xe9 mlx5_0"))
    assert "café" in wired.device.name_D.tolist()
    assert [d.name for d in found] == ["ingest/encoding"]


@pytest.mark.parametrize("text", ["", "hello\n", "[1]\n" * 50, '"' * 100_000])
def test_what_is_no_capture_is_refused(capture, text):
    """With a diagnostic at the file, never a traceback."""
    with pytest.raises(InputError) as error:
        capture(text)
    assert "ingest/nothing-found" in [d.name for d in error.value.diagnostics]


def test_binary_is_refused(capture):
    """NUL bytes are no text."""
    with pytest.raises(InputError, match="not text"):
        capture(b"\x7fELF\0\0\0" * 100)


def test_an_unknown_format_is_named(capture):
    """With the nearest one."""
    with pytest.raises(InputError) as error:
        capture(SMALL, "ibnetdiscovr")
    assert error.value.diagnostics[0].help == "did you mean `ibnetdiscover`?"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_encodings_of_consoles(encoding, tmp_path):
    """With a byte order mark or without one."""
    path = tmp_path / "capture.txt"
    path.write_bytes(SMALL.encode(encoding))
    wired, found = read(str(path))
    assert found == ()
    assert wired.device.name_D.tolist() == ["leaf-1", "n1", "n2"]


def test_a_cable_that_one_end_does_not_tell(capture):
    """The host's own line is gone: the cable is kept, and the silent device is named."""
    lines = SMALL.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith("[1](") and "H-" not in line)
    wired, found = capture("\n".join(lines[:at] + lines[at + 1 :]))
    assert len(wired.cable) == 2
    assert [d.name for d in found] == ["ingest/one-sided"]
    assert "n1" in found[0].message or "n2" in found[0].message


def test_two_devices_with_one_guid_keep_their_cables(capture):
    """The switch calls both by the same GUID; each record says which port it is at."""
    guids = re.findall(r"^caguid=0x([0-9a-f]+)", SMALL, re.MULTILINE)
    wired, _ = capture(SMALL.replace(guids[1], guids[0]))
    assert sorted(wired.device.name_D[wired.cable.device_CE.max(axis=1)].tolist()) == ["n1", "n2"]
    assert [f.kind for f in analyse(wired).faults if f.severity == "error"] == ["duplicate-guid"]
