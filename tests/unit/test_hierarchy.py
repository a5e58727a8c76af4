# SPDX-License-Identifier: Apache-2.0
"""The tree and the tier matrix of `topology show`: right where everything fits, short where it does not."""

from dataclasses import replace

import numpy as np

from placement.hostlist import expand
from placement.ir import State
from placement.report.hierarchy import matrix_lines, tree_json, tree_lines
from placement.spec import load_cluster


def test_a_small_tree_is_whole():
    """Two leafs of two hosts: every group, indented, with its hosts."""
    assert [line.split() for line in tree_lines(load_cluster("tiny"))] == [
        ["spine1", "4", "nodes", "n[0-1]-[0-1]"], ["leaf1", "2", "nodes", "n0-[0-1]"], ["leaf2", "2", "nodes", "n1-[0-1]"],
    ]  # fmt: skip


def test_what_is_out_of_service_is_counted_and_what_is_absent_is_not_there():
    """One node failed, one absent."""
    cluster = load_cluster("tiny")
    state = cluster.state_N.copy()
    state[0], state[3] = State.FAILED, State.ABSENT
    lines = tree_lines(replace(cluster, state_N=state))
    assert [line.split()[1:] for line in lines] == [
        ["3", "nodes,", "1", "out", "of", "service", "n0-[0-1],n1-0"],
        ["2", "nodes,", "1", "out", "of", "service", "n0-[0-1]"],
        ["1", "node", "n1-0"],
    ]


def test_a_tree_of_220k_gpus_fits_a_screen():
    """3,056 racks: the first of each tier is opened, the rest is counted."""
    lines = tree_lines(load_cluster("gb300-220k"))
    assert len(lines) < 20
    assert [line.strip() for line in lines if "more" in line] == ["… and 14 more", "… and 39 more"]


def test_the_tree_as_json_holds_every_host_once():
    """8 racks of 18 trays."""
    cluster = load_cluster("gb200-su")

    def hosts(groups):
        return [h for g in groups for h in (hosts(g["groups"]) if "groups" in g else expand(g["hosts"]).tolist())]

    found = hosts(tree_json(cluster))
    assert len(found) == 144
    assert set(found) == set(cluster.host_N.tolist())


def test_the_matrix_says_where_groups_meet():
    """Checked against the tiers themselves, for the racks that it shows of 3,056."""
    cluster = load_cluster("gb300-220k")
    head, *rows = [line.split() for line in matrix_lines(cluster)]
    first = {str(n): int(np.flatnonzero(cluster.tiers[0].group_N == j)[0]) for j, n in enumerate(cluster.domain_name_J)}
    assert len(rows) == len(head) <= 10
    for name, *cells in rows:
        for other, cell in zip(head, cells, strict=True):
            a, b = first[name], first[other]
            meet = next(t.name.upper() for t in cluster.tiers if t.group_N[a] == t.group_N[b])
            assert cell == ("X" if name == other else meet)
    assert {c for _, *cells in rows for c in cells} == {"X", "LEAF", "POD", "CORE"}
