# SPDX-License-Identifier: Apache-2.0
"""Cabling sheets: headers of many makers, directors, hosts, twins and bad rows; and plans against what was found."""

import pytest

from placement.diag import InputError
from placement.fabric.wiring.compare import compare, ndt_report, plan_faults, superseded
from placement.ingest import read, read_all
from placement.ir import Kind

NDT = "#StartDevice,StartPort,EndDevice,EndPort,LinkType\n"


@pytest.fixture
def sheet(tmp_path):
    """Reads lines as a sheet."""

    def call(text, name="plan.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return read(str(path), "cabling")

    return call


def test_hosts_switches_and_directors(sheet):
    """Adapters lose their host's name; a blade is a chip of its director."""
    wired, found = sheet(NDT + "n1,n1 mlx5_0,SW-1,Port 7, Data\nSW-1,Port 21,DIR-1,Blade 16_Port 2/20,Data\n")
    assert found == ()
    assert wired.device.name_D.tolist() == ["n1", "SW-1", "DIR-1"]
    assert wired.device.unit_D.tolist() == ["mlx5_0", "", "L16/U2"]
    assert wired.device.kind_D.tolist() == [Kind.ADAPTER, Kind.SWITCH, Kind.SWITCH]
    assert wired.cable.port_CE.tolist() == [[1, 7], [21, 20]]


def test_a_cable_from_both_ends_is_one(sheet):
    """Sheets list switch links twice."""
    wired, found = sheet(NDT + "A,Port 1,B,Port 2,Data\nB,Port 2,A,Port 1,Data\n")
    assert len(wired.cable) == 1
    assert (wired.cable.line_C[0], wired.cable.back_C[0]) == (2, 3)
    assert found == ()


@pytest.mark.parametrize(
    "header",
    [
        "Source Device,Source Port,Destination Device,Destination Port",
        "from_host,from_port,to_host,to_port",
        "A Device,A Port,Z Device,Z Port",
    ],
)
def test_headers_of_other_makers(sheet, header):
    """Columns are found by what they say."""
    assert len(sheet(header + "\nn1,mlx5_0,SW-1,Port 7\n")[0].cable) == 1


def test_bad_rows_are_named_and_left_out(sheet):
    """Too few cells, an empty port, a port without a number: one diagnostic each, with its line."""
    wired, found = sheet(
        NDT + "n1,n1 mlx5_0,SW-1\nn2,,SW-1,Port 2,Data\nSW-1,abra,SW-2,cadabra,Data\nn3,n3 mlx5_0,SW-1,Port 3,Data\n"
    )
    assert [(d.name, d.primary.span.line) for d in found] == [
        ("ingest/bad-row", 2),
        ("ingest/bad-row", 3),
        ("ingest/bad-port", 4),
    ]
    assert len(wired.cable) == 1


def test_a_missing_column_is_named(sheet):
    """`StartPort` is not there."""
    with pytest.raises(InputError, match="`StartPort`"):
        sheet("#StartDevice,EndDevice,EndPort,LinkType\nA,B,Port 1,Data\n")


def test_quotes_and_commas(sheet):
    """CSV quoting is CSV quoting."""
    assert sheet(NDT + '"n,1",mlx5_0,"SW-1","Port 7",Data\n')[0].device.name_D.tolist() == ["n,1", "SW-1"]


PLAN = NDT + "n1,n1 mlx5_0,SW-1,Port 1,Data\nn2,n2 mlx5_0,SW-1,Port 2,Data\nn3,n3 mlx5_0,SW-1,Port 3,Data\n"


def test_a_plan_and_what_was_found(sheet):
    """Moved, missing and extra; names match whatever their case; one finding a cause."""
    plan, _ = sheet(PLAN)
    found, _ = sheet(
        NDT + "N1,N1 mlx5_0,sw-1,Port 1,Data\nn2,n2 mlx5_0,sw-1,Port 9,Data\nn4,n4 mlx5_0,sw-1,Port 4,Data\n", "found.csv"
    )
    got = compare(plan, found)
    assert (len(got.moved), len(got.missing), len(got.extra)) == (1, 1, 1)
    faults = {f.kind: f for f in plan_faults(got)}
    assert sorted(faults) == ["plan-extra", "plan-missing-device", "plan-miswired"]
    assert faults["plan-miswired"].expected == ("n2 mlx5_0 -- SW-1/2",)
    assert faults["plan-miswired"].actual == ("n2 mlx5_0 -- sw-1/9",)
    assert ndt_report(got)["miss_wired"] == [{"expected": "n2/n2 mlx5_0 - SW-1/2", "actual": "n2/n2 mlx5_0 - sw-1/9"}]


def test_the_same_fabric_differs_in_nothing(sheet):
    """Twice the same sheet."""
    assert compare(sheet(PLAN)[0], sheet(PLAN)[0]).same


def test_a_plan_judges_the_cables_it_lists(sheet):
    """A plan of host links leaves the checks of uplinks to the pattern."""
    better = superseded(sheet(PLAN)[0])
    assert "missing-host-link" in better
    assert "missing-cable" not in better
    assert "rail-swap" not in better


def test_several_files_are_one_plan(tmp_path):
    """Devices are shared by name; every cable keeps its file and line."""
    for name, line in (("a.csv", "n1,n1 mlx5_0,SW-1,Port 1,Data\n"), ("b.csv", "SW-1,Port 9,SW-2,Port 1,Data\n")):
        (tmp_path / name).write_text(NDT + line, encoding="utf-8")
    wired, _ = read_all([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], "cabling")
    assert wired.device.name_D.tolist() == ["n1", "SW-1", "SW-2"]
    assert wired.cable.file_C.tolist() == [0, 1]
