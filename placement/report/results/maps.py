# SPDX-License-Identifier: Apache-2.0
"""Results of the commands that look at a map of several towers, where they differ from those of plans."""

from __future__ import annotations

from collections.abc import Mapping

from placement.report.results.shapes import COORDINATES, PAIR, SPANNED, TIERS, Shape

_PLACES = {
    "moves_with": ["int: ranks that move as one"], "block_hosts": "str: the hosts that they fill",
    "places": "int: other places that could hold them, compared",
    "busiest_s": "float: seconds of the busiest uplinks, phases one after another",
    "launcher_s": "float: the same in the launcher's order", "bytes_tier": TIERS,
    "elsewhere": [
        {
            "hosts": "str: whose place they would take", "idle": "bool: no rank runs there", "busiest_s": "float",
            "same": "str: the lowest tier that holds both places",
            "adds_bytes": {"*": "float: more bytes that leave groups of this tier"},
        }
    ],
}  # fmt: skip

MAPS: Mapping[str, tuple[str, Shape]] = {
    "show-ranks-map": (
        "`show MAP ranks`: one record a rank of a map.",
        {
            "ranks": [
                {
                    "rank": "int", "host": "str", "gpu": "int: slot on the host", "rack": "str", "rail": "int", "tower": "str",
                    **COORDINATES, "local_rank": "int",
                }
            ]
        },
    ),
    "why-rank-map": (
        "`why MAP rank N`: where a rank is, with whom it talks, and what the best other places would cost.",
        {
            "rank": "int", "host": "str", "gpu": "int", "rack": "str", "rail": "int", "tiers": {"*": "int"}, "tower": "str",
            "tower_rank": "int", "coordinates": {"*": "int: empty of bare ranks"}, **_PLACES, "where": "str?",
            "groups": [
                {
                    "part": "str: TOWER.AXIS, bridge, groups or pairs", "members": ["int"], "hosts": "int: how many",
                    "domains": "int: NVLink domains", "tier": "str: where its members meet", **SPANNED,
                    "sends_bytes": "float: a step", "receives_bytes": "float: a step",
                }
            ],
        },
    ),
    "why-node-map": (
        "`why MAP node NAME`: what a host runs, what other places would cost, or why it runs nothing.",
        {
            "host": "str", "state": "str", "rack": "str", "tiers": {"*": "int"}, "gpu_type": "str",
            "nic_Bps": "float: bytes/s of one adapter", "speed": "float: share of its compute", "gpus_ok": "int",
            "ranks": [{"gpu": "int", "rail": "int", "rank": "int", "tower": "str"}], "why_idle": "str", "reason": "str",
            **_PLACES, "where": "str?",
        },
    ),
    "why-link-map": (
        "`why MAP link NAME`: who sends over an uplink and how long it is busy.",
        {
            "link": "str", "tier": "str", "uplink_Bps": "float: bytes/s", "bytes_axis": {"*": "float: by part"},
            "busy_s": "float", "share": "float: of the busiest uplinks", "busier": "int: uplinks of its tier that are busier",
            "links": "int: of its tier", "mean_s": "float: of those in use", "ranks": "int: below it", "towers": ["str"],
            "hosts": "str", "where": "str?",
        },
    ),
    "diff-map": (
        "`diff A B` of two maps: inputs and the lines that changed, towers, ranks that move, traffic. Pairs are before, after.",
        {
            "different": "bool", "digests": ["str"], "inputs": {"*": PAIR}, "cluster": {"*": PAIR}, "world_size": ["int"],
            "changes": {"*": [{"key": "str", "before": "str?", "after": "str?", "where": "str"}]},
            "towers": {"*": PAIR},
            "mapping": {
                "hosts_out": "str", "hosts_in": "str", "num_hosts_out": "int", "num_hosts_in": "int", "ranks_moved": "int",
                "ranks_compared": "int", "moves": [{"ranks": ["int"], "from": "str", "to": "str", "tower": "str"}],
            },
            "busiest_s": ["float"], "gap": ["float?"], "traffic_bytes": {"*": ["float"]},
        },
    ),
    "repair-map": (
        "`repair MAP`: what moved and what leaves each tier. Pairs are before, after.",
        {
            "repairs": "str: digest of the map that was repaired", "digest": "str", "events": {"*": "str"}, "moved": "int",
            "lost_ranks": "int", "least_moves": "int: of any repair", "proven_least": "bool",
            "blocks_moved": "int: blocks of ranks that left their NVLink domain",
            "moved_within": {"*": "int: ranks that stayed within a group of this tier"}, "busiest_s": ["float"],
            "traffic_bytes": {"*": ["float"]}, "gap": "float?: above the lower bound of any placement", "spare_gpus": "int",
            "spare_blocks": {"*": "int: blocks of a tower that would find room in an NVLink domain"},
            "columns": ["str: of each move"], "moves": [["any"]], "notes": ["str"],
        },
    ),
}  # fmt: skip
