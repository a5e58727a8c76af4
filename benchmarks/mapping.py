# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.mapping`: the mapping against its bound and against others, written to benchmarks/MAPPING.md.

Every measurement runs in a process of its own and counts processor seconds, so that other work on the machine does not show.
`--peers` and `--scotch` say where the tools of others are (see `mapping_peers`), `--qaplib` where QAPLIB's .dat and .sln files
are (Debian: `apt-get download r-cran-qap && dpkg -x r-cran-qap*.deb DIR`); what is not given is listed as not measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks import mapping_instances as cases
from benchmarks import measure
from benchmarks.mapping_peers import run as run_peers
from placement.diag import Infeasible
from placement.ir import Cluster, Job, Placement
from placement.passes.bound import CLOSE, lower_bytes
from placement.passes.grid import grid_of, leaving_bytes
from placement.passes.place import BYTES, launcher_default, place
from placement.solve.boxchain import boxes
from placement.solve.tabu import robust_tabu

ROOT = Path(__file__).resolve().parent
JOB = Job(seq_len=1, global_batch=1, ragged=True)
TOOLS = ("kaminpar", "kahip", "metis", "scotch")
IRREGULAR: dict[str, tuple[dict[str, float], tuple[int, int, int, int], float]] = {
    "all healthy, spares": ({}, (8, 8, 187, 16), 0.01),
    "all in use, 12 pods": ({}, (8, 9, 191, 16), 0.01),
    "2 % of GPUs dead": ({"gpus": 0.02}, (8, 8, 187, 16), 0.02),
    "2 % of trays dead": ({"trays": 0.02}, (8, 8, 187, 16), 0.02),
    "2 % of GPUs, 1 % of racks dead": ({"gpus": 0.02, "whole": 0.01}, (8, 8, 187, 16), 0.02),
    "5 % partial racks, 2 % of GPUs dead": ({"gpus": 0.02, "partial": 0.05}, (8, 8, 180, 16), 0.02),
    "a fifth of the leafs with half racks, 1 % dead": ({"gpus": 0.01, "small": 1}, (8, 8, 151, 16), 0.02),
    "tight: EP 72, 2 % of GPUs dead": ({"gpus": 0.02}, (8, 9, 186, 16), 0.07),
    "tight: EP 72, 2 % of trays dead": ({"trays": 0.02}, (8, 9, 186, 16), 0.07),
    "tight: EP 64, 98 % of the healthy in use": ({"gpus": 0.02}, (8, 8, 206, 16), 0.07),
    "tight: EP 64, 5 % of GPUs dead": ({"gpus": 0.05}, (8, 8, 203, 16), 0.07),
}
DRAWS = (1, 2)  # other seeds of damage, beside 0
MILLION = (8, 8, 850, 16)
QAPLIB = "nug12 nug20 nug30 tai12a tai20b tai30b chr12c had20 kra30a sko42 tho40 tai64c esc32e bur26a rou20 scr20 ste36a"
HEAD = """<!-- written by `python -m benchmarks.mapping`, not edited by hand -->
# Mapping, measured

Seconds are of the processor, each measurement in a process of its own. Other tools get the same graph and hierarchy and
{limit} seconds an instance; their seconds are without reading it. Instances, tools and how to get them:
`benchmarks/mapping_*.py`.
"""
FAMILIES = ("fit", "misfit", "unfolded", "context", "deep")


def solved(case: cases.Instance) -> dict[str, float]:
    """Value over bound of ours and of ranks in order, processor seconds of both parts, peak bytes of the process."""
    start = time.process_time()
    found = lower_bytes(case.trays, case.strategy, case.traffic, np.append(case.rise_T, 0.0))
    bounded = time.process_time()
    ours = best(case, case.base + found.joint)
    placed = time.process_time()
    low = case.base + found.joint
    told = {"ours": cases.value(case, ours) / low, "bound": low, "bound_s": bounded - start, "place_s": placed - bounded}
    told["in_order"] = cases.value(case, launcher_default(case.trays, case.strategy, JOB)) / low
    return told | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}


def best(case: cases.Instance, low: float) -> Placement:
    """The better of whole expert groups and of tensor groups as cells, the first if it reaches the bound. Where neither fits,
    ranks by four, then one by one. Single ranks too where boxes of ranks promise more, and pairs of ranks and single ones over
    the trays where those do not want consecutive ranks.
    """
    found: list[tuple[float, Placement]] = []

    def add(cluster: Cluster, cell: int) -> None:
        if found and min(found, key=lambda f: f[0])[0] <= low * (1 + CLOSE):
            return
        with suppress(Infeasible):
            made = place(cluster, case.strategy, case.traffic, JOB, aim=BYTES, cell=cell)
            found.append((cases.value(case, made), made))

    for cell in sorted({case.strategy.ep, case.cell} - {1} or {1}, reverse=True):
        add(case.cluster, cell)
    for cell in (4, 1):
        if not found or (cell == 1 and case.strategy.ep == 1 and parts(case)):
            add(case.cluster, cell)
    for cell in (2, 1) if crosses(case) else ():
        add(case.trays, cell)
    return min(found, key=lambda f: f[0])[1]


def crosses(case: cases.Instance) -> bool:
    """Is there a better box for a tray than as many consecutive ranks?"""
    grid, room, straight = grid_of(case.strategy, case.traffic, 1), case.cluster.gpus_per_node, list[int]()
    for size in grid.sizes:
        straight.append(min(size, room // int(np.prod(straight))))
    best_bytes = float(leaving_bytes(grid, boxes(grid.sizes, room, np.inf)).min())
    return best_bytes < float(leaving_bytes(grid, np.array([straight]))[0]) * (1 - 1e-9)


def parts(case: cases.Instance) -> bool:
    """Is there a room, up to that of a rack, whose best box of ranks parts tensor groups?"""
    grid = grid_of(case.strategy, case.traffic, 1)
    room = int(np.bincount(case.cluster.tiers[0].group_N).max()) * case.cluster.gpus_per_node
    box_BD = boxes(grid.sizes, room, np.inf)
    volume_B, leaving_B = box_BD.prod(axis=1), leaving_bytes(grid, box_BD)
    kept_B = np.where(box_BD[:, 0] == case.cell, leaving_B, np.inf)
    least = [(leaving_B[volume_B <= v].min(), kept_B[volume_B <= v].min()) for v in range(case.cell, room + 1)]
    return any(parted < kept * (1 - 1e-9) for parted, kept in least)


def drawn(seed: int) -> cases.Instance:
    """A random machine, grid and weights (log-uniform over one and a half decades) of one of the families in turn."""
    rng = np.random.default_rng(seed)
    family = FAMILIES[seed % len(FAMILIES)]
    arity = [(4, 18, 8, 8), (4, 18, 8, 32), (4, 18, 8, 8, 8)][int(rng.integers(3))]
    n = int(np.prod(arity))
    weight = {a: w * 10 ** rng.uniform(-0.75, 0.75) for a, w in cases.WEIGHT.items()}
    pp = int(rng.choice([4, 8, 16]))
    tp = int(rng.choice([2, 4, 8]))
    if family == "unfolded":
        ep = int(rng.choice([8, 16, 64]))
        pp = min(pp, n // tp // ep)
        return cases.build(f"{family} {seed}", cases.tree(arity), *cases.unfolded(tp, ep, n // tp // ep // pp, pp, weight))
    if family == "context":
        return cases.build(f"{family} {seed}", cases.tree(arity), *cases.context(tp, 2, 8 // tp, n // 16 // pp, pp, weight))
    inner = {"fit": 72 // tp, "misfit": 64 // tp, "deep": max(8 // tp, 1)}[family]
    return cases.build(f"{family} {seed}", cases.tree(arity), *cases.folded(tp, inner, n // tp // inner // pp, pp, weight))


def qaplib(where: Path) -> Iterator[tuple[str, int, float, float, float]]:
    """(name, size, best known value, ours, processor seconds) of instances of every family up to 64."""
    for name in QAPLIB.split():
        data, told = (np.array((where / f"{name}{s}").read_text().split(), float) for s in (".dat", ".sln"))
        n = int(data[0])
        flow, far = data[1 : 1 + n * n].reshape(n, n), data[1 + n * n : 1 + 2 * n * n].reshape(n, n)
        start, value = time.process_time(), np.inf
        for seed in range(120):
            value = min(value, robust_tabu(flow, far, np.random.default_rng(seed).permutation(n), steps=4_000, seed=seed)[0])
            if value <= told[1]:
                break
        yield name, n, float(told[1]), value, time.process_time() - start


def one(name: str) -> dict[str, float]:
    """The measurement of one name, in this process."""
    kind, _, rest = name.partition(":")
    if kind == "random":
        return solved(drawn(int(rest)))
    if kind == "irregular":
        case, _, seed = rest.partition("@")
        facts, grid, _ = IRREGULAR[case]
        machine = cases.irregular(**facts, seed=int(seed or 0))  # type: ignore[arg-type]
        return solved(cases.build(rest, machine, *cases.folded(*grid)))
    if kind == "racks":
        grid = MILLION if int(rest) > 10_000 else IRREGULAR["all healthy, spares"][1]
        return solved(cases.build(rest, cases.irregular(int(rest)), *cases.folded(*grid)))
    return solved(cases.instance(kind, int(rest)))


def alone(name: str) -> dict[str, float]:
    """The measurement of one name, in a process of its own."""
    done = measure.run((sys.executable, "-m", "benchmarks.mapping", "--one", name), cwd=ROOT.parent)
    if done.code:
        raise RuntimeError(f"{name}: {done.stderr}")
    return dict(json.loads(done.stdout))


def instances_table(sizes: Sequence[int], python: Path | None, scotch: Path | None, limit_s: int) -> Iterator[str]:
    yield "## Instances: bytes x distance over the lower bound (processor seconds)\n"
    yield "| instance | ours | + bound | ranks in order | " + " | ".join(TOOLS) + " |"
    yield "|---|--:|--:|--:|" + "--:|" * len(TOOLS)
    for family, sized in (("fit72", cases.FIT), ("mis64", cases.MISFIT), ("unf", cases.UNFOLDED)):
        for n in (n for n in sized if n in sizes):
            told, case = alone(f"{family}:{n}"), cases.instance(family, n)
            ours = f"**{told['ours']:.4f}** ({told['place_s']:.2f}) | {told['bound_s']:.2f} s | {told['in_order']:.4f}"
            row = []
            for tool in TOOLS:
                (peer,) = run_peers(case, cases.ARITY[n], (tool,), python, scotch, limit_s)
                ratio = cases.value(case, peer.placement) / told["bound"] if peer.placement else 0.0
                row.append(f"{ratio:.4f} ({peer.cpu_s:.2f})" if peer.placement else peer.said)
            yield f"| {case.name} | {ours} | " + " | ".join(row) + " |"


def irregular_table() -> Iterator[str]:
    yield "\n## Irregular clusters: 3,056 racks, pods of 32 leafs of 8\n"
    yield "| case | gap | asked | | other draws of what is dead | ranks in order | place | bound | peak |"
    yield "|---|--:|--:|---|---|--:|--:|--:|--:|"
    for name, (facts, _, asked) in IRREGULAR.items():
        t, others = alone(f"irregular:{name}"), [alone(f"irregular:{name}@{seed}") for seed in DRAWS if facts]
        drawn_so = ", ".join(f"{o['ours'] - 1:.2%}" for o in others)
        yield (
            f"| {name} | {t['ours'] - 1:.2%} | {asked:.0%} | {'yes' if t['ours'] - 1 <= asked else '**no**'} | {drawn_so} | "
            f"{t['in_order'] - 1:.1%} | {t['place_s']:.1f} s | {t['bound_s']:.1f} s | {t['peak'] / 2**20:.0f} MiB |"
        )


def size_table() -> Iterator[str]:
    yield "\n## Size: mapping and bound together\n"
    yield "| GPUs | seconds | asked | peak | gap |\n|--:|--:|--:|--:|--:|"
    for racks, asked in ((3056, 6), (13889, 30)):
        t = alone(f"racks:{racks}")
        yield (
            f"| {racks * 72:,} | {t['place_s'] + t['bound_s']:.1f} | {asked} | {t['peak'] / 2**20:.0f} MiB "
            f"| {t['ours'] - 1:.2%} |"
        )


def random_table(count: int) -> Iterator[str]:
    yield f"\n## {count} random instances\n"
    told = [one(f"random:{seed}") for seed in range(count)]
    yield "| family | ours / bound: median, mean, most | proven optimal | ranks in order: median, most | worse than in order |"
    yield "|---|---|--:|---|--:|"
    for family in (*FAMILIES, "all"):
        mine = [t for i, t in enumerate(told) if family in (FAMILIES[i % len(FAMILIES)], "all")]
        ours, order = (np.array([t[k] for t in mine]) for k in ("ours", "in_order"))
        yield (
            f"| {family} | {np.median(ours):.4f}, {ours.mean():.4f}, {ours.max():.3f} | {(ours < 1 + 1e-6).mean():.0%} | "
            f"{np.median(order):.3f}, {order.max():.2f} | {int((ours > order * (1 + 1e-9)).sum())} |"
        )


def qaplib_table(where: Path | None) -> Iterator[str]:
    yield "\n## QAPLIB: robust tabu from random starts\n"
    if where is None:
        yield "Not measured: `--qaplib` was not given."
        return
    yield "| instance | n | best known | found | seconds |\n|---|--:|--:|--:|--:|"
    for name, n, known, value, cpu_s in qaplib(where):
        yield f"| {name} | {n} | {known:,.0f} | {'same' if value <= known else f'{value:,.0f}'} | {cpu_s:.1f} |"


def main() -> None:
    """Measures and writes, part after part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mapping", description=__doc__)
    parser.add_argument("--one", help="measure one name in this process and print JSON")
    parser.add_argument("--peers", type=Path, help="Python that has kaminpar, kahip and pymetis")
    parser.add_argument("--scotch", type=Path, help="folder of Scotch's gmap")
    parser.add_argument("--qaplib", type=Path, help="folder of QAPLIB's .dat and .sln")
    parser.add_argument("--limit", type=int, default=300, help="seconds that a tool of others may take for one instance")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(cases.ARITY), help="GPUs of the instances")
    parser.add_argument("--random", type=int, default=100, help="number of random instances")
    parser.add_argument(
        "--only", nargs="+", choices=("irregular", "size", "qaplib", "random", "peers"), help="parts to measure"
    )
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "MAPPING.md")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one)))
        return
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "irregular": irregular_table, "size": size_table, "qaplib": lambda: qaplib_table(args.qaplib),
        "random": lambda: random_table(args.random),
        "peers": lambda: instances_table(args.sizes, args.peers, args.scotch, args.limit),
    }  # fmt: skip
    lines = [HEAD.format(limit=args.limit)]
    for part in args.only or parts:
        for line in parts[part]():
            print(line, flush=True)
            lines.append(line)
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
