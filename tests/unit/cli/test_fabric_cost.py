# SPDX-License-Identifier: Apache-2.0
"""What single faults take from a cluster, what they cost a step, and a plan around them."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from placement.fabric.wiring import analyse
from placement.fabric.wiring.impact import designed, impacts
from placement.ingest.cluster import cluster_of
from placement.spec.expand import load_wired
from tests.ibnetdiscover import plain


def without(wired, drop):
    """The fabric without some cables, by number."""
    keep = np.ones(len(wired.cable), bool)
    keep[drop] = False
    columns = {f.name: getattr(wired.cable, f.name) for f in fields(wired.cable)}
    kept = {k: v[keep] if isinstance(v, np.ndarray) and len(v) == len(keep) else v for k, v in columns.items()}
    return replace(wired, cable=replace(wired.cable, **kept))


def cables_of(wired, name, side):
    d = next(i for i, n in enumerate(wired.device.name_D.tolist()) if n == name)
    return np.flatnonzero(wired.cable.device_CE[:, side] == d)


@pytest.fixture(scope="module")
def fabric():
    return load_wired("gb200-su")


def leaf_of(wired):
    ends = wired.device.kind_D[wired.cable.device_CE] == 0
    return str(wired.device.name_D[wired.cable.device_CE[np.flatnonzero(ends.all(axis=1))[0], 0]])


def test_a_healthy_fabric_has_nothing_to_price(fabric):
    """As found is as designed, and there is no fault."""
    known, cluster = analyse(fabric), cluster_of(fabric)
    whole = designed(cluster)
    assert impacts(known, whole) == []
    for a, b in zip(whole.tiers, cluster.tiers, strict=True):
        assert a.uplink_Bps_J == pytest.approx(b.uplink_Bps_J)
    assert whole.nic_Bps_N == pytest.approx(cluster.nic_Bps_N)


def test_a_missing_uplink_takes_its_share_of_one_leaf_group(fabric):
    """One of 18: the rail keeps 17/18, the rack waits for it, the other racks are as they were."""
    broken = without(fabric, cables_of(fabric, leaf_of(fabric), 0)[:1])
    (one,) = impacts(analyse(broken), designed(cluster_of(broken)))
    assert one.fault.kind == "missing-cable"
    whole = designed(cluster_of(broken))
    left = one.cluster.tiers[1].uplink_Bps_J / whole.tiers[1].uplink_Bps_J
    assert sorted(left.tolist()) == pytest.approx([17 / 18, *[1.0] * 7])
    assert one.gpus == 72


def test_a_missing_host_link_halves_what_the_node_sends(fabric):
    """Three lanes carry the load of four: the busiest has two GPUs."""
    adapter = np.flatnonzero(fabric.device.kind_D[fabric.cable.device_CE[:, 0]] == 1)[0]
    broken = without(fabric, [adapter])
    (one,) = [i for i in impacts(analyse(broken), designed(cluster_of(broken))) if i.fault.kind == "missing-host-link"]
    whole = designed(cluster_of(broken))
    assert sorted(set(np.round(one.cluster.nic_Bps_N / whole.nic_Bps_N, 6).tolist())) == [0.5, 1.0]
    assert (one.cluster.nic_Bps_N < whole.nic_Bps_N).sum() == 1
    assert one.gpus == 4


def test_the_step_on_a_broken_fabric(fabric, tmp_path, run):
    """`validate --model`: both plans, and the dearest fault first, never cheaper than the plan without it."""
    leaf = leaf_of(fabric)
    gone = [*cables_of(fabric, leaf, 0)[:9], np.flatnonzero(fabric.device.kind_D[fabric.cable.device_CE[:, 0]] == 1)[-1]]
    path = tmp_path / "capture.txt"
    path.write_text(plain(without(fabric, gone)), encoding="utf-8")
    code, out, _ = run("topology", "validate", path, "--model", "llama3-70b", "--format", "json")
    assert code == 1
    cost = json.loads(out)["cost"]
    assert cost["designed_gpus"] == 576
    assert cost["found_step_s"] >= cost["designed_step_s"] * (1 - 1e-9)
    steps = [w["step_s"] for w in cost["worst"]]
    assert steps == sorted(steps, reverse=True)
    assert all(w["loss"] >= -1e-9 for w in cost["worst"])
    assert {w["name"] for w in cost["worst"]} == {"fabric/missing-cable", "fabric/missing-host-link"}


def test_a_plan_on_a_capture_passes_the_referee(fabric, tmp_path, run):
    """The directory keeps the capture under another name; what is called after the file keeps its first one."""
    path = tmp_path / "hall 7.capture.txt"
    path.write_text(plain(without(fabric, cables_of(fabric, leaf_of(fabric), 0)[:3])), encoding="utf-8")
    code, _, err = run("plan", "llama3-70b", path, "-o", tmp_path / "plan", "--effort", "0", "--pin", "tp=4")
    assert code == 0, err
    code, out, _ = run("verify", tmp_path / "plan")
    assert (code, "all passed" in out) == (0, True), out
    host = str(cluster_of(fabric).host_N[0])
    assert run("why", tmp_path / "plan", "node", host)[0] == 0
