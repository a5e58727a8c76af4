# SPDX-License-Identifier: Apache-2.0
"""Exceptions of a topology: what a fault takes away, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from placement.diag import InputError
from placement.fabric import validate
from placement.fabric.capacity import share, spread
from placement.ir import Cluster, State
from placement.spec.source import parse
from placement.spec.topology import lower_document

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


def broken(name: str, *exceptions: str) -> Cluster:
    """An example without its own exceptions, with these."""
    text = (TOPOLOGIES / f"{name}.yaml").read_text().split("exceptions:")[0]
    listed = "".join(f"  - {{{e}}}\n" for e in exceptions)
    return lower_document(parse(f"{text}\nexceptions:\n{listed}" if listed else text, "t.yaml", "topology"))


def uplinks(cluster: Cluster, tier: int) -> np.ndarray:
    return cluster.tiers[tier].uplink_Bps_J / broken(cluster.name).tiers[tier].uplink_Bps_J


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failed", State.FAILED), ("drained", State.DRAINED), ("absent", State.ABSENT), ("reserved", State.RESERVED)],
)
def test_states_of_nodes(state: str, expected: State) -> None:
    """A node leaves service in four ways; only a reserved one keeps its GPUs healthy, none is usable."""
    c = broken("tiny", f"state: {state}, nodes: n0-1")
    assert c.state_N.tolist() == [0, int(expected), 0, 0]
    assert c.gpu_ok_NG[1].all() == (state == "reserved")
    assert c.usable_NG.sum() == 6
    assert c.num_gpus == (6 if state == "absent" else 8)


def test_racks_are_their_nodes() -> None:
    """Naming a rack names every node in it."""
    assert broken("tiny", "state: drained, racks: r1").state_N.tolist() == [0, 0, 2, 2]


def test_failed_nodes_take_their_adapters() -> None:
    """The NVLink domain of a failed tray sends less: 17 trays of 18 in that rack."""
    c = broken("gb200-su", "state: failed, nodes: su1-r3-t07")
    assert uplinks(c, 0).tolist() == pytest.approx([1, 1, 17 / 18, 1, 1, 1, 1, 1])


def test_a_gpu_is_one_slot() -> None:
    """A failed GPU keeps its node, which is no longer whole."""
    c = broken("tiny", "state: failed, gpus: 'n1-0:1'")
    assert c.state_N.tolist() == [0] * 4
    assert c.whole_N.tolist() == [True, True, False, True]


def test_degraded_nodes_are_slower() -> None:
    """Fractions may be written as percent; the worst of several counts."""
    c = broken("tiny", "state: degraded, nodes: 'n0-[0-1]', fraction: 90 %", "state: degraded, gpus: 'n0-1:0', fraction: 0.5")
    assert c.speed_N.tolist() == [0.9, 0.5, 1.0, 1.0]
    assert c.usable_NG.all()


def test_a_lost_adapter_is_shared() -> None:
    """The GPU of a dead adapter sends through a neighbour's, which then carries two: half speed for the worst."""
    c = broken("tiny", "state: failed, nics: 'n0-0:1'")
    assert c.nic_Bps_N.tolist() == [25e9, 50e9, 50e9, 50e9]
    assert c.tiers[0].uplink_Bps_J.tolist() == [50e9, 100e9, 100e9, 100e9]


def test_adapters_by_name() -> None:
    """An adapter may be called what the host calls it."""
    named = broken("tiny", "state: degraded, nics: 'n0-0:mlx5_1', fraction: 0.25")
    assert named.nic_Bps_N.tolist() == [12.5e9, 50e9, 50e9, 50e9]


def test_a_rail_leaf_takes_one_rail_of_its_group() -> None:
    """In A1 a leaf serves one rail of 4 racks: their adapters of that rail are gone, three rails carry four GPUs."""
    c = broken("gb300-220k", "state: failed, switches: leaf-012-r1")
    hit = np.isin(c.tiers[1].group_N, 12)
    assert hit.sum() == 72
    assert set(c.nic_Bps_N[hit].tolist()) == {50e9}
    assert set(c.nic_Bps_N[~hit].tolist()) == {100e9}
    assert uplinks(c, 1)[12] == pytest.approx(0.5)
    assert uplinks(c, 0)[48:52].tolist() == pytest.approx([0.75] * 4)


def test_a_plane_of_a_leaf_takes_an_eighth() -> None:
    """In B2 a leaf is one rail and one plane of eight: adapters keep seven eighths."""
    c = broken("gb300-220k-multiplane", "state: failed, switches: leaf-003-p5-r2")
    hit = c.tiers[1].group_N == 3
    assert set(c.nic_Bps_N[hit].tolist()) == {87.5e9}
    assert uplinks(c, 1)[3] == pytest.approx(7 / 8)


def test_a_lost_leaf_without_rails_cuts_its_nodes_off() -> None:
    """Where one leaf carries every adapter of a node, the node is out of service, and the file's reader is told."""
    c = broken("tiny", "state: failed, switches: leaf-0")
    assert c.state_N.tolist() == [1, 1, 0, 0]
    assert [d.message for d in c.findings] == [
        "2 nodes have no adapter left in service, and count as failed", "group 0 of tier `leaf` has no uplink left",
    ]  # fmt: skip


def test_a_spine_takes_its_share_of_pod_and_leafs() -> None:
    """In A1 one of 72 spines: its pod loses 1/72 of its way up, and so does every leaf group of that pod, no other."""
    c = broken("gb300-220k", "state: failed, switches: spine-07-s31")
    pod, leaf = uplinks(c, 2), uplinks(c, 1)
    assert pod[7] == pytest.approx(71 / 72)
    assert np.delete(pod[:-1], 7).tolist() == [1.0] * 41
    assert leaf[7 * 18 : 8 * 18].tolist() == pytest.approx([71 / 72] * 18)
    assert (leaf[: 7 * 18] == 1).all()
    assert (leaf[8 * 18 :] == 1).all()
    assert c.nic_Bps_N.min() == 100e9


def test_a_core_takes_its_share_of_every_pod() -> None:
    """In A1 one of 1,728 cores; half a core where it is degraded to half."""
    assert uplinks(broken("gb300-220k", "state: failed, switches: core-0007"), 2)[:-1] == pytest.approx(1 - 1 / 1728)
    half = broken("gb300-220k", "state: degraded, switches: core-0007, fraction: 50 %")
    assert uplinks(half, 2)[:-1] == pytest.approx(1 - 0.5 / 1728)


def test_cables_between_two_switches() -> None:
    """A leaf of the partial pod has 2 or 3 cables to each spine; one lost is 1/72 of that leaf's rail, and so of its group."""
    one = broken("gb300-220k", "state: failed, links: leaf-760-r1 -- spine-42-s05, count: 1")
    both = broken("gb300-220k", "state: failed, links: leaf-760-r1 -- spine-42-s05")
    assert uplinks(one, 1)[760] == pytest.approx(71 / 72)
    assert uplinks(both, 1)[760] in (pytest.approx(70 / 72), pytest.approx(69 / 72))
    third = broken("gb300-220k", "state: failed, links: spine-00-s03 -- core-0072, count: 1")
    assert uplinks(third, 2)[0] == pytest.approx(1 - 1 / (72 * 72))


def test_all_cables_of_a_leaf_add_up() -> None:
    """In a partial pod the cables from one leaf to all 32 spines are its 72 uplinks."""
    c = broken("gb300-220k", "state: failed, links: 'leaf-760-r1 -- spine-42-s[00-31]'")
    assert uplinks(c, 1)[760] == pytest.approx(0.5)  # a dead rail: three carry four


def test_listed_twice() -> None:
    """The worse state of two counts, whichever comes first, and the second place is a warning."""
    c = broken("tiny", "state: failed, nodes: n0-0", "state: reserved, racks: r0")
    assert c.state_N.tolist() == [1, 4, 0, 0]
    (warning,) = c.findings
    assert (warning.name, warning.message) == ("topology/listed-twice", "`n0-0` is listed twice")
    assert [label.text for label in warning.secondary] == ["listed first here"]


def test_lost_domains_are_found() -> None:
    """`validate` adds what only arrays show: an NVLink domain in which nothing runs any more."""
    c = broken("tiny", "state: failed, nodes: n1-1")
    assert [(d.name, d.objects) for d in validate(c)] == [("topology/domain-lost", ("n1-1",))]


def test_lanes() -> None:
    """Planes spread load evenly, rails move a whole GPU's: 3 of 4 lanes leave 3/4 or 1/2; no lane leaves nothing."""
    live = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [1, 0.5, 1, 1]], dtype=float)
    assert share(live).tolist() == [0.5, 1.0, 0.0, 0.5]
    assert spread(live).tolist() == [0.75, 1.0, 0.0, 0.5]


def test_longer_names_are_other_names() -> None:
    """A name that begins like a known one is not that one."""
    with pytest.raises(InputError, match="`n0-0x` is no node of this cluster"):
        broken("tiny", "state: failed, nodes: n0-0x")


def test_many_exceptions_are_bounded() -> None:
    """Lists that name far more objects than there are get refused before they are expanded, each or all together."""
    with pytest.raises(InputError) as caught:
        broken("tiny", *["state: failed, nodes: 'n[0-49999]-0'"] * 3)
    messages = [d.message for d in caught.value.diagnostics if d.name == "topology/host-list"]
    assert messages == ["the list names 50,000 objects, more than 64"]
