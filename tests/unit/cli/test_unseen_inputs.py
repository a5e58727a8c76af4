# SPDX-License-Identifier: Apache-2.0
"""Inputs that no example has: each ends in a plan that the referee accepts, or says why there is none."""

from __future__ import annotations

import pytest

from placement.cost.hardware import hardware
from placement.spec import load_cluster

MODEL = """\
name: toy
transformer: {{layers: 4, hidden: 1024, heads: 8, kv_heads: 4, ffn: 4096, vocab: 32000{more}}}
job: {{sequence_length: 1024, global_batch: 32, precision: bf16}}
"""
EXPERTS = ", experts: 8, topk: 2, moe_ffn: 512"
HYBRID = ', experts: 8, topk: 2, moe_ffn: 512, pattern: "M*-E", mamba: {heads: 16, head_dim: 64, groups: 2, state: 64}'
NODE = "name: c\ngpu: {gpu}\nnode: {{gpus: {gpus}, nics: 1, nic: ConnectX-7}}\nnvlink: {{latency: 1 us, nodes: 1}}\n"
NETWORK = "fabric: {tiers: [{name: network, latency: 4 us}]}\n"


@pytest.fixture
def files(tmp_path):
    """Writes a model and a cluster; returns their paths."""

    def write(more, cluster):
        model, topology = tmp_path / "model.yaml", tmp_path / "cluster.yaml"
        model.write_text(MODEL.format(more=more), encoding="utf-8")
        topology.write_text(cluster, encoding="utf-8")
        return str(model), str(topology)

    return write


def one_host(gpus=4, rest=""):
    return NODE.format(gpu="H100", gpus=gpus) + "racks: [{count: 1, nodes: 1}]\n" + rest


@pytest.mark.parametrize(
    ("more", "pin", "words"),
    [
        ("", "ep=2", "`ep` is pinned to 2"), ("", "etp=2", "`etp` is pinned to 2"), ("", "egtp=2", "no strategy fits"),
        (EXPERTS, "ep=3", "`ep` is pinned to 3"), (EXPERTS, "egtp=3", "no strategy fits"),
    ],
)  # fmt: skip
def test_a_pin_that_the_model_does_not_have_is_infeasible(more, pin, words, files, run):
    """Exit code 3, and the help names the pin."""
    code, _, err = run("plan", *files(more, one_host()), "--effort", "0", "--pin", pin)
    assert (code, words in err) == (3, True)


def test_a_pinned_shard_of_experts_beyond_two_is_planned(files, run):
    """The bound of the search starts at the smallest shard that the pin leaves."""
    code, out, _ = run("plan", *files(EXPERTS, one_host()), "--effort", "0", "--pin", "egtp=4")
    assert code == 0
    assert "egtp 4" in out


def test_half_layers_are_planned_and_verified(files, run):
    """A model of mixers, attention, feed-forward networks and experts, over tensor ranks and stages."""
    for pin in ("tp=2", "pp=2"):
        assert run("plan", *files(HYBRID, one_host()), "--effort", "0", "--pin", pin).code == 0


def test_domains_without_a_network_are_refused(files, run):
    """Their traffic would cost nothing; one domain needs no network."""
    apart = NODE.format(gpu="H100", gpus=4) + "racks: [{count: 2, nodes: 2}]\n"
    code, _, err = run("plan", *files("", apart), "--effort", "0")
    assert code == 1
    assert "error[topology/no-network]: 4 NVLink domains, and no network between them" in err
    for sound in (apart + NETWORK, one_host(), apart.replace("us, nodes: 1", "us").replace("count: 2", "count: 1")):
        assert run("topology", "validate", files("", sound)[1]).code == 0


def test_a_host_alone_does_not_miss_its_adapter(files, run):
    """Without a network a failed adapter changes nothing."""
    failed = 'exceptions: [{state: failed, nics: "rack0001-node01:0"}]\n'
    model, topology = files("", one_host(rest=failed))
    assert run("plan", model, topology, "--effort", "0").code == 0


def test_of_chips_with_the_same_peak_the_one_with_less_nvlink_sets_the_pace(files, run):
    """An H800 computes like an H100; compiler and referee take the same one, in either order."""
    other = 'racks: [{{count: 1, nodes: 2}}, {{count: 1, nodes: 1, gpu: {}, name: "x{{rack}}", host: "x{{rack}}-{{node}}"}}]\n'
    for one, two in (("H800", "H100"), ("H100", "H800")):
        cluster = NODE.format(gpu=one, gpus=2) + other.format(two) + NETWORK
        model, topology = files(EXPERTS, cluster)
        assert hardware(load_cluster(topology)).chip.name == "H800"
        assert run("plan", model, topology, "--effort", "0", "--gpus", "2").code == 0
