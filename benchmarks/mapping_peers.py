# SPDX-License-Identifier: Apache-2.0
"""Partitioners and mappers of others on the instances of `mapping_instances`: what they reach, and how long they take.

None of them is a dependency. `kaminpar`, `kahip` and `pymetis` are on PyPI: `python3 -m venv PEERS && PEERS/bin/pip install
numpy kaminpar kahip pymetis`; Scotch is Debian's package `scotch` (`gmap` and `gtst` on the PATH, or `apt-get download scotch
libscotch-7.0` unpacked anywhere with `dpkg -x`). `python -m benchmarks.mapping --peers PEERS/bin/python --scotch DIR/usr/bin`
runs those it finds, each with the same graph and hierarchy, in a process of its own; the others are listed with why not.
MAPPING.md has KaMinPar 3.7.3, KaHIP 3.25 and METIS (pymetis 2025.2.2), level by level, and Scotch 7.0.3 (`gmap -cq`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import measure
from benchmarks.mapping_instances import DISTANCE, Instance
from placement.ir import Placement
from placement.ir._array import Floats, Ints
from placement.passes.refine import cell_edges

WORKER = Path(__file__).with_name("mapping_worker.py")


@dataclass(frozen=True)
class Peer:
    """What one tool made of one instance: the placement, or why there is none. Processor seconds, without reading the graph."""

    name: str
    placement: Placement | None
    cpu_s: float
    said: str = ""


def edges_of(case: Instance) -> tuple[Ints, Ints, Floats]:
    """The whole graph of ranks: (rank, rank, weight), every pair once."""
    found = cell_edges(case.strategy, case.traffic, 1, largest=10**9)
    assert found is not None
    n = case.strategy.world_size
    a, b, w = (np.concatenate(part) for part in zip(*found, strict=True))
    low, high = np.minimum(a, b), np.maximum(a, b)
    keep = low != high
    pair, which = np.unique(low[keep] * n + high[keep], return_inverse=True)
    return pair // n, pair % n, np.asarray(np.bincount(which, weights=w[keep]), float)


def run(
    case: Instance, arity: Sequence[int], tools: Sequence[str], python: Path | None, scotch: Path | None, limit_s: int
) -> list[Peer]:
    """Every tool on one perfect hierarchy, each for `limit_s` seconds at most; arity from the inside out."""
    a, b, w = edges_of(case)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "graph.npz"
        np.savez(graph, a=a, b=b, w=w, n=case.strategy.world_size, arity=np.array(arity))
        return [
            _scotch(graph, scotch, limit_s) if tool == "scotch" else _multisection(tool, graph, python, limit_s)
            for tool in tools
        ]


def _multisection(tool: str, graph: Path, python: Path | None, limit_s: int) -> Peer:
    """Exact sizes, level by level from the outside, by a partitioner that knows nothing of the hierarchy."""
    if python is None or not python.exists():
        return Peer(tool, None, 0.0, "no Python with it was given (--peers)")
    out = graph.with_suffix(f".{tool}.npy")
    done = measure.run(("timeout", str(limit_s), python, WORKER, tool, graph, out))
    if done.code or not out.exists():
        return Peer(
            tool,
            None,
            done.cpu_s,
            f"over {limit_s} s" if done.code == 124 else (done.stderr.strip().splitlines() or ["failed"])[-1],
        )
    return Peer(tool, Placement(np.load(out)), float(json.loads(done.stdout)["cpu_s"]))


def _scotch(graph: Path, where: Path | None, limit_s: int) -> Peer:
    """`gmap` of the graph onto a tree of leafs (`tleaf`) with the distances of the hierarchy."""
    program = None if where is None else next((p for p in (where / "scotch_gmap", where / "gmap") if p.exists()), None)
    if program is None:
        return Peer("scotch", None, 0.0, "no gmap was given (--scotch)")
    data = np.load(graph)
    n, arity = int(data["n"]), data["arity"].tolist()
    _write_scotch(graph.with_suffix(".grf"), n, data["a"], data["b"], data["w"])
    levels = list(zip(reversed(arity), reversed(DISTANCE[: len(arity)]), strict=True))
    graph.with_suffix(".tgt").write_text(f"tleaf {len(levels)} " + " ".join(f"{k} {int(d)}" for k, d in levels) + "\n")
    files = [str(graph.with_suffix(s)) for s in (".grf", ".tgt", ".map")]
    lib = next(where.parent.glob("lib/*/libscotch*.so*"), None) if where else None
    path = {"LD_LIBRARY_PATH": str(lib.parent)} if lib else {}
    before = os.environ.get("LD_LIBRARY_PATH")
    os.environ.update(path)
    try:
        done = measure.run(("timeout", str(limit_s), program, "-cq", *files))
    finally:
        if path and before is None:
            del os.environ["LD_LIBRARY_PATH"]
    if done.code:
        return Peer("scotch", None, done.cpu_s, f"over {limit_s} s" if done.code == 124 else done.stderr.strip()[-80:])
    pairs = np.loadtxt(files[2], dtype=np.int64, skiprows=1)
    return Peer("scotch", Placement(bijection(pairs[np.argsort(pairs[:, 0]), 1], n)), done.cpu_s)


def _write_scotch(path: Path, n: int, a: Ints, b: Ints, w: Floats) -> None:
    tail, head, weight = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([w, w])
    order = np.lexsort((head, tail))
    tail, head, weight = tail[order], head[order], np.maximum(np.round(weight[order]), 1).astype(np.int64)
    cut = np.searchsorted(tail, np.arange(n + 1)).tolist()
    with path.open("w") as out:
        out.write(f"0\n{n} {len(head)}\n0 010\n")
        flat = np.stack([weight, head], 1).reshape(-1).tolist()
        out.writelines(f"{cut[v + 1] - cut[v]} {' '.join(map(str, flat[2 * cut[v] : 2 * cut[v + 1]]))}\n" for v in range(n))


def bijection(place_R: Ints, n: int) -> Ints:
    """Places used twice go to the next free ones."""
    order = np.argsort(place_R, kind="stable")
    sorted_R = place_R[order]
    twice = np.concatenate([[False], sorted_R[1:] == sorted_R[:-1]])
    free = np.setdiff1d(np.arange(n), sorted_R)
    out = place_R.copy()
    out[order[twice]] = free[: int(twice.sum())]
    return out
