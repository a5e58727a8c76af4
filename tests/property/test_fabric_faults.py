# SPDX-License-Identifier: Apache-2.0
"""Wired fabrics: healthy ones have no faults, and of the faults that are put in each is found, once, and nothing else."""

from functools import cache

import pytest

from placement.fabric.wiring import analyse
from placement.ingest.cluster import cluster_of
from placement.spec import load_cluster
from placement.spec.expand import expand, load_wired
from placement.spec.source import parse
from tests.property.fabric_faults import CLASSES, TOPOLOGY, Lab, prepared

RUNS = 25  # x 43 classes: 1,075 faults


@cache
def base():
    return prepared(expand(parse(TOPOLOGY, room="topology")))


def mentions(fault, name):
    return any(name in text for text in (fault.message, *fault.victims, *fault.devices, *fault.expected, *fault.actual))


def judged(lab, wanted):
    """(injections that were not found, findings that nothing was injected for)."""
    found, missed = list(analyse(lab.result()).faults), []
    for kind, name in wanted:
        hit = next((f for f in found if f.kind == kind and mentions(f, name)), None)
        if hit is None:
            missed.append((kind, name))
        else:
            found.remove(hit)
    return missed, [(f.kind, f.message) for f in found]


def test_the_generated_fabric_is_large_and_healthy():
    """2,016 nodes, 14,112 cables, not one finding."""
    assert len(base().cable) == 14_112
    assert analyse(Lab(base(), 0).result()).faults == ()


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_single_fault_is_one_finding(name):
    """Each class alone: exactly its finding, with the right name in it."""
    lab = Lab(base(), 7)
    wanted = [CLASSES[name](lab)]
    assert judged(lab, wanted + lab.also) == ([], [])


@pytest.mark.parametrize("seed", range(RUNS))
def test_faults_of_every_class_at_once_are_told_apart(seed):
    """Recall and precision are 100 % with one fault of each of 43 classes at once."""
    lab = Lab(base(), seed)
    wanted = [fault(lab) for fault in CLASSES.values()]
    assert judged(lab, wanted + lab.also) == ([], [])


@pytest.mark.parametrize("name", ["tiny", "gb200-su", "a100-selene", "h100-16k"])
def test_designs_of_ours_are_healthy_when_wired(name):
    """No false alarm on regular fabrics of two and three tiers, with one rail a leaf or all of them."""
    assert analyse(load_wired(name)).faults == ()


@pytest.mark.parametrize("name", ["tiny", "h100-16k", "a100-selene"])
def test_a_wired_design_is_the_cluster_that_it_was_made_from(name):
    """Hosts, groups of each tier and their uplinks come back exactly."""
    mine, ours = cluster_of(load_wired(name)), load_cluster(name)
    assert mine.host_N.tolist() == ours.host_N.tolist()
    assert len(mine.tiers) == len(ours.tiers)
    for a, b in zip(mine.tiers, ours.tiers, strict=True):
        assert (a.group_N == b.group_N).all()
        assert a.uplink_Bps_J == pytest.approx(b.uplink_Bps_J)
    assert mine.nic_Bps_N == pytest.approx(ours.nic_Bps_N)


@pytest.mark.full
def test_the_220k_fabric_is_healthy_cable_by_cable():
    """660,096 cables of gb300-220k, partial pod and uneven pairs included: not one false alarm, in under 4 GiB."""
    wired = load_wired("gb300-220k")
    assert len(wired.cable) == 660_096
    found = analyse(wired)
    assert found.faults == ()
    assert [b.num_groups for b in found.boundaries] == [43, 72]
