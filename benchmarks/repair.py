# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.repair`: repairs of the plan on 220,032 GPUs, a drill of 30 days, two repairs that race, kills."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.suite import MODEL, TOPOLOGY, Target

ROOT = Path(__file__).resolve().parents[1]
TIMES = 5
KILLS = 20
WORDS = ("--again", "--extra-moves", "0", "--format", "json")  # moves that pay but need not be are another matter
Say = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """What is lost, as lines of an `@FILE` for `--failed`."""

    title: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One case on one plan: median seconds of whole processes, and of the solver alone; what the repair says of itself."""

    plan: str
    case: str
    wall_s: float
    cpu_s: float
    solver_s: float
    moved: int
    least: int
    gap: float
    verified: bool


def cases(seed: int = 0) -> Iterator[Case]:
    """From one tray to 40 racks and 2,048 GPUs."""
    rng = np.random.default_rng(seed)
    yield Case("1 tray", ("rack0017-tray03",))
    yield Case("1 leaf switch", ("leaf-000-r0",))
    yield Case("64 GPUs anywhere", tuple(_gpus(rng, np.arange(1, 3057), 64)))
    yield Case("40 racks", tuple(f"rack{r:04}" for r in rng.choice(np.arange(1, 2817), 40, replace=False)))
    yield Case("2,048 GPUs in 200 racks", tuple(_gpus(rng, rng.choice(np.arange(1, 3057), 200, replace=False), 2048)))
    yield Case("2,048 GPUs anywhere", tuple(_gpus(rng, np.arange(1, 3057), 2048)))


def _gpus(rng: np.random.Generator, racks: np.ndarray, count: int) -> Iterator[str]:
    for at in np.sort(rng.choice(len(racks) * 72, count, replace=False)).tolist():
        tray, slot = divmod(at % 72, 4)
        yield f"rack{int(racks[at // 72]):04}-tray{tray + 1:02}:{slot}"


def plans(scratch: Path, say: Say) -> Iterator[tuple[str, Path]]:
    """The plan that takes what the search leaves over as spares, and one that keeps two trays of every rack."""
    for title, more in (("spares left over", ()), ("2 trays a rack", ("--spares", "per_rack=2"))):
        plan = scratch / f"plan-{len(more)}"
        if not plan.exists():
            done = measure.placement("plan", ROOT / MODEL, ROOT / TOPOLOGY, *more, "-q", "-o", plan)
            say(f"plan, {title}: {done.wall_s:.1f} s, exit {done.code}")
        yield title, plan


def rows(scratch: Path, say: Say) -> list[Row]:
    """Every case on every plan; cases that a plan has no room for are left out."""
    found = []
    for title, plan in plans(scratch, say):
        for case in cases():
            row = _row(title, plan, case, scratch)
            if row is None:
                say(f"{title}, {case.title}: no repair without --shrink")
                continue
            say(f"{title}, {case.title}: {row.wall_s:.2f} s wall, {row.cpu_s:.2f} s processor, {row.moved:,} of {row.least:,}")
            found.append(row)
    return found


def _row(title: str, plan: Path, case: Case, scratch: Path) -> Row | None:
    names, new = scratch / "names.txt", scratch / "new"
    names.write_text("\n".join(case.names), encoding="utf-8")
    runs = []
    for _ in range(TIMES):
        shutil.rmtree(new, ignore_errors=True)
        done = measure.placement("repair", plan, "--failed", f"@{names}", "-o", new, *WORDS)
        if done.code == 3:
            return None
        runs.append(done)
    told = json.loads(runs[-1].stdout)
    return Row(
        title, case.title, statistics.median(r.wall_s for r in runs), statistics.median(r.cpu_s for r in runs),
        _solver_s(plan, case), told["moved"], told["least_moves"], told["traffic_gap"],
        measure.placement("verify", new).code == 0,
    )  # fmt: skip


def _solver_s(plan: Path, case: Case) -> float:
    """Both repairs that a run of the command compares, median processor seconds."""
    from placement.cli.now import cluster_now
    from placement.passes.repair import repair
    from placement.runtime import load_plan
    from placement.runtime.planjob import job_of
    from placement.runtime.standing import candidate_of
    from placement.spec.events import Event

    loaded = load_plan(plan)
    took = []
    for _ in range(TIMES):
        cluster = cluster_now(loaded, [Event("failed", ",".join(case.names))]).cluster
        old, job = candidate_of(loaded), job_of(loaded.json)
        start = time.process_time()
        for nearest in (True, False):
            repair(cluster, old.strategy, old.placement, job, old.traffic, nearest=nearest)
        took.append(time.process_time() - start)
    return statistics.median(took)


def drill(plan: Path, say: Say) -> dict[str, float]:
    """30 days of failures through the command."""
    done = measure.placement("drill", plan, "--days", "30", "--seed", "1", "--format", "json")
    found = json.loads(done.stdout)["drills"][0]
    say(f"drill: {done.wall_s:.0f} s wall, {done.cpu_s:.0f} s processor, {sum(found['failures'].values()):,} failures")
    return {
        "wall_s": done.wall_s, "cpu_s": done.cpu_s, "failures": sum(found["failures"].values()), "repairs": found["repairs"],
        "passed": found["checked"] - len(found["broken"]), "audited": found["audited"], "moves": found["moves"],
        "least": found["least_moves"], "worst_s": found["repair_s"]["worst"], **found["effective"],
    }  # fmt: skip


def _copied(plan: Path, to: Path) -> Path:
    """A plan that nothing has taken the place of yet."""
    return Path(shutil.copytree(plan, to, ignore=shutil.ignore_patterns("superseded.json")))


def killed(plan: Path, scratch: Path, usual_s: float, say: Say) -> dict[str, int]:
    """Repairs killed after a random time: what is at the old and at the new place is a whole plan, or nothing."""
    from placement.runtime import load_plan
    from placement.runtime.planfile import content_digest

    rng, found = np.random.default_rng(1), {"before": 0, "after": 0, "damaged": 0}
    for i in range(KILLS):
        copy, new = _copied(plan, scratch / f"kill-{i}" / "plan"), scratch / f"kill-{i}" / "new"
        out = copy if i % 2 else new
        words = (*measure.PLACEMENT, "repair", copy, "--failed", "rack0017", "-o", out)
        child = subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(usual_s * rng.uniform(0.5, 1.1))
        child.send_signal(signal.SIGKILL)
        child.wait()
        there = [load_plan(p) for p in {copy, out} if p.exists()]
        found["damaged"] += any(content_digest(p) != p.digest for p in there)
        found["after" if (out / "moves.json").exists() else "before"] += 1
        shutil.rmtree(scratch / f"kill-{i}")
    say(f"killed: {found}")
    return found


def race(plan: Path, scratch: Path, say: Say) -> list[int]:
    """Exit codes of two repairs of one plan that start together: one is done, the other refused (4)."""
    copy = _copied(plan, scratch / "race" / "plan")
    words = [str(w) for w in (*measure.PLACEMENT, "repair", copy, "--failed", "rack0017", "-o")]
    both = [
        subprocess.Popen([*words, str(scratch / "race" / name)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name in "ab"
    ]
    codes = sorted(child.wait() for child in both)
    say(f"two at once: exit codes {codes}")
    return codes


def campaign(say: Say) -> str:
    """The property test of the repairer on 100,000 random failure sets: what it says."""
    command = (sys.executable, "-m", "pytest", "-n", "0", "-q", "tests/property/test_repair.py")
    os.environ["REPAIR_CASES"] = "100000"
    done = measure.run(command, cwd=ROOT)
    verdict = "the rules hold and no repair moves fewer ranks" if done.code == 0 else f"**fails**, exit {done.code}"
    say(f"campaign: {done.cpu_s:.0f} s of processor, exit {done.code}")
    return f"- 100,000 random failure sets (`make repair-campaign`): {verdict}. {done.cpu_s:.0f} s of processor time."


def targets(found: Sequence[Row], drilled: dict[str, float]) -> list[Target]:
    """The promised numbers."""
    extra = sum(r.moved - r.least for r in found)
    return [
        Target("repair on 220,032 GPUs, slowest case, wall", max(r.wall_s for r in found), 1.0, "s"),
        Target("repair on 220,032 GPUs, slowest case, processor", max(r.cpu_s for r in found), 1.0, "s"),
        Target("its solver, slowest case", max(r.solver_s for r in found) * 1e3, 50, "ms"),
        Target("ranks moved beyond the proven minimum", float(extra), 0, ""),
        Target("drill of 30 days, wall", drilled["wall_s"], 180, "s"),
        Target("its repaired plans that pass", 100.0 * drilled["passed"] / drilled["repairs"], 100, "%", "least"),
    ]


HEAD = """<!-- written by `python -m benchmarks.repair -o benchmarks/REPAIR.md`; not edited by hand -->
# Repair, measured

`moe-10t` on `gb300-220k`. Medians of whole processes; where processor seconds are far below the wall time, the machine had
other work. Solver: both repairs that a run compares, processor time. Gap: traffic above the bound of any placement.

| plan | lost | wall | processor | solver | ranks moved | fewest possible | gap | referee |
|---|---|--:|--:|--:|--:|--:|--:|---|"""


def markdown(found: Sequence[Row], drilled: dict[str, float], kills: dict[str, int], codes: list[int]) -> str:
    """All tables."""
    promised = [
        f"| {t.what} | {t.value:.4g} {t.unit} | {t.limit:g} {t.unit} | {'yes' if t.met else '**no**'} |"
        for t in targets(found, drilled)
    ]
    table = ["| promised | measured | limit | |", "|---|--:|--:|---|", *promised]
    return "\n".join([HEAD, *map(_line, found), "", *table, "", *_told(drilled), "", *_lost(kills, codes), ""])


def _line(r: Row) -> str:
    times = f"{r.wall_s:.2f} s | {r.cpu_s:.2f} s | {r.solver_s * 1e3:.1f} ms"
    verdict = "passes" if r.verified else "**fails**"
    return f"| {r.plan} | {r.case} | {times} | {r.moved:,} | {r.least:,} | {r.gap:.2%} | {verdict} |"


def _told(d: dict[str, float]) -> list[str]:
    return [
        f"- Drill of 30 days: {d['failures']:,.0f} failures, {d['repairs']:,.0f} repairs, of which {d['passed']:,.0f} pass;",
        f"  {d['audited']:.0f} of them as whole plans through the whole referee. {d['cpu_s']:.0f} s of processor time.",
        f"- Its moves: {d['moves']:,.0f}, unavoidable {d['least']:,.0f}. Worst solver: {d['worst_s'] * 1e3:.1f} ms.",
        f"- Effective training time {d['repair']:.1%}; restart from nothing {d['naive_restart']:.1%}; without spares",
        f"  {d['no_spares_shrinking']:.1%} when it shrinks, {d['no_spares_waiting']:.1%} when it waits.",
    ]


def _lost(kills: dict[str, int], codes: list[int]) -> list[str]:
    return [
        f"- {KILLS} repairs killed (SIGKILL) at random moments: {kills['before']} before the new plan was there,",
        f"  {kills['after']} after; plans damaged: {kills['damaged']}. A test kills every single step.",
        f"- Two repairs of one plan at once end with exit codes {codes[0]} and {codes[1]} (4: refused).",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repair", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, help="where the tables go; default: the terminal")
    parser.add_argument("--plans", type=Path, help="directory that keeps the two plans for the next time")
    parser.add_argument("--campaign", action="store_true", help="also 100,000 random failure sets; needs the test environment")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = args.plans or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        found = rows(home, print)
        plan = home / "plan-0"
        drilled = drill(plan, print)
        kills, codes = killed(plan, Path(scratch), found[0].wall_s, print), race(plan, Path(scratch), print)
    text = markdown(found, drilled, kills, codes) + (campaign(print) + "\n" if args.campaign else "")
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
