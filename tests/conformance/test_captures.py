# SPDX-License-Identifier: Apache-2.0
"""Real captures and plans of others, read where they lie: every fault in them is known here, and no other is reported."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from placement.diag import InputError, Severity
from placement.fabric.wiring import analyse
from placement.fabric.wiring.bandwidth import bandwidth
from placement.fabric.wiring.compare import compare, ndt_report, plan_faults
from placement.ingest import read, read_all
from placement.ingest.cluster import cluster_of
from placement.ingest.native import as_yaml
from placement.ir import Kind, State
from placement.spec import load_cluster

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "topology_samples"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="third-party samples are not here; they are never copied")


def sample(*parts):
    return str(SAMPLES.joinpath(*parts))


@cache
def capture(name):
    wired, found = read(sample("ibnetdiscover", f"{name}.ibnetdiscover.txt"), "ibnetdiscover")
    return wired, found, analyse(wired)


def of_kind(name, kind):
    return [f for f in capture(name)[2].faults if f.kind == kind]


# ------------------------------------------------------------------ the GB200 scalable unit: 8 racks x 4 rails, 31 of 32 leafs

DGX = "dgx_gb200_1su"


def test_the_gb200_unit_is_read_whole():
    """40 switches, 542 adapters and 40 aggregation nodes; each cable is told by both ends."""
    wired, found, _ = capture(DGX)
    assert Counter(wired.device.kind_D.tolist()) == {Kind.SWITCH: 40, Kind.ADAPTER: 542, Kind.SERVICE: 40}
    assert len(wired.cable) == 1114
    assert (wired.cable.back_C > 0).all()
    assert found == ()


def test_the_gb200_unit_has_faults_of_ten_classes_and_no_others():
    """The list of what is wrong there, checked by hand against the file, class by class."""
    assert Counter(f.kind for f in capture(DGX)[2].faults) == {
        "missing-switch": 1, "rail-swap": 1, "swapped-cables": 4, "missing-cable": 16, "absent-tray": 5, "unnamed-adapter": 19,
        "host-name": 1, "foreign-device": 2, "crossed-pair": 3, "adapter-naming": 1,
    }  # fmt: skip


def test_the_gb200_unit_lacks_a_leaf():
    """Rail 3 of rack 1: named from the grid of the others, with its 18 hosts, as one finding."""
    (fault,) = of_kind(DGX, "missing-switch")
    assert fault.devices == ("A09-P1-IBLEAF-03-01",)
    assert fault.victims == tuple(f"a05-p1-dgx-01-c{i:02}" for i in range(1, 19))
    assert fault.severity is Severity.ERROR


def test_the_gb200_unit_has_a_rail_swap():
    """HCA-5 and HCA-6 of one host are on each other's leaf."""
    (fault,) = of_kind(DGX, "rail-swap")
    assert fault.expected == (
        "b08-p1-dgx-08-c01 HCA-5 -- B09-P1-IBLEAF-03-08/1",
        "b08-p1-dgx-08-c01 HCA-6 -- B09-P1-IBLEAF-04-08/1",
    )
    assert fault.actual == (
        "b08-p1-dgx-08-c01 HCA-5 -- B09-P1-IBLEAF-04-08/1",
        "b08-p1-dgx-08-c01 HCA-6 -- B09-P1-IBLEAF-03-08/1",
    )


def test_the_gb200_unit_has_four_pairs_of_exchanged_cables():
    """Three of them with an adapter that carries no name: which it is follows by elimination."""
    assert sorted(f.devices for f in of_kind(DGX, "swapped-cables")) == [
        ("A09-P1-IBLEAF-02-01/11", "A09-P1-IBLEAF-02-01/12"), ("A09-P1-IBLEAF-04-01/11", "A09-P1-IBLEAF-04-01/14"),
        ("B09-P1-IBLEAF-01-06/2", "B09-P1-IBLEAF-01-06/4"), ("B09-P1-IBLEAF-02-06/7", "B09-P1-IBLEAF-02-06/8"),
    ]  # fmt: skip


def test_the_gb200_unit_lacks_26_uplinks_in_16_pairs():
    """576 by design, less 18 of the missing leaf, less 26: names and ports at both ends."""
    faults = of_kind(DGX, "missing-cable")
    assert sum(f.cables for f in faults) == 26
    assert sorted(f.devices for f in faults if f.cables == 1) == [
        ("A09-P1-IBLEAF-01-01", "A10-P1-IBSPINE-04"), ("A09-P1-IBLEAF-02-03", "A10-P1-IBSPINE-01"),
        ("B09-P1-IBLEAF-01-05", "A10-P1-IBSPINE-04"), ("B09-P1-IBLEAF-01-05", "B10-P1-IBSPINE-08"),
        ("B09-P1-IBLEAF-01-08", "B10-P1-IBSPINE-06"), ("B09-P1-IBLEAF-03-07", "B10-P1-IBSPINE-06"),
    ]  # fmt: skip
    first = next(f for f in faults if f.devices == ("A09-P1-IBLEAF-01-01", "A10-P1-IBSPINE-04"))
    assert first.expected == ("A09-P1-IBLEAF-01-01/40 -- A10-P1-IBSPINE-04/2",)


def test_the_gb200_unit_lacks_five_trays():
    """On all four rails at once."""
    assert sorted(f.victims for f in of_kind(DGX, "absent-tray")) == [
        ("a06-p1-dgx-02-c05",), ("a06-p1-dgx-02-c15",), ("a08-p1-dgx-04-c18",), ("b07-p1-dgx-07-c05",), ("b08-p1-dgx-08-c02",),
    ]  # fmt: skip


def test_the_gb200_unit_has_nineteen_hosts_without_names():
    """69 adapters of 19 hosts carry the maker's text; each host is told by where it is plugged in."""
    faults = of_kind(DGX, "unnamed-adapter")
    assert sorted(f.victims[0] for f in faults) == [
        *(f"a05-p1-dgx-01-c{i:02}" for i in (2, 5, 6, 7, 8, 11, 16)), *(f"a06-p1-dgx-02-c{i:02}" for i in (6, 8, 9, 13, 17)),
        *(f"b06-p1-dgx-06-c{i:02}" for i in (4, 9, 14)), "b07-p1-dgx-07-c15", *(f"b08-p1-dgx-08-c{i:02}" for i in (3, 7, 9)),
    ]  # fmt: skip
    assert sum(len(f.devices) for f in faults) == 69


def test_the_gb200_unit_has_strangers_and_a_host_without_its_name():
    """Two management hosts on compute leafs; `localhost` at the place of c10; crossed pairs and names are notes."""
    assert sorted(f.devices for f in of_kind(DGX, "foreign-device")) == [
        ("B09-P1-IBLEAF-04-08/21", "B09-P1-IBLEAF-03-08/21"), ("B09-P1-IBLEAF-04-08/22", "B09-P1-IBLEAF-03-08/22"),
    ]  # fmt: skip
    (name,) = of_kind(DGX, "host-name")
    assert (name.expected, name.actual) == (("a05-p1-dgx-01-c10",), ("localhost",))
    (units,) = of_kind(DGX, "adapter-naming")
    assert units.victims == tuple(f"a08-p1-dgx-04-c{i:02}" for i in range(1, 18))
    assert sorted(f.devices for f in of_kind(DGX, "crossed-pair")) == [
        ("A09-P1-IBLEAF-04-04", "A10-P1-IBSPINE-02"), ("A09-P1-IBLEAF-04-04", "B10-P1-IBSPINE-08"),
        ("B09-P1-IBLEAF-04-08", "A10-P1-IBSPINE-02"),
    ]  # fmt: skip


def test_what_the_gb200_unit_lost_in_bandwidth():
    """As designed 2 x 576 links of 400 Gb/s; the exact cut between four racks and four racks."""
    got = bandwidth(capture(DGX)[2])
    assert [(t.designed, t.found) for t in got.tiers] == [(576, 538), (576, 532)]
    assert got.bisection is not None
    assert got.bisection[0] == pytest.approx(288 * 50e9)
    assert 0.8 < got.bisection[1] / got.bisection[0] < 0.95


def test_the_gb200_unit_can_be_planned_on():
    """8 racks of 18 trays; failed, absent and unnamed hosts are out, and the missing leaf halves its rack."""
    cluster = cluster_of(capture(DGX)[0])
    assert cluster.num_nodes == 144
    assert Counter(State(s).name for s in cluster.state_N.tolist()) == {"OK": 119, "FAILED": 19, "ABSENT": 5, "DRAINED": 1}
    assert cluster.tiers[0].num_groups == 8
    assert cluster.tiers[1].uplink_Bps_J[0] == pytest.approx(0.5 * 17 / 18 * 72 * 50e9)


@pytest.mark.parametrize("name", [DGX, "director_ndt_actual"])
def test_an_imported_capture_reads_back_as_the_same_cluster(name, tmp_path):
    """Hosts, states, groups, uplinks and adapters of the YAML are those of the capture."""
    wired = capture(name)[0]
    path = tmp_path / "cluster.yaml"
    path.write_text(as_yaml(wired)[0], encoding="utf-8")
    mine, ours = cluster_of(wired), load_cluster(str(path))
    assert mine.host_N.tolist() == ours.host_N.tolist()
    assert (mine.state_N == ours.state_N).all()
    assert mine.nic_Bps_N[mine.state_N == 0] == pytest.approx(ours.nic_Bps_N[ours.state_N == 0])
    for a, b in zip(mine.tiers, ours.tiers, strict=True):
        assert (a.group_N == b.group_N).all()
        assert a.uplink_Bps_J == pytest.approx(b.uplink_Bps_J)


# -------------------------------------------------------------------------------------------- the director, and its plans

DIRECTOR = "director_ndt_actual"
PLANS = [("ndt_cabling", "switch_to_host_topo1.ndt"), ("ndt_cabling", "switch_to_switch_topo2.ndt")]


@cache
def plan():
    return read_all([sample(*p) for p in PLANS])


def test_the_director_is_read_through_its_terminal_log():
    """A banner, CR LF and lost tabs are tolerated; the shell prompt at the end is one diagnostic with its line."""
    wired, found, _ = capture(DIRECTOR)
    assert Counter(wired.device.kind_D.tolist()) == {Kind.SWITCH: 400, Kind.ADAPTER: 2328}
    assert len(wired.cable) == 8723
    assert [(d.name, d.primary.span.line) for d in found] == [("ingest/not-a-record", 33823)]


def test_the_pattern_of_the_director():
    """160 edge switches under 8 groups of chips, 160 line chips under 4 directors, 80 spine chips."""
    known = capture(DIRECTOR)[2]
    assert Counter(known.tier_D.tolist()) == {0: 2328, 1: 160, 2: 160, 3: 80}
    assert [b.num_groups for b in known.boundaries] == [8, 4]


def test_the_faults_of_the_director():
    """Five uplinks and four host links are missing, twelve pairs of host cables are exchanged, 103 adapters have no name."""
    faults = capture(DIRECTOR)[2].faults
    assert Counter(f.kind for f in faults) == {
        "missing-cable": 5, "missing-host-link": 4, "swapped-ports": 8, "swapped-cables": 4, "absent-tray": 17,
        "unnamed-adapter": 12, "foreign-device": 2, "mixed-generation": 1, "no-lid": 1, "leaf-without-hosts": 6,
    }  # fmt: skip
    assert {f.severity for f in faults if f.kind == "leaf-without-hosts"} == {
        Severity.INFO
    }  # the plan has no hosts there either
    assert sum(len(f.devices) for f in faults if f.kind == "unnamed-adapter") == 103


def test_the_plan_of_the_director_is_read_from_both_sides():
    """6,390 lines are 3,195 cables told twice; `Blade 16_Port 2/20` is port 20 of chip L16/U2."""
    wired, found = plan()
    assert len(wired.cable) == 2223 + 3195
    assert found == ()
    assert wired.planned


def test_a_plan_of_switches_only_has_a_pattern_too():
    """160 edge switches in 8 groups; the five cables that the capture lacks are not in the plan either."""
    known = analyse(read(sample("ndt_cabling", "switch_to_switch_topo2.ndt"), "cabling")[0])
    assert Counter(known.tier_D.tolist()) == {1: 160, 2: 160}
    assert known.boundaries[0].num_groups == 8
    lost = {frozenset(d.casefold() for d in f.devices) for f in known.faults}
    assert lost == {frozenset(d.casefold() for d in f.devices) for f in of_kind(DIRECTOR, "missing-cable")}


def ends(text):
    return frozenset(part.strip().casefold() for part in text.split(" - "))


def test_the_golden_report_of_ufm():
    """The same buckets with the same members as UFM's own comparison of these plans with this capture."""
    golden = json.loads(Path(sample("ndt_cabling", "expected_compare_report.json")).read_text(encoding="utf-8"))["report"]
    mine = ndt_report(compare(plan()[0], capture(DIRECTOR)[0]))
    for bucket in ("missing_in_ufm", "missing_in_ndt"):
        assert Counter(map(ends, mine[bucket])) == Counter(map(ends, golden[bucket]))

    def pairs(items):
        return Counter(frozenset((ends(i["expected"]), ends(i["actual"]))) for i in items)

    assert pairs(mine["miss_wired"]) == pairs(golden["miss_wired"])


def test_differences_from_the_plan_have_one_cause_each():
    """A device that does not exist is one finding with its two cables; unnamed adapters are one a switch."""
    faults = list(plan_faults(compare(plan()[0], capture(DIRECTOR)[0])))
    assert Counter(f.kind for f in faults) == {"plan-miswired": 2, "plan-missing-device": 1, "plan-extra": 15}
    (gone,) = [f for f in faults if f.kind == "plan-missing-device"]
    assert gone.devices == ("SAT11-0102-0903-05IB0",)
    assert gone.cables == 2


# ------------------------------------------------------------------------------------------------------- small and bad


def test_the_lab_with_two_switches():
    """Mixed FDR, EDR and HDR by switch is no fault; two cables that lead back to their switch are."""
    assert Counter(f.kind for f in capture("ufm_small_lab")[2].faults) == {"loop-cable": 2}


def test_a_capture_of_one_adapter_without_a_link():
    """It fails with one clear finding."""
    (fault,) = capture("single_node_no_link")[2].faults
    assert (fault.kind, fault.severity, fault.victims) == ("no-link", Severity.ERROR, ("dgx-gb200-n01-c1",))


def test_point_to_point_sheets_with_racks():
    """Servers whose names begin anew in each rack are told apart by it; speeds, racks and heights are read."""
    wired, found = read(sample("ndt_cabling", "p2p_host_switch_with_racks.csv"), "cabling")
    assert len(wired.cable) == 320
    assert found == ()
    assert len(set(wired.device.name_D[wired.device.kind_D == Kind.ADAPTER].tolist())) == 40
    assert set(wired.cable.Bps_C.tolist()) == {25e9}
    assert {"U3", "U10", "U27", "U34"} <= set(wired.device.place_D.tolist())


def test_a_switch_name_in_two_racks_is_found_in_a_sheet():
    """The sheet gives one director's name to two racks: one finding, not forty ports with two cables."""
    wired, _ = read(sample("ndt_cabling", "p2p_switch_switch_with_racks.csv"), "cabling")
    assert len(wired.cable) == 400
    (fault,) = analyse(wired).faults
    assert (fault.kind, fault.devices) == ("duplicate-name", ("DSM07-0101-0801-02IB1",))
    assert "F01C04-DR448, F01C04-DX448" in fault.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("neg_garbage.ndt", "ingest/no-header"),
        ("neg_incorrect_columns.ndt", "ingest/missing-column"),
        ("neg_incorrect_ports.ndt", "ingest/bad-port"),
    ],
)
def test_bad_sheets_are_refused_with_a_reason(name, expected):
    """Not a table, a missing column, bad ports: each says so with its line."""
    with pytest.raises(InputError) as error:
        read(sample("ndt_cabling", name), "cabling")
    assert expected in [d.name for d in error.value.diagnostics]
    assert all(d.primary is not None for d in error.value.diagnostics)
