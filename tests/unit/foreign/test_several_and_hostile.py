# SPDX-License-Identifier: Apache-2.0
"""Several sources about one cluster, and files made to hurt."""

from __future__ import annotations

import json

import pytest

from placement import ingest
from placement.diag import InputError
from placement.ingest.hierarchy import cluster_of_groups
from tests.unit.foreign.conftest import said

TREE = "SwitchName=top Switches=leaf[1-2]\nSwitchName=leaf1 Nodes=n[1-4]\nSwitchName=leaf2 Nodes=n[5-8]\n"
BLOCKS = "BlockName=b1 Nodes=n[1-4]\nBlockName=b2 Nodes=n[5-8]\n"


def nodes(cliques, capacity="4"):
    items = [
        {"kind": "Node", "metadata": {"name": f"n{k + 1}", "labels": {"nvidia.com/gpu.clique": f"u.{c}"}}, "status": {"capacity": {"nvidia.com/gpu": capacity}}}
        for k, c in enumerate(cliques)
    ]  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def test_a_tree_and_labels_make_one_cluster(wrote):
    """The tree gives the leafs, the labels the NVLink domains and GPUs; they agree."""
    wired, found = ingest.read_all([wrote(TREE, "tree.conf"), wrote(nodes([1, 1, 1, 1, 2, 2, 2, 2]), "nodes.json")])
    assert [d for d in found if d.name == "ingest/contradiction"] == []
    cluster = cluster_of_groups(wired)
    assert [(t.name, t.num_groups) for t in cluster.tiers] == [("nvlink", 2), ("leaf", 2), ("spine", 1)]
    assert cluster.gpus_per_node == 4


@pytest.mark.parametrize(
    ("cliques", "words"),
    [([1, 1, 1, 2, 2, 2, 2, 2], "NVLink domain of n4"), ([1] * 8, "are one in"), ([1] * 4 + [2] * 3, "does not have n8")],
)
def test_contradictions_are_said(cliques, words, wrote):
    """Domains that hold other hosts, domains that are one elsewhere, hosts that only one source has."""
    _, found = ingest.read_all([wrote(BLOCKS, "blocks.conf"), wrote(nodes(cliques), "nodes.json")])
    messages = [d.message for d in found if d.name == "ingest/contradiction"]
    assert len(messages) == 1
    assert words in messages[0]


def test_names_of_nobody_in_common(wrote):
    """Two files about different clusters are not merged in silence."""
    _, found = ingest.read_all([wrote(BLOCKS, "blocks.conf"), wrote(nodes([1]).replace('"n1"', '"other"'), "nodes.json")])
    assert "no host name in common" in next(d.message for d in found if d.name == "ingest/contradiction")


def test_a_tree_beside_a_capture_adds_no_cables(wrote):
    """Cables come from the capture; the tree gives its leafs as groups, and its domains."""
    capture = '<graphml><graph edgedefault="undirected"><node id="leaf1"/><node id="n1"/><edge source="leaf1" target="n1"/></graph></graphml>'
    wired, _ = ingest.read_all([wrote(capture, "g.graphml"), wrote(TREE, "tree.conf")])
    assert (len(wired.cable), wired.logical) == (1, False)
    assert wired.host.tiers == ("slurm-leaf",)


BOMB = '<?xml version="1.0"?><!DOCTYPE system [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><system version="1"><cpu>&b;</cpu></system>'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (BOMB, "ingest/xml-entity"),
        ('<system version="1"><cpu>' + "<pci>" * 300, "ingest/xml-too-deep"),
        ("- topology: a\n  tree: &a [" + "*a, " * 9 + "]", "ingest/nothing-found"),
        ('{"Instances": [' + "[" * 100_000, "ingest/unknown-format"),
        ('{"NetworkNodes": 1}', "ingest/nothing-found"),
        ("216 8 16 72 999999999999 A100\n1 2\n0 1 1Gbps 1ms 0\n", None),
    ],
)
def test_hostile_files_end_early_and_clearly(text, name, wrote):
    """Entity bombs, endless nesting, absurd ranges: an InputError with a name, at once."""
    if name is None:
        assert ingest.read(wrote(text))
        return
    with pytest.raises(InputError) as caught:
        ingest.read(wrote(text))
    assert name in {d.name for d in caught.value.diagnostics}


def test_an_external_doctype_is_not_fetched(read):
    """hwloc's own DOCTYPE names a DTD: it is neither fetched nor a fault."""
    text = '<!DOCTYPE topology SYSTEM "file:///etc/passwd"><topology version="2.0"><object type="Machine"/></topology>'
    assert [n for n, _ in said(read(text))] == ["assumed"]


@pytest.mark.parametrize("cut", [0.3, 0.5, 0.8, 0.99])
def test_cut_files_keep_what_they_have(cut, read):
    """A JSON list or XML dump that was cut is read up to the break, with one finding that says so."""
    text = nodes([1, 1, 1, 1, 2, 2, 2, 2])
    reading = read(text[: int(len(text) * cut)])
    assert {n for n, _ in said(reading)} <= {"bad-record", "incomplete"}
    assert len(said(reading)) == 1
    assert 0 < len(reading[0].host) <= 8


def test_one_broken_record_costs_only_itself(read):
    """A node that is no JSON in the middle of a list: one finding at its line, seven nodes."""
    text = nodes([1] * 8).replace('"n4"', '"n4", , oops')
    reading = read(text)
    assert [n for n, _ in said(reading)] == ["bad-record"]
    assert "oops" in text.split("\n")[said(reading)[0][1] - 1]
    assert len(reading[0].host) == 7


def test_the_wrong_format_says_what_it_looks_like(wrote):
    """A Slurm tree read as AWS answer: nothing is found, and the help names the right format."""
    with pytest.raises(InputError) as caught:
        ingest.read(wrote(TREE), "aws")
    assert any("slurm" in d.help for d in caught.value.diagnostics)


@pytest.mark.parametrize("format", list(ingest.FORMATS))
@pytest.mark.parametrize(
    "text",
    ["", "\n" * 1000, "x" * 100_000, "{" * 5000, "[[[[", "<a", "a,b,c\n1,2,3\n", "- - - - -", "\x7f\x01" * 100, "k: [1, 2"],
)
def test_garbage_is_refused_by_every_format(format, text, wrote):
    """No garbage crashes a reader, whatever it is called: an InputError, or a reading that says what was wrong."""
    try:
        wired, found = ingest.read(wrote(text), format)
    except InputError as error:
        refused = error.diagnostics
    else:
        refused = found
        assert len(wired.device) or len(wired.host)
    assert refused
