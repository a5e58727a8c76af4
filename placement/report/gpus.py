# SPDX-License-Identifier: Apache-2.0
"""How many GPUs work, how many do not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from placement.report.strategy import clip
from placement.report.text import percent

Tree = Mapping[str, Any]


def gpus_text(tree: Tree) -> list[str]:
    """Lines: GPUs at work, out of service, reserved, spare with their place and the reason."""
    cluster, world, spares = tree["cluster"], tree["world_size"], tree["spares"]
    lines = [f"{world:,} of {cluster['gpus']:,} GPUs work"]
    out = {k: n for k, n in cluster["nodes"].items() if n and k not in ("ok", "absent", "reserved")}
    lost = cluster["gpus"] - cluster["usable_gpus"] - spares["reserved_gpus"]
    if lost:
        nodes = ", ".join(f"{n:,} {k} node{'s' if n > 1 else ''}" for k, n in out.items())
        lines.append(f"{lost:,} out of service" + (f" ({nodes})" if nodes else ""))
    if spares["reserved_gpus"]:
        lines.append(f"{spares['reserved_gpus']:,} reserved by the topology: {clip(spares['reserved_hosts'], 60)}")
    if spares["gpus"]:
        lines += [f"{spares['gpus']:,} spare, {_where(spares)}", _why(tree)]
    return lines


def _where(spares: Tree) -> str:
    """`16 in each of 56 NVLink domains`, or a list of hosts if there are few."""
    by_size = {int(size): n for size, n in spares["domains_by_spare_gpus"].items() if int(size)}
    largest = sorted(by_size.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{size:,} in {'each of ' if n > 1 else ''}{n:,} NVLink domain{'s' if n > 1 else ''}" for size, n in largest[:3]]
    more = f", and {len(by_size) - 3} other sizes" if len(by_size) > 3 else ""
    return ", ".join(parts) + more


def _why(tree: Tree) -> str:
    """The reason that more GPUs were not put to work, from what the job asked and what the search saw."""
    job, strategy = tree["job"], tree["strategy"]
    limit, replica = job["max_gpus"], strategy["tp"] * strategy["cp"] * strategy["pp"]
    if limit is not None and tree["world_size"] + replica > limit:
        return f"because the job asks for at most {limit:,} GPUs"
    larger = [r for r in tree["search"]["runners_up"] if _world(r["strategy"]) > tree["world_size"]]
    if larger and not tree["bound"]["proven"]:
        best = min(larger, key=lambda r: r["step_time_s"])
        slower = best["step_time_s"] / tree["predicted"]["step_time_s"] - 1
        return f"because the best strategy found on more, {_world(best['strategy']):,} GPUs, takes {percent(slower)} longer"
    if spare := tree["spare_gpus"] if tree["whole_nodes"] and tree["spare_gpus"] < tree["cluster"]["gpus_per_node"] else 0:
        return f"because {'its node has' if spare == 1 else 'their nodes have'} a failed GPU and nodes are used whole"
    how = (
        "no strategy on more GPUs is faster (proven)"
        if tree["bound"]["proven"]
        else "no faster strategy on more GPUs was found"
    )
    kept = _policy(job["spares"])
    batch = f"a replica takes {replica:,} and dp divides the batch of {job['global_batch']:,}"
    return f"because {how}{kept}: {batch}"


def _policy(spares: Tree) -> str:
    if spares["policy"] in ("any", "none"):
        return ""
    if spares["policy"] == "survive":
        return (
            f" (the job keeps racks for {spares['hours']:g} hours of failures with a probability of {spares['probability']:g})"
        )
    return f" (the job keeps {spares['count']:,} {spares['policy'].replace('_', ' ')} spare)"


def _world(strategy: Tree) -> int:
    return int(strategy["tp"] * strategy["cp"] * strategy["dp"] * strategy["pp"])
