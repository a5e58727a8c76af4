# SPDX-License-Identifier: Apache-2.0
"""`why node NAME`: what a host does in a plan, or why it does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from placement.ir import Cluster, State, Strategy
from placement.ir._array import Ints
from placement.report.gpus import gpus_text
from placement.report.places import place
from placement.report.text import ranges, si, table
from placement.report.why_trade import node_rows

_IDLE = {
    State.FAILED: "failed, says the topology",
    State.DRAINED: "drained, says the topology",
    State.ABSENT: "absent, says the topology",
    State.RESERVED: "reserved as a spare by the topology",
}


def find_node(cluster: Cluster, name: str) -> int | None:
    """Index of a host by its exact name, or None."""
    found = np.flatnonzero(cluster.host_N == name)
    return int(found[0]) if len(found) else None


def similar(cluster: Cluster, name: str) -> str | None:
    """The host name that looks most like `name`; only names of equal length or start are compared, so it stays fast."""
    from difflib import get_close_matches

    near = cluster.host_N[np.char.startswith(cluster.host_N, name[: max(1, len(name) // 2)])][:2000]
    found = get_close_matches(name, near.tolist(), 1, 0.6)
    return found[0] if found else (str(cluster.host_N[0]) if cluster.num_nodes else None)


def node_facts(cluster: Cluster, tree: Mapping[str, Any], strategy: Strategy, gpu_R: Ints, node: int) -> dict[str, Any]:
    """One host: state, place, speed, and the rank and stage of each GPU."""
    found = host_facts(cluster, gpu_R, node)
    ranks = [r | {"stage": r["rank"] // strategy.stage_ranks} for r in found["ranks"]]
    priced = {"step_time_s": tree["predicted"]["step_time_s"], "default_s": tree["baseline"]["step_time_s"]}
    why = "" if ranks else idle_why(cluster, node) or "a spare: " + gpus_text(tree)[-1].removeprefix("because ")
    return found | priced | {"ranks": ranks, "why_idle": why}


def host_facts(cluster: Cluster, gpu_R: Ints, node: int) -> dict[str, Any]:
    """One host, whatever its ranks are part of."""
    ranks = np.flatnonzero(gpu_R // cluster.gpus_per_node == node)
    slot = gpu_R[ranks] % cluster.gpus_per_node
    order = np.argsort(slot)
    return {
        "host": str(cluster.host_N[node]),
        "state": State(int(cluster.state_N[node])).name.lower(),
        "rack": str(cluster.domain_name_J[cluster.tiers[0].group_N[node]]),
        "tiers": {t.name: int(t.group_N[node]) for t in cluster.tiers},
        "gpu_type": cluster.chips[int(cluster.chip_N[node])].name,
        "nic_Bps": float(cluster.nic_Bps_N[node]),
        "speed": float(cluster.speed_N[node]),
        "gpus_ok": int(cluster.gpu_ok_NG[node].sum()),
        "ranks": [
            {"gpu": int(slot[i]), "rank": int(ranks[i]), "rail": int(cluster.rail_G[slot[i]])} for i in order
        ],
        "why_idle": "",
        "reason": "",
        "elsewhere": [],
        "where": place(cluster.source, *(("exceptions",) if cluster.state_N[node] != State.OK else ()), "racks", "node"),
    }  # fmt: skip


def idle_why(cluster: Cluster, node: int) -> str:
    """What keeps ranks away from a host; empty where nothing does, and it is a spare."""
    state = State(int(cluster.state_N[node]))
    if state in _IDLE:
        return _IDLE[state]
    if not cluster.whole_N[node]:
        return "not all of its GPUs are healthy, and the plan uses whole nodes"
    return ""


def node_text(f: Mapping[str, Any]) -> str:
    """The screen of `why node`."""
    stages = sorted({r["stage"] for r in f["ranks"]})
    return host_text(f, f"stage {ranges(stages)}", "stage", node_rows(f) if f["elsewhere"] else [])


def host_text(f: Mapping[str, Any], runs: str, part: str, elsewhere: Sequence[str]) -> str:
    """A host, what its ranks run, and lines of what other places would cost. `part`: key of each rank's stage or tower."""
    slower = "" if f["speed"] == 1 else f", at {f['speed']:.0%} of its speed"
    lines = [
        f"{f['host']} = rack {f['rack']}, {', '.join(f'{n} {g}' for n, g in f['tiers'].items())}",
        f"  {f['state']}, {f['gpus_ok']} healthy {f['gpu_type']}{slower}, {si(f['nic_Bps'], 'B/s')} per GPU",
    ]
    if f["ranks"]:
        lines.append(f"  runs ranks {ranges(sorted(r['rank'] for r in f['ranks']))} of {runs}")
        rows = [[str(r["gpu"]), str(r["rail"]), f"{r['rank']:,}", str(r[part])] for r in f["ranks"]]
        lines += ["", *table([["gpu", "rail", "rank", part], *rows], ">>>>")]
        lines += ["", *elsewhere] if elsewhere else []
    else:
        lines.append(f"  runs no rank: {f['why_idle']}")
    told = [f"  reason: {f['reason']}"] if f["reason"] else []
    return "\n".join([*lines, *told, *([f"  --> {f['where']}"] if f["where"] else [])])
