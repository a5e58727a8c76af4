# SPDX-License-Identifier: Apache-2.0
"""Results of the commands that read inputs, repair, simulate failures, and score predictions."""

from __future__ import annotations

from collections.abc import Mapping

from placement.report.results.shapes import COUNTS, DIAGNOSTIC, SECONDS, STATES, STRATEGY, Maybe, Shape

_BANDWIDTH = {"designed_Bps": "float", "found_Bps": "float"}
_TIER = {
    "name": "str", "groups": "int", "nodes_per_group": ["int: least and most"], "gpus_per_group": ["int: least and most"],
    "latency_s": "float", "uplink_Bps": Maybe(["float: least and most, bytes/s"]), "uplink_share": "float?: of what is below",
}  # fmt: skip
_CLUSTER = {
    "name": "str", "nodes": "int", "gpus": "int", "usable_gpus": "int", "gpus_per_node": "int", "gpu_types": {"*": "int"},
    "nodes_by_state": STATES, "nodes_degraded": "int", "rails": "int", "planes": "int", "rails_connected": "bool",
    "tiers": [_TIER], "switches": {"*": "int"}, "cables": {"*": "int"}, "facts": {"*": "str"},
}  # fmt: skip
_MODEL = {
    "name": "str", "hypothetical": "bool", "parameters": "int", "active_parameters": "int", "flop_per_token": "float",
    "blocks": "int", "edges": "int", "hidden": "int", "vocab": "int", "seq_len": "int", "tied": [["str"]],
    "block_types": [
        {
            "name": "str", "count": "int", "blocks": "str", "parameters": "int", "active_parameters": "int",
            "expert_parameters": "int", "flop_per_token": "float",
        }
    ],
}  # fmt: skip
_CABLING = {
    **DIAGNOSTIC, "expected?": ["any: one side of each cable, as designed"], "actual?": ["any: as found"], "hosts?": ["str"],
    "devices?": ["str"], "cables?": "int", "group?": "str", "rack?": "str",
}  # fmt: skip
_FILE = {
    "file": "str?: where it was written; null: it is `text`", "sha256": "str: of its bytes",
    "text": "str?: null where it was written", "diagnostics": [DIAGNOSTIC],
}  # fmt: skip
_SCORE = {
    "runs": "int", "pairs": "int", "ranked_pairs": "int", "mean": "float?: absolute relative error", "median": "float?",
    "p90": "float?", "kendall_tau": "float?",
}  # fmt: skip
_FLEET = {
    "name": "str", "cluster": "str", "free_racks": "int", "racks_kept": "any: racks that jobs had and kept",
    "shared_groups": {"*": "int: groups of a tier that serve several jobs"},
    "jobs": {
        "*": {
            "change": "str", "digest": "str", "gpus": "int", "hosts": "str", "mfu": "float", "racks": "int",
            "step_time_s": "float", "strategy": STRATEGY, "world_size": "int",
        }
    },
}  # fmt: skip

STUDIES: Mapping[str, tuple[str, Shape]] = {
    "repair": (
        "`repair DIR`: what moved and what it costs. Pairs are before, after.",
        {
            "repairs": "str: digest of the plan that was repaired", "digest": "str", "events": {"*": "str"}, "moved": "int",
            "lost_ranks": "int", "least_moves": "int: of any repair", "proven_least": "bool", "cells_moved": "int",
            "cell_ranks": "int", "moved_within": {"*": "int: ranks that stayed within a group of this tier"},
            "step_time_s": ["float"], "traffic_gap": "float: above the lower bound of any placement", "spare_gpus": "int",
            "spare_cells": "int: that would find room in an NVLink domain",
            "columns": ["str: of each move"], "moves": [["any"]], "notes": ["str"],
        },
    ),
    "spares": (
        "`spares DIR`: what each spare policy costs and survives.",
        {
            "failures_per_day": "float", "hours": "int",
            "policies": [
                {
                    "name": "str", "policy": "str", "count": "int", "spare_gpus": "int", "replicas": "int",
                    "throughput": "float: of all replicas, over that of this plan",
                    "step_time_s": "float?: of the same batch; null if no number of replicas divides it",
                    "replaced_in_rack": "float", "survival": ["float: probability, hour by hour"],
                }
            ],
        },
    ),
    "drill": (
        "`drill DIR`: weeks of failures replayed through the repairer.",
        {
            "costs_s": {"restart": "float", "naive_restart": "float", "checkpoint": "float"},
            "drills": [
                {
                    "seed": "int", "days": "float", "failures": {"*": "int"}, "interruptions": "int", "repairs": "int",
                    "moves": "int", "least_moves": "int", "checked": "int",
                    "audited": "int: by the whole referee", "broken": ["str"], "shrunk_events": "int",
                    "shrunk_hours": "float", "fewest_replicas": "int", "effective": {"*": "float"}, "by_day": ["float"],
                    "repair_s": {"median": "float", "worst": "float"},
                    "step_time_s": {"first": "float", "worst": "float", "sampled": "int"},
                }
            ],
        },
    ),
    "sweep": (
        "`sweep MODEL TOPOLOGY`: the same job on clusters of several sizes.",
        {
            "points": [
                {
                    "gpus": "int: asked for", "world_size": "int?", "strategy": "str",
                    "step_time_s": "float?: null if nothing runs", "interval_s": Maybe(["float"]),
                    "tokens_per_s": "float?", "mfu": "float?", "speed_up": "float?",
                    "efficiency": "float?: throughput a GPU over that of the smallest size",
                    "serial_share": "float?: Amdahl's",
                    "breakdown_s": Maybe(SECONDS), "lost": Maybe(SECONDS), "reason": "str: why there is no plan",
                }
            ]
        },
    ),
    "map": (
        "`map FILE TOPOLOGY`: map.json, a job of several towers placed together.",
        {
            "tool": {"name": "str", "version": "str"}, "inputs": {"*": "str: SHA-256"}, "hypothetical": "bool",
            "model": {"name": "str: of the communication file"},
            "cluster": {"name": "str", "digest": "str", "tiers": ["str: innermost first"]},
            "world_size": "int", "spare_gpus": "int",
            "towers": [
                {
                    "name": "str", "source": "str: model file, or axes or ranks", "first_rank": "int", "ranks": "int",
                    "cell": "int: ranks that have to share an NVLink domain",
                    "strategy": Maybe({**STRATEGY}),
                    "traffic": [{"axis": "str", "kind": "str", "bytes_P": ["float: of a rank, by stage"]}],
                }
            ],
            "how": "str: the kind of placement that won", "tried": [{"how": "str", "score_s": "float"}],
            "busiest_s": "float: seconds of the busiest uplinks, phases one after another",
            "launcher": {"busiest_s": "float: in the launcher's order", "keeps_cells": "bool"},
            "tiers": {
                "*": {
                    "bytes": "float: that leave its groups in a step", "launcher_bytes": "float: in the launcher's order",
                    "lower_bytes": "float: under any placement; 0 without a bound",
                    "method": "str: towers apart, shared room, eigenvalues, outer tier or none",
                }
            },
            "joint_lower_bytes": "float: of all tiers", "gap": "float?: bytes of all tiers over that, less 1",
            "parts": {"*": {"bytes": {"*": "float: by tier"}, "lower_bytes": {"*": "float: of a bridge, groups or pairs"}}},
            "tower_lower_bytes": {"*": {"*": "float: by tower and tier"}},
            "no_certificate": {"*": "str: why no bound speaks of this part by itself"},
            "hints": "any: how bounds were made", "digest": "str: SHA-256 over map.json and plan.bin",
            "files": {"*": {"bytes": "int", "sha256": "str"}},
        },
    ),
    "fleet-plan": ("`fleet plan FLEET`: several jobs on one cluster.", _FLEET),
    "fleet-show": ("`fleet show DIR`: a fleet that was planned.", _FLEET),
    "topology-validate": (
        "`topology validate FILE`: findings and what the file describes. Of a capture: see `fabric-validate`.",
        {"diagnostics": [DIAGNOSTIC], "summary": {**COUNTS, **_CLUSTER}},
    ),
    "fabric-validate": (
        "`topology validate CAPTURE`: faults of a fabric as wired.",
        {
            "format": "str", "files": ["str"], "design": "any: what the fabric was meant to be, as far as it can be told",
            "diagnostics": [_CABLING],
            "summary": COUNTS,
            "bandwidth": Maybe({"tiers?": [{"name": "str", "cables_designed": "int", "cables_found": "int", **_BANDWIDTH}],
                                "bisection?": Maybe(_BANDWIDTH)}),
            "ndt_report?": "any",
            "cost?": {
                "model": "str", "designed_step_s": "float", "designed_gpus": "int",
                "found_step_s": "float", "found_gpus": "int",
                "worst": [
                    {"name": "str", "message": "str", "gpus": "int",
                     "step_s": "float: of the plan as designed, with this fault",
                     "loss": "float: longer than without it, a share"}
                ],
            },
        },
    ),
    "topology-show": (
        "`topology show FILE`: what a topology describes.",
        {**_CLUSTER, "tree": "any: groups of the outermost tier with those in them, hosts as host lists"},
    ),
    "topology-import": ("`topology import FILE…`: the topology, and what was found in the files.", _FILE),
    "topology-export": ("`topology export TOPOLOGY… --to TARGET`: the file.", _FILE),
    "topology-diff": (
        "`topology diff A B`: cabling of two captures, or of a capture and its design.",
        {"same": "int: cables that both have", "diagnostics": [_CABLING], "summary": COUNTS, "ndt_report": "any"},
    ),
    "model-validate": ("`model validate FILE`: findings and what the file describes.", {"diagnostics": [DIAGNOSTIC],
                                                                                       "summary": {**COUNTS, **_MODEL}}),
    "model-show": ("`model show FILE`: what a model file describes.", _MODEL),
    "model-import": ("`model import CONFIG`: the model file.", _FILE),
    "runtime": (
        "`runtime [DIR]`: the C sources of a plan, and what was built of them.", {"directory": "str", "files": ["str: paths"]}
    ),
    "accuracy": (
        "`accuracy RUNS`: predicted against measured.",
        {
            "total": "int",
            "summary": {
                "predicted": "int", "scored": "int", "covered": "float?: share of runs inside their interval", "all": _SCORE,
                "core": _SCORE, "core_by_generation": {"*": _SCORE}, "core_by_hardware": {"*": _SCORE},
                "core_by_kind": {"*": _SCORE}, "core_by_precision": {"*": _SCORE},
                "memory": {"runs": "int", "mean": "float?", "bias": "float?"},
            },
            "pairs": [
                {
                    "model": "str", "hardware": "str", "kind": "str", "runs": "int", "mean_abs_error": "float?",
                    "bias": "float?", "kendall_tau": "float?", "core_runs": "int", "core_mean_abs_error": "float?",
                }
            ],
            "runs": [
                {
                    "id": "str", "model": "str", "kind": "str", "hardware": "str", "generation": "str", "num_gpus": "int",
                    "precision": "str", "core": "bool", "measured_step_time_s": "float?", "measured_peak_bytes": "float?",
                    "measured_tokens_per_s_per_gpu": "float?", "predicted_step_time_s": "float?", "error": "float?",
                    "interval_s": Maybe(["float"]), "tokens_per_s_per_gpu": "float?", "mfu": "float?", "peak_bytes": "float?",
                    "breakdown_s": Maybe(SECONDS), "assumed": ["str"], "extrapolates": ["str"], "reason": "str?",
                }
            ],
        },
    ),
    "calibrate": (
        "`calibrate`: the fitted constants.",
        {
            "runs": "int", "constants": {"*": {"prior": "float", "value": "float", "width": "float", "moved": "float"}},
            "fit": {"*": _SCORE}, "left_out?": {"*": {"*": _SCORE}}, "covered?": "float?",
        },
    ),
    "calibrate-own": (
        "`calibrate --steps|--nccl|--matmul`: constants moved to a user's own measurements.",
        {
            "errors": {"*": {"measured": "int", "before": "float: mean relative error", "after": "float"}},
            "constants": {"*": {"before": "float", "after": "float"}},
        },
    ),
    "explain": (
        "`explain NAME`: pages of diagnostics.",
        {
            "pages": [
                {
                    "name": "str", "severity": "str", "what_it_means": "str", "why_it_matters": "str", "example": "str",
                    "use_instead": "str", "see_also": "str",
                }
            ]
        },
    ),
}  # fmt: skip
