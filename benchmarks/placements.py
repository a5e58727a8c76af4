# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.placements`: does the ranking of layouts agree with the predicted step? To PLACEMENTS.md.

Every legal layout that is made for a strategy is priced by the whole step; the fastest is the mark. Beside it: what the
seconds of uplinks and hops alone would pick, and what `placement plan` picks. Damage is drawn with a fixed seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from placement.api import load_cluster, load_job, load_model
from placement.cost.cells import kept_cell
from placement.ir import Cluster, Placement, State, Strategy
from placement.passes.place import layouts, place
from placement.passes.problem import NEAR, Problem, Relaxed, placement_floor_s, price_of, problem, relax
from placement.spec.catalog import efficiency

OUT = Path(__file__).resolve().parent / "PLACEMENTS.md"
CLUSTERS = ("gb200-su", "two-halls-gb200", "mixed-gb200-gb300")
LIMIT = 0.005  # of a step: what the pick may cost
FREE = {"cp": 1, "ep": 1, "etp": 1, "vpp": 1, "micro_batch": 1, "schedule": "1f1b", "recompute": "auto", "sharding": "zero1"}
HEAD = """<!-- written by `python -m benchmarks.placements`, not edited by hand -->
# The pick among layouts, against the fastest of all that were made

Losses of the slowest layout, of the pick by uplinks and of the plan's: predicted step over that of the fastest, less one.
Seconds are of the processor.

| cluster | state | model | strategy | layouts | slowest | by uplinks | as planned | by uplinks, s | as planned, s |
|---|---|---|---|--:|--:|--:|--:|--:|--:|
"""


@dataclass(frozen=True)
class Row:
    """One case. Losses are shares of the step; seconds of the processor."""

    where: str
    state: str
    model: str
    degrees: str
    layouts: int
    slowest: float
    by_uplinks: float
    planned: float
    uplinks_s: float
    planned_s: float


def damaged(state: str, cluster: Cluster) -> Cluster:
    """A cluster after what `state` names."""
    rng, n = np.random.default_rng(7), cluster.num_nodes
    if state == "3 % of trays dead":
        dead_N = rng.random(n) < 0.03
        return replace(
            cluster,
            state_N=np.where(dead_N, int(State.FAILED), cluster.state_N),
            gpu_ok_NG=cluster.gpu_ok_NG & ~dead_N[:, None],
        )
    if state == "links weak":
        weak = [t.uplink_Bps_J * rng.choice([1.0, 0.875, 0.5], len(t.uplink_Bps_J), p=[0.8, 0.1, 0.1]) for t in cluster.tiers]
        tiers = [replace(t, uplink_Bps_J=w) for t, w in zip(cluster.tiers[1:], weak[1:], strict=True)]
        return replace(cluster, tiers=(cluster.tiers[0], *tiers))
    if state == "planes down":
        return replace(cluster, nic_Bps_N=cluster.nic_Bps_N * np.where(rng.random(n) < 0.05, 0.875, 1.0))
    if state == "3 nodes slow":
        speed_N = np.array(cluster.speed_N, float)
        speed_N[rng.choice(n, 3, replace=False)] *= 0.9
        return replace(cluster, speed_N=speed_N)
    if state == "leafs 4:1":
        tiers = [replace(t, uplink_Bps_J=t.uplink_Bps_J / (4.0 if i == 1 else 1.0)) for i, t in enumerate(cluster.tiers)]
        return replace(cluster, tiers=tuple(tiers))
    return replace(cluster, rails_connected=state != "rails apart")


STATES = ("as it is", "3 % of trays dead", "links weak", "planes down", "3 nodes slow", "leafs 4:1", "rails apart")
SHAPES: tuple[tuple[str, dict[str, int | str]], ...] = (
    ("llama3-70b", {"tp": 2, "pp": 4}), ("llama3.1-405b", {"tp": 8, "pp": 6}), ("llama3.1-405b", {"tp": 8, "cp": 3, "pp": 3}),
    ("deepseek-v3", {"tp": 2, "pp": 4, "ep": 16}), ("multimodal-graph", {"tp": 4, "pp": 4}),
)  # fmt: skip


def cases() -> Iterator[tuple[str, str, str, Cluster, dict[str, int | str]]]:
    """Every state of every cluster, under two of the shapes in turn."""
    turn = 0
    for where in CLUSTERS:
        for state in STATES:
            cluster = damaged(state, load_cluster(where))
            for _ in range(2):
                model, shape = SHAPES[turn % len(SHAPES)]
                turn += 1
                yield where, state, model, cluster, shape


def measured(where: str, state: str, name: str, cluster: Cluster, shape: dict[str, int | str]) -> Row | None:
    """Losses of one case on as many replicas as fit; None where nothing does."""
    (model, told), ranks = load_model(name), int(np.prod([int(v) for k, v in shape.items() if k in ("tp", "cp", "pp")]))
    held = int(cluster.whole_N.sum()) * cluster.gpus_per_node * 97 // 100 // ranks
    unit = max(int(shape.get("ep", 1)) // int(shape["tp"]), 4)
    replicas = held // unit * unit
    job = replace(load_job(None, told), global_batch=8 * replicas)
    task = problem(cluster, model, job, efficiency())
    strategy = Strategy(**(FREE | shape), dp=replicas, num_microbatches=8)  # type: ignore[arg-type]
    found = relax(task, strategy)
    if isinstance(found, str):
        return None
    return _row((where, state, name, " ".join(f"{k}{v}" for k, v in shape.items()) + f" dp{replicas}"), task, found)


def _row(about: tuple[str, str, str, str], task: Problem, found: Relaxed) -> Row:
    strategy, stages, traffic = found.strategy, found.stages, found.traffic
    price = price_of(task, strategy, stages)
    made = [judge.full(x) for judge, f, _ in layouts(task.cluster, strategy, traffic, task.job) for x in f]
    steps = [price.step_s(x.placement) for x in made if not x.loads.broken]
    floor_s = placement_floor_s(task, strategy, stages, kept_cell(task.cluster, strategy, task.job))
    enough = replace(price, enough=floor_s * (1.0 + NEAR))
    plain, plain_s = _timed(lambda: place(task.cluster, strategy, traffic, task.job))
    ours, ours_s = _timed(lambda: place(task.cluster, strategy, traffic, task.job, price=enough))
    least = min(steps)
    slowest, by_uplinks, planned = (s / least - 1.0 for s in (max(steps), price.step_s(plain), price.step_s(ours)))
    return Row(*about, len(steps), slowest, by_uplinks, planned, plain_s, ours_s)


def _timed(work: Callable[[], Placement]) -> tuple[Placement, float]:
    start = time.process_time()
    return work(), time.process_time() - start


def table(rows: list[Row]) -> str:
    lines = [
        f"| {r.where} | {r.state} | {r.model} | {r.degrees} | {r.layouts} | {r.slowest:+.2%} | {r.by_uplinks:+.3%} "
        f"| {r.planned:+.3%} | {r.uplinks_s:.2f} | {r.planned_s:.2f} |"
        for r in rows
    ]
    worst = [max(getattr(r, k) for r in rows) for k in ("by_uplinks", "planned")]
    over = [sum(getattr(r, k) > LIMIT for r in rows) for k in ("by_uplinks", "planned")]
    told = (
        f"\n{len(rows)} cases. Uplinks alone lose {worst[0]:.2%} at most, more than {LIMIT:.1%} in {over[0]}; the plan loses "
        f"{worst[1]:.2%} at most, more than {LIMIT:.1%} in {over[1]}.\n"
    )
    return HEAD + "\n".join(lines) + "\n" + told


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.placements", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=OUT, help="where the table goes")
    args = parser.parse_args()
    rows = [row for case in cases() if (row := measured(*case))]
    args.out.write_text(table(rows), encoding="utf-8")
    print(table(rows).splitlines()[-1])


if __name__ == "__main__":
    main()
