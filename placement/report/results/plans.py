# SPDX-License-Identifier: Apache-2.0
"""Results of the commands that look at a written plan."""

from __future__ import annotations

from collections.abc import Mapping

from placement.ir import AXES, MEMORY
from placement.report.results.shapes import (
    BYTES,
    COORDINATES,
    COUNTS,
    DIAGNOSTIC,
    ELSEWHERE,
    PAIR,
    SECONDS,
    SPANNED,
    STRATEGY,
    TIERS,
    Maybe,
    Shape,
)

_TREE = {
    "kind": "str", "name": "str", "count": "int", "nodes": "int", "ranks": "int", "spare_gpus": "int",
    "stages?": ["int: of a plan"], "towers?": ["str: of a map"],
    "out": {"*": "int: nodes out of service, by state"}, "children": ["any: the same again"],
}  # fmt: skip
_ALTERNATIVE = {"degree": "int", "step_time_s": "float", "strategy": STRATEGY}
_TRANSFER = {
    "axis": "str", "part": "str: part of the step in which it counts", "exposed_s": "float", "ranks": ["int"], "hosts": ["str"],
    "gpus": ["int"], "meets": "str: tier where the two ranks meet", "link": "str?: busiest uplink between them",
    "uplink_Bps": "float?", "busy_s": "float?", "where": "str?",
}  # fmt: skip

PLANS: Mapping[str, tuple[str, Shape]] = {
    "verify": (
        "`verify DIR`: every check of the referee.",
        {"ok": "bool", "checks": [{"name": "str", "ok": "bool", "detail": "str"}], "diagnostics": [DIAGNOSTIC]},
    ),
    "show-ranks": (
        "`show DIR ranks`: one record a rank.",
        {
            "ranks": [
                {
                    "rank": "int", "host": "str", "gpu": "int: slot on the host", "rack": "str", "rail": "int",
                    **dict.fromkeys(AXES, "int"), "node": "int: index of the host in plan.bin", "local_rank": "int",
                    "nic": "str: device name, empty if the topology has none",
                }
            ]
        },
    ),
    "show-stages": (
        "`show DIR stages`: one record a pipeline stage.",
        {
            "stages": [
                {
                    "stage": "int", "layers": "int: how many", "first_layer": "str", "last_layer": "str", "chunks": "int",
                    "recompute": "str", "busy_s": "float", "memory_bytes": "float", "hosts": "str",
                }
            ]
        },
    ),
    "show-traffic": (
        "`show DIR traffic`: bytes a step by axis and tier; of a map by part, with shares of its busiest uplinks.",
        {"traffic": [{"axis": "str: of a map TOWER.AXIS, bridge, groups or pairs", "tier": "str", "bytes": "float",
                      "default_bytes": "float: in the default order"}],
         "links": [{"link": "str", "tier": "str", "bytes": "float: a step", "busy_s": "float", "share": "float: of the step"}],
         "hops": [{"axis": "str", "forwarded": "float: what the busiest GPU passes on to another rail, for each byte sent"}]},
    ),
    "show-memory": (
        "`show DIR memory`: bytes of the fullest GPU of each stage by kind.",
        {"memory": [{"stage": "int", **dict.fromkeys(MEMORY, "float"), "total": "float"}]},
    ),
    "show-groups": (
        "`show DIR groups`: the communicators of each axis, and of a map the pairs of bridges.",
        {
            "groups": [
                {
                    "axis": "str", "size": "int", "groups": "int", "stride": "int?: null of pairs and groups of a file",
                    "meets": {"*": "int"},
                    "first": "str: ranks of the first one",
                }
            ]
        },
    ),
    "show-tree": ("`show DIR tree`: the cluster as a tree, alike branches folded.", {"cluster": "str", "children": [_TREE]}),
    "why-rank": (
        "`why DIR rank N`: where a rank is, what it runs, with whom it talks, and what other hosts would cost.",
        {
            "rank": "int", "host": "str", "gpu": "int", "rack": "str", "rail": "int", "tiers": {"*": "int"},
            "coordinates": COORDINATES, "stage": "int", "layers": ["str"], "recompute": "str", "step_time_s": "float",
            "default_s": "float", "elsewhere": ELSEWHERE, "where": "str?",
            "groups": [
                {
                    "axis": "str", "members": ["int"], "hosts": "int: how many", "domains": "int: NVLink domains",
                    "tier": "str: where its members meet", **SPANNED, "bytes_per_step": "float: that this rank sends",
                    "forwarded": "float: what the busiest GPU passes on to another rail, for each byte that a rank sends",
                }
            ],
        },
    ),
    "why-stage": (
        "`why DIR stage N`: a stage beside the others, and what other cuts and other hosts would cost.",
        {
            "stage": "int", "layers": ["str"], "chunks": [["str"]], "recompute": "str", "busy_s": "float",
            "slowest_stage": "int", "slowest_s": "float", "mean_s": "float", "memory_bytes": BYTES,
            "fullest_bytes": "float", "ranks": ["int"], "hosts": "str", "groups": {"*": "int: groups of a tier it lies in"},
            "step_time_s": "float", "default_s": "float", "elsewhere": ELSEWHERE, "transfer": Maybe(_TRANSFER), "where": "str?",
            "next": Maybe({"meets": {"*": "int"}, "bytes_per_rank": "float"}),
            "alternatives": [
                {
                    "block": "str", "move": "str: to or from", "stage": "int", "step_time_s": "float?: null if it does not fit",
                    "slower_s": "float?", "slowest_stage": "int",
                }
            ],
        },
    ),
    "why-node": (
        "`why DIR node NAME`: what a host runs, what another in its place would cost, or why it runs nothing.",
        {
            "host": "str", "state": "str", "rack": "str", "tiers": {"*": "int"}, "gpu_type": "str",
            "nic_Bps": "float: bytes/s of one adapter", "speed": "float: share of its compute", "gpus_ok": "int",
            "ranks": [{"gpu": "int", "rail": "int", "rank": "int", "stage": "int"}], "why_idle": "str", "reason": "str",
            "step_time_s": "float", "default_s": "float", "elsewhere": ELSEWHERE, "where": "str?",
        },
    ),
    "why-link": (
        "`why DIR link NAME`: who sends over an uplink and how long it is busy.",
        {
            "link": "str", "tier": "str", "uplink_Bps": "float: bytes/s", "bytes_axis": {"*": "float"}, "busy_s": "float",
            "share": "float: of the step", "busier": "int: uplinks of its tier that are busier", "links": "int: of its tier",
            "mean_s": "float: of those in use", "ranks": "int: below it", "stages": ["int"], "hosts": "str", "where": "str?",
        },
    ),
    "why-axis": (
        "`why DIR axis NAME`: what a degree costs, how far it spans, and the best plan with other degrees.",
        {
            "axis": "str", "degree": "int", "part": "str: part of the step in which it counts", "exposed_s": "float",
            "share": "float: of the step", "bytes_tier": TIERS, "groups": "int", "meets": {"*": "int"},
            "pinned": "any: the job's pin, or null", "proven": "bool", "step_time_s": "float", "bubble_s": "float",
            "alternatives": [_ALTERNATIVE], "where": "str?",
            "searched": [
                {
                    "degree": "int", "proven": "bool: nothing with this degree is faster", "reason": "str: why nothing runs",
                    "step_time_s": "float?", "strategy?": STRATEGY,
                }
            ],
        },
    ),
    "diff": (
        "`diff A B`: inputs and the lines that changed, strategy, stages, ranks that move, cost. Pairs are before, after.",
        {
            "different": "bool", "digests": ["str"], "inputs": {"*": PAIR}, "job": {"*": PAIR}, "cluster": {"*": PAIR},
            "changes": {"*": [{"key": "str", "before": "str?", "after": "str?", "where": "str"}]},
            "strategy": {"*": PAIR}, "world_size": ["int"], "stages": ["int: whose layers differ"],
            "mapping": {
                "hosts_out": "str", "hosts_in": "str", "num_hosts_out": "int", "num_hosts_in": "int", "ranks_moved": "int",
                "ranks_compared": "int", "moves": [{"ranks": ["int"], "from": "str", "to": "str", "stage": "int"}],
            },
            "step_time_s": ["float"], "mfu": ["float"], "peak_memory_bytes": ["float"], "traffic_bytes": {"*": ["float"]},
        },
    ),
    "compare": (
        "`compare DIR`: the same strategy and stages under several placements.",
        {
            "plan": "str",
            "placements": [
                {
                    "name": "str", "step_time_s": "float?: null if the order cannot run", "reason?": "str", "mfu?": "float",
                    "breakdown_s?": SECONDS, "bytes_tier?": TIERS,
                }
            ],
        },
    ),
    "simulate": (
        "`simulate DIR`: one step, event by event.",
        {
            "step_time_s": "float", "events": "int", "last_event_ends_s": "float",
            "busy_s": {"*": ["float: seconds that a lane of each stage is busy"]},
        },
    ),
    "export": (
        "`export DIR --to TARGET`: what was written.",
        {"target": "str", "plan": "str", "out": "str", "files": {"*": "int: bytes"}, "diagnostics": [DIAGNOSTIC]},
    ),
    "report": ("`report DIR`: what was written.", {"plan": "str", "files": {"*": "int: bytes"}}),
    "diagnostics": (
        "Any command whose inputs have errors: what was found.", {"diagnostics": [DIAGNOSTIC], "summary": COUNTS}
    ),
    "infeasible": (
        "Any command that finds no plan: how many strategies fell to which reason.",
        {"infeasible": "str", "rejected": {"*": "int"}, "help": "str"},
    ),
}  # fmt: skip
