# SPDX-License-Identifier: Apache-2.0
"""`mapping_worker.py TOOL GRAPH OUT`: runs in the Python that has the tool; knows nothing of this project.

Hierarchical multisection with exact sizes: parts of a level are cut into parts of the next one inwards. Sizes that a
partitioner misses are mended by moving the vertices with the least to lose.
"""

import json
import sys
import time
from importlib import import_module
from typing import Any

import numpy as np

Array = Any  # of numbers; this file also runs where no type of the project is known


def partition(tool: str, n: int, a: Array, b: Array, w: Array, k: int) -> Array:
    """Part of each vertex, k parts of equal size wanted."""
    tail, head, weight = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([w, w])
    order = np.argsort(tail, kind="stable")
    tail, head, weight = tail[order], head[order], np.maximum(np.round(weight[order]), 1).astype(np.int64)
    first = np.searchsorted(tail, np.arange(n + 1))
    if tool == "metis":
        pymetis = import_module("pymetis")
        found = pymetis.part_graph(k, xadj=first.tolist(), adjncy=head.tolist(), eweights=weight.tolist())
        return np.array(found[1] if isinstance(found, tuple) else found.vertex_part)
    if tool == "kahip":
        kahip = import_module("kahip")
        ones = [1] * n
        return np.array(kahip.kaffpa(ones, first.tolist(), weight.tolist(), head.tolist(), k, 0.03, True, 0, 0)[1])
    kaminpar = import_module("kaminpar")
    solver = kaminpar.KaMinPar(num_threads=1, ctx=kaminpar.default_context())
    graph = kaminpar.load_graph(metis_file(n, first, head, weight), kaminpar.GraphFileFormat.METIS)
    return np.array(solver.compute_partition(graph, max_block_weights=[n // k] * k))


def metis_file(n: int, first: Array, head: Array, weight: Array) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".metis", delete=False) as out:
        out.write(f"{n} {len(head) // 2} 001\n")
        flat, cut = np.stack([head + 1, weight], 1).reshape(-1).tolist(), first.tolist()
        out.writelines(" ".join(map(str, flat[2 * cut[v] : 2 * cut[v + 1]])) + "\n" for v in range(n))
    return out.name


def exact(part: Array, k: int, n: int, a: Array, b: Array, w: Array) -> Array:
    """Move vertices out of parts that are too large: those with the least weight inside their part first."""
    size, count = n // k, np.bincount(part, minlength=k)
    inside = np.zeros(n)
    same = part[a] == part[b]
    np.add.at(inside, a[same], w[same])
    np.add.at(inside, b[same], w[same])
    spare = []
    for p in np.flatnonzero(count > size):
        mine = np.flatnonzero(part == p)
        spare += mine[np.argsort(inside[mine], kind="stable")][: count[p] - size].tolist()
    free = np.repeat(np.arange(k), np.maximum(size - count, 0))
    part = part.copy()
    part[spare] = free[: len(spare)]
    return part


def multisection(tool: str, n: int, a: Array, b: Array, w: Array, arity: list[int]) -> Array:
    """Place of each vertex; arity from the inside out. The innermost level of few vertices is left in order."""
    if len(arity) == 1 or n == 1:
        return np.arange(n)
    k = arity[-1]
    part = exact(partition(tool, n, a, b, w, k), k, n, a, b, w)
    place = np.empty(n, np.int64)
    local = np.empty(n, np.int64)
    for p in range(k):
        mine = np.flatnonzero(part == p)
        local[mine] = np.arange(len(mine))
    inner = n // k
    order = np.argsort(part[a], kind="stable")
    a, b, w = a[order], b[order], w[order]
    cut = np.searchsorted(part[a], np.arange(k + 1))
    for p in range(k):
        mine, at = np.flatnonzero(part == p), slice(cut[p], cut[p + 1])
        keep = part[b[at]] == p
        place[mine] = p * inner + multisection(tool, inner, local[a[at][keep]], local[b[at][keep]], w[at][keep], arity[:-1])
    return place


def main() -> None:
    tool, graph, out = sys.argv[1:]
    data = np.load(graph)
    start = time.process_time()
    place = multisection(tool, int(data["n"]), data["a"], data["b"], data["w"], data["arity"].tolist())
    print(json.dumps({"cpu_s": time.process_time() - start}))
    np.save(out, place)


if __name__ == "__main__":
    main()
